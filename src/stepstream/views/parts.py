"""Texts as parts of a document: `{"kind": "logs", "text": "…"}`.

A part has at most `MAX_TEXT` characters: of a longer text it is the end, and `skipped` says how many characters come
before it. The beginning moves on by whole blocks, so that a text that grows is mostly appended to.

    {"kind": "logs", "text": "…", "skipped": 98304}
"""

from collections.abc import Iterator
from typing import Any, Final, TypeAlias

import msgspec

from stepstream.fold.tree import TextBuffer, plain

JSON: TypeAlias = dict[str, Any]

MAX_TEXT: Final = 64 * 2**10
BLOCK: Final = 32 * 2**10


def skipped_of(length: int) -> int:
    """Return how many characters of a text are left out before its end."""
    return 0 if length <= MAX_TEXT else -(-(length - MAX_TEXT) // BLOCK) * BLOCK


def part(kind: str, value: object) -> JSON:
    """Return a text as a part."""
    text = value.text() if isinstance(value, TextBuffer) else str(value)
    skipped = skipped_of(len(text))
    found: JSON = {"kind": kind, "text": text[skipped:] if skipped else text}
    return {**found, "skipped": skipped} if skipped else found


class Parts:
    """The parts of an object. `growing` are the texts that deltas may append to, each with its part and its place."""

    def __init__(self) -> None:
        self.growing: list[tuple[TextBuffer, JSON, str]] = []

    def listed(self, texts: Iterator[tuple[str, object]], path: str) -> list[JSON]:
        """Return texts as parts, where they are there; `path` is the place of the list."""
        found: list[JSON] = []
        for kind, value in texts:
            if value is None or value is msgspec.UNSET:
                continue
            one = part(kind, value if isinstance(value, str | TextBuffer) else encoded(value))
            if isinstance(value, TextBuffer):
                self.growing.append((value, one, f"{path}/{len(found)}"))
            found.append(one)
        return found


def encoded(value: object) -> str:
    """Return a tree, or plain JSON, as JSON text."""
    return msgspec.json.encode(plain(value), enc_hook=str).decode()
