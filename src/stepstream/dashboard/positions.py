"""A journal as one body sees it that is ingested: what of the body is there already is not written again.

A body that begins at position N + 1 of a run which has P events says P - N of them again. They are folded, so that what
follows finds what it continues, and skipped. So whoever was cut off sends the same body again, or its rest.
"""

from collections.abc import AsyncIterator, Sequence
from typing import Final

from stepstream.errors import JournalGap, ProtocolError
from stepstream.journal.reading import Journal
from stepstream.journal.run_info import RunInfo
from stepstream.live.journal import Checkpoint, Held, Opened, RunStatus, given
from stepstream.relay.run_reader import info_of

MAX_RUNS: Final = 64
"""How many runs one body may be of."""

MAX_ID: Final = 512
"""Characters of a run's id."""


class _Run:
    """A run that a body is written to: what it was before, and how many events of it there were.

    `reach` is the position that the body has come to.
    """

    __slots__ = ("before", "opened", "reach", "there")

    def __init__(self, opened: Opened, reach: int, before: RunInfo | None) -> None:
        self.opened, self.reach, self.before = opened, reach, before
        self.there = opened.position

    def left_as(self, status: RunStatus, error: str) -> tuple[RunStatus, str]:
        """Return what becomes of the run: while the body is behind it, what it was, unless that was nothing final."""
        if self.before is None or self.reach >= self.there or status == "open":
            return status, error
        if self.before.status in ("ended", "waiting"):
            return self.before.status, ""
        return (status, error) if status == "interrupted" else ("open", "")


class BodyJournal:
    """Writes the runs of one body to `journal`. `after` is where it begins in its first run, None for where that is.

    With `run_id`, it is of that run and of no other. `positions` are those up to which its runs are written.
    """

    def __init__(self, journal: Journal, run_id: str | None, after: int | None) -> None:
        self.positions: dict[str, int] = {}
        self.skipped = 0
        """How many events of the body were there before."""
        self._journal = journal
        self._run_id = run_id
        self._after = after
        self._runs: dict[str, _Run] = {}

    async def open(self, run_id: str, *, writer: str, after: int = 0) -> Opened:
        """Open a run for writing, as it is where the body begins.

        Raises:
            ProtocolError: it is not the run that the body should be of, its id is too long, or it is one too many.
            JournalGap: the run does not reach to where the body begins, or what is before that is gone.
        """
        if self._run_id not in (None, run_id):
            raise ProtocolError(f"expected events of run {self._run_id}, got those of run {run_id}")
        if len(run_id) > MAX_ID:
            raise ProtocolError(f"expected ids of runs of at most {MAX_ID} characters, got a longer one")
        if len(self._runs) >= MAX_RUNS and run_id not in self._runs:
            raise ProtocolError(f"expected at most {MAX_RUNS} runs in a body, got more")
        known = self._runs.get(run_id)
        if known is not None:  # it waited or had ended, and goes on
            known.opened = await self._journal.open(run_id, writer=writer, after=after)
            return self._at(known.opened, known.reach)
        begins = None if self._runs else self._after
        before = await info_of(self._journal, run_id)
        there = 0 if before is None else before.position
        if begins is not None and begins > there:
            raise JournalGap(f"run {run_id} has {there:,} events, and the body was to begin after {begins:,}")
        known_to = after if begins is None else there  # what is before is read here, if at all
        opened = await self._journal.open(run_id, writer=writer, after=known_to)
        reach = opened.position if begins is None else min(begins, opened.position)
        self._runs[run_id] = _Run(opened, reach, before)
        self.positions[run_id] = opened.position
        return self._at(opened, reach)

    def _at(self, opened: Opened, reach: int) -> Opened:
        """Return a run as it is opened by one for whom it ends at `reach`."""
        if reach == opened.position:
            return opened
        held = _until(
            self._journal.read_shortest(opened.run_id, up_to=reach) if reach else given(), opened.run_id, reach
        )
        return Opened(opened.run_id, opened.writer, opened.fence, reach, held)

    async def append(
        self, opened: Opened, held: Sequence[Held] = (), *, status: RunStatus = "open", error: str = ""
    ) -> None:
        """Add what comes next of a run, without what is there."""
        run, there = self._runs[opened.run_id], self.positions[opened.run_id]
        run.reach = max([run.reach, *(one.last for one in held)])
        self.skipped += sum(_count_until(one, run.there) for one in held)
        new = [one if isinstance(one, Checkpoint) else one.after(there) for one in held if one.last > there]
        status, error = run.left_as(status, error)
        await self._journal.append(run.opened, new, status=status, error=error)
        self.positions[opened.run_id] = max(run.reach, there)


def _count_until(held: Held, position: int) -> int:
    return 0 if isinstance(held, Checkpoint) else max(0, min(held.last, position) - held.first + 1)


async def _until(held: AsyncIterator[Held], run_id: str, last: int) -> AsyncIterator[Held]:
    async for one in held:
        if isinstance(one, Checkpoint):
            if one.last > last:
                raise JournalGap(f"the events of run {run_id} up to {last:,} are gone: send all of it, after 0")
            yield one
        elif one.first <= last:
            yield one.until(last)
