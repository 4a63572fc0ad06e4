"""What a delta does: to an object that grows, to one that has ended, and to one that is not known yet."""

from collections.abc import Mapping
from typing import Any, cast

from stepstream.fold.calls import calls_of, newly_started, snapshot_of
from stepstream.fold.changes import AnomalyCode, Change, ToolCallStarted
from stepstream.fold.growing import Growing
from stepstream.fold.merge import Conflict, Unclear, check, fill, index_of, merge
from stepstream.fold.stream import Side, StreamFold, touch
from stepstream.fold.tree import Indexed, Node, fields, load
from stepstream.fold.waiting import Cause
from stepstream.wire.deltas import MessageDelta, RunStepDelta
from stepstream.wire.events import Event, read_again
from stepstream.wire.objects import RunStep


def apply_delta(stream: StreamFold, side: Side[Any], event: Event) -> list[Change]:
    """Fold the delta of `event` into the object it names, or let it wait for that object."""
    delta: Any = event.data
    identifier, body = delta.id, delta.delta
    growing = side.known.get(identifier)
    if growing is None:
        return _wait(stream, Cause(event, stream.sequence), side, identifier)
    growing.deltas += 1
    if identifier not in side.touched:
        touch(side.touched, identifier, growing)
    if body is None:
        return []
    addition = None if growing.ended else side.piece_of(growing, body)
    if addition is not None:
        growing.append(*addition)
        payload = event.raw if event.raw is not None else event.payload
        return [side.progress(event.name, stream.sequence, stream.context, body, False, growing, payload)]
    return add(stream, Cause(event, stream.sequence), side, growing)


def add(stream: StreamFold, cause: Cause, side: Side[Any], growing: Growing[Any]) -> list[Change]:
    """Fold the delta of `cause` into `growing`: wholly or, with an anomaly, not at all; if it ended, only fill."""
    body = _body(cause)
    if body is None or not any(value is not None for _, value in fields(body)):
        return []
    opening = None if growing.ended else side.opening_of(growing, body)
    if opening is not None:
        return _open(stream, cause, side, growing, *opening)
    try:
        body = _checked(growing, cause)
    except Conflict as conflict:
        if growing.ended:
            return _fill(stream, cause, side, growing, _body(cause))
        return [stream.anomaly(cause, cast(AnomalyCode, conflict.code), growing.base.id, conflict.text)]
    if growing.ended:
        return _fill(stream, cause, side, growing, body)
    merge(growing.touch(), body)
    started = started_by(stream, cause, growing, body) if side.is_steps else []
    return [*started, _progress(stream, cause, side, growing, body, late=False)]


def _open(
    stream: StreamFold, cause: Cause, side: Side[Any], growing: Growing[Any], entries: Indexed, entry: Any
) -> list[Change]:
    """Add a new entry, which is all of the delta of `cause`."""
    growing.touch()
    node = entries[entry.index] = load(entries.struct, entry)
    started = call_changes(stream, cause, growing, {entry.index: node}) if side.is_steps else []
    return [*started, _progress(stream, cause, side, growing, _body(cause), late=False)]


def started_by(stream: StreamFold, cause: Cause, step: Growing[RunStep], body: Any) -> list[Change]:
    """Return a `ToolCallStarted` for each call in the delta `body` that is known by now for the first time."""
    entries = getattr(body.step_details, "tool_calls", None)
    calls = calls_of(step) if entries else {}
    touched = {index: calls[index] for index in map(index_of, entries or ())}
    return call_changes(stream, cause, step, touched)


def call_changes(
    stream: StreamFold, cause: Cause, step: Growing[RunStep], calls: Mapping[int, Node], *, settled: bool = False
) -> list[Change]:
    """Return a `ToolCallStarted` for each of `calls` that is known by now for the first time."""
    name, sequence = cause.event.name, cause.sequence
    return [
        ToolCallStarted(name, sequence, stream.context, snapshot_of(node), index, *identity, step.base)
        for index, identity, node in newly_started(step, calls, settled=settled)
    ]


def _wait(stream: StreamFold, cause: Cause, side: Side[Any], identifier: str) -> list[Change]:
    key = side.name, identifier
    is_first = key not in stream.waiting
    if not stream.waiting.add(key, cause):
        return [stream.anomaly(cause, "orphan_overflow", identifier, f"too many deltas wait for a {side.name}")]
    text = f"expected the {side.name} before its delta"
    return [stream.anomaly(cause, "delta_before_created", identifier, text)] if is_first else []


def _body(cause: Cause) -> Any:
    return cast(RunStepDelta | MessageDelta, cause.event.data).delta


def _checked(growing: Growing[Any], cause: Cause) -> Any:
    """Return the body of a delta, checked against what is known.

    Raises:
        Conflict: it contradicts that.
    """
    body = _body(cause)
    _check_type(growing, body)
    try:
        check(growing.tree, body, certain=False)
    except Unclear:
        body = cast(RunStepDelta | MessageDelta, read_again(cause.event).data).delta
        check(growing.tree, body, certain=True)
    return body


def _check_type(growing: Growing[Any], body: Any) -> None:
    """Check the type of a step's delta against the step's own field. Against its details, `check` does."""
    details = getattr(body, "step_details", None)
    known = getattr(growing.base, "type", None)
    if details and known and details.type and details.type != known:
        raise Conflict("type_conflict", "expected step_details of the step's own type, got another")


def _fill(stream: StreamFold, cause: Cause, side: Side[Any], growing: Growing[Any], body: Any) -> list[Change]:
    added, dropped = fill(growing.touch(), body)
    changes: list[Change] = []
    if added:
        changes.append(_progress(stream, cause, side, growing, body, late=True))
    if dropped:
        text = f"expected no more than what the ended {side.name} left null; the rest is dropped"
        changes.append(stream.anomaly(cause, "delta_after_terminal", growing.base.id, text))
    return changes


def _progress(
    stream: StreamFold, cause: Cause, side: Side[Any], growing: Growing[Any], body: Any, *, late: bool
) -> Change:
    event = cause.event
    return side.progress(event.name, cause.sequence, stream.context, body, late, growing, event.payload)
