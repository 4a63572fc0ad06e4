"""Tool calls as user interfaces take them: every kind as a name, an input that is JSON text and grows, and a result."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import msgspec

from stepstream.wire.tool_calls import NAMED, AnyToolCall

JSON_TEXT: Final[Mapping[str, str]] = {
    "azure_function": "arguments",
    "connected_agent": "arguments",
    "function": "arguments",
    "mcp": "arguments",
    "openapi": "arguments",
}
"""The kinds whose input is JSON text already, written by a model, and the field that has it."""

PLAIN_TEXT: Final[Mapping[str, str]] = {
    "browser_automation": "input",
    "code_interpreter": "input",
    "custom": "input",
    "deep_research": "input",
}
"""The kinds whose input is any text: it becomes `{"input": "…"}`, which can be written in pieces, too."""

RUN_BY_CLIENT: Final = frozenset(
    {"apply_patch", "computer", "custom", "function", "local_shell", "shell", "tool_search"}
)
"""The kinds that the server leaves to its client, mostly. Their result is none until there is one."""

DONE_WITH_STEP: Final = frozenset(
    {
        "azure_ai_search",
        "bing_custom_search",
        "bing_grounding",
        "code_interpreter",
        "fabric_dataagent",
        "file_search",
        "image_generation",
        "sharepoint_grounding",
        "web_search",
    }
)
"""The kinds that the server runs within their step: once that is completed they are done, also without any result."""

RESULTS: Final = ("output", "outputs", "results")
"""The fields that hold what came of a call. In kinds of neither table, all others are its input."""

APPROVAL: Final = "mcp_approval_request"
"""The type of a step that asks whether a call may be made. It is shown as that call."""

_OPENING, _CLOSING = '{"input":"', '"}'


class Shown(NamedTuple):
    """A call as it is shown."""

    id: str
    type: str
    name: str
    input: str
    """JSON text, as far as it is known; of kinds whose input does not grow, nothing until it is final."""
    result: Any
    """What came of it: a text or JSON; None where nothing did."""


def shown(call: AnyToolCall, *, is_final: bool) -> Shown:
    """Return a call as it is shown. `is_final`: its input does not grow any more."""
    kind = call.type or ""
    content = _content(call, kind)
    name = call.tool_name or content.get("name") or kind
    result = next((content[key] for key in RESULTS if content.get(key) is not None), None)
    return Shown(call.id or "", kind, name if isinstance(name, str) else kind, _input(kind, content, is_final), result)


def piece_of(kind: str, delta: Any) -> str:
    """Return what the delta of a call adds to its input."""
    if kind in JSON_TEXT:
        return _text(delta if kind == "mcp" else getattr(delta, NAMED.get(kind) or kind, None), JSON_TEXT[kind])
    if kind in PLAIN_TEXT:
        return _escaped(_text(getattr(delta, kind, None), PLAIN_TEXT[kind]))
    return ""


def parsed(text: str) -> Any:
    """Return the value of an input: the text itself where it is no JSON, an empty object where there is none."""
    try:
        return msgspec.json.decode(text) if text else {}
    except (msgspec.DecodeError, RecursionError):
        return text


def as_text(result: Any) -> str:
    """Return a result as text: JSON where it is no text."""
    return result if isinstance(result, str) else msgspec.json.encode(result).decode()


def _content(call: AnyToolCall, kind: str) -> Mapping[str, Any]:
    """Return what a call holds under the key of its kind, or beside its id and type."""
    raw: dict[str, Any] = msgspec.to_builtins(call)
    held = raw.get(NAMED.get(kind, kind) or "")
    beside = {key: value for key, value in raw.items() if key not in ("id", "type", "status", "index")}
    return held if isinstance(held, dict) else beside


def _input(kind: str, content: Mapping[str, Any], is_final: bool) -> str:
    field = JSON_TEXT.get(kind)
    if field is not None:
        return _string(content.get(field))
    field = PLAIN_TEXT.get(kind)
    if field is not None:
        return _OPENING + _escaped(_string(content.get(field))) + (_CLOSING if is_final else "")
    if not is_final:
        return ""
    given = {key: value for key, value in content.items() if key not in RESULTS and value is not None}
    return msgspec.json.encode(given).decode()


def _escaped(text: str) -> str:
    """Return a text as it stands between the quotes of a JSON string: piece by piece gives the same as all at once."""
    return msgspec.json.encode(text)[1:-1].decode()


def _text(holder: object, field: str) -> str:
    return _string(holder.get(field) if isinstance(holder, dict) else getattr(holder, field, None))


def _string(value: object) -> str:
    return value if isinstance(value, str) else ""
