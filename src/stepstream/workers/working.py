"""Workers: the runs of a shared journal, each delivered to the subscribers of one process at a time.

A task a run reads it from the journal, from its beginning: what a group had settled before is folded and told to
nobody. A loop for each part of the journal (`part`) says how far each run is settled, claims more, and gives back. One
more task ends the leases that were not renewed in time; that no call begins later, each call looks at by itself.
"""

import logging
import time
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import anyio

from stepstream.errors import JournalFailed, SubscriberTooSlow
from stepstream.journal.claiming import Claim, Claims, GroupClaims, SharedJournal
from stepstream.live.leases import Lease
from stepstream.live.processor import Processor
from stepstream.live.statistics import Failure
from stepstream.workers.dead_letters import MAX_CHANGE, letter_of_change
from stepstream.workers.letter_work import LetterWork
from stepstream.workers.part import PartWork
from stepstream.workers.run_work import RunWork
from stepstream.workers.worked import WorkedRun

GIVE_BACK_WITHIN: Final = 5.0
"""Seconds that giving back takes at most, when a worker stops."""

MAX_UNSAID: Final = 2**24
"""How many bytes of dead letters wait to be said, before changes are left out of further ones."""

_log = logging.getLogger("stepstream.workers")


class Lag(NamedTuple):
    """How far a worker is behind with what it has."""

    events: int
    """How many events of its runs are not settled."""
    seconds: float
    """Since when there have been some, of the run that has been behind for the longest."""


class Terms(NamedTuple):
    """On which a worker works: as `Workers` takes them."""

    group: str
    name: str
    lease: float
    max_runs: int
    max_takeovers: int
    interrupted_after: float
    clock: Callable[[], float]


class Working:
    """A worker at work, for the subscribers of one processor: what its parts have in common, as `part.Share` says."""

    def __init__(self, journal: SharedJournal, claims: GroupClaims, terms: Terms, processor: Processor) -> None:
        self._terms = terms
        self.name, self.lease, self.clock = terms.name, terms.lease, terms.clock
        self.max_runs, self.max_takeovers = terms.max_runs, terms.max_takeovers
        self.outage_timeout = journal.outage_timeout
        self.reserved = 0
        self.is_trying = False
        self.takeovers = 0
        self.dead_letters = 0
        self._journal, self._claims, self._processor = journal, claims, processor
        self._closed = _closed_subscribers(processor)
        self._parts = {part: PartWork(part, self) for part in claims.parts}
        self._group: Any = None

    @property
    def runs(self) -> list[WorkedRun]:
        """What was claimed and is not over yet, lost or not."""
        return [run for part in self._parts.values() for run in part.runs]

    @property
    def has_suspect(self) -> bool:
        """Whether one of its runs may be what ends its workers."""
        return any(run.is_suspect for run in self.runs)

    @property
    def owned(self) -> int:
        """How many runs it has."""
        return sum(not run.is_lost for run in self.runs)

    @property
    def lag(self) -> Lag:
        """How far it is behind with these."""
        runs = [run for run in self.runs if not run.is_lost]
        since = min((run.behind_since for run in runs if run.behind_since is not None), default=None)
        return Lag(sum(run.lag for run in runs), 0.0 if since is None else self.clock() - since)

    async def run(self) -> None:
        """Work until it is cancelled, and give all back then: see `Workers.run`."""
        try:
            with self._processor.noting_failures(self._note), self._claims.listening(self._wake):
                async with anyio.create_task_group() as self._group:
                    for part in self._parts.values():
                        self._group.start_soon(part.run)
                    self._group.start_soon(self._end_leases)
        except BaseExceptionGroup as failures:
            raise _first(failures) from None
        finally:
            await self._give_back()

    def begin(self, claim: Claim, part: PartWork, until: float) -> None:
        """Begin to work on a claim, which is this worker's for `until`."""
        run = WorkedRun(claim, Lease(until, self.clock), self.lease, self.clock)
        what = claim.run_id, claim.letter
        before = [one for one in part.runs if not one.gone.is_set() and (one.claim.run_id, one.claim.letter) == what]
        part.runs[run] = None
        self.takeovers += claim.is_takeover
        work: RunWork | LetterWork = LetterWork(run, self._journal, self._processor)
        if claim.letter is None:
            work = RunWork(run, self._journal, self._processor, self._claims, self._terms.interrupted_after)
        self._group.start_soon(self._work, work, part, before)

    async def _work(self, work: RunWork | LetterWork, part: PartWork, before: list[WorkedRun]) -> None:
        run = work.run
        try:
            for one in before:  # that was taken from this worker, or lapsed, and has not come to its end yet
                await one.gone.wait()
            await work.do()
            self.dead_letters += work.buried
        finally:
            run.gone.set()
            part.news.notify()

    def check(self) -> None:
        """Check that no subscriber was closed: nothing may be said of what it does not have any more."""
        if _closed_subscribers(self._processor) > self._closed:
            raise SubscriberTooSlow("a subscriber of this worker was closed, and cannot have its changes any more")

    def _wake(self, part: Claims) -> None:
        self._parts[part].wake()

    def _note(self, failure: Failure) -> None:
        """Keep what a subscriber failed at as dead letters of its run."""
        for change in failure.changes:
            run = next((one for one in self.runs if one.claim is change.context), None)
            if run is not None:
                name = failure.subscription.name
                identifier = self._claims.letter_id(run.claim.run_id, name, change.key)
                limit = MAX_CHANGE if sum(one.unsaid for one in self.runs) < MAX_UNSAID else 0
                told = identifier, run.claim.run_id, name, change, failure.exception, time.time(), limit
                run.add_letter(change.sequence, letter_of_change(*told))
                self.dead_letters += 1

    async def _end_leases(self) -> None:
        """End the leases that were not renewed in time."""
        while True:
            nearest = min((one.lease.until for one in self.runs if not one.is_lost), default=self.clock() + self.lease)
            await anyio.sleep(min(max(nearest - self.clock(), 0.01), self.lease))
            lost = [run for run in self.runs if run.lease.is_over and not run.is_stopped]
            for run in lost:
                run.stop()
            if lost:
                _log.warning("%d leases of %s ended before they were renewed", len(lost), self._terms.group)

    async def _give_back(self) -> None:
        """Give back what is left, in limited time: else the leases end by themselves."""
        with anyio.move_on_after(GIVE_BACK_WITHIN, shield=True):
            async with anyio.create_task_group() as tasks:
                for part in self._parts.values():
                    tasks.start_soon(_give_back, part)
        for run in self.runs:
            run.stop()


async def _give_back(part: PartWork) -> None:
    try:
        await part.say(is_last=True)
    except JournalFailed:
        _log.warning("the runs of a worker that stops could not be given back")


def _closed_subscribers(processor: Processor) -> int:
    return sum(one.is_closed for one in processor.statistics().subscribers)


def _first(failures: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the first failure of several parts: the others failed with it, or because of it."""
    first = failures.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first
