"""`stepstream demo`: a run in the embedded simulator, over real HTTP, with the public API only."""

import json
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from typing import Any, Final

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

RUNS: Final = "/v1/threads/thread_demo/runs"
SHOWN: Final = (RunTransition, StepTransition, MessageTransition, ToolCallStarted)


async def demo(*, fast: bool, plain: bool = False) -> int | None:
    """Run the simulator's default scenario and show it as it happens, answering the function calls on the way.

    Raises:
        ImportError: what serves or what draws is not installed.
    """
    pace = "fast" if fast else "real"
    if plain or not is_drawable():
        await _written(pace)
        return None
    check_rich()
    return await _drawn(pace)


async def _written(pace: str) -> None:
    async with serve(app(pace=pace)) as base_url, Processor(strict=True) as processor:
        processor.add(SHOWN, write_change)
        write_line(f"simulator at {base_url}")
        outcomes = await _outcomes(processor, base_url, write_line)
    _write_answer(outcomes)
    write_line()
    write_line(_totals(outcomes))


async def _drawn(pace: str) -> int | None:
    from stepstream.cli.drawing import status_after, watched

    async with serve(app(pace=pace)) as base_url, Processor(strict=True) as processor:
        body = partial(_outcomes, processor, base_url, lambda _: None)
        ending = await watched(processor, body, _totals, source="the simulator")
    if ending.result:
        _write_answer(ending.result)
    return status_after(ending)


async def _outcomes(processor: Processor, base_url: str, log: Callable[[str], None]) -> list[Outcome]:
    return [outcome async for outcome in _streams(processor, base_url, log)]


def _write_answer(outcomes: Sequence[Outcome]) -> None:
    write_line()
    for message in outcomes[-1].messages.values():
        for line in message.text.splitlines():
            write_line(line)


async def _streams(processor: Processor, base_url: str, log: Callable[[str], None]) -> AsyncIterator[Outcome]:
    """Open a run and yield its outcome; while it waits for function outputs, send them and go on."""
    path, body = RUNS, {"assistant_id": "asst_demo", "stream": True}
    while True:
        log(f"POST {path}")
        outcome = await processor.run(connect(base_url + path, json=body))
        yield outcome
        if not isinstance(outcome.required_action, RequiredAction):
            return
        outputs = [_answer(call) for call in outcome.required_action.tool_calls if isinstance(call, ToolCall)]
        path, body = f"{RUNS}/{next(iter(outcome.runs))}/submit_tool_outputs", {"tool_outputs": outputs, "stream": True}


def _answer(call: ToolCall) -> dict[str, Any]:
    """Return the output of a call of `get_weather`."""
    arguments = json.loads((call.function.arguments if call.function else None) or "{}")
    return {"tool_call_id": call.id, "output": WEATHER.get(arguments.get("city"), "unknown")}


def _totals(outcomes: Sequence[Outcome]) -> str:
    events = sum(outcome.events for outcome in outcomes)
    steps = {identifier: step for outcome in outcomes for identifier, step in outcome.steps.items()}
    calls = sum(len(step.tool_calls) for step in steps.values())
    counts = counted(events, "event"), counted(len(steps), "step"), counted(calls, "tool call")
    tokens = counted(outcomes[-1].usage.total_tokens or 0, "token")
    return f"{outcomes[-1].reason}: {', '.join((*counts, tokens))} in {counted(len(outcomes), 'stream')}"
