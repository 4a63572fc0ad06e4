"""What a delta does: to an object that grows, to one that has ended, and to one that is not known yet."""

from collections.abc import Mapping
from typing import Any, cast

from stepstream.fold.builder import SnapshotBuilder
from stepstream.fold.changes import Change, ToolCallStarted
from stepstream.fold.merge import Conflict, Unclear, check, fill, index_of, merge
from stepstream.fold.orphans import EventRef
from stepstream.fold.state import ObjectTable, StreamState, touch
from stepstream.fold.tool_calls import calls_of, newly_started, snapshot_of
from stepstream.fold.tree import Indexed, Node, fields, load
from stepstream.wire.deltas import MessageDelta, RunStepDelta
from stepstream.wire.events import Event, read_again
from stepstream.wire.objects import RunStep


def apply_delta(stream: StreamState, table: ObjectTable[Any], event: Event) -> list[Change]:
    """Fold the delta of `event` into the object it names, or let it wait for that object."""
    delta: Any = event.data
    identifier, body = delta.id, delta.delta
    builder = table.known.get(identifier)
    if builder is None:
        return _wait(stream, EventRef(event, stream.sequence), table, identifier)
    builder.deltas += 1
    if identifier not in table.touched:
        touch(table.touched, identifier, builder)
    if body is None:
        return []
    addition = None if builder.ended else table.text_append(builder, body)
    if addition is not None:
        builder.append(*addition)
        payload = event.raw if event.raw is not None else event.payload
        return [table.progress(event.name, stream.sequence, stream.context, body, False, builder, payload)]
    return add(stream, EventRef(event, stream.sequence), table, builder)


def add(stream: StreamState, ref: EventRef, table: ObjectTable[Any], builder: SnapshotBuilder[Any]) -> list[Change]:
    """Fold the delta of `ref` into `builder`: wholly or, with an anomaly, not at all; if it ended, only fill."""
    body = _body(ref)
    if body is None or not any(value is not None for _, value in fields(body)):
        return []
    opening = None if builder.ended else table.entry_append(builder, body)
    if opening is not None:
        return _open(stream, ref, table, builder, *opening)
    try:
        body = _checked(builder, ref)
    except Conflict as conflict:
        if builder.ended:
            return _fill(stream, ref, table, builder, _body(ref))
        return [stream.anomaly(ref, conflict.code, builder.base.id, conflict.expected, conflict.got)]
    if builder.ended:
        return _fill(stream, ref, table, builder, body)
    merge(builder.tree_to_change(), body)
    started = started_by(stream, ref, builder, body) if table.is_steps else []
    return [*started, _progress(stream, ref, table, builder, body, late=False)]


def _open(
    stream: StreamState,
    ref: EventRef,
    table: ObjectTable[Any],
    builder: SnapshotBuilder[Any],
    entries: Indexed,
    entry: Any,
) -> list[Change]:
    """Add a new entry, which is all of the delta of `ref`."""
    builder.tree_to_change()
    node = entries[entry.index] = load(entries.struct, entry)
    started = call_changes(stream, ref, builder, {entry.index: node}) if table.is_steps else []
    return [*started, _progress(stream, ref, table, builder, _body(ref), late=False)]


def started_by(stream: StreamState, ref: EventRef, step: SnapshotBuilder[RunStep], body: Any) -> list[Change]:
    """Return a `ToolCallStarted` for each call in the delta `body` that is known by now for the first time."""
    entries = getattr(body.step_details, "tool_calls", None)
    calls = calls_of(step) if entries else {}
    touched = {index: calls[index] for index in map(index_of, entries or ())}
    return call_changes(stream, ref, step, touched)


def call_changes(
    stream: StreamState,
    ref: EventRef,
    step: SnapshotBuilder[RunStep],
    calls: Mapping[int, Node],
    *,
    settled: bool = False,
) -> list[Change]:
    """Return a `ToolCallStarted` for each of `calls` that is known by now for the first time."""
    name, sequence = ref.event.name, ref.sequence
    return [
        ToolCallStarted(name, sequence, stream.context, snapshot_of(node), index, *identity, step.base)
        for index, identity, node in newly_started(step, calls, settled=settled)
    ]


def _wait(stream: StreamState, ref: EventRef, table: ObjectTable[Any], identifier: str) -> list[Change]:
    key = table.name, identifier
    is_first = key not in stream.orphans
    if not stream.orphans.add(key, ref):
        expected = f"the {table.name} before its deltas"
        return [stream.anomaly(ref, "orphan_overflow", identifier, expected, "more of them than can wait")]
    if not is_first:
        return []
    expected = f"the {table.name} before its delta"
    return [stream.anomaly(ref, "delta_before_created", identifier, expected, "the delta first")]


def _body(ref: EventRef) -> Any:
    return cast(RunStepDelta | MessageDelta, ref.event.data).delta


def _checked(builder: SnapshotBuilder[Any], ref: EventRef) -> Any:
    """Return the body of a delta, checked against what is known.

    Raises:
        Conflict: it contradicts that.
    """
    body = _body(ref)
    _check_type(builder, body)
    try:
        check(builder.tree, body, certain=False)
    except Unclear:
        body = cast(RunStepDelta | MessageDelta, read_again(ref.event).data).delta
        check(builder.tree, body, certain=True)
    return body


def _check_type(builder: SnapshotBuilder[Any], body: Any) -> None:
    """Check the type of a step's delta against the step's own field. Against its details, `check` does."""
    details = getattr(body, "step_details", None)
    known = getattr(builder.base, "type", None)
    if details and known and details.type and details.type != known:
        raise Conflict("type_conflict", "step_details of the step's own type", "another")


def _fill(
    stream: StreamState, ref: EventRef, table: ObjectTable[Any], builder: SnapshotBuilder[Any], body: Any
) -> list[Change]:
    added, dropped = fill(builder.tree_to_change(), body)
    changes: list[Change] = []
    if added:
        changes.append(_progress(stream, ref, table, builder, body, late=True))
    if dropped:
        expected = f"no more than what the ended {table.name} left null"
        got = "something else, which is dropped"
        changes.append(stream.anomaly(ref, "delta_after_terminal", builder.base.id, expected, got))
    return changes


def _progress(
    stream: StreamState, ref: EventRef, table: ObjectTable[Any], builder: SnapshotBuilder[Any], body: Any, *, late: bool
) -> Change:
    event = ref.event
    return table.progress(event.name, ref.sequence, stream.context, body, late, builder, event.payload)
