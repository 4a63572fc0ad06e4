"""Routing: each change goes to the mailboxes of its class, and of those with a filter only to the ones it may pass.

How it works: `Routes` holds the mailboxes of a processor, one `_Route` a class of change. A mailbox with a filter is
found by the value that it asks for, in a table: the others cost nothing, however many they are. `StreamFanout` hands a
change to the mailboxes as it is made and never waits, so what one event did reaches every queue or none, and no
cancellation can come between. Only then does the stream wait for those in `full`: a queue may exceed its bound by what
one event of each stream does.

`version` changes whenever a mailbox comes or goes. The fast path keeps what it looked up for as long as that stays,
and makes no progress that no mailbox wants. `wanted` has the classes that any mailbox asked for: the fold makes no
changes of others.
"""

import math
from collections import deque
from collections.abc import Iterable, Sequence
from contextvars import copy_context
from functools import partial
from typing import Any, Final

from stepstream.fold.builder import SnapshotBuilder
from stepstream.fold.changes import NO_DELTA, Change, MessageTransition, RunTransition, StepTransition
from stepstream.live.coalescing import PROGRESS
from stepstream.live.mailbox import Mailbox
from stepstream.live.pending import PendingCount
from stepstream.live.run_ends import RunEnds

_ENDS: Final = (StepTransition, RunTransition, MessageTransition)
"""What `RunEnds` looks at."""

MAX_FOUND: Final = 256
"""For so many steps or messages that grow a route keeps which mailboxes want their progress."""

SLOW_STREAM_GAP: Final = 0.0005
"""Seconds. A stream that wakes subscribers less often than this is slow."""

MAX_FAILED: Final = 100
"""How many mailboxes are kept for the statistics that were closed because of a failure."""


class _Route:
    """The mailboxes that want one class of change."""

    __slots__ = ("by_value", "found", "kind", "unfiltered")

    def __init__(self, kind: type[Change]) -> None:
        self.kind: Any = kind
        self.unfiltered: list[Mailbox] = []
        self.by_value: dict[str, dict[Any, list[Mailbox]]] = {}
        """By the attribute that a filter looks at, and its value."""
        self.found: dict[int, tuple[object, list[Mailbox]]] = {}
        """Those found for each object that grows, by its `id()`. The object is kept with them, so that no other gets
        that `id()`."""

    def add(self, mailbox: Mailbox) -> None:
        """Add a mailbox. Lists are replaced, not changed: whatever adds one may be called while a list is iterated."""
        self.found.clear()
        if mailbox.key is None:
            self.unfiltered = [*self.unfiltered, mailbox]
            return
        attribute, values = mailbox.key
        if attribute not in self.by_value:
            self.by_value = {**self.by_value, attribute: {}}
        table = self.by_value[attribute]
        for value in values:
            table[value] = [*table.get(value, ()), mailbox]

    def of(self, change: Any) -> list[Mailbox]:
        """Return the mailboxes whose filter a change may pass."""
        if not self.by_value:
            return self.unfiltered
        return self.for_builder(change._held) if self.kind in PROGRESS else self._look_up(change)

    def for_builder(self, builder: SnapshotBuilder[Any]) -> list[Mailbox]:
        """Return the mailboxes that may want the progress of a step or message.

        Progress comes by the thousand, and the attributes that filters look at stay the same with it: they are looked
        up once for each full object.
        """
        if not self.by_value:
            return self.unfiltered
        base = builder.base
        known = self.found.get(id(base))
        if known is None:
            if len(self.found) >= MAX_FOUND:
                self.found.clear()
            progress = self.kind("", 0, None, "", None, False, builder, b"", NO_DELTA)
            known = self.found[id(base)] = base, self._look_up(progress)
        return known[1]

    def _look_up(self, change: Any) -> list[Mailbox]:
        tables = self.by_value.items()
        named = [one for attribute, table in tables for one in table.get(getattr(change, attribute), ())]
        return [*self.unfiltered, *named] if named else self.unfiltered


class Routes:
    """The mailboxes of one processor."""

    def __init__(self, failed: Iterable[Mailbox] = ()) -> None:
        self.by_class: dict[type[Change], _Route] = {}
        """The route of each class of change that a mailbox wants."""
        self._all: list[Mailbox] = []
        self._closed = 0
        self.failed: deque[Mailbox] = deque(failed, maxlen=MAX_FAILED)
        """The newest that were closed because of a failure."""
        self.wanted: set[type[Any]] = set()
        """The classes of changes that were ever wanted here. It grows while streams are read."""
        self.run_ends = RunEnds()
        self.version = 0
        """Rises with every mailbox that comes or goes."""

    def __len__(self) -> int:
        return len(self._all) - self._closed

    @property
    def newest(self) -> list[Mailbox]:
        """The open mailboxes, and some of the closed ones."""
        return self._all

    @property
    def open(self) -> list[Mailbox]:
        """The mailboxes that still take changes."""
        return [mailbox for mailbox in self._all if not mailbox.is_closed]

    def add(self, mailbox: Mailbox) -> None:
        """Route changes to one more mailbox. Closed ones are removed once they are more than half."""
        if self._closed > len(self._all) // 2:
            self._all, self._closed = self.open, 0
            self.by_class.clear()
            for one in self._all:
                self._route(one)
        self.version += 1
        self.wanted.update(mailbox.classes, () if mailbox.run_ids is None else _ENDS)
        self._all.append(mailbox)
        mailbox.on_close = partial(self._on_close, mailbox)
        self.run_ends.add(mailbox)
        self._route(mailbox)

    def reopened(self, closed: Iterable[Mailbox]) -> "Routes":
        """Return new routes to those of `closed` that take changes again: callbacks that were not dismissed."""
        again = Routes(one for one in self.failed if one not in closed)
        for mailbox in closed:
            if mailbox.has_callback and not mailbox.is_dismissed:
                mailbox.reopen()
                again.add(mailbox)
        return again

    def mailboxes_for(self, kind: type[Change], builder: SnapshotBuilder[Any]) -> list[Mailbox]:
        """Return the open mailboxes that may want that kind of progress of a step or message."""
        route = self.by_class.get(kind)
        return [] if route is None else [one for one in route.for_builder(builder) if not one.is_closed]

    def _route(self, mailbox: Mailbox) -> None:
        for wanted in dict.fromkeys(mailbox.classes):
            self.by_class.setdefault(wanted, _Route(wanted)).add(mailbox)

    def _on_close(self, mailbox: Mailbox) -> None:
        if mailbox.failure is not None:
            self.failed.append(mailbox)
        self.run_ends.remove(mailbox)
        self._closed += 1
        self.version += 1


class StreamFanout:
    """Hands the changes of one stream to the mailboxes, and knows which of them the stream must wait for.

    It is made where the stream is started: callbacks see the contextvars of that moment.
    """

    __slots__ = (
        "__weakref__", "_by_class", "_earlier", "_forget_at", "_woken_at", "full", "has_woken", "lost", "pending",
        "variables",
    )  # fmt: skip

    def __init__(self, routes: Routes) -> None:
        self._by_class = routes.by_class
        self.variables = copy_context()
        self.full: list[Mailbox] = []
        """Those that the stream must wait for now."""
        self.pending: dict[Mailbox, PendingCount] = {}
        """How many changes of the stream each of them has not had, those of `_earlier` not counted."""
        self._earlier: list[tuple[Mailbox, PendingCount]] = []
        self.lost: dict[str | None, int] = {}
        """The event of the first change of each run that a subscriber was closed with."""
        self._forget_at = MAX_FOUND  # so many in `pending` are looked through for closed ones
        self.has_woken = False
        self._woken_at = -math.inf

    def should_yield(self, now: float) -> bool:
        """Return whether the subscribers just woken should run before the stream goes on.

        Where changes come slowly that costs little, and saves them the time in which the stream would first get ready
        to wait for its next chunk.
        """
        self.has_woken = False
        before, self._woken_at = self._woken_at, now
        return now - before > SLOW_STREAM_GAP

    def until_now(self) -> list[tuple[Mailbox, PendingCount]]:
        """Return the counts of what has come so far, as far as it was not delivered: what comes now is counted anew."""
        late = [(mailbox, pending) for mailbox, pending in self.pending.items() if pending.count]
        self._earlier = [*(one for one in self._earlier if one[1].count), *late]
        self.pending.update((mailbox, PendingCount(self, self.variables)) for mailbox, _ in late)
        return self._earlier

    def lose(self, change: Any) -> None:
        """Record that a subscriber was closed before it had dealt with a change."""
        run_id = change.run_id
        self.lost[run_id] = min(change.sequence, self.lost.get(run_id, change.sequence))

    def _forget_closed(self) -> None:
        """Keep no closed mailbox that has had everything: a long stream may meet any number of them.

        All are looked at once they have doubled, so that each new one costs the same, however many are open.
        """
        counts = self.pending
        for mailbox in [one for one, pending in counts.items() if one.is_closed and not pending.count]:
            del counts[mailbox]
        self._forget_at = max(MAX_FOUND, 2 * len(counts))

    def dispatch(self, change: Change) -> bool:
        """Hand a change to the mailboxes that want it. Return whether the stream must wait now."""
        route = self._by_class.get(type(change))
        return self.hand_over((change,), route.of(change)) if route is not None else bool(self.full)

    def hand_over(self, changes: Sequence[Change], mailboxes: Sequence[Mailbox]) -> bool:
        """Hand changes to `mailboxes`, no more than these have room for. Return whether the stream must wait now."""
        counts = self.pending
        for mailbox in mailboxes:
            pending = counts.get(mailbox)
            if pending is None:
                if len(counts) >= self._forget_at:
                    self._forget_closed()
                pending = counts[mailbox] = PendingCount(self, self.variables)
            if mailbox.offer(changes, pending):
                self.full.append(mailbox)
        return bool(self.full)
