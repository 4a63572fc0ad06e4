"""What a tool call, a message or a step of reasoning holds, as far as a terminal shows it: escaped, and cut."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from stepstream.fold.tree import Node
from stepstream.views.contents import FIELDS, held_by_call, hits_of, sought, thoughts
from stepstream.views.escaping import one_line
from stepstream.views.model import Body
from stepstream.views.texts import DIGEST, body, brief, flat, head, last, tail

NEWEST: Final = 8
"""Entries of a list that are shown."""


def bodies_of(call: Mapping[str, Any]) -> tuple[Body, ...]:
    """Return what a tool call holds."""
    if call.get("type") == "file_search":
        lines = hits_of(call.get("file_search"))
        return (Body("hits", "\n".join(map(one_line, lines))),) if lines else ()
    held = held_by_call(call, NEWEST)
    if held is not None:
        return tuple(one for how, value in held for one in body(how, value))
    rest = {key: value for key, value in call.items() if key not in ("id", "type", "name", "status")}
    return tuple(body("raw", brief(rest))) if rest else ()


def thought_bodies(details: Node) -> tuple[Body, ...]:
    """Return what a model thought, or the summary where there is one."""
    return tuple(one for text in thoughts(details, NEWEST) for one in body("text", text))


def thought_digest(details: Node) -> str:
    """Return how what a model thought begins."""
    return flat(next((head(text) for text in thoughts(details, NEWEST)), ""))


def digest_of(call: Mapping[str, Any], arrow: str) -> str:
    """Return what a finished call was about, in one line; `arrow` stands before its output."""
    kind = str(call.get("type"))
    if kind == "code_interpreter":
        content = call.get("code_interpreter")
        outputs = last(content.get("outputs"), 2) if isinstance(content, dict) else []
        ends = [tail(output.get("logs"), DIGEST)[0].strip().rpartition("\n")[2] for output in outputs]
        return flat(next((f"{arrow} {end}" for end in ends if end), ""))
    if kind == "file_search":
        found = len(hits_of(call.get("file_search")))
        return f"{found} hit{'s' if found > 1 else ''}" if found else ""
    if kind == "web_search":
        content = call.get(kind)
        return flat(sought(content)) if isinstance(content, dict) else ""
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
