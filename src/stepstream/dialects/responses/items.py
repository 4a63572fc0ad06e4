"""Output items as the details of steps: a table of kinds.

Items come whole and rarely, so they are handled as JSON; the structs of the wire are built from it in the end, which
checks it: what does not fit is left out, and a kind that is not known stays as it came.
"""

from collections.abc import Mapping
from typing import Any, Final

from stepstream.dialects.responses.payloads import JSON
from stepstream.dialects.state import Item
from stepstream.wire.objects import LastError
from stepstream.wire.schema import INDEXED

_CALL: Final = "_call"

STEP_TYPES: Final[Mapping[str, str]] = {
    "message": "message_creation",
    "mcp_list_tools": "activities",
    "reasoning": "reasoning",
}
"""The types of step that items become. One that ends in `_call` becomes tool_calls, all others keep their own type."""

CALL_TYPES: Final[Mapping[str, str]] = {"custom_tool_call": "custom"}
"""The types of call that are not the item's without `_call`."""

TYPED: Final = frozenset(
    {"apply_patch", "azure_function", "code_interpreter", "custom", "file_search", "function", "openapi", "shell"}
)
"""The kinds of call whose content is typed."""

KEYS: Final[Mapping[str, str]] = {"openapi": "function"}
"""The key of a call's content, where it is not the call's type."""

FLAT: Final = "mcp"
"""The kind of call whose content lies beside its id and type."""

GROWING: Final[Mapping[str, str]] = {
    "apply_patch_call": "operation",
    "azure_function_call": "arguments",
    "code_interpreter_call": "input",
    "custom_tool_call": "input",
    "function_call": "arguments",
    "mcp_call": "arguments",
    "openapi_call": "arguments",
}
"""The field of a call that its pieces add to, or that holds it."""


def step_type_of(item_type: str) -> str:
    """Return the type of step that an item becomes."""
    return "tool_calls" if item_type.endswith(_CALL) else STEP_TYPES.get(item_type, item_type)


def call_type_of(item_type: str) -> str:
    """Return the type of call that an item is."""
    return CALL_TYPES.get(item_type) or item_type.removesuffix(_CALL)


def details_of(item: Item, content: JSON, status: str) -> JSON:
    """Return the details of the step of `item`, with that content; `status` is how far its call is."""
    kind = step_type_of(item.type)
    if kind == "tool_calls":
        return {"type": kind, "tool_calls": [_call(item, content, status)]}
    if kind == "message_creation":
        return {"type": kind, kind: {"message_id": item.id}}
    if kind == "activities":
        return {"type": kind, kind: [{"id": item.id, "type": item.type, **content}]}
    return {"type": kind, kind: content}


def _call(item: Item, content: JSON, status: str) -> JSON:
    kind = call_type_of(item.type)
    given = {"id": item.call_id, "type": kind, "status": status}
    call: JSON = {key: value for key, value in given.items() if value}  # an item of pieces: its end may name the call
    if kind == FLAT:
        return call | content
    if kind not in TYPED and isinstance(content.get("name"), str):
        call["name"] = content["name"]  # where a call of an unknown kind says what it calls
    return {**call, KEYS.get(kind, kind): content}


def error_of(raw: JSON) -> LastError | None:
    """Return why an item or a response failed, None where it does not say. Servers send texts and objects."""
    error = raw.get("error")
    if isinstance(error, str) and error:
        return LastError(message=error)
    if not isinstance(error, dict) or not error:
        return None
    code = error.get("code") if error.get("code") is not None else error.get("type")
    message = error.get("message")
    return LastError(None if code is None else str(code), None if message is None else str(message))


def indexed(value: Any) -> Any:
    """Return content as the part of a delta: the entries of lists get their place as index."""
    if not isinstance(value, dict):
        return value
    return {
        key: [{**indexed(one), "index": place} for place, one in enumerate(found)]
        if key in INDEXED and isinstance(found, list) and all(isinstance(one, dict) for one in found)
        else indexed(found)
        for key, found in value.items()
    }
