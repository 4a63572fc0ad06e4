"""One run that a stream writes to its journal, and its events as blocks."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from msgspec import UNSET

from stepstream.dialects.canonical import frame_of_event
from stepstream.fold.checkpoint import save_run
from stepstream.fold.state import State, run_key
from stepstream.fold.stream_state import StreamState
from stepstream.live.journal import BLANK, MAX_FRAMES, Checkpoint, Held, Opened, Packing, RunStatus
from stepstream.wire.deltas import MessageDelta, RunStepDelta
from stepstream.wire.events import Event, Malformed
from stepstream.wire.messages import Message
from stepstream.wire.objects import Run, RunStep
from stepstream.wire.sse import Frame, encodable, encode_frame

MIN_CHECKPOINT: Final = 2**20
"""How many bytes of events there may always be behind a checkpoint."""

_OBJECTS: Final = frozenset({RunStep, Message})
_ABOUT_OBJECTS: Final = frozenset({RunStep, Message, RunStepDelta, MessageDelta, Malformed})

_SETTLED: Final[Mapping[bool, RunStatus]] = {True: "ended", False: "waiting"}
"""What a run is that has nothing more to bring by itself: whether it has ended, or waits."""


def most_behind(size: int) -> int:
    """Return how many bytes of events may follow a checkpoint of so many bytes before there is another.

    Whoever comes late folds them, so that takes as long as to read what the checkpoint says, or a few milliseconds. The
    larger the state, the more of what is written are checkpoints: half at most.
    """
    return max(MIN_CHECKPOINT, size)


def in_packs(blocks: Sequence[bytes]) -> Sequence[Sequence[bytes]]:
    """Return blocks in parts, each no more than a pack may have."""
    if len(blocks) <= MAX_FRAMES:
        return ([*blocks],)
    return [blocks[start : start + MAX_FRAMES] for start in range(0, len(blocks), MAX_FRAMES)]


class RunTap:
    """A run that a stream writes: the events that are not in its journal yet."""

    __slots__ = (
        "_bare", "_packing", "blocks", "checkpoint_size", "is_closed", "is_loaded", "key", "opened", "position",
        "since", "status",
    )  # fmt: skip

    def __init__(self, opened: Opened) -> None:
        self.opened = opened
        self.key = run_key(opened.run_id, "")
        """What the fold keeps the run with."""
        self.position = opened.position
        """That of the last event that was written."""
        self._packing = Packing(opened.fence, opened.position + 1)  # of those after it
        self._bare: list[bytes] = []  # events after those, without the empty line that ends each
        self.blocks: list[bytes] = []
        """The newest events, each with the empty line that ends it."""
        self.status: RunStatus = "open"
        self.is_closed = False
        """Whether nothing more is written."""
        self.is_loaded = False
        """Whether its journal brought what its dialect has to know of it, when it was opened."""
        self.since = self.checkpoint_size = 0  # bytes written since the last checkpoint, and of that

    def add(self, blocks: Sequence[bytes]) -> None:
        """Note events, each without the empty line that ends it."""
        if self.blocks:
            self.seal()
        self._bare += blocks

    def put(self, block: bytes) -> None:
        """Note one event, as `add` does."""
        if self.blocks:
            self.seal()
        self._bare.append(block)

    def add_together(self, blocks: bytes, count: int) -> None:
        """Note so many events that are not cut apart, without the empty line that ends the last."""
        if count > MAX_FRAMES:
            self.add(blocks.rsplit(BLANK))
            return
        self.seal()
        self._packing.add(count, (blocks, BLANK))

    def seal(self) -> None:
        """Put what was noted into packs."""
        if self._bare:
            for some in in_packs(self._bare):
                self._packing.add(len(some), (BLANK.join(some), BLANK))
            self._bare.clear()
        if self.blocks:
            for some in in_packs(self.blocks):
                self._packing.add(len(some), some)
            self.blocks.clear()

    def new(self, stream: StreamState, *, is_left: bool) -> list[Held]:
        """Return the events that are not written yet, and a checkpoint after them where one is due.

        One is due as well where the run is left before its end, and came in a dialect: who goes on with it needs what
        that knows.
        """
        self.seal()
        self._packing.close()
        run_id, packs = self.opened.run_id, self._packing.packs
        self.since += sum([pack.size for pack in packs])
        is_long = self.since > most_behind(self.checkpoint_size)
        is_wanted = is_left and self.since > 0 and run_id in stream.state.dialect.runs
        if not is_wanted and not (packs and is_long):
            return [*packs]
        data = save_run(stream, run_id)
        self.since, self.checkpoint_size = 0, len(data)
        return [*packs, Checkpoint(self.opened.fence, packs[-1].last if packs else self.position, data)]

    def written(self, held: Sequence[Held]) -> None:
        """Note that what `new` returned was written."""
        if held:
            self.position = held[-1].last
            del self._packing.packs[: len(held) - isinstance(held[-1], Checkpoint)]

    def status_in(self, stream: StreamState) -> RunStatus:
        """Return what the fold says of the run, while its stream goes on: it ends when nothing of it is open."""
        known = stream.runs.get(self.opened.run_id)
        if known is None or not (known.is_terminal or known.status == "requires_action"):
            return "open"
        entry = stream.state.find(self.key)
        return "open" if known.is_terminal and entry is not None and entry.is_open else _SETTLED[known.is_terminal]

    def status_at_end(self, stream: StreamState) -> RunStatus:
        """Return what the fold says of the run, now that its stream has ended.

        One that was told again up to where it waited, and has gone on since, is left open for the stream that follows.
        """
        known = stream.runs.get(self.opened.run_id)
        if known is not None and (known.is_terminal or known.status == "requires_action"):
            return _SETTLED[known.is_terminal]
        entry = stream.state.find(self.key)
        repetition = None if entry is None else entry.repetition
        return "open" if repetition is not None and repetition.is_settled else "interrupted"


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
    """Return an event as a block, without its id and the empty line that ends it; nothing where it has no data."""
    raw = event.raw
    if raw and not event.is_translated and raw.find(b"\n") < 0 and raw.find(b"\r") < 0 and event.name.isprintable():
        return b"event: %b\ndata: %b" % (event.name.encode(), raw)
    if event.is_translated and isinstance(event.data, RunStepDelta | MessageDelta):
        return b"event: %b\ndata: %b" % (event.name.encode(), msgspec.json.encode(bare(event.data)))
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
    return name + encode_frame(Frame(data=plain.data)).removesuffix(BLANK)
