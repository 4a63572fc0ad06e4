"""Where a connection stands in its stream, read from its bytes as they pass: what limits and resumption depend on.

Known after each chunk are the id after which another connection would go on, the reconnection time that the server
asked for, since when an event is unfinished, when the last one was complete, and whether the stream has ended, after
which nothing is read.

    "id: 7", "data: x", "", "id: 8", "data: y" ─ break      last_event_id "7", began_at: when "id: 8" came

The invariant: `last_event_id` and `retry` are those of a `FrameDecoder` that was fed the same bytes. It holds because
both take their lines and fields from `wire/sse_lines`, and because an id counts only with the blank line that ends its
event. There is one exception: an id over 4 KiB is none here.

No data is kept, since the reader of the stream keeps it, but that of the block at hand where it may say that the stream
ends: `done`, the object of a run, or a block that does not begin with its name. Of these 1 MiB is kept at most, of any
other line 4 KiB. The usual blocks are known by the first byte of their first line, and by the last byte of their name.
"""

from typing import Final

from stepstream.dialects.translation import RUN_NAMES, says_end
from stepstream.live.source import ItemDecoder
from stepstream.sources.stream_end import StreamEnd
from stepstream.wire.ending import UNNAMED
from stepstream.wire.events import RUN_EVENTS
from stepstream.wire.sse import Frame
from stepstream.wire.sse_lines import LineCutter, field_of, id_of, last_lines, retry_of

_LONGEST_LINE: Final = 4_096
_MOST_KEPT: Final = 2**20
_COLON: Final = ord(":")
_EVENT: Final = ord("e")
"""What a line with the event's name begins with. A block that begins so is not kept, unless its name may tell."""
_ID_AND_RETRY: Final = frozenset(b"ir")
_DATA: Final = ord("d")
_RETRY: Final = ord("r")

_NAMES: Final = frozenset(name.encode() for name in (*RUN_EVENTS, *RUN_NAMES, "done", "error", UNNAMED))
"""The events whose blocks are kept."""
_LAST_BYTES: Final = frozenset(name[-1] for name in _NAMES)
"""What the lines with these names end with. Those of the deltas, which are nearly all events, end otherwise."""


class StreamPosition:
    """The position of one connection. It begins at an id, and with the reconnection time of the one before.

    `end` learns what the events say about the end of the stream.
    """

    def __init__(
        self, last_event_id: str = "", retry: int | None = None, *, now: float = 0.0, end: StreamEnd | None = None
    ) -> None:
        self.last_event_id = last_event_id
        """The id as of the last complete block: what a reconnection sends."""
        self.retry = retry
        """The reconnection time in milliseconds that the server asked for, or None."""
        self.began_at: float | None = None
        """When the event began that has not ended yet: a line after the last blank one that is no comment. Or None."""
        self.ended_at = now
        """When the last event was complete; before the first, when the connection began."""
        self._end = StreamEnd() if end is None else end
        self._lines = LineCutter()
        self._id = last_event_id
        self._keeps = False  # the lines of the block at hand
        self._kept: list[bytes] = []
        self._size = 0  # of these
        self._has_ended = False

    @property
    def is_done(self) -> bool:
        """Whether the bytes so far end with `done`, be its blank line there or not."""
        pending = self._pending()
        return self._has_ended or (pending is not None and self._end.is_ended_by(pending))

    def is_over(self, *, or_waiting: bool) -> bool:
        """Return whether the stream is over, now that the bytes of the connection have ended."""
        pending = self._pending()
        is_told = pending is not None and says_end(pending) and self._end.feed(pending)
        return self._has_ended or is_told or self._end.is_over(or_waiting=or_waiting)

    def feed(self, chunk: bytes, now: float) -> int | None:
        """Take a chunk that came at the time `now`. Return the number of its bytes up to the end of `done`, or None."""
        lines, done_at = self._lines.feed(chunk), None
        unfinished = self._lines.unfinished
        for place, line in enumerate(lines):
            if not line:
                self.last_event_id = self._id
                if self.began_at is not None:
                    self.began_at, self.ended_at = None, now
                if self._keeps and self._ends_stream() and done_at is None:
                    done_at = len(chunk) - last_lines(chunk, len(lines) - place - 1 + bool(unfinished))
                continue
            if self.began_at is None and line[0] != _COLON:
                self.began_at = now
                self._keeps = line[0] != _EVENT or self._end.has_failed
            if self._keeps or line[-1] in _LAST_BYTES:
                self._look_at(line)
            if line[0] in _ID_AND_RETRY and len(line) <= _MOST_KEPT:
                self._read(line)
        if unfinished:
            self._look_at_unfinished(unfinished, now)
        self._has_ended = self._has_ended or done_at is not None
        return done_at

    def _look_at_unfinished(self, line: bytearray, now: float) -> None:
        if self.began_at is None and line[0] != _COLON:
            self.began_at = now
            self._keeps = line[0] != _EVENT or self._end.has_failed
        is_wanted = line[0] == _RETRY or (line[0] == _DATA and self._keeps)
        if len(line) > (_MOST_KEPT if is_wanted else _LONGEST_LINE):
            self._lines.drop()

    def _look_at(self, line: bytes) -> None:
        """Look at a line of a block that is kept, or one that may make it so."""
        name, value = field_of(line)
        if name == b"event":
            self._keeps = value in _NAMES or self._end.has_failed
        self._size += len(line)
        if not self._keeps or self._size > _MOST_KEPT:
            self._forget()
        else:
            self._kept.append(line)

    def _ends_stream(self) -> bool:
        """Return whether the block that a blank line ends is the last one of the stream."""
        is_end = False
        for frame in ItemDecoder().feed(b"\n".join([*self._kept, b"", b""])):
            is_end = self._end.feed(frame) or is_end
        self._forget()
        return is_end

    def _pending(self) -> Frame | None:
        """Return the block that lacks its blank line, where it is kept."""
        decoder, unfinished = ItemDecoder(), bytes(self._lines.unfinished)
        if not self._keeps or not (self._kept or unfinished):
            return None
        decoder.feed(b"\n".join([*self._kept, unfinished]))
        return decoder.pending()

    def _forget(self) -> None:
        self._keeps, self._size = False, 0
        self._kept.clear()

    def _read(self, line: bytes) -> None:
        name, value = field_of(line)
        if name == b"id" and len(line) <= _LONGEST_LINE:
            self._id = id_of(value, self._id)
        elif name == b"retry":
            self.retry = retry_of(value, self.retry)
