"""What of each kind of item is the content of its step or call: JSON in, JSON out, under the names of the wire here."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from stepstream.dialects.responses.payloads import JSON, objects_of, text_of

ENVELOPE: Final = frozenset({"id", "type", "status", "call_id", "response_id", "agent_reference", "created_by"})
"""The keys of an item that are not its content."""


def content_of(item_type: str, raw: JSON) -> JSON:
    """Return what of an item is the content of its step or call, by the names that fields have there."""
    return CONTENTS.get(item_type, _rest)(raw)


def _rest(raw: JSON) -> JSON:
    return {key: value for key, value in raw.items() if key not in ENVELOPE}


def _picked(**fields: str) -> Callable[[JSON], JSON]:
    """Return what picks the fields of an item, each under its own name; what is no text becomes JSON in a text."""
    return lambda raw: {ours: text_or_json(raw[theirs]) for ours, theirs in fields.items() if theirs in raw}


def text_or_json(value: Any) -> str | None:
    """Return a text, or null, as it is, any other value as JSON in a text."""
    return value if isinstance(value, str | None) else msgspec.json.encode(value).decode()


def _code(raw: JSON) -> JSON:
    found = _picked(input="code")(raw)
    if "outputs" in raw:
        found["outputs"] = [_output(one) for one in objects_of(raw, "outputs")] if raw["outputs"] is not None else None
    return found


def _output(raw: JSON) -> JSON:
    return {"type": "image", "image": {"url": raw["url"]}} if raw.get("type") == "image" and "url" in raw else raw


def _hits(raw: JSON) -> JSON:
    found = {key: raw[key] for key in ("queries",) if key in raw}
    if "results" in raw:
        found["results"] = [_hit(one) for one in objects_of(raw, "results")] if raw["results"] is not None else None
    return found


def _hit(raw: JSON) -> JSON:
    found: JSON = {key: raw[key] for key in ("file_id", "score", "attributes") if key in raw}
    if "filename" in raw:
        found["file_name"] = raw["filename"]
    if isinstance(raw.get("text"), str):
        found["content"] = [{"type": "text", "text": raw["text"]}]
    return found


def _shell(raw: JSON) -> JSON:
    action = raw["action"] if isinstance(raw.get("action"), dict) else {}
    found = {key: action[key] for key in ("timeout_ms", "max_output_length") if key in action}
    if isinstance(action.get("commands"), list):
        found["commands"] = [{"command": one} for one in action["commands"] if isinstance(one, str)]
    return found | {key: raw[key] for key in ("environment",) if key in raw}


def _tools(raw: JSON) -> JSON:
    tools = {text_of(one, "name"): _tool(one) for one in objects_of(raw, "tools")}
    return {"tools": tools} | {key: raw[key] for key in ("server_label",) if key in raw}


def _tool(raw: JSON) -> JSON:
    names = {"description": "description", "input_schema": "parameters", "annotations": "annotations"}
    return {ours: raw[theirs] for theirs, ours in names.items() if theirs in raw}


def _message(raw: JSON) -> JSON:
    found = {key: raw[key] for key in ("role",) if key in raw}
    if isinstance(raw.get("content"), list):
        found["content"] = [part_json(one) for one in objects_of(raw, "content")]
    return found


def _reasoning(raw: JSON) -> JSON:
    found = {key: objects_of(raw, key) for key in ("summary", "content") if isinstance(raw.get(key), list)}
    return found | {key: raw[key] for key in ("encrypted_content",) if key in raw}


def part_json(part: JSON) -> JSON:
    """Return a part of a message by its type here. One that is neither text nor refusal stays as it is."""
    if part_kind(part) != "text":
        return part
    notes = [annotation_json(one) for one in objects_of(part, "annotations")]
    return {"type": "text", "text": {"value": part.get("text"), "annotations": notes}}


def part_kind(part: JSON) -> str:
    """Return the type that a part of a message has here."""
    kind = text_of(part, "type")
    return "text" if kind == "output_text" else kind


def annotation_json(raw: JSON) -> JSON:
    """Return an annotation with its target under the key of its type. One of another type stays as it is."""
    kind = text_of(raw, "type")
    keys = TARGETS.get(kind)
    if keys is None:
        return raw
    rest: JSON = {key: raw[key] for key in ("type", "start_index", "end_index") if key in raw}
    return {**rest, kind: {key: raw[key] for key in keys if key in raw}}


TARGETS: Final[Mapping[str, tuple[str, ...]]] = {
    "file_citation": ("file_id", "filename"),
    "file_path": ("file_id", "filename"),
    "url_citation": ("url", "title"),
}
"""The keys of an annotation's target, by the annotation's type."""

_function: Final = _picked(name="name", arguments="arguments", output="output")

CONTENTS: Final[Mapping[str, Callable[[JSON], JSON]]] = {
    "azure_function_call": _function,
    "code_interpreter_call": _code,
    "custom_tool_call": _picked(name="name", input="input", output="output"),
    "file_search_call": _hits,
    "function_call": _function,
    "mcp_call": _picked(name="name", arguments="arguments", output="output", server_label="server_label"),
    "mcp_list_tools": _tools,
    "message": _message,
    "openapi_call": _function,
    "reasoning": _reasoning,
    "shell_call": _shell,
}
"""What each kind of item holds. Of all others, everything but the envelope is their content."""
