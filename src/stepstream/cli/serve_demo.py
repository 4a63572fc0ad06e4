"""What `stepstream serve --demo` shows: runs of the simulator at a real pace, one after another, several at a time.

Both APIs take turns. Functions take their time, and an approval is given only after a while, so that one sees what a
run waits for. Old runs go by the bounds of the journal.
"""

import random
from collections.abc import Sequence
from itertools import cycle
from typing import Final

import anyio

from stepstream.cli.output import write_error
from stepstream.client.responses import ResponsesClient
from stepstream.client.runs import RunsClient
from stepstream.client.tools.toolbox import Toolbox
from stepstream.errors import StepStreamError
from stepstream.live.journal import WritableJournal
from stepstream.live.processor import Processor
from stepstream.simulator import SCENARIOS, Scenario, app, serve
from stepstream.simulator.scenario import Answer, FunctionCall, FunctionCalls

EVERY: Final = 4.0
"""Seconds from the beginning of a run to that of the next."""

AT_FIRST: Final = 5
"""How many begin within a second of each other: whoever opens the page sees something."""

AT_ONCE: Final = 12
"""How many runs go on at a time at most."""

APPROVED_AFTER: Final = 45.0

STORY: Final = "story"
COURSE: Final = (
    "umbrellas", STORY, "mcp", "code", "run-failed", "parallel-functions", "two-steps", "step-failed", "tool-rounds",
    "reasoning", "incomplete", "connected-agent", "search", "cancelled",
)  # fmt: skip
"""The scenarios in the order in which they come. `STORY` is the demo's own."""

TOOLS: Final[Sequence[tuple[str, float, str]]] = (
    ("get_weather", 1.5, "rain all day, 9 °C"),
    ("get_depth", 2.5, "6.4 metres"),
    ("get_tide", 0.8, "high water at 14:20"),
    ("get_wind", 3.0, "south-west, 7 m/s"),
    ("book_berth", 4.0, "booked"),
    ("read_log", 0.5, "three entries"),
)
"""Functions that the scenarios call, with the most seconds that each takes, and what it returns."""

_SENTENCES: Final = (
    "The ferry left the landing with the last of the ebb, and for an hour nobody spoke. ",
    "Past the second buoy the wind backed to the south, and the pilot took the wheel himself. ",
    "He had made this crossing in every weather there is, he said, and in two that there are not. ",
    "By noon the island stood on the horizon like a thought one has had before. ",
    "We tied up at the north pier, where the depth is good at any tide. ",
)

_STORY: Final = Scenario(
    summary="a look at the log, then a long text",
    acts=(
        FunctionCalls(calls=(FunctionCall("read_log", '{"day": "Saturday"}'),)),
        Answer(parts=tuple(f"{sentence}" for _ in range(12) for sentence in _SENTENCES)),
    ),
)


async def feed(journal: WritableJournal) -> None:
    """Publish runs of the simulator to a journal, until it is cancelled."""
    async with (
        serve(app(scenario=_STORY)) as base_url,
        Processor(journal=journal) as processor,
        anyio.create_task_group() as tasks,
    ):
        room = anyio.CapacityLimiter(AT_ONCE)
        for number, name in enumerate(cycle(COURSE)):
            async with room:
                pass
            tasks.start_soon(_run, base_url, name, processor, number % 2 == 0, room)
            await anyio.sleep(EVERY if number >= AT_FIRST else 1)


async def _run(
    base_url: str, name: str, processor: Processor, is_assistants: bool, room: anyio.CapacityLimiter
) -> None:
    headers = {} if name == STORY else {"x-simulator-scenario": name}
    assert name == STORY or name in SCENARIOS
    async with room:
        try:
            if is_assistants:
                client = RunsClient(f"{base_url}/v1", headers=headers)
                await client.drive(processor, "thread_demo", _tools(), assistant_id="asst_demo")
            else:
                asked = ResponsesClient(f"{base_url}/v1", headers=headers)
                await asked.drive(processor, _tools(), model="demo", input="Tell me.")
        except StepStreamError as exc:
            write_error(f"demo: {exc}")


def _tools() -> Toolbox:
    tools = Toolbox(timeout=2 * APPROVED_AFTER)
    for name, seconds, output in TOOLS:
        _add(tools, name, seconds, output)

    @tools.approve
    async def approve(call: object) -> bool:
        await anyio.sleep(APPROVED_AFTER)
        return True

    return tools


def _add(tools: Toolbox, name: str, seconds: float, output: str) -> None:
    async def answer(
        city: str = "", day: str = "", place: str = "", tide: str = "", unit: str = "", hours: int = 0
    ) -> str:
        await anyio.sleep(seconds * random.uniform(0.3, 1))
        return output

    tools.function(name=name)(answer)
