"""Delivery to callbacks: one change after another, again where that was asked for, some runs side by side.

Each subscriber with a callback has a `CallbackRunner` for each run it may be called for at a time. A runner takes an
entry from the mailbox, makes the call, and deals with it in one way:

    delivered ──────────────► `_delivered`, or `_start_calls` itself
    failed, attempts left ──► pause, then again, unless newer progress makes that needless
    failed for good ────────► `_give_up`: reported, counted as delivered and failed
    closed or cancelled ────► `_drop`; where its lease is over, `_drop_lapsed`

Two calls from outside change that, and both may come inside the callback itself. `detach` (the subscription was closed)
gives the entry's room back at once, so that no stream waits for a callback that may be waiting for streams; its result
is still counted. `cancel`, which follows it, ends the call too, and no other is made. `RunnerState` has a table of what
may follow what.

Most calls end without waiting. So `_start_calls` makes them in a loop that awaits nothing, and what each would cost is
paid once for all: the contextvars are copied and entered, and room is given back. No other task can run meanwhile, and
what a callback may look at, such as `delivered`, is counted with each call.

A call is bounded by a cancel scope around the loop, not around each call: entering one for each call would cost more
than most callbacks. So a scope is left and entered anew after a call that was cut off.
"""

import logging
import math
from contextlib import nullcontext
from contextvars import Context

import anyio.lowlevel

from stepstream.live.batch_mailbox import without_lapsed
from stepstream.live.batch_queue import entries_of
from stepstream.live.cancellation import is_cancelled_from_outside
from stepstream.live.coroutines import StartedCall, cancelled_elsewhere, finish_call, has_changed, start_call
from stepstream.live.fifo_queue import Entry
from stepstream.live.log_ids import ids_of
from stepstream.live.mailbox import Mailbox
from stepstream.live.pauses import pause_before_next
from stepstream.live.runner_state import RunnerState
from stepstream.live.tracebacks import without_locals

_log = logging.getLogger("stepstream.live")


class CallbackRunner:
    """Makes one call at a time."""

    def __init__(self, mailbox: Mailbox, callback_tasks: set[int]) -> None:
        if mailbox.callback is None:
            raise RuntimeError("this subscription is an iterator")
        self._mailbox = mailbox
        self._callback = mailbox.callback
        self._callback_tasks = callback_tasks
        self._task = 0
        self._timeout = math.inf if mailbox.delivery.timeout is None else mailbox.delivery.timeout
        self._state = RunnerState.IDLE
        self.entry: Entry | None = None
        """The one being delivered."""
        self._attempt = 1
        self._scope = anyio.CancelScope()  # of the calls, or of the pause

    def detach(self) -> None:
        """Let nothing wait any more for the change being delivered, so that its callback may wait for streams."""
        self._callback_tasks.discard(self._task)
        if self.entry is not None and self._state in (RunnerState.CALLING, RunnerState.PAUSING):
            if self._state is RunnerState.PAUSING:
                self._scope.cancel()
            self._state = RunnerState.DETACHED
            self._mailbox.lose(self.entry)
            self._mailbox.release(self.entry)

    def cancel(self) -> None:
        """Cancel the call, and make no other."""
        self._state = RunnerState.CANCELLED
        self._scope.cancel()

    async def run(self) -> None:
        """Call the callback for one change after another, until the end."""
        self._task = anyio.get_current_task().id
        self._callback_tasks.add(self._task)
        self._mailbox.runners.append(self)
        try:
            await self._run()
        finally:
            if self.entry is not None:
                self._drop()
            self._callback_tasks.discard(self._task)
            self._mailbox.runners.remove(self)

    async def _run(self) -> None:
        while not self._state.is_last:
            failure: Exception | None = None  # that of the last call holds its change
            with anyio.CancelScope() as self._scope:
                failure = await self._call_until_failure(self._scope)
            if self._scope.cancelled_caught:
                failure = TimeoutError(f"the callback took longer than {self._timeout:g} s")
            if failure is None or self.entry is None:
                continue
            if self._state is not RunnerState.CANCELLED:
                await self._failed(self.entry, failure)
            elif not self._scope.cancelled_caught:  # it raised when it was cancelled
                self._mailbox.failed += self._size
                self._report(self.entry, failure, is_final=True)

    async def _call_until_failure(self, scope: anyio.CancelScope) -> Exception | None:
        """Call until the end, or until a call fails: return how. A call that takes too long cancels `scope`."""
        while True:
            started = variables = None  # nothing of the last call is kept while there is no other
            if self.entry is None:
                self.entry = await self._next()
                self._state = RunnerState.OVER if self.entry is None else RunnerState.CALLING
            if self.entry is None:
                return None
            if (lease := self.entry[1].lease) is not None and lease.is_over:
                self._drop_lapsed(self.entry)
                continue
            try:
                variables = self.entry[1].variables.copy()
                started = variables.run(self._start_calls, variables, self.entry)
            except (Exception, anyio.get_cancelled_exc_class()) as exc:  # noqa: BLE001 - user code: reported, and not raised
                return exc if isinstance(exc, Exception) else cancelled_elsewhere(exc)
            if started is not None:
                with nullcontext() if lease is None else lease.holding(scope):
                    failure = await finish_call(started, scope, self._timeout)
                if failure is None:
                    self._delivered()
                if failure is not None or scope.cancel_called:
                    return failure  # a call that succeeded in spite of that needs a fresh scope for the next one
                await anyio.lowlevel.checkpoint_if_cancelled()  # it may have been shielded from the end

    def _start_calls(self, variables: Context, entry: Entry) -> StartedCall | None:
        """Call for `entry`, and for the entries of its stream that follow, until a call waits: return the rest of it.

        To be called in `variables`, a copy of those of the stream. Once a call has set one of them it returns, too.
        """
        mailbox, callback, take_now = self._mailbox, self._callback, self._mailbox.take_now
        idle, calling, pending, lease = RunnerState.IDLE, RunnerState.CALLING, entry[1], entry[1].lease
        count = 0
        try:
            while entry[1] is pending:
                started = start_call(variables, callback, entry[0])
                if started is not None:
                    return started
                if take_now is None or self._state is not calling or self._attempt > 1:
                    self._delivered()
                    return None
                self.entry, self._state = None, idle
                mailbox.delivered += 1
                count += 1
                if has_changed(variables, pending.variables):
                    return None
                try:
                    entry = self.entry = take_now()
                except IndexError:
                    return None
                self._state = calling
                if lease is not None and lease.is_over:
                    return None
        finally:
            if count:
                mailbox.failures_in_a_row = 0
                mailbox.give_back(pending, count)
        return None

    async def _next(self) -> Entry | None:
        while True:
            try:
                return await self._mailbox.take()
            except anyio.get_cancelled_exc_class() as exc:
                if is_cancelled_from_outside():
                    raise
                _log.error("the task that calls %s was cancelled by foreign code", self._mailbox.name, exc_info=exc)

    @property
    def _size(self) -> int:
        """How many changes are being delivered."""
        return 0 if self.entry is None else len(entries_of(self.entry))

    def _delivered(self) -> None:
        self._mailbox.failures_in_a_row = 0
        self._mailbox.delivered += self._size
        self._done()

    def _done(self) -> None:
        entry, self.entry, self._attempt = self.entry, None, 1
        keeps_room = self._state in (RunnerState.CALLING, RunnerState.PAUSING)
        if self._state is not RunnerState.CANCELLED:
            self._state = RunnerState.IDLE
        if entry is not None and keeps_room:
            self._mailbox.settle(entry)

    def _drop(self) -> None:
        """Count the change being delivered as lost."""
        if self.entry is not None:
            self._mailbox.drop(self.entry)
        self._done()

    def _drop_lapsed(self, entry: Entry) -> None:
        """Drop what must not be delivered any more; of a list, keep the rest."""
        if self._state is RunnerState.DETACHED:
            return self._drop()
        self.entry, self._state = without_lapsed(self._mailbox, entry), RunnerState.CALLING
        return None if self.entry is not None else self._done()

    async def _failed(self, entry: Entry, failure: Exception) -> None:
        """Wait for the next attempt, or give the change up."""
        mailbox, lease = self._mailbox, entry[1].lease
        if lease is not None and lease.is_over:
            return self._drop_lapsed(entry)
        is_final = self._attempt >= mailbox.delivery.attempts or mailbox.is_closed
        self._report(entry, failure, is_final=is_final)
        if is_final:
            self._give_up(failure)
            return await anyio.lowlevel.checkpoint_if_cancelled()  # where it raised instead of being cancelled
        if self._state is RunnerState.CALLING:  # else the report has closed the subscription
            self._state = RunnerState.PAUSING
            with anyio.CancelScope() as self._scope, nullcontext() if lease is None else lease.holding(self._scope):
                await anyio.sleep(pause_before_next(mailbox, entry, self._attempt, failure))
                await mailbox.until_paced(entry)
        if mailbox.is_closed:
            self._drop()
        elif mailbox.queue.has_newer(entry):
            mailbox.coalesced += 1
            self._done()
        else:
            mailbox.retried += 1
            mailbox.queue.count_call(entry, anyio.current_time())
            self._attempt += 1
            self._state = RunnerState.CALLING
        return None

    def _report(self, entry: Entry, failure: Exception, *, is_final: bool) -> None:
        """Report a failure in the contextvars of its change: `on_failure` and log records have them too."""
        change, pending = entry
        pending.variables.copy().run(self._mailbox.report, change, failure, self._attempt, is_final=is_final)

    def _give_up(self, failure: Exception) -> None:
        mailbox = self._mailbox
        mailbox.failed += self._size
        mailbox.delivered += self._size
        mailbox.failures_in_a_row += 1
        ids = ids_of(self.entry and self.entry[0])
        self._done()
        if mailbox.failures_in_a_row == mailbox.delivery.max_failures:
            mailbox.failure = mailbox.failure or without_locals(failure)
            mailbox.close()
            count = mailbox.failures_in_a_row
            _log.error("closed the subscriber %s after %d failures in a row", mailbox.name, count, extra=ids)
