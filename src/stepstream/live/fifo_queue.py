"""What waits for one subscriber that takes everything in order."""

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeAlias

from stepstream.live.pending import PendingCount

Entry: TypeAlias = tuple[Any, PendingCount]
"""A change that waits, and the count that it is part of."""


class FifoQueue:
    """Entries in the order in which they came."""

    def __init__(self) -> None:
        self._entries: deque[Entry] = deque()
        self.put: Callable[[Entry], Entry | None] = self._entries.append
        self.pop: Callable[[], Entry] = self._entries.popleft
        """Returns the first entry, or raises `IndexError`."""

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Entry]:
        """Give everything that waits, in order."""
        return iter(self._entries)

    def take(self, now: float) -> Entry | None:
        """Return the first entry, or None."""
        return self._entries.popleft() if self._entries else None

    def take_many(self, now: float, most: int) -> list[Entry]:
        """Return the first entries, at most so many."""
        pop = self._entries.popleft
        return [pop() for _ in range(min(most, len(self._entries)))]

    def finish(self, entry: Entry) -> None:
        """Do nothing: entries are taken one at a time."""

    def finish_many(self, entries: Iterable[Entry]) -> None:
        """Do nothing."""

    def due(self) -> float:
        """Return infinity: nothing is held back."""
        return math.inf

    def has_newer(self, entry: Entry) -> bool:
        """Return False: nothing is replaced."""
        return False

    def again_at(self, entry: Entry) -> float:
        """Return minus infinity: no call is too early."""
        return -math.inf

    def count_call(self, entry: Entry, now: float) -> None:
        """Do nothing: calls are not paced."""

    def release(self) -> None:
        """Do nothing: nothing is held back."""

    def hurry(self) -> None:
        """Do nothing: nothing is held back."""

    def clear(self) -> list[Entry]:
        """Return everything that waits, and empty the queue."""
        entries = list(self._entries)
        self._entries.clear()
        return entries
