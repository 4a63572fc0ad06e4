"""How long the streams wait for a subscriber: without end, until the processor is left."""

import logging
import math
from collections.abc import Awaitable, Callable, Sequence

import anyio

from stepstream.live.subscription import Subscription

_log = logging.getLogger("stepstream.live")


class Patience:
    """The waits of all streams for subscribers. Once it ends, each has a limit; who breaks it is closed."""

    def __init__(self) -> None:
        self._limit = math.inf
        self._waits: dict[anyio.CancelScope, float] = {}  # and how long each may be held back

    @property
    def is_ending(self) -> bool:
        """Whether there is a limit."""
        return self._limit < math.inf

    def end_in(self, seconds: float) -> None:
        """Give every wait, those under way too, this many seconds."""
        self._limit = seconds
        for scope, pace in self._waits.items():
            scope.deadline = anyio.current_time() + seconds + pace

    async def wait(self, subscription: Subscription, until: Callable[[], Awaitable[None]]) -> None:
        """Wait `until` the subscriber has come so far, or is given up. That it is paced is not its fault."""
        pace = subscription.delivery.min_interval
        with anyio.CancelScope(deadline=anyio.current_time() + self._limit + pace) as scope:
            self._waits[scope] = pace
            try:
                await until()
            finally:
                del self._waits[scope]
        if scope.cancelled_caught and not subscription.is_closed:
            seconds, left = self._limit + pace, subscription.left
            _log.error("gave up a subscriber after %s s with %d changes undelivered", seconds, left)
            subscription.give_up(f"gave up a subscriber that kept a stream waiting for {seconds:g} s")


async def give_up_after(
    seconds: float, draining: Sequence[Subscription], calls: anyio.CancelScope, drained: anyio.CancelScope
) -> None:
    """Give up those whose callbacks have not had everything in so many seconds, and cancel all `calls`.

    Unless `drained` is cancelled before, since there are no calls any more.
    """
    with drained:
        await anyio.sleep(seconds)
        late = [one for one in draining if one.has_callback and one.left and not one.is_closed]
        if late:
            left = sum(one.left for one in late)
            _log.error("closed after %s s with %d changes undelivered", seconds, left)
        for one in late:
            one.give_up(f"gave up a subscriber for which changes waited {seconds:g} s after the last stream")
        calls.cancel()
