"""Subscriptions: what a subscriber holds, and the methods of a processor that register one."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Generic, Self, TypeVar, Unpack, cast, overload

import anyio.lowlevel

from stepstream.fold.changes import Change
from stepstream.live.callbacks import Callback, checked_callback
from stepstream.live.mailbox import Mailbox
from stepstream.live.options import IteratorOptions, Options
from stepstream.live.registration import Several, checked_subscription

C = TypeVar("C", bound=Change)
C1 = TypeVar("C1", bound=Change)
C2 = TypeVar("C2", bound=Change)
C3 = TypeVar("C3", bound=Change)
C4 = TypeVar("C4", bound=Change)
F = TypeVar("F", bound=Callable[..., Awaitable[object]])


class Subscription:
    """One subscriber's registration. Its changes come in the order of their stream, one at a time for each run."""

    __slots__ = ("_mailbox",)

    def __init__(self, mailbox: Mailbox) -> None:
        self._mailbox = mailbox

    def __repr__(self) -> str:
        box = self._mailbox
        names, closed = "|".join(one.__name__ for one in box.classes), " closed" if box.is_closed else ""
        counts = f"{box.delivered:,} delivered, {len(box.queue)} waiting, {box.failed:,} failed"
        return f"<Subscription {names}{closed} {counts}>"

    def close(self) -> None:
        """Receive nothing any more. What still waits is dropped, and no stream waits for this subscriber."""
        self._mailbox.is_dismissed = True
        self._mailbox.close()

    @property
    def is_closed(self) -> bool:
        """Whether it receives nothing any more."""
        return self._mailbox.is_closed

    @property
    def failure(self) -> Exception | None:
        """Why it was closed, unless by `close`."""
        return self._mailbox.failure

    @property
    def offered(self) -> int:
        """How many changes passed the filters."""
        return self._mailbox.offered

    @property
    def delivered(self) -> int:
        """How many changes were taken, those at which the last attempt failed included."""
        return self._mailbox.delivered

    @property
    def coalesced(self) -> int:
        """How many changes were replaced by newer progress."""
        return self._mailbox.coalesced

    @property
    def dropped(self) -> int:
        """How many changes waited when it was closed."""
        return self._mailbox.dropped

    @property
    def retried(self) -> int:
        """How many attempts were made beyond the first."""
        return self._mailbox.retried

    @property
    def failed(self) -> int:
        """At how many changes the callback or the `where` predicate failed."""
        return self._mailbox.failed


class Changes(Generic[C]):
    """The changes of one subscription, as an async iterator. It ends with the processor or its runs, or at `close`."""

    def __init__(self, subscription: Subscription) -> None:
        self.subscription = subscription

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> C:
        await anyio.lowlevel.checkpoint()  # before the change is taken: a cancelled reader loses none
        mailbox = self.subscription._mailbox
        entry = await mailbox.take()
        if entry is not None:
            mailbox.delivered += 1
            mailbox.settle(entry)
            return cast(C, entry[0])
        if mailbox.failure is not None:
            raise mailbox.failure
        raise StopAsyncIteration


class SubscriptionMethods:
    """The methods by which a processor registers subscribers. `admit` starts delivery to a new one, or refuses it."""

    def __init__(self, admit: Callable[[Subscription], None]) -> None:
        self._admit_new = admit

    @overload
    def on(
        self, one: type[C1], /, **options: Unpack[Options]
    ) -> Callable[[Callable[[C1], Awaitable[object]]], Callable[[C1], Awaitable[object]]]: ...
    @overload
    def on(
        self, one: type[C1], two: type[C2], /, **options: Unpack[Options]
    ) -> Callable[[Callable[[C1 | C2], Awaitable[object]]], Callable[[C1 | C2], Awaitable[object]]]: ...
    @overload
    def on(
        self, one: type[C1], two: type[C2], three: type[C3], /, **options: Unpack[Options]
    ) -> Callable[[Callable[[C1 | C2 | C3], Awaitable[object]]], Callable[[C1 | C2 | C3], Awaitable[object]]]: ...
    @overload
    def on(
        self, one: type[C1], two: type[C2], three: type[C3], four: type[C4], /, **options: Unpack[Options]
    ) -> Callable[
        [Callable[[C1 | C2 | C3 | C4], Awaitable[object]]], Callable[[C1 | C2 | C3 | C4], Awaitable[object]]
    ]: ...
    @overload
    def on(self, *classes: type[Change], **options: Unpack[Options]) -> Callable[[F], F]: ...
    @overload
    def on(self, classes: Several, /, **options: Unpack[Options]) -> Callable[[F], F]: ...
    def on(self, *classes: Any, **options: Unpack[Options]) -> Callable[[Any], Any]:
        """Register the decorated async function for changes of `classes`: several, a list of them or a union.

        The filters are those of `add`.

        Raises:
            TypeError: a class is none of changes, one of them has no field for a filter, or the function is not async.
        """
        checked_subscription(classes, options)

        def register(callback: F) -> F:
            self.add(classes, callback, **options)
            return callback

        return register

    @overload
    def add(
        self, classes: type[C1], callback: Callable[[C1], Awaitable[object]], **options: Unpack[Options]
    ) -> Subscription: ...
    @overload
    def add(self, classes: Several, callback: Callback, **options: Unpack[Options]) -> Subscription: ...
    def add(self, classes: Any, callback: Callback, **options: Unpack[Options]) -> Subscription:
        """Register `callback` for changes of `classes`, from the next change on, and return its subscription.

        `classes` is a class of change, a list of them or a union.

        Filters: `status`, `step_type`, `tool_type`, `tool_name`, `step_id`, `run_id` and `thread_id` take a string or
        several; `terminal` takes whether the change ends its object; `where` takes a function of the change that is
        called synchronously.

        Delivery, times in seconds: the changes of one run come in order, one call at a time, those of `concurrency`
        runs side by side. Once `buffer` (256) of them wait, `overflow` says what happens: "block", the streams wait;
        "latest", nobody does, and newer progress of a step or message takes the place of what waits, always;
        "close", the subscription is closed. With `min_interval`, progress of one step or message comes no sooner than
        so long after the last call for it; what waits meanwhile is replaced by newer progress, and by the end of its
        step or message, which is never held back. A call may take `timeout` (30; None: for ever). One that fails is
        made `attempts` times in all, after pauses of `backoff`, which doubles, or is a function of the attempt's
        number and the exception. `max_failures` changes in a row that failed close the subscription. With `replay`,
        it first gets what is known already, as changes from nothing: a transition for each run, step and message, and
        a progress for each that is partial; where the filters name runs, it is closed when all have ended.

        Raises:
            TypeError: a class is none of changes, one of them has no field for a filter, `callback` is not async, or
                an option is of a wrong type.
            ValueError: an option is out of its range.
            RuntimeError: the processor is closed.
        """
        checked = checked_subscription((classes,), options)
        subscription = Subscription(Mailbox(*checked, checked_callback(callback)))
        self._admit_new(subscription)
        return subscription

    @overload
    def subscribe(
        self, one: type[C1], /, **options: Unpack[IteratorOptions]
    ) -> AbstractAsyncContextManager[Changes[C1]]: ...
    @overload
    def subscribe(
        self, one: type[C1], two: type[C2], /, **options: Unpack[IteratorOptions]
    ) -> AbstractAsyncContextManager[Changes[C1 | C2]]: ...
    @overload
    def subscribe(
        self, one: type[C1], two: type[C2], three: type[C3], /, **options: Unpack[IteratorOptions]
    ) -> AbstractAsyncContextManager[Changes[C1 | C2 | C3]]: ...
    @overload
    def subscribe(
        self, one: type[C1], two: type[C2], three: type[C3], four: type[C4], /, **options: Unpack[IteratorOptions]
    ) -> AbstractAsyncContextManager[Changes[C1 | C2 | C3 | C4]]: ...
    @overload
    def subscribe(
        self, *classes: type[Change], **options: Unpack[IteratorOptions]
    ) -> AbstractAsyncContextManager[Changes[Any]]: ...
    @overload
    def subscribe(
        self, classes: Several, /, **options: Unpack[IteratorOptions]
    ) -> AbstractAsyncContextManager[Changes[Any]]: ...
    def subscribe(self, *classes: Any, **options: Unpack[IteratorOptions]) -> AbstractAsyncContextManager[Changes[Any]]:
        """Return a context manager that gives the changes of `classes` as an async iterator. Filters as in `add`.

        `buffer`, `overflow`, `min_interval` and `replay` are as in `add` too. It holds the changes since the block was
        entered. It ends when the processor is left, or all runs that `run_id` names have ended, and its changes have
        been taken: a step that begins after the end of its run is not among them. `run` does not wait until they are
        taken; but when 256 of them wait, the streams do.

        Raises:
            TypeError: a class is none of changes, one of them has no field for a filter, or an option is not for
                iterators.
            ValueError: an option is out of its range.
            SubscriberTooSlow: while it is read, where it was closed because too much waited.
        """
        checked = checked_subscription(classes, options, is_iterator=True)
        return self._iterating(Subscription(Mailbox(*checked, None)))

    @asynccontextmanager
    async def _iterating(self, subscription: Subscription) -> AsyncIterator[Changes[Any]]:
        self._admit_new(subscription)
        try:
            yield Changes(subscription)
        finally:
            subscription.close()
