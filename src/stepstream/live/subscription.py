"""One subscriber: what it wants, what waits for it, and how far it is."""

import inspect
import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Final, Generic, Protocol, Self, TypeAlias, TypeVar, cast

import anyio
import anyio.lowlevel

from stepstream.errors import SubscriberTooSlow
from stepstream.fold.changes import Change
from stepstream.fold.present import REPLAYED
from stepstream.live.backlog import PROGRESS, Entry, Queue, backlog_of
from stepstream.live.failure import Failure, SubscriberStatistics
from stepstream.live.filters import Wanted
from stepstream.live.ledger import Ledger, Room
from stepstream.live.options import Delivery
from stepstream.live.signal import Signal

Callback: TypeAlias = Callable[[Any], Awaitable[object]]

MAX_WAITING: Final = 100_000
"""A subscriber that is never waited for is closed when so many changes wait that must not be dropped."""

_log = logging.getLogger("stepstream.live")


class Hand(Protocol):
    """Who makes one call at a time."""

    def let_go(self) -> None:
        """Let nobody wait any more for the change in hand, and make no further attempt."""

    def cancel(self) -> None:
        """Cancel the call."""


class Subscription:
    """One subscriber's registration. Its changes come in the order of their stream, one at a time for each run.

    The counters say how many changes passed the filters (`offered`), were taken (`delivered`), were replaced by newer
    progress (`coalesced`), lost when it was closed (`dropped`), attempted again (`retried`), and at how many the
    callback or the `where` predicate failed (`failed`).
    """

    def __init__(
        self, classes: Sequence[type[Any]], wanted: Wanted, delivery: Delivery, callback: Callback | None
    ) -> None:
        self.classes = tuple(classes)
        self.key = wanted.key
        self.tests = wanted.tests
        self.callback = cast(Callable[[Any], Coroutine[Any, Any, object]] | None, callback)
        self.delivery = delivery
        self.offered = self.delivered = self.coalesced = self.dropped = self.retried = self.failed = 0
        self.failures_in_a_row = 0
        self.is_closed = False
        self.is_ending = False
        self.failure: Exception | None = None
        """Why it was closed, where it was not asked to."""
        self.on_failure: Callable[[Failure], bool] | None = None
        """Told of each failure by the processor; whether it took it."""
        self.on_close: Callable[[], None] | None = None
        self.arrived = Signal()
        self.backlog = backlog_of(delivery)
        self.room = Room(delivery.buffer)
        self._put = self.backlog.put
        self.take_now: Callable[[], Entry] = self.backlog.pop if isinstance(self.backlog, Queue) else _nothing
        """Returns the next entry where nothing can stand against that; else raises `IndexError`: see `take`."""
        self._is_paced = delivery.min_interval > 0
        self._replays = delivery.replay
        self._holds = self._is_paced or self._replays
        self._is_shared = delivery.concurrency > 1
        self._blocks = delivery.overflow == "block"
        self._is_plain = isinstance(self.backlog, Queue) and not self._holds
        self.hands: list[Hand] = []
        """Those who call the callback."""

    def __repr__(self) -> str:
        names = "|".join(one.__name__ for one in self.classes)
        closed = " closed" if self.is_closed else ""
        waiting = len(self.backlog)
        return f"<Subscription {names}{closed} {self.delivered:,} delivered, {waiting} waiting, {self.failed:,} failed>"

    @property
    def has_callback(self) -> bool:
        """Whether changes are delivered to a callback; else they wait for an iterator."""
        return self.callback is not None

    @property
    def name(self) -> str:
        """What people call it: the name of its callback, or of that one's class. Its `repr` may hold anything."""
        if self.callback is None:
            return "iterator"
        function = getattr(self.callback, "func", self.callback)  # of a partial
        return str(getattr(function, "__qualname__", type(function).__qualname__))

    @property
    def left(self) -> int:
        """How many changes it has not had, those dropped included."""
        return self.offered - self.delivered - self.coalesced

    def statistics(self) -> SubscriberStatistics:
        """Return its counters."""
        return SubscriberStatistics(
            name=self.name,
            offered=self.offered,
            delivered=self.delivered,
            waiting=len(self.backlog),
            coalesced=self.coalesced,
            dropped=self.dropped,
            retried=self.retried,
            failed=self.failed,
            is_closed=self.is_closed,
        )

    def close(self) -> None:
        """Receive nothing any more. What still waits is dropped, and no stream waits for this subscriber."""
        if not self.is_closed and self.on_close is not None:
            self.on_close()
        self.is_closed = self.is_ending = True
        for entry in self.backlog.clear():
            self.dropped += 1
            self.forget(entry)
        for hand in self.hands:
            hand.let_go()
        self.arrived.notify()
        self.room.close()

    def abandon(self) -> None:
        """Close it, and cancel the calls that its callback is in."""
        self.close()
        for hand in self.hands:
            hand.cancel()

    def give_up(self, reason: str) -> None:
        """Close it because it is too slow. Whoever iterates is told."""
        self.failure = SubscriberTooSlow(reason)
        self.tell(Failure(self, None, self.failure, 1, True))
        self.abandon()

    def release(self) -> None:
        """Let what is held back be delivered now."""
        self.backlog.release()
        self.arrived.notify()

    def end(self) -> None:
        """Take nothing new. What waits is still delivered, and nothing is held back."""
        self.is_ending = True
        self.backlog.hurry()
        self.arrived.notify()

    def is_for(self, change: Change) -> bool:
        """Tell whether a change is of its classes, and passes the filter by which it is found."""
        if type(change) not in self.classes:
            return False
        return self.key is None or getattr(change, self.key[0]) in self.key[1]

    def offer(self, change: Any, ledger: Ledger) -> bool:
        """Queue `change` if it passes the filters. Return whether the stream must wait for room now.

        The queue may pass its bound, see `hub`.
        """
        if self.is_ending or (self.tests and (not self._matches(change) or self.is_ending)):  # a test may close it
            return False
        self.offered += 1
        ledger.owed += 1
        room = self.room
        room.taken += 1
        if self._holds and self._brings_room(change):
            room.held += 1
        replaced = self._put((change, ledger))
        if replaced is not None:
            self.coalesced += 1
            self.forget(replaced)
        if self.arrived.event is not None:
            self.arrived.notify()
            if ledger.stream is not None:
                ledger.stream.has_woken = True
        return room.taken >= room.size and room.is_full and (self._blocks or self._overflow())

    def _matches(self, change: Change) -> bool:
        try:
            return all(test(change) for test in self.tests)
        except Exception as exc:  # noqa: BLE001 - the user's predicate: its trouble must not stop the stream
            self.failed += 1
            self.tell(Failure(self, change, exc, 1, True))
            return False

    def _overflow(self) -> bool:
        """Close it where that is asked for, or where too much waits. No stream waits."""
        closes = self.delivery.overflow == "close"
        waiting, limit = (self.room.counted, self.room.size) if closes else (self.room.taken, MAX_WAITING)
        if waiting > limit:
            _log.error("closed the subscriber %s: %d changes waited for it", self.name, waiting)
            self.give_up(f"closed a subscriber for which {waiting:,} changes waited")
        return False

    def take_in(self, entry: Entry) -> None:
        """Count an entry as delivered, and dealt with."""
        self.failures_in_a_row = 0
        self.delivered += 1
        if not self._is_plain or self.is_ending:
            self.settle(entry)
            return
        room, ledger = self.room, entry[1]  # as `settle` does, for most
        room.taken -= 1
        if room.line:
            room.wake()
        ledger.owed -= 1
        if not ledger.owed:
            ledger.wake()

    def settle(self, entry: Entry) -> None:
        """Note that an entry that was taken has been dealt with."""
        self.backlog.finish(entry)
        self.forget(entry)
        if self.is_ending or self._is_shared:  # the next of its run is for whoever is free
            self.arrived.notify()

    def forget(self, entry: Entry) -> None:
        """Count an entry as dealt with."""
        room, ledger = self.room, entry[1]
        room.taken -= 1
        if self._holds and self._brings_room(entry[0]):
            room.held -= 1
        if room.line:
            room.wake()
        ledger.owed -= 1
        if not ledger.owed:
            ledger.wake()

    def _brings_room(self, change: Any) -> bool:
        """Tell whether a change is no reason to wait, or to close: it may be held back, or is what was known before."""
        return (self._is_paced and isinstance(change, PROGRESS)) or (self._replays and change.event == REPLAYED)

    def tell(self, failure: Failure) -> None:
        """Log a failure, and tell the processor."""
        if self.on_failure is not None and self.on_failure(failure):
            return
        if failure.change is not None:
            kind = type(failure.change).__name__
            level = logging.ERROR if failure.is_final else logging.DEBUG  # what is made again may well succeed
            _log.log(level, "the subscriber %s failed at a %s", self.name, kind, exc_info=failure.exception)

    async def take(self) -> Entry | None:
        """Return the next entry, as soon as there is one; None after the last."""
        while True:
            entry = self.backlog.take(anyio.current_time() if self._is_paced else 0.0)
            if entry is not None:
                return entry
            if self.is_ending and not len(self.backlog):
                return None
            if self._is_paced:
                with anyio.CancelScope(deadline=self.backlog.due()):
                    await self.arrived.wait()
            else:
                await self.arrived.wait()


def _nothing() -> Entry:
    """Tell that there may be an entry, but that it takes a look at the clock, or at what is being called for."""
    raise IndexError


def checked_callback(callback: Callback) -> Callback:
    """Return `callback`, which must be an async function, or an object whose call is one.

    Raises:
        TypeError: it is not.
    """
    call = getattr(callback, "__call__", None)  # noqa: B004 - looked into, not only tested
    is_async = inspect.iscoroutinefunction(callback) or inspect.iscoroutinefunction(call)
    if not is_async or isinstance(callback, type):
        raise TypeError(f"expected an async function as callback, got {callback!r}: declare it with async def")
    return callback


C = TypeVar("C", bound=Change)


class Changes(Generic[C]):
    """The changes of one subscription, as an async iterator. It ends when the processor does, or at `close`."""

    def __init__(self, subscription: Subscription) -> None:
        self.subscription = subscription

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> C:
        await anyio.lowlevel.checkpoint()  # before the change is taken: a cancelled consumer loses none
        entry = await self.subscription.take()
        if entry is not None:
            self.subscription.delivered += 1
            self.subscription.settle(entry)
            return cast(C, entry[0])
        if self.subscription.failure is not None:
            raise self.subscription.failure
        raise StopAsyncIteration
