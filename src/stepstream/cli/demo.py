"""`stepstream demo`: a run in the embedded simulator, over real HTTP, with the public API only."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, NamedTuple, TypeAlias

from stepstream import (
    MessageTransition,
    Outcome,
    Processor,
    RequiredAction,
    RunTransition,
    StepTransition,
    ToolCall,
    ToolCallStarted,
    connect,
)
from stepstream.cli.output import counted, write_line
from stepstream.cli.screen.capabilities import check_rich, is_drawable
from stepstream.cli.watch import write_change
from stepstream.simulator import app, serve

WEATHER: Final = {"Bergen": "rain all day, 9 °C", "Kraków": "sunny, 17 °C"}
"""What the demo's own function returns, by city."""

RESPONSES: Final = "/v1/responses"
RUNS: Final = "/v1/threads/thread_demo/runs"
SHOWN: Final = (RunTransition, StepTransition, MessageTransition, ToolCallStarted)


class _Call(NamedTuple):
    """A request whose response is a stream."""

    path: str
    body: dict[str, Any]


class _Responses:
    """How a run is opened and answered in the Responses API."""

    first = _Call(RESPONSES, {"model": "demo", "input": "Which shops should reorder umbrellas?", "stream": True})

    @staticmethod
    def following(run_id: str, outputs: Mapping[str, str]) -> _Call:
        """Return the call that gives the outputs of function calls, by their ids."""
        items = [{"type": "function_call_output", "call_id": key, "output": one} for key, one in outputs.items()]
        return _Call(RESPONSES, {"model": "demo", "previous_response_id": run_id, "input": items, "stream": True})


class _Assistants:
    """The same in the Assistants API."""

    first = _Call(RUNS, {"assistant_id": "asst_demo", "stream": True})

    @staticmethod
    def following(run_id: str, outputs: Mapping[str, str]) -> _Call:
        """Return the call that gives the outputs of function calls, by their ids."""
        listed = [{"tool_call_id": key, "output": one} for key, one in outputs.items()]
        return _Call(f"{RUNS}/{run_id}/submit_tool_outputs", {"tool_outputs": listed, "stream": True})


_Api: TypeAlias = type[_Responses] | type[_Assistants]
_Play: TypeAlias = Callable[[Processor, str, Callable[[str], None]], Awaitable[list[Outcome]]]


async def demo(*, fast: bool, plain: bool = False, assistants: bool = False) -> int | None:
    """Run the simulator's default scenario and show it as it happens, answering the function calls on the way.

    Raises:
        ImportError: what serves or what draws is not installed.
    """
    pace = "fast" if fast else "real"
    play = partial(_outcomes, _Assistants if assistants else _Responses)
    if plain or not is_drawable():
        await _written(pace, play)
        return None
    check_rich()
    return await _drawn(pace, play)


async def _written(pace: str, play: _Play) -> None:
    async with serve(app(pace=pace)) as base_url, Processor(strict=True) as processor:
        processor.add(SHOWN, write_change)
        write_line(f"simulator at {base_url}")
        outcomes = await play(processor, base_url, write_line)
    _write_answer(outcomes)
    write_line()
    write_line(_totals(outcomes))


async def _drawn(pace: str, play: _Play) -> int | None:
    from stepstream.cli.drawing import status_after, watched

    async with serve(app(pace=pace)) as base_url, Processor(strict=True) as processor:
        body = partial(play, processor, base_url, lambda _: None)
        ending = await watched(processor, body, _totals, source="the simulator")
    if ending.result:
        _write_answer(ending.result)
    return status_after(ending)


async def _outcomes(api: _Api, processor: Processor, base_url: str, log: Callable[[str], None]) -> list[Outcome]:
    return [outcome async for outcome in _streams(api, processor, base_url, log)]


def _write_answer(outcomes: Sequence[Outcome]) -> None:
    write_line()
    for message in outcomes[-1].messages.values():
        for line in message.text.splitlines():
            write_line(line)


async def _streams(
    api: _Api, processor: Processor, base_url: str, log: Callable[[str], None]
) -> AsyncIterator[Outcome]:
    """Open a run and yield its outcome; while it waits for function outputs, send them and go on."""
    call = api.first
    while True:
        log(f"POST {call.path}")
        outcome = await processor.run(connect(base_url + call.path, json=call.body))
        yield outcome
        if not isinstance(outcome.required_action, RequiredAction):
            return
        calls = [one for one in outcome.required_action.tool_calls if isinstance(one, ToolCall)]
        call = api.following(next(iter(outcome.runs)), {one.id: _forecast(one) for one in calls if one.id})


def _forecast(call: ToolCall) -> str:
    """Return the output of a call of `get_weather`."""
    arguments = json.loads((call.function.arguments if call.function else None) or "{}")
    return WEATHER.get(arguments.get("city"), "unknown")


def _totals(outcomes: Sequence[Outcome]) -> str:
    events = sum(outcome.events for outcome in outcomes)
    steps = {identifier: step for outcome in outcomes for identifier, step in outcome.steps.items()}
    calls = sum(len(step.tool_calls) for step in steps.values())
    counts = counted(events, "event"), counted(len(steps), "step"), counted(calls, "tool call")
    tokens = counted(outcomes[-1].usage.total_tokens or 0, "token")
    return f"{outcomes[-1].reason}: {', '.join((*counts, tokens))} in {counted(len(outcomes), 'stream')}"
