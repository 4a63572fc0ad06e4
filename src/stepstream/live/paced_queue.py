"""What waits for a subscriber that is paced, coalesces, or is called for runs side by side. No clock: the caller says
what time it is.

`PacedQueue` keeps three promises at once:

* changes of one run are taken in order, one at a time, those of different runs side by side;
* where it coalesces, at most one progress of a step or message waits. Newer progress takes its place behind all that
  came meanwhile, so that nothing is delivered before what it may depend on;
* with `min_interval`, progress is held back until so long after the last call for its step or message, be it another
  attempt. The end of that step or message is never held back: it replaces the progress that is.

`about` says what is one: a step or message, or all of a run or of a context, whose steps then share one progress.

Theory. A change waits in the line of its run, an ordered dict: what is replaced is removed there and then. `_ready` has
the lines of the runs that may be called for, never an empty one, and `take` takes the first of the first line; `_busy`
has those of the runs being called for. Progress whose turn comes too early leaves its line, so that others go on: it is
held, newer progress replaces it in its place, and when it is due it joins its line again, at the end.

    put(progress A), put(transition B), put(newer A)                 line: B, newer A
    take(0) → B, take(0) → None, finish(B), take(0) → newer A        at `finish` its run is ready again
    put(progress A), take(1) → None, put(newer A), due() → 2         held: newer A  (`min_interval` is 2)
    put(end of A)                                                    line: end of A
"""

import heapq
import math
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator
from itertools import count
from typing import Any, TypeAlias

from stepstream.live.coalescing import PROGRESS, about_step, ends
from stepstream.live.fifo_queue import Entry

_Line: TypeAlias = OrderedDict[int, Entry]
"""What waits of one run, by the id of the entry."""


class PacedQueue:
    """Entries by run and by what they are `about`, coalesced and paced. `now` is the time of any clock."""

    def __init__(
        self,
        *,
        coalesces: bool,
        min_interval: float,
        by_run: bool = True,
        about: Callable[[Any], Hashable] = about_step,
    ) -> None:
        self._about = about if coalesces else _nothing
        self._min_interval = min_interval
        self._by_run = by_run  # else all changes count as of one run, and so come in order
        self._size = 0
        self._ready: OrderedDict[Any, _Line] = OrderedDict()  # by run, the next one first
        self._busy: dict[Any, _Line] = {}
        self._taken_runs: dict[int, Any] = {}  # the run of each entry taken: its object may name another one by now
        self._progress: dict[Hashable, tuple[Entry, Any]] = {}  # what waits, and its run, by what it is about
        self._next_call: OrderedDict[Hashable, float] = OrderedDict()  # when progress may be taken again, soonest first
        self._held: set[Hashable] = set()  # whose progress waits in no line
        self._timers: list[tuple[float, int, Hashable]] = []  # a heap: when each of them is due
        self._timer_numbers = count()  # so that what they are about is never compared

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[Entry]:
        """Give everything that waits, each line in order."""
        for line in (*self._ready.values(), *self._busy.values()):
            yield from line.values()
        yield from (self._progress[about][0] for about in self._held)

    def put(self, entry: Entry) -> Entry | None:
        """Append an entry, and return the one that it replaces, if any."""
        change, replaced = entry[0], None
        run = getattr(change, "run_id", None) if self._by_run else None  # those that name no run count as of one run
        about, is_progress = self._about(change), isinstance(change, PROGRESS)
        is_held = about in self._held
        if not (is_progress and is_held):
            self._join(entry, run)
        if about in self._progress and (is_progress or self._is_ended_by(change, about)):
            replaced, its_run = self._progress.pop(about)
            self._size -= 1
            if not is_held:
                self._leave(replaced, its_run)
            elif not is_progress:
                self._held.remove(about)
        if about and is_progress:
            self._progress[about] = entry, run
        self._size += 1
        return replaced

    def take(self, now: float) -> Entry | None:
        """Return the next entry, to be finished before others of its run; None where none may be delivered yet."""
        while self.due() <= now:
            self._end_hold()
        while self._ready:
            run, line = self._ready.popitem(last=False)
            _, entry = line.popitem(last=False)
            about = self._about(entry[0])
            if self._next_call.get(about, now) <= now or not isinstance(entry[0], PROGRESS):
                self._busy[run] = line
                self._taken_runs[id(entry)] = run
                self._size -= 1
                if about and isinstance(entry[0], PROGRESS):
                    del self._progress[about]
                if about and self._min_interval:
                    self._count_call(about, now)
                return entry
            self._held.add(about)
            self._push_timer(self._next_call[about], about)
            if line:
                self._ready[run] = line
        return None

    def finish(self, entry: Entry) -> None:
        """Let the next entry of its run be taken, after those of the runs that are ready."""
        self._free(self._taken_runs.pop(id(entry)))

    def take_many(self, now: float, most: int) -> list[Entry]:
        """Return the next entries, at most so many, to be finished together before others of their runs."""
        entries: list[Entry] = []
        while len(entries) < most and (entry := self.take(now)) is not None:
            entries.append(entry)
            self._free(self._taken_runs[id(entry)])  # the next one of its run may follow it
        for run in {self._taken_runs[id(entry)] for entry in entries}:
            self._busy[run] = self._ready.pop(run, OrderedDict())
        return entries

    def finish_many(self, entries: Iterable[Entry]) -> None:
        """Let the next entries of their runs be taken."""
        for run in dict.fromkeys([self._taken_runs.pop(id(entry)) for entry in entries]):
            self._free(run)

    def due(self) -> float:
        """Return when the next entry that is held back may be delivered: infinity where none is."""
        while self._timers:
            due, _, about = self._timers[0]
            if about in self._held and self._next_call.get(about, due) == due:  # none: it was forgotten as over
                return due
            heapq.heappop(self._timers)  # it was replaced by an end, or another call put it off
        return math.inf

    def has_newer(self, entry: Entry) -> bool:
        """Return whether newer progress waits that makes another attempt at `entry` needless."""
        return isinstance(entry[0], PROGRESS) and self._about(entry[0]) in self._progress

    def again_at(self, entry: Entry) -> float:
        """Return when another attempt at an entry that was taken may be made."""
        return self._next_call.get(self._about(entry[0]), -math.inf) if self._min_interval else -math.inf

    def count_call(self, entry: Entry, now: float) -> None:
        """Note another attempt at an entry that was taken. Progress of the same waits from now on."""
        about = self._about(entry[0])
        if about and self._min_interval:
            self._count_call(about, now)

    def release(self) -> None:
        """Let everything that is held back be taken now."""
        while self.due() < math.inf:
            self._end_hold()
        self._next_call.clear()

    def hurry(self) -> None:
        """Hold nothing back any more."""
        self._min_interval = 0.0
        self.release()

    def clear(self) -> list[Entry]:
        """Return everything that waits, and empty the queue."""
        entries = list(self)
        for line in self._busy.values():
            line.clear()
        self._ready.clear()
        self._progress.clear()
        self._held.clear()
        self._size = 0
        return entries

    def _free(self, run: Any) -> None:
        """Let the entries of a run be taken that was busy."""
        if line := self._busy.pop(run):
            self._ready[run] = line

    def _join(self, entry: Entry, run: Any) -> None:
        """Append an entry to the line of its run."""
        line = self._busy[run] if run in self._busy else self._ready.setdefault(run, OrderedDict())
        line[id(entry)] = entry

    def _leave(self, entry: Entry, run: Any) -> None:
        """Remove an entry from the line of its run."""
        line = self._busy.get(run) or self._ready[run]
        del line[id(entry)]
        if not line:
            self._ready.pop(run, None)

    def _end_hold(self) -> None:
        """Let what is due first join its line."""
        _, _, about = heapq.heappop(self._timers)
        self._held.remove(about)
        self._join(*self._progress[about])

    def _is_ended_by(self, change: Any, about: Hashable) -> bool:
        """Return whether the progress that waits tells nothing any more, so that it need not be held back."""
        return self._min_interval > 0 and ends(change, self._progress[about][0][0])

    def _push_timer(self, due: float, about: Hashable) -> None:
        heapq.heappush(self._timers, (due, next(self._timer_numbers), about))

    def _count_call(self, about: Hashable, now: float) -> None:
        due = self._next_call[about] = now + self._min_interval
        self._next_call.move_to_end(about)
        if about in self._held:
            self._push_timer(due, about)
        while self._next_call and next(iter(self._next_call.values())) <= now:
            self._next_call.popitem(last=False)


def _nothing(change: Any) -> Hashable:
    """Return that a change replaces none."""
    return ""
