"""Chunks cut where usual deltas stand: a frame decoder that does not take apart what has one form only.

How it works: servers write nearly every delta as two lines and a blank one, alike but for the data. Where complete
blocks lie in a chunk, one C call cuts them at these lines, and what lies between is data. All else goes to a
`FrameDecoder`: other events, other line ends, blocks that are very long or very small in pieces. What comes out is
the same, but that a usual block gives the bytes of its data instead of a frame.
"""

from typing import Final, TypeAlias, cast

from stepstream.wire.sse import DEFAULT_MAX_EVENT_BYTES, Frame, FrameDecoder
from stepstream.wire.usual import USUAL

Scanned: TypeAlias = bytes | Frame
"""The data of a block of two lines, not looked at yet, or any other frame."""

MAX_KEPT: Final = 8192
"""A longer part of a block is for the decoder to keep: it looks at each byte once, however they come."""

_BLANK: Final = b"\n\n"
_LF: Final = 0x0A
_LINE_ENDS: Final = 3
"""How many line ends a mark has: those of the block before it, and its own."""


class Scanner:
    """Turn chunks of bytes into frames, and the data of blocks that look like usual deltas.

    `usual` names the event of such data in what `feed` returned last.
    """

    __slots__ = ("_decoder", "_head", "_is_inside", "_kept", "_limit", "_mark", "_newest", "usual")

    def __init__(self, *, max_event_bytes: int = DEFAULT_MAX_EVENT_BYTES, last_event_id: str = "") -> None:
        self._limit = max_event_bytes
        self._decoder = FrameDecoder(max_event_bytes=max_event_bytes, last_event_id=last_event_id)
        self._is_inside = True  # the decoder is inside of a block
        self._kept = _BLANK  # the blank line before a block, and what there is of it
        self._newest = ""  # the event of the newest delta that was not cut out
        self._look_for(next(iter(USUAL)))

    def feed(self, chunk: bytes) -> list[Scanned]:
        """Take the next bytes and return what they complete, in order.

        Raises:
            FrameTooLarge: as a `FrameDecoder` does, after which this is spent too.
        """
        if self._is_inside:
            return self._leave_block(chunk)
        head, size = self._head, len(self._head)
        if self._kept is _BLANK and chunk[:size] == head and chunk.find(b"\n", size) == len(chunk) - 2:
            if chunk[-1] == _LF and chunk.find(b"\r") < 0 and len(chunk) <= self._limit:
                return [chunk[size:-2]]  # one block in one chunk, as most servers send them
        data = self._kept + chunk
        end = data.rfind(_BLANK)
        if data.find(b"\r") >= 0 or len(data) - end > MAX_KEPT or len(data) > self._limit:
            self._kept = _BLANK
            return self._decoded(data[len(_BLANK) :])
        self._kept = data[end:] if len(data) - end > len(_BLANK) else _BLANK
        blocks = data[:end]
        found = blocks.split(self._mark)
        if found[0] or blocks.count(b"\n") != _LINE_ENDS * (len(found) - 1):
            return self._sorted(found)
        del found[0]
        return cast(list[Scanned], found)

    def frames_of(self, data: bytes) -> list[Frame]:
        """Return what a decoder makes of a block that was given as its data."""
        return self._decoder.feed(self._head + data + _BLANK)

    def pending(self) -> Frame | None:
        """Return the block that still lacks its blank line, or None where it has no data. The stream has ended."""
        self._decoder.feed(self._kept[len(_BLANK) :])
        self._kept, self._is_inside = _BLANK, True
        return self._decoder.pending()

    def _look_for(self, event: str) -> None:
        self.usual = self._newest = event
        self._head = b"event: %b\ndata: " % event.encode()
        self._mark = _BLANK + self._head

    def _leave_block(self, chunk: bytes) -> list[Scanned]:
        """Let the decoder come to the end of its block. What follows may be cut."""
        end = chunk.find(_BLANK) + len(_BLANK)
        if end < len(_BLANK) or len(chunk) > self._limit:
            return self._decoded(chunk)
        return [*self._decoded(chunk[:end]), *self.feed(chunk[end:])]

    def _sorted(self, parts: list[bytes]) -> list[Scanned]:
        """Return the data of blocks of two lines as it is, and all else decoded."""
        found: list[Scanned] = []
        others, *rest = parts
        if others:
            found += self._decoded(others[len(_BLANK) :] + _BLANK)
        for part in rest:
            found += self._decoded(self._head + part + _BLANK) if b"\n" in part else [part]
        if self._newest != self.usual and not any(type(one) is bytes for one in found):
            self._look_for(self._newest)
        return found

    def _decoded(self, data: bytes) -> list[Scanned]:
        frames = self._decoder.feed(data)
        self._is_inside = not self._decoder.is_between_blocks
        self._newest = next((frame.event for frame in reversed(frames) if frame.event in USUAL), self._newest)
        return [*frames]
