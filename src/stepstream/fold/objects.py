"""Full objects of steps and messages: the first opens it, others update it, the terminal one ends it."""

from collections.abc import Mapping
from typing import Any, cast

from msgspec.structs import replace

from stepstream.fold.builder import GROWN_FIELDS, SnapshotBuilder
from stepstream.fold.changes import Change, MessageProgress, StepProgress, ToolCallFinished
from stepstream.fold.deltas import add, call_changes
from stepstream.fold.lifecycle import CREATING_EVENTS, ENDING_EVENTS
from stepstream.fold.orphans import EventRef
from stepstream.fold.state import ObjectTable, StreamState, run_key, touch
from stepstream.fold.tool_calls import by_id, calls_of, snapshot_of
from stepstream.fold.tree import Node
from stepstream.wire.events import Event, with_status
from stepstream.wire.messages import Message
from stepstream.wire.objects import RunStep
from stepstream.wire.tool_calls import AnyToolCall


def apply_object(stream: StreamState, table: ObjectTable[Any], event: Event) -> list[Change]:
    """Fold the full object of `event`."""
    ref = EventRef(event, stream.sequence)
    full = cast(RunStep | Message, with_status(ref.event.name, ref.event.data))
    builder = table.known.get(full.id)
    ends = ref.event.name in ENDING_EVENTS or full.is_terminal
    if builder is None:
        return _open(stream, ref, table, full, ends=ends)
    touch(table.touched, full.id, builder)
    if builder.ended:
        return _repeat(stream, ref, table, builder, full, ends=ends)
    if ends:
        return _settle(stream, ref, table, builder, full, builder.base.status)
    return _update(stream, ref, table, builder, full)


def _open(stream: StreamState, ref: EventRef, table: ObjectTable[Any], full: Any, *, ends: bool) -> list[Change]:
    key = run_key(full.run_id, f"{table.name}:{full.id}")
    builder = SnapshotBuilder(_bare(full) if ends else full, key)
    builder.created = ref.event.name in CREATING_EVENTS
    table.add(builder)
    touch(table.touched, full.id, builder)
    waited = stream.orphans.take((table.name, full.id))
    if ends:
        before = [change for delta in waited for change in add(stream, delta, table, builder)]
        anomalies = [change for change in before if not isinstance(change, StepProgress | MessageProgress)]
        return [*anomalies, *_settle(stream, ref, table, builder, full, None)]
    changes: list[Change] = [_transition(stream, ref, table, builder, None, ends=False)]
    if table.is_steps:
        changes += call_changes(stream, ref, builder, calls_of(builder))
    for delta in waited:
        changes += add(stream, delta, table, builder)
    return changes + cast(list[Change], stream.bound(ref, key))


def _bare(full: Any) -> Any:
    """Return `full` without what grows: deltas that came before it build that, and then it settles it."""
    return replace(full, **dict.fromkeys(GROWN_FIELDS[type(full)]))


def _update(
    stream: StreamState, ref: EventRef, table: ObjectTable[Any], builder: SnapshotBuilder[Any], full: Any
) -> list[Change]:
    changes: list[Change] = []
    if ref.event.name in CREATING_EVENTS:
        if builder.created:
            expected = f"one created event for the {table.name}"
            changes.append(stream.anomaly(ref, "duplicate_created", full.id, expected, "another"))
        builder.created = True
    previous = builder.base.status
    added = builder.update(full)
    if previous != builder.base.status:
        changes.append(_transition(stream, ref, table, builder, previous, ends=False))
    if table.is_steps:
        changes += call_changes(stream, ref, builder, calls_of(builder))
    if added:
        changes.append(_completed_by(stream, ref, table, builder, late=False))
    return changes


def _completed_by(
    stream: StreamState, ref: EventRef, table: ObjectTable[Any], builder: SnapshotBuilder[Any], *, late: bool
) -> Change:
    """Return the progress that a full object made."""
    event = ref.event
    return table.progress(event.name, ref.sequence, stream.context, None, late, builder, event.payload)


def _settle(
    stream: StreamState,
    ref: EventRef,
    table: ObjectTable[Any],
    builder: SnapshotBuilder[Any],
    full: Any,
    previous: str | None,
) -> list[Change]:
    changes: list[Change] = []
    before = calls_of(builder) if table.is_steps else {}
    builder.settle(full)
    if table.is_steps:
        changes += call_changes(stream, ref, builder, calls_of(builder), settled=True)
        changes += _finished(stream, ref, builder, before)
    changes.append(_transition(stream, ref, table, builder, previous, ends=True))
    return changes + cast(list[Change], stream.bound(ref, builder.run_key))


def _finished(
    stream: StreamState, ref: EventRef, step: SnapshotBuilder[RunStep], before: Mapping[int, Node]
) -> list[Change]:
    """Return a `ToolCallFinished` for each call of an ended step that has had none, dropped ones included."""
    nodes = by_id(before) | by_id(calls_of(step))
    known = {call.id: call for call in step.snapshot().tool_calls}
    return [
        finish_call(stream, ref, step, identifier, known.get(identifier) or snapshot_of(nodes[identifier]))
        for identifier in step.started
        if identifier not in step.finished
    ]


def finish_call(
    stream: StreamState, ref: EventRef, step: SnapshotBuilder[RunStep], identifier: str, call: AnyToolCall
) -> ToolCallFinished:
    """Record and return that a started call is finished."""
    step.finished.add(identifier)
    index, kind, name = step.started[identifier]
    return ToolCallFinished(
        ref.event.name,
        ref.sequence,
        stream.context,
        call,
        index,
        identifier,
        kind,
        call.tool_name or name,
        step.base,
    )


def _repeat(
    stream: StreamState, ref: EventRef, table: ObjectTable[Any], builder: SnapshotBuilder[Any], full: Any, *, ends: bool
) -> list[Change]:
    """Return what an object does that comes after the terminal one."""
    if not ends:
        expected = f"nothing but repetitions after the {table.name} ended"
        return [stream.anomaly(ref, "status_regression", full.id, expected, "an earlier status")]
    filled, against = _compared(builder, full)
    changes: list[Change] = []
    if filled:
        changes.append(_completed_by(stream, ref, table, builder, late=True))
    if against:
        expected = f"what the first terminal object of the {table.name} said"
        changes.append(stream.anomaly(ref, "conflicting_terminal", full.id, expected, "something else"))
    elif not filled:
        expected = f"one terminal event for the {table.name}"
        changes.append(stream.anomaly(ref, "duplicate_terminal", full.id, expected, "another"))
    return changes


def _compared(builder: SnapshotBuilder[Any], full: Any) -> tuple[bool, bool]:
    """Add what a second terminal object fills. Return whether it filled anything, and whether it contradicts."""
    if full in (builder.sent, builder.snapshot()):
        return False, False
    return builder.complete(full) if full.status == builder.base.status else (False, True)


def _transition(
    stream: StreamState,
    ref: EventRef,
    table: ObjectTable[Any],
    builder: SnapshotBuilder[Any],
    previous: Any,
    *,
    ends: bool,
) -> Change:
    status = str(builder.base.status or "")
    return table.transition(ref.event.name, ref.sequence, stream.context, builder.snapshot(), previous, status, ends)
