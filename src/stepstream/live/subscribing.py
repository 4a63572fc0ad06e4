"""Registering subscribers: by decorator, by call, as an iterator."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypeVar, Unpack, overload

from stepstream.fold.changes import Change
from stepstream.live.filters import Filters, checked_classes, checked_filters
from stepstream.live.subscription import Callback, Changes, Subscription, checked_callback

C1 = TypeVar("C1", bound=Change)
C2 = TypeVar("C2", bound=Change)
C3 = TypeVar("C3", bound=Change)
C4 = TypeVar("C4", bound=Change)
F = TypeVar("F", bound=Callable[..., Awaitable[object]])


class Subscribing:
    """The face that a processor shows to subscribers. `admit` takes each new subscription, or refuses it."""

    def __init__(self, admit: Callable[[Subscription], None]) -> None:
        self._admit_new = admit

    @overload
    def on(
        self, one: type[C1], /, **filters: Unpack[Filters]
    ) -> Callable[[Callable[[C1], Awaitable[object]]], Callable[[C1], Awaitable[object]]]: ...
    @overload
    def on(
        self, one: type[C1], two: type[C2], /, **filters: Unpack[Filters]
    ) -> Callable[[Callable[[C1 | C2], Awaitable[object]]], Callable[[C1 | C2], Awaitable[object]]]: ...
    @overload
    def on(
        self, one: type[C1], two: type[C2], three: type[C3], /, **filters: Unpack[Filters]
    ) -> Callable[[Callable[[C1 | C2 | C3], Awaitable[object]]], Callable[[C1 | C2 | C3], Awaitable[object]]]: ...
    @overload
    def on(
        self, one: type[C1], two: type[C2], three: type[C3], four: type[C4], /, **filters: Unpack[Filters]
    ) -> Callable[
        [Callable[[C1 | C2 | C3 | C4], Awaitable[object]]], Callable[[C1 | C2 | C3 | C4], Awaitable[object]]
    ]: ...
    @overload
    def on(self, *classes: type[Change], **filters: Unpack[Filters]) -> Callable[[F], F]: ...
    def on(self, *classes: type[Any], **filters: Unpack[Filters]) -> Callable[[Any], Any]:
        """Register the decorated async function for changes of `classes`. The filters are those of `add`.

        Raises:
            TypeError: a class is none of changes, one of them has no field for a filter, or the function is not async.
        """
        checked_filters(checked_classes(classes), filters)

        def register(callback: F) -> F:
            self.add(classes, callback, **filters)
            return callback

        return register

    def add(
        self, classes: type[Change] | Sequence[type[Change]], callback: Callback, **filters: Unpack[Filters]
    ) -> Subscription:
        """Register `callback` for changes of `classes`, from the next change on, and return its subscription.

        `status`, `step_type`, `tool_type`, `tool_name`, `run_id` and `thread_id` take a string or several;
        `terminal` takes whether the change ends its object; `where` takes a function of the change that is called
        synchronously. The changes of one run come in order, one call at a time. When 256 changes wait for one
        subscriber, the streams wait for it.

        Raises:
            TypeError: a class is none of changes, one of them has no field for a filter, or `callback` is not async.
            RuntimeError: the processor is closed.
        """
        wanted = checked_classes((classes,) if isinstance(classes, type) else tuple(classes))
        subscription = Subscription(wanted, checked_filters(wanted, filters), checked_callback(callback))
        self._admit_new(subscription)
        return subscription

    @overload
    def subscribe(self, one: type[C1], /, **filters: Unpack[Filters]) -> AbstractAsyncContextManager[Changes[C1]]: ...
    @overload
    def subscribe(
        self, one: type[C1], two: type[C2], /, **filters: Unpack[Filters]
    ) -> AbstractAsyncContextManager[Changes[C1 | C2]]: ...
    @overload
    def subscribe(
        self, one: type[C1], two: type[C2], three: type[C3], /, **filters: Unpack[Filters]
    ) -> AbstractAsyncContextManager[Changes[C1 | C2 | C3]]: ...
    @overload
    def subscribe(
        self, one: type[C1], two: type[C2], three: type[C3], four: type[C4], /, **filters: Unpack[Filters]
    ) -> AbstractAsyncContextManager[Changes[C1 | C2 | C3 | C4]]: ...
    @overload
    def subscribe(
        self, *classes: type[Change], **filters: Unpack[Filters]
    ) -> AbstractAsyncContextManager[Changes[Any]]: ...
    def subscribe(self, *classes: type[Any], **filters: Unpack[Filters]) -> AbstractAsyncContextManager[Changes[Any]]:
        """Return a context manager that gives the changes of `classes` as an async iterator. Filters as in `add`.

        It holds the changes since the block was entered. It ends when the processor is left and its changes have
        been taken. `run` does not wait until they are taken; but when 256 of them wait, the streams do.

        Raises:
            TypeError: a class is none of changes, or one of them has no field for a filter.
        """
        wanted = checked_classes(classes)
        return self._iterating(Subscription(wanted, checked_filters(wanted, filters), None))

    @asynccontextmanager
    async def _iterating(self, subscription: Subscription) -> AsyncIterator[Changes[Any]]:
        self._admit_new(subscription)
        try:
            yield Changes(subscription)
        finally:
            subscription.close()
