"""What a tool call, a message or a step of reasoning holds, read from the tree that deltas grow."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import msgspec

from stepstream.fold.tree import Node
from stepstream.views.escaping import one_line
from stepstream.views.model import Body, Kind
from stepstream.views.texts import DIGEST, body, brief, flat, head, last, tail

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


def bodies_of(call: Mapping[str, Any]) -> tuple[Body, ...]:
    """Return what a tool call holds."""
    kind = str(call.get("type"))
    if kind == "code_interpreter":
        return tuple(_code(call.get("code_interpreter")))
    if kind == "file_search":
        return tuple(_hits(call.get("file_search")))
    if kind in SHOWN:
        content = call.get(kind)
        return tuple(SHOWN[kind](content)) if isinstance(content, dict) else ()
    if kind in FIELDS:
        key, texts = FIELDS[kind]
        content = call.get(key) if key else call
        content = content if isinstance(content, dict) else {}
        return tuple(one for field, how in texts for one in body(how, content.get(field)))
    rest = {key: value for key, value in call.items() if key not in ("id", "type", "name", "status")}
    return tuple(body("raw", brief(rest))) if rest else ()


def _code(content: Any) -> Iterator[Body]:
    if not isinstance(content, dict):
        return
    yield from body("code", content.get("input"))
    outputs = content.get("outputs")
    for output in last(outputs):
        if "logs" in output:
            yield from body("logs", output["logs"])
        elif isinstance(output.get("image"), dict):
            yield from body("output", f"image {one_line(output['image'].get('file_id'))}")


def _hits(content: Any) -> Iterator[Body]:
    results = content.get("results") if isinstance(content, dict) else None
    lines = [_hit(result) for result in list(results or ())[:20]] if isinstance(results, list | tuple) else []
    if lines:
        yield Body("hits", "\n".join(lines))


def _hit(result: Any) -> str:
    """Return a search result in one line: its score, its file, how its text begins."""
    found = result if isinstance(result, dict) else msgspec.structs.asdict(result)
    score, name = found.get("score"), found.get("file_name") or found.get("file_id") or "?"
    shown = f"{score:.2f}" if isinstance(score, int | float) else "    "
    parts = found.get("content") or ()
    text = next((one["text"] for one in parts if isinstance(one, dict) and isinstance(one.get("text"), str)), "")
    return one_line(f"{shown}  {str(name)[:DIGEST]}  {' '.join(text[:DIGEST].split())}".rstrip())


def _shell(content: Mapping[str, Any]) -> Iterator[Body]:
    for command in last(content.get("commands")):
        yield from body("code", command.get("command"))
    for output in last(content.get("outputs")):
        yield from body("logs", output.get("stdout"))
        yield from body("logs", output.get("stderr"))


def _patch(content: Mapping[str, Any]) -> Iterator[Body]:
    operation = content.get("operation")
    if isinstance(operation, dict):
        yield from body("text", f"{operation.get('type') or ''} {operation.get('path') or ''}")
        yield from body("code", operation.get("diff"))
    yield from body("output", content.get("output"))


def _web_search(content: Mapping[str, Any]) -> Iterator[Body]:
    yield from body("text", _sought(content))


def _sought(content: Mapping[str, Any]) -> str:
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
    return " · ".join(dict.fromkeys(text[:DIGEST] for text in named[:8] if isinstance(text, str) and text))


def _image(content: Mapping[str, Any]) -> Iterator[Body]:
    yield from body("text", content.get("revised_prompt"))
    if content.get("result"):
        yield Body("output", "an image")


SHOWN: Final[Mapping[str, Callable[[Mapping[str, Any]], Iterator[Body]]]] = {
    "apply_patch": _patch,
    "image_generation": _image,
    "shell": _shell,
    "web_search": _web_search,
}
"""What is shown of the kinds of call that hold more than texts side by side."""


def thought_bodies(details: Node) -> tuple[Body, ...]:
    """Return what a model thought, or the summary where there is one."""
    return tuple(one for text in _thoughts(details) for one in body("text", text))


def thought_digest(details: Node) -> str:
    """Return how what a model thought begins."""
    return flat(next((head(text) for text in _thoughts(details)), ""))


def _thoughts(details: Node) -> list[object]:
    reasoning = details.get("reasoning")
    if not isinstance(reasoning, dict):
        return []
    summary = [part.get("text") for part in last(reasoning.get("summary"))]
    return summary or [part.get("text") for part in last(reasoning.get("content"))]


def digest_of(call: Mapping[str, Any], arrow: str) -> str:
    """Return what a finished call was about, in one line; `arrow` stands before its output."""
    kind = str(call.get("type"))
    if kind == "code_interpreter":
        content = call.get("code_interpreter")
        outputs = last(content.get("outputs"), 2) if isinstance(content, dict) else []
        ends = [tail(output.get("logs"), DIGEST)[0].strip().rpartition("\n")[2] for output in outputs]
        return flat(next((f"{arrow} {end}" for end in ends if end), ""))
    if kind == "file_search":
        found = next(_hits(call.get("file_search")), None)
        return "" if found is None else f"{found.text.count(chr(10)) + 1} hits" if "\n" in found.text else "1 hit"
    if kind == "web_search":
        content = call.get(kind)
        return flat(_sought(content)) if isinstance(content, dict) else ""
    if kind not in FIELDS:
        return ""
    key, texts = FIELDS[kind]
    content = call.get(key) if key else call
    given, got = (head(content.get(field)) if isinstance(content, dict) else "" for field, _ in texts)
    return flat(f" {arrow} ".join(part for part in (given, got) if part))


def message_bodies(tree: Node) -> tuple[Body, ...]:
    """Return what a message says."""
    return tuple(one for text in _texts(tree) for one in body("text", text))


def message_digest(tree: Node) -> str:
    """Return how a message begins."""
    return flat(next((head(text) for text in _texts(tree)), ""))


def _texts(tree: Node) -> Iterator[object]:
    for part in last(tree.get("content")):
        text = part.get("text")
        yield text.get("value") if isinstance(text, dict) else part.get("refusal")
        for key in ("image_file", "image_url"):
            if isinstance(part.get(key), dict):
                yield f"{key} {brief(part[key], DIGEST)}"
