r"""Server-sent events, read and written: bytes ⇄ frames, by the WHATWG standard (HTML, section 9.2.6).

The invariant: the frames, and whether the limit is exceeded, depend on the bytes alone, not on how they are cut into
chunks. The time is linear in the bytes, and what is kept between two chunks is bounded by the limit.

`LineCutter` knows how lines end and what is kept of an unfinished one. Here their fields are collected to a blank line:

    "event: a", "data: 1", "data: 2", ""   →   Frame("a", b"1\n2")

The limit counts the bytes of the lines of a block that are kept (`data`, `event`, `id`, `retry`), each with its name.
An unfinished line counts as far as it has come: if that exceeds the limit, the whole line does.

What would break it: counting chunks or comments. Data stays bytes. It is checked to be UTF-8 only where a byte is not
ASCII.
"""

import re
from typing import Final

import msgspec

from stepstream.errors import FrameTooLarge
from stepstream.wire.sse_lines import FIELD_STARTS, FIELDS, LineCutter, field_of, id_of, retry_of

DEFAULT_MAX_EVENT_BYTES: Final = 16 * 2**20

_MANY: Final = 256
"""Lines of data that may be kept apart between two chunks: a short one takes five times its bytes."""

_NOT_IN_NAME: Final = re.compile("[\r\n\ud800-\udfff]")
_NOT_IN_ID: Final = re.compile("[\r\n\0\ud800-\udfff]")


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

    __slots__ = ("_data", "_event", "_failed", "_id", "_limit", "_lines", "_size", "last_event_id", "retry")

    def __init__(self, *, max_event_bytes: int = DEFAULT_MAX_EVENT_BYTES, last_event_id: str = "") -> None:
        self.last_event_id: str = last_event_id
        """The id as of the last dispatched block: what a reconnection sends."""
        self.retry: int | None = None
        """The reconnection time in milliseconds that the server asked for, or None."""
        self._limit = max_event_bytes
        self._lines = LineCutter()
        self._failed = False
        self._id = last_event_id
        self._event = ""
        self._data: list[bytes | bytearray] = []
        self._size = 0

    def __repr__(self) -> str:
        return f"<FrameDecoder {self._size + len(self._lines.unfinished):,} bytes pending, id {self.last_event_id!r}>"

    @property
    def _is_between_blocks(self) -> bool:
        """Whether nothing is kept: the next byte begins the first line of a new block."""
        return self._lines.is_between_lines and not self._size

    def feed(self, chunk: bytes | bytearray | memoryview) -> list[Frame]:
        """Take the next bytes and return the frames they complete, maybe none.

        Raises:
            FrameTooLarge: an event is longer than the limit. `frames` of the exception are those completed before it.
                Every further call raises: where the next event begins is not known.
        """
        if self._failed:
            raise FrameTooLarge(self._limit, [])
        frames: list[Frame] = []
        for line in self._lines.feed(bytes(chunk)):
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
        if len(self._data) > _MANY:
            self._put_together()
        unfinished = self._lines.unfinished
        if self._size + len(unfinished) > self._limit and unfinished.startswith(FIELD_STARTS):
            self._fail(frames)
        return frames

    def _take_id(self, value: bytes) -> None:
        """Take the last event id that a block sets which is not fed. For the `Scanner`, between two blocks only."""
        self.last_event_id = self._id = id_of(value, self._id)

    def pending(self) -> Frame | None:
        """Return the block that still lacks its blank line, or None where it has no data.

        By the standard that is no frame, and is discarded at the end of a stream. The decoder is not changed.
        """
        probe = FrameDecoder(max_event_bytes=len(self._lines.unfinished), last_event_id=self._id)
        probe._event, probe._data = self._event, self._data.copy()
        found: list[Frame] = []
        probe._field(bytes(self._lines.unfinished), found)
        probe._dispatch(found)
        return found[0] if found else None

    def _field(self, line: bytes, frames: list[Frame]) -> None:
        """Read a line, which is ignored where it is no field."""
        name, value = field_of(line)
        if name not in FIELDS:
            return
        self._size += len(line)
        if self._size > self._limit:
            self._fail(frames)
        if name == b"data":
            self._data.append(value)
        elif name == b"event":
            self._event = value.decode("utf-8", "replace")
        elif name == b"id":
            self._id = id_of(value, self._id)
        else:
            self.retry = retry_of(value, self.retry)

    def _put_together(self) -> None:
        first = self._data[0]
        together = first if isinstance(first, bytearray) else bytearray(first)
        self._data[0] = b""  # a line end before the rest
        together += b"\n".join(self._data)
        self._data = [together]

    def _dispatch(self, frames: list[Frame]) -> None:
        self.last_event_id = self._id
        if self._data:
            first = self._data[0]
            data = first if len(self._data) == 1 and type(first) is bytes else b"\n".join(self._data)
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


def encode_frame(frame: Frame, *, retry: int | None = None) -> bytes:
    """Return `frame` as one block of an event stream, which a standard parser reads back as `frame`.

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


def encodable(frame: Frame) -> Frame:
    """Return a frame that lines can hold: what none can, which no parser gives but others may, becomes U+FFFD."""
    if frame.event.isprintable() and frame.id.isprintable() and frame.data.isascii():
        return frame
    event, identifier = _NOT_IN_NAME.sub("\ufffd", frame.event), _NOT_IN_ID.sub("\ufffd", frame.id)
    return Frame(event, valid(frame.data), identifier)


def encode_comment(text: str) -> bytes:
    """Return `text` as a block of comments, one per line, which parsers ignore: a keep-alive."""
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
