"""Texts that grow, as far as a screen shows them: no more of their pieces are read than that.

Views are built several times a second while a text grows, so nothing here may cost more the longer that text is. The
text lies in the pieces it came in; only as many of them are read, from its end or its beginning, as a screen can show,
and they are never joined as a whole (`TextBuffer.text` would).
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from stepstream.fold.tree import Indexed, TextBuffer
from stepstream.views.escaping import many_lines, one_line
from stepstream.views.model import Body, Kind

LIMIT: Final = 6_000
"""Characters of a text that are read: what fits on a large screen."""

DIGEST: Final = 160
"""Characters of a text in one line."""


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


def last(entries: object, count: int = 8) -> list[Mapping[str, Any]]:
    """Return the newest entries of a list that grows."""
    if not isinstance(entries, Indexed):
        return []
    return [entries[index] for index in list(entries)[-count:]]


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


def flat(text: str) -> str:
    """Return the beginning of a text in one line."""
    return one_line(" ".join(text.split()))[:DIGEST]
