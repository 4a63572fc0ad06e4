"""Deltas that are alike but for a piece of text: nearly all of them, folded without decoding anything else.

How it works: what one delta says is fixed by its bytes. So when a delta that `grow` has a short cut for was folded,
the bytes of its block before and after the piece are kept: its head and its tail. A block with the same head and tail
says the same of another piece, if what lies between is the inside of a JSON string, which decoding it tells. A head is
found by a look into a table, however many texts grow at once. It holds until anything else happens to its step or
message, which the `version` of that tells. All that is not alike is left to the rules that all events go by.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol, TypeAlias

import msgspec
from msgspec import UNSET

from stepstream.fold.changes import Change, MessageProgress, StepProgress
from stepstream.fold.growing import Growing
from stepstream.fold.stream import StreamFold
from stepstream.fold.tree import Pieces
from stepstream.wire.deltas import MessageDelta, RunStepDelta
from stepstream.wire.events import Event
from stepstream.wire.scan import DATA, OPENING

MAX_HEADS: Final = 2048
"""So many heads are kept. Of more, all are forgotten: they are soon found again."""

MAX_ALIKE: Final = 4096
"""Where more bytes than these stand around a piece, they are not kept."""

MAX_VAIN: Final = 2 * MAX_HEADS
"""After so many heads that were kept, or could not be, without one that was found again, no more are looked for."""

_OPENINGS: Final = (b'":"', b'": "')
"""What ends a head: the inside of a JSON string does not hold it, for its last quote would be escaped."""

_INSIDE: Final = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)
_PROBES: Final = ("?", "!")

_decode_text: Final = msgspec.json.Decoder(str).decode


class _Kind(NamedTuple):
    """What differs between the deltas of steps and those of messages."""

    name: bytes  # what the block begins with, up to its data
    decode: Callable[[bytes], Any]
    data: type[Any]
    progress: Any


def _kind(event: str, data: type[Any], progress: type[Change]) -> _Kind:
    return _Kind(event.encode() + DATA, msgspec.json.Decoder(data).decode, data, progress)


_KINDS: Final[Mapping[str, _Kind]] = {
    "thread.run.step.delta": _kind("thread.run.step.delta", RunStepDelta, StepProgress),
    "thread.message.delta": _kind("thread.message.delta", MessageDelta, MessageProgress),
}
"""The events that are looked at."""


class Interest(Protocol):
    """What those who listen want to hear."""

    version: int
    """Another one when that may have changed."""

    def listeners(self, kind: type[Change], growing: Growing[Any]) -> Sequence[Any]:
        """Return those who may want that kind of progress of an object."""


Hear: TypeAlias = Callable[[Change, Sequence[Any]], bool]
"""Takes a change for those listeners, and tells whether there is no room for more just now."""


class _Head:
    """What a delta begins with, and what follows from that."""

    __slots__ = (
        "asked", "closing", "event", "growing", "listeners", "opening", "progress", "tail", "text", "version",
    )  # fmt: skip

    def __init__(self, event: str, head: bytes, tail: bytes, growing: Growing[Any], text: Pieces) -> None:
        self.event = event
        self.tail = tail
        self.opening, self.closing = OPENING + head, tail + b"\n\n"  # of a chunk that is one block
        self.progress = _KINDS[event].progress
        self.growing = growing
        self.version = growing.version
        self.text = text
        self.asked = -1  # the version of the interest for which these are the listeners
        self.listeners: Sequence[Any] = ()


class Alike:
    """The deltas of one stream that are like one before."""

    __slots__ = ("_heads", "_hear", "_interest", "_last", "_opening", "_stream", "_vain")

    def __init__(self, stream: StreamFold, interest: Interest, hear: Hear) -> None:
        self._stream = stream
        self._interest = interest
        self._hear = hear
        self._opening = _OPENINGS[0]
        self._heads: dict[bytes, _Head] = {}
        self._last: _Head | None = None  # that of the newest delta
        self._vain = 0

    def take(self, chunk: bytes) -> bool:
        """Fold a chunk that is one block, the next delta that is like the newest. Return whether it is.

        It is what most servers send in one chunk. Nothing may be left of the chunk before.
        """
        head = self._last
        if head is None or head.version != head.growing.version:
            return False
        begin, end = len(head.opening), len(chunk) - len(head.closing)
        if end < begin or chunk[:begin] != head.opening or chunk[end:] != head.closing:
            return False
        try:
            piece = _decode_text(chunk[begin - 1 : end + 1])  # with its quotes
        except (msgspec.DecodeError, UnicodeDecodeError):
            return False
        head.growing.append(head.text, piece)
        head.growing.deltas += 1
        self._stream.sequence += 1
        listeners = head.listeners if head.asked == self._interest.version else self._ask(head)
        if listeners:
            stream = self._stream
            progress = head.progress(head.event, stream.sequence, stream.context, UNSET, False, head.growing, chunk)
            self._hear(progress, listeners)
        return True

    def fold(self, found: Sequence[object], start: int = 0) -> int:
        """Fold blocks of deltas, `found` from `start` on, and return the place of the first that is not folded.

        That is one which is like none before, or the next after one for which there was no more room. Progress is made,
        and heard, only where it is wanted.
        """
        heads, opening, size, interest = self._heads, self._opening, len(self._opening), self._interest
        head, hear, context = self._last, self._hear, self._stream.context
        place, before = start, self._stream.sequence - start
        try:
            for block in found[start:] if start else found:
                if type(block) is not bytes:
                    break
                begin = block.rfind(opening) + size
                head = heads.get(block[:begin])
                if head is None:  # the piece may be a colon, in its quotes
                    begin = block.rfind(opening, 0, begin - 1) + size
                    head = heads.get(block[:begin])
                if head is None or head.version != head.growing.version:
                    break
                tail = head.tail
                end = len(block) - len(tail)
                if end < begin or block[end:] != tail:
                    break
                piece = _decode_text(block[begin - 1 : end + 1])  # with its quotes
                growing = head.growing
                growing.kept = None
                growing.deltas += 1
                head.text.append(piece)
                place += 1
                listeners = head.listeners if head.asked == interest.version else self._ask(head)
                if listeners:
                    progress = head.progress(head.event, before + place, context, UNSET, False, growing, block)
                    if hear(progress, listeners):
                        break
        except (msgspec.DecodeError, UnicodeDecodeError):
            pass  # what is wrong with it is for the other rules to say
        self._last = head
        if place > start:
            self._vain = 0
            self._stream.sequence = before + place
        return place

    def learn(self, event: Event) -> None:
        """Keep the head of a delta that was just folded, where it added one piece to one text.

        It is what the frame of a decoder says. With a line end in it, that came otherwise than the bytes say.
        """
        delta: Any = event.data
        kind = _KINDS.get(event.name)
        if self._vain >= MAX_VAIN or kind is None or event.raw is None or type(delta) is not kind.data:
            return
        if delta.delta is None or b"\n" in event.raw:
            return
        side: Any = self._stream.steps if kind.data is RunStepDelta else self._stream.messages
        growing = side.known.get(delta.id)
        addition = None if growing is None or growing.ended else side.piece_of(growing, delta.delta)
        if addition is None:
            return
        self._vain += 1
        block = kind.name + event.raw
        for opening in _OPENINGS:
            begin = block.rfind(opening) + len(opening)
            inside = _INSIDE.match(block, begin)
            head, tail = block[:begin], block[inside.end() if inside else begin :]
            if len(head) + len(tail) > MAX_ALIKE:
                continue
            if _is_split(kind, head, tail, side, growing, *addition):
                if len(self._heads) >= MAX_HEADS:
                    self._heads.clear()
                self._opening = opening
                self._heads[head] = _Head(event.name, head, tail, growing, addition[0])
                return

    def _ask(self, head: _Head) -> Sequence[Any]:
        """Find out who may want to hear of what begins so."""
        head.listeners = self._interest.listeners(head.progress, head.growing)
        head.asked = self._interest.version
        return head.listeners


def _is_split(kind: _Kind, head: bytes, tail: bytes, side: Any, growing: Any, text: Pieces, piece: str) -> bool:
    """Tell whether that piece of text is what stood between: another one there is another piece, and nothing else."""
    probe = _PROBES[piece == _PROBES[0]]
    try:
        delta = kind.decode(b"%b%b%b" % (head[len(kind.name) :], probe.encode(), tail))
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    found = side.piece_of(growing, delta.delta) if delta.id == growing.base.id and delta.delta else None
    return found is not None and found[0] is text and found[1] == probe
