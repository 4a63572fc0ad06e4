"""Who still owes what to whom: the changes of one stream that one subscriber has not had."""

from collections import deque
from typing import Final, Protocol

import anyio

MAX_HELD: Final = 50_000
"""So many changes that may be held back bring their own room."""


class Wakeful(Protocol):
    """A stream that wants to know whether it woke somebody."""

    has_woken: bool
    """Whether a subscriber slept until a change of the stream came."""


class Ledger:
    """The changes of one stream that wait for one subscriber. In whatever order they go, all are counted."""

    __slots__ = ("_settled", "owed", "stream")

    def __init__(self, stream: "Wakeful | None" = None) -> None:
        self.owed = 0
        self.stream = stream
        """Told when a change woke the subscriber."""
        self._settled: anyio.Event | None = None

    def wake(self) -> None:
        """Let go who waits, now that none is owed."""
        if self._settled is not None:
            self._settled.set()

    async def settled(self) -> None:
        """Return when none is owed."""
        if self.owed:
            self._settled = self._settled or anyio.Event()
            await self._settled.wait()


class Room:
    """Room for `size` changes. Streams wait for it in a line: each that becomes free wakes one.

    Progress that may be held back, one change for each step or message, brings its own room: else it would keep
    streams waiting for time to pass. For `MAX_HELD` at most.
    """

    __slots__ = ("_is_closed", "held", "line", "size", "taken")

    def __init__(self, size: int) -> None:
        self.taken = 0
        self.held = 0
        """How many of those are progress that may be held back."""
        self.size = size
        self.line: deque[anyio.Event] = deque()
        self._is_closed = False

    @property
    def counted(self) -> int:
        """How many changes take room."""
        return self.taken - min(self.held, MAX_HELD)

    @property
    def is_full(self) -> bool:
        """Whether there is no room."""
        return self.counted >= self.size

    def wake(self) -> None:
        """Let the first of the line go, where there is room."""
        if self.line and not self.is_full:
            self.line.popleft().set()

    async def wait(self) -> None:
        """Return when there is room, or it does not matter any more."""
        join = self.line.append
        while self.is_full and not self._is_closed:
            turn = anyio.Event()
            join(turn)
            try:
                await turn.wait()
            finally:
                if not turn.is_set():
                    self.line.remove(turn)
                else:
                    self.wake()  # who was woken may have been cancelled, and there may be room for more
            join = self.line.appendleft  # somebody was faster: the place in the line is kept

    def close(self) -> None:
        """Let everybody go."""
        self._is_closed = True
        while self.line:
            self.line.popleft().set()
