"""Chunks cut where blocks begin: a frame decoder that leaves the usual blocks as they are.

How it works: servers write nearly every event as two lines and a blank one, the first of which names it. Where
complete blocks lie in a chunk, one C call cuts them at the beginning of these lines, and what lies between is mostly
one such block. Whoever gets it looks at it, or asks for the frames that it is. All else is given to a `FrameDecoder`:
other line ends, a block that begins otherwise, one that is long and comes in pieces.
"""

import re
from typing import Final, TypeAlias, cast

from stepstream.wire.sse import DEFAULT_MAX_EVENT_BYTES, Frame, FrameDecoder, valid

Scanned: TypeAlias = bytes | Frame
"""What follows the first `event: ` of a block, up to the next block that begins so, or to the end; or a frame."""

OPENING: Final = b"event: "
"""What a block begins with that is left as it is."""

DATA: Final = b"\ndata: "
"""What stands between the name of an event and its data, in a block of two lines."""

MAX_KEPT: Final = 8192
"""A longer part of a block is for the decoder to keep: it looks at each byte once, however they come."""

_BLANK: Final = b"\n\n"
_MARK: Final = _BLANK + OPENING
_COMMENTS: Final = re.compile(rb"\n\n:[^\r\n]*(?=\n\n|\Z)")
"""A block that is one comment and no event: a keep-alive, which may stand between every two deltas."""


class Scanner:
    """Turn chunks of bytes into frames, and blocks that were not looked at."""

    __slots__ = ("_decoder", "_is_inside", "_kept", "_limit")

    def __init__(self, *, max_event_bytes: int = DEFAULT_MAX_EVENT_BYTES, last_event_id: str = "") -> None:
        self._limit = max_event_bytes
        self._decoder = FrameDecoder(max_event_bytes=max_event_bytes, last_event_id=last_event_id)
        self._is_inside = True  # the decoder is inside of a block
        self._kept = _BLANK  # the blank line before a block, and what there is of it

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
        found = blocks.split(_MARK)
        others = found.pop(0)
        if not others:
            return cast(list[Scanned], found)
        return [*self._decoded(others[len(_BLANK) :] + _BLANK), *found]

    def frames_of(self, block: bytes) -> list[Frame]:
        """Return what a decoder makes of a block that `feed` returned, and of what may follow it."""
        name, between, data = block.partition(DATA)
        if name and between and b"\n" not in name and b"\n" not in data and b"\r" not in block:
            known = data if data.isascii() else valid(data)
            return [Frame(name.decode("utf-8", "replace"), known, self._decoder.last_event_id)]
        return self._decoder.feed(OPENING + block + _BLANK)

    def pending(self) -> Frame | None:
        """Return the block that still lacks its blank line, or None where it has no data. The stream has ended."""
        self._decoder.feed(self._kept[len(_BLANK) :])
        self._kept, self._is_inside = _BLANK, True
        return self._decoder.pending()

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
        return [*frames]


def data_of(block: bytes) -> bytes:
    """Return what comes after `data: ` in a block of two lines, with the line ends that follow."""
    return block[block.find(DATA) + len(DATA) :]
