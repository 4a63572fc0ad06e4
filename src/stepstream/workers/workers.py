"""Workers: the runs of a shared journal, each delivered to the subscribers of one process at a time."""

import os
import socket
import time
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import Any, Final, Self
from uuid import uuid4

from stepstream.journal.claiming import GroupClaims, SharedJournal
from stepstream.live.processor import Processor
from stepstream.workers.working import Lag, Terms, Working

MAX_GROUP: Final = 200
"""How many characters the name of a group has at most."""


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
        name = name or f"{socket.gethostname()}-{os.getpid()}-{uuid4().hex[:8]}"
        clock = clock or _counting_sleep()
        self._terms = Terms(group, name, float(lease), max_runs, max_takeovers, interrupted_after, clock)
        self._journal: SharedJournal = journal
        self._claims: GroupClaims | None = None
        self._working: Working | None = None
        self._takeovers = self._dead_letters = 0  # until it began to work last

    def __repr__(self) -> str:
        counts = f"{self.owned:,} runs owned, {self.lag.events:,} events behind, {self.takeovers:,} taken over"
        return f"<Workers {self._terms.group}: {counts}>"

    async def __aenter__(self) -> Self:
        self._claims = self._journal.claims(self._terms.group)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._claims = None

    @property
    def name(self) -> str:
        """What the server calls it."""
        return self._terms.name

    @property
    def owned(self) -> int:
        """How many runs it has."""
        return self._working.owned if self._working else 0

    @property
    def lag(self) -> Lag:
        """How far it is behind with these."""
        return self._working.lag if self._working else Lag(0, 0.0)

    @property
    def takeovers(self) -> int:
        """How many runs it took over from others that were silent."""
        return self._takeovers + (self._working.takeovers if self._working else 0)

    @property
    def dead_letters(self) -> int:
        """How many changes and runs it gave up."""
        return self._dead_letters + (self._working.dead_letters if self._working else 0)

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
        if self._working is not None:
            raise RuntimeError("expected Workers that do not run, got some that do")
        working = self._working = Working(self._journal, self._claims, self._terms, processor)
        try:
            await working.run()
        finally:
            self._takeovers, self._dead_letters, self._working = self.takeovers, self.dead_letters, None


def _counting_sleep() -> Callable[[], float]:
    """Return a monotonic clock that goes on while the host sleeps: leases do so, on the server."""
    number = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic if number is None else partial(time.clock_gettime, number)
