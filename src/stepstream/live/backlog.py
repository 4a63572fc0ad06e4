"""What waits for one subscriber, and what is next: in order, side by side by run, paced by step. It has no clock.

Two kinds: a plain queue, and one that looks at each change: which run it is of, and whether it is the progress of a
step or message, which newer progress replaces, and which is held back until its time has come.
"""

import heapq
import math
from collections import deque
from collections.abc import Callable
from itertools import count
from typing import Any, Final, Protocol, TypeAlias

from stepstream.fold.changes import (
    Change,
    MessageProgress,
    MessageTransition,
    StepProgress,
    StepTransition,
)
from stepstream.live.ledger import Ledger
from stepstream.live.options import Delivery

MAX_PACED: Final = 10_000
"""So many steps and messages are remembered for their pace. Of more, those are forgotten that may be called for."""

MAX_DEAD: Final = 64
"""So many entries that were replaced may lie about, beside as many as wait."""

_STEP: Final = (StepProgress, StepTransition)
_MESSAGE: Final = (MessageProgress, MessageTransition)
PROGRESS: Final = (StepProgress, MessageProgress)


Entry: TypeAlias = tuple[Any, Ledger]
"""A change that waits, and the ledger that knows of it."""

NOTHING: Final[Entry] = (None, Ledger())
"""Stands where an entry was replaced, so that its change is not kept."""


class Backlog(Protocol):
    """What waits. `now` is the time of any clock."""

    def __len__(self) -> int:
        """Return how many wait."""

    @property
    def put(self) -> Callable[[Entry], Entry | None]:
        """Appends an entry, and returns the one that it replaces, if any."""

    def take(self, now: float) -> Entry | None:
        """Return the next entry, to be finished before others of its run; None where none may be delivered yet."""

    def finish(self, entry: Entry) -> None:
        """Note that an entry that was taken has been dealt with."""

    def due(self) -> float:
        """Return when the next entry that is held back may be delivered: infinity where none is."""

    def has_newer(self, entry: Entry) -> bool:
        """Tell whether newer progress waits that makes an entry needless."""

    def release(self) -> None:
        """Let everything that is held back be taken now."""

    def hurry(self) -> None:
        """Hold nothing back any more."""

    def clear(self) -> list[Entry]:
        """Return everything that waits, and forget it."""


class Queue:
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
        """Do nothing: one is taken at a time."""

    def due(self) -> float:
        """Return infinity: nothing is held back."""
        return math.inf

    def has_newer(self, entry: Entry) -> bool:
        """Tell that nothing is replaced."""
        return False

    def release(self) -> None:
        """Do nothing: nothing is held back."""

    def hurry(self) -> None:
        """Do nothing: nothing is held back."""

    def clear(self) -> list[Entry]:
        """Return everything that waits, and forget it."""
        entries = list(self._entries)
        self._entries.clear()
        return entries


class Schedule:
    """Entries by run and by what they are about.

    The entries of one run are taken in order, one at a time. Where `coalesces`, newer progress of a step or message
    takes the place of what waits, behind everything that came meanwhile. With `min_interval`, progress is held back
    until so many seconds after the last call for its step or message. The end of that is never held back: it takes the
    place of progress that is.
    """

    def __init__(self, *, coalesces: bool, min_interval: float) -> None:
        self._coalesces = coalesces
        self._min_interval = min_interval
        self._ready: deque[_Waiting] = deque()
        self._held: list[tuple[float, int, _Waiting]] = []
        self._order = count()
        self._progress: dict[str, _Waiting] = {}
        self._called: dict[str, float] = {}  # when progress of a step or message may be delivered again
        self._most_called = MAX_PACED
        self._busy: dict[Any, deque[_Waiting]] = {}  # what came of the runs that are being called for
        self._in_hand: dict[int, Any] = {}  # the run of each entry that was taken: its object may name another now
        self._alive = self._dead = 0

    def __len__(self) -> int:
        return self._alive

    def put(self, entry: Entry) -> Entry | None:
        """Append an entry, and return the one that it replaces, if any."""
        waiting = _Waiting(entry)
        replaced = None
        if self._coalesces and waiting.about is not None:
            if waiting.is_progress:
                replaced = self._drop(waiting.about)
                self._progress[waiting.about] = waiting
            elif self._min_interval and entry[0].terminal:
                replaced = self._drop(waiting.about)
        self._alive += 1
        self._ready.append(waiting)
        return replaced

    def take(self, now: float) -> Entry | None:
        """Return the next entry, to be finished before others of its run; None where none may be delivered yet."""
        while (waiting := self._next(now)) is not None:
            self._dead -= waiting.is_dead
            if not waiting.has_turn and not waiting.is_dead and waiting.run in self._busy:
                self._busy[waiting.run].append(waiting)
            elif waiting.is_dead or (waiting.is_progress and not self._is_due(waiting, now)):
                self._put_aside(waiting)
            else:
                return self._taken(waiting, now)
        return None

    def finish(self, entry: Entry) -> None:
        """Let the next entry of its run be taken."""
        self._pass_turn(self._in_hand.pop(id(entry)))

    def due(self) -> float:
        """Return when the next entry that is held back may be delivered: infinity where none is."""
        while self._held and self._held[0][2].is_dead:
            heapq.heappop(self._held)
            self._dead -= 1
        return self._held[0][0] if self._held else math.inf

    def has_newer(self, entry: Entry) -> bool:
        """Tell whether newer progress waits that makes an entry needless."""
        return isinstance(entry[0], PROGRESS) and _about(entry[0]) in self._progress

    def release(self) -> None:
        """Let everything that is held back be taken now."""
        self._called.clear()
        self._ready.extendleft(waiting for _, _, waiting in sorted(self._held, reverse=True))
        self._held.clear()

    def hurry(self) -> None:
        """Hold nothing back any more."""
        self._min_interval = 0.0
        self.release()

    def clear(self) -> list[Entry]:
        """Return everything that waits, and forget it."""
        held, busy = (one for _, _, one in self._held), (one for line in self._busy.values() for one in line)
        entries = [one.entry for one in (*self._ready, *held, *busy) if not one.is_dead]
        self._ready.clear()
        self._held.clear()
        self._progress.clear()
        self._busy = {run: deque() for run in self._in_hand.values()}  # nobody else has the turn of a run any more
        self._alive = self._dead = 0
        return entries

    def _next(self, now: float) -> "_Waiting | None":
        if self._held and self._held[0][0] <= now:
            return heapq.heappop(self._held)[2]
        return self._ready.popleft() if self._ready else None

    def _is_due(self, waiting: "_Waiting", now: float) -> bool:
        return not self._min_interval or self._called.get(waiting.about or "", -math.inf) <= now

    def _put_aside(self, waiting: "_Waiting") -> None:
        """Hold an entry back, or drop it where it is dead. Others of its run go on."""
        if not waiting.is_dead:
            heapq.heappush(self._held, (self._called[waiting.about or ""], next(self._order), waiting))
        if waiting.has_turn:
            waiting.has_turn = False
            self._pass_turn(waiting.run)

    def _pass_turn(self, run: Any) -> None:
        """Let the next entry of a run be taken, before everything else."""
        line = self._busy[run]
        if line:
            line[0].has_turn = True
            self._ready.appendleft(line.popleft())
        else:
            del self._busy[run]

    def _taken(self, waiting: "_Waiting", now: float) -> Entry:
        self._alive -= 1
        self._busy.setdefault(waiting.run, deque())
        self._in_hand[id(waiting.entry)] = waiting.run
        if waiting.about is not None and self._progress.get(waiting.about) is waiting:
            del self._progress[waiting.about]
        if self._min_interval and waiting.about is not None:
            self._called[waiting.about] = now + self._min_interval
            if len(self._called) > self._most_called:
                self._called = {about: due for about, due in self._called.items() if due > now}
                self._most_called = max(MAX_PACED, 2 * len(self._called))
        return waiting.entry

    def _drop(self, about: str) -> Entry | None:
        """Forget the progress that waits of a step or message, and return it."""
        old = self._progress.pop(about, None)
        if old is None:
            return None
        entry, old.entry, old.is_dead = old.entry, NOTHING, True
        self._alive -= 1
        self._dead += 1
        if self._dead > self._alive + MAX_DEAD:
            self._sweep()
        return entry

    def _sweep(self) -> None:
        """Throw away what is dead, but for those whose turn it is: they pass that on when they are taken."""
        self._ready = deque(one for one in self._ready if one.has_turn or not one.is_dead)
        self._held = [held for held in self._held if not held[2].is_dead]
        heapq.heapify(self._held)
        self._busy = {run: deque(one for one in line if not one.is_dead) for run, line in self._busy.items()}
        self._dead = sum(one.is_dead for one in self._ready)


class _Waiting:
    """An entry in a schedule."""

    __slots__ = ("about", "entry", "has_turn", "is_dead", "is_progress", "run")

    def __init__(self, entry: Entry) -> None:
        change = entry[0]
        self.entry = entry
        self.about = _about(change)
        self.run = _run_of(change)
        self.is_progress = isinstance(change, PROGRESS)
        self.has_turn = False
        """Whether it is the next of its run, the one before it being done."""
        self.is_dead = False


def _about(change: Change) -> str | None:
    """Return the id of the step or message that a change is about, None for all else."""
    if isinstance(change, _STEP):
        return f"step {change.step_id}"
    return f"message {change.message_id}" if isinstance(change, _MESSAGE) else None


def _run_of(change: Change) -> str | None:
    """Return the run that a change is of; what names none is of one run."""
    return getattr(change, "run_id", None)


def backlog_of(delivery: Delivery) -> Backlog:
    """Return the backlog that a delivery needs."""
    if delivery.coalesces or delivery.concurrency > 1:
        return Schedule(coalesces=delivery.coalesces, min_interval=delivery.min_interval)
    return Queue()
