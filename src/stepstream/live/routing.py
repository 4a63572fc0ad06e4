"""Routing: each change goes to the mailboxes of its class, and of those with a filter only to the ones it may pass.

How it works: `Routes` holds the mailboxes of a processor, one `_Route` a class of change. A mailbox with a filter is
found by the value that it asks for, in a table, and one for a context in the tables of that context: the others cost
nothing, however many they are.

`version` changes whenever a mailbox comes or goes. The fast path keeps what it looked up for as long as that stays,
and makes no progress that no mailbox wants. `wanted` has the classes that any mailbox asked for: the fold makes no
changes of others.
"""

import logging
from collections import deque
from collections.abc import Hashable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from stepstream.fold.builder import SnapshotBuilder
from stepstream.fold.changes import NO_DELTA, Change, MessageTransition, RunTransition, StepTransition
from stepstream.live.coalescing import PROGRESS
from stepstream.live.context_keys import context_key
from stepstream.live.mailbox import Mailbox
from stepstream.live.run_ends import RunEnds

_ENDS: Final = (StepTransition, RunTransition, MessageTransition)
"""What `RunEnds` looks at."""

MAX_FOUND: Final = 256
"""For so many steps or messages that grow a route keeps which mailboxes want their progress."""

MAX_FAILED: Final = 100
"""How many mailboxes are kept for the statistics that were closed because of a failure."""

_log = logging.getLogger("stepstream.live")


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


NO_ROUTES: Final[Mapping[type[Change], _Route]] = {}


class Routes:
    """The mailboxes of one processor."""

    def __init__(self, failed: Iterable[Mailbox] = ()) -> None:
        self.by_class: dict[type[Change], _Route] = {}
        """The route of each class of change that a mailbox wants, whatever its context."""
        self.by_context: dict[Hashable, dict[type[Change], _Route]] = {}
        """The routes to those that want one context only, by its key."""
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
            self.by_context.clear()
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

    def mailboxes_for(self, kind: type[Change], builder: SnapshotBuilder[Any], context: Any) -> list[Mailbox]:
        """Return the open mailboxes that may want that kind of progress of a step or message in a context."""
        routes = self.by_class.get(kind), self._in_context(context).get(kind)
        return [one for route in routes if route for one in route.for_builder(builder) if not one.is_closed]

    def mailboxes_of(self, change: Change) -> Sequence[Mailbox]:
        """Return the mailboxes whose filter a change may pass."""
        route = self.by_class.get(type(change))
        found = route.of(change) if route is not None else ()
        own = self._in_context(change.context).get(type(change)) if self.by_context else None
        return found if own is None else [*found, *own.of(change)]

    def _in_context(self, context: Any) -> Mapping[type[Change], _Route]:
        """Return the routes to those that want one context only."""
        if not self.by_context:
            return NO_ROUTES
        try:
            return self.by_context.get(context_key(context), NO_ROUTES)
        except Exception as exc:  # noqa: BLE001 - of the user's class, where it is compared
            _log.error("a context cannot be compared", exc_info=exc)
            return NO_ROUTES

    def _route(self, mailbox: Mailbox) -> None:
        routes = self.by_class if mailbox.context is None else self.by_context.setdefault(mailbox.context[0], {})
        for wanted in dict.fromkeys(mailbox.classes):
            routes.setdefault(wanted, _Route(wanted)).add(mailbox)

    def _on_close(self, mailbox: Mailbox) -> None:
        if mailbox.failure is not None:
            self.failed.append(mailbox)
        self.run_ends.remove(mailbox)
        self._closed += 1
        self.version += 1
