r"""Chunks cut into blocks that are not looked into, for a reader that may recognise a block by its bytes.

The invariant: what `feed` returns is, frame by frame, what a `FrameDecoder` would return at the same chunk, once each
block in it was given to `frame_of`. The reader may do without that for a block that it recognises, if it leaves the
block in `id_block` where that begins with an id.

How. Between two blocks a decoder holds nothing but the last event id, and "\n\n" holds an empty line whatever is before
it. So one C call cuts the complete blocks of a chunk:

    "event: a\ndata: 1\n\nid: 5\nevent: b\ndata: 2\n\n"   →   [b"event: a\ndata: 1", b"id: 5\nevent: b\ndata: 2"]

Other line ends become LF before: `bytes.splitlines` knows CR, LF and CRLF and no other, just as the standard. A block
has no empty line but its first or last, which end nothing, so it makes one frame or none. Servers differ in the order
of its lines and in the space after a colon; `in_order` gives all of them one form, that of the example.

All else goes to the decoder, which is then inside of a block (`_is_inside`) until it holds nothing again: the start of
the stream (a byte-order mark), bytes over the limit, a block that is long and comes in pieces, since the part kept here
is searched again with every chunk, and bytes with NUL, since by the standard an id with it leaves the one before.

What would break it: a block that is passed over although it sets an id, or left in `id_block` although it sets none.
"""

from collections.abc import Callable
from typing import Final

from stepstream.wire.events import TYPES
from stepstream.wire.sse import DEFAULT_MAX_EVENT_BYTES, Frame, FrameDecoder, valid
from stepstream.wire.sse_lines import field_of

OPENING: Final = b"event: "
"""The beginning of a usual block."""

DATA: Final = b"\ndata: "
"""The bytes between the name of an event and its data."""

CRLF: Final = b"\r\n"

ID: Final = b"id: "
"""The beginning of a usual block that sets the last event id."""

NUL: Final = ord("\0")
"""The byte that an id must not hold: by the standard, one with it sets none."""

MAX_KEPT: Final = 8192
"""Bytes of an unfinished block that are kept from chunk to chunk. More go to the decoder, and are read once."""

_BLANK: Final = b"\n\n"
_LF: Final = ord("\n")
_EVENTS: Final = {OPENING + name.encode(): name for name in TYPES}
_UNNAMED: Final = DATA[1:]


class Scanner:
    """Cuts chunks of bytes into blocks that are not looked into, and frames where that is not possible."""

    __slots__ = ("_decoder", "_is_inside", "_kept", "_limit", "_skip_lf", "has_crlf", "id_block", "is_between_blocks")

    def __init__(
        self, *, max_event_bytes: int = DEFAULT_MAX_EVENT_BYTES, last_event_id: str = "", may_have_mark: bool = True
    ) -> None:
        self._limit = max_event_bytes
        self._decoder = FrameDecoder(max_event_bytes=max_event_bytes, last_event_id=last_event_id)
        self._is_inside = may_have_mark  # the decoder may hold something, as at the start a byte-order mark
        self.is_between_blocks = not may_have_mark
        """Whether nothing is kept: the next byte begins the first line of a new block."""
        self._kept = b""  # as much of a block as has come
        self._skip_lf = False  # the last byte was CR: an LF right after it is the same line end
        self.id_block = b""
        """The last block that begins with an id and was passed over, to be set. Its id is read when it is needed."""
        self.has_crlf = False
        """Whether lines were seen to end with CR, as mostly in CRLF."""

    @property
    def last_event_id(self) -> str:
        """The id as of the last block whose frame was asked for, or that was passed over."""
        if self.id_block:
            self._decoder._take_id(self.id_block[len(ID) : self.id_block.find(b"\n")].removesuffix(b"\r"))
            self.id_block = b""
        return self._decoder.last_event_id

    def feed(self, chunk: bytes, take: Callable[[bytes], bool] | None = None) -> tuple[list[Frame], list[bytes]]:
        """Take the next bytes and return what they complete, in order: frames, and the blocks after them.

        `take` gets the blocks before they are cut apart, where all lines end with LF, without the blank line behind
        them. Where it returns True, it has taken them.

        Raises:
            FrameTooLarge: as a `FrameDecoder` does; every further call raises too.
        """
        if self._skip_lf and chunk:
            self._skip_lf, chunk = False, chunk.removeprefix(b"\n")
        if self._is_inside:
            return self._finish_block(chunk)
        if chunk.find(b"\r") >= 0:
            self.has_crlf, self._skip_lf = True, chunk.endswith(b"\r")
            chunk = _with_lf(chunk)
        data = self._kept + chunk if self._kept else chunk
        end = data.rfind(_BLANK)
        rest = len(data) - end - len(_BLANK) if end >= 0 else len(data)
        if (rest > MAX_KEPT and end < 0) or len(data) > self._limit or NUL in data:
            return self._decoded(data), []
        self._kept = data[-rest:] if rest and data != b"\n" else b""  # one more blank line ends nothing
        self.is_between_blocks = not self._kept
        if end < 0:
            return [], []
        blocks = data[:end]
        return [], [] if take is not None and take(blocks) else blocks.rsplit(_BLANK)

    def usual_frame(self, block: bytes) -> Frame | None:
        """Return the frame of a block of two lines, the name of a known event and data; None of any other block."""
        name, _, data = block.partition(DATA)
        event = _EVENTS.get(name)
        if event is None or not data or _LF in data:
            return None
        event_id = self.last_event_id if self.id_block else self._decoder.last_event_id
        return Frame(event, data if data.isascii() else valid(data), event_id)

    def frame_of(self, block: bytes) -> Frame | None:
        """Return the frame of a block that `feed` returned, best one in order; None where it is none, as a comment."""
        usual = self.usual_frame(block)
        if usual is not None:
            return usual
        at = block.find(b"\n") + 1 if block.startswith(ID) else 0
        name, between, data = block[at:].partition(DATA)
        if not between and name.startswith(_UNNAMED):
            name, between, data = OPENING, DATA, name[len(_UNNAMED) :]
        if not between or not name.startswith(OPENING) or _LF in name or _LF in data:
            found = self._decoded_after_id(block + _BLANK)
            return found[0] if found else None
        if at:
            self.id_block = block
        event = name[len(OPENING) :].decode("utf-8", "replace") or "message"
        return Frame(event, data if data.isascii() else valid(data), self.last_event_id)

    def pending(self) -> Frame | None:
        """Return the block that still lacks its blank line, or None where it has no data. For the end of a stream."""
        self._decoded_after_id(self._kept)
        self._kept, self._is_inside, self.is_between_blocks = b"", True, False
        return self._decoder.pending()

    def _finish_block(self, chunk: bytes) -> tuple[list[Frame], list[bytes]]:
        """Give the decoder the end of its block, and cut the rest."""
        ends: list[int] = []
        if _LF in chunk:  # mostly it has none, and that is found out sooner
            ends = [found + len(blank) for blank in (_BLANK, CRLF + CRLF) if (found := chunk.find(blank)) >= 0]
        if not ends or len(chunk) > self._limit:
            return self._decoded(chunk), []
        frames = self._decoded(chunk[: min(ends)])
        more, blocks = self.feed(chunk[min(ends) :])
        return [*frames, *more], blocks

    def _decoded_after_id(self, data: bytes) -> list[Frame]:
        """Feed the decoder, which has the id of the blocks before."""
        _ = self.last_event_id
        return self._decoder.feed(data)

    def _decoded(self, data: bytes) -> list[Frame]:
        self._kept, self._is_inside, self.is_between_blocks = b"", True, False
        frames = self._decoded_after_id(data)  # where it raises, every further call goes there, and raises
        self.is_between_blocks = self._decoder._is_between_blocks
        self._is_inside = not self.is_between_blocks
        return frames


def _with_lf(data: bytes) -> bytes:
    """Return bytes with every line end as LF."""
    bare = data.replace(b"\r", b"")
    if bare.replace(b"\n", CRLF) == data:  # nearly all: every line ends with CRLF
        return bare
    return b"\n".join([*data.splitlines(), b""] if data.endswith((b"\r", b"\n")) else data.splitlines())


def in_order(block: bytes) -> bytes:
    """Return a block with its lines as `id: `, `event: ` and `data: `; that itself, where they are or cannot be.

    A time to reconnect and comments are left out. An id may be missing, and an event where there is no other line than
    the data. Two lines of a kind, or none with data, cannot be put in order.
    """
    at = block.find(b"\n") + 1 if block.startswith(ID) else 0
    if block.startswith(OPENING, at):
        end = block.find(b"\n", at)
        is_in_order = end >= 0 and block.find(b"\n", end + 1) < 0
    else:
        is_in_order = block.startswith(_UNNAMED) and _LF not in block
    if is_in_order:
        return block
    cut = block.find(b"\n") + 1
    if block.startswith(ID, cut) and block.startswith(OPENING):  # the most usual of other orders, without looking on
        at = block.find(b"\n", cut) + 1
        if at and block.startswith(_UNNAMED, at) and block.find(b"\n", at) < 0:
            return block[cut:at] + block[:cut] + block[at:]
    found: dict[bytes, bytes] = {}
    for line in block.split(b"\n"):
        name, value = field_of(line)
        if name in (b"id", b"event", b"data"):
            if name in found:
                return block
            found[name] = value
    if b"data" not in found:
        return block
    identifier = b"id: %b\n" % found[b"id"] if b"id" in found else b""
    return b"%bevent: %b\ndata: %b" % (identifier, found.get(b"event") or b"message", found[b"data"])
