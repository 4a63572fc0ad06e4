"""The processor: streams in, your code called."""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from types import TracebackType
from typing import Any, Final, Self, TypeAlias

import anyio
import anyio.lowlevel
from anyio.abc import TaskGroup

from stepstream.errors import StepStreamError, StreamTruncated
from stepstream.fold.accumulator import Accumulator
from stepstream.fold.present import present
from stepstream.fold.state import DEFAULT_MAX_OPEN_RUNS, DEFAULT_RETAIN, State
from stepstream.fold.stream import StreamFold
from stepstream.live.cancellation import lone
from stepstream.live.failure import Failure, Statistics
from stepstream.live.filters import Wanted
from stepstream.live.handle import StreamHandle
from stepstream.live.hub import Hub, Listeners
from stepstream.live.ledger import Ledger
from stepstream.live.options import Delivery, check_at_least
from stepstream.live.outcome import Outcome, outcome_of
from stepstream.live.patience import Patience, give_up_after
from stepstream.live.pump import pump
from stepstream.live.reader import Reader
from stepstream.live.source import Source, opened, translated
from stepstream.live.subscription import Subscription, checked_callback
from stepstream.live.waiting import Waiting
from stepstream.wire.events import DEFAULT_MAX_DEPTH
from stepstream.wire.sse import DEFAULT_MAX_EVENT_BYTES

EVENTS_BETWEEN_CHECKPOINTS: Final = 512
"""A source that never waits lets other tasks run, and can be cancelled, after this many events."""

OnFailure: TypeAlias = Callable[[Failure], Awaitable[object]]

_log = logging.getLogger("stepstream.live")


class Processor(Waiting):
    """Read streams, fold them, and deliver what they do to subscribers.

    Subscribers may be registered before the `async with` block and at any time in it; streams are read inside it.
    Leaving the block waits for the streams started in it, then delivers what was folded, for at most `drain_timeout`
    seconds; `on_failure` has as long again. An exception in the block ends the streams, and leaves it as it is after
    that delivery.

    Streams that are still read then go on to their end. But a subscriber that keeps one waiting for `drain_timeout`
    seconds is given up: it is closed, its call is cancelled, and what it missed is logged.

    With `strict`, the first exception of a subscriber ends the block and leaves it; else it is logged and counted.
    `max_event_bytes` and `max_depth` bound one event. `retain` bounds the finished runs that are remembered from
    stream to stream, `max_open_runs` the unfinished ones.
    """

    def __init__(
        self,
        *,
        strict: bool = False,
        drain_timeout: float = 10,
        max_event_bytes: int = DEFAULT_MAX_EVENT_BYTES,
        max_depth: int = DEFAULT_MAX_DEPTH,
        retain: int = DEFAULT_RETAIN,
        max_open_runs: int = DEFAULT_MAX_OPEN_RUNS,
    ) -> None:
        super().__init__(self._admit)
        check_at_least(0, int | float, drain_timeout=drain_timeout)
        check_at_least(0, int, retain=retain)
        check_at_least(1, int, max_event_bytes=max_event_bytes, max_depth=max_depth, max_open_runs=max_open_runs)
        self._strict = strict
        self._drain_timeout = drain_timeout
        self._max_event_bytes = max_event_bytes
        self._max_depth = max_depth
        self._state = State(retain=retain, max_open_runs=max_open_runs)
        self._hub = Hub()
        self._failures = Hub()
        self._callback_tasks: set[int] = set()
        self._reading: dict[int, StreamFold] = {}
        self._lifetime: AbstractAsyncContextManager[None] | None = None
        self._tellers: TaskGroup | None = None
        self._pumps: TaskGroup | None = None
        self._streams: TaskGroup | None = None
        self._patience = Patience()
        self._last: list[Subscription] = []
        self._is_closed = False
        self._failure: BaseException | None = None
        self._events = 0
        self._anomalies = 0

    def __repr__(self) -> str:
        events, anomalies = self._counts()
        return f"<Processor {len(self._hub)} subscribers, {events:,} events, {anomalies:,} anomalies>"

    async def __aenter__(self) -> Self:
        if self._lifetime is not None:
            raise RuntimeError("a Processor can be entered once: make a new one")
        self._lifetime = self._live()
        await self._lifetime.__aenter__()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        if self._lifetime is None:
            raise RuntimeError("the Processor was not entered")
        return await self._lifetime.__aexit__(exc_type, exc, traceback)

    async def run(self, source: Source, context: object = None) -> Outcome:
        """Read `source` to its end and return how it ended, when the callbacks have had all of its changes.

        A source is an async iterable of bytes, `Frame`s, `Event`s or SSE messages, or an async context manager that
        gives one, such as `connect(...)`. Every change of the stream carries `context`. Reading stops at `done`.

        Raises:
            StreamFailed: the stream carried an `error` event.
            StreamTruncated: it ended without `done`, and its run neither ended nor waits for action.
            FrameTooLarge: an event is longer than `max_event_bytes`.
            TransportError: the source failed; its exception is the cause.
            APIError, IdleTimeout: from `connect`.
            RuntimeError: outside of the processor's block, or in a callback, which would wait for itself.
            TypeError: it is no source.

        Each `StepStreamError` has `.outcome`: everything folded before.
        """
        self._check_open()
        self._check_outside_callbacks("run()", "use start(), which returns at once")
        return await self._read(source, self._accumulator(context))

    def on_failure(self, callback: OnFailure) -> OnFailure:
        """Register the decorated async function to be called with each `Failure` of a subscriber.

        Where 256 failures wait for it, further ones are dropped, and counted. Its own failures are logged only.

        Raises:
            TypeError: it is not async.
            RuntimeError: the processor is closed.
        """
        if self._is_closed:
            raise RuntimeError("the Processor is closed: it delivers nothing any more")
        subscription = Subscription((Failure,), Wanted(), Delivery(), checked_callback(callback))
        self._failures.add(subscription)
        self._start_pump(self._tellers, subscription)
        return callback

    def statistics(self) -> Statistics:
        """Return what was done so far."""
        events, anomalies = self._counts()
        opened, finished = self._state.order
        known = dict.fromkeys((*self._hub.failed, *(self._last or self._hub.open)))
        return Statistics(
            events=events,
            anomalies=anomalies,
            streams=len(self._reading),
            open_runs=len(opened),
            finished_runs=len(finished),
            unreported=sum(one.dropped for one in self._failures.newest),
            subscribers=tuple(one.statistics() for one in known),
        )

    def _counts(self) -> tuple[int, int]:
        """Return how many events and anomalies there were, those of streams that are being read too."""
        reading = self._reading.values()
        events = self._events + sum(stream.sequence for stream in reading)
        return events, self._anomalies + sum(stream.anomaly_count for stream in reading)

    def start(self, source: Source, context: object = None) -> StreamHandle:
        """Read `source` in a task of the processor and return at once. The handle's `outcome()` is what `run` gives.

        A failure of the stream is logged where nobody waits for its outcome.

        Raises:
            RuntimeError: outside of the processor's block.
        """
        streams = self._check_open()
        check = lambda: self._check_outside_callbacks("outcome()", "await it in a task of your own")  # noqa: E731
        handle = StreamHandle(check)
        streams.start_soon(handle.follow, self._read, source, self._accumulator(context))
        return handle

    @asynccontextmanager
    async def _live(self) -> AsyncIterator[None]:
        """Hold the tasks. Those that call callbacks outlive those that read, so that all that was folded arrives."""
        try:
            drained = anyio.CancelScope()
            async with self._telling(drained) as tellers, anyio.create_task_group() as self._pumps:
                for subscription in self._hub.open:
                    self._start_pump(self._pumps, subscription)
                try:
                    async with anyio.create_task_group() as self._streams:
                        try:
                            yield
                        except (Exception, KeyboardInterrupt, SystemExit) as exc:  # noqa: BLE001 - raised below
                            if not self._stop(exc):
                                _log.error("the block failed while a subscriber's failure ended it", exc_info=exc)
                        self._patience.end_in(self._drain_timeout)
                        self._release()
                finally:
                    self._is_closed = True
                    self._last = self._hub.open
                    for subscription in self._last:
                        subscription.end()
                if isinstance(self._failure, KeyboardInterrupt):
                    self._drain_timeout = 0
                calls = self._pumps.cancel_scope
                tellers.start_soon(give_up_after, self._drain_timeout, self._last, calls, drained)
        except BaseExceptionGroup as group:
            raise lone(group) from None
        if self._failure is not None:
            raise self._failure

    @asynccontextmanager
    async def _telling(self, drained: anyio.CancelScope) -> AsyncIterator[TaskGroup]:
        """Hold the tasks that tell of failures. They outlive those whose failures they are to tell."""
        async with anyio.create_task_group() as self._tellers:
            for subscription in self._failures.open:
                self._start_pump(self._tellers, subscription)
            yield self._tellers
            drained.cancel()
            for subscription in self._failures.open:
                subscription.end()
            self._tellers.cancel_scope.deadline = anyio.current_time() + self._drain_timeout

    def _accumulator(self, context: object) -> Accumulator:
        return Accumulator(max_depth=self._max_depth, context=context, state=self._state)

    async def _read(self, source: Source, accumulator: Accumulator) -> Outcome:
        limits: Any = {"max_event_bytes": self._max_event_bytes, "max_depth": self._max_depth}
        listeners = Listeners(self._hub)
        reader = Reader(accumulator, self._hub, listeners.hear, **limits)
        try:
            await self._publish(reader, source, listeners)
            outcome = reader.finish()
        except Exception as exc:
            if isinstance(exc, StepStreamError):
                exc.outcome = outcome_of(accumulator.stream, None)
            await self._delivered(listeners)
            raise
        await self._delivered(listeners)
        return outcome

    async def _publish(self, reader: Reader, source: Source, listeners: Listeners) -> None:
        stream = reader.accumulator.stream
        self._reading[id(stream)] = stream
        try:
            async with opened(source) as items:
                await self._publish_items(reader, items, listeners)
        except StepStreamError as exc:
            if not reader.is_done:
                raise
            _log.warning("a source failed when it was closed after done", exc_info=exc)
        finally:
            del self._reading[id(stream)]
            self._events += stream.sequence
            self._anomalies += stream.anomaly_count
            self._release()

    def _release(self) -> None:
        """Where the block is left and nothing is read any more: nobody waits for time to pass."""
        if self._patience.is_ending and not self._reading:
            for subscription in self._hub.open:
                subscription.release()

    async def _publish_items(self, reader: Reader, items: AsyncIterator[Any], listeners: Listeners) -> None:
        stream, rested = reader.accumulator.stream, 0
        while not reader.is_done:
            try:
                item = await anext(items)
            except StopAsyncIteration:
                return
            except StepStreamError:
                raise
            except Exception as exc:
                raise translated(exc) from exc
            if self._is_closed:
                raise StreamTruncated("the Processor was left before the stream ended")
            for _ in reader.read(item):
                if listeners.full or stream.sequence - rested >= EVENTS_BETWEEN_CHECKPOINTS:
                    rested = await self._rest(stream, listeners)
            if listeners.full or stream.sequence - rested >= EVENTS_BETWEEN_CHECKPOINTS:
                rested = await self._rest(stream, listeners)
            elif listeners.has_woken and listeners.let_run(anyio.current_time()):
                await anyio.lowlevel.checkpoint()

    async def _rest(self, stream: StreamFold, listeners: Listeners) -> int:
        """Wait for those who have no room, or let others run. Return how far the stream is."""
        await anyio.lowlevel.checkpoint()  # mostly they make room meanwhile
        while listeners.full:
            subscription = listeners.full.pop(0)
            if subscription.room.is_full or subscription.room.line:
                await self._patience.wait(subscription, subscription.room.wait)
        return stream.sequence

    async def _delivered(self, listeners: Listeners) -> None:
        """Return when the callbacks have had everything."""
        for subscription, ledger in listeners.ledgers.items():
            if subscription.has_callback and ledger.owed:
                await self._patience.wait(subscription, ledger.settled)

    def _admit(self, subscription: Subscription) -> None:
        """Deliver to one more subscription from now on."""
        if self._is_closed:
            raise RuntimeError("the Processor is closed: it delivers nothing any more")
        subscription.on_failure = partial(self._note, subscription)
        self._hub.add(subscription)
        if subscription.delivery.replay:
            for change in present(self._state, subscription.classes, subscription.key):
                if subscription.is_for(change):
                    subscription.offer(change, Ledger())
        self._start_pump(self._pumps, subscription)

    def _start_pump(self, tasks: TaskGroup | None, subscription: Subscription) -> None:
        if tasks is not None and subscription.has_callback:
            tasks.start_soon(pump, subscription, self._callback_tasks)

    def _note(self, subscription: Subscription, failure: Failure) -> bool:
        """Tell those who want to know of a failure. Return whether it was taken, and need not be logged."""
        for one in self._failures.open:
            if one.room.is_full:
                one.dropped += 1
            else:
                one.offer(failure, Ledger())
        if not self._strict or not failure.is_final:
            return False
        subscription.failure = failure.exception
        subscription.close()  # its failure ends the processor: it is not called again
        return self._stop(failure.exception)

    def _stop(self, failure: BaseException) -> bool:
        """End the block with `failure`. Return whether it is the first: the one that leaves the block."""
        if self._failure is not None or self._streams is None:
            return False
        self._failure = failure
        self._streams.cancel_scope.cancel()
        return True

    def _check_open(self) -> TaskGroup:
        if self._streams is None:
            raise RuntimeError("expected an open Processor: read streams inside of `async with Processor()`")
        if self._is_closed:
            raise RuntimeError("the Processor is closed: it reads nothing any more")
        return self._streams

    def _check_outside_callbacks(self, what: str, instead: str) -> None:
        if anyio.get_current_task().id in self._callback_tasks:
            raise RuntimeError(f"{what} in a callback would wait for that callback: {instead}")
