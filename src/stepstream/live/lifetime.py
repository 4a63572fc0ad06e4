"""The tasks of a processor, from entering its block to leaving it, and the order in which they end.

Three task groups lie within each other, so that whatever one group does can still be passed on by the next:

    reporters      call `on_failure` with the failures of subscribers
      deliveries     call the callbacks with the changes of streams
        streams        read what was started with `start`; the block itself runs here

Leaving the block goes through four phases. Each ends before the next begins; only the second has no limit of its own:

1. the block has ended: from now on a subscriber that keeps a stream waiting has `drain_timeout` seconds;
2. the started streams are read to their end. Then no change is new: mailboxes take nothing, and hold nothing back;
3. what waits is delivered, for at most `drain_timeout` seconds. Then late subscribers are closed and calls cancelled;
4. failures of those last deliveries are reported, again for at most `drain_timeout` seconds.

A failure (an exception in the block, or of a subscriber with `strict`) cancels the streams group only: phase 2 is cut
short, what was folded is still delivered, and the failure leaves the block in the end, without a group around it. A
cancellation of the block cancels all three groups at once.
"""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import Context, copy_context

import anyio
from anyio.abc import TaskGroup

from stepstream.fold.state import StreamState
from stepstream.live.cancellation import lone_exception
from stepstream.live.deadlines import SubscriberDeadlines, close_late_subscribers
from stepstream.live.delivery import deliver
from stepstream.live.mailbox import Mailbox
from stepstream.live.routing import Routes

_log = logging.getLogger("stepstream.live")


class Lifetime:
    """The task groups of one processor. `routes` has its subscribers, `failure_routes` its `on_failure` callbacks."""

    def __init__(self, routes: Routes, failure_routes: Routes, drain_timeout: float) -> None:
        self.is_closed = False
        """Whether the third phase has begun: nothing is read any more, and no subscriber can be added."""
        self.deadlines = SubscriberDeadlines()
        self.callback_tasks: set[int] = set()
        """The ids of the tasks in which callbacks are called."""
        self.last: list[Mailbox] = []
        """The mailboxes that were open when the third phase began."""
        self._routes = routes
        self._failure_routes = failure_routes
        self._drain_timeout = drain_timeout
        self._reading: dict[int, StreamState] = {}
        self._reporters: TaskGroup | None = None
        self._deliveries: TaskGroup | None = None
        self._streams: TaskGroup | None = None
        self._failure: BaseException | None = None
        self._variables = Context()

    @property
    def reading(self) -> list[StreamState]:
        """The streams that are being read."""
        return list(self._reading.values())

    @asynccontextmanager
    async def block(self) -> AsyncIterator[None]:
        """Hold the task groups around the processor's block."""
        self._variables = copy_context()  # not those of a callback that adds a subscriber: they would be kept with it
        try:
            drained = anyio.CancelScope()
            async with self._reporting(drained) as reporters, anyio.create_task_group() as self._deliveries:
                for mailbox in self._routes.open:
                    self._start(self._deliveries, mailbox)
                async with self._reading_streams():
                    yield
                if isinstance(self._failure, KeyboardInterrupt):
                    self._drain_timeout = 0
                calls = self._deliveries.cancel_scope
                reporters.start_soon(close_late_subscribers, self._drain_timeout, self.last, calls, drained)
        except BaseExceptionGroup as group:
            failure: BaseException | None = lone_exception(group)
        else:
            failure = self._failure
        if failure is not None:
            raise failure  # out of the handler, so that it keeps its own cause and context

    @asynccontextmanager
    async def _reading_streams(self) -> AsyncIterator[None]:
        """Hold the group of the streams around the block: phases 1 and 2, and the beginning of phase 3."""
        try:
            async with anyio.create_task_group() as self._streams:
                try:
                    yield
                except (Exception, KeyboardInterrupt, SystemExit) as exc:  # noqa: BLE001 - raised in the end
                    if not self.stop(exc):
                        _log.error("the block failed while a subscriber's failure ended it", exc_info=exc)
                self.deadlines.limit(self._drain_timeout)
                self._stop_pacing()
        finally:
            self.is_closed = True
            self.last = self._routes.open
            for mailbox in self.last:
                mailbox.end()

    @asynccontextmanager
    async def _reporting(self, drained: anyio.CancelScope) -> AsyncIterator[TaskGroup]:
        """Hold the group of the reporters around all others: phase 4."""
        async with anyio.create_task_group() as self._reporters:
            for mailbox in self._failure_routes.open:
                self._start(self._reporters, mailbox)
            yield self._reporters
            drained.cancel()
            for mailbox in self._failure_routes.open:
                mailbox.end()
            self._reporters.cancel_scope.deadline = anyio.current_time() + self._drain_timeout

    def streams(self) -> TaskGroup:
        """Return the group of the streams.

        Raises:
            RuntimeError: the block was not entered, or is being left.
        """
        if self._streams is None:
            raise RuntimeError("expected an open Processor: read streams inside of `async with Processor()`")
        if self.is_closed:
            raise RuntimeError("the Processor is closed: it reads nothing any more")
        return self._streams

    def begin_reading(self, stream: StreamState) -> None:
        """Record that a stream is being read."""
        self._reading[id(stream)] = stream

    def end_reading(self, stream: StreamState) -> None:
        """Record that a stream is read no more."""
        del self._reading[id(stream)]
        self._stop_pacing()

    def _stop_pacing(self) -> None:
        """Deliver what is held back, once the block has ended and nothing is read: no stream waits for time to pass."""
        if self.deadlines.is_limited and not self._reading:
            for mailbox in self._routes.open:
                mailbox.stop_pacing()

    def start_delivery(self, mailbox: Mailbox) -> None:
        """Deliver to one more subscriber, now or as soon as the block is entered."""
        self._start(self._deliveries, mailbox)

    def start_reporting(self, mailbox: Mailbox) -> None:
        """Report failures to one more `on_failure` callback, now or as soon as the block is entered."""
        self._start(self._reporters, mailbox)

    def _start(self, group: TaskGroup | None, mailbox: Mailbox) -> None:
        if group is not None and mailbox.has_callback:
            self._variables.run(group.start_soon, deliver, mailbox, self.callback_tasks)

    def stop(self, failure: BaseException) -> bool:
        """End the block with `failure`. Return whether it is the first one, which leaves the block."""
        if self._failure is not None or self._streams is None:
            return False
        self._failure = failure
        self._streams.cancel_scope.cancel()
        return True
