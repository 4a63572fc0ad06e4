"""A run of a journal, decoded and folded piece by piece: for those who tell it to others."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any, Final

from stepstream.errors import DecodeError, JournalGap
from stepstream.fold.accumulator import Accumulator
from stepstream.fold.run_state import RunState, run_state
from stepstream.fold.state import run_key
from stepstream.journal.reading import Journal
from stepstream.journal.run_info import Cursor, RunInfo
from stepstream.live.journal import Checkpoint, Held, Pack
from stepstream.live.run_opening import fold_held
from stepstream.live.source import ItemDecoder
from stepstream.relay.merging import Told
from stepstream.wire.events import Event, UnknownData
from stepstream.wire.objects import StepDetails

START: Final = Cursor(0, 0)
"""Before the first event."""


class RunReader:
    """A run folded up to a cursor. `folds=False` decodes only: then there is no state, and nothing has changes."""

    def __init__(self, journal: Journal, run_id: str, cursor: Cursor = START, *, folds: bool = True) -> None:
        self._journal = journal
        self._run_id = run_id
        self._folds = folds
        self.cursor = cursor
        """The place up to which it is folded."""
        self._accumulator = Accumulator()
        self._accumulator.stream.journal = run_id
        self._accumulator.translation.be_plain()

    def __repr__(self) -> str:
        return f"<RunReader {self._run_id} at {self.cursor}>"

    @property
    def position(self) -> int:
        """The position up to which it is folded."""
        return self.cursor.position

    def state(self) -> RunState:
        """Return the run as it is at that position."""
        stream = self._accumulator.stream
        stream.state.entry(run_key(self._run_id, "")).note_folded(self._journal, self.position)
        return run_state(stream.state, self._run_id, [ref.event for ref in stream.orphans.everything()])

    def step(self, identifier: str) -> dict[str, Any] | None:
        """Return a step, and the message that it writes, or a message alone; None where there is no such object."""
        state = self._accumulator.state
        step, message = state.steps.get(identifier), state.messages.get(identifier)
        if step is not None:
            details = step.snapshot().step_details
            creation = details.message_creation if isinstance(details, StepDetails) else None
            message = state.messages.get((creation and creation.message_id) or "")
        elif message is None:
            return None
        found = {"step": step, "message": message}
        return {kind: one and one.snapshot() for kind, one in found.items()}

    def load(self, checkpoint: Checkpoint) -> None:
        """Go on from a checkpoint."""
        fold_held(self._accumulator, checkpoint)
        self.cursor = Cursor(checkpoint.fence, checkpoint.last)

    def fold(self, pack: Pack) -> Iterator[Told]:
        """Yield the events of a pack that come next, each folded when it is yielded.

        Raises:
            JournalGap: events before it are missing.
        """
        pack = pack.after(self.position)
        if pack.first != self.position + 1:
            raise JournalGap(f"expected event {self.position + 1:,} of run {self._run_id} next, got {pack.first:,}")
        self._accumulator.stream.sequence = self.position
        for frame in ItemDecoder().feed(pack.data):
            self.cursor = Cursor(pack.fence, self.position + 1)
            try:
                event = self._accumulator.translation.decode(frame)
            except DecodeError as error:
                event = Event(frame.event, UnknownData(frame.data), frame.data)
                changes: list[Any] = [self._accumulator.reject(error)] if self._folds else []
            else:
                changes = self._accumulator.apply(event) if self._folds else []
            yield Told(event, changes, *self.cursor)


@asynccontextmanager
async def reading(journal: Journal, run_id: str, after: int) -> AsyncIterator[AsyncIterator[Held]]:
    """Give what a journal has of a run after a position, and stop reading at the end of the block."""
    pieces: Any = journal.read(run_id, after=after)
    try:
        yield pieces
    finally:
        if hasattr(pieces, "aclose"):
            await pieces.aclose()


async def next_held(journal: Journal, run_id: str, after: int) -> Held | None:
    """Return what a journal has of a run next after a position; None where there is nothing.

    Raises:
        JournalGap: it is gone.
    """
    async with reading(journal, run_id, after) as pieces:
        async for held in pieces:
            if held.last > after:
                return held
    return None


async def info_of(journal: Journal, run_id: str) -> RunInfo | None:
    """Return what a journal says of a run; None where it is not there."""
    found = None
    async for info in journal.runs(run_id):
        found = info
    return found
