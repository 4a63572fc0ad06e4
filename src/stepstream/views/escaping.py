"""Text of servers made harmless for a screen: every control character is escaped."""

import re
from typing import Final

_C0: Final = "\x00-\x1f\x7f"
_BEYOND: Final = "\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069"
"""DEL and C1, line separators, and the marks that turn the direction of text."""

_IN_LINE: Final = re.compile(f"[{_C0}{_BEYOND}]")
_IN_JSON: Final = re.compile(f"[{_BEYOND}]")


def one_line(text: object) -> str:
    """Return `text` for one line: every control character as `\\u` and four digits, line ends too."""
    return _IN_LINE.sub(_escaped, str(text))


def many_lines(text: str) -> str:
    """Return `text` for several lines: line ends stay, tabs become spaces, all else is escaped as in `one_line`."""
    lines = text.replace("\r\n", "\n").expandtabs(4).split("\n")
    return "\n".join(map(one_line, lines))


def json_line(encoded: bytes) -> bytes:
    """Return JSON with the control characters that JSON allows escaped as JSON allows: its meaning is the same."""
    if encoded.isascii() and b"\x7f" not in encoded:
        return encoded
    return _IN_JSON.sub(_escaped, encoded.decode()).encode()


def in_ascii(text: str) -> str:
    """Return `text` for a screen that shows ASCII only: other characters as escapes."""
    return text if text.isascii() else text.encode("ascii", "backslashreplace").decode()


def _escaped(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}"
