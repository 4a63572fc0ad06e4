"""A whole run at a position, and the events that fold to it: for whoever joins a run that has gone on for long.

An object that has ended, or whose lists lack no index, is one event with its snapshot. Of any other the lists come in a
delta after it, each entry with its index: so the deltas to come find their places. Deltas that wait for their object
wait again.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

import msgspec

from stepstream.fold.builder import GROWN_FIELDS, SnapshotBuilder
from stepstream.fold.entry import RunEntry
from stepstream.fold.lifecycle import SETTLED_RUN
from stepstream.fold.retelling import in_order
from stepstream.fold.state import State, run_key
from stepstream.fold.tree import Indexed, Node, plain
from stepstream.wire.events import MESSAGE_EVENTS, RUN_EVENTS, STEP_EVENTS, Event, decode_event
from stepstream.wire.messages import Message
from stepstream.wire.objects import Run, RunStep, StepDetails
from stepstream.wire.sse import Frame

_KINDS: Final[Mapping[type[Any], tuple[str, Mapping[str, str]]]] = {
    RunStep: ("thread.run.step.", STEP_EVENTS),
    Message: ("thread.message.", MESSAGE_EVENTS),
}
"""How the events of an object begin, and all that carry it whole."""


class OpenCall(NamedTuple):
    """A tool call that has started, of a step that has not ended."""

    step_id: str
    place: int
    """Its index in deltas."""
    id: str
    is_finished: bool
    """Whether its arguments are final."""


class RunState(msgspec.Struct, frozen=True, omit_defaults=True):
    """A run with its steps and messages, as of a position in its journal."""

    run: Run | None
    """None where only steps or messages of it are known."""
    steps: Mapping[str, RunStep]
    """By id, in order of first sight."""
    messages: Mapping[str, Message]
    position: int
    """That of the last event that is folded; 0 where it comes from no journal."""
    events: tuple[Event, ...] = ()
    """What `retold_events` gives, where the snapshots alone do not say it."""
    asked: str = ""
    """What tells the newest round of tool calls from others, in keys; empty where the run never asked for any."""
    calls: tuple[OpenCall, ...] = ()
    """The calls that have started of open steps."""

    def __repr__(self) -> str:
        run = "of no run" if self.run is None else f"{self.run.id} {self.run.status}"
        return f"<RunState {run} at {self.position:,}: {len(self.steps):,} steps, {len(self.messages):,} messages>"


def run_state(state: State, run_id: str, waiting: Iterable[Event] = ()) -> RunState:
    """Return what is known of a run. `waiting` are the deltas that wait for a step or message of it."""
    entry = state.find(run_key(run_id, "")) or RunEntry(run_key(run_id, ""))
    steps = {identifier: step.snapshot() for identifier, step in entry.steps.items()}
    messages = {identifier: message.snapshot() for identifier, message in entry.messages.items()}
    told = (*_retold(entry.run, in_order(entry.steps.values(), entry.messages)), *waiting)
    calls = [
        OpenCall(step.base.id, call.index, identifier, call.is_finished)
        for step in entry.steps.values()
        if not step.ended
        for identifier, call in step.told.items()
    ]
    return RunState(entry.run, steps, messages, entry.position, told, entry.asked, tuple(calls))


def retold_events(state: RunState) -> list[Event]:
    """Return the events that fold to a state. The run comes first while it goes on, and last once it ended or waits."""
    if state.events:
        return list(state.events)
    steps = [_built(step) for step in state.steps.values()]
    messages = {one.id: _built(one) for one in state.messages.values()}
    return list(_retold(state.run, in_order(steps, messages)))


def _built(full: Any) -> SnapshotBuilder[Any]:
    builder: SnapshotBuilder[Any] = SnapshotBuilder(full, "")
    builder.created, builder.ended = True, full.is_terminal
    return builder


def _retold(run: Run | None, objects: Iterable[SnapshotBuilder[Any]]) -> Iterator[Event]:
    is_settled = run is not None and run.status in SETTLED_RUN
    if run is not None and not is_settled:
        yield _of_run(run)
    for builder in objects:
        yield from _of_object(builder)
    if run is not None and is_settled:
        yield _of_run(run)


def _of_run(run: Run) -> Event:
    name = f"thread.run.{run.status}"
    return Event(name if name in RUN_EVENTS else "thread.run.created", run)


def _of_object(builder: SnapshotBuilder[Any]) -> Iterator[Event]:
    beginning, names = _KINDS[type(builder.base)]
    full = builder.snapshot()
    if builder.ended:
        name = f"{beginning}{full.status}"
        yield Event(name if name in names else f"{beginning}completed", full)
        return
    name = f"{beginning}{'created' if builder.created else 'in_progress'}"
    if builder.grown is None or not _has_gaps(builder.grown):
        yield Event(name, full)
        return
    bare = msgspec.structs.replace(full, **dict.fromkeys(GROWN_FIELDS[type(full)]))
    grown_as = _type_of_details(full)
    yield Event(name, bare if grown_as is None else msgspec.structs.replace(bare, type=grown_as))
    delta = {"id": full.id, "object": f"{beginning}delta", "delta": _with_indexes(builder.grown)}
    yield decode_event(Frame(f"{beginning}delta", msgspec.json.encode(delta)))
    if grown_as is not None:
        yield Event(f"{beginning}in_progress", bare)


def _type_of_details(full: Any) -> str | None:
    """Return the type of a step's details where a broken server has given the step another one since."""
    details = full.step_details if isinstance(full, RunStep) else None
    found = details.type if isinstance(details, StepDetails) else None
    return found if isinstance(found, str) and found != full.type else None


def _has_gaps(value: Any) -> bool:
    """Return whether a tree has a list that lacks an index below its highest."""
    if type(value) is Indexed and value and max(value) >= len(value):
        return True
    return type(value) in (Node, Indexed) and any(map(_has_gaps, value.values()))


def _with_indexes(value: Any) -> Any:
    """Return a tree as the JSON of a delta."""
    if type(value) is Node:
        return {key: _with_indexes(found) for key, found in value.items()}
    if type(value) is Indexed:
        return [{"index": index, **_with_indexes(value[index])} for index in sorted(value)]
    return plain(value)
