"""Fan-out: each change goes to the subscriptions of its class, and of those with a filter only to the ones it may pass.

How it works: a change is handed on as it is made, without waiting, so what one event did reaches every queue or none,
and no cancellation can come between. Only then does the stream wait, where a queue is at its bound. So a queue may
exceed its bound by what one event of each stream does. A subscription that filters by a word is found by that word:
however many others there are, they cost nothing. Progress that nobody wants is not made at all.
"""

import math
from collections import deque
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

from stepstream.fold.changes import Change
from stepstream.fold.growing import Growing
from stepstream.live.backlog import PROGRESS
from stepstream.live.ledger import Ledger
from stepstream.live.subscription import Subscription

REMEMBERED: Final = 256
"""For so many steps or messages that grow, a route remembers who wants their progress."""

UNHURRIED: Final = 0.0005
"""A stream that wakes subscribers no sooner than so many seconds after another is slow."""

REMEMBERED_FAILED: Final = 100
"""So many subscriptions are remembered that were closed for what went wrong."""


class _Route:
    """The subscriptions that want one class of change."""

    __slots__ = ("by_word", "found", "kind", "plain")

    def __init__(self, kind: type[Change]) -> None:
        self.kind: Any = kind
        self.plain: list[Subscription] = []
        self.by_word: dict[str, dict[Any, list[Subscription]]] = {}
        """By the attribute that is looked at, and its value."""
        self.found: dict[int, tuple[object, list[Subscription]]] = {}
        """Those found for each object that grows, by its identity; it is kept so that this stays its own."""

    def add(self, subscription: Subscription) -> None:
        """Add one. Who adds may be iterating over a list just now: it is replaced, not changed."""
        self.found.clear()
        if subscription.key is None:
            self.plain = [*self.plain, subscription]
            return
        attribute, words = subscription.key
        if attribute not in self.by_word:
            self.by_word = {**self.by_word, attribute: {}}
        table = self.by_word[attribute]
        for word in words:
            table[word] = [*table.get(word, ()), subscription]

    def of(self, change: Any) -> list[Subscription]:
        """Return the subscriptions that a change may pass."""
        if not self.by_word:
            return self.plain
        return self.of_growing(change._growing) if self.kind in PROGRESS else self._look_up(change)

    def of_growing(self, growing: Growing[Any]) -> list[Subscription]:
        """Return the subscriptions that may want the progress of a step or message.

        Progress comes by the thousand, and what filters look at does not change with it: they are looked up once.
        """
        if not self.by_word:
            return self.plain
        base = growing.base
        known = self.found.get(id(base))
        if known is None:
            if len(self.found) >= REMEMBERED:
                self.found.clear()
            progress = self.kind("", 0, None, None, False, growing, b"")
            known = self.found[id(base)] = base, self._look_up(progress)
        return known[1]

    def _look_up(self, change: Any) -> list[Subscription]:
        tables = self.by_word.items()
        named = [one for attribute, table in tables for one in table.get(getattr(change, attribute), ())]
        return [*self.plain, *named] if named else self.plain


class Hub:
    """The subscriptions of one processor."""

    def __init__(self) -> None:
        self.routes: dict[type[Change], _Route] = {}
        """The way of each class of change that somebody wants."""
        self._all: list[Subscription] = []
        self._closed = 0
        self.failed: deque[Subscription] = deque(maxlen=REMEMBERED_FAILED)
        """The newest that were closed for what went wrong."""
        self.version = 0
        """Another one with every subscription that comes or goes."""

    def __len__(self) -> int:
        return len(self._all) - self._closed

    @property
    def newest(self) -> list[Subscription]:
        """The subscriptions that still receive, and some that did."""
        return self._all

    @property
    def open(self) -> list[Subscription]:
        """The subscriptions that still receive."""
        return [subscription for subscription in self._all if not subscription.is_closed]

    def add(self, subscription: Subscription) -> None:
        """Route changes to one more subscription. Forget those that were closed, once they are many."""
        if self._closed > len(self._all) // 2:
            self._all, self._closed = self.open, 0
            self.routes.clear()
            for one in self._all:
                self._route(one)
        self.version += 1
        self._all.append(subscription)
        subscription.on_close = partial(self._note_closed, subscription)
        self._route(subscription)

    def listeners(self, kind: type[Change], growing: Growing[Any]) -> list[Subscription]:
        """Return the open subscriptions that may want that kind of progress of a step or message."""
        route = self.routes.get(kind)
        return [] if route is None else [one for one in route.of_growing(growing) if not one.is_closed]

    def _route(self, subscription: Subscription) -> None:
        for wanted in dict.fromkeys(subscription.classes):
            self.routes.setdefault(wanted, _Route(wanted)).add(subscription)

    def _note_closed(self, subscription: Subscription) -> None:
        if subscription.failure is not None:
            self.failed.append(subscription)
        self._closed += 1
        self.version += 1


class Listeners:
    """The subscriptions of a hub, as one stream meets them."""

    __slots__ = ("_routes", "_woken_at", "full", "has_woken", "ledgers")

    def __init__(self, hub: Hub) -> None:
        self._routes = hub.routes
        self.full: list[Subscription] = []
        """Those that the stream must wait for now."""
        self.ledgers: dict[Subscription, Ledger] = {}
        """What the changes of the stream owe to each of them."""
        self.has_woken = False
        self._woken_at = -math.inf

    def let_run(self, now: float) -> bool:
        """Tell whether those woken should run before the stream goes on: where changes come slowly, it costs little.

        Else the stream would first make everything ready to wait, and they would hear of the change later.
        """
        self.has_woken = False
        before, self._woken_at = self._woken_at, now
        return now - before > UNHURRIED

    def hear(self, change: Change, listeners: Sequence[Subscription] | None = None) -> bool:
        """Hand a change to its listeners, found out where they are not known. Return whether to wait for one now."""
        if listeners is None:
            route = self._routes.get(type(change))
            listeners = () if route is None else route.of(change)
        ledgers = self.ledgers
        for subscription in listeners:
            ledger = ledgers.get(subscription)
            if ledger is None:
                ledger = ledgers[subscription] = Ledger(self)
            if subscription.offer(change, ledger):
                self.full.append(subscription)
        return bool(self.full)
