"""Fan-out: each change goes to the subscriptions of its class, and of those with a filter only to the ones it may pass.

How it works: publishing is synchronous, so what one event did reaches every queue or none, and no cancellation can
come between. Only then does the stream wait, where a queue is at its bound. So a queue may exceed its bound by what
one event of each stream does. A subscription that filters by a word is found by that word: however many others there
are, they cost nothing.
"""

from collections.abc import Iterable
from typing import Any, Final

from stepstream.fold.changes import Change
from stepstream.live.backlog import PROGRESS
from stepstream.live.ledger import Ledger
from stepstream.live.subscription import Subscription

Ledgers = dict[Subscription, Ledger]
"""What the changes of one stream owe to each subscription."""


REMEMBERED: Final = 256
"""For so many steps or messages that grow, a route remembers who wants their progress."""


class _Route:
    """The subscriptions that want one class of change."""

    __slots__ = ("by_word", "found", "grown", "is_progress", "last", "plain", "quiet")

    def __init__(self, wanted: type[Change]) -> None:
        self.plain: list[Subscription] = []
        self.by_word: dict[str, dict[Any, list[Subscription]]] = {}
        """By the attribute that is looked at, and its value."""
        self.is_progress = wanted in PROGRESS
        self.found: dict[int, tuple[object, list[Subscription]]] = {}
        """Those found for the object that grows, by its identity; it is kept so that this stays its own."""
        self.grown: object = None
        self.last: list[Subscription] = []
        """Those found for `grown`, the object that grew last."""
        self.quiet: object = None
        """An object whose progress nobody wants."""

    def add(self, subscription: Subscription) -> None:
        """Add one. Who adds may be iterating over a list just now: it is replaced, not changed."""
        self.found.clear()
        self.grown = self.quiet = None
        if subscription.key is None:
            self.plain = [*self.plain, subscription]
            return
        attribute, words = subscription.key
        if attribute not in self.by_word:
            self.by_word = {**self.by_word, attribute: {}}
        table = self.by_word[attribute]
        for word in words:
            table[word] = [*table.get(word, ()), subscription]

    def by_words_of(self, change: Any) -> list[Subscription]:
        """Return the subscriptions that a change may pass, of those with a filter."""
        if not self.is_progress:
            return self._look_up(change)
        base = change._growing.base  # progress comes by the thousand, and what is looked at does not change with it
        known = self.found.get(id(base))
        if known is None:
            if len(self.found) >= REMEMBERED:
                self.found.clear()
            known = self.found[id(base)] = base, self._look_up(change)
        self.grown, self.last = known
        self.quiet = None if self.last or self.plain else base
        return self.last

    def _look_up(self, change: Any) -> list[Subscription]:
        tables = self.by_word.items()
        return [one for attribute, table in tables for one in table.get(getattr(change, attribute), ())]


class Hub:
    """The subscriptions of one processor."""

    def __init__(self) -> None:
        self._routes: dict[type[Change], _Route] = {}
        self._all: list[Subscription] = []
        self._closed = 0

    def __len__(self) -> int:
        return len(self._all) - self._closed

    @property
    def open(self) -> list[Subscription]:
        """The subscriptions that still receive."""
        return [subscription for subscription in self._all if not subscription.is_closed]

    def add(self, subscription: Subscription) -> None:
        """Route changes to one more subscription. Forget those that were closed, once they are many."""
        if self._closed > len(self._all) // 2:
            self._all, self._routes, self._closed = self.open, {}, 0
            for one in self._all:
                self._route(one)
        self._all.append(subscription)
        subscription.on_close = self._count_closed
        self._route(subscription)

    def publish(self, changes: Iterable[Any], ledgers: Ledgers) -> list[Subscription]:
        """Hand `changes` to their subscriptions, in order. Return those that the stream must wait for now.

        `ledgers` are told what each of them has not had.
        """
        full: list[Subscription] = []
        routes = self._routes
        for change in changes:
            route = routes.get(type(change))
            if route is None:
                continue
            quiet = route.quiet  # looked at first: it is why a filter that nothing passes costs nothing
            if quiet is not None and change._growing.base is quiet:
                continue
            for subscription in route.plain:
                ledger = ledgers.get(subscription)
                if ledger is None:
                    ledger = ledgers[subscription] = Ledger()
                if subscription.offer(change, ledger):
                    full.append(subscription)
            if not route.by_word or (route.is_progress and route.grown is change._growing.base and not route.last):
                continue
            found = route.by_words_of(change)
            full += [one for one in found if one.offer(change, ledgers.setdefault(one, Ledger()))]
        return full

    def _route(self, subscription: Subscription) -> None:
        for wanted in dict.fromkeys(subscription.classes):
            self._routes.setdefault(wanted, _Route(wanted)).add(subscription)

    def _count_closed(self) -> None:
        self._closed += 1
