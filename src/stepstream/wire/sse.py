"""Server-sent events: bytes → frames and back, by the WHATWG standard (HTML, section 9.2.6).

How the decoder works: each chunk is cut at its line ends by one C call; only the last, unfinished line is kept
between chunks, and of that only what can still become a field we know. So a keep-alive comment of any length costs
no memory, and the time is linear in the bytes whatever the chunking. The size limit counts the lines of one block
that are kept (`data`, `event`, `id`, `retry`), and it counts them alike for every chunking.
"""

from typing import Final

import msgspec

from stepstream.errors import FrameTooLarge

DEFAULT_MAX_EVENT_BYTES: Final = 16 * 2**20

_BOM: Final = b"\xef\xbb\xbf"
_LF: Final = 0x0A
_LINE_ENDS: Final = frozenset(b"\r\n")
_KEPT: Final = (b"data:", b"event:", b"id:", b"retry:")
_BARE: Final = frozenset({b"data", b"event", b"id", b"retry"})
_LONGEST_NAME: Final = len(b"event:")
_RETRY_DIGITS: Final = 18
"""A longer reconnection time (over thirty million years) is taken for nonsense and ignored."""


def _data_is_required() -> bytes:
    raise TypeError("Frame() needs data: a block without data is no event")


class Frame(msgspec.Struct, frozen=True, gc=False):
    """One dispatched message: the event's name, its data (valid UTF-8) and the last event id at that moment."""

    event: str = "message"
    data: bytes = msgspec.field(default_factory=_data_is_required)
    id: str = ""

    def __repr__(self) -> str:
        return f"<Frame {self.event} {len(self.data):,} bytes>"


class FrameDecoder:
    """Turn chunks of bytes into frames. Any chunking of the same bytes gives the same frames.

    `max_event_bytes` bounds one event. `last_event_id` seeds the id that frames carry until the stream sets one.
    One decoder serves one connection.
    """

    __slots__ = (
        "_data", "_dropping", "_event", "_failed", "_id", "_limit", "_line", "_opening", "_size", "_skip_lf",
        "last_event_id", "retry",
    )  # fmt: skip

    def __init__(self, *, max_event_bytes: int = DEFAULT_MAX_EVENT_BYTES, last_event_id: str = "") -> None:
        self.last_event_id = last_event_id
        """The id as of the last dispatched block: what a reconnection sends."""
        self.retry: int | None = None
        """The reconnection time in milliseconds that the server asked for, or None."""
        self._limit = max_event_bytes
        self._opening: bytes | None = b""  # the first bytes, while they may still be a byte-order mark
        self._line = bytearray()  # the unfinished line
        self._dropping = False  # the unfinished line is a comment or an unknown field
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
        """Whether nothing is kept of what came: the next byte begins a line of a new block."""
        return self._opening is None and not (self._size or self._line or self._dropping or self._skip_lf)

    def feed(self, chunk: bytes | bytearray | memoryview) -> list[Frame]:
        """Take the next bytes and return the frames they complete, maybe none.

        Raises:
            FrameTooLarge: an event is longer than the limit. Its `.frames` are those completed before it; the
                decoder is spent and raises at every further call.
        """
        if self._failed:
            raise FrameTooLarge(self._limit, [])
        frames: list[Frame] = []
        chunk = self._past_line_feed(self._past_mark(bytes(chunk)))
        if not chunk:
            return frames
        lines = chunk.splitlines()
        tail = lines.pop() if chunk[-1] not in _LINE_ENDS else b""
        self._skip_lf = chunk.endswith(b"\r")
        if lines and (self._line or self._dropping):
            self._finish_line(lines, frames)
        for line in lines:
            if not line:
                self._dispatch(frames)
                continue
            size, start = self._size + len(line), line[:6]
            if start == b"data: " and size <= self._limit:  # what `_field` does, for nearly all lines
                self._data.append(line[6:])
                self._size = size
            elif start == b"event:" and size <= self._limit:
                self._event = line[7 if line[6:7] == b" " else 6 :].decode("utf-8", "replace")
                self._size = size
            else:
                self._field(line, frames)
        if tail and not self._dropping:
            self._keep(tail, frames)
        return frames

    def pending(self) -> Frame | None:
        """Return the block that still lacks its blank line, or None where it has no data.

        By the standard it is no frame and is discarded at the end of a stream. Nothing in the decoder changes.
        """
        probe = FrameDecoder(max_event_bytes=self._limit, last_event_id=self._id)
        probe._event, probe._data = self._event, self._data.copy()
        found: list[Frame] = []
        if self._line:
            probe._field(bytes(self._line), found)
        probe._dispatch(found)
        return found[0] if found else None

    def _past_mark(self, chunk: bytes) -> bytes:
        """Return `chunk` without a byte-order mark at the very start of the stream, which may come in pieces."""
        if self._opening is None or not chunk:
            return chunk
        opening = self._opening + chunk
        if len(opening) < len(_BOM) and _BOM.startswith(opening):
            self._opening = opening
            return b""
        self._opening = None
        return opening.removeprefix(_BOM)

    def _past_line_feed(self, chunk: bytes) -> bytes:
        """Return `chunk` without the LF of a CRLF whose CR ended the chunk before."""
        if self._skip_lf and chunk:
            self._skip_lf = False
            if chunk[0] == _LF:
                return chunk[1:]
        return chunk

    def _finish_line(self, lines: list[bytes], frames: list[Frame]) -> None:
        """Join the first of `lines` to the unfinished line, and take it."""
        rest = lines.pop(0)
        if self._dropping:
            self._dropping = False
            return
        self._line += rest
        line = bytes(self._line)
        self._line.clear()
        self._field(line, frames)

    def _keep(self, tail: bytes, frames: list[Frame]) -> None:
        """Keep the unfinished line, unless it can be dropped already."""
        self._line += tail
        if self._line.startswith(_KEPT):
            if self._size + len(self._line) > self._limit:
                self._fail(frames)
        elif len(self._line) >= _LONGEST_NAME or self._line.startswith(b":"):
            self._line.clear()
            self._dropping = True

    def _field(self, line: bytes, frames: list[Frame]) -> None:
        name, colon, value = line.partition(b":")
        if name not in _BARE:
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
            if b"\0" not in value:
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
    """Return `data` with every invalid UTF-8 sequence replaced by U+FFFD, one for each maximal subpart."""
    try:
        data.decode()
    except UnicodeDecodeError:
        return data.decode("utf-8", "replace").encode()
    return data


def encode_frame(frame: Frame, *, retry: int | None = None) -> bytes:
    r"""Return `frame` as one block of a server-sent-event stream, which a standard parser reads back as `frame`.

    CR and CRLF in the data become LF, since the format cannot carry them. An event named "message" or "" and an
    empty id are left out. `retry` adds a reconnection time, in milliseconds.

    Raises:
        ValueError: CR, LF or NUL in the event's name or the id (it would forge fields or lose the id), data that is
            not UTF-8, or a negative `retry`.
        TypeError: `retry` is not an int.
    """
    lines = []
    if frame.event and frame.event != "message":
        lines.append(b"event: " + _one_line("event", frame.event))
    if frame.id:
        lines.append(b"id: " + _one_line("id", frame.id))
    if retry is not None:
        lines.append(b"retry: %d" % _milliseconds(retry))
    text = frame.data.decode().replace("\r\n", "\n").replace("\r", "\n")
    lines.extend(b"data: " + line.encode() for line in text.split("\n"))
    return b"\n".join(lines) + b"\n\n"


def encode_comment(text: str) -> bytes:
    """Return `text` as a comment block, which parsers ignore: a keep-alive. Every line of it is a comment."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return b"".join(b": " + line.encode() + b"\n" for line in lines) + b"\n"


def _one_line(field: str, value: str) -> bytes:
    if any(character in value for character in "\r\n\0"):
        raise ValueError(f"expected {field} without CR, LF or NUL, got {value!r}")
    return value.encode()


def _milliseconds(retry: int) -> int:
    if type(retry) is not int:
        raise TypeError(f"expected retry as an int of milliseconds, got {type(retry).__name__}")
    if retry < 0:
        raise ValueError(f"expected retry of at least 0 ms, got {retry}")
    return retry
