"""What waits for one subscriber, and what is next. No clock: the caller says what time it is.

Two queues with the same methods. `FifoQueue` is for subscribers that take everything in order. `PacedQueue` looks at
each change, at its run and at the step or message it is about, and keeps three promises at once:

* changes of one run are taken in order, one at a time, those of different runs side by side. `_busy` has an entry for
  each run being called for, and lines up what came for that run meanwhile; `finish` passes the turn on;
* where it coalesces, at most one progress of a step or message waits. Newer progress takes its place behind all that
  came meanwhile, so that nothing is delivered before what it may depend on;
* with `min_interval`, progress is held back until so long after the last call for its step or message. The end of that
  step or message is never held back: it replaces the progress that is.

A replaced change is not searched for: its entry stays where it is, marked dead and emptied, and is skipped when its
turn comes. `_sweep` drops dead entries once they outnumber those alive, so memory is bounded by what waits. An entry
that has the turn of its run must not be dropped: it passes the turn on when it is taken.

    put(progress A), put(transition B), put(newer A)   →   taken: B, newer A          (coalescing)
"""

import heapq
import math
from collections import deque
from collections.abc import Callable
from itertools import count
from typing import Any, Final, TypeAlias

from stepstream.fold.changes import Change, MessageProgress, MessageTransition, StepProgress, StepTransition
from stepstream.live.pending import PendingCount

MAX_PACED: Final = 10_000
"""For so many steps and messages the time of the next call is kept. Beyond it those are dropped whose time has come."""

MAX_DEAD: Final = 64
"""How many dead entries may remain beside as many as are alive."""

_STEP: Final = (StepProgress, StepTransition)
_MESSAGE: Final = (MessageProgress, MessageTransition)
PROGRESS: Final = (StepProgress, MessageProgress)

Entry: TypeAlias = tuple[Any, PendingCount]
"""A change that waits, and the count that it is part of."""

EMPTY: Final[Entry] = (None, PendingCount())
"""Stands in a dead entry, so that the replaced change is not kept."""


class FifoQueue:
    """Entries in the order in which they came."""

    def __init__(self) -> None:
        self._entries: deque[Entry] = deque()
        self.put: Callable[[Entry], Entry | None] = self._entries.append
        self.pop: Callable[[], Entry] = self._entries.popleft
        """Returns the first entry, or raises `IndexError`."""

    def __len__(self) -> int:
        return len(self._entries)

    def take(self, now: float) -> Entry | None:
        """Return the first entry, or None."""
        return self._entries.popleft() if self._entries else None

    def finish(self, entry: Entry) -> None:
        """Do nothing: entries are taken one at a time."""

    def due(self) -> float:
        """Return infinity: nothing is held back."""
        return math.inf

    def has_newer(self, entry: Entry) -> bool:
        """Return False: nothing is replaced."""
        return False

    def release(self) -> None:
        """Do nothing: nothing is held back."""

    def hurry(self) -> None:
        """Do nothing: nothing is held back."""

    def clear(self) -> list[Entry]:
        """Return everything that waits, and empty the queue."""
        entries = list(self._entries)
        self._entries.clear()
        return entries


class PacedQueue:
    """Entries by run and by the step or message they are about, coalesced and paced. `now` is the time of any clock."""

    def __init__(self, *, coalesces: bool, min_interval: float) -> None:
        self._coalesces = coalesces
        self._min_interval = min_interval
        self._ready: deque[_QueuedChange] = deque()
        self._held: list[tuple[float, int, _QueuedChange]] = []  # a heap, by the time when each is due
        self._order = count()  # of two that are due at the same time, the older one first
        self._progress: dict[str, _QueuedChange] = {}  # the progress that waits, by what it is about
        self._next_call: dict[str, float] = {}  # when progress of a step or message may be delivered again
        self._max_next_calls = MAX_PACED
        self._busy: dict[Any, deque[_QueuedChange]] = {}  # what came for the runs that are being called for
        self._taken_runs: dict[int, Any] = {}  # the run of each entry taken: its object may name another one by now
        self._alive = self._dead = 0

    def __len__(self) -> int:
        return self._alive

    def put(self, entry: Entry) -> Entry | None:
        """Append an entry, and return the one that it replaces, if any."""
        queued = _QueuedChange(entry)
        replaced = None
        if self._coalesces and queued.about is not None:
            if queued.is_progress:
                replaced = self._drop(queued.about)
                self._progress[queued.about] = queued
            elif self._min_interval and entry[0].terminal:
                replaced = self._drop(queued.about)
        self._alive += 1
        self._ready.append(queued)
        return replaced

    def take(self, now: float) -> Entry | None:
        """Return the next entry, to be finished before others of its run; None where none may be delivered yet."""
        while (queued := self._next(now)) is not None:
            self._dead -= queued.is_dead
            if not queued.has_turn and not queued.is_dead and queued.run in self._busy:
                self._busy[queued.run].append(queued)
            elif queued.is_dead or (queued.is_progress and not self._is_due(queued, now)):
                self._put_aside(queued)
            else:
                return self._taken(queued, now)
        return None

    def finish(self, entry: Entry) -> None:
        """Let the next entry of its run be taken."""
        self._pass_turn(self._taken_runs.pop(id(entry)))

    def due(self) -> float:
        """Return when the next entry that is held back may be delivered: infinity where none is."""
        while self._held and self._held[0][2].is_dead:
            heapq.heappop(self._held)
            self._dead -= 1
        return self._held[0][0] if self._held else math.inf

    def has_newer(self, entry: Entry) -> bool:
        """Return whether newer progress waits that makes another attempt at `entry` needless."""
        return isinstance(entry[0], PROGRESS) and _about(entry[0]) in self._progress

    def release(self) -> None:
        """Let everything that is held back be taken now."""
        self._next_call.clear()
        self._ready.extendleft(queued for _, _, queued in sorted(self._held, reverse=True))
        self._held.clear()

    def hurry(self) -> None:
        """Hold nothing back any more."""
        self._min_interval = 0.0
        self.release()

    def clear(self) -> list[Entry]:
        """Return everything that waits, and empty the queue."""
        held, busy = (one for _, _, one in self._held), (one for line in self._busy.values() for one in line)
        entries = [one.entry for one in (*self._ready, *held, *busy) if not one.is_dead]
        self._ready.clear()
        self._held.clear()
        self._progress.clear()
        self._busy = {run: deque() for run in self._taken_runs.values()}  # their turns are passed on by `finish`
        self._alive = self._dead = 0
        return entries

    def _next(self, now: float) -> "_QueuedChange | None":
        if self._held and self._held[0][0] <= now:
            return heapq.heappop(self._held)[2]
        return self._ready.popleft() if self._ready else None

    def _is_due(self, queued: "_QueuedChange", now: float) -> bool:
        return not self._min_interval or self._next_call.get(queued.about or "", -math.inf) <= now

    def _put_aside(self, queued: "_QueuedChange") -> None:
        """Hold an entry back, or drop it where it is dead. Others of its run go on."""
        if not queued.is_dead:
            heapq.heappush(self._held, (self._next_call[queued.about or ""], next(self._order), queued))
        if queued.has_turn:
            queued.has_turn = False
            self._pass_turn(queued.run)

    def _pass_turn(self, run: Any) -> None:
        """Let the next entry of a run be taken, before everything else."""
        line = self._busy[run]
        if line:
            line[0].has_turn = True
            self._ready.appendleft(line.popleft())
        else:
            del self._busy[run]

    def _taken(self, queued: "_QueuedChange", now: float) -> Entry:
        self._alive -= 1
        self._busy.setdefault(queued.run, deque())
        self._taken_runs[id(queued.entry)] = queued.run
        if queued.about is not None and self._progress.get(queued.about) is queued:
            del self._progress[queued.about]
        if self._min_interval and queued.about is not None:
            self._next_call[queued.about] = now + self._min_interval
            if len(self._next_call) > self._max_next_calls:
                self._next_call = {about: due for about, due in self._next_call.items() if due > now}
                self._max_next_calls = max(MAX_PACED, 2 * len(self._next_call))
        return queued.entry

    def _drop(self, about: str) -> Entry | None:
        """Drop the progress of a step or message that waits, and return it."""
        old = self._progress.pop(about, None)
        if old is None:
            return None
        entry, old.entry, old.is_dead = old.entry, EMPTY, True
        self._alive -= 1
        self._dead += 1
        if self._dead > self._alive + MAX_DEAD:
            self._sweep()
        return entry

    def _sweep(self) -> None:
        """Remove dead entries, but for those that have the turn of their run."""
        self._ready = deque(one for one in self._ready if one.has_turn or not one.is_dead)
        self._held = [held for held in self._held if not held[2].is_dead]
        heapq.heapify(self._held)
        self._busy = {run: deque(one for one in line if not one.is_dead) for run, line in self._busy.items()}
        self._dead = sum(one.is_dead for one in self._ready)


class _QueuedChange:
    """An entry of a paced queue."""

    __slots__ = ("about", "entry", "has_turn", "is_dead", "is_progress", "run")

    def __init__(self, entry: Entry) -> None:
        change = entry[0]
        self.entry = entry
        self.about = _about(change)
        self.run: str | None = getattr(change, "run_id", None)  # changes that name no run count as of one run
        self.is_progress = isinstance(change, PROGRESS)
        self.has_turn = False
        """Whether it is the next of its run, the one before it being done."""
        self.is_dead = False


def _about(change: Change) -> str | None:
    """Return the step or message that a change is about; None for all other changes."""
    if isinstance(change, _STEP):
        return f"step {change.step_id}"
    return f"message {change.message_id}" if isinstance(change, _MESSAGE) else None
