"""The fast path: the usual delta, folded from its bytes, of which only the new piece of text is decoded.

Theory. Nearly all deltas of a stream differ in nothing but one piece of text. A block that begins with the prefix of a
`Template` and ends with its suffix says the same of another piece as the block that the template was learned from,
provided that

1. folding that block did nothing but append its piece to one text, and the template splits it where the piece stood:
   `templates` proves both;
2. what lies between is the inside of one JSON string: `_decode_text` decodes it with its quotes, and refuses all else;
3. nothing but appending has happened to the step or message since: every other change of what a `SnapshotBuilder` has
   built raises its `version`: a terminal object, an evicted run and a replaced buffer, too.

So a template may be reused exactly as long as its version is the builder's. What would break this: code that changes a
builder's tree without raising `version`; a second place in the block whose value depends on the piece; an event that is
decoded from other bytes than its block.

Texts take turns: each template keeps which one came after it last, so that the next is mostly found at once. Of a chunk
that a journal keeps, all pieces are decoded at once where nobody is told (`take`). A block that matches none takes the
plain route. Only this module, `templates` and `shapes` rely on how both `wire` and `fold` work inside.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from stepstream.errors import DecodeError
from stepstream.live.plain_route import PlainRoute
from stepstream.live.progress import Fanout, ProgressBatch
from stepstream.live.routing import Routes
from stepstream.live.shapes import ShapeTable
from stepstream.live.templates import NO_TEMPLATE, Template, TemplateTable
from stepstream.live.translated_path import TranslatedDeltas
from stepstream.wire.scan import CRLF, ID, NUL, Scanner, in_order
from stepstream.wire.sse import Frame

_DELTA: Final = b".delta\n"
_LONGEST_HEAD: Final = 128
"""How far the name of an event is looked for in a block."""

_CR: Final = ord("\r")
_LF: Final = ord("\n")

_decode_text: Final = msgspec.json.Decoder(str).decode


class FastPath:
    """Folds the blocks of one stream, all it can by templates."""

    __slots__ = (
        "_batch", "_last", "_plain", "_reorders", "_routes", "_scanner", "_sets_ids", "_stream", "_translation",
        "table", "translated",
    )  # fmt: skip

    def __init__(
        self,
        scanner: Scanner,
        plain: PlainRoute,
        routes: Routes,
        fanout: Fanout,
        shapes: ShapeTable | None = None,
    ) -> None:
        self._scanner = scanner
        self._plain = plain
        self._stream = plain.accumulator.stream
        self._translation = plain.accumulator.translation
        self._routes = routes
        self._batch = ProgressBatch(self._stream, routes, fanout)
        self.table = TemplateTable(self._stream, shapes or ShapeTable())
        self.translated = TranslatedDeltas(plain.accumulator, self._batch, plain.tap)
        self.translated.scanner = scanner
        self._last = NO_TEMPLATE  # the template of the newest delta
        self._sets_ids = False  # whether a block came that begins with an id
        self._reorders = False  # whether one came that `in_order` changes

    def connect(self, scanner: Scanner) -> None:
        """Go on with the blocks of a new connection."""
        self._scanner = self.translated.scanner = scanner

    def fold_chunk(self, chunk: bytes) -> bool:
        """Fold a chunk that is one block and matches the template expected next. Return whether it does.

        Most servers send each event in a chunk of its own: so this comes first, and needs no cutting of the chunk.
        Nothing may be left of the chunk before.
        """
        if self.translated.patterns:
            return self.translated.fold_chunk(chunk)
        scanner, template = self._scanner, self._last.next
        prefix, opens, end, closes, data_at = template.chunk or template.as_chunk(CRLF if scanner.has_crlf else b"\n")
        at = chunk.find(b"\n") + 1 if self._sets_ids and chunk.startswith(ID) else 0
        if not (chunk.startswith(prefix, at) and chunk.endswith(end)) or template.version != template.builder.version:
            return False
        if at and (NUL in chunk or (_CR in chunk and chunk.find(b"\r") != at - len(CRLF))):
            return False  # an id that sets none, or more than one line: the scanner knows
        try:
            piece = _decode_text(chunk[at + opens : closes])
        except (msgspec.DecodeError, UnicodeDecodeError):
            return False
        builder, stream, tap = template.builder, self._stream, self._plain.tap
        if tap is not None:
            run = template.run if template.run is tap.marked else template.run_in(tap)
            if run is None:
                return False
            run.blocks.append(chunk if not (at or scanner.has_crlf) else chunk[at:].replace(CRLF, b"\n"))
        builder.cached = None  # `builder.append`, without the call
        builder.deltas += 1
        template.text.append(piece)
        stream.sequence += 1
        self._last = template
        if at:
            scanner.id_block = chunk
        if template.mailboxes or template.routes_version != self._routes.version:
            self._batch.tell(template, scanner.last_event_id, chunk, at + data_at)
        return True

    def take(self, blocks: bytes) -> bool:
        """Fold blocks that are not cut apart, where all add to one text and nobody is told. Return whether they do."""
        if self.translated.patterns:
            return self.translated.fold_all(blocks)
        template, tap = self._last.next, self._plain.tap
        if template.next is not template or template.version != template.builder.version:
            return False  # texts take turns, or it has changed otherwise
        if self._batch.mailboxes_of(template) or not blocks.startswith(template.prefix):
            return False
        run = None if tap is None else template.run if template.run is tap.marked else template.run_in(tap)
        text, count = template.text_of(blocks) if run is not None or tap is None else ("", 0)
        if not count:
            return False
        if run is not None:
            run.add_together(blocks, count)
        template.builder.append(template.text, text)
        template.builder.deltas += count
        self._stream.sequence += count
        self._last = template
        return True

    def fold(self, blocks: Sequence[bytes]) -> int:
        """Fold blocks and return how many: fewer than all where a queue is full now, or `done` came.

        A block that matches no template goes the plain route, and is learned from.

        Raises:
            StreamFailed: an `error` event came.
        """
        place, is_full = 0, False
        if self._reorders:
            blocks = [*map(in_order, blocks)]
        while place < len(blocks) and not is_full and not self._plain.is_done:
            before = place
            if self.translated.patterns:
                place, is_full = self.translated.fold_blocks(blocks, place)
            elif blocks[place].find(_DELTA, 0, _LONGEST_HEAD) >= 0:
                place, is_full = self._fold_alike(blocks, place)
            if place == before:
                place, is_full = place + 1, self._fold_plainly(blocks[place])
        return place

    def _fold_alike(self, blocks: Sequence[bytes], start: int) -> tuple[int, bool]:
        """Fold blocks from `start` on, and return the place of the first that matches no template.

        Returns also whether it stopped there because the block before filled a queue.
        """
        stream, routes, scanner, sets_ids, last = self._stream, self._routes, self._scanner, self._sets_ids, self._last
        place, before, batch, tap = start, stream.sequence - start, self._batch, self._plain.tap
        is_full, event_id = False, None  # which is read where it is needed
        run, begun = None if tap is None else tap.sole, stream.sequence
        last = NO_TEMPLATE if tap is not None and last.next.is_left else last  # it is looked up, to open its run
        try:
            for block in blocks[start : None if run is not None or tap is None else start + 1]:
                at = block.find(b"\n") + 1 if sets_ids and block.startswith(ID) else 0
                template = last.next
                builder = template.builder
                if template.version != builder.version or not block.startswith(template.prefix, at):
                    if block.startswith(b":") and _LF not in block:  # a comment, as servers send to keep alive
                        place, before = place + 1, before - 1
                        continue
                    template = self._find(block, at, last)
                    builder = template.builder
                if not block.endswith(template.suffix):
                    break
                piece = _decode_text(block[at + template.opens : template.closes])  # with its quotes
                builder.cached = None  # `builder.append`, without the call
                builder.deltas += 1
                template.text.append(piece)
                place += 1
                last = template
                if at:
                    scanner.id_block = block
                if template.mailboxes or template.routes_version != routes.version:
                    stream.sequence = before + place
                    event_id = scanner.last_event_id if at or event_id is None else event_id
                    if batch.add(template, event_id, block, at + template.data_at):
                        is_full = True
                        break
        except (msgspec.DecodeError, UnicodeDecodeError):
            pass  # the rules that all events go by report what is wrong with it
        stream.sequence, self._last = before + place, last
        if tap is not None and stream.sequence > begun:
            tap.add(run or last.run, blocks[start:place], stream.sequence - begun, has_ids=sets_ids)
        return place, batch.hand_over() or is_full

    def _find(self, block: bytes, at: int, last: Template) -> Template:
        """Return the template of a block, `NO_TEMPLATE` where it has none, or its run has to be opened first."""
        template, tap = self.table.find(block, at, last), self._plain.tap
        if tap is None or template is NO_TEMPLATE:  # that one is of all streams: it has no run
            return template
        return template if template.run_in(tap) is not None else NO_TEMPLATE

    def fold_frame(self, frame: Frame) -> bool:
        """Fold a frame by the plain route, and learn from it. Return whether a queue is full now.

        Raises:
            StreamFailed: it is an `error` event.
        """
        if not self._translation.is_plain:
            return self._fold_translated(frame)
        try:
            event = self._translation.decode(frame)
        except DecodeError as error:
            self._plain.reject(error, frame)
            return False
        is_full = self._plain.fold(event)
        if self._stream.append is not None:
            self.table.learn(event)
        return is_full

    def _fold_translated(self, frame: Frame) -> bool:
        """Fold a frame that may be in a dialect, as all are until the stream has told."""
        is_full, events = False, self._plain.decode(frame)
        for event in events:
            is_full = self._plain.fold(event)
        if not self._translation.is_plain:
            self.translated.learn(frame, events)
        return is_full

    def _fold_plainly(self, block: bytes) -> bool:
        """Fold a block that matches no template. Return whether a queue is full now."""
        frame, tap = self._scanner.usual_frame(block), self._plain.tap
        if frame is not None and tap is not None and self._translation.is_plain:
            tap.block = block if block.endswith(frame.data) else b""  # not so where bytes were no UTF-8
        if frame is None:
            if not block or (block.startswith(b":") and _LF not in block):
                return False  # a comment, which servers may send between any two events
            ordered = in_order(block)
            self._sets_ids = self._sets_ids or ordered.startswith(ID)
            self._reorders = self._reorders or ordered is not block
            frame = self._scanner.frame_of(ordered)
        return frame is not None and self.fold_frame(frame)
