"""Tool calls within a step: when one is known to have started, and what it was when it finished."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from stepstream.fold.appends import OF_CALLS, TEXTS
from stepstream.fold.builder import SnapshotBuilder
from stepstream.fold.tree import Indexed, Node, freeze
from stepstream.wire.objects import RunStep
from stepstream.wire.tool_calls import NAMED, AnyToolCall


class Identity(NamedTuple):
    """What identifies a call."""

    id: str
    type: str
    name: str | None


def identity_of(node: Mapping[str, Any], *, settled: bool) -> Identity | None:
    """Return the identity of a call, None while it is unknown: a kind with a name needs the name, unless `settled`."""
    identifier, kind = node.get("id"), node.get("type")
    if not isinstance(identifier, str) or not isinstance(kind, str):
        return None
    key = NAMED.get(kind)
    content = node.get(key) if key else node
    name = content.get("name") if isinstance(content, dict) else None
    if kind in NAMED and not name and not settled:
        return None
    return Identity(identifier, kind, name if isinstance(name, str) else None)


def calls_of(step: SnapshotBuilder[RunStep]) -> Mapping[int, Node]:
    """Return the tool calls of a step by index."""
    if not step.is_grown and not getattr(step.base.step_details, "tool_calls", None):
        return {}
    details = step.tree.get("step_details")
    calls = details.get("tool_calls") if isinstance(details, Node) else None
    return calls if type(calls) is Indexed else {}


def by_id(calls: Mapping[int, Node]) -> dict[str, Node]:
    """Return the calls that have an id, by it."""
    return {node["id"]: node for node in calls.values() if isinstance(node.get("id"), str)}


def newly_started(
    step: SnapshotBuilder[RunStep], calls: Mapping[int, Node], *, settled: bool = False
) -> Iterator[tuple[int, Identity, Node]]:
    """Record and yield those of `calls` whose identity is known now and was not before."""
    for index, node in calls.items():
        identity = identity_of(node, settled=settled)
        if identity is not None and identity.id not in step.started:
            step.started[identity.id] = index, identity.type, identity.name
            if identity.type in TEXTS and _is_of_calls(step):
                step.text_calls[index] = node
            yield index, identity, node


def _is_of_calls(step: SnapshotBuilder[RunStep]) -> bool:
    """Return whether the step and its details agree that it is one of tool calls."""
    return step.tree["step_details"].get("type") == "tool_calls" and step.base.type in OF_CALLS


def snapshot_of(node: Node) -> AnyToolCall:
    """Return the call as of now."""
    call: AnyToolCall = freeze(node)
    return call
