r"""Server-sent events, read: bytes → frames, by the WHATWG standard (HTML, section 9.2.6).

The invariant: the frames, and whether the limit is exceeded, depend on the bytes alone, not on how they are cut into
chunks. The time is linear in the bytes, and what is kept between two chunks is bounded by the limit.

How. A chunk is cut at its line ends by one C call: `bytes.splitlines` knows CR, LF and CRLF and no other line end, just
as the standard. Only what a chunk border may split is kept from one chunk to the next:

* An unfinished line, but only one that is, or can still become, a field that is read. A comment of any length, such as
  a keep-alive, costs no memory; its end is skipped when it comes.
* A CR at the end of a chunk: an LF at the start of the next one belongs to it, and is no blank line.
* The first bytes of the stream, while they may still be a byte-order mark, which is skipped.

    "data: a\r" + "\ndata: b\n\n"   and   "data: a\r\ndata: b\n" + "\n"   are both   Frame(data=b"a\nb")

The limit counts the bytes of the lines of a block that are kept (`data`, `event`, `id`, `retry`), each with its name.
An unfinished line counts as far as it has come: if that exceeds the limit, the whole line does.

What would break it: `str.splitlines`, which also cuts at U+2028 and others; counting chunks or comments; and trusting
that a blank line comes in one piece. Data stays bytes. It is checked to be UTF-8 only where a byte is not ASCII.
"""

from typing import Final

import msgspec

from stepstream.errors import FrameTooLarge

DEFAULT_MAX_EVENT_BYTES: Final = 16 * 2**20

_BOM: Final = b"\xef\xbb\xbf"
_LF: Final = 0x0A
_LINE_ENDS: Final = frozenset(b"\r\n")
_KEPT_PREFIXES: Final = (b"data:", b"event:", b"id:", b"retry:")
_FIELDS: Final = frozenset({b"data", b"event", b"id", b"retry"})
_LONGEST_NAME: Final = len(b"event:")
_RETRY_DIGITS: Final = 18
"""Digits of a reconnection time at most. A longer one, over thirty million years, is ignored."""


def _data_is_required() -> bytes:
    raise TypeError("Frame() needs data: a block without data is no event")


class Frame(msgspec.Struct, frozen=True, gc=False):
    """One dispatched message: the event's name, its data (valid UTF-8), and the last event id as of its dispatch."""

    event: str = "message"
    data: bytes = msgspec.field(default_factory=_data_is_required)
    id: str = ""

    def __repr__(self) -> str:
        return f"<Frame {self.event} {len(self.data):,} bytes>"


class FrameDecoder:
    """Decodes chunks of bytes to frames. Any chunking of the same bytes gives the same frames.

    `max_event_bytes` is the limit on one event. `last_event_id` is the id of the frames until the stream sets one.
    A decoder is for one connection.
    """

    __slots__ = (
        "_data", "_event", "_failed", "_id", "_is_ignored", "_limit", "_line", "_size", "_skip_lf", "_start",
        "last_event_id", "retry",
    )  # fmt: skip

    def __init__(self, *, max_event_bytes: int = DEFAULT_MAX_EVENT_BYTES, last_event_id: str = "") -> None:
        self.last_event_id = last_event_id
        """The id as of the last dispatched block: what a reconnection sends."""
        self.retry: int | None = None
        """The reconnection time in milliseconds that the server asked for, or None."""
        self._limit = max_event_bytes
        self._start: bytes | None = b""  # the first bytes, while they may still be a byte-order mark
        self._line = bytearray()  # the unfinished line
        self._is_ignored = False  # the unfinished line is a comment or an unknown field
        self._skip_lf = False  # the last byte was CR: an LF right after it is the same line end
        self._failed = False
        self._id = last_event_id
        self._event = ""
        self._data: list[bytes] = []
        self._size = 0

    def __repr__(self) -> str:
        return f"<FrameDecoder {self._size + len(self._line):,} bytes pending, id {self.last_event_id!r}>"

    @property
    def is_between_blocks(self) -> bool:
        """Whether nothing is kept: the next byte begins the first line of a new block."""
        return self._start is None and not (self._size or self._line or self._is_ignored or self._skip_lf)

    def feed(self, chunk: bytes | bytearray | memoryview) -> list[Frame]:
        """Take the next bytes and return the frames they complete, maybe none.

        Raises:
            FrameTooLarge: an event is longer than the limit. `frames` of the exception are those completed before it.
                Every further call raises: where the next event begins is not known.
        """
        if self._failed:
            raise FrameTooLarge(self._limit, [])
        frames: list[Frame] = []
        chunk = self._without_line_feed(self._without_bom(bytes(chunk)))
        if not chunk:
            return frames
        lines = chunk.splitlines()
        tail = lines.pop() if chunk[-1] not in _LINE_ENDS else b""
        self._skip_lf = chunk.endswith(b"\r")
        if lines and (self._line or self._is_ignored):
            self._finish_line(lines, frames)
        for line in lines:
            if not line:
                self._dispatch(frames)
                continue
            size, start = self._size + len(line), line[:6]
            # The next two branches do what `_field` does, without its call: these are nearly all lines.
            if start == b"data: " and size <= self._limit:
                self._data.append(line[6:])
                self._size = size
            elif start == b"event:" and size <= self._limit:
                self._event = line[7 if line[6:7] == b" " else 6 :].decode("utf-8", "replace")
                self._size = size
            else:
                self._field(line, frames)
        if tail and not self._is_ignored:
            self._keep(tail, frames)
        return frames

    def pending(self) -> Frame | None:
        """Return the block that still lacks its blank line, or None where it has no data.

        By the standard that is no frame, and is discarded at the end of a stream. The decoder is not changed.
        """
        probe = FrameDecoder(max_event_bytes=self._limit, last_event_id=self._id)
        probe._event, probe._data = self._event, self._data.copy()
        found: list[Frame] = []
        if self._line:
            probe._field(bytes(self._line), found)
        probe._dispatch(found)
        return found[0] if found else None

    def _without_bom(self, chunk: bytes) -> bytes:
        """Return `chunk` without a byte-order mark at the start of the stream, which chunks may split."""
        if self._start is None or not chunk:
            return chunk
        start = self._start + chunk
        if len(start) < len(_BOM) and _BOM.startswith(start):
            self._start = start
            return b""
        self._start = None
        return start.removeprefix(_BOM)

    def _without_line_feed(self, chunk: bytes) -> bytes:
        """Return `chunk` without the LF of a CRLF whose CR ended the chunk before."""
        if self._skip_lf and chunk:
            self._skip_lf = False
            if chunk[0] == _LF:
                return chunk[1:]
        return chunk

    def _finish_line(self, lines: list[bytes], frames: list[Frame]) -> None:
        """Take the first of `lines` as the end of the unfinished line, and read that."""
        rest = lines.pop(0)
        if self._is_ignored:
            self._is_ignored = False
            return
        self._line += rest
        line = bytes(self._line)
        self._line.clear()
        self._field(line, frames)

    def _keep(self, tail: bytes, frames: list[Frame]) -> None:
        """Keep the unfinished line, unless it is known already that it will be ignored."""
        self._line += tail
        if self._line.startswith(_KEPT_PREFIXES):
            if self._size + len(self._line) > self._limit:
                self._fail(frames)
        elif len(self._line) >= _LONGEST_NAME or self._line.startswith(b":"):
            self._line.clear()
            self._is_ignored = True

    def _field(self, line: bytes, frames: list[Frame]) -> None:
        """Read a line with a field. A comment has an empty name, and is ignored like any unknown field."""
        name, colon, value = line.partition(b":")
        if name not in _FIELDS:
            return
        self._size += len(line)
        if self._size > self._limit:
            self._fail(frames)
        if colon:
            value = value.removeprefix(b" ")
        if name == b"data":
            self._data.append(value)
        elif name == b"event":
            self._event = value.decode("utf-8", "replace")
        elif name == b"id":
            if b"\0" not in value:  # by the standard, such an id is ignored
                self._id = value.decode("utf-8", "replace")
        elif value.isdigit() and len(value.lstrip(b"0")) <= _RETRY_DIGITS:
            self.retry = int(value.lstrip(b"0") or b"0")

    def _dispatch(self, frames: list[Frame]) -> None:
        self.last_event_id = self._id
        if self._data:
            data = self._data[0] if len(self._data) == 1 else b"\n".join(self._data)
            frames.append(Frame(self._event or "message", data if data.isascii() else valid(data), self._id))
            self._data.clear()
        self._event = ""
        self._size = 0

    def _fail(self, frames: list[Frame]) -> None:
        self._failed = True
        raise FrameTooLarge(self._limit, frames)


def valid(data: bytes) -> bytes:
    """Return `data` with invalid UTF-8 replaced by U+FFFD, one for each maximal subpart, as the standard decodes it."""
    try:
        data.decode()
    except UnicodeDecodeError:
        return data.decode("utf-8", "replace").encode()
    return data
