"""Delivering to callbacks: one after another, again where that was asked for, for some runs side by side."""

import logging
import math
from collections.abc import Coroutine
from typing import Any

import anyio
import anyio.lowlevel

from stepstream.live.backlog import Entry
from stepstream.live.calling import finished, foreign
from stepstream.live.cancellation import is_cancelled_from_outside
from stepstream.live.failure import Failure
from stepstream.live.subscription import Subscription

_log = logging.getLogger("stepstream.live")


async def pump(subscription: Subscription, tasks: set[int]) -> None:
    """Deliver changes to the callback of a subscription until the end. `tasks` knows the tasks that do."""
    try:
        async with anyio.create_task_group() as workers:
            for _ in range(subscription.delivery.concurrency - 1):
                workers.start_soon(_Worker(subscription, tasks).work)
            await _Worker(subscription, tasks).work()
    finally:
        subscription.close()


class _Worker:
    """Makes one call at a time."""

    def __init__(self, subscription: Subscription, tasks: set[int]) -> None:
        if subscription.callback is None:
            raise RuntimeError("this subscription is an iterator")
        self._subscription = subscription
        self._callback = subscription.callback
        self._tasks = tasks
        self._task = 0
        self._timeout = math.inf if subscription.delivery.timeout is None else subscription.delivery.timeout
        self._entry: Entry | None = None
        self._attempt = 1
        self._is_let_go = False
        self._is_abandoned = False
        self._is_over = False
        self._scope: anyio.CancelScope | None = None
        self._pausing: anyio.CancelScope | None = None

    def let_go(self) -> None:
        """Let nobody wait any more for the change in hand, so that the callback may wait for streams."""
        self._tasks.discard(self._task)
        if self._entry is not None and not self._is_let_go:
            self._is_let_go = True
            self._subscription.forget(self._entry)
        if self._pausing is not None:
            self._pausing.cancel()

    def cancel(self) -> None:
        """Cancel the call, and make no other."""
        self._is_abandoned = True
        if self._scope is not None:
            self._scope.cancel()

    async def work(self) -> None:
        """Call the callback for one change after another, until the end."""
        self._task = anyio.get_current_task().id
        self._tasks.add(self._task)
        self._subscription.hands.append(self)
        try:
            await self._work()
        finally:
            if self._entry is not None:
                self._drop()
            self._tasks.discard(self._task)
            self._subscription.hands.remove(self)

    async def _work(self) -> None:
        while not self._is_over and not self._is_abandoned:
            with anyio.CancelScope() as self._scope:
                failure = await self._serve(self._scope)
            if self._scope.cancelled_caught:
                failure = TimeoutError(f"the callback took longer than {self._timeout:g} s")
            if failure is None or self._entry is None:
                continue
            if not self._is_abandoned:
                await self._failed(self._entry, failure)
            elif not self._scope.cancelled_caught:  # it raised when it was cancelled
                self._subscription.failed += 1
                self._subscription.tell(Failure(self._subscription, self._entry[0], failure, self._attempt, True))

    async def _serve(self, scope: anyio.CancelScope) -> Exception | None:
        """Serve until the end, or until a call fails: return how. One that takes too long cancels `scope`."""
        subscription, callback = self._subscription, self._callback
        take_now = subscription.take_now
        while True:
            entry = self._entry
            if entry is None:
                try:
                    entry = self._entry = take_now()
                except IndexError:
                    entry = self._entry = await self._next()
            if entry is None:
                self._is_over = True
                return None
            try:
                coroutine = callback(entry[0])
                waited_for = coroutine.send(None)  # its first step, at once: most callbacks need no more
            except StopIteration:
                if self._is_let_go or self._attempt > 1:
                    self._delivered()
                else:
                    self._entry = None
                    subscription.take_in(entry)
            except (Exception, anyio.get_cancelled_exc_class()) as exc:  # noqa: BLE001 - its trouble is its own
                return exc if isinstance(exc, Exception) else foreign(exc)
            else:
                failure = await self._finish(coroutine, waited_for, scope)
                if failure is not None or scope.cancel_called:
                    return failure  # where it was done in spite of that, the next call needs a fresh scope
                await anyio.lowlevel.checkpoint_if_cancelled()  # it may have been shielded from the end

    async def _finish(self, coroutine: Coroutine[Any, Any, object], waited_for: Any, scope: Any) -> Exception | None:
        failure = await finished(coroutine, waited_for, scope, self._timeout)
        if failure is None:
            self._delivered()
        return failure

    async def _next(self) -> Entry | None:
        while True:
            try:
                return await self._subscription.take()
            except anyio.get_cancelled_exc_class() as exc:
                if is_cancelled_from_outside():
                    raise
                _log.error("somebody cancelled the task that calls %s", self._subscription.name, exc_info=exc)

    def _delivered(self) -> None:
        self._subscription.failures_in_a_row = 0
        self._subscription.delivered += 1
        self._done()

    def _done(self) -> None:
        entry, self._entry, self._attempt = self._entry, None, 1
        if entry is not None and not self._is_let_go:
            self._subscription.settle(entry)
        self._is_let_go = False

    def _drop(self) -> None:
        """Count the change in hand as lost."""
        self._subscription.dropped += 1
        self._done()

    async def _failed(self, entry: Entry, failure: Exception) -> None:
        """Wait for the next attempt, or give the change up."""
        subscription = self._subscription
        is_final = self._attempt >= subscription.delivery.attempts or subscription.is_closed
        subscription.tell(Failure(subscription, entry[0], failure, self._attempt, is_final))
        if is_final:
            self._give_up(failure)
            await anyio.lowlevel.checkpoint_if_cancelled()  # where it raised instead of being cancelled
            return
        with anyio.CancelScope() as self._pausing:
            await anyio.sleep(self._pause(failure))
        self._pausing = None
        if subscription.is_closed:
            self._drop()
        elif subscription.backlog.has_newer(entry):
            subscription.coalesced += 1
            self._done()
        else:
            subscription.retried += 1
            self._attempt += 1

    def _pause(self, failure: Exception) -> float:
        delivery = self._subscription.delivery
        try:
            return delivery.pause(self._attempt, failure)
        except Exception as exc:  # noqa: BLE001 - the user's function: its trouble costs a pause as usual
            _log.error("the backoff of the subscriber %s failed", self._subscription.name, exc_info=exc)
            return 1.0

    def _give_up(self, failure: Exception) -> None:
        subscription = self._subscription
        subscription.failed += 1
        subscription.delivered += 1
        subscription.failures_in_a_row += 1
        self._done()
        if subscription.failures_in_a_row == subscription.delivery.max_failures:
            count = subscription.failures_in_a_row
            _log.error("closed the subscriber %s after %d failures in a row", subscription.name, count)
            subscription.failure = subscription.failure or failure
            subscription.close()
