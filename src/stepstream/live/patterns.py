"""What the deltas of one text have in common, in a stream in a dialect: `translated_path` has the theory."""

from collections.abc import Sequence
from typing import Any, cast

import msgspec

from stepstream.dialects.translator import Counter
from stepstream.fold.builder import Append
from stepstream.fold.changes import MessageProgress, StepProgress
from stepstream.live.delta_struct import DeltaStruct
from stepstream.live.journal import BLANK
from stepstream.live.progress import LikeDeltas
from stepstream.live.run_tap import RunTap, bare
from stepstream.wire.deltas import MessageDelta
from stepstream.wire.events import Event


class Pattern(LikeDeltas):
    """The deltas of one text: how their blocks begin, what their data decodes to, and what they stand for."""

    __slots__ = (
        "after", "append", "before", "counter", "decode", "decode_all", "head", "is_mixed", "like", "opening",
        "separator", "version",
    )  # fmt: skip

    def __init__(self, event: Event, append: Append, counter: Counter, head: bytes, like: DeltaStruct) -> None:
        progress = MessageProgress if isinstance(event.data, MessageDelta) else StepProgress
        super().__init__(event.name, progress, append.builder)
        self.append = append
        self.counter = counter
        self.version = append.builder.version
        self.head = head
        self.separator = b"}" + BLANK + head  # what stands between the data of two, the end of the first included
        self.like = like
        self.is_mixed = False  # whether other blocks that begin alike were among those of this text
        struct: Any = like.struct
        self.decode = msgspec.json.Decoder(struct).decode
        self.decode_all = msgspec.json.Decoder(list[struct]).decode
        told, piece = msgspec.json.encode(bare(event.data)), msgspec.json.encode(append.piece)
        self.before, _, self.after = told.partition(b'"%b":%b' % (append.key.encode(), piece))
        self.before += b'"%b":' % append.key.encode()
        self.opening = b"event: %b\ndata: %b" % (event.name.encode(), self.before)

    def write(self, deltas: Sequence[Any]) -> None:
        """Let deltas be written to a journal, in the words of the fold. Their run must be open."""
        opening, after, encode = self.opening, self.after, msgspec.json.encode
        cast(RunTap, self.run).add([opening + encode(one.piece) + after for one in deltas])
