"""Who does what all wait for: one task at a time, of those that wait.

The others sleep, each for a turn. A turn is of one task, or of some that are mostly due together: waking them is one
step then, and who is woken and has nothing to do sleeps again. Whoever makes that a sleeper has what it waits for wakes
its turn. Where the one that leads leaves, those of one turn are called, the first of whom leads then; or, where all of
them were cancelled or have got something to do meanwhile, those of another. So as long as anybody sleeps, somebody
leads or was called.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import anyio

SHARED: Final = 32
"""How many tasks share a turn at most: so many are woken in vain where one alone is due."""


class Turn:
    """What some tasks sleep for."""

    __slots__ = ("event", "sleepers")

    def __init__(self) -> None:
        self.event: anyio.Event | None = None
        """That of those who sleep now; None while nobody does."""
        self.sleepers = 0
        """How many that are."""


class Turns:
    """Turns that are shared."""

    def __init__(self) -> None:
        self.all: dict[Turn, int] = {}
        """Each with how many have it."""
        self._with_room: dict[Turn, None] = {}

    def take(self) -> Turn:
        """Return a turn for one more task."""
        turn = next(iter(self._with_room), None) or Turn()
        count = self.all[turn] = self.all.get(turn, 0) + 1
        self._with_room[turn] = None
        if count == SHARED:
            del self._with_room[turn]
        return turn

    def leave(self, turn: Turn) -> None:
        """Let another task have the place of one that had this turn."""
        self.all[turn] -= 1
        self._with_room[turn] = None
        if not self.all[turn]:
            del self.all[turn], self._with_room[turn]


class Lead:
    """The lead among some tasks."""

    __slots__ = ("_asleep", "_called", "_due", "_event", "is_taken", "left_at")

    def __init__(self) -> None:
        self.is_taken = False
        """Whether somebody leads."""
        self.left_at = math.inf
        """When the last one left who led; as long as nobody did, never."""
        self._asleep: dict[Turn, None] = {}
        self._called: anyio.Event | None = None  # of those who were called
        self._due = 0  # how many of them have not woken yet
        self._event: type[anyio.Event] = anyio.Event

    def __repr__(self) -> str:
        count = sum(turn.sleepers for turn in self._asleep)
        return f"<Lead {'taken' if self.is_taken else 'free'}, {count:,} asleep>"

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Lead in this block. Nobody else may."""
        self.is_taken = True
        try:
            yield
        finally:
            self.is_taken, self.left_at = False, anyio.current_time()
            self._call()

    async def sleep(self, turn: Turn) -> None:
        """Return when `turn` was woken, or when one of those who sleep for it is to lead."""
        event = turn.event
        if event is None:
            # of the kind of the first one: to find out which library runs costs as much as all else here
            event = turn.event = self._event()
            self._event = type(event)
            self._asleep[turn] = None
        turn.sleepers += 1
        try:
            await event.wait()
        finally:
            if turn.event is event or self._called is event:
                self._wake_one(turn, event)

    def wake(self, turn: Turn) -> None:
        """Wake those who sleep for a turn, if any do: it is due."""
        event, turn.event = turn.event, None
        if event is not None:
            turn.sleepers = 0
            del self._asleep[turn]
            event.set()

    def _wake_one(self, turn: Turn, event: anyio.Event) -> None:
        """Record that one was cancelled who sleeps, or that one is awake who was called."""
        if turn.event is event:
            turn.sleepers -= 1
            if not turn.sleepers:
                turn.event = None
                del self._asleep[turn]
            return
        self._due -= 1
        if not self._due:
            self._called = None
            self._call()

    def _call(self) -> None:
        if not self.is_taken and self._called is None and self._asleep:
            turn = next(iter(self._asleep))
            self._called, self._due = turn.event, turn.sleepers
            self.wake(turn)
