"""Chunks cut where usual deltas stand: a frame decoder that does not take apart what has one form only.

How it works: servers write nearly every delta as two lines and a blank one, alike but for the data. Where complete
blocks lie in a chunk, one C call cuts them at these lines, and what lies between is data. All else goes to a
`FrameDecoder`: other events, other line ends, blocks that are very long or very small in pieces. What comes out is
the same, but that a usual block gives the bytes of its data instead of a frame.
"""

from typing import Final, TypeAlias

from stepstream.wire.sse import DEFAULT_MAX_EVENT_BYTES, Frame, FrameDecoder
from stepstream.wire.usual import USUAL

Scanned: TypeAlias = bytes | Frame
"""The data of a block of two lines, not looked at yet, or any other frame."""

MAX_KEPT: Final = 8192
"""A longer part of a block is for the decoder to keep: it looks at each byte once, however they come."""

_BLANK: Final = b"\n\n"
_MARKS: Final = {name: b"\n\nevent: %b\ndata: " % name.encode() for name in USUAL}
_LINE_ENDS: Final = 3
"""How many line ends a mark has: those of the block before it, and its own."""


class Scanner:
    """Turn chunks of bytes into frames, and the data of blocks that look like usual deltas.

    `usual` names the event of such data in what `feed` returned last.
    """

    __slots__ = ("_decoder", "_is_plain", "_kept", "_limit", "_mark", "_seen", "usual")

    def __init__(self, *, max_event_bytes: int = DEFAULT_MAX_EVENT_BYTES, last_event_id: str = "") -> None:
        self.usual = next(iter(_MARKS))
        self._mark = _MARKS[self.usual]
        self._seen = self.usual  # what the newest delta was that was not cut out
        self._limit = max_event_bytes
        self._decoder = FrameDecoder(max_event_bytes=max_event_bytes, last_event_id=last_event_id)
        self._is_plain = True  # the decoder is inside of a block
        self._kept = _BLANK  # the blank line before a block, and what there is of it

    def feed(self, chunk: bytes) -> list[Scanned]:
        """Take the next bytes and return what they complete, in order.

        Raises:
            FrameTooLarge: as a `FrameDecoder` does, after which this is spent too.
        """
        if not self._is_plain:
            return self._scan(chunk)
        end = chunk.find(_BLANK) + len(_BLANK)
        if end < len(_BLANK) or len(chunk) > self._limit:
            return self._plain(chunk)
        return [*self._plain(chunk[:end]), *self._scan(chunk[end:])]

    def frames_of(self, data: bytes) -> list[Frame]:
        """Return what a decoder makes of a block that was given as its data."""
        return self._decoder.feed(self._mark[len(_BLANK) :] + data + _BLANK)

    def pending(self) -> Frame | None:
        """Return the block that still lacks its blank line, or None where it has no data. The stream has ended."""
        self._decoder.feed(self._kept[len(_BLANK) :])
        self._kept, self._is_plain = _BLANK, True
        return self._decoder.pending()

    def _scan(self, chunk: bytes) -> list[Scanned]:
        """Take bytes at the beginning of a block, or after what is kept of it."""
        data = self._kept + chunk
        end = data.rfind(_BLANK)
        if b"\r" in data or len(data) > self._limit or len(data) - end > MAX_KEPT:
            self._kept = _BLANK
            return self._plain(data[len(_BLANK) :])
        self._kept = data[end:]
        return self._cut(data[:end]) if end else []

    def _plain(self, data: bytes) -> list[Scanned]:
        """Leave bytes to the decoder."""
        frames = self._decoder.feed(data)
        self._is_plain = not self._decoder.is_between_blocks
        return self._noted(frames)

    def _noted(self, frames: list[Frame]) -> list[Scanned]:
        """Note which deltas come."""
        self._seen = next((frame.event for frame in reversed(frames) if frame.event in _MARKS), self._seen)
        return [*frames]

    def _cut(self, blocks: bytes) -> list[Scanned]:
        """Cut complete blocks, each with the blank line before it, at the marks."""
        if self._seen != self.usual:
            self.usual, self._mark = self._seen, _MARKS[self._seen]
        others, *parts = blocks.split(self._mark)
        if not others and blocks.count(b"\n") == _LINE_ENDS * len(parts):
            return [*parts]
        found: list[Scanned] = []
        if others:
            found += self._noted(self._decoder.feed(others[len(_BLANK) :] + _BLANK))
        for part in parts:
            if b"\n" in part:
                found += self._noted(self._decoder.feed(self._mark[len(_BLANK) :] + part + _BLANK))
            else:
                found.append(part)
        return found
