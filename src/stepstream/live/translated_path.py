"""The fast path of streams in a dialect: the usual delta, folded from its bytes, without a translation.

Theory. In such a stream the deltas of one text differ in the piece, and in a few values that say nothing of it: their
number, padding. A delta that was translated and folded by the rules that all go by, and was one event that did nothing
but append its piece to one buffer (`StreamState.append`), is made a pattern: its bytes, where the translator says that
the piece, the number and what is padding stand. The next data that the whole pattern matches says the same of another
piece, provided that

1. the object has not changed otherwise since (`version`, as in `fast_path`);
2. its number is higher than that of all before: else the rules say whether it came before;
3. the translator has seen nothing else of the stream since: what goes by the rules and is not learned from drops all
   patterns (`learn`).

So no pattern outlives what it was made from. Blocks are matched in the bytes of a chunk, one after another, where the
chunk begins with one; a chunk that ends within a block leaves that to the scanner. A block with an id, or with other
line ends, matches none.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

import msgspec

from stepstream.dialects.translation import Counter
from stepstream.fold.accumulator import Accumulator
from stepstream.fold.builder import Append
from stepstream.fold.changes import MessageProgress, StepProgress
from stepstream.live.delta_shape import DeltaShape, shape_of
from stepstream.live.routing import Routes
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

LARGE: Final = 2048
"""Bytes of a chunk whose blocks are looked at all at once."""

MAX_MISSES: Final = 32
"""After so many patterns that matched nothing none is made any more: the stream has no like deltas."""

_BLANK: Final = b"\n\n"

_decode_text: Final = msgspec.json.Decoder(str).decode
_decode_texts: Final = msgspec.json.Decoder(list[str]).decode


_Match: TypeAlias = Callable[[bytes, int], re.Match[bytes] | None]
"""Matches from a place on."""


class Pattern:
    """The bytes of one delta but for its piece and what it is numbered and padded with, and what they stand for."""

    __slots__ = (
        "after", "append", "before", "counter", "event", "every", "lines", "mailboxes", "next", "number", "only",
        "piece", "progress", "routes_version", "version",
    )  # fmt: skip

    def __init__(self, event: Event, append: Append, counter: Counter, head: bytes, shape: DeltaShape) -> None:
        self.event = event.name
        self.progress: Any = MessageProgress if isinstance(event.data, MessageDelta) else StepProgress
        self.append = append
        self.counter = counter
        self.version = append.builder.version
        data, self.piece, self.number = shape
        block = re.compile(re.escape(head) + data + rb"\n\n")
        self.next: _Match = block.match
        self.only = block.fullmatch
        self.every = block.findall
        self.lines = head.count(b"\n") + len(b"\n\n")  # of a block
        told, piece = msgspec.json.encode(event.data), msgspec.json.encode(append.piece)
        self.before, _, self.after = told.partition(b'"%b":%b' % (append.key.encode(), piece))
        self.before += b'"%b":' % append.key.encode()
        self.routes_version = -1
        self.mailboxes: Sequence[Any] = ()


class TranslatedDeltas:
    """The patterns of one stream."""

    __slots__ = ("_dispatch", "_is_full", "_misses", "_routes", "_stream", "_translation", "patterns", "scanner")

    def __init__(self, accumulator: Accumulator, routes: Routes, dispatch: Callable[..., bool]) -> None:
        self._stream = accumulator.stream
        self._translation = accumulator.translation
        self._routes = routes
        self._dispatch = dispatch
        self._misses = 0
        self._is_full = False
        self.scanner: Scanner | None = None
        """Has the newest event id."""
        self.patterns: list[Pattern] = []
        """Those of the texts that grow, the newest first."""

    def fold_chunk(self, chunk: bytes) -> bool:
        """Fold a chunk that is one block like a delta before. Return whether it is."""
        for pattern in self.patterns:
            found = pattern.only(chunk)
            if found is not None:
                return self._fold_one(pattern, found)
        return False

    def _fold_one(self, pattern: Pattern, found: re.Match[bytes]) -> bool:
        """Fold one block that matches. Return whether it is: it may have come before, or its piece be no text."""
        builder, counter, number = pattern.append.builder, pattern.counter, 0
        if pattern.version != builder.version:
            return False
        if pattern.number:
            number = int(found[pattern.number])
            if number <= counter.number:
                return False
        try:
            piece = _decode_text(found[pattern.piece])
        except (msgspec.DecodeError, UnicodeDecodeError):
            return False
        builder.append(pattern.append.buffer, piece)
        builder.deltas += 1
        self._stream.sequence += 1
        self._misses = 0
        if number:
            counter.number = number
        mailboxes = self._mailboxes(pattern)
        if mailboxes:
            self._tell(pattern, mailboxes, found[pattern.piece], 0)
        return True

    def fold_blocks(self, blocks: Sequence[bytes], start: int) -> tuple[int, bool]:
        """Fold blocks from `start` on, and return the place of the first that is like no delta before.

        Returns also whether it stopped there because the block before filled a queue.
        """
        self._is_full = False
        first = blocks[start] + _BLANK
        for pattern in self.patterns:
            if pattern.next(first, 0) is not None:
                chunk = _BLANK.join([*blocks[start:], b""])
                folded = self._fold_every(pattern, chunk) or self._fold(pattern, chunk)
                return start + chunk.count(_BLANK, 0, folded), self._is_full
        return start, False

    def _fold_every(self, pattern: Pattern, chunk: bytes) -> int:
        """Fold all blocks of a chunk at once, where all are alike and no subscriber wants to be told of each.

        A block that matches has so many lines, so they are all alike if together these are all the lines there are.
        """
        if not pattern.number or pattern.version != pattern.append.builder.version:
            return 0
        if self._mailboxes(pattern):
            return 0
        found = pattern.every(chunk)
        count = len(found)
        if count * pattern.lines != chunk.count(b"\n"):
            return 0
        columns = tuple(zip(*found, strict=True))
        numbers = [*map(int, columns[pattern.number - 1])]
        first = numbers[0]
        if first <= pattern.counter.number or numbers != [*range(first, first + count)]:
            return 0
        try:
            pieces = _decode_texts(b"[%b]" % b",".join(columns[pattern.piece - 1]))
        except (msgspec.DecodeError, UnicodeDecodeError):
            return 0
        pattern.append.buffer.append("".join(pieces))
        self._note(pattern, count, numbers[-1])
        return len(chunk)

    def _note(self, pattern: Pattern, count: int, number: int) -> None:
        """Note that deltas were folded, the last of that number."""
        builder = pattern.append.builder
        builder.cached = None
        builder.deltas += count
        self._stream.sequence += count
        self._misses = 0
        pattern.counter.number = number

    def _fold(self, pattern: Pattern, chunk: bytes) -> int:
        """Fold what matches from the beginning of a chunk on, and return where that ends."""
        builder, text, match = pattern.append.builder, pattern.append.buffer, pattern.next
        if pattern.version != builder.version:
            return 0
        place, count, number, groups = 0, 0, pattern.counter.number, (pattern.piece, pattern.number)
        mailboxes, size = self._mailboxes(pattern), len(chunk)
        try:
            while place < size and (found := match(chunk, place)) is not None:
                written, sent = found.group(*groups)
                if pattern.number:
                    if int(sent) <= number:
                        break
                    number = int(sent)
                text.append(_decode_text(written))
                place, count = found.end(), count + 1
                if mailboxes and self._tell(pattern, mailboxes, written, count):
                    self._is_full = True
                    break
        except (msgspec.DecodeError, UnicodeDecodeError):
            pass  # the rules report what is wrong with it
        if count:
            self._note(pattern, count, number)
        return place

    def learn(self, frame: Frame, events: Sequence[Event]) -> None:
        """Make a pattern of a frame that was just folded, where all it did was to append a piece; else drop all."""
        append = self._stream.append
        if len(events) != 1 or append is None or not isinstance(events[0].data, MessageDelta | RunStepDelta):
            self.patterns.clear()
            return
        if append.builder.deltas < ENOUGH or self._misses >= MAX_MISSES or len(frame.data) > MAX_DATA:
            return
        shape, counter = shape_of(frame.data, self._translation.fast_keys), self._translation.counter
        if shape is None or counter is None:
            return
        self._misses += 1
        head = b"event: %b\ndata: " % frame.event.encode() if frame.event != "message" else b"data: "
        others = [one for one in self.patterns if one.append.buffer is not append.buffer]
        self.patterns = [Pattern(events[0], append, counter, head, shape), *others[: MAX_PATTERNS - 1]]

    def _mailboxes(self, pattern: Pattern) -> Sequence[Any]:
        """Return the mailboxes that may want the progress of a pattern, looked up again where the routes changed."""
        if pattern.routes_version != self._routes.version:
            pattern.mailboxes = self._routes.mailboxes_for(pattern.progress, pattern.append.builder)
            pattern.routes_version = self._routes.version
        return pattern.mailboxes

    def _tell(self, pattern: Pattern, mailboxes: Sequence[Any], written: bytes, count: int) -> bool:
        """Dispatch the progress of a delta, in the words of the fold. Return whether a queue is full now."""
        stream, builder = self._stream, pattern.append.builder
        builder.cached = None
        event_id = "" if self.scanner is None else self.scanner.last_event_id
        cause = pattern.event, stream.sequence + count, stream.context, event_id, stream.received_at
        told = pattern.before + written + pattern.after
        return self._dispatch(pattern.progress(*cause, False, builder, told, 0), mailboxes)
