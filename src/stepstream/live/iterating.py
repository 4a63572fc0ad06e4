"""Changes as an async iterator: the method of a processor that gives one, typed by the classes asked for."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Generic, Self, TypeAlias, TypeVar, Unpack, cast, overload

import anyio.lowlevel

from stepstream.fold.changes import Change
from stepstream.live.batch_mailbox import mailbox_for, without_lapsed
from stepstream.live.batch_queue import entries_of
from stepstream.live.options import IteratorOptions
from stepstream.live.registration import Several, checked_subscription
from stepstream.live.subscribing import C1, C2, C3, C4, C5, C6, C7, C8, SubscriptionMethods
from stepstream.live.subscriptions import Subscription

C = TypeVar("C")


class Changes(Generic[C]):
    """The changes of one subscription, as an async iterator. It ends with the processor or its runs, or at `close`."""

    def __init__(self, subscription: Subscription) -> None:
        self.subscription = subscription

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> C:
        await anyio.lowlevel.checkpoint()  # before the change is taken: a cancelled reader loses none
        mailbox = self.subscription._mailbox
        while (entry := await mailbox.take()) is not None:
            kept = without_lapsed(mailbox, entry)
            if kept is not None:
                mailbox.delivered += len(entries_of(kept))
                mailbox.settle(kept)
                return cast(C, kept[0])
        if mailbox.failure is not None:
            raise mailbox.failure
        raise StopAsyncIteration


Iterates: TypeAlias = AbstractAsyncContextManager[Changes[C]]


class IteratorMethods(SubscriptionMethods):
    """The method by which a processor gives its changes as an iterator."""

    @overload
    def subscribe(self, a: type[C1], /, **options: Unpack[IteratorOptions]) -> Iterates[C1]: ...
    @overload
    def subscribe(self, a: type[C1], b: type[C2], /, **options: Unpack[IteratorOptions]) -> Iterates[C1 | C2]: ...
    @overload
    def subscribe(
        self, a: type[C1], b: type[C2], c: type[C3], /, **options: Unpack[IteratorOptions]
    ) -> Iterates[C1 | C2 | C3]: ...
    @overload
    def subscribe(
        self, a: type[C1], b: type[C2], c: type[C3], d: type[C4], /, **options: Unpack[IteratorOptions]
    ) -> Iterates[C1 | C2 | C3 | C4]: ...
    @overload
    def subscribe(
        self, a: type[C1], b: type[C2], c: type[C3], d: type[C4], e: type[C5], /, **options: Unpack[IteratorOptions]
    ) -> Iterates[C1 | C2 | C3 | C4 | C5]: ...
    @overload
    def subscribe(
        self,
        a: type[C1],
        b: type[C2],
        c: type[C3],
        d: type[C4],
        e: type[C5],
        f: type[C6],
        /,
        **options: Unpack[IteratorOptions],
    ) -> Iterates[C1 | C2 | C3 | C4 | C5 | C6]: ...
    @overload
    def subscribe(
        self,
        a: type[C1],
        b: type[C2],
        c: type[C3],
        d: type[C4],
        e: type[C5],
        f: type[C6],
        g: type[C7],
        /,
        **options: Unpack[IteratorOptions],
    ) -> Iterates[C1 | C2 | C3 | C4 | C5 | C6 | C7]: ...
    @overload
    def subscribe(
        self,
        a: type[C1],
        b: type[C2],
        c: type[C3],
        d: type[C4],
        e: type[C5],
        f: type[C6],
        g: type[C7],
        h: type[C8],
        /,
        **options: Unpack[IteratorOptions],
    ) -> Iterates[C1 | C2 | C3 | C4 | C5 | C6 | C7 | C8]: ...
    @overload
    def subscribe(self, *classes: type[Change], **options: Unpack[IteratorOptions]) -> Iterates[Any]: ...
    @overload
    def subscribe(self, classes: Several, /, **options: Unpack[IteratorOptions]) -> Iterates[Any]: ...
    @overload
    def subscribe(self, a: type[C1], /, *, batch: int, **options: Unpack[IteratorOptions]) -> Iterates[list[C1]]: ...
    @overload
    def subscribe(self, *classes: Any, batch: int | None, **options: Unpack[IteratorOptions]) -> Iterates[Any]: ...
    def subscribe(self, *classes: Any, **options: Any) -> Iterates[Any]:
        """Return a context manager that gives the changes of `classes` as an async iterator. Filters as in `add`.

        `buffer`, `overflow`, `min_interval`, `coalesce_by`, `batch`, `max_wait` and `replay` are as in `add` too: with
        `batch`, it gives lists. It holds the changes since the block was
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
        return self._iterating(Subscription(mailbox_for(*checked, None)))

    @asynccontextmanager
    async def _iterating(self, subscription: Subscription) -> AsyncIterator[Changes[Any]]:
        self._admit_new(subscription)
        try:
            yield Changes(subscription)
        finally:
            subscription.close()
