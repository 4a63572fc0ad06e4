"""One subscriber: what it wants, what waits for it, and how far it is."""

import inspect
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, Generic, Self, TypeAlias, TypeVar, cast

import anyio
import anyio.lowlevel

from stepstream.fold.changes import Change
from stepstream.live.cancellation import is_cancelled_from_outside
from stepstream.live.filters import Test
from stepstream.live.signal import Signal
from stepstream.live.tally import Tally

BUFFER: Final = 256
"""How many changes one subscriber may have before it, that in its hands included, until the streams wait for it."""

Callback: TypeAlias = Callable[[Any], Awaitable[object]]

_log = logging.getLogger("stepstream.live")


class Subscription:
    """One subscriber's registration. Its changes come in the order of their stream, one at a time.

    The counters say how many changes matched (`offered`), were taken (`delivered`), and at how many the callback or
    the `where` predicate failed (`failed`).
    """

    def __init__(self, classes: Sequence[type[Change]], tests: Sequence[Test], callback: Callback | None) -> None:
        self.classes = tuple(classes)
        self.offered = 0
        self.failed = 0
        self.is_closed = False
        self.on_error: Callable[[Exception], bool] | None = None
        """Called with the exception of a failing callback, tells whether it took it; set by the processor."""
        self.task: int | None = None
        """The task that calls the callback."""
        self._tests = tuple(tests)
        self._callback = callback
        self._queue: deque[Change] = deque()
        self._is_ending = False
        self._calling: anyio.CancelScope | None = None
        self._arrived = Signal()
        self._delivered = Tally()

    def __repr__(self) -> str:
        names = "|".join(one.__name__ for one in self.classes)
        closed = " closed" if self.is_closed else ""
        waiting = len(self._queue)
        return f"<Subscription {names}{closed} {self.delivered:,} delivered, {waiting} waiting, {self.failed:,} failed>"

    @property
    def delivered(self) -> int:
        """How many changes were taken."""
        return self._delivered.count

    @property
    def is_full(self) -> bool:
        """Whether the streams must wait for it."""
        return self.offered - self.delivered >= BUFFER

    @property
    def has_callback(self) -> bool:
        """Whether changes are delivered to a callback; else they wait for an iterator."""
        return self._callback is not None

    def close(self) -> None:
        """Receive nothing any more. What still waits is dropped, and no stream waits for this subscriber."""
        self.is_closed = self._is_ending = True
        self._queue.clear()
        self._arrived.notify()
        self._delivered.close()

    def abandon(self) -> None:
        """Close it, and cancel the call that its callback is in."""
        self.close()
        if self._calling is not None:
            self._calling.cancel()

    def end(self) -> None:
        """Take nothing new. What waits is still delivered."""
        self._is_ending = True
        self._arrived.notify()

    def offer(self, change: Change) -> bool:
        """Queue `change` and return True if it passes the filters. The queue may pass its bound, see `hub`."""
        if self._is_ending or not self._matches(change):
            return False
        self.offered += 1
        self._queue.append(change)
        self._arrived.notify()
        return True

    def _matches(self, change: Change) -> bool:
        try:
            return all(test(change) for test in self._tests)
        except Exception as exc:  # noqa: BLE001 - the user's predicate: its trouble must not stop the stream
            self._fail(change, exc)
            return False

    async def has_room(self) -> None:
        """Return when less than a buffer of what was offered so far is left: streams go on in the order they came."""
        await self._delivered.reached(self.offered - BUFFER + 1)

    async def caught_up(self, offered: int) -> None:
        """Return when the first `offered` changes have been delivered, or never will be."""
        await self._delivered.reached(offered)

    async def take(self) -> Change | None:
        """Return the next change, as soon as there is one; None after the last."""
        while not self._queue:
            if self._is_ending:
                return None
            await self._arrived.wait()
        return self._queue.popleft()

    def settle(self) -> None:
        """Count the change taken last as delivered."""
        self._delivered.add()

    async def pump(self) -> None:
        """Deliver changes to the callback until the end."""
        self.task = anyio.get_current_task().id
        try:
            with anyio.CancelScope() as self._calling:
                while (change := await self.take()) is not None:
                    await self._call(change)
                    self.settle()
        finally:
            self.close()

    async def _call(self, change: Change) -> None:
        callback = self._callback
        if callback is None:
            raise RuntimeError("this subscription is an iterator")
        try:
            await callback(change)
        except anyio.get_cancelled_exc_class() as exc:
            if is_cancelled_from_outside():
                raise
            # the callback awaited something that was cancelled elsewhere: its own trouble
            self._fail(change, RuntimeError(f"the callback was cancelled by what it awaited ({type(exc).__name__})"))
        except Exception as exc:  # noqa: BLE001 - the user's callback: its trouble is its own
            self._fail(change, exc)
            await anyio.lowlevel.checkpoint_if_cancelled()  # where that was its answer to being cancelled

    def _fail(self, change: Change, exc: Exception) -> None:
        self.failed += 1
        if self.on_error is None or not self.on_error(exc):
            _log.error("a subscriber failed at a %s", type(change).__name__, exc_info=exc)
        if self.on_error is not None:
            self.close()  # its failure ends the processor: it is not called again


def checked_callback(callback: Callback) -> Callback:
    """Return `callback`, which must be an async function, or an object whose call is one.

    Raises:
        TypeError: it is not.
    """
    call = getattr(callback, "__call__", None)  # noqa: B004 - looked into, not only tested
    if not inspect.iscoroutinefunction(callback) and not inspect.iscoroutinefunction(call):
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
        change = await self.subscription.take()
        if change is None:
            raise StopAsyncIteration
        self.subscription.settle()
        return cast(C, change)
