"""Tool calls within a step: when one is known to have started, and what it was when it finished."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from stepstream.fold.builder import SnapshotBuilder
from stepstream.fold.changes import Change, ToolCallFinished, ToolCallStarted
from stepstream.fold.orphans import EventRef
from stepstream.fold.state import StreamState
from stepstream.fold.tree import Indexed, Node, freeze
from stepstream.wire.base import Unknown
from stepstream.wire.objects import RunStep
from stepstream.wire.tool_calls import NAMED, AnyToolCall


class Identity(NamedTuple):
    """What identifies a call."""

    id: str
    type: str
    name: str | None


def identity_of(node: Mapping[str, Any], *, at_end: bool) -> Identity | None:
    """Return the identity of a call, None while it is unknown: a kind with a name needs the name, unless `at_end`."""
    identifier, kind = node.get("id"), node.get("type")
    if not isinstance(identifier, str) or not isinstance(kind, str):
        return None
    key = NAMED.get(kind)
    content = node.get(key) if key else node
    name = content.get("name") if isinstance(content, dict) else None
    if kind in NAMED and not name and not at_end:
        return None
    return Identity(identifier, kind, name if isinstance(name, str) else None)


def calls_of(step: SnapshotBuilder[RunStep]) -> Mapping[int, Node]:
    """Return the tool calls of a step by index."""
    if not step.is_grown and not getattr(step.base.step_details, "tool_calls", None):
        return {}
    details = step.tree.get("step_details")
    calls = details.get("tool_calls") if isinstance(details, Node) else None
    return calls if type(calls) is Indexed else {}


def touched_calls(calls: Mapping[int, Node], delta: Node) -> Mapping[int, Node]:
    """Return those of a step's calls that a delta has entries for."""
    details = delta.get("step_details")
    entries = details.get("tool_calls") if type(details) is Node else None
    return {index: calls[index] for index in entries if index in calls} if type(entries) is Indexed else {}


def by_id(calls: Mapping[int, Node]) -> dict[str, Node]:
    """Return the calls that have an id, by it."""
    return {node["id"]: node for node in calls.values() if isinstance(node.get("id"), str)}


def started_calls(
    stream: StreamState,
    ref: EventRef,
    step: SnapshotBuilder[RunStep],
    calls: Mapping[int, Node],
    *,
    at_end: bool = False,
) -> list[Change]:
    """Record those of `calls` whose identity is known now and was not before, and return that they started."""
    changes: list[Change] = []
    for index, node in calls.items():
        identity = identity_of(node, at_end=at_end)
        if identity is not None and identity.id not in step.started:
            step.started[identity.id] = index, identity.type, identity.name
            cause = ref.cause(stream.context)
            changes.append(ToolCallStarted(*cause, index, *identity, *ids_of(step.base), snapshot_of(node)))
    return changes


def finished_calls(
    stream: StreamState, ref: EventRef, step: SnapshotBuilder[RunStep], before: Mapping[int, Node]
) -> list[Change]:
    """Return a `ToolCallFinished` for each call of an ended step that has had none, those it dropped included."""
    nodes = by_id(before) | by_id(calls_of(step))
    known = {call.id: call for call in step.snapshot().tool_calls}
    changes: list[Change] = []
    for identifier, (_, kind, _) in step.started.items():
        if identifier not in step.finished:
            call = known.get(identifier)
            if call is None and identifier in nodes:
                call = snapshot_of(nodes[identifier])
            # neither: its list was replaced by something that is no list of calls
            lost = Unknown({"id": identifier, "type": kind})
            changes.append(finished_call(stream, ref, step, identifier, lost if call is None else call))
    return changes


def finished_call(
    stream: StreamState, ref: EventRef, step: SnapshotBuilder[RunStep], identifier: str, call: AnyToolCall
) -> ToolCallFinished:
    """Record and return that a started call is finished."""
    step.finished.add(identifier)
    index, kind, name = step.started[identifier]
    named = identifier, kind, call.tool_name or name
    return ToolCallFinished(*ref.cause(stream.context), index, *named, *ids_of(step.base), call)


def ids_of(step: RunStep) -> tuple[str, str | None, str | None]:
    """Return the ids of a step, of its run and of its thread."""
    return step.id, step.run_id or None, step.thread_id or None


def snapshot_of(node: Node) -> AnyToolCall:
    """Return the call as of now."""
    call: AnyToolCall = freeze(node)
    return call
