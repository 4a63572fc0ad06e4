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

Groups are entered and left by one task. Another one can only let their tasks run out, and that is what it does where it
leaves the block: the groups stay behind, empty, without a generator around them that the loop would have to close.
"""

import logging
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Final

import anyio
from anyio.abc import TaskGroup

from stepstream.live.callback_tasks import CallbackTasks
from stepstream.live.cancellation import lone_exception
from stepstream.live.deadlines import SubscriberDeadlines, close_late_subscribers
from stepstream.live.mailbox import Mailbox
from stepstream.live.routing import Routes
from stepstream.live.running import RunningStreams

LEFT_ELSEWHERE: Final = (
    "expected the Processor to be left in the task that entered it, got another one: between hooks that are tasks of "
    "their own, keep it open with create_task(processor.keep_open()), await processor.ready() and processor.stop()"
)

_log = logging.getLogger("stepstream.live")


class Lifetime:
    """The task groups of one block. `routes` has its subscribers, `failure_routes` its `on_failure` callbacks."""

    def __init__(self, routes: Routes, failure_routes: Routes, drain_timeout: float, max_streams: int | None) -> None:
        self.routes = routes
        self.failure_routes = failure_routes
        self.is_closed = False
        """Whether the third phase has begun: nothing is read any more, and no subscriber can be added."""
        self.is_left = False
        self.last: list[Mailbox] = []
        """The mailboxes that the end of the block closed: those open when the third phase began, those that were too
        slow before, and the one whose failure ended it."""
        self.deadlines = SubscriberDeadlines(self.last)
        self.running = RunningStreams(routes, self.deadlines, max_streams)
        self._tasks = CallbackTasks(self.running.changed.notify)
        self._drain_timeout = drain_timeout
        self._reported: list[Mailbox] = []
        self._stack = AsyncExitStack()
        self._task: anyio.TaskInfo | None = None
        self._drained: anyio.CancelScope | None = None
        self._reporters: TaskGroup | None = None
        self._deliveries: TaskGroup | None = None
        self._streams: TaskGroup | None = None
        self._failure: BaseException | None = None

    @property
    def is_open(self) -> bool:
        """Whether the block was entered, and its end has not begun to be delivered."""
        return self._task is not None and not self.is_closed

    def renewed(self) -> "Lifetime":
        """Return the lifetime of the next block: what the end of this one closed is open again, iterators excepted."""
        routes, failure_routes = self.routes.reopened(self.last), self.failure_routes.reopened(self._reported)
        return Lifetime(routes, failure_routes, self._drain_timeout, self.running.max_streams)

    async def enter(self) -> None:
        """Enter the task groups, and begin to deliver."""
        self._task = anyio.get_current_task()
        self._tasks.take_variables()
        stack = self._stack
        self._drained = anyio.CancelScope()
        self._reporters = await stack.enter_async_context(anyio.create_task_group())
        stack.push(self._end_reporting)
        self._deliveries = await stack.enter_async_context(anyio.create_task_group())
        self.running.publishers.begin(self._deliveries)
        stack.push(self._close)
        self._streams = await stack.enter_async_context(anyio.create_task_group())
        stack.push(self._end_block)
        for mailbox in self.failure_routes.open:
            self.start_reporting(mailbox)
        for mailbox in self.routes.open:
            self.start_delivery(mailbox)
        self.running.changed.notify()

    async def leave(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        """Go through the four phases. Return whether `exc`, of the block, has been dealt with.

        Raises:
            RuntimeError: the block was entered by another task, or not at all.
        """
        if self._task is None:
            raise RuntimeError("the Processor was not entered")
        if anyio.get_current_task().coro is not self._task.coro:  # ids are given again
            await self._end_elsewhere()
            raise RuntimeError(LEFT_ELSEWHERE) from exc
        is_handled = False
        try:
            is_handled = bool(await self._stack.__aexit__(kind, exc, traceback))
        except BaseExceptionGroup as group:
            failure: BaseException | None = lone_exception(group)
        else:
            failure = self._failure
        finally:
            self.is_left = True
            self.running.changed.notify()
        if failure is None or failure is exc:
            return is_handled and failure is None
        raise failure  # out of the handler, so that it keeps its own cause and context

    def _end_block(self, kind: object, exc: BaseException | None, traceback: object) -> bool:
        """Begin phase 1. An exception of the block leaves it in the end."""
        is_failure = isinstance(exc, Exception | KeyboardInterrupt | SystemExit)
        if exc is not None and not is_failure:
            return False
        if exc is not None and not self.fail(exc):
            _log.error("the block failed while a subscriber's failure ended it", exc_info=exc)
        self.deadlines.limit(self._drain_timeout)
        self.running.stop_pacing()
        return is_failure

    def _close(self, kind: object, exc: BaseException | None, traceback: object) -> None:
        """Begin phase 3."""
        self._end(self.routes, self.last)
        if exc is None and self._reporters is not None and self._deliveries is not None and self._drained is not None:
            scopes = self._deliveries.cancel_scope, self._drained
            self._reporters.start_soon(close_late_subscribers, self._seconds, self.last, *scopes)

    def _end_reporting(self, kind: object, exc: BaseException | None, traceback: object) -> None:
        """Begin phase 4."""
        self._end(self.failure_routes, self._reported)
        if exc is None and self._reporters is not None and self._drained is not None:
            self._drained.cancel()
            self._reporters.cancel_scope.deadline = anyio.current_time() + self._seconds

    @property
    def _seconds(self) -> float:
        return 0 if isinstance(self._failure, KeyboardInterrupt) else self._drain_timeout

    def _end(self, routes: Routes, ended: list[Mailbox]) -> None:
        """Let mailboxes take nothing new. What waits is still delivered."""
        self.is_closed = True
        self.running.publishers.end()
        ended += routes.open
        for mailbox in ended:
            mailbox.end()

    async def _end_elsewhere(self) -> None:
        """Go through the phases in another task than that of the block, which may be gone: leave no task behind."""
        self.stop()
        await self.running.until_ended()
        for routes, ended in ((self.routes, self.last), (self.failure_routes, self._reported)):
            if not self.is_left:
                self._end(routes, ended)
            with anyio.move_on_after(self._drain_timeout):
                await self.running.until(lambda: not self._tasks.serving(ended))  # noqa: B023
            for mailbox in self._tasks.serving(ended):
                mailbox.abandon()
            await self.running.until(lambda: not self._tasks.serving(ended))  # noqa: B023
        self.is_left = True
        self.running.changed.notify()

    def stop(self) -> None:
        """Stop all streams. What they did is still delivered, within `drain_timeout` seconds."""
        self.running.stop(self._drain_timeout)

    async def until_left(self) -> None:
        """Return when the block was left."""
        await self.running.until(lambda: self.is_left)

    def streams(self) -> TaskGroup:
        """Return the group of the streams.

        Raises:
            RuntimeError: the block was not entered, or is being left, or the streams were stopped.
        """
        if self._streams is None:
            raise RuntimeError("expected an open Processor: read streams inside of `async with Processor()`")
        if self.is_closed:
            raise RuntimeError("the Processor is closed: it reads nothing any more")
        if self.running.is_stopped:
            raise RuntimeError("the Processor was stopped: it reads nothing any more")
        return self._streams

    def start_delivery(self, mailbox: Mailbox) -> None:
        """Deliver to one more subscriber, now or as soon as the block is entered."""
        self._tasks.start(self._deliveries, mailbox)

    def start_reporting(self, mailbox: Mailbox) -> None:
        """Report failures to one more `on_failure` callback, now or as soon as the block is entered."""
        self._tasks.start(self._reporters, mailbox)

    def fail(self, failure: BaseException) -> bool:
        """End the block with `failure`. Return whether it is the first one, which leaves the block."""
        if self._failure is not None or self._streams is None:
            return False
        self._failure = failure
        self._streams.cancel_scope.cancel()
        return True

    def is_calling(self) -> bool:
        """Return whether the current task is in a callback: what waits for deliveries would wait for itself."""
        return anyio.get_current_task().id in self._tasks.ids

    def check_outside_callbacks(self, what: str, instead: str) -> None:
        """Check that the current task is in no callback.

        Raises:
            RuntimeError: it is.
        """
        if self.is_calling():
            raise RuntimeError(f"{what} in a callback would wait for that callback: {instead}")
