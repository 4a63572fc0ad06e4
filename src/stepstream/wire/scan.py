"""Chunks cut where deltas stand: a frame decoder that leaves their blocks as they are.

How it works: servers write nearly every event as two lines and a blank one, and nearly all events are deltas. Where
complete blocks lie in a chunk, one C call cuts them at the first of these lines, and what lies between is mostly the
data of one delta. All else is given to a `FrameDecoder`: other events, other line ends, a block that is long and
comes in pieces. Whoever gets such data looks at it, or asks for the frames that it is.
"""

import re
from typing import Final, TypeAlias, cast

from stepstream.wire.sse import DEFAULT_MAX_EVENT_BYTES, Frame, FrameDecoder

Scanned: TypeAlias = bytes | Frame
"""What follows `data: ` of a delta, up to the next delta or the end; or any other frame."""

DELTAS: Final = ("thread.run.step.delta", "thread.message.delta")
"""The events whose blocks are left as they are, one kind at a time: that which came last."""

MAX_KEPT: Final = 8192
"""A longer part of a block is for the decoder to keep: it looks at each byte once, however they come."""

_BLANK: Final = b"\n\n"
_COMMENTS: Final = re.compile(rb"\n\n:[^\r\n]*(?=\n\n|\Z)")
"""A block that is one comment and no event: a keep-alive, which may stand between every two deltas."""


class Scanner:
    """Turn chunks of bytes into frames, and the data of deltas that was not looked at.

    `event` names the event of such data in what `feed` returned last, and `head` is what stands before it.
    """

    __slots__ = ("_decoder", "_is_inside", "_kept", "_limit", "_mark", "_newest", "event", "head")

    def __init__(self, *, max_event_bytes: int = DEFAULT_MAX_EVENT_BYTES, last_event_id: str = "") -> None:
        self._limit = max_event_bytes
        self._decoder = FrameDecoder(max_event_bytes=max_event_bytes, last_event_id=last_event_id)
        self._is_inside = True  # the decoder is inside of a block
        self._kept = _BLANK  # the blank line before a block, and what there is of it
        self._newest = ""  # the newest delta that was not cut out
        self._cut_at(DELTAS[0])

    @property
    def is_between_blocks(self) -> bool:
        """Whether nothing is kept of what came: the next byte begins a line of a new block."""
        return self._kept is _BLANK and not self._is_inside

    def feed(self, chunk: bytes) -> list[Scanned]:
        """Take the next bytes and return what they complete, in order.

        Raises:
            FrameTooLarge: as a `FrameDecoder` does, after which this is spent too.
        """
        if self._is_inside:
            return self._leave_block(chunk)
        data = self._kept + chunk
        end = data.rfind(_BLANK)
        if len(data) - end > MAX_KEPT or len(data) > self._limit or data.find(b"\r", end) >= 0:
            self._kept = _BLANK
            return self._decoded(data[len(_BLANK) :])
        self._kept = data[end:] if len(data) - end > len(_BLANK) else _BLANK
        blocks = data[:end]
        if blocks.find(b"\n\n:") >= 0:
            blocks = _COMMENTS.sub(b"", blocks)
        found = blocks.split(self._mark)
        others = found.pop(0)
        if not others:
            return cast(list[Scanned], found)
        frames = self._decoded(others[len(_BLANK) :] + _BLANK)
        if not found and self._newest != self.event:
            self._cut_at(self._newest)
        return [*frames, *found]

    def frames_of(self, data: bytes) -> list[Frame]:
        """Return what a decoder makes of data that `feed` returned, and of what may follow it."""
        return self._noted(self._decoder.feed(self.head + data + _BLANK))

    def pending(self) -> Frame | None:
        """Return the block that still lacks its blank line, or None where it has no data. The stream has ended."""
        self._decoder.feed(self._kept[len(_BLANK) :])
        self._kept, self._is_inside = _BLANK, True
        return self._decoder.pending()

    def _cut_at(self, event: str) -> None:
        self.event = self._newest = event
        self.head = head_of(event)
        self._mark = _BLANK + self.head

    def _leave_block(self, chunk: bytes) -> list[Scanned]:
        """Let the decoder come to the end of its block. What follows may be cut."""
        end = chunk.find(_BLANK) + len(_BLANK)
        if end < len(_BLANK) or len(chunk) > self._limit:
            return self._decoded(chunk)
        return [*self._decoded(chunk[:end]), *self.feed(chunk[end:])]

    def _decoded(self, data: bytes) -> list[Scanned]:
        self._is_inside = True  # and stays so where this raises: the decoder raises from then on
        frames = self._decoder.feed(data)
        self._is_inside = not self._decoder.is_between_blocks
        return [*self._noted(frames)]

    def _noted(self, frames: list[Frame]) -> list[Frame]:
        self._newest = next((frame.event for frame in reversed(frames) if frame.event in DELTAS), self._newest)
        return frames


def head_of(event: str) -> bytes:
    """Return what stands before the data of an event, as servers mostly write it."""
    return b"event: %b\ndata: " % event.encode()
