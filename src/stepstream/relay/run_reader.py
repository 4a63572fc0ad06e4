"""A run of a journal, decoded and folded piece by piece: for those who tell it to others."""

from collections.abc import AsyncIterator, Iterator
from typing import Any, Final

from stepstream.errors import DecodeError, JournalGap
from stepstream.fold.accumulator import Accumulator
from stepstream.fold.run_state import RunState, run_state
from stepstream.fold.state import run_key
from stepstream.journal.joining import in_larger, leave
from stepstream.journal.reading import Journal
from stepstream.journal.run_info import Cursor, RunInfo
from stepstream.live.journal import Held, Pack
from stepstream.live.silent_fold import SilentFold
from stepstream.live.source import ItemDecoder
from stepstream.relay.merging import Told
from stepstream.wire.events import Event, UnknownData
from stepstream.wire.objects import StepDetails

AT_ONCE: Final = 2**16
"""How many bytes of packs are folded at once where nobody is told: the packs of a live run have an event or two."""

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
        self._silent = SilentFold(self._accumulator)

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

    def skip(self, held: Held) -> None:
        """Fold what comes next, and tell nobody of it.

        Raises:
            JournalGap: events before it are missing.
        """
        if isinstance(held, Pack):
            held = self._next(held)
        self._silent.fold(held)
        self.cursor = Cursor(held.fence, held.last)

    def fold(self, pack: Pack) -> Iterator[Told]:
        """Yield the events of a pack that come next, each folded when it is yielded.

        Raises:
            JournalGap: events before it are missing.
        """
        pack = self._next(pack)
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

    def _next(self, pack: Pack) -> Pack:
        """Return the events of a pack that are not folded yet.

        Raises:
            JournalGap: those before it are missing, or by a later writer.
        """
        if pack.fence < self.cursor.fence:
            raise JournalGap(f"event {pack.first:,} of run {self._run_id} is by an earlier writer than those before it")
        pack = pack.after(self.position)
        if pack.first != self.position + 1:
            raise JournalGap(f"expected event {self.position + 1:,} of run {self._run_id} next, got {pack.first:,}")
        return pack


class Pieces:
    """What a journal has of a run, one piece after another: one reading gives all that there is. To be closed."""

    def __init__(self, journal: Journal, run_id: str) -> None:
        self._journal = journal
        self._run_id = run_id
        self._reading: AsyncIterator[Held] | None = None
        self.may_join = False
        """Whether packs may be joined, as nobody is told of them."""
        self._joins = False  # whether those of this reading are

    async def next(self, after: int, up_to: int = 0) -> Held | None:
        """Return what comes next after a position, where the piece before ended; None where there is nothing now.

        It is a checkpoint where there is one up to the position `up_to`: the events before it are not wanted.

        Raises:
            JournalGap: it is gone.
        """
        if self._joins and not self.may_join:
            await self.close()
        if self._reading is not None:
            found = await self._read(after)
            if found is not None:
                return found
        shortest, read = self._journal.read_shortest, self._journal.read
        reading = shortest(self._run_id, after=after, up_to=up_to) if up_to else read(self._run_id, after=after)
        self._joins = self.may_join
        self._reading = in_larger(reading, AT_ONCE) if self._joins else reading
        return await self._read(after)

    async def close(self) -> None:
        """Read no more. What comes next is read anew, and may be elsewhere."""
        reading, self._reading = self._reading, None
        await leave(reading)

    async def _read(self, after: int) -> Held | None:
        reading, self._reading = self._reading, None  # where this is cancelled, it has ended
        assert reading is not None
        async for held in reading:
            if held.last > after:
                self._reading = reading
                return held
        return None


async def next_held(journal: Journal, run_id: str, after: int) -> Held | None:
    """Return what a journal has of a run next after a position; None where there is nothing.

    Raises:
        JournalGap: it is gone.
    """
    pieces = Pieces(journal, run_id)
    try:
        return await pieces.next(after)
    finally:
        await pieces.close()


async def info_of(journal: Journal, run_id: str) -> RunInfo | None:
    """Return what a journal says of a run; None where it is not there."""
    found = None
    async for info in journal.runs(run_id):
        found = info
    return found
