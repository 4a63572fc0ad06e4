"""One run that a stream writes to its journal, and its events as blocks."""

from typing import Any, Final

from stepstream.dialects.canonical import frame_of_event
from stepstream.fold.checkpoint import save_run
from stepstream.fold.state import State, run_key
from stepstream.fold.stream_state import StreamState
from stepstream.live.journal import BLANK, Checkpoint, Held, Opened, RunStatus, packs_of
from stepstream.wire.deltas import MessageDelta, RunStepDelta
from stepstream.wire.events import Event, Malformed
from stepstream.wire.messages import Message
from stepstream.wire.objects import Run, RunStep
from stepstream.wire.sse import Frame, encodable, encode_frame

MIN_CHECKPOINT: Final = 2**20
"""A checkpoint is written when the events since the last have more bytes than this, and than twice the last."""


class RunTap:
    """A run that a stream writes: the events that are not in its journal yet."""

    __slots__ = ("blocks", "checkpoint_size", "opened", "position", "since", "status")

    def __init__(self, opened: Opened) -> None:
        self.opened = opened
        self.position = opened.position
        """That of the last event that was written."""
        self.blocks: list[bytes] = []
        """The events after it, without the empty lines that end them."""
        self.status: RunStatus = "open"
        self.since = self.checkpoint_size = 0  # bytes written since the last checkpoint, and of that

    def new(self, stream: StreamState) -> list[Held]:
        """Return the events that are not written yet, and a checkpoint after them where one is due."""
        opened, blocks = self.opened, self.blocks
        held: list[Held] = [*packs_of(opened.fence, self.position + 1, blocks)]
        self.since += sum(map(len, blocks))
        if self.since > max(MIN_CHECKPOINT, 2 * self.checkpoint_size):
            data = save_run(stream, opened.run_id)
            self.since, self.checkpoint_size = 0, len(data)
            held.append(Checkpoint(opened.fence, self.position + len(blocks), data))
        return held

    def written(self, count: int) -> None:
        """Note that so many events were written."""
        del self.blocks[:count]
        self.position += count

    def status_in(self, stream: StreamState) -> RunStatus:
        """Return what the fold says of the run."""
        known, entry = stream.runs.get(self.opened.run_id), stream.state.find(run_key(self.opened.run_id, ""))
        if known is not None and known.status == "requires_action":
            return "waiting"
        has_ended = known is not None and known.is_terminal and (entry is None or not entry.is_open)
        return "ended" if has_ended else "open"


def run_named(event: Event, state: State) -> str:
    """Return the run that an event names, or that of its step or message; "" where neither is known."""
    data, found = event.data, None
    if isinstance(data, Run):
        return data.id
    if isinstance(data, RunStep | Message):
        found = data.run_id
    if not found and isinstance(data, RunStep | RunStepDelta | Message | MessageDelta | Malformed):
        known: Any = state.steps.get(data.id or "") or state.messages.get(data.id or "")
        found = known.run_id if known is not None else None
    return found or ""


def block_of(event: Event) -> bytes:
    """Return an event as a block, without its id and the empty line that ends it; nothing where it has no data."""
    raw = event.raw
    if raw and not event.is_translated and raw.find(b"\n") < 0 and raw.find(b"\r") < 0 and event.name.isprintable():
        return b"event: %b\ndata: %b" % (event.name.encode(), raw)
    return block_of_frame(frame_of_event(event))


def block_of_frame(frame: Frame) -> bytes:
    """Return a frame as `block_of` does."""
    plain = encodable(frame)
    if not plain.data:
        return b""
    name = f"event: {plain.event}\n".encode() if plain.event else b""
    return name + encode_frame(Frame(data=plain.data)).removesuffix(BLANK)
