"""What a tool call or a message holds, read from the tree that deltas grow.

Views are built several times a second while a text grows, so nothing here may cost more the longer that text is. The
text lies in the pieces it came in; only as many of them are read, from its end or its beginning, as a screen can show,
and they are never joined as a whole (`TextBuffer.text` would).
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from stepstream.fold.tree import Indexed, Node, TextBuffer
from stepstream.views.escaping import many_lines, one_line
from stepstream.views.model import Body, Kind

LIMIT: Final = 6_000
"""Characters of a text that are read: what fits on a large screen."""

DIGEST: Final = 160
"""Characters of a text in one line."""

FIELDS: Final[Mapping[str, tuple[str | None, tuple[tuple[str, Kind], ...]]]] = {
    "azure_function": ("azure_function", (("arguments", "json"), ("output", "output"))),
    "browser_automation": ("browser_automation", (("input", "text"), ("output", "output"))),
    "connected_agent": ("connected_agent", (("arguments", "json"), ("output", "output"))),
    "deep_research": ("deep_research", (("input", "text"), ("output", "output"))),
    "function": ("function", (("arguments", "json"), ("output", "output"))),
    "mcp": (None, (("arguments", "json"), ("output", "output"))),
    "openapi": ("function", (("arguments", "json"), ("output", "output"))),
}
"""The kinds of call that hold texts: the key they lie under, and the texts in order."""


def tail(value: object, limit: int = LIMIT) -> tuple[str, bool]:
    """Return the end of a text, and whether there is more before it."""
    if isinstance(value, str):
        return value[-limit:], len(value) > limit
    if not isinstance(value, TextBuffer):
        return "", False
    end: list[str] = []
    size = 0
    for piece in reversed(value):
        if size >= limit:
            return "".join(reversed(end))[-limit:], True
        end.append(piece[-limit:])
        size += len(piece)
    return "".join(reversed(end))[-limit:], size > limit


def head(value: object, limit: int = DIGEST) -> str:
    """Return the beginning of a text."""
    if isinstance(value, TextBuffer):
        value = "".join(piece[:limit] for piece in value[:limit])
    return value[:limit] if isinstance(value, str) else ""


def body(kind: Kind, value: object) -> Iterator[Body]:
    """Yield a text as a body, if it says anything. JSON is laid out as soon as it is whole."""
    text, is_cut = tail(value)
    if not text.strip():
        return
    if kind in ("json", "output") and not is_cut:
        pretty = _pretty(text)
        if pretty is not None:
            yield Body("json" if kind == "json" else kind, _shown(pretty))
            return
    yield Body("raw" if kind == "json" else kind, _shown(text), is_cut)


def _shown(text: str) -> str:
    return many_lines(text)[-LIMIT:]


def _pretty(text: str) -> str | None:
    """Return JSON laid out over lines, or None where it is no JSON yet."""
    if text.rstrip()[-1:] not in ("}", "]"):  # the usual case while it grows: no need to parse it
        return None
    try:
        value = msgspec.json.decode(text)
        return json.dumps(value, indent=2, ensure_ascii=False)
    except (msgspec.DecodeError, UnicodeError, RecursionError, ValueError):
        return None


def bodies_of(call: Mapping[str, Any]) -> tuple[Body, ...]:
    """Return what a tool call holds."""
    kind = str(call.get("type"))
    if kind == "code_interpreter":
        return tuple(_code(call.get("code_interpreter")))
    if kind == "file_search":
        return tuple(_hits(call.get("file_search")))
    if kind in FIELDS:
        key, texts = FIELDS[kind]
        content = call.get(key) if key else call
        content = content if isinstance(content, dict) else {}
        return tuple(one for field, how in texts for one in body(how, content.get(field)))
    rest = {key: value for key, value in call.items() if key not in ("id", "type", "name")}
    return tuple(body("raw", brief(rest))) if rest else ()


def _code(content: Any) -> Iterator[Body]:
    if not isinstance(content, dict):
        return
    yield from body("code", content.get("input"))
    outputs = content.get("outputs")
    for output in _last(outputs):
        if "logs" in output:
            yield from body("logs", output["logs"])
        elif isinstance(output.get("image"), dict):
            yield from body("output", f"image {one_line(output['image'].get('file_id'))}")


def _last(entries: object, count: int = 8) -> list[Mapping[str, Any]]:
    """Return the newest entries of a list that grows."""
    if not isinstance(entries, Indexed):
        return []
    return [entries[index] for index in list(entries)[-count:]]


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


def brief(value: object, limit: int = 1_000) -> str:
    """Return `value` as JSON in about `limit` characters at most. What is beyond them is not read."""
    if isinstance(value, TextBuffer | str):
        text = head(value, limit)
        return json.dumps(text, ensure_ascii=False)
    if isinstance(value, Indexed):
        value = list(value.values())
    if isinstance(value, msgspec.Struct):
        value = msgspec.structs.asdict(value)
    if isinstance(value, dict):
        parts = _entries(((f"{json.dumps(str(key)[:limit])}: ", one) for key, one in value.items()), limit)
        return f"{{{', '.join(parts)}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(_entries((('', one) for one in value), limit))}]"
    return "null" if value is msgspec.UNSET else json.dumps(value, default=str)[:limit]


def _entries(entries: Iterator[tuple[str, object]], limit: int) -> Iterator[str]:
    for key, value in entries:
        text = key + brief(value, limit)
        yield text
        limit -= len(text)
        if limit <= 0:
            yield "…"
            return


def digest_of(call: Mapping[str, Any], arrow: str) -> str:
    """Return what a finished call was about, in one line; `arrow` stands before its output."""
    kind = str(call.get("type"))
    if kind == "code_interpreter":
        content = call.get("code_interpreter")
        outputs = _last(content.get("outputs"), 2) if isinstance(content, dict) else []
        ends = [tail(output.get("logs"), DIGEST)[0].strip().rpartition("\n")[2] for output in outputs]
        return _flat(next((f"{arrow} {end}" for end in ends if end), ""))
    if kind == "file_search":
        found = next(_hits(call.get("file_search")), None)
        return "" if found is None else f"{found.text.count(chr(10)) + 1} hits" if "\n" in found.text else "1 hit"
    if kind not in FIELDS:
        return ""
    key, texts = FIELDS[kind]
    content = call.get(key) if key else call
    given, got = (head(content.get(field)) if isinstance(content, dict) else "" for field, _ in texts)
    return _flat(f" {arrow} ".join(part for part in (given, got) if part))


def _flat(text: str) -> str:
    return one_line(" ".join(text.split()))[:DIGEST]


def message_bodies(tree: Node) -> tuple[Body, ...]:
    """Return what a message says."""
    return tuple(one for text in _texts(tree) for one in body("text", text))


def message_digest(tree: Node) -> str:
    """Return how a message begins."""
    return _flat(next((head(text) for text in _texts(tree)), ""))


def _texts(tree: Node) -> Iterator[object]:
    for part in _last(tree.get("content")):
        text = part.get("text")
        yield text.get("value") if isinstance(text, dict) else part.get("refusal")
        for key in ("image_file", "image_url"):
            if isinstance(part.get(key), dict):
                yield f"{key} {brief(part[key], DIGEST)}"
