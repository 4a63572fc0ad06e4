"""One run that a stream writes to its journal, and its events as blocks."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from msgspec import UNSET

from stepstream.dialects.canonical import frame_of_event
from stepstream.fold.checkpoint import save_run
from stepstream.fold.state import State, run_key
from stepstream.fold.stream_state import StreamState
from stepstream.live.journal import BLANK, MAX_FRAMES, Checkpoint, Held, Opened, RunStatus, packs_of
from stepstream.wire.deltas import MessageDelta, RunStepDelta
from stepstream.wire.events import Event, Malformed
from stepstream.wire.messages import Message
from stepstream.wire.objects import Run, RunStep
from stepstream.wire.sse import Frame, encodable, encode_frame

MIN_CHECKPOINT: Final = 2**20
"""A checkpoint is written when the events since the last have more bytes than this, and than twice the last."""


_OBJECTS: Final = frozenset({RunStep, Message})
_ABOUT_OBJECTS: Final = frozenset({RunStep, Message, RunStepDelta, MessageDelta, Malformed})

_SETTLED: Final[Mapping[bool, RunStatus]] = {True: "ended", False: "waiting"}
"""What a run is that has nothing more to bring by itself: whether it has ended, or waits."""


class RunTap:
    """A run that a stream writes: the events that are not in its journal yet."""

    __slots__ = (
        "_pieces", "blocks", "checkpoint_size", "is_closed", "opened", "position", "since", "status",
    )  # fmt: skip

    def __init__(self, opened: Opened) -> None:
        self.opened = opened
        self.position = opened.position
        """That of the last event that was written."""
        self._pieces: list[tuple[int, Sequence[bytes]]] = []  # those after it, in pieces with their number
        self.blocks: list[bytes] = []
        """The events after those, each with the empty line that ends it."""
        self.status: RunStatus = "open"
        self.is_closed = False
        """Whether nothing more is written."""
        self.since = self.checkpoint_size = 0  # bytes written since the last checkpoint, and of that

    def add(self, blocks: Sequence[bytes]) -> None:
        """Note events, each without the empty line that ends it."""
        if self.blocks:
            self._seal()
        for start in range(0, len(blocks), MAX_FRAMES):
            some = blocks[start : start + MAX_FRAMES]
            self._pieces.append((len(some), (BLANK.join(some), BLANK)))

    def _seal(self) -> None:
        for start in range(0, len(self.blocks), MAX_FRAMES):
            some = self.blocks[start : start + MAX_FRAMES]
            self._pieces.append((len(some), some))
        self.blocks.clear()

    def new(self, stream: StreamState, *, waits: bool) -> list[Held]:
        """Return the events that are not written yet, and a checkpoint after them where one is due.

        One is due as well where the run waits and came in a dialect: who goes on with it needs what that knows.
        """
        self._seal()
        run_id, packs = self.opened.run_id, packs_of(self.opened.fence, self.position + 1, self._pieces)
        self.since += sum([pack.size for pack in packs])
        is_long = self.since > max(MIN_CHECKPOINT, 2 * self.checkpoint_size)
        if not packs or not (is_long or (waits and run_id in stream.state.dialect.runs)):
            return [*packs]
        data = save_run(stream, run_id)
        self.since, self.checkpoint_size = 0, len(data)
        return [*packs, Checkpoint(self.opened.fence, packs[-1].last, data)]

    def begin_writing(self) -> int:
        """Return how many pieces there are, for `written`."""
        return len(self._pieces)

    def written(self, count: int) -> None:
        """Note that the first pieces were written."""
        self.position += sum([events for events, _ in self._pieces[:count]])
        del self._pieces[:count]

    def status_in(self, stream: StreamState) -> RunStatus:
        """Return what the fold says of the run, while its stream goes on: it ends when nothing of it is open."""
        known = stream.runs.get(self.opened.run_id)
        if known is None or not (known.is_terminal or known.status == "requires_action"):
            return "open"
        entry = stream.state.find(run_key(self.opened.run_id, ""))
        return "open" if known.is_terminal and entry is not None and entry.is_open else _SETTLED[known.is_terminal]

    def status_at_end(self, stream: StreamState) -> RunStatus:
        """Return what the fold says of the run, now that its stream has ended."""
        known = stream.runs.get(self.opened.run_id)
        is_settled = known is not None and (known.is_terminal or known.status == "requires_action")
        return _SETTLED[known.is_terminal] if known is not None and is_settled else "interrupted"


def run_named(event: Event, state: State) -> str:
    """Return the run that an event names, or that of its step or message; "" where neither is known."""
    data: Any = event.data
    kind = type(data)
    if kind is Run:
        return str(data.id)
    found = data.run_id if kind in _OBJECTS else None
    if not found and kind in _ABOUT_OBJECTS:
        known: Any = state.steps.get(data.id or "") or state.messages.get(data.id or "")
        found = known.base.run_id if known is not None else None
    return found or ""


def block_of(event: Event) -> bytes:
    """Return an event as a block, without its id; nothing where it has no data."""
    raw = event.raw
    if raw and not event.is_translated and raw.find(b"\n") < 0 and raw.find(b"\r") < 0 and event.name.isprintable():
        return b"event: %b\ndata: %b\n\n" % (event.name.encode(), raw)
    if event.is_translated and isinstance(event.data, RunStepDelta | MessageDelta):
        return b"event: %b\ndata: %b\n\n" % (event.name.encode(), msgspec.json.encode(bare(event.data)))
    return block_of_frame(frame_of_event(event))


def bare(delta: Any) -> Any:
    """Return a delta that was translated without the name of its kind of object.

    So the last text in it is mostly the piece, as in what servers send, and the fast path may learn from it.
    """
    return msgspec.structs.replace(delta, object=UNSET)


def block_of_frame(frame: Frame) -> bytes:
    """Return a frame as `block_of` does."""
    plain = encodable(frame)
    if not plain.data:
        return b""
    name = f"event: {plain.event}\n".encode() if plain.event else b""
    return name + encode_frame(Frame(data=plain.data))
