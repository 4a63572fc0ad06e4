"""The feeds of a relay: one a run, as long as somebody uses it, and for a while after that."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import anyio

from stepstream.relay.feed import RunFeed

KEEP_IDLE: Final = 60.0
"""Seconds for which a feed is kept that nobody uses."""

MAX_IDLE: Final = 64
"""How many of those are kept."""


class Feeds:
    """Feeds by run. `make` makes one."""

    def __init__(self, make: Callable[[str], RunFeed]) -> None:
        self._make = make
        self._used: dict[str, RunFeed] = {}
        self._users: dict[str, int] = {}
        self._idle: dict[str, tuple[RunFeed, float]] = {}  # since when, the longest first

    def __repr__(self) -> str:
        return f"<Feeds: {len(self._used):,} used, {len(self._idle):,} idle>"

    @contextmanager
    def using(self, run_id: str) -> Iterator[RunFeed]:
        """Give the feed of a run."""
        feed = self._used.get(run_id)
        if feed is None:
            found = self._idle.pop(run_id, None)
            feed = self._used[run_id] = found[0] if found is not None else self._make(run_id)
            feed.go_on()
        self._users[run_id] = self._users.get(run_id, 0) + 1
        try:
            yield feed
        finally:
            self._users[run_id] -= 1
            if not self._users[run_id]:
                del self._users[run_id], self._used[run_id]
                self._idle[run_id] = feed, anyio.current_time()
                self._forget()

    def _forget(self) -> None:
        now = anyio.current_time()
        for run_id, (_, since) in list(self._idle.items()):
            if now - since <= KEEP_IDLE and len(self._idle) <= MAX_IDLE:
                return
            del self._idle[run_id]
