r"""Chunks cut where blocks begin: a frame decoder that does not look into the usual blocks.

The invariant: what `feed` returns is, frame by frame, what a `FrameDecoder` would return at the same chunk, once each
block in it was given to `frames_of`. The reader may do without that for a block that it recognises from its bytes.

How. Servers write nearly every event as `event: name`, `data: json` and a blank line. One C call splits the complete
blocks of a chunk at "\n\nevent: ":

    "event: a\ndata: 1\n\nevent: b\ndata: 2\n\n"   →   [b"a\ndata: 1", b"b\ndata: 2"]

Why that is right. Between two blocks the decoder holds nothing, and "\n\n" holds an empty line whatever is before it.
So the split may find too few borders, but never a wrong one: a block that begins otherwise stays behind the one before
it, and `frames_of` gives both to the decoder.

All else goes to the decoder, which is then inside of a block (`_is_inside`) until it holds nothing again: the start of
the stream (a byte-order mark), a CR in the part that is kept, bytes over the limit, and a block that is long and comes
in pieces, since the part kept here is searched again with every chunk.

What would break it: a block left unread that changes the decoder, as `id:` and `retry:` do. So the reader gives every
block that it does not recognise to `frames_of`, in order and before the next chunk.
"""

import re
from typing import Final, TypeAlias, cast

from stepstream.wire.sse import DEFAULT_MAX_EVENT_BYTES, Frame, FrameDecoder, valid

Scanned: TypeAlias = bytes | Frame
"""A frame; or the bytes after the first `event: ` of a block, up to the next block that begins so, or to the end."""

OPENING: Final = b"event: "
"""The beginning of a block that is not looked into."""

DATA: Final = b"\ndata: "
"""The bytes between the name of an event and its data, in a block of two lines."""

MAX_KEPT: Final = 8192
"""Bytes of an unfinished block that are kept at most. More go to the decoder, which reads each byte once."""

_BLANK: Final = b"\n\n"
_BLOCK_START: Final = _BLANK + OPENING
_COMMENTS: Final = re.compile(rb"\n\n:[^\r\n]*(?=\n\n|\Z)")
"""A block of one comment: a keep-alive, which servers may send between any two events. It would stay behind the block
before, which could not be recognised then."""


class Scanner:
    """Cuts chunks of bytes into blocks that are not looked into, and frames where that is not possible."""

    __slots__ = ("_decoder", "_is_inside", "_kept", "_limit")

    def __init__(self, *, max_event_bytes: int = DEFAULT_MAX_EVENT_BYTES, last_event_id: str = "") -> None:
        self._limit = max_event_bytes
        self._decoder = FrameDecoder(max_event_bytes=max_event_bytes, last_event_id=last_event_id)
        self._is_inside = True  # the decoder may hold something, as at the start a byte-order mark
        self._kept = _BLANK  # the blank line before a block, and as much of the block as has come

    @property
    def is_between_blocks(self) -> bool:
        """Whether nothing is kept: the next byte begins the first line of a new block."""
        return self._kept is _BLANK and not self._is_inside

    @property
    def last_event_id(self) -> str:
        """The id of the blocks that `feed` returned, until one of them is given to `frames_of`."""
        return self._decoder.last_event_id

    def feed(self, chunk: bytes) -> list[Scanned]:
        """Take the next bytes and return what they complete, in order.

        Raises:
            FrameTooLarge: as a `FrameDecoder` does; every further call raises too.
        """
        if self._is_inside:
            return self._finish_block(chunk)
        data = self._kept + chunk
        end = data.rfind(_BLANK)
        if len(data) - end > MAX_KEPT or len(data) > self._limit or data.find(b"\r", end) >= 0:
            self._kept = _BLANK
            return self._decoded(data[len(_BLANK) :])
        self._kept = data[end:] if len(data) - end > len(_BLANK) else _BLANK
        blocks = data[:end]
        if blocks.find(b"\n\n:") >= 0:
            blocks = _COMMENTS.sub(b"", blocks)
        found = blocks.split(_BLOCK_START)
        others = found.pop(0)
        if not others:
            return cast(list[Scanned], found)
        return [*self._decoded(others[len(_BLANK) :] + _BLANK), *found]

    def frames_of(self, block: bytes) -> list[Frame]:
        """Return the frames of a block that `feed` returned, and of other blocks that may follow in it."""
        name, between, data = block.partition(DATA)
        # A plain block of two lines needs no decoder.
        if name and between and b"\n" not in name and b"\n" not in data and b"\r" not in block:
            known = data if data.isascii() else valid(data)
            return [Frame(name.decode("utf-8", "replace"), known, self._decoder.last_event_id)]
        return self._decoder.feed(OPENING + block + _BLANK)

    def pending(self) -> Frame | None:
        """Return the block that still lacks its blank line, or None where it has no data. For the end of a stream."""
        self._decoder.feed(self._kept[len(_BLANK) :])
        self._kept, self._is_inside = _BLANK, True
        return self._decoder.pending()

    def _finish_block(self, chunk: bytes) -> list[Scanned]:
        """Give the decoder the end of its block, and cut the rest."""
        end = chunk.find(_BLANK) + len(_BLANK)
        if end < len(_BLANK) or len(chunk) > self._limit:
            return self._decoded(chunk)
        return [*self._decoded(chunk[:end]), *self.feed(chunk[end:])]

    def _decoded(self, data: bytes) -> list[Scanned]:
        self._is_inside = True  # stays so where `feed` raises: every further call goes to the decoder, which raises
        frames = self._decoder.feed(data)
        self._is_inside = not self._decoder.is_between_blocks
        return [*frames]
