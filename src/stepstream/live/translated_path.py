"""The fast path of streams in a dialect: the usual delta, folded from its bytes, without a translation.

Theory. In such a stream the deltas of one text differ in the piece, and in a few values that say nothing of it: their
number, padding. A delta that was translated and folded by the rules that all go by, and was one event that did nothing
but append its piece to one buffer (`StreamState.append`), is made a pattern: a struct of which the piece, the number
and the padding are free, and every other key has the one value that it had (`delta_struct`). The next data that decodes
to that struct says the same of another piece, provided that

1. its block has the same lines around the data, and no others;
2. the object has not changed otherwise since (`version`, as in `fast_path`);
3. its number is higher than that of all before: else the rules say whether it came before;
4. the translator has seen nothing else of the stream since: what goes by the rules and is not learned from drops all
   patterns (`learn`).

So no pattern outlives what it was made from. A chunk of many such blocks is decoded by one call, as one JSON array,
with a tab in each separator:

    {"delta":"a",…}  {"delta":"b",…}   →   [{"delta":"a",…},\\t{"delta":"b",…}]

There each block must be exactly one value. It is: every block ends with a brace. That brace stands in no string, which
would hold the tab after it as it is; and it ends an object of the array, for the struct takes no object within. So each
block ends a value; and if there are no more values than blocks, no block has two. What would break this: a struct with
a field that takes objects, or a list of anything.
"""

from collections.abc import Sequence
from itertools import takewhile
from typing import Any, Final

import msgspec

from stepstream.fold.accumulator import Accumulator
from stepstream.live.delta_struct import struct_of
from stepstream.live.patterns import Pattern
from stepstream.live.progress import ProgressBatch
from stepstream.live.stream_tap import StreamTap
from stepstream.wire.deltas import MessageDelta, RunStepDelta
from stepstream.wire.events import Event
from stepstream.wire.scan import Scanner
from stepstream.wire.sse import Frame

MAX_PATTERNS: Final = 8
"""How many texts may grow at once on the fast path."""

MAX_DATA: Final = 4096
"""Bytes of data that a pattern is made of at most."""

ENOUGH: Final = 4
"""A pattern is made once an object has had so many deltas: short texts are not worth one."""

MAX_MISSES: Final = 32
"""After so many patterns that matched nothing none is made any more: the stream has no like deltas."""

_BLANK: Final = b"\n\n"
_LF: Final = ord("\n")
_CR: Final = ord("\r")
_BRACE: Final = b"}"
_SEPARATOR: Final = b"},\t"


class TranslatedDeltas:
    """The patterns of one stream."""

    __slots__ = ("_batch", "_misses", "_stream", "_tap", "_translation", "patterns", "scanner")

    def __init__(self, accumulator: Accumulator, batch: ProgressBatch, tap: StreamTap | None = None) -> None:
        self._stream = accumulator.stream
        self._translation = accumulator.translation
        self._batch = batch
        self._tap = tap
        self._misses = 0
        self.scanner: Scanner | None = None
        """Has the newest event id."""
        self.patterns: list[Pattern] = []
        """Those of the texts that grow, the newest first."""

    def fold_chunk(self, chunk: bytes) -> bool:
        """Fold a chunk that is one block like a delta before. Return whether it is."""
        for pattern in self.patterns:
            if chunk.startswith(pattern.head):
                data = chunk[len(pattern.head) : -len(_BLANK)]
                if not chunk.endswith(_BLANK) or _LF in data or _CR in data:
                    return False
                try:
                    delta = pattern.decode(data)
                except (msgspec.DecodeError, UnicodeDecodeError):
                    continue
                if not self._holds(pattern) or not self._append(pattern, (delta,)):
                    return False
                if self._batch.mailboxes_of(pattern):
                    self._tell(pattern, delta.piece)
                    self._batch.hand_over()
                return True
        return False

    def fold_all(self, blocks: bytes) -> bool:
        """Fold blocks that were not cut apart. Return whether it was done: where all are like deltas of one text."""
        for pattern in self.patterns:
            if blocks.startswith(pattern.head) and not pattern.is_mixed and not self._batch.mailboxes_of(pattern):
                if not blocks.endswith(_BRACE) or not self._holds(pattern):
                    return False
                # From the end: the search then fails at a brace, not at a space, and costs half for a long head.
                deltas = _decoded(pattern, blocks[len(pattern.head) : -1].rsplit(pattern.separator))
                return bool(deltas) and self._append(pattern, deltas)
        return False

    def fold_blocks(self, blocks: Sequence[bytes], start: int) -> tuple[int, bool]:
        """Fold blocks from `start` on, and return the place of the first that is like no delta before.

        Returns also whether it stopped there because the block before filled a queue.
        """
        for pattern in self.patterns:
            head, size = pattern.head, len(pattern.head)
            end = start + 1 if pattern.is_mixed else len(blocks)
            alike = takewhile(lambda one: one.startswith(head) and one.endswith(_BRACE), blocks[start:end])  # noqa: B023
            data = [one[size:-1] for one in alike]
            count, is_full = self._fold(pattern, data)
            if not count and len(data) > 1:
                pattern.is_mixed = True
                count, is_full = self._fold(pattern, data[:1])
            if count:
                return start + count, is_full
        return start, False

    def _fold(self, pattern: Pattern, data: Sequence[bytes]) -> tuple[int, bool]:
        """Fold the data of blocks that begin like those of a pattern: up to where a queue is full; or none.

        Returns how many, and whether a queue is full.
        """
        deltas = _decoded(pattern, data) if self._holds(pattern) else ()
        if not self._batch.mailboxes_of(pattern):
            return len(deltas) if deltas and self._append(pattern, deltas) else 0, False
        for place, one in enumerate(deltas):
            if not self._append(pattern, (one,)):
                return place, self._batch.hand_over()
            if self._tell(pattern, one.piece):
                return place + 1, True
        return len(deltas), self._batch.hand_over()

    def _holds(self, pattern: Pattern) -> bool:
        """Return whether its object has not changed otherwise, and the journal of its run, if any, is open."""
        is_same = pattern.version == pattern.builder.version
        return is_same and (self._tap is None or pattern.run_in(self._tap) is not None)

    def _append(self, pattern: Pattern, deltas: Sequence[Any]) -> bool:
        """Append the pieces of deltas. Return whether it was done: they may have come before."""
        if pattern.like.is_numbered and not pattern.counter.count(deltas):
            return False
        builder, count = pattern.builder, len(deltas)
        pattern.append.buffer.append("".join([one.piece for one in deltas]) if count > 1 else deltas[0].piece)
        builder.cached = None
        builder.deltas += count
        self._stream.sequence += count
        self._misses = 0
        if self._tap is not None:
            pattern.write(deltas)
        return True

    def learn(self, frame: Frame, events: Sequence[Event]) -> None:
        """Make a pattern of a frame that was just folded, where all it did was to append a piece; else drop all."""
        append = self._stream.append
        if len(events) != 1 or append is None or not isinstance(events[0].data, MessageDelta | RunStepDelta):
            self.patterns.clear()
            return
        if append.builder.deltas < ENOUGH or self._misses >= MAX_MISSES or len(frame.data) > MAX_DATA:
            return
        like, counter = struct_of(frame.data, self._translation.fast_keys), self._translation.counter
        if like is None or counter is None or b"\n" in frame.data:
            return
        self._misses += 1
        head = b"event: %b\ndata: " % frame.event.encode() if frame.event != "message" else b"data: "
        others = [one for one in self.patterns if one.append.buffer is not append.buffer]
        self.patterns = [Pattern(events[0], append, counter, head, like), *others[: MAX_PATTERNS - 1]]

    def _tell(self, pattern: Pattern, piece: str) -> bool:
        """Make the progress of a delta, in the words of the fold. Return whether a queue is full now."""
        event_id = "" if self.scanner is None else self.scanner.last_event_id
        told = pattern.before + msgspec.json.encode(piece) + pattern.after
        return self._batch.add(pattern, event_id, told, 0)


def _decoded(pattern: Pattern, data: Sequence[bytes]) -> Sequence[Any]:
    """Return the deltas that data are, one each, which lack their last brace; none where one is something else."""
    text = b"[%b}]" % _SEPARATOR.join(data)
    if _LF in text or _CR in text:
        return ()
    try:
        deltas: list[Any] = pattern.decode_all(text)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ()
    return deltas if len(deltas) == len(data) else ()
