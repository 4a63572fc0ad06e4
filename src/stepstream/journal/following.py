"""Following a run: what its journal has, then what comes, to its end. One loop for every journal.

The loop holds nothing but a position. It reads what lies behind that, and only when there is nothing more it waits for
news: whatever is added between two looks is found at the next. So nothing is missed and nothing comes twice, wherever
it is cancelled, however slow it is, and whatever happens between two of its steps.
"""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final, Protocol, Self, cast

import anyio

from stepstream.errors import JournalGap, RunInterrupted
from stepstream.journal.joining import in_larger, leave
from stepstream.journal.news import News
from stepstream.journal.run_info import Cursor, RunInfo
from stepstream.live.journal import Checkpoint, Held, Pack, RunPiece

INTERRUPTED_AFTER: Final = 30.0
"""Seconds without a sign of life after which the writer of an open run is taken for gone."""

AT_ONCE: Final = 2**13
"""How many bytes of small packs are given as one."""


class ReadableJournal(Protocol):
    """What is followed: the readers' half of a journal, as `Journal` says."""

    def read(self, run_id: str, *, after: int = 0) -> AsyncIterator[Held]:
        """Yield what is there of a run after a position."""

    def read_shortest(self, run_id: str, *, after: int = 0, up_to: int) -> AsyncIterator[Held]:
        """Yield that, with a checkpoint for as much of it as there is one, up to a position."""

    def runs(self, run_id: str | None = None) -> AsyncIterator[RunInfo]:
        """Yield the runs there are."""

    def watch(self, run_id: str | None = None) -> AbstractAsyncContextManager[AsyncIterator[RunInfo]]:
        """Give what changes."""


@asynccontextmanager
async def followed(
    journal: ReadableJournal, run_id: str, after: Cursor, interrupted_after: float, *, until_waiting: bool = False
) -> AsyncIterator["Following"]:
    """Give what `Journal.follow` says. With `until_waiting`, it ends where the run waits for action, too."""
    async with journal.watch(run_id) as news:
        following = Following(journal, run_id, news, after, interrupted_after, until_waiting=until_waiting)
        try:
            yield following
        finally:
            await following.leave()


class Following:
    """A run that is followed: iterate over it for the pieces of its journal."""

    def __init__(
        self,
        journal: ReadableJournal,
        run_id: str,
        news: AsyncIterator[RunInfo],
        after: Cursor,
        interrupted_after: float,
        *,
        until_waiting: bool = False,
    ) -> None:
        self.run_id = run_id
        self.position = 0
        """That of the last event that was given."""
        self._journal = journal
        self._news = news
        self._after = after
        self._interrupted_after = interrupted_after
        self._ends = ("ended", "waiting") if until_waiting else ("ended",)
        self._info: RunInfo | None = None
        self._began = anyio.current_time()
        # from its first event on a run is read before it is said what it is: in a journal of others one question less
        self._held: AsyncIterator[Held] | None = None if after.position else in_larger(journal.read(run_id), AT_ONCE)
        self._read_after = -1 if after.position else 0  # the position after which was read last
        self._next: Pack | None = None
        self._fence = 0  # that of the newest event

    def __repr__(self) -> str:
        return f"<Following {self.run_id} at {self.position:,}>"

    @property
    def info(self) -> RunInfo | None:
        """What the run was when that was last looked at."""
        return self._info

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> RunPiece:
        while True:
            held = await self._read()
            if held is not None:
                return self._piece(held)
            info = self._info
            if info is not None and self.position >= info.position:
                if info.status in self._ends:
                    raise StopAsyncIteration
                if info.status == "interrupted":
                    raise RunInterrupted(
                        f"the stream of run {self.run_id} broke: {info.error or 'no reason was given'}"
                    )
            if info is None or self.position >= info.position or self._read_after == self.position:
                info = self._info = await self._next_news()  # also where nothing was there of what had been told
                self._check_begins(info)
            if self.position >= info.position:
                continue
            self._read_after = self.position
            # what the caller knows is folded only: but for its last event, whose writer is looked at
            known = self._after.position - 1
            if known > self.position:
                pieces: AsyncIterator[Held] = self._journal.read_shortest(self.run_id, after=self.position, up_to=known)
            else:
                pieces = self._journal.read(self.run_id, after=self.position)
            self._held = in_larger(pieces, AT_ONCE)

    async def leave(self) -> None:
        """Give up what is being read."""
        held, self._held = self._held, None
        await leave(held)

    async def _read(self) -> Held | None:
        """Return the next piece that is there, None where there is none now."""
        if self._next is not None:
            held, self._next = self._next, None
            return held
        while self._held is not None:
            try:
                found: Any = await anext(self._held, None)
            except BaseException:
                self._held, self._read_after = None, -1  # what it had read is read again
                raise
            if found is None:
                self._held = None
            elif found.last > self.position:
                return cast(Held, found)
        return None

    def _piece(self, held: Held) -> RunPiece:
        """Return a piece for the reader. What is known to the caller and what is not are two."""
        known = self._after.position
        if isinstance(held, Checkpoint):
            self.position = held.last
            return RunPiece(self._journal, self.run_id, held, is_silent=True)
        held = held.after(self.position)
        if held.first != self.position + 1:
            text = f"expected event {self.position + 1:,} of run {self.run_id} next, got {held.first:,}"
            raise JournalGap(text)
        self._check_fence(held)
        if held.first <= known < held.last:
            held, self._next = held.until(known), held.after(known)
        self.position = held.last
        return RunPiece(self._journal, self.run_id, held, is_silent=held.last <= known)

    def _check_begins(self, info: RunInfo) -> None:
        """Check that there is an event where the caller wants to go on."""
        if self._after.position > info.position:
            text = (
                f"run {self.run_id} has {info.position:,} events, and was to be followed after {self._after.position:,}"
            )
            raise JournalGap(text)

    def _check_fence(self, pack: Pack) -> None:
        """Check that the event of a cursor is the one that its writer wrote, and that no earlier writer's follow."""
        if pack.fence < self._fence:
            raise JournalGap(
                f"event {pack.first:,} of run {self.run_id} is by an earlier writer than the one before it"
            )
        self._fence = pack.fence
        fence, position = self._after
        if fence and pack.first <= position <= pack.last and pack.fence != fence:
            raise JournalGap(f"event {position:,} of run {self.run_id} is not by the writer that the cursor names")

    async def _next_news(self) -> RunInfo:
        """Return what becomes of the run.

        Raises:
            RunInterrupted: its writer gives no sign any more.
        """
        while True:
            if isinstance(self._news, News) and (info := self._news.at_hand()) is not None:
                return info
            with anyio.move_on_after(self._patience()):
                return await anext(self._news)
            found = [info async for info in self._journal.runs(self.run_id)]
            if found and found[0] != self._info and (found[0].status != "open" or found[0].position > self.position):
                return found[0]
            self._info = found[0] if found else self._info
            if (self._patience() or 0) <= 0:
                what = "gave no sign" if self._info is not None else "did not begin"
                raise RunInterrupted(f"run {self.run_id} {what} for {self._interrupted_after:g} seconds")

    def _patience(self) -> float | None:
        """Return for how many seconds more news may be waited for; None for any number."""
        if self._info is None:
            return self._began + self._interrupted_after - anyio.current_time()
        return None if self._info.status == "waiting" else self._interrupted_after - self._info.silence
