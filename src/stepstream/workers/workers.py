"""Workers: the runs of a shared journal, each delivered to the subscribers of one process at a time.

A task a run reads it from the journal, from its beginning: what a group had settled before is folded and told to
nobody. A loop for each part of the journal (`part`) says how far each run is settled, claims more, and gives back. One
more task ends the leases that were not renewed in time; that no call begins later, each call looks at by itself.
"""

import logging
import os
import socket
import time
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import Any, Final, NamedTuple, Self, cast
from uuid import uuid4

import anyio

from stepstream.errors import JournalFailed, SubscriberTooSlow
from stepstream.journal.claiming import Claim, Claims, SharedJournal
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

MAX_GROUP: Final = 200
"""How many characters the name of a group has at most."""

_log = logging.getLogger("stepstream.workers")


class Lag(NamedTuple):
    """How far a worker is behind with what it has."""

    events: int
    """How many events of its runs are not settled."""
    seconds: float
    """Since when there have been some, of the run that has been behind for the longest."""


class Workers:
    """Share the runs of a journal with all other workers of a group, and deliver those that are this one's.

    `journal` is an open `RedisJournal`. Each run is one worker's at a time, for `lease` seconds, which are renewed
    while it lives; a worker has at most `max_runs` at a time. A run that was taken over more than `max_takeovers` times
    from workers that died or hung, without any progress, goes to the dead letters. `name` is what the server calls this
    worker: it must be nobody else's. An open run whose publisher gave no sign for `interrupted_after` seconds is
    interrupted. Leases go by `clock`, which is monotonic: by default one that goes on while the host sleeps.
    """

    def __init__(
        self,
        journal: Any,
        *,
        group: str,
        lease: float = 15,
        max_runs: int = 100,
        max_takeovers: int = 5,
        name: str | None = None,
        interrupted_after: float = 30,
        clock: Callable[[], float] | None = None,
    ) -> None:
        if not hasattr(journal, "claims"):
            raise TypeError(f"expected a RedisJournal, which processes can share, got {type(journal).__name__}")
        if not group or len(group) > MAX_GROUP:
            raise ValueError(f"expected a group's name of 1 to {MAX_GROUP} characters, got {len(group)}")
        if not (lease >= 0.05 and max_runs >= 1 and max_takeovers >= 0 and interrupted_after > 0):
            expected = "lease of at least 0.05, max_runs of at least 1, max_takeovers of at least 0"
            raise ValueError(f"expected {expected}, got {lease!r}, {max_runs!r}, {max_takeovers!r}")
        self.group, self.lease = group, float(lease)
        self.max_runs, self.max_takeovers = max_runs, max_takeovers
        self.name = name or f"{socket.gethostname()}-{os.getpid()}-{uuid4().hex[:8]}"
        self.interrupted_after = interrupted_after
        self.clock = clock or _counting_sleep()
        self.reserved = 0
        self.is_trying = False
        self.takeovers = 0
        """How many runs it took over from others that were silent."""
        self.dead_letters = 0
        """How many changes and runs it gave up."""
        self._journal: SharedJournal = journal
        self.outage_timeout = 0.0
        self._claims: Any = None
        self._parts: dict[Claims, PartWork] = {}
        self._processor: Processor | None = None
        self._group: Any = None
        self._closed = 0

    def __repr__(self) -> str:
        lag = self.lag
        counts = f"{self.owned:,} runs owned, {lag.events:,} events behind, {self.takeovers:,} taken over"
        return f"<Workers {self.group}: {counts}>"

    async def __aenter__(self) -> Self:
        self._claims = self._journal.claims(self.group)
        self.outage_timeout = self._journal.outage_timeout
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._claims = None

    @property
    def _runs(self) -> list[WorkedRun]:
        return [run for part in self._parts.values() for run in part.runs]

    @property
    def has_suspect(self) -> bool:
        """Whether one of its runs may be what ends its workers."""
        return any(run.is_suspect for run in self._runs)

    @property
    def owned(self) -> int:
        """How many runs it has."""
        return sum(not run.is_lost for run in self._runs)

    @property
    def lag(self) -> Lag:
        """How far it is behind with these."""
        runs = [run for run in self._runs if not run.is_lost]
        since = min((run.behind_since for run in runs if run.behind_since is not None), default=None)
        return Lag(sum(run.lag for run in runs), 0.0 if since is None else self.clock() - since)

    async def run(self, processor: Processor) -> None:
        """Deliver runs to the subscribers of `processor`, until it is cancelled. Then all are given back at once.

        Raises:
            JournalFailed: the server did not answer for the journal's `outage_timeout`.
            SubscriberTooSlow: a subscriber was closed because it failed too often, or was too slow: what it missed
                cannot be settled here.
            RuntimeError: outside of the block, or twice at a time; or the processor is not open.
        """
        if self._claims is None:
            raise RuntimeError("expected open Workers: run them inside of `async with Workers(...)`")
        if self._processor is not None:
            raise RuntimeError("expected Workers that do not run, got some that do")
        self._processor, self._closed = processor, _closed_subscribers(processor)
        self._parts = {part: PartWork(part, self) for part in self._claims.parts}
        try:
            with processor.noting_failures(self._note), self._claims.listening(self._wake):
                async with anyio.create_task_group() as self._group:
                    for part in self._parts.values():
                        self._group.start_soon(part.run)
                    self._group.start_soon(self._end_leases)
        except BaseExceptionGroup as failures:
            raise _first(failures) from None
        finally:
            await self._give_back()
            self._processor, self._parts = None, {}

    def begin(self, claim: Claim, part: PartWork, until: float) -> None:
        """Begin to work on a claim, which is this worker's for `until`."""
        processor = cast(Processor, self._processor)
        run = WorkedRun(claim, Lease(until, self.clock), self.lease, self.clock)
        what = claim.run_id, claim.letter
        before = [one for one in part.runs if not one.gone.is_set() and (one.claim.run_id, one.claim.letter) == what]
        part.runs[run] = None
        self.takeovers += claim.is_takeover
        work: RunWork | LetterWork = LetterWork(run, self._journal, processor)
        if claim.letter is None:
            work = RunWork(run, self._journal, processor, self._claims, self.interrupted_after)
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
        if self._processor is not None and _closed_subscribers(self._processor) > self._closed:
            raise SubscriberTooSlow("a subscriber of this worker was closed, and cannot have its changes any more")

    def _wake(self, part: Claims) -> None:
        self._parts[part].wake()

    def _note(self, failure: Failure) -> None:
        """Keep what a subscriber failed at as dead letters of its run."""
        for change in failure.changes:
            run = next((one for one in self._runs if one.claim is change.context), None)
            if run is not None:
                name = failure.subscription.name
                identifier = self._claims.letter_id(run.claim.run_id, name, change.key)
                limit = MAX_CHANGE if sum(one.unsaid for one in self._runs) < MAX_UNSAID else 0
                told = identifier, run.claim.run_id, name, change, failure.exception, time.time(), limit
                run.add_letter(change.sequence, letter_of_change(*told))
                self.dead_letters += 1

    async def _end_leases(self) -> None:
        """End the leases that were not renewed in time."""
        while True:
            nearest = min((one.lease.until for one in self._runs if not one.is_lost), default=self.clock() + self.lease)
            await anyio.sleep(min(max(nearest - self.clock(), 0.01), self.lease))
            lost = [run for run in self._runs if run.lease.is_over and not run.is_stopped]
            for run in lost:
                run.stop()
            if lost:
                _log.warning("%d leases of %s ended before they were renewed", len(lost), self.group)

    async def _give_back(self) -> None:
        """Give back what is left, in limited time: else the leases end by themselves."""
        with anyio.move_on_after(GIVE_BACK_WITHIN, shield=True):
            async with anyio.create_task_group() as tasks:
                for part in self._parts.values():
                    tasks.start_soon(_give_back, part)
        for run in self._runs:
            run.stop()


async def _give_back(part: PartWork) -> None:
    try:
        await part.say(is_last=True)
    except JournalFailed:
        _log.warning("the runs of a worker that stops could not be given back")


def _counting_sleep() -> Callable[[], float]:
    """Return a monotonic clock that goes on while the host sleeps: leases do so, on the server."""
    number = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic if number is None else partial(time.clock_gettime, number)


def _closed_subscribers(processor: Processor) -> int:
    return sum(one.is_closed for one in processor.statistics().subscribers)


def _first(failures: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the first failure of several parts: the others failed with it, or because of it."""
    first = failures.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first
