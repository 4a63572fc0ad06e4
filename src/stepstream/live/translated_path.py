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

So no pattern outlives what it was made from. A chunk of many such blocks is decoded by one call, as one JSON array:

    {"delta":"a",…}  {"delta":"b",…}   →   [{"delta":"a",…},0,\\n{"delta":"b",…}]

There each block must be exactly one value. It is: no data holds a line end, so none of the separators can stand in a
string, nor, since a struct refuses a 0 and an object a value without a key, inside a block's value; each block has a
value, for JSON has none between two commas; so if there are as many values as blocks and separators together, no block
has two. What would break this: a struct with a list that takes numbers.
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
_SEPARATOR: Final = b",0,\n"


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
            head = pattern.head
            if chunk.startswith(head):
                if not chunk.endswith(_BLANK) or chunk.find(b"\n", len(head)) != len(chunk) - 2 or b"\r" in chunk:
                    return False
                try:
                    delta = pattern.decode(chunk[len(head) : -2])
                except (msgspec.DecodeError, UnicodeDecodeError):
                    continue
                return self._fold_one(pattern, delta)
        return False

    def _fold_one(self, pattern: Pattern, delta: Any) -> bool:
        """Fold one delta of a pattern. Return whether it was done: it may have come before."""
        builder, counter, is_numbered = pattern.builder, pattern.counter, pattern.like.is_numbered
        if pattern.version != builder.version or (is_numbered and delta.number <= counter.number):
            return False
        if self._tap is not None:
            if pattern.run_in(self._tap) is None:
                return False
            pattern.write((delta,))
        builder.append(pattern.append.buffer, delta.piece)
        builder.deltas += 1
        self._stream.sequence += 1
        self._misses = 0
        if is_numbered:
            counter.count((delta,))
        if self._batch.mailboxes_of(pattern):
            self._tell(pattern, delta.piece)
            self._batch.hand_over()
        return True

    def fold_all(self, blocks: bytes) -> bool:
        """Fold blocks that were not cut apart. Return whether it was done: where all are like deltas of one text."""
        for pattern in self.patterns:
            if blocks.startswith(pattern.head) and not pattern.is_mixed and not self._batch.mailboxes_of(pattern):
                return self._fold(pattern, blocks[len(pattern.head) :].split(_BLANK + pattern.head))[0] > 0
        return False

    def fold_blocks(self, blocks: Sequence[bytes], start: int) -> tuple[int, bool]:
        """Fold blocks from `start` on, and return the place of the first that is like no delta before.

        Returns also whether it stopped there because the block before filled a queue.
        """
        for pattern in self.patterns:
            head, size = pattern.head, len(pattern.head)
            end = start + 1 if pattern.is_mixed else len(blocks)
            data = [one[size:] for one in takewhile(lambda one: one.startswith(head), blocks[start:end])]  # noqa: B023
            count, is_full = self._fold(pattern, data)
            if not count and len(data) > 1:
                pattern.is_mixed = True
                count, is_full = self._fold(pattern, data[:1])
            if count:
                return start + count, is_full
        return start, False

    def _fold(self, pattern: Pattern, data: Sequence[bytes]) -> tuple[int, bool]:
        """Fold the data of blocks that begin like those of a pattern: all, up to where a queue is full; or none.

        Returns how many, and whether a queue is full.
        """
        if pattern.version != pattern.builder.version:
            return 0, False
        deltas = _decoded(pattern, data)
        if not deltas or (pattern.like.is_numbered and not _rises(pattern.counter.number, deltas)):
            return 0, False
        if self._tap is not None and pattern.run_in(self._tap) is None:
            return 0, False
        if not self._batch.mailboxes_of(pattern):
            pattern.append.buffer.append("".join([one.piece for one in deltas]))
            self._note(pattern, deltas)
            return len(deltas), False
        for place, one in enumerate(deltas, 1):
            pattern.append.buffer.append(one.piece)
            self._note(pattern, (one,))
            if self._tell(pattern, one.piece):
                return place, True
        return len(deltas), self._batch.hand_over()

    def _note(self, pattern: Pattern, deltas: Sequence[Any]) -> None:
        """Note that deltas were folded."""
        builder = pattern.builder
        builder.cached = None
        builder.deltas += len(deltas)
        self._stream.sequence += len(deltas)
        self._misses = 0
        if self._tap is not None:
            pattern.write(deltas)
        if pattern.like.is_numbered:
            pattern.counter.count(deltas)

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


def _rises(number: int, deltas: Sequence[Any]) -> bool:
    """Return whether the numbers of deltas rise from what was the highest before."""
    numbers = [one.number for one in deltas]
    first = numbers[0]
    return first > number and (numbers == [*range(first, first + len(numbers))] or numbers == sorted(set(numbers)))


def _decoded(pattern: Pattern, data: Sequence[bytes]) -> Sequence[Any]:
    """Return the deltas that data are, one each; none where one of them is another, or has a line end in it."""
    text = b"".join(data)
    if not data or b"\n" in text or b"\r" in text:
        return ()
    try:
        if len(data) == 1:
            return (pattern.decode(text),)
        values = pattern.decode_all(b"[%b]" % _SEPARATOR.join(data))
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ()
    deltas, zeros = values[::2], values[1::2]
    is_one_each = len(deltas) == len(data) and set(map(type, deltas)) == {pattern.like.struct} and not any(zeros)
    return deltas if is_one_each else ()
