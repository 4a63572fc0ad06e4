"""Where a connection stands in its stream, read from its bytes as they pass: what limits and resumption depend on.

Four things are known after each chunk: the id after which another connection would go on, the reconnection time that
the server asked for, since when an event is unfinished, and whether `done` has come, after which nothing is read.

    "id: 7", "data: x", "", "id: 8", "data: y" ─ break      last_event_id "7", began_at: when "id: 8" came

The invariant: `last_event_id` and `retry` are those of a `FrameDecoder` that was fed the same bytes. It holds because
both take their lines and fields from `wire/sse_lines`, and because an id counts only with the blank line that ends its
event. There is one exception: a line over 4 KiB is no id here.

No data is kept, since the reader of the stream keeps it. Of an unfinished line, 4 KiB are kept at most.

`done` is recognised as OpenAI and Azure write it, by its two lines and nothing between them. Any other is left to the
reader of the stream.
"""

from typing import Final

from stepstream.wire.sse_lines import LineCutter, field_of, id_of, last_lines, retry_of

_LONGEST_LINE: Final = 4_096
_COLON: Final = ord(":")
_ID_AND_RETRY: Final = frozenset(b"ir")
"""What lines with these fields begin with."""

_DONE: Final = ((b"event", b"done"), (b"data", b"[DONE]"))
_DONE_LAST_BYTES: Final = frozenset(value[-1] for _, value in _DONE)


class StreamPosition:
    """The position of one connection. It begins at an id, and with the reconnection time of the one before."""

    def __init__(self, last_event_id: str = "", retry: int | None = None) -> None:
        self.last_event_id = last_event_id
        """The id as of the last complete block: what a reconnection sends."""
        self.retry = retry
        """The reconnection time in milliseconds that the server asked for, or None."""
        self.began_at: float | None = None
        """When the event began that has not ended yet: a line after the last blank one that is no comment. Or None."""
        self._lines = LineCutter()
        self._id = last_event_id
        self._done_lines = 0  # how many of the two lines of `done` the bytes end with
        self._has_seen_done = False

    @property
    def is_done(self) -> bool:
        """Whether the bytes so far end with `done`, be its blank line there or not."""
        unfinished = bytes(self._lines.unfinished)
        return self._has_seen_done or (self._count_done(unfinished) if unfinished else self._done_lines) == len(_DONE)

    def feed(self, chunk: bytes, now: float) -> int | None:
        """Take a chunk that came at the time `now`. Return the number of its bytes up to the end of `done`, or None."""
        lines, done_at = self._lines.feed(chunk), None
        unfinished = self._lines.unfinished
        for place, line in enumerate(lines):
            if not line:
                self.last_event_id, self.began_at = self._id, None
                if self._done_lines == len(_DONE) and done_at is None:
                    done_at = len(chunk) - last_lines(chunk, len(lines) - place - 1 + bool(unfinished))
                self._done_lines = 0
                continue
            if self.began_at is None and line[0] != _COLON:
                self.began_at = now
            if self._done_lines or line[-1] in _DONE_LAST_BYTES:
                self._done_lines = self._count_done(line)
            if line[0] in _ID_AND_RETRY and len(line) <= _LONGEST_LINE:
                self._read(line)
        if unfinished and unfinished[0] != _COLON and self.began_at is None:
            self.began_at = now
        if len(unfinished) > _LONGEST_LINE:
            self._lines.drop()
        self._has_seen_done = self._has_seen_done or done_at is not None
        return done_at

    def _count_done(self, line: bytes) -> int:
        """Return how many of the lines of `done` the bytes end with when `line` follows them."""
        field = field_of(line)
        if self._done_lines == 1 and field == _DONE[1]:
            return 2
        return 1 if field == _DONE[0] else 0

    def _read(self, line: bytes) -> None:
        name, value = field_of(line)
        if name == b"id":
            self._id = id_of(value, self._id)
        elif name == b"retry":
            self.retry = retry_of(value, self.retry)
