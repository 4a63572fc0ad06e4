"""How subscribers come to a processor: delivery to them is started, and their failures are reported."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeAlias

from stepstream.fold.state import State
from stepstream.live.callbacks import checked_callback
from stepstream.live.lifetime import Lifetime
from stepstream.live.mailbox import Mailbox
from stepstream.live.options import Delivery, Filter
from stepstream.live.pending import PendingCount
from stepstream.live.replaying import replay_into
from stepstream.live.statistics import Failure, failure_of
from stepstream.live.subscriptions import Subscription
from stepstream.live.waits import WaitMethods

OnFailure: TypeAlias = Callable[[Failure], Awaitable[object]]


class AdmissionMethods(WaitMethods):
    """The methods that admit subscribers to a processor. With `strict`, a failure of one ends its block."""

    _lifetime: Lifetime
    _state: State
    _begin_again: Callable[[], None]

    def __init__(self, *, strict: bool) -> None:
        super().__init__(self._admit)
        self._strict = strict
        self._noting: dict[Callable[[Failure], object], None] = {}

    def on_failure(self, callback: OnFailure) -> OnFailure:
        """Register the decorated async function to be called with each `Failure` of a subscriber.

        Where 256 failures wait for it, further ones are dropped, and counted. Its own failures are logged only.

        Raises:
            TypeError: it is not async.
            RuntimeError: the processor is being left.
        """
        mailbox = Mailbox((Failure,), Filter(), Delivery(), checked_callback(callback))
        self._check_takes(mailbox)
        self._lifetime.failure_routes.add(mailbox)
        self._lifetime.start_reporting(mailbox)
        return callback

    @contextmanager
    def noting_failures(self, note: Callable[[Failure], object]) -> Iterator[None]:
        """Call `note` at once with each `Failure` after which a change is given up, before that counts as settled.

        Other than with `on_failure` none is dropped: it is for what must not miss any, and must not wait. With
        `strict` nothing is given up: the block ends.
        """
        self._noting[note] = None
        try:
            yield
        finally:
            del self._noting[note]

    def _admit(self, subscription: Subscription) -> None:
        """Deliver to one more subscription from now on."""
        mailbox = subscription._mailbox
        self._check_takes(mailbox)
        mailbox.on_failure = partial(self._on_failure, subscription)
        self._lifetime.routes.add(mailbox)
        if mailbox.delivery.replay:
            replay_into(mailbox, self._state)
        self._lifetime.routes.run_ends.end_over(mailbox, self._state, self._lifetime.running.reading)
        if self._lifetime.running.is_over and not mailbox.has_callback:
            mailbox.end()
        self._lifetime.start_delivery(mailbox)

    def _on_failure(
        self, subscription: Subscription, what: Any, exception: Exception, attempt: int, is_final: bool
    ) -> bool:
        """Report a failure of a subscriber. Return whether it ends the block, and need not be logged."""
        failure = failure_of(subscription, what, exception, attempt, is_final=is_final)
        if is_final and not self._strict:
            for note in self._noting:
                note(failure)
        for reporter in self._lifetime.failure_routes.open:
            if reporter.gate.is_full:
                reporter.dropped += 1
            else:
                reporter.offer((failure,), PendingCount())
        if not self._strict or not is_final:
            return False
        subscription._mailbox.failure = exception
        subscription._mailbox.close()  # its failure ends the processor: it is not called again
        self._lifetime.last.append(subscription._mailbox)
        return self._lifetime.fail(exception)

    def _check_takes(self, mailbox: Mailbox) -> None:
        if self._lifetime.is_left and mailbox.has_callback:
            self._begin_again()
        if self._lifetime.is_closed:
            raise RuntimeError("the Processor is closed: it delivers nothing any more")
