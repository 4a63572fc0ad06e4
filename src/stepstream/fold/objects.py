"""What a full object of a step or message does: open it, update it, end it."""

from collections.abc import Mapping
from typing import Any, cast

from msgspec.structs import replace

from stepstream.fold.calls import by_id, calls_of, snapshot_of
from stepstream.fold.changes import Change, MessageProgress, StepProgress, ToolCallFinished
from stepstream.fold.deltas import add, call_changes
from stepstream.fold.growing import GROWN, Growing
from stepstream.fold.lifecycle import CREATING_EVENTS, ENDING_EVENTS
from stepstream.fold.state import group_key
from stepstream.fold.stream import Side, StreamFold, touch
from stepstream.fold.tree import Node
from stepstream.fold.waiting import Cause
from stepstream.wire.events import Event, with_status
from stepstream.wire.messages import Message
from stepstream.wire.objects import RunStep
from stepstream.wire.tool_calls import AnyToolCall


def apply_object(stream: StreamFold, side: Side[Any], event: Event) -> list[Change]:
    """Fold the full object of `event`."""
    cause = Cause(event, stream.sequence)
    full = cast(RunStep | Message, with_status(cause.event.name, cause.event.data))
    growing = side.known.get(full.id)
    ends = cause.event.name in ENDING_EVENTS or full.is_terminal
    if growing is None:
        return _open(stream, cause, side, full, ends=ends)
    touch(side.touched, full.id, growing)
    if growing.ended:
        return _repeat(stream, cause, side, growing, full, ends=ends)
    if ends:
        return _settle(stream, cause, side, growing, full, growing.base.status)
    return _update(stream, cause, side, growing, full)


def _open(stream: StreamFold, cause: Cause, side: Side[Any], full: Any, *, ends: bool) -> list[Change]:
    key = group_key(full.run_id, f"{side.name}:{full.id}")
    growing = Growing(_bare(full) if ends else full, key)
    growing.created = cause.event.name in CREATING_EVENTS
    side.add(growing)
    touch(side.touched, full.id, growing)
    waited = stream.waiting.take((side.name, full.id))
    if ends:
        before = [change for delta in waited for change in add(stream, delta, side, growing)]
        anomalies = [change for change in before if not isinstance(change, StepProgress | MessageProgress)]
        return [*anomalies, *_settle(stream, cause, side, growing, full, None)]
    changes: list[Change] = [_transition(stream, cause, side, growing, None, ends=False)]
    if side.is_steps:
        changes += call_changes(stream, cause, growing, calls_of(growing))
    for delta in waited:
        changes += add(stream, delta, side, growing)
    return changes + cast(list[Change], stream.bound(cause, key))


def _bare(full: Any) -> Any:
    """Return `full` without what grows: deltas that came before it build that, and then it settles it."""
    return replace(full, **dict.fromkeys(GROWN[type(full)]))


def _update(stream: StreamFold, cause: Cause, side: Side[Any], growing: Growing[Any], full: Any) -> list[Change]:
    changes: list[Change] = []
    if cause.event.name in CREATING_EVENTS:
        if growing.created:
            text = f"expected one created event for the {side.name}"
            changes.append(stream.anomaly(cause, "duplicate_created", full.id, text))
        growing.created = True
    previous = growing.base.status
    added = growing.update(full)
    if previous != growing.base.status:
        changes.append(_transition(stream, cause, side, growing, previous, ends=False))
    if side.is_steps:
        changes += call_changes(stream, cause, growing, calls_of(growing))
    if added:
        changes.append(_completed_by(stream, cause, side, growing, late=False))
    return changes


def _completed_by(stream: StreamFold, cause: Cause, side: Side[Any], growing: Growing[Any], *, late: bool) -> Change:
    """Return the progress that a full object made."""
    event = cause.event
    return side.progress(event.name, cause.sequence, stream.context, None, late, growing, event.payload)


def _settle(
    stream: StreamFold, cause: Cause, side: Side[Any], growing: Growing[Any], full: Any, previous: str | None
) -> list[Change]:
    changes: list[Change] = []
    before = calls_of(growing) if side.is_steps else {}
    growing.settle(full)
    if side.is_steps:
        changes += call_changes(stream, cause, growing, calls_of(growing), settled=True)
        changes += _finished(stream, cause, growing, before)
    changes.append(_transition(stream, cause, side, growing, previous, ends=True))
    return changes + cast(list[Change], stream.bound(cause, growing.group))


def _finished(stream: StreamFold, cause: Cause, step: Growing[RunStep], before: Mapping[int, Node]) -> list[Change]:
    """Return a `ToolCallFinished` for each call of an ended step that has had none, dropped ones included."""
    nodes = by_id(before) | by_id(calls_of(step))
    known = {call.id: call for call in step.snapshot().tool_calls}
    return [
        finish_call(stream, cause, step, identifier, known.get(identifier) or snapshot_of(nodes[identifier]))
        for identifier in step.started
        if identifier not in step.finished
    ]


def finish_call(
    stream: StreamFold, cause: Cause, step: Growing[RunStep], identifier: str, call: AnyToolCall
) -> ToolCallFinished:
    """Note and return that a started call is finished."""
    step.finished.add(identifier)
    index, kind, name = step.started[identifier]
    return ToolCallFinished(
        cause.event.name,
        cause.sequence,
        stream.context,
        call,
        index,
        identifier,
        kind,
        call.tool_name or name,
        step.base,
    )


def _repeat(
    stream: StreamFold, cause: Cause, side: Side[Any], growing: Growing[Any], full: Any, *, ends: bool
) -> list[Change]:
    """Answer an object that comes after the terminal one."""
    if not ends:
        text = f"expected nothing but repetitions after the {side.name} ended, got an earlier status"
        return [stream.anomaly(cause, "status_regression", full.id, text)]
    filled, against = _compared(growing, full)
    changes: list[Change] = []
    if filled:
        changes.append(_completed_by(stream, cause, side, growing, late=True))
    if against:
        text = f"expected what the first terminal object of the {side.name} said, got something else"
        changes.append(stream.anomaly(cause, "conflicting_terminal", full.id, text))
    elif not filled:
        text = f"expected one terminal event for the {side.name}"
        changes.append(stream.anomaly(cause, "duplicate_terminal", full.id, text))
    return changes


def _compared(growing: Growing[Any], full: Any) -> tuple[bool, bool]:
    """Take what a second terminal object adds. Return whether it added anything, and whether it contradicts."""
    if full in (growing.sent, growing.snapshot()):
        return False, False
    return growing.complete(full) if full.status == growing.base.status else (False, True)


def _transition(
    stream: StreamFold, cause: Cause, side: Side[Any], growing: Growing[Any], previous: Any, *, ends: bool
) -> Change:
    status = str(growing.base.status or "")
    return side.transition(cause.event.name, cause.sequence, stream.context, growing.snapshot(), previous, status, ends)
