"""`stepstream demo`: a run in the embedded simulator, over real HTTP, with the public API only."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, TypeAlias

from stepstream import (
    MessageTransition,
    Outcome,
    Processor,
    ResponsesClient,
    RunsClient,
    RunTransition,
    StepTransition,
    Toolbox,
    ToolCallStarted,
)
from stepstream.cli.output import counted, write_line
from stepstream.cli.screen.capabilities import check_rich, is_drawable
from stepstream.cli.watch import write_change
from stepstream.simulator import app, serve

WEATHER: Final = {"Bergen": "rain all day, 9 °C", "Kraków": "sunny, 17 °C"}
"""What the demo's own function returns, by city."""

ASKED: Final = "Which shops should reorder umbrellas?"
SHOWN: Final = (RunTransition, StepTransition, MessageTransition, ToolCallStarted)

Play: TypeAlias = Callable[[Processor, str], Awaitable[Outcome]]
"""Drives a run of the simulator at a URL to its end."""


async def demo(*, fast: bool, plain: bool = False, assistants: bool = False) -> int | None:
    """Run the simulator's default scenario and show it as it happens, answering the function calls on the way.

    Raises:
        ImportError: what serves or what draws is not installed.
    """
    pace = "fast" if fast else "real"
    play = _run if assistants else _response
    if plain or not is_drawable():
        await _written(pace, play)
        return None
    check_rich()
    return await _drawn(pace, play)


async def _response(processor: Processor, base_url: str) -> Outcome:
    return await ResponsesClient(f"{base_url}/v1").drive(processor, _tools(), model="demo", input=ASKED)


async def _run(processor: Processor, base_url: str) -> Outcome:
    return await RunsClient(f"{base_url}/v1").drive(processor, "thread_demo", _tools(), assistant_id="asst_demo")


def _tools() -> Toolbox:
    tools = Toolbox()

    @tools.function
    async def get_weather(city: str, day: str) -> str:
        """The forecast for a city on one day of this week."""
        return WEATHER.get(city, "unknown")

    return tools


async def _written(pace: str, play: Play) -> None:
    async with serve(app(pace=pace)) as base_url, Processor(strict=True) as processor:
        processor.add(SHOWN, write_change)
        write_line(f"simulator at {base_url}")
        outcome = await play(processor, base_url)
    _write_answer(outcome)
    write_line()
    write_line(_totals(outcome))


async def _drawn(pace: str, play: Play) -> int | None:
    from stepstream.cli.drawing import status_after, watched

    async with serve(app(pace=pace)) as base_url, Processor(strict=True) as processor:
        ending = await watched(processor, partial(play, processor, base_url), _totals, source="the simulator")
    if ending.result:
        _write_answer(ending.result)
    return status_after(ending)


def _write_answer(outcome: Outcome) -> None:
    write_line()
    for line in outcome.text.splitlines():
        write_line(line)


def _totals(outcome: Outcome) -> str:
    calls = sum(len(step.tool_calls) for step in outcome.final_steps)
    counts = counted(outcome.events, "event"), counted(len(outcome.steps), "step"), counted(calls, "tool call")
    tokens = counted(outcome.usage.total_tokens or 0, "token")
    return f"{outcome.reason}: {', '.join((*counts, tokens))}"
