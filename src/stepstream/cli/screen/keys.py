"""Bytes that were typed → the names of actions."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Literal, TypeAlias

Action: TypeAlias = Literal["quit", "pause", "next", "previous", "open", "save", "unselect"]

ACTIONS: Final[Mapping[bytes, Action]] = {
    b"q": "quit",
    b"Q": "quit",
    b" ": "pause",
    b"j": "next",
    b"k": "previous",
    b"\x1b[B": "next",
    b"\x1bOB": "next",
    b"\x1b[A": "previous",
    b"\x1bOA": "previous",
    b"\r": "open",
    b"\n": "open",
    b"s": "save",
    b"\x1b": "unselect",
}

_KEY: Final = re.compile(rb"\x1b\[[0-?]*[ -/]*[@-~]|\x1bO.|\x1b.?|.", re.DOTALL)


def actions(typed: bytes) -> Iterator[Action]:
    """Yield what `typed` asks for. Keys without an action are skipped."""
    for key in _KEY.findall(typed):
        if key in ACTIONS:
            yield ACTIONS[key]


def moved(selected: str | None, keys: Sequence[str], by: int) -> str | None:
    """Return what is selected `by` places after `selected` among `keys`; first of all, or again, the last."""
    if not keys:
        return selected
    at = keys.index(selected) + by if selected in keys else len(keys) - 1
    return keys[max(0, min(at, len(keys) - 1))]
