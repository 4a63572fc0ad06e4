"""What a journal is to everybody: the five methods that one implements, and `follow`, which is built on them."""

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager

from stepstream.journal.following import INTERRUPTED_AFTER, Following, followed
from stepstream.journal.joining import leave
from stepstream.journal.run_info import Cursor, RunInfo
from stepstream.live.journal import Checkpoint, Held, Opened, RunStatus


class Journal(ABC):
    """Runs, as numbered events, that one process writes and any number read. `live.journal` has its words.

    To make one, implement the five methods; the tests that say whether they are right are in the room's README.
    """

    @abstractmethod
    async def open(self, run_id: str, *, writer: str, after: int = 0) -> Opened:
        """Open a run for writing, as `WritableJournal.open` says. Its fence is higher than every one before."""

    @abstractmethod
    async def append(
        self, opened: Opened, held: Sequence[Held] = (), *, status: RunStatus = "open", error: str = ""
    ) -> None:
        """Add what comes next of a run, as `WritableJournal.append` says."""

    @abstractmethod
    def read(self, run_id: str, *, after: int = 0) -> AsyncIterator[Held]:
        """Yield what is there now of a run after a position: packs in order, the first of which may begin before.

        Where events after it are gone, a checkpoint comes first, and then what follows that. Of a run that is not there
        nothing is yielded.

        Raises:
            JournalGap: events after it are gone, and there is no checkpoint.
        """

    async def checkpoint(self, run_id: str, *, up_to: int | None = None) -> Checkpoint | None:
        """Return the newest checkpoint of a run, None where there is none. `up_to` asks for one that is not beyond a
        position, where several are kept.

        A journal may do without: then who wants the state of a run reads all of it.
        """
        return None

    async def read_shortest(self, run_id: str, *, after: int = 0, up_to: int) -> AsyncGenerator[Held]:
        """Yield what there is now of a run after a position, as `read` does, for one who wants its state.

        A checkpoint comes first where there is one after that position, and none of the events that it stands for. Of
        what is beyond `up_to` each event is wanted: the checkpoint is none of a later position.

        Raises:
            JournalGap: as `read`.
        """
        checkpoint = await self.checkpoint(run_id, up_to=up_to)
        if checkpoint is not None and after < checkpoint.last <= up_to:
            yield checkpoint
            after = checkpoint.last
        pieces = self.read(run_id, after=after)
        try:
            async for held in pieces:
                yield held
        finally:
            await leave(pieces)

    @abstractmethod
    def runs(self, run_id: str | None = None) -> AsyncIterator[RunInfo]:
        """Yield the runs there are, in the order in which they were opened first; or that one, where it is there."""

    @abstractmethod
    def watch(self, run_id: str | None = None) -> AbstractAsyncContextManager[AsyncIterator[RunInfo]]:
        """Give an iterator of the runs there are, then of each that begins, waits, ends or is interrupted.

        Of one run: of that as it is, and then whenever it changed, which each event does. Who is slow gets the newest
        of a run once. Its `anext` may be cancelled and called again.
        """

    async def check_room(self) -> None:  # noqa: B027 - a journal that knows no bound has nothing to check
        """Check that another run may be opened, as far as that is known before.

        Raises:
            JournalFull: there is no room for one.
        """

    def follow(
        self, run_id: str, *, after: int | str = 0, interrupted_after: float = INTERRUPTED_AFTER
    ) -> AbstractAsyncContextManager[Following]:
        """Return a source: the run from its first event to its end, live. It may begin later.

        The changes up to the position `after`, or to a cursor, are known to the caller: they are folded and not told.
        Where events are gone a checkpoint stands for them. It ends when the run has ended, and waits while that waits
        for action, as long as it takes. `sequence` of its changes is the position.

        Raises, while it is read:
            RunInterrupted: the run's stream broke, or nobody has given a sign of life for `interrupted_after` seconds.
                Who follows again goes on where it was.
            JournalGap: what is asked for is gone, and no checkpoint stands for it; or there never was such an event.

        Raises:
            ValueError: `after` is a text that is no cursor, or below 0.
        """
        cursor = Cursor.parse(after) if isinstance(after, str) else Cursor(0, after)
        if cursor.position < 0:
            raise ValueError(f"expected after of at least 0, got {after!r}")
        return followed(self, run_id, cursor, interrupted_after)


def check_limits(**limits: float) -> None:
    """Check the bounds of a journal, by their names.

    Raises:
        ValueError: one is negative, or no number at all.
    """
    for name, value in limits.items():
        if not value >= 0:
            raise ValueError(f"expected {name} of at least 0, got {value!r}")
