"""What a run waits for: the calls that the client has to run, and the approvals that it has to give."""

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, Final, TypeAlias

from stepstream.dialects.responses.payloads import JSON
from stepstream.dialects.responses.turn import Turn
from stepstream.dialects.state import Item
from stepstream.wire.loose import build
from stepstream.wire.tool_calls import ToolCall

APPROVAL: Final = "mcp_approval_request"

Tools: TypeAlias = Collection[tuple[str, str]]


def asked(item: Item, content: JSON, call: JSON | None) -> JSON | None:
    """Return the call that a client may have to answer, None where an item is no such thing."""
    if item.type == APPROVAL:
        named: JSON = {key: content[key] for key in ("name", "arguments", "server_label") if key in content}
        return {"id": item.id, "type": "mcp", **named}
    if call is None or item.type not in RUN_BY_CLIENT:
        return None
    return {key: value for key, value in call.items() if key != "status"}


def action_of(turn: Turn) -> JSON | None:
    """Return what the response waits for, None where it waits for nothing."""
    waiting = [item for item in turn.items if item.asked is not None and not item.is_answered]
    waiting.sort(key=lambda item: item.output_index)
    calls = list(_calls(turn, [item for item in waiting if item.type != APPROVAL]))
    approvals = [item.asked for item in waiting if item.type == APPROVAL]
    kinds = {"submit_tool_outputs": calls, "submit_tool_approval": approvals}
    asked_for = {kind: {"tool_calls": some} for kind, some in kinds.items() if some}
    return {"type": next(iter(asked_for)), **asked_for} if asked_for else None


def _calls(turn: Turn, waiting: list[Item]) -> Iterator[Any]:
    """Yield the calls that the client declared. A server may run tools of its own that look like the client's."""
    tools = turn.response.tools
    for item in waiting:
        if RUN_BY_CLIENT[item.type](tools, build(ToolCall, item.asked)):
            yield item.asked


def _named(kind: str) -> Callable[[Tools, Any], bool]:
    return lambda tools, call: not tools or (kind, call.tool_name or "") in tools


def _of_type(kind: str) -> Callable[[Tools, Any], bool]:
    return lambda tools, call: not tools or any(one.startswith(kind) for one, _ in tools)


def _is_local_shell(tools: Tools, call: Any) -> bool:
    """Return whether a shell call runs where the client is: by its own environment, else by that of the tool."""
    environment = call.shell.environment if call.shell else None
    if environment:
        return bool(environment.get("type") == "local")
    return not tools or any(kind == "shell" and where in ("", "local") for kind, where in tools)


def _is_client_search(tools: Tools, call: Any) -> bool:
    return bool(call.tool_search and call.tool_search.get("execution") == "client")


RUN_BY_CLIENT: Final[Mapping[str, Callable[[Tools, Any], bool]]] = {
    "apply_patch_call": _of_type("apply_patch"),
    "computer_call": _of_type("computer"),
    "custom_tool_call": _named("custom"),
    "function_call": _named("function"),
    "local_shell_call": _of_type("local_shell"),
    "shell_call": _is_local_shell,
    "tool_search_call": _is_client_search,
}
"""The kinds of item that a client runs, and whether it runs this one, by the tools that it declared, if it says any."""
