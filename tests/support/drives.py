"""Runs driven over a breaking simulator: every change and tool call of one, and what is wrong with their order."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import anyio

from stepstream import (
    MemoryJournal,
    MessageTransition,
    Outcome,
    Processor,
    RunTransition,
    StepStreamError,
    StepTransition,
    Toolbox,
    ToolCallFinished,
    ToolCallStarted,
)
from stepstream.wire.statuses import NEXT_MESSAGE, NEXT_RUN, NEXT_STEP, RUN_TERMINAL
from stepstream.wire.tool_calls import ToolCall
from tests.support.breaking_simulator import WITHIN, Server, Wire
from tests.support.json_values import JSON, plain
from tests.support.stored_runs import StoredRun

SEEN: Final = (StepTransition, RunTransition, MessageTransition, ToolCallStarted, ToolCallFinished)


def told(outcome: Outcome) -> StoredRun:
    """Return what an outcome says of its only run."""
    [run] = outcome.runs.values()
    return StoredRun(
        plain(run), [plain(one) for one in outcome.steps.values()], [plain(one) for one in outcome.messages.values()]
    )


def same(got: StoredRun, expected: StoredRun) -> bool:
    """Tell whether two say the same of a run, in whatever order."""
    ordered = [
        StoredRun(one.run, *(sorted(some, key=lambda each: each["id"]) for some in one[1:])) for one in (got, expected)
    ]
    return ordered[0] == ordered[1]


def harbour(made: list[str]) -> Toolbox:
    """Return a toolbox that answers the simulator's scenarios. It notes the calls it makes."""
    tools = Toolbox()

    @tools.function
    async def get_depth(place: str, tide: str) -> float:
        made.append(f"get_depth {place} {tide}")
        return 7.5

    @tools.function
    async def get_tide() -> None:
        made.append("get_tide")

    @tools.function
    async def get_wind(unit: str) -> int:
        made.append(f"get_wind {unit}")
        raise ValueError("no wind")

    @tools.function
    async def book_berth(place: str, hours: int) -> bool:
        made.append(f"book_berth {place} {hours}")
        return True

    @tools.approve
    async def allow(call: ToolCall) -> bool:
        made.append("approve")
        return True

    return tools


class Drive(NamedTuple):
    """How a drive went."""

    outcome: Outcome | None
    failure: StepStreamError | None
    changes: list[Any]
    ends: list[Any]
    """What another subscriber saw, to terminal transitions only."""
    made: list[str]
    """The tool calls that were made."""
    wire: Wire


async def driven(
    server: Server,
    wire: Wire,
    *,
    thread_id: str | None = None,
    tools: Toolbox | None = None,
    context: object = None,
    max_rounds: int = 20,
    own: bool = False,
    journal: MemoryJournal | None = None,
    **options: Any,
) -> Drive:
    """Drive a run to its end over `wire`, and publish it in `journal`. `options` are those of the client."""
    changes, ends, made = list[Any](), list[Any](), list[str]()
    outcome, failure = None, None
    with anyio.fail_after(WITHIN):
        async with Processor(strict=True, journal=journal) as processor:

            @processor.on(*SEEN)
            async def see(change: Any) -> None:
                changes.append(change)

            @processor.on(StepTransition, RunTransition, MessageTransition, terminal=True)
            async def see_end(change: Any) -> None:
                ends.append(change)

            try:
                outcome = await server.wired(wire, own=own, **options).drive(
                    processor,
                    thread_id,
                    tools or harbour(made),
                    context=context,
                    max_rounds=max_rounds,
                    assistant_id="asst_own",
                )
            except StepStreamError as exc:
                failure = exc
    return Drive(outcome, failure, changes, ends, made, wire)


def key(change: Any) -> tuple[str, str]:
    """Return what a transition is of."""
    identifier = getattr(change, "step_id", None) or getattr(change, "message_id", None) or change.run_id
    return type(change).__name__, identifier


TABLES: Final[Mapping[str, Mapping[str, frozenset[str]]]] = {
    "StepTransition": NEXT_STEP,
    "MessageTransition": NEXT_MESSAGE,
    "RunTransition": NEXT_RUN,
}


def illegal(changes: list[Any]) -> list[str]:
    """Return what is wrong with the order of changes, by the tables and by what each tool call is promised."""
    wrong, status, calls = list[str](), dict[tuple[str, str], str](), dict[tuple[str, int], str]()
    for change in changes:
        match change:
            case ToolCallStarted() | ToolCallFinished():
                call, name = (change.step_id, change.index), type(change).__name__
                expected = None if name == "ToolCallStarted" else "ToolCallStarted"
                wrong += [f"{name} of {call} after {calls.get(call)}"] if calls.get(call) != expected else []
                wrong += [f"{name} of {call} after its step"] if status[_step(call[0])] != "in_progress" else []
                calls[call] = name
            case StepTransition() | RunTransition() | MessageTransition():
                table, before = TABLES[type(change).__name__], status.get(key(change))
                if change.previous != before:
                    wrong.append(f"{key(change)} {change.status} after {before}, but says {change.previous}")
                if before is None and change.status not in ("in_progress", "queued"):
                    wrong.append(f"{key(change)} begins with {change.status}")
                if before is not None and change.status not in table[before]:
                    wrong.append(f"{key(change)} {change.status} after {before}")
                status[key(change)] = change.status
    run_over = next((n for n, one in enumerate(changes) if isinstance(one, RunTransition) and one.terminal), None)
    late = changes[run_over + 1 :] if run_over is not None else []
    wrong += [f"{key(one)} after the run" for one in late if isinstance(one, StepTransition)]
    wrong += [f"{call} did not finish" for call, name in calls.items() if name != "ToolCallFinished"]
    return wrong


def _step(step_id: str) -> tuple[str, str]:
    return "StepTransition", step_id


def is_over(run: JSON) -> bool:
    return run["status"] in RUN_TERMINAL
