"""How long the streams wait for a subscriber: without end, until the processor is left."""

import logging
import math
from collections.abc import Awaitable, Callable

import anyio

from stepstream.live.subscription import Subscription

_log = logging.getLogger("stepstream.live")


class Patience:
    """The waits of all streams for subscribers. Once it ends, each has a limit; who breaks it is closed."""

    def __init__(self) -> None:
        self._limit = math.inf
        self._waits: set[anyio.CancelScope] = set()

    def end_in(self, seconds: float) -> None:
        """Give every wait, those under way too, this many seconds."""
        self._limit = seconds
        for scope in self._waits:
            scope.deadline = anyio.current_time() + seconds

    async def wait(self, subscription: Subscription, until: Callable[[], Awaitable[None]]) -> None:
        """Wait `until` the subscriber has come so far, or is given up."""
        with anyio.CancelScope(deadline=anyio.current_time() + self._limit) as scope:
            self._waits.add(scope)
            try:
                await until()
            finally:
                self._waits.discard(scope)
        if scope.cancelled_caught and not subscription.is_closed:
            left = subscription.left
            _log.error("gave up a subscriber after %s s with %d changes undelivered", self._limit, left)
            subscription.abandon()
