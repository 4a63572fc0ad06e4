"""The fast path: the usual delta, folded from its bytes, of which only the new piece of text is decoded.

Theory. Nearly all deltas of a stream differ in nothing but one piece of text. The block

    thread.message.delta\\ndata: {"id":"msg_1","delta":{"content":[{"index":0,"type":"text","text":{"value":"Hel"}}]}}
    └───────────────────────────────────── prefix ──────────────────────────────────────────────────────┘   └ suffix ┘

was decoded and folded by the rules that all events go by (`fold`), and added one piece to one text buffer. Then its
bytes before and after the piece are kept as a `Template`. The next block with the same prefix and suffix says the same
of another piece, provided that

1. folding the block did nothing but append that piece to that buffer: the walk itself said so (`StreamState.append`);
2. what lies between is the inside of one JSON string: `_decode_text` decodes it with its quotes, and refuses all else;
3. the template splits the block where the piece stood, and not inside another string with the same text: `_is_split`
   proves that once, by the key that the walk found the piece under, which must stand there and nowhere else;
4. nothing but appending has happened to the step or message since: every other change of what a `SnapshotBuilder` has
   built raises its `version`. A terminal object, an evicted run and a replaced buffer are all seen this way.

So a template may be reused exactly as long as its version is the builder's. What would break this: code that changes a
builder's tree without raising `version`; a second place in the block whose value depends on the piece; an event that is
decoded from other bytes than its block (`learn` refuses data with line ends, which a decoder has joined).

A template is found by the bytes of its prefix, so its cost does not depend on how many texts grow at once. A block that
does not match any is left to the rules. Only this module relies on how both `wire` and `fold` work inside.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec

from stepstream.fold.appends import Append
from stepstream.fold.builder import SnapshotBuilder
from stepstream.fold.changes import Change, MessageProgress, StepProgress
from stepstream.fold.state import StreamState
from stepstream.fold.tree import TextBuffer
from stepstream.live.routing import Routes
from stepstream.wire.events import Event
from stepstream.wire.scan import DATA, OPENING

MAX_TEMPLATES: Final = 2048
"""How many templates are kept. Beyond it all are dropped at once: those in use are learned again with their next delta,
which costs less than keeping them in order of use."""

MAX_TEMPLATE_BYTES: Final = 4096
"""How many bytes a template may keep of a block, prefix and suffix together."""

MAX_MISSES: Final = 2 * MAX_TEMPLATES
"""After so many templates learned without a single match none is learned any more: the stream has no like deltas."""

_OPENINGS: Final = (b'":"', b'": "')
"""What ends a prefix. The inside of a JSON string cannot hold either: its last quote would be escaped there."""

_INSIDE: Final = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)

_decode_text: Final = msgspec.json.Decoder(str).decode

Dispatch: TypeAlias = Callable[[Change, Sequence[Any]], bool]
"""Queues a change in mailboxes. Returns whether one of them has no room for more, so that the stream must wait."""


class _Kind(NamedTuple):
    """What differs between the deltas of steps and those of messages."""

    name: bytes  # what the block begins with, up to its data
    progress: Any


_KINDS: Final[Mapping[str, _Kind]] = {
    "thread.run.step.delta": _Kind(b"thread.run.step.delta" + DATA, StepProgress),
    "thread.message.delta": _Kind(b"thread.message.delta" + DATA, MessageProgress),
}
"""The events that have templates."""


class Template:
    """The bytes around the piece of text in one delta, and what they stand for."""

    __slots__ = (
        "block_end", "block_start", "builder", "data_at", "event", "mailboxes", "progress", "routes_version", "suffix",
        "text", "version",
    )  # fmt: skip

    def __init__(
        self, event: str, prefix: bytes, suffix: bytes, builder: SnapshotBuilder[Any], text: TextBuffer
    ) -> None:
        self.event = event
        self.suffix = suffix
        self.block_start, self.block_end = OPENING + prefix, suffix + b"\n\n"  # of a chunk that is one block
        kind = _KINDS[event]
        self.progress = kind.progress
        self.data_at = len(kind.name)  # where the data begins in a block
        self.builder = builder
        self.version = builder.version
        self.text = text
        self.routes_version = -1  # of the routes when `mailboxes` were looked up; -1: not yet
        self.mailboxes: Sequence[Any] = ()


class DeltaTemplates:
    """The templates of one stream."""

    __slots__ = ("_dispatch", "_last", "_misses", "_opening", "_routes", "_stream", "_templates")

    def __init__(self, stream: StreamState, routes: Routes, dispatch: Dispatch) -> None:
        self._stream = stream
        self._routes = routes
        self._dispatch = dispatch
        self._opening = _OPENINGS[0]  # servers write one of the two throughout: that of the newest template
        self._templates: dict[bytes, Template] = {}  # by prefix
        self._last: Template | None = None  # that of the newest delta
        self._misses = 0  # templates learned since one matched

    def fold_chunk(self, chunk: bytes) -> bool:
        """Fold a chunk that is one block and matches the newest template. Return whether it does.

        Most servers send each event in a chunk of its own, and one text grows at a time: so this comes first, and
        needs no cutting of the chunk. Nothing may be left of the chunk before.
        """
        template = self._last
        if template is None or template.version != template.builder.version:
            return False
        begin, end = len(template.block_start), len(chunk) - len(template.block_end)
        if end < begin or chunk[:begin] != template.block_start or chunk[end:] != template.block_end:
            return False
        try:
            piece = _decode_text(chunk[begin - 1 : end + 1])  # with its quotes
        except (msgspec.DecodeError, UnicodeDecodeError):
            return False
        builder, stream = template.builder, self._stream
        builder.append(template.text, piece)
        builder.deltas += 1
        stream.sequence += 1
        current = template.routes_version == self._routes.version
        mailboxes = template.mailboxes if current else self._look_up(template)
        if mailboxes:
            at = template.data_at + len(OPENING)
            event, context, event_id, at_time = template.event, stream.context, stream.event_id, stream.received_at
            change = template.progress(event, stream.sequence, context, event_id, at_time, False, builder, chunk, at)
            self._dispatch(change, mailboxes)
        return True

    def fold_blocks(self, found: Sequence[object], start: int = 0) -> int:
        """Fold the blocks of `found` from `start` on, and return the place of the first that is not folded.

        That is the first that is a frame or matches no template, or the one after a delta that filled a subscriber's
        queue. Progress is made and dispatched only where a mailbox wants it.
        """
        templates, opening, size, routes = self._templates, self._opening, len(self._opening), self._routes
        template, dispatch, stream = self._last, self._dispatch, self._stream
        place, before = start, stream.sequence - start
        context, event_id, at_time = stream.context, stream.event_id, stream.received_at
        try:
            for block in found[start:] if start else found:
                if type(block) is not bytes:
                    break
                begin = block.rfind(opening) + size
                template = templates.get(block[:begin])
                if template is None:  # the piece may be a colon, in its quotes
                    begin = block.rfind(opening, 0, begin - 1) + size
                    template = templates.get(block[:begin])
                if template is None or template.version != template.builder.version:
                    break
                suffix = template.suffix
                end = len(block) - len(suffix)
                if end < begin or block[end:] != suffix:
                    break
                piece = _decode_text(block[begin - 1 : end + 1])  # with its quotes
                builder = template.builder
                builder.cached = None  # `builder.append`, without the call
                builder.deltas += 1
                template.text.append(piece)
                place += 1
                current = template.routes_version == routes.version
                mailboxes = template.mailboxes if current else self._look_up(template)
                if mailboxes:
                    event, sequence, at = template.event, before + place, template.data_at
                    change = template.progress(event, sequence, context, event_id, at_time, False, builder, block, at)
                    if dispatch(change, mailboxes):
                        break
        except (msgspec.DecodeError, UnicodeDecodeError):
            pass  # the rules that all events go by report what is wrong with it
        self._last = template
        if place > start:
            self._misses = 0
            stream.sequence = before + place
        return place

    def learn(self, event: Event) -> None:
        """Keep a template of a delta that was just folded, where all it did was to append one piece to one text.

        `event` must be what the decoder made of one frame. Data with a line end in it was joined from several lines:
        its bytes in the stream were others.
        """
        append, kind = self._stream.append, _KINDS.get(event.name)
        if append is None or kind is None or self._misses >= MAX_MISSES or event.raw is None or b"\n" in event.raw:
            return
        self._misses += 1
        block = kind.name + event.raw
        for opening in _OPENINGS:
            begin = block.rfind(opening) + len(opening)
            inside = _INSIDE.match(block, begin)
            end = inside.end() if inside else begin
            prefix, suffix = block[:begin], block[end:]
            if len(prefix) + len(suffix) <= MAX_TEMPLATE_BYTES and _is_split(prefix, suffix, block[begin:end], append):
                if len(self._templates) >= MAX_TEMPLATES:
                    self._templates.clear()
                self._opening = opening
                self._templates[prefix] = Template(event.name, prefix, suffix, append.builder, append.buffer)
                return

    def _look_up(self, template: Template) -> Sequence[Any]:
        """Return the mailboxes that may want the progress of a template, and keep them until the routes change."""
        template.mailboxes = self._routes.mailboxes_for(template.progress, template.builder)
        template.routes_version = self._routes.version
        return template.mailboxes


def _is_split(prefix: bytes, suffix: bytes, inside: bytes, append: Append) -> bool:
    """Return whether the piece that was appended is what stands between the two.

    It is, if its key stands right before it and is a key nowhere else in the block. A key could only be written
    otherwise with an escape, of which there must be none outside of the piece.
    """
    key = re.escape(append.key.encode())
    if b"\\" in prefix or b"\\" in suffix or not re.search(b'"%b": ?"\\Z' % key, prefix):
        return False
    if len(re.findall(b'"%b"[ \t\r\n]*:' % key, prefix + suffix)) > 1:
        return False
    return _decode_text(b'"%b"' % inside) == append.piece
