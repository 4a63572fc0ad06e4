"""How callbacks are registered: the methods of a processor, whose types check a callback against its classes.

One overload stands for each number of classes, as no checker makes a union of any number of type variables. A checker
cannot look into a union, `StepTransition | RunTransition`, that is given as a value: its callback is not checked.
"""

from collections.abc import Awaitable, Callable, Collection
from types import UnionType
from typing import Any, TypeAlias, TypeVar, Unpack, overload

from stepstream.fold.changes import Change
from stepstream.live.batch_mailbox import mailbox_for
from stepstream.live.callbacks import Callback, checked_callback
from stepstream.live.options import Options
from stepstream.live.registration import Several, checked_subscription
from stepstream.live.subscriptions import Subscription

C = TypeVar("C")
C1 = TypeVar("C1", bound=Change)
C2 = TypeVar("C2", bound=Change)
C3 = TypeVar("C3", bound=Change)
C4 = TypeVar("C4", bound=Change)
C5 = TypeVar("C5", bound=Change)
C6 = TypeVar("C6", bound=Change)
C7 = TypeVar("C7", bound=Change)
C8 = TypeVar("C8", bound=Change)
F = TypeVar("F", bound=Callable[..., Awaitable[object]])

Receives: TypeAlias = Callable[[C], Awaitable[object]]
Registers: TypeAlias = Callable[[Callable[[C], Awaitable[object]]], Callable[[C], Awaitable[object]]]


class SubscriptionMethods:
    """The methods by which a processor registers subscribers. `admit` starts delivery to a new one, or refuses it."""

    def __init__(self, admit: Callable[[Subscription], None]) -> None:
        self._admit_new = admit

    @overload
    def on(self, a: type[C1], /, **options: Unpack[Options]) -> Registers[C1]: ...
    @overload
    def on(self, a: type[C1], b: type[C2], /, **options: Unpack[Options]) -> Registers[C1 | C2]: ...
    @overload
    def on(self, a: type[C1], b: type[C2], c: type[C3], /, **options: Unpack[Options]) -> Registers[C1 | C2 | C3]: ...
    @overload
    def on(
        self, a: type[C1], b: type[C2], c: type[C3], d: type[C4], /, **options: Unpack[Options]
    ) -> Registers[C1 | C2 | C3 | C4]: ...
    @overload
    def on(
        self, a: type[C1], b: type[C2], c: type[C3], d: type[C4], e: type[C5], /, **options: Unpack[Options]
    ) -> Registers[C1 | C2 | C3 | C4 | C5]: ...
    @overload
    def on(
        self,
        a: type[C1],
        b: type[C2],
        c: type[C3],
        d: type[C4],
        e: type[C5],
        f: type[C6],
        /,
        **options: Unpack[Options],
    ) -> Registers[C1 | C2 | C3 | C4 | C5 | C6]: ...
    @overload
    def on(
        self,
        a: type[C1],
        b: type[C2],
        c: type[C3],
        d: type[C4],
        e: type[C5],
        f: type[C6],
        g: type[C7],
        /,
        **options: Unpack[Options],
    ) -> Registers[C1 | C2 | C3 | C4 | C5 | C6 | C7]: ...
    @overload
    def on(
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
        **options: Unpack[Options],
    ) -> Registers[C1 | C2 | C3 | C4 | C5 | C6 | C7 | C8]: ...
    @overload
    def on(self, a: type[C1], /, *, batch: int, **options: Unpack[Options]) -> Registers[list[C1]]: ...
    @overload
    def on(self, *classes: type[Change], **options: Unpack[Options]) -> Callable[[F], F]: ...
    @overload
    def on(self, classes: Several, /, **options: Unpack[Options]) -> Callable[[F], F]: ...
    @overload
    def on(self, *classes: Any, batch: int | None, **options: Unpack[Options]) -> Callable[[F], F]: ...
    def on(self, *classes: Any, **options: Any) -> Callable[[Any], Any]:
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
    def add(self, classes: type[C1], callback: Receives[C1], **options: Unpack[Options]) -> Subscription: ...
    @overload
    def add(
        self, classes: tuple[type[C1], type[C2]], callback: Receives[C1 | C2], **options: Unpack[Options]
    ) -> Subscription: ...
    @overload
    def add(
        self, classes: tuple[type[C1], type[C2], type[C3]], callback: Receives[C1 | C2 | C3], **options: Unpack[Options]
    ) -> Subscription: ...
    @overload
    def add(
        self,
        classes: tuple[type[C1], type[C2], type[C3], type[C4]],
        callback: Receives[C1 | C2 | C3 | C4],
        **options: Unpack[Options],
    ) -> Subscription: ...
    @overload
    def add(
        self,
        classes: tuple[type[C1], type[C2], type[C3], type[C4], type[C5]],
        callback: Receives[C1 | C2 | C3 | C4 | C5],
        **options: Unpack[Options],
    ) -> Subscription: ...
    @overload
    def add(
        self,
        classes: tuple[type[C1], type[C2], type[C3], type[C4], type[C5], type[C6]],
        callback: Receives[C1 | C2 | C3 | C4 | C5 | C6],
        **options: Unpack[Options],
    ) -> Subscription: ...
    @overload
    def add(
        self,
        classes: tuple[type[C1], type[C2], type[C3], type[C4], type[C5], type[C6], type[C7]],
        callback: Receives[C1 | C2 | C3 | C4 | C5 | C6 | C7],
        **options: Unpack[Options],
    ) -> Subscription: ...
    @overload
    def add(
        self,
        classes: tuple[type[C1], type[C2], type[C3], type[C4], type[C5], type[C6], type[C7], type[C8]],
        callback: Receives[C1 | C2 | C3 | C4 | C5 | C6 | C7 | C8],
        **options: Unpack[Options],
    ) -> Subscription: ...
    @overload
    def add(
        self, classes: Collection[type[C1]], callback: Receives[C1], **options: Unpack[Options]
    ) -> Subscription: ...
    @overload
    def add(self, classes: UnionType, callback: Callback, **options: Unpack[Options]) -> Subscription: ...
    @overload
    def add(
        self, classes: type[C1], callback: Receives[list[C1]], *, batch: int, **options: Unpack[Options]
    ) -> Subscription: ...
    @overload
    def add(
        self, classes: Several, callback: Callback, *, batch: int | None, **options: Unpack[Options]
    ) -> Subscription: ...
    def add(self, classes: Any, callback: Callback, **options: Any) -> Subscription:
        """Register `callback` for changes of `classes`, from the next change on, and return its subscription.

        `classes` is a class of change, a list of them or a union.

        Filters: `status`, `step_type`, `tool_type`, `tool_name`, `step_id`, `run_id` and `thread_id` take a string or
        several; `terminal` takes whether the change ends its object; `context` takes what the stream was given, or, if
        that has a hash, what equals it; `where` takes a function of the change that is called synchronously.

        Delivery, times in seconds: the changes of one run come in order, one call at a time, those of `concurrency`
        runs side by side. Once `buffer` (256) of them wait, `overflow` says what happens: "block", the streams wait;
        "latest", nobody does, and newer progress of a step or message takes the place of what waits, always;
        "close", the subscription is closed. With `min_interval`, progress of one step or message comes no sooner than
        so long after the last call for it; what waits meanwhile is replaced by newer progress, and by the end of its
        step or message, which is never held back. `coalesce_by` "run" or "context" has both go by those: all steps and
        messages of a run, or of equal contexts, are one then. With `batch`, the callback gets a list of up to so many
        changes, which waits for more for `max_wait` (0.1) at most; the list succeeds or fails as one, and `buffer` is
        at least twice as much where it is not given. A call may take `timeout` (30; None: for ever). One that fails is
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
        subscription = Subscription(mailbox_for(*checked, checked_callback(callback)))
        self._admit_new(subscription)
        return subscription
