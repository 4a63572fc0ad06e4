"""What waits for a subscriber that takes lists: taken together once there is enough, or it has waited long enough.

A list is an entry too: the changes, and a `Batch` in the place of a count. So what delivers entries need not know. No
clock: the caller says what time it is. While a list is `gathering`, its subscriber sleeps until `due` or `filled`, and
is not woken by each change.

    put(A), take(0) → None, due() → 0.1, put(B), take(0.1) → [A, B]      `max_wait` is 0.1
    put(A), … put(500th)                    `filled` is notified, take → [A, …]
"""

import math
from collections.abc import Callable, Iterator
from contextvars import copy_context

from stepstream.live.fifo_queue import Entry, FifoQueue
from stepstream.live.leases import Leases
from stepstream.live.paced_queue import PacedQueue
from stepstream.live.pending import PendingCount, Signal


class Batch(PendingCount):
    """The entries of a list. Calls for it see the contextvars of now: its changes may come from several streams."""

    __slots__ = ("entries",)

    def __init__(self, entries: list[Entry]) -> None:
        super().__init__(variables=copy_context())
        self.entries = entries
        leases = [pending.lease for _, pending in entries if pending.lease is not None]
        self.lease = Leases(leases) if leases else None


def entries_of(entry: Entry) -> list[Entry]:
    """Return the entries of a list; of a single one, itself."""
    return entry[1].entries if isinstance(entry[1], Batch) else [entry]


def by_lease(entry: Entry) -> tuple[Entry | None, Entry | None]:
    """Return an entry as far as it may be delivered, and as far as its lease is over. Of a list both may be lists."""
    if entry[1].lease is None or not entry[1].lease.is_over:
        return entry, None
    if not isinstance(entry[1], Batch):
        return None, entry
    parts: tuple[list[Entry], list[Entry]] = [], []
    for one in entry[1].entries:
        parts[one[1].lease is not None and one[1].lease.is_over].append(one)
    kept, lapsed = [([change for change, _ in part], Batch(part)) if part else None for part in parts]
    return kept, lapsed


class BatchQueue:
    """Gives the entries of another queue in lists of up to `size`. An incomplete one waits for `max_wait` seconds."""

    def __init__(self, inner: FifoQueue | PacedQueue, size: int, max_wait: float) -> None:
        self._inner = inner
        self.put: Callable[[Entry], Entry | None] = inner.put
        self._size = size
        self._max_wait = max_wait
        self._since = math.inf  # when it was first found incomplete
        self.filled = Signal()
        """Notified when a list is complete, or is not to wait any more."""

    def __len__(self) -> int:
        return len(self._inner)

    def __iter__(self) -> Iterator[Entry]:
        """Give everything that waits, as single entries."""
        return iter(self._inner)

    @property
    def is_gathering(self) -> bool:
        """Whether an incomplete list waits for more."""
        return self._since < math.inf

    def note_filled(self) -> None:
        """Notify `filled` where a list that waits for more is complete now. To be called after `put`."""
        if self.filled.event is not None and len(self._inner) >= self._size:
            self.filled.notify()

    def take(self, now: float) -> Entry | None:
        """Return the next list as one entry; None where there is none, or it waits for more."""
        if 0 < len(self._inner) < self._size:
            self._since = min(self._since, now)
            if now < self._since + self._max_wait:
                return None
        entries = self._inner.take_many(now, self._size)
        self._since = math.inf
        return ([change for change, _ in entries], Batch(entries)) if entries else None

    def finish(self, entry: Entry) -> None:
        """Let the next entries of the runs of a list be taken."""
        self._inner.finish_many(entries_of(entry))

    def due(self) -> float:
        """Return when the list that waits is to be taken, or what is held back may be."""
        return self._since + self._max_wait if self.is_gathering else self._inner.due()

    def has_newer(self, entry: Entry) -> bool:
        """Return False: a list is delivered as one."""
        return False

    def again_at(self, entry: Entry) -> float:
        """Return when another attempt at a list may be made: when it may at each change of it."""
        return max(map(self._inner.again_at, entries_of(entry)))

    def count_call(self, entry: Entry, now: float) -> None:
        """Note another attempt at a list."""
        for one in entries_of(entry):
            self._inner.count_call(one, now)

    def release(self) -> None:
        """Let what waits or is held back be taken now."""
        self._inner.release()
        self._since = -math.inf
        self.filled.notify()

    def hurry(self) -> None:
        """Let nothing wait or be held back any more."""
        self._inner.hurry()
        self._max_wait = 0.0
        self.filled.notify()

    def clear(self) -> list[Entry]:
        """Return everything that waits, as single entries, and empty the queue."""
        self.filled.notify()
        return self._inner.clear()
