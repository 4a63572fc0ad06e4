"""The mailbox of one subscriber: its queue and its counters, from a change being offered until it is dealt with.

Invariant: a change that passes the filters is counted once as `offered`, and leaves in exactly one way: `delivered`,
`coalesced` (newer progress replaced it) or `dropped` (it waited, or was being delivered, at the close). While it waits,
or the subscriber works on it, it takes one place in the `gate` and one of the `PendingCount` of its stream, and
`release` gives both back exactly once. So `run` returns when the count of its stream is zero at every callback, and a
stream that waits for room is woken by the change that makes some.

`offer` is synchronous and never refuses for lack of room: what one event did reaches every mailbox or none. The stream
waits afterwards, so a mailbox may hold more than `buffer` by what one event of each stream did; with `replay`, also by
all that was known before.
"""

import logging
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import nullcontext
from typing import Any, Final, cast

import anyio

from stepstream.errors import SubscriberTooSlow
from stepstream.fold.changes import Change
from stepstream.fold.retelling import REPLAYED
from stepstream.live.batch_queue import entries_of
from stepstream.live.callbacks import Callback, name_of
from stepstream.live.coalescing import PROGRESS
from stepstream.live.failure_log import FailureLog
from stepstream.live.fifo_queue import Entry, FifoQueue
from stepstream.live.options import Delivery, Filter
from stepstream.live.pending import CapacityGate, PendingCount, Signal
from stepstream.live.queues import queue_for
from stepstream.live.runner import Runner

MAX_WAITING: Final = 100_000
"""A subscriber that no stream waits for is closed when so many changes wait that must not be dropped."""

_log = logging.getLogger("stepstream.live")


class Mailbox:
    """The changes that wait for one subscriber, what it asked for, and how far it is."""

    def __init__(
        self, classes: Sequence[type[Any]], wanted: Filter, delivery: Delivery, callback: Callback | None
    ) -> None:
        self.classes, self.key, self.tests, self.context = tuple(classes), wanted.key, wanted.tests, wanted.context
        self.callback = cast(Callable[[Any], Coroutine[Any, Any, object]] | None, callback)  # None: an iterator
        self.delivery = delivery
        self.run_ids = wanted.run_ids if callback is None or delivery.replay else None
        """The runs that it ends with, if any."""
        self.was_unread = False  # an iterator, and that a stream waits for its reader was logged
        self.offered = self.delivered = self.coalesced = self.dropped = self.retried = self.failed = 0
        self.failures_in_a_row = 0
        self.is_closed = self.is_dismissed = False  # dismissed: closed by its user, for good
        self.is_ending = False
        """Whether it takes nothing new. What waits is still delivered, unless it is closed too."""
        self.failure: Exception | None = None
        """Why it was closed, unless by `close`."""
        self.on_failure: Callable[[Change | None, Exception, int, bool], bool] | None = None
        """Gets the change, the exception, the number of the attempt and whether it was the last one. Returns whether
        the failure was handled, and need not be logged."""
        self.failure_log = FailureLog()
        self.on_close: Callable[[], None] | None = None
        self.runners: list[Runner] = []
        self._is_paced = delivery.min_interval > 0
        self._replays = delivery.replay
        self._has_free_changes = self._is_paced or self._replays
        self._is_shared = delivery.concurrency > 1
        self._blocks = delivery.overflow == "block"
        self._begin()

    def _begin(self) -> None:
        self.arrived, self.gate = Signal(), CapacityGate(self.delivery.buffer)
        self.queue = queue_for(self.delivery)
        self._put = self.queue.put
        in_order = self.queue if isinstance(self.queue, FifoQueue) and not self._has_free_changes else None
        self.take_now: Callable[[], Entry] | None = None if in_order is None else in_order.pop
        """Returns the next entry, or raises `IndexError`. None where not each takes room, in order."""

    @property
    def has_callback(self) -> bool:
        """Whether changes are delivered to a callback, and do not wait for an iterator."""
        return self.callback is not None

    @property
    def name(self) -> str:
        """What its developer calls it: the name of its callback, or of the callback's class."""
        return "iterator" if self.callback is None else name_of(self.callback)

    @property
    def left(self) -> int:
        """How many changes it has not had, those dropped included."""
        return self.offered - self.delivered - self.coalesced

    def close(self) -> None:
        """Take nothing any more. What still waits is dropped, and no stream waits for this subscriber."""
        if not self.is_closed and self.on_close is not None:
            self.on_close()
        self.is_closed = self.is_ending = True
        for entry in self.queue.clear():
            self.drop(entry)
            self.release(entry)
        for runner in self.runners:
            runner.detach()
        self.arrived.notify()
        self.gate.close()
        self.failure_log.end(self.name)

    def drop(self, entry: Entry) -> None:
        """Count a change as dropped: nobody deals with it any more."""
        self.lose(entry)
        self.dropped += len(entries_of(entry))

    def lose(self, entry: Entry) -> None:
        """Tell the stream of a change that it may be lost, unless the user closed the subscription."""
        if not self.is_dismissed and (stream := entry[1].stream) is not None:
            stream.lose(entry[0])

    def unsettled(self) -> Iterator[Entry]:
        """Give what waits, and what is being delivered. Of a closed one all is settled, or lost."""
        in_hand = [runner.entry for runner in self.runners if runner.entry is not None and not self.is_closed]
        return iter([*self.queue, *in_hand])

    def reopen(self) -> None:
        """Take changes again, in the next block of the processor. The counters go on."""
        self._begin()
        self.is_closed = self.is_ending = False
        self.failure, self.failures_in_a_row = None, 0

    def abandon(self) -> None:
        """Close it, and cancel the calls of its callback."""
        self.close()
        for runner in self.runners:
            runner.cancel()

    def give_up(self, reason: str) -> None:
        """Close it because it is too slow. An iterator raises `SubscriberTooSlow`."""
        self.failure = SubscriberTooSlow(reason)
        self.report(None, self.failure, 1, is_final=True)
        self.abandon()

    def stop_pacing(self) -> None:
        """Deliver what is held back, or waits for a list to be complete."""
        self.queue.release()
        self.arrived.notify()

    def end(self) -> None:
        """Take nothing new. What waits is still delivered, and nothing is held back."""
        self.is_ending = True
        self.queue.hurry()
        self.arrived.notify()

    @property
    def room(self) -> int:
        """How many changes may come at once, so that all is as if each had come alone. Below one: one."""
        return 1 if self.tests else self.gate.room  # a test is user code: it may look, and change who gets the next

    def offer(self, changes: Sequence[Any], pending: PendingCount) -> bool:
        """Queue those of `changes` that pass the filters. Return whether their stream must wait for room now."""
        if self.is_ending:
            return False
        if self.tests:
            changes = [change for change in changes if self._passes(change)]
            if not changes or self.is_ending:  # a test may close it
                return False
        count, gate, put = len(changes), self.gate, self._put
        self.offered += count
        pending.count += count
        gate.taken += count
        for change in changes:
            if self._has_free_changes and self._is_free(change):
                gate.held += 1
            replaced = put((change, pending))
            if replaced is not None:
                self.coalesced += 1
                self.release(replaced)
        if self.arrived.event is not None:
            self.arrived.notify()
            if pending.stream is not None:
                pending.stream.has_woken = True
        return gate.taken >= gate.size and gate.is_full and (self._blocks or self._overflow())

    def _passes(self, change: Change) -> bool:
        try:
            return all(test(change) for test in self.tests)
        except Exception as exc:  # noqa: BLE001 - user code: reported, and not raised in the stream
            self.failed += 1
            self.report(change, exc, 1, is_final=True)
            return False

    def _overflow(self) -> bool:
        """Close it where `overflow` says so, or where too much waits. Return False: no stream waits."""
        closes = self.delivery.overflow == "close"
        waiting, limit = (self.gate.counted, self.gate.size) if closes else (self.gate.taken, MAX_WAITING)
        if waiting > limit:
            _log.error("closed the subscriber %s: %d changes waited for it", self.name, waiting)
            self.give_up(f"closed a subscriber for which {waiting:,} changes waited")
        return False

    def settle(self, entry: Entry) -> None:
        """Deal with an entry that was taken: others of its run may follow, and nothing waits for it any more."""
        self.queue.finish(entry)
        self.release(entry)
        if self.is_ending or self._is_shared:  # any free runner may take the next entry of its run
            self.arrived.notify()

    def release(self, entry: Entry) -> None:
        """Give back the room of an entry, and its place among what its stream waits for."""
        if self._has_free_changes and self._is_free(entry[0]):
            self.gate.held -= 1
        self.give_back(entry[1], 1)

    def give_back(self, pending: PendingCount, count: int) -> None:
        """Give back the room of `count` entries of one stream, all of which took some, and their places."""
        gate = self.gate
        gate.taken -= count
        if gate.line:
            gate.wake(count)
        pending.count -= count
        if not pending.count:
            pending.wake()

    def _is_free(self, change: Any) -> bool:
        """Return whether a change brings its own room: it may be held back, or was known before the subscriber came."""
        return (self._is_paced and isinstance(change, PROGRESS)) or (self._replays and change.event == REPLAYED)

    def report(self, change: Change | None, exception: Exception, attempt: int, *, is_final: bool) -> None:
        """Hand a failure to the processor, and log it where that does not handle it. No change: it was too slow."""
        if self.on_failure is not None and self.on_failure(change, exception, attempt, is_final):
            return
        if change is not None:
            self.failure_log.add(self.name, change, exception, self.delivered, is_final=is_final)

    async def take(self) -> Entry | None:
        """Return the next entry, as soon as there is one; None after the last. Then `settle` it."""
        while True:
            entry = self.queue.take(anyio.current_time() if self._is_paced else 0.0)
            if entry is not None:
                return entry
            if self.is_ending and not len(self.queue):
                return None
            with anyio.CancelScope(deadline=self.queue.due()) if self._is_paced else nullcontext():
                await self.arrived.wait()

    async def until_paced(self, entry: Entry) -> None:
        """Return when another attempt at an entry that was taken keeps `min_interval`."""
        while (due := self.queue.again_at(entry)) > anyio.current_time():
            with anyio.CancelScope(deadline=due):
                await self.arrived.wait()  # or nothing is held back any more
