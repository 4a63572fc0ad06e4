"""Who does what all wait for: one task at a time, of those that wait.

The others sleep. Whoever makes that a sleeper has what it waits for notifies its turn. Where the one that leads leaves,
one of the sleepers is called, who leads then; or, where it was cancelled or has got something to do meanwhile, another.
So as long as anybody sleeps, somebody leads or was called.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import anyio

from stepstream.live.pending import Signal


class Lead:
    """The lead among some tasks. A turn is of one task."""

    __slots__ = ("_asleep", "_called", "_event", "is_taken", "left_at")

    def __init__(self) -> None:
        self.is_taken = False
        """Whether somebody leads."""
        self.left_at = math.inf
        """When the last one left who led; as long as nobody did, never."""
        self._asleep: dict[Signal, None] = {}
        self._called: Signal | None = None
        self._event: type[anyio.Event] = anyio.Event

    def __repr__(self) -> str:
        return f"<Lead {'taken' if self.is_taken else 'free'}, {len(self._asleep):,} asleep>"

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Lead in this block. Nobody else may."""
        self.is_taken = True
        try:
            yield
        finally:
            self.is_taken, self.left_at = False, anyio.current_time()
            self._call()

    async def sleep(self, turn: Signal) -> None:
        """Return when `turn` was notified, or when it is to lead."""
        # of the kind of the first one: to find out which library runs costs as much as all else here
        event = turn.event = self._event()
        self._event = type(event)
        self._asleep[turn] = None
        try:
            await event.wait()
        finally:
            self._asleep.pop(turn, None)
            if self._called is turn:
                self._called = None
                self._call()

    def wake(self, turn: Signal) -> None:
        """Wake one that may sleep: it is due."""
        self._asleep.pop(turn, None)
        turn.notify()

    def _call(self) -> None:
        if not self.is_taken and self._called is None and self._asleep:
            self._called = next(iter(self._asleep))
            self._called.notify()
