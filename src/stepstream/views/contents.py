"""What a tool call, a message or a step of reasoning holds, as texts in the order in which a screen shows them.

They are given as they lie in the tree that deltas grow, so that each screen takes as much of them as it shows, and
follows those that grow. Nothing in them is escaped.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, TypeAlias

import msgspec

from stepstream.fold.tree import Indexed, Node
from stepstream.views.model import Kind

Held: TypeAlias = Iterator[tuple[Kind, object]]
"""How each text is laid out, and the text: a string, a `TextBuffer`, or what a broken server has put there."""

FIELDS: Final[Mapping[str, tuple[str | None, tuple[tuple[str, Kind], ...]]]] = {
    "azure_function": ("azure_function", (("arguments", "json"), ("output", "output"))),
    "browser_automation": ("browser_automation", (("input", "text"), ("output", "output"))),
    "connected_agent": ("connected_agent", (("arguments", "json"), ("output", "output"))),
    "custom": ("custom", (("input", "json"), ("output", "output"))),
    "deep_research": ("deep_research", (("input", "text"), ("output", "output"))),
    "function": ("function", (("arguments", "json"), ("output", "output"))),
    "mcp": (None, (("arguments", "json"), ("output", "output"))),
    "openapi": ("function", (("arguments", "json"), ("output", "output"))),
}
"""The kinds of call that hold texts: the key they lie under, and the texts in order."""

MAX_TITLE: Final = 200
"""Characters of a name, or of what was sought."""


def entries(value: object, newest: int | None = None) -> list[Mapping[str, Any]]:
    """Return the entries of a list that grows, or its newest."""
    if not isinstance(value, Indexed):
        return []
    return [value[index] for index in (list(value) if newest is not None else sorted(value))[-(newest or 0) :]]


def held_by_call(call: Mapping[str, Any], newest: int | None = None) -> Held | None:
    """Return what a tool call holds, of its lists the `newest` entries; None where its kind is not known here."""
    kind = str(call.get("type"))
    if kind in SHOWN:
        content = call.get(kind)
        return SHOWN[kind](content, newest) if isinstance(content, dict) else iter(())
    if kind in FIELDS:
        key, texts = FIELDS[kind]
        content = call.get(key) if key else call
        found = content if isinstance(content, dict) else {}
        return iter([(how, found.get(field)) for field, how in texts])
    return None


def _code(content: Mapping[str, Any], newest: int | None) -> Held:
    yield "code", content.get("input")
    for output in entries(content.get("outputs"), newest):
        if "logs" in output:
            yield "logs", output["logs"]
        elif isinstance(output.get("image"), dict):
            yield "output", f"image {output['image'].get('file_id')}"


def _shell(content: Mapping[str, Any], newest: int | None) -> Held:
    for command in entries(content.get("commands"), newest):
        yield "code", command.get("command")
    for output in entries(content.get("outputs"), newest):
        yield "logs", output.get("stdout")
        yield "logs", output.get("stderr")


def _patch(content: Mapping[str, Any], newest: int | None) -> Held:
    operation = content.get("operation")
    if isinstance(operation, dict):
        yield "text", f"{operation.get('type') or ''} {operation.get('path') or ''}"
        yield "code", operation.get("diff")
    yield "output", content.get("output")


def _web_search(content: Mapping[str, Any], newest: int | None) -> Held:
    yield "text", sought(content)


def sought(content: Mapping[str, Any]) -> str:
    """Return what was searched for, or looked at, on the web."""
    action = content.get("action")
    found = action if isinstance(action, dict) else {}
    queries = found.get("queries")
    named = [
        found.get("query"),
        *(queries if isinstance(queries, list) else ()),
        found.get("url"),
        found.get("pattern"),
    ]
    return " · ".join(dict.fromkeys(text[:MAX_TITLE] for text in named[:8] if isinstance(text, str) and text))


def _image(content: Mapping[str, Any], newest: int | None) -> Held:
    yield "text", content.get("revised_prompt")
    if content.get("result"):
        yield "output", "an image"


def _search(content: Mapping[str, Any], newest: int | None) -> Held:
    queries = content.get("queries")
    if isinstance(queries, list | tuple) and queries:
        yield "text", " · ".join(text[:MAX_TITLE] for text in queries[:8] if isinstance(text, str))
    lines = hits_of(content)
    if lines:
        yield "hits", "\n".join(lines)


def hits_of(content: object) -> list[str]:
    """Return the results of a file search, a line each: its score, its file, how its text begins."""
    results = content.get("results") if isinstance(content, dict) else None
    return [_hit(result) for result in list(results)[:20]] if isinstance(results, list | tuple) else []


def _hit(result: Any) -> str:
    found = result if isinstance(result, dict) else msgspec.structs.asdict(result)
    score, name = found.get("score"), found.get("file_name") or found.get("file_id") or "?"
    shown = f"{score:.2f}" if isinstance(score, int | float) else "    "
    parts = found.get("content") or ()
    text = next((one["text"] for one in parts if isinstance(one, dict) and isinstance(one.get("text"), str)), "")
    return f"{shown}  {str(name)[:160]}  {' '.join(text[:160].split())}".rstrip()


SHOWN: Final[Mapping[str, Callable[[Mapping[str, Any], int | None], Held]]] = {
    "apply_patch": _patch,
    "code_interpreter": _code,
    "file_search": _search,
    "image_generation": _image,
    "shell": _shell,
    "web_search": _web_search,
}
"""What is shown of the kinds of call that hold more than texts side by side."""


def thoughts(details: Mapping[str, Any], newest: int | None = None) -> list[object]:
    """Return what a model thought, or the summary where there is one."""
    reasoning = details.get("reasoning")
    if not isinstance(reasoning, dict):
        return []
    summary = [part.get("text") for part in entries(reasoning.get("summary"), newest)]
    return summary or [part.get("text") for part in entries(reasoning.get("content"), newest)]


def name_of(call: Mapping[str, Any]) -> str:
    """Return what a call calls: a function, an agent or a tool; where it has no name, the call's kind."""
    kind = call.get("type")
    content = call.get(kind) if isinstance(kind, str) else None
    inner = (content if isinstance(content, dict) else call.get("function")) or {}
    names = (call.get("name"), inner.get("name") if isinstance(inner, dict) else None, kind)
    return next((name[:MAX_TITLE] for name in names if isinstance(name, str) and name), "?")


def details_of(tree: Node) -> Node:
    """Return the details of a step, from its tree."""
    details = tree.get("step_details")
    return details if isinstance(details, Node) else Node(None)


def calls_of(details: Node) -> list[Node]:
    """Return the calls of a step, in order."""
    calls = details.get("tool_calls")
    return [calls[index] for index in sorted(calls)] if isinstance(calls, Indexed) else []


def created_message_id(tree: Node) -> str | None:
    """Return the id of the message that a step creates, read from its tree: it may have come with a delta."""
    creation = details_of(tree).get("message_creation")
    identifier = creation.get("message_id") if isinstance(creation, dict) else None
    return identifier if isinstance(identifier, str) else None
