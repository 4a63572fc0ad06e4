r"""The lines of an event stream: where they end, and which of them are fields (HTML, section 9.2.6).

No other module that reads a stream line by line knows this: `FrameDecoder` makes frames of the lines, and
`sources/stream_position.py` reads from them how far a connection has come.

The invariant: the lines depend on the bytes alone, not on how they are cut into chunks. The time is linear in the
bytes. One C call cuts a chunk: `bytes.splitlines` knows CR, LF and CRLF and no other line end, just as the standard.
Only what a chunk border may split is kept from one chunk to the next:

* An unfinished line, but only while it is, or can still become, a field that is read. Of any other, such as a comment,
  the first byte is kept: no field has a name so short, so that it reads as what it is, a line to ignore. `drop` cuts a
  line that is too long for the caller in the same way.
* A CR at the end of a chunk: an LF at the start of the next one belongs to it, and is no blank line.
* The first bytes of the stream, while they may still be a byte-order mark, which is skipped.

    "data: a\r" + "\ndata: b\n\n"   and   "data: a\r\ndata: b\n" + "\n"   are both   "data: a", "data: b", ""

What would break it: `str.splitlines`, which also cuts at U+2028 and others; and a field with a name of one byte.
"""

from typing import Final

FIELDS: Final = frozenset({b"data", b"event", b"id", b"retry"})
"""The names of the fields that are read. A line with another name is ignored; that of a comment is empty."""

FIELD_STARTS: Final = tuple(name + b":" for name in sorted(FIELDS))

_BOM: Final = b"\xef\xbb\xbf"
_LINE_ENDS: Final = frozenset(b"\r\n")
_LONGEST_START: Final = max(map(len, FIELD_STARTS))
_RETRY_DIGITS: Final = 18
LONGEST_RETRY: Final = 10**_RETRY_DIGITS
"""The milliseconds that a longer reconnection time is read as, however many digits it has."""


class LineCutter:
    """Cuts the chunks of one connection into lines, without their ends. Any chunking gives the same lines."""

    __slots__ = ("_is_dropped", "_skip_lf", "_start", "unfinished")

    def __init__(self) -> None:
        self.unfinished = bytearray()
        """The line that has begun, as far as it has come; the first byte of one that is ignored. To read only."""
        self._is_dropped = False  # no more of the unfinished line is kept
        self._skip_lf = False  # the last byte was CR: an LF right after it is the same line end
        self._start: bytes | None = b""  # the first bytes, while they may still be a byte-order mark

    @property
    def is_between_lines(self) -> bool:
        """Whether nothing is kept: the next byte is the first of a line."""
        return self._start is None and not (self.unfinished or self._skip_lf)

    def feed(self, chunk: bytes) -> list[bytes]:
        """Take the next bytes and return the lines they complete, maybe none."""
        if self._start is not None:
            chunk = self._start + chunk
            if len(chunk) < len(_BOM) and _BOM.startswith(chunk):
                self._start = chunk
                return []
            self._start, chunk = None, chunk.removeprefix(_BOM)
        if self._skip_lf and chunk:
            self._skip_lf, chunk = False, chunk.removeprefix(b"\n")
        if not chunk:
            return []
        lines = chunk.splitlines()
        tail = lines.pop() if chunk[-1] not in _LINE_ENDS else b""
        self._skip_lf = chunk.endswith(b"\r")
        if lines and self.unfinished:
            self._keep(lines[0])
            lines[0] = bytes(self.unfinished)
            self.unfinished.clear()
            self._is_dropped = False
        if tail:
            self._keep(tail)
        return lines

    def drop(self) -> None:
        """Keep no more than the first byte of the unfinished line: it is ignored."""
        del self.unfinished[1:]
        self._is_dropped = True

    def _keep(self, part: bytes) -> None:
        if not self._is_dropped:
            line = self.unfinished
            line += part
            if len(line) >= _LONGEST_START and not line.startswith(FIELD_STARTS):
                self.drop()


def field_of(line: bytes) -> tuple[bytes, bytes]:
    """Return the name and the value of a line. The name of a comment is empty."""
    name, _, value = line.partition(b":")
    return name, value.removeprefix(b" ")


def id_of(value: bytes, before: str) -> str:
    """Return the id that the value of `id` sets, or the one before: by the standard, one with NUL is ignored."""
    return before if b"\0" in value else value.decode("utf-8", "replace")


def retry_of(value: bytes, before: int | None) -> int | None:
    """Return the milliseconds that the value of `retry` sets, or those before where it is no number."""
    if not value.isdigit():
        return before
    digits = value.lstrip(b"0")
    return int(digits or b"0") if len(digits) <= _RETRY_DIGITS else LONGEST_RETRY


def last_lines(chunk: bytes, count: int) -> int:
    """Return how many bytes at the end of `chunk` are its last `count` lines, an unfinished one included."""
    return len(b"".join(chunk.splitlines(keepends=True)[-count:])) if count else 0
