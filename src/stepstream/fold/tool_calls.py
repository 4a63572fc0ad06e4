"""Tool calls within a step: when one is known to have started, and what it was when it finished."""

from collections.abc import Mapping
from typing import Any, TypeAlias

from stepstream.fold.builder import SnapshotBuilder, ToldCall
from stepstream.fold.changes import Change, ToolCallFinished, ToolCallStarted
from stepstream.fold.orphans import EventRef
from stepstream.fold.stream_state import StreamState
from stepstream.fold.tree import Indexed, Node, freeze
from stepstream.wire.base import Unknown
from stepstream.wire.objects import RunStep
from stepstream.wire.tool_calls import NAMED, AnyToolCall

Call: TypeAlias = Node | AnyToolCall
"""A call as its step has it: in the tree, or in a full object."""

Identity: TypeAlias = tuple[str, str, str | None]
"""What identifies a call: its id, type and name."""


def identity_of(call: Call, *, at_end: bool) -> Identity | None:
    """Return the identity of a call, None while it is unknown: a kind with a name needs the name, unless `at_end`."""
    identifier, kind = (call.get("id"), call.get("type")) if isinstance(call, dict) else (call.id, call.type)
    if not isinstance(identifier, str) or not isinstance(kind, str):
        return None
    key = NAMED.get(kind)
    name = value_of(value_of(call, key) if key else call, "name")
    if not name and not at_end and kind in NAMED:
        return None
    return identifier, kind, name if isinstance(name, str) else None


def value_of(holder: object, key: str) -> Any:
    """Return what an object of either form holds under `key`; neither a text nor an object where it holds nothing."""
    return holder.get(key) if isinstance(holder, dict) else getattr(holder, key, None)


def calls_of(step: SnapshotBuilder[RunStep]) -> Mapping[int, Call]:
    """Return the tool calls of a step by index."""
    if step.grown is None:
        own = getattr(step.base.step_details, "tool_calls", None)
        return dict(enumerate(own)) if own else {}
    details = step.grown.get("step_details")
    calls = details.get("tool_calls") if type(details) is Node else None
    return calls if type(calls) is Indexed else {}


def touched_calls(calls: Mapping[int, Call], delta: Node) -> Mapping[int, Call]:
    """Return those of a step's calls that a delta has entries for."""
    details = delta.get("step_details")
    entries = details.get("tool_calls") if type(details) is Node else None
    return {index: calls[index] for index in entries if index in calls} if type(entries) is Indexed else {}


def by_id(calls: Mapping[int, Call]) -> dict[str, Call]:
    """Return the calls that have an id, by it."""
    pairs = [(value_of(call, "id"), call) for call in calls.values()]
    return {identifier: call for identifier, call in pairs if isinstance(identifier, str)}


def started_calls(
    stream: StreamState,
    ref: EventRef,
    step: SnapshotBuilder[RunStep],
    calls: Mapping[int, Call],
    *,
    at_end: bool = False,
) -> list[Change]:
    """Record those of `calls` whose identity is known now and was not before, and return that they started."""
    changes: list[Change] = []
    for index, call in calls.items():
        identity = identity_of(call, at_end=at_end)
        if identity is not None and identity[0] not in step.told:
            step.told[identity[0]] = ToldCall(index, identity[1], identity[2])
            if ToolCallStarted in stream.wanted:
                changes.append(ToolCallStarted(*ref.cause, index, *identity, *ids_of(step), snapshot_of(call)))
    return changes


def ended_calls(
    stream: StreamState, ref: EventRef, step: SnapshotBuilder[RunStep], before: Mapping[int, Call]
) -> list[Change]:
    """Return what is news of the calls of an ended step.

    Those that were not known yet have started; then all that had not finished have, even those that were there `before`
    and that the terminal object dropped.
    """
    if ToolCallFinished not in stream.wanted and ToolCallStarted not in stream.wanted:
        return []
    calls = calls_of(step)
    changes = started_calls(stream, ref, step, calls, at_end=True)
    due = [identifier for identifier, told in step.told.items() if not told.is_finished]
    if not due:
        return changes
    known = {call.id: call for call in step.snapshot().tool_calls}
    dropped = {} if known.keys() >= set(due) else by_id(before) | by_id(calls)
    for identifier in due:
        call = known.get(identifier) or dropped.get(identifier)
        if call is None:  # its list was replaced by something that is no list of calls
            call = Unknown({"id": identifier, "type": step.told[identifier].type})
        changes += finished_call(stream, ref, step, identifier, call)
    return changes


def finished_call(
    stream: StreamState, ref: EventRef, step: SnapshotBuilder[RunStep], identifier: str, call: Call
) -> list[Change]:
    """Record that a started call is finished, and return that."""
    told = step.told[identifier]
    told.is_finished = True
    if ToolCallFinished not in stream.wanted:
        return []
    frozen = snapshot_of(call)
    named = identifier, told.type, frozen.tool_name or told.name
    return [ToolCallFinished(*ref.cause, told.index, *named, *ids_of(step), frozen)]


def ids_of(step: SnapshotBuilder[RunStep]) -> tuple[str, str | None, str | None]:
    """Return the ids of a step, of its run and of its thread."""
    return step.base.id, step.run_id, step.base.thread_id or None


def snapshot_of(call: Call) -> AnyToolCall:
    """Return the call as of now."""
    frozen: AnyToolCall = freeze(call)
    return frozen
