"""A run in one form as bytes: encoded once for all who get it."""

from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec

from stepstream.journal.run_info import Cursor
from stepstream.wire.sse import Frame, encodable, encode_frame

COMMENT: Final = b":\n\n"
"""What says nothing, so that proxies keep a connection."""


GAP: Final = "stepstream.gap"
"""The event that says that some of what happened is left out: what follows is the state, as for one who joins."""


class Mark(NamedTuple):
    """Where in a batch all that belongs to the events up to a position ends."""

    cursor: Cursor
    size: int
    """The bytes up to there."""
    frames: int


class Batch(msgspec.Struct, frozen=True, gc=False):
    """Some frames, encoded, that follow each other."""

    data: bytes
    frames: int
    marks: tuple[Mark, ...] = ()
    """Where a viewer may go on, in order of positions. Deltas that were merged have one for the last."""

    @property
    def last(self) -> int:
        """The position up to which it tells."""
        return self.marks[-1].cursor.position

    def after(self, cursor: Cursor) -> "Batch | None":
        """Return what follows a place in it; None where nobody can go on there."""
        for mark in self.marks:
            if mark.cursor == cursor:
                return Batch(self.data[mark.size :], self.frames - mark.frames)
        return None


def encoded_frames(frames: Sequence[Frame], cursor: Cursor | None = None) -> bytes:
    """Return frames as a piece of event stream. The last one has `cursor` as its id: with it, all of them are out."""
    if cursor is None or not frames:
        return b"".join([encode_frame(encodable(frame)) for frame in frames])
    *before, last = frames
    return encoded_frames(before) + encode_frame(encodable(Frame(last.event, last.data, str(cursor))))


def gap(reason: str) -> bytes:
    """Return what says that events are left out. It takes the id back, until that of the state comes: whoever is cut
    off between the two has nothing any more, and joins."""
    return b"id:\n" + encoded_frames([Frame(GAP, msgspec.json.encode({"reason": reason}))])
