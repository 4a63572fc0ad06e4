"""Registering subscribers: by decorator, by call, as an iterator."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypeVar, Unpack, overload

from stepstream.fold.changes import Change
from stepstream.live.filters import Wanted, checked_classes, checked_filters
from stepstream.live.options import DELIVERY, ITERATOR, Delivery, IteratorOptions, Options, delivery_of
from stepstream.live.subscription import Callback, Changes, Subscription, checked_callback

C1 = TypeVar("C1", bound=Change)
C2 = TypeVar("C2", bound=Change)
C3 = TypeVar("C3", bound=Change)
C4 = TypeVar("C4", bound=Change)
F = TypeVar("F", bound=Callable[..., Awaitable[object]])


def checked(
    classes: tuple[type[Any], ...], options: Mapping[str, Any], allowed: frozenset[str]
) -> tuple[Wanted, Delivery]:
    """Return which changes are wanted, and how.

    Raises:
        TypeError, ValueError: a class or an option is wrong.
    """
    delivery, filters = delivery_of(options, allowed)
    return checked_filters(checked_classes(classes), filters), delivery


class Subscribing:
    """The face that a processor shows to subscribers. `admit` takes each new subscription, or refuses it."""

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
    def on(self, *classes: type[Any], **options: Unpack[Options]) -> Callable[[Any], Any]:
        """Register the decorated async function for changes of `classes`. The filters are those of `add`.

        Raises:
            TypeError: a class is none of changes, one of them has no field for a filter, or the function is not async.
        """
        checked(classes, options, DELIVERY)

        def register(callback: F) -> F:
            self.add(classes, callback, **options)
            return callback

        return register

    @overload
    def add(
        self, classes: type[C1], callback: Callable[[C1], Awaitable[object]], **options: Unpack[Options]
    ) -> Subscription: ...
    @overload
    def add(self, classes: Sequence[type[Change]], callback: Callback, **options: Unpack[Options]) -> Subscription: ...
    def add(
        self, classes: type[Any] | Sequence[type[Change]], callback: Callback, **options: Unpack[Options]
    ) -> Subscription:
        """Register `callback` for changes of `classes`, from the next change on, and return its subscription.

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
        a progress for each that is partial.

        Raises:
            TypeError: a class is none of changes, one of them has no field for a filter, `callback` is not async, or
                an option is of a wrong type.
            ValueError: an option is out of its range.
            RuntimeError: the processor is closed.
        """
        given = (classes,) if isinstance(classes, type) else tuple(classes)
        subscription = Subscription(given, *checked(given, options, DELIVERY), checked_callback(callback))
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
    def subscribe(
        self, *classes: type[Any], **options: Unpack[IteratorOptions]
    ) -> AbstractAsyncContextManager[Changes[Any]]:
        """Return a context manager that gives the changes of `classes` as an async iterator. Filters as in `add`.

        `buffer`, `overflow`, `min_interval` and `replay` are as in `add` too. It holds the changes since the block was
        entered. It ends when the processor is left and its changes have been taken. `run` does not wait until they are
        taken; but when 256 of them wait, the streams do.

        Raises:
            TypeError: a class is none of changes, one of them has no field for a filter, or an option is not for
                iterators.
            ValueError: an option is out of its range.
            SubscriberTooSlow: while it is read, where it was closed because too much waited.
        """
        return self._iterating(Subscription(classes, *checked(classes, options, ITERATOR), None))

    @asynccontextmanager
    async def _iterating(self, subscription: Subscription) -> AsyncIterator[Changes[Any]]:
        self._admit_new(subscription)
        try:
            yield Changes(subscription)
        finally:
            subscription.close()
