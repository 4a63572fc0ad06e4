"""Templates of deltas: the bytes around a piece of text, what they stand for, and how they are learned.

Theory. The block

    event: thread.run.step.delta\\ndata: {"id":"step_1","delta":{"step_details":{"type":"tool_calls","tool_calls":
    [{"index":0,"type":"function","function":{"arguments":"Hel"}}]}}}

was folded by the rules that all events go by, and did nothing but append `Hel` to one buffer: the walk itself said so
(`StreamState.append`). Its bytes before and after the piece are kept as a `Template`, if it is proven that they split
the block where the piece stood, and not inside another string with the same text (`_is_split`): the key that the walk
found the piece under must stand right before it, and nowhere else. And the event's own decoder must read the data at
once, for a progress decodes its delta from it, later and without a second look.

A template is of one text. Another text that is written alike gets one by its shape (`shapes`).
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

import msgspec

from stepstream.fold.builder import Append, SnapshotBuilder
from stepstream.fold.changes import MessageProgress, StepProgress
from stepstream.fold.stream_state import StreamState, touch
from stepstream.fold.tree import TextBuffer
from stepstream.live.progress import LikeDeltas
from stepstream.live.shapes import ShapeTable, layout_of, shape_of
from stepstream.wire.deltas import MessageDelta, RunStepDelta
from stepstream.wire.events import Event
from stepstream.wire.objects import RunStep
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

_BLANK: Final = b"\n\n"
_INSIDE: Final = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)

_decode_text: Final = msgspec.json.Decoder(str).decode
_decode_texts: Final = msgspec.json.Decoder(list[str]).decode


class _Kind(NamedTuple):
    """What differs between the deltas of steps and those of messages."""

    name: bytes  # what the block begins with, up to its data
    progress: Any
    decode: Callable[[bytes], Any]


STEP_DELTA: Final = "thread.run.step.delta"

_KINDS: Final[Mapping[str, _Kind]] = {
    STEP_DELTA: _Kind(
        OPENING + b"thread.run.step.delta" + DATA, StepProgress, msgspec.json.Decoder(RunStepDelta).decode
    ),
    "thread.message.delta": _Kind(
        OPENING + b"thread.message.delta" + DATA, MessageProgress, msgspec.json.Decoder(MessageDelta).decode
    ),
}
"""The events that have templates."""


class Template(LikeDeltas):
    """The bytes around the piece of text in one delta, and what they stand for."""

    __slots__ = ("chunk", "closes", "data_at", "next", "opens", "prefix", "suffix", "text", "version")

    def __init__(
        self, event: str, prefix: bytes, suffix: bytes, builder: SnapshotBuilder[Any], text: TextBuffer
    ) -> None:
        super().__init__(event, _KINDS[event].progress, builder)
        self.prefix, self.opens = prefix, len(prefix) - 1  # where the quote before the piece is
        self.suffix, self.closes = suffix, 1 - len(suffix)  # where the quote after it ends, from the end of the block
        self.data_at = len(_KINDS[event].name)
        self.version = builder.version
        self.text = text
        self.next = self  # that of the delta which came after the last one with this template
        self.chunk: tuple[bytes, int, bytes, int, int] | None = None

    def text_of(self, blocks: bytes) -> tuple[str, int]:
        """Return the pieces of blocks with blank lines between them as one text, and their number: 0 unless all are of
        this template.

        Where no piece needs decoding, they are joined. Else they are decoded as one list of strings: a quote in one of
        them would make that longer than they are many, or end it, unless another one ends with a backslash.
        """
        prefix, suffix = self.prefix, self.suffix
        if not (blocks.startswith(prefix) and blocks.endswith(suffix)):
            return "", 0
        begins, ends = len(prefix), -len(suffix)
        raw = [block[begins:ends] for block in blocks.rsplit(_BLANK)]
        if b"".join([prefix, (suffix + _BLANK + prefix).join(raw), suffix]) != blocks:
            return "", 0
        text = b"".join(raw)
        try:
            if b"\\" not in text and text.isascii():
                return _decode_text(b'"%b"' % text), len(raw)
            between = b'","'.join(raw)
            pieces = [] if b'\\","' in between else _decode_texts(b'["%b"]' % between)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return "", 0
        return ("".join(pieces), len(raw)) if len(pieces) == len(raw) else ("", 0)

    def as_chunk(self, line_end: bytes) -> tuple[bytes, int, bytes, int, int]:
        """Return how a chunk begins and ends that is one block, where the quotes of the piece are, and its data."""
        prefix, end = self.prefix.replace(b"\n", line_end), self.suffix + 2 * line_end
        moved = len(prefix) - len(self.prefix)
        self.chunk = prefix, self.opens + moved, end, 1 - len(end), self.data_at + moved
        return self.chunk


NO_TEMPLATE: Final = Template("thread.run.step.delta", b"\n", b"\r", SnapshotBuilder(RunStep(""), ""), TextBuffer())
"""Stands for none: its version is never that of its builder, and no block ends as it does."""
NO_TEMPLATE.version = -1


class TemplateTable:
    """The templates of one stream, found by the bytes of their prefix: so how many texts grow at once costs nothing."""

    __slots__ = ("_misses", "_shapes", "_stream", "templates")

    def __init__(self, stream: StreamState, shapes: ShapeTable) -> None:
        self._stream = stream
        self._shapes = shapes
        self.templates: dict[bytes, Template] = {}
        """By prefix."""
        self._misses = 0  # templates learned since one was found

    def find(self, block: bytes, at: int, last: Template) -> Template:
        """Return the template whose prefix a block has from `at` on, if it holds; else `NO_TEMPLATE`.

        It is expected next time, too, after the `last` one.
        """
        opening = self._shapes.opening
        size = len(opening)
        begin = block.rfind(opening) + size
        template = self.templates.get(block[at:begin])
        if template is None:  # the piece may be a colon, in its quotes
            earlier = block.rfind(opening, 0, begin - 1) + size
            template = self.templates.get(block[at:earlier])
        if template is None or template.version != template.builder.version:
            prefix = block[at:begin] if template is None else template.prefix
            template = self._derived(prefix) if block.endswith(self._shapes.suffixes) else NO_TEMPLATE
        if template is not NO_TEMPLATE:
            self._misses = 0
            if last is not NO_TEMPLATE:
                last.next = template
        return template

    def _derived(self, prefix: bytes) -> Template:
        """Return the template of a text that is new, or changed otherwise, by the shape of its prefix."""
        layout = layout_of(prefix)
        shape = None if layout is None else self._shapes.find(layout)
        if layout is None or shape is None:
            return NO_TEMPLATE
        table: Any = self._stream.steps if shape.event == STEP_DELTA else self._stream.messages
        builder = table.known.get(layout.identifier)
        text = None if builder is None else shape.text_in(builder, layout.first_index)
        if text is None or builder.counted_in is not None:
            return NO_TEMPLATE
        if layout.identifier not in table.touched:
            touch(table.touched, layout.identifier, builder)
        return self._keep(Template(shape.event, prefix, shape.suffix, builder, text))

    def learn(self, event: Event) -> None:
        """Keep a template of a delta that was just folded, where all it did was to append one piece to one text.

        `event` must be what the decoder made of one frame. Data with a line end in it was joined from several lines:
        its bytes in the stream were others.
        """
        append, kind = self._stream.append, _KINDS.get(event.name)
        if append is None or kind is None or self._misses >= MAX_MISSES or event.raw is None or b"\n" in event.raw:
            return
        self._misses += 1
        if not _is_read_at_once(kind, event.raw):
            return
        block = kind.name + event.raw
        for opening in _OPENINGS:
            begin = block.rfind(opening) + len(opening)
            inside = _INSIDE.match(block, begin)
            end = inside.end() if inside else begin
            prefix, suffix = block[:begin], block[end:]
            if len(prefix) + len(suffix) <= MAX_TEMPLATE_BYTES and _is_split(prefix, suffix, block[begin:end], append):
                self._shapes.opening = opening
                self._learn_shape(self._keep(Template(event.name, prefix, suffix, append.builder, append.buffer)))
                return

    def _keep(self, template: Template) -> Template:
        if len(self.templates) >= MAX_TEMPLATES:
            self.templates.clear()
        self.templates[template.prefix] = template
        return template

    def _learn_shape(self, template: Template) -> None:
        """Keep what other texts may have in common with that of a template."""
        layout = layout_of(template.prefix)
        shape = None
        if layout is not None:
            shape = shape_of(layout, template.event, template.suffix, template.builder, template.text)
        if layout is not None and shape is not None:
            self._shapes.add(layout, shape)


def _is_read_at_once(kind: _Kind, data: bytes) -> bool:
    """Return whether data needs no second look: a progress decodes its delta without, when that is asked for."""
    try:
        kind.decode(data)
    except msgspec.ValidationError:
        return False
    return True


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
