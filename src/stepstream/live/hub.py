"""Fan-out: each change goes to the subscriptions of its class.

How it works: publishing is synchronous, so what one event did reaches every queue or none, and no cancellation can
come between. Only then does the stream wait, where a queue is at its bound. So a queue may exceed its bound by what
one event of each stream does.
"""

from collections.abc import Iterable

from stepstream.fold.changes import Change
from stepstream.live.subscription import Subscription


class Hub:
    """The subscriptions of one processor, by the class of change they want."""

    def __init__(self) -> None:
        self._routes: dict[type[Change], list[Subscription]] = {}
        self._all: list[Subscription] = []

    def __len__(self) -> int:
        return len(self.open)

    @property
    def open(self) -> list[Subscription]:
        """The subscriptions that still receive."""
        return [subscription for subscription in self._all if not subscription.is_closed]

    def add(self, subscription: Subscription) -> None:
        """Route changes to one more subscription; forget those that were closed."""
        self._all = [*self.open, subscription]
        self._routes = {}
        for one in self._all:
            for wanted in one.classes:
                route = self._routes.setdefault(wanted, [])
                if one not in route:
                    route.append(one)

    def publish(self, changes: Iterable[Change], marks: dict[Subscription, int]) -> list[Subscription]:
        """Hand `changes` to their subscriptions, in order. Return those that the stream must wait for now.

        `marks` is told how far each of them must come until it has had them.
        """
        full = []
        for change in changes:
            for subscription in self._routes.get(type(change), ()):
                if not subscription.offer(change):
                    continue
                marks[subscription] = subscription.offered
                if subscription.is_full and subscription not in full:
                    full.append(subscription)
        return full
