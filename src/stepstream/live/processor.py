"""The API of the processor, which reads streams, folds them and calls subscribers. Its parts are in other modules."""

import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeAlias

import anyio

from stepstream.errors import StepStreamError
from stepstream.fold.accumulator import Accumulator
from stepstream.fold.changes import Change
from stepstream.fold.outcome import Outcome, outcome_of
from stepstream.fold.state import DEFAULT_MAX_OPEN_RUNS, DEFAULT_RETAIN, State
from stepstream.live.handle import StreamHandle
from stepstream.live.lifetime import Lifetime
from stepstream.live.mailbox import Mailbox
from stepstream.live.options import Delivery, Filter
from stepstream.live.pending import PendingCount
from stepstream.live.reader import Reader, read_source
from stepstream.live.registration import checked_callback
from stepstream.live.replaying import replay_into
from stepstream.live.routing import Routes, StreamFanout
from stepstream.live.source import Source
from stepstream.live.statistics import Failure, Statistics, statistics_of
from stepstream.live.subscriptions import Subscription
from stepstream.live.waits import WaitMethods
from stepstream.wire.events import DEFAULT_MAX_DEPTH
from stepstream.wire.sse import DEFAULT_MAX_EVENT_BYTES

OnFailure: TypeAlias = Callable[[Failure], Awaitable[object]]

_log = logging.getLogger("stepstream.live")


class Processor(WaitMethods):
    """Read streams, fold them, and deliver what they do to subscribers.

    Subscribers may be registered before the `async with` block and at any time in it; streams are read inside it.
    Leaving the block waits for the streams started in it, then delivers what was folded, for at most `drain_timeout`
    seconds; `on_failure` has as long again. An exception in the block ends the streams, and leaves it as it is after
    that delivery.

    Streams that are still read then go on to their end. But a subscriber that keeps one waiting for `drain_timeout`
    seconds is closed: its call is cancelled, and what it missed is logged.

    With `strict`, the first exception of a subscriber ends the block and leaves it; else it is logged and counted.
    `max_event_bytes` and `max_depth` bound one event. `retain` bounds the finished runs that are remembered from
    stream to stream, `max_open_runs` the unfinished ones. `clock` returns Unix seconds, the `received_at` of changes;
    without one that is None.
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
        clock: Callable[[], float] | None = time.time,
    ) -> None:
        super().__init__(self._admit)
        _check_numbers(0, int | float, drain_timeout=drain_timeout)
        _check_numbers(0, int, retain=retain)
        _check_numbers(1, int, max_event_bytes=max_event_bytes, max_depth=max_depth, max_open_runs=max_open_runs)
        self._strict = strict
        self._reading: Any = {"max_event_bytes": max_event_bytes, "max_depth": max_depth, "clock": clock}
        self._state = State(retain=retain, max_open_runs=max_open_runs)
        self._routes = Routes()
        self._failure_routes = Routes()
        self._lifetime = Lifetime(self._routes, self._failure_routes, drain_timeout)
        self._block: AbstractAsyncContextManager[None] | None = None
        self._events = self._anomalies = 0  # of the streams that have ended

    def __repr__(self) -> str:
        events, anomalies = self._counts()
        return f"<Processor {len(self._routes)} subscribers, {events:,} events, {anomalies:,} anomalies>"

    async def __aenter__(self) -> Self:
        if self._block is not None:
            raise RuntimeError("a Processor can be entered once: make a new one")
        self._block = self._lifetime.block()
        await self._block.__aenter__()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        if self._block is None:
            raise RuntimeError("the Processor was not entered")
        return await self._block.__aexit__(exc_type, exc, traceback)

    @property
    def state(self) -> State:
        """What the streams have folded into, as of now: to be read only, neither changed nor kept.

        Reading it is no subscription: nothing is called or built for an event, so streams do not slow down.
        """
        return self._state

    async def run(self, source: Source, context: object = None) -> Outcome:
        """Read `source` to its end and return how it ended, when the callbacks have had all of its changes.

        A source is an async iterable of bytes, `Frame`s, `Event`s or SSE messages, or an async context manager that
        gives one, such as `connect(...)`. Every change of the stream carries `context`. Reading stops at `done`.
        Each `StepStreamError` has `.outcome`: everything folded before.

        Raises:
            StreamFailed: the stream carried an `error` event, or ended with an error without its name.
            StreamTruncated: it ended without `done` while its run went on, or none of its events is known.
            FrameTooLarge: an event is longer than `max_event_bytes`.
            TransportError: the source failed; its exception is the cause.
            APIError, IdleTimeout: from `connect`; the first also for a response that was given, by its status.
            RuntimeError: outside of the processor's block, or in a callback, which would wait for itself.
            TypeError: it is no source.
        """
        self._lifetime.streams()
        self._check_outside_callbacks("run()", "use start(), which returns at once")
        return await self._read(source, self._accumulator(context))

    def on_failure(self, callback: OnFailure) -> OnFailure:
        """Register the decorated async function to be called with each `Failure` of a subscriber.

        Where 256 failures wait for it, further ones are dropped, and counted. Its own failures are logged only.

        Raises:
            TypeError: it is not async.
            RuntimeError: the processor is closed.
        """
        self._check_not_closed()
        mailbox = Mailbox((Failure,), Filter(), Delivery(), checked_callback(callback))
        self._failure_routes.add(mailbox)
        self._lifetime.start_reporting(mailbox)
        return callback

    def statistics(self) -> Statistics:
        """Return what was done so far."""
        events, anomalies = self._counts()
        opened, finished = self._state.order
        known = dict.fromkeys((*self._routes.failed, *(self._lifetime.last or self._routes.open)))
        return Statistics(
            events=events,
            anomalies=anomalies,
            streams=len(self._lifetime.reading),
            open_runs=len(opened),
            finished_runs=len(finished),
            unreported=sum(one.dropped for one in self._failure_routes.newest),
            subscribers=tuple(map(statistics_of, known)),
        )

    def _counts(self) -> tuple[int, int]:
        """Return how many events and anomalies there were, those of streams that are being read included."""
        reading = self._lifetime.reading
        events = self._events + sum(stream.sequence for stream in reading)
        return events, self._anomalies + sum(stream.anomaly_count for stream in reading)

    def start(self, source: Source, context: object = None) -> StreamHandle:
        """Read `source` in a task of the processor and return at once. The handle's `outcome()` is what `run` gives.

        A failure of the stream is logged where no task waits for its outcome.

        Raises:
            RuntimeError: outside of the processor's block.
        """
        streams = self._lifetime.streams()
        check = lambda: self._check_outside_callbacks("outcome()", "await it in a task of your own")  # noqa: E731
        handle = StreamHandle(check)
        streams.start_soon(handle.follow, self._read, source, self._accumulator(context))
        return handle

    def _accumulator(self, context: object) -> Accumulator:
        return Accumulator(max_depth=self._reading["max_depth"], context=context, state=self._state)

    async def _read(self, source: Source, accumulator: Accumulator) -> Outcome:
        """Read a source to its end, wait for the callbacks, and return how it ended."""
        fanout, stream = StreamFanout(self._routes), accumulator.stream
        reader = Reader(accumulator, self._routes, fanout.dispatch, **self._reading)
        stream.origin.variables = fanout.variables
        try:
            self._lifetime.begin_reading(stream)
            try:
                await read_source(reader, source, fanout, self._lifetime)
            finally:
                self._events += stream.sequence
                self._anomalies += stream.anomaly_count
                self._lifetime.end_reading(stream)
            outcome = reader.finish()
        except Exception as exc:
            if isinstance(exc, StepStreamError):
                exc.outcome = outcome_of(stream, None)
            await self._delivered(fanout)
            raise
        else:
            await self._delivered(fanout)
            return outcome
        finally:
            stream.release()

    async def _delivered(self, fanout: StreamFanout) -> None:
        """Return when the callbacks have had every change of a stream."""
        for mailbox, pending in fanout.pending.items():
            if mailbox.has_callback and pending.count:
                await self._lifetime.deadlines.wait(mailbox, pending.wait)

    def _admit(self, subscription: Subscription) -> None:
        """Deliver to one more subscription from now on."""
        self._check_not_closed()
        mailbox = subscription._mailbox
        mailbox.on_failure = partial(self._on_failure, subscription)
        self._routes.add(mailbox)
        if mailbox.delivery.replay:
            replay_into(mailbox, self._state)
        self._lifetime.start_delivery(mailbox)

    def _on_failure(
        self, subscription: Subscription, change: Change | None, exception: Exception, attempt: int, is_final: bool
    ) -> bool:
        """Report a failure of a subscriber. Return whether it ends the block, and need not be logged."""
        failure = Failure(subscription, change, exception, attempt, is_final)
        for reporter in self._failure_routes.open:
            if reporter.gate.is_full:
                reporter.dropped += 1
            else:
                reporter.offer(failure, PendingCount())
        if not self._strict or not is_final:
            return False
        subscription._mailbox.failure = exception
        subscription.close()  # its failure ends the processor: it is not called again
        return self._lifetime.stop(exception)

    def _check_not_closed(self) -> None:
        if self._lifetime.is_closed:
            raise RuntimeError("the Processor is closed: it delivers nothing any more")

    def _check_outside_callbacks(self, what: str, instead: str) -> None:
        if anyio.get_current_task().id in self._lifetime.callback_tasks:
            raise RuntimeError(f"{what} in a callback would wait for that callback: {instead}")


def _check_numbers(least: int, kind: Any, **options: float) -> None:
    for name, value in options.items():
        if isinstance(value, bool) or not isinstance(value, kind):
            raise TypeError(f"expected {name} as a number, got {type(value).__name__}")
        if not value >= least:
            raise ValueError(f"expected {name} of at least {least}, got {value!r}")
