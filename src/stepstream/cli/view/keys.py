"""What was typed, as the names of what is to be done."""

import re
from collections.abc import Iterator, Mapping
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
    """Yield what `typed` asks for. Keys that mean nothing are passed over."""
    for key in _KEY.findall(typed):
        if key in ACTIONS:
            yield ACTIONS[key]
