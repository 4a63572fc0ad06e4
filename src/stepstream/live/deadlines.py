"""How long streams wait for a subscriber: without limit, until the processor is being left."""

import logging
import math
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import anyio

from stepstream.live.mailbox import Mailbox

UNREAD_AFTER: Final = 5.0
"""Seconds after which an iterator that holds up a stream is logged."""

_log = logging.getLogger("stepstream.live")


class SubscriberDeadlines:
    """The waits of all streams for subscribers. Once a limit is set, a subscriber that exceeds it is closed, and added
    to `closed`."""

    def __init__(self, closed: list[Mailbox]) -> None:
        self._closed = closed
        self._limit = math.inf
        self._waits: dict[anyio.CancelScope, float] = {}  # and by how much pacing may prolong each

    @property
    def is_limited(self) -> bool:
        """Whether there is a limit."""
        return self._limit < math.inf

    def limit(self, seconds: float) -> None:
        """Give every wait so many seconds from now, those that have begun too."""
        self._limit = seconds
        for scope, pace in self._waits.items():
            scope.deadline = anyio.current_time() + seconds + pace

    async def wait(self, mailbox: Mailbox, until: Callable[[], Awaitable[None]]) -> None:
        """Wait `until` the subscriber has come so far, or close it. The time that pacing takes is not counted."""
        pace = mailbox.delivery.longest_hold
        with anyio.CancelScope(deadline=anyio.current_time() + self._limit + pace) as scope:
            self._waits[scope] = pace
            try:
                await (until() if mailbox.has_callback or mailbox.was_unread else _until_read(mailbox, until))
            finally:
                del self._waits[scope]
        if scope.cancelled_caught and not mailbox.is_closed:
            seconds, left = self._limit + pace, mailbox.left
            _log.error("gave up the subscriber %s after %g s with %d changes undelivered", mailbox.name, seconds, left)
            self._closed.append(mailbox)
            mailbox.give_up(f"gave up a subscriber that kept a stream waiting for {seconds:g} s")


async def _until_read(mailbox: Mailbox, until: Callable[[], Awaitable[None]]) -> None:
    """Wait `until` an iterator was read, and log it once where that takes long: most likely nobody reads it."""
    with anyio.move_on_after(UNREAD_AFTER) as scope:
        await until()
    if not scope.cancelled_caught:
        return
    if not mailbox.was_unread:
        mailbox.was_unread = True
        names = "|".join(one.__name__ for one in mailbox.classes)
        what = "a stream has waited %g s for the reader of an iterator of %s: read it in a task of its own"
        _log.warning(what, UNREAD_AFTER, names)
    await until()


async def close_late_subscribers(
    seconds: float, draining: Sequence[Mailbox], calls: anyio.CancelScope, drained: anyio.CancelScope
) -> None:
    """After so many seconds, close those of `draining` whose callbacks have not had everything, and cancel all `calls`.

    Unless `drained` is cancelled before: then no call is left.
    """
    with drained:
        await anyio.sleep(seconds)
        late = [one for one in draining if one.has_callback and one.left and not one.is_closed]
        for one in late:
            what = "gave up the subscriber %s %g s after the last stream with %d changes undelivered"
            _log.error(what, one.name, seconds, one.left)
            one.give_up(f"gave up a subscriber for which changes waited {seconds:g} s after the last stream")
        calls.cancel()
