"""The work at one part of a journal: one loop that says how it goes with what was claimed, and claims more.

Both go over one connection, one after the other. What fails is tried again, with pauses; meanwhile leases end.
"""

from collections.abc import Callable
from random import random
from typing import Final, Protocol

import anyio

from stepstream.errors import JournalFailed
from stepstream.journal.claiming import Claim, Claims
from stepstream.live.pending import Signal
from stepstream.workers.worked import WorkedRun

MAX_CLAIMS: Final = 16
"""How many are claimed at once: others that have less to do come in between."""

MAX_JITTER: Final = 0.02
"""Seconds that a worker waits at most before it claims what has just become due, the longer the more it has."""


class Share(Protocol):
    """What all parts have in common."""

    name: str
    lease: float
    max_runs: int
    max_takeovers: int
    outage_timeout: float
    clock: Callable[[], float]
    reserved: int
    """How many more are being claimed now."""
    is_trying: bool
    """Whether a suspect may be among these."""

    @property
    def has_suspect(self) -> bool:
        """Whether one of its runs is suspect."""

    @property
    def owned(self) -> int:
        """How many were claimed."""

    def begin(self, claim: Claim, part: "PartWork", until: float) -> None:
        """Begin to work on a claim, which is this worker's for `until`."""

    def check(self) -> None:
        """Check that work goes on as it has to, before something is said of it.

        Raises:
            SubscriberTooSlow: a subscriber was closed.
        """


class PartWork:
    """The work at one part."""

    def __init__(self, part: Claims, share: Share) -> None:
        self.runs: dict[WorkedRun, None] = {}
        self.news = Signal()
        self.is_woken = True
        """Whether something may have become due."""
        self._part, self._share = part, share
        self._claim_at = 0.0

    async def run(self) -> None:
        """Claim and say how it goes, until it is cancelled.

        Raises:
            JournalFailed: the server did not answer for `outage_timeout` seconds.
            SubscriberTooSlow: a subscriber was closed.
        """
        share, failures, failing_since = self._share, 0, 0.0
        while True:
            try:
                await self.say()
                await self._claim()
                failures = 0
            except JournalFailed:
                failures += 1
                if failures == 1:
                    failing_since = share.clock()
                if share.clock() - failing_since >= share.outage_timeout:
                    raise
                await anyio.sleep(min(0.05 * (1 << min(failures, 5)), share.lease / 6) * (0.5 + random() / 2))
                continue
            for run in [one for one in self.runs if one.is_lost and one.gone.is_set()]:
                del self.runs[run]
            with anyio.move_on_after(max(self._next_at() - share.clock(), 0.001)):
                await self.news.wait()

    def wake(self) -> None:
        """Let something be claimed, since it may have become due."""
        self.is_woken = True
        self.news.notify()

    def _next_at(self) -> float:
        said = min((one.due_at() for one in self.runs if not one.is_lost), default=self._claim_at)
        is_full = self._share.owned + self._share.reserved >= self._share.max_runs
        return said if is_full else min(said, self._share.clock() if self.is_woken else self._claim_at)

    async def say(self, *, is_last: bool = False) -> None:
        """Say how it goes with what is due; with `is_last`, give all back.

        Raises:
            JournalFailed: it is not known whether that was taken.
        """
        share = self._share
        if not is_last:
            share.check()
        before = share.clock()
        due = [one for one in self.runs if not one.is_lost and (is_last or one.is_due(before))]
        if not due:
            return
        beats = [one.beat("give back" if is_last else "renew") for one in due]
        if is_last:
            for run in due:
                run.stop()  # before another may have it
        answers = await self._part.beat(share.name, share.lease, beats)
        for run, beat, newest in zip(due, beats, answers, strict=True):
            was_suspect = run.is_suspect
            run.note_said(beat, newest, before + share.lease)
            if was_suspect and not run.is_suspect:
                self.wake()  # for the next one

    async def _claim(self) -> None:
        share = self._share
        room = min(share.max_runs - share.owned - share.reserved, MAX_CLAIMS)
        if room <= 0 or not (self.is_woken or share.clock() >= self._claim_at):
            return
        if self.is_woken:
            await anyio.sleep(random() * MAX_JITTER * share.owned / share.max_runs)
        self.is_woken = False
        before = share.clock()
        suspects = int(not (share.is_trying or share.has_suspect))
        share.reserved += room
        share.is_trying |= bool(suspects)
        try:
            claims = await self._part.claim(share.name, share.lease, room, share.max_takeovers, suspects)
        except JournalFailed:
            self.is_woken = True
            raise
        finally:
            share.reserved -= room
            share.is_trying &= not suspects
        self.is_woken = self.is_woken or len(claims) == room
        self._claim_at = before + share.lease / 3 * (0.75 + random() / 4)
        for claim in claims:
            share.begin(claim, self, before + share.lease)
