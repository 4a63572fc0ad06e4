"""The API of the processor, which reads streams, folds them and calls subscribers. Its parts are in other modules."""

import logging
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Self, Unpack

from stepstream.dialects.translation import AUTO, check_dialect
from stepstream.fold.accumulator import Accumulator
from stepstream.fold.changes import Change
from stepstream.fold.export import load_into
from stepstream.fold.outcome import Outcome
from stepstream.fold.sizes import DEFAULT_MAX_RUN_BYTES
from stepstream.fold.state import DEFAULT_FORGET_AFTER, DEFAULT_MAX_OPEN_RUNS, DEFAULT_RETAIN, State, run_key
from stepstream.fold.stream_state import StreamState
from stepstream.live.admission import AdmissionMethods
from stepstream.live.handle import StreamHandle
from stepstream.live.journal import WritableJournal, checked_journal
from stepstream.live.leases import Lease
from stepstream.live.lifetime import Lifetime
from stepstream.live.opening import OpeningMethods
from stepstream.live.processor_options import ProcessorOptions, check_numbers
from stepstream.live.reading import ReadingMethods
from stepstream.live.redelivery import redeliver
from stepstream.live.routing import Routes
from stepstream.live.settling import Settled
from stepstream.live.silent_fold import SilentFold
from stepstream.live.source import Source
from stepstream.live.statistics import Statistics, statistics_of
from stepstream.live.stream import LiveStream
from stepstream.wire.events import DEFAULT_MAX_DEPTH
from stepstream.wire.sse import DEFAULT_MAX_EVENT_BYTES

_log = logging.getLogger("stepstream.live")


class Processor(OpeningMethods, AdmissionMethods, ReadingMethods):
    """Read streams, fold them, and deliver what they do to subscribers.

    Subscribers may be registered before the `async with` block and at any time in it; streams are read inside it.
    Leaving the block waits for the streams started in it, then delivers what was folded, for at most `drain_timeout`
    seconds; `on_failure` has as long again. An exception in the block ends the streams, and leaves it as it is after
    that delivery.

    Streams that are still read then go on to their end. But a subscriber that keeps one waiting for `drain_timeout`
    seconds is closed: its call is cancelled, and what it missed is logged.

    It may be entered again after it was left: callbacks stay registered, what was known is forgotten. Hooks that are
    tasks of their own use `keep_open`, `ready` and `stop` instead of a block.

    With `strict`, the first exception of a subscriber ends the block and leaves it; else it is logged and counted.
    `max_event_bytes` and `max_depth` bound one event. `retain` bounds the finished runs that are remembered from
    stream to stream, `max_open_runs` the unfinished ones; one of which nothing was heard for `forget_after` seconds, by
    `clock`, is forgotten, unless its stream is still read. Deltas that would let one run hold more than `max_run_bytes`
    of what deltas add, a character counted as one, are dropped. So many as `max_streams` are read at a time: others
    wait, and are opened in the order of their `run` or `start`. `clock` returns Unix seconds, the `received_at` of
    changes; without one that is None. `dialect` names the vocabulary of all streams; "auto" finds it out. `journal`
    keeps the events of all streams for other readers.
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
        forget_after: float = DEFAULT_FORGET_AFTER,
        max_run_bytes: int = DEFAULT_MAX_RUN_BYTES,
        max_streams: int | None = None,
        journal: WritableJournal | None = None,
        dialect: str = AUTO,
        clock: Callable[[], float] | None = time.time,
    ) -> None:
        AdmissionMethods.__init__(self, strict=strict)
        check_numbers(0, int | float, drain_timeout=drain_timeout, forget_after=forget_after)
        check_numbers(0, int, retain=retain)
        check_numbers(1, int, max_event_bytes=max_event_bytes, max_depth=max_depth, max_open_runs=max_open_runs)
        check_numbers(
            1, int, max_run_bytes=max_run_bytes, **({} if max_streams is None else {"max_streams": max_streams})
        )
        self._folding: Any = {"max_depth": max_depth, "dialect": check_dialect(dialect)}
        self._reading: Any = {"max_event_bytes": max_event_bytes, "clock": clock}
        bounds: Any = {"retain": retain, "max_open_runs": max_open_runs, "max_run_bytes": max_run_bytes}
        ReadingMethods.__init__(self, partial(State, **bounds, forget_after=forget_after))
        self._journal = checked_journal(journal)
        self._events = self._anomalies = 0  # of the streams that have ended
        OpeningMethods.__init__(self, Lifetime(Routes(), Routes(), drain_timeout, max_streams), self._begin_again)

    @classmethod
    def restore(cls, data: bytes, **options: Unpack[ProcessorOptions]) -> Self:
        """Return a processor that knows what another one did when it gave `data` by `export`.

        Runs go on from there: only what is new to them is a change. `options` are those of `Processor`.

        Raises:
            ValueError: `data` did not come from `export`.
        """
        processor = cls(**options)
        known = processor._accumulator(None)
        load_into(known.stream, known.translation, data)
        return processor

    def __repr__(self) -> str:
        events, anomalies = self._counts()
        return f"<Processor {len(self._routes)} subscribers, {events:,} events, {anomalies:,} anomalies>"

    @property
    def journal(self) -> WritableJournal | None:
        """What keeps the events of its streams for other readers."""
        return self._journal

    @property
    def _routes(self) -> Routes:
        return self._lifetime.routes

    async def run(
        self,
        source: Source,
        context: object = None,
        *,
        deliver_after: int = 0,
        journal: WritableJournal | None = None,
    ) -> Outcome:
        """Read `source` to its end and return how it ended, when the callbacks have had all of its changes.

        A source is an async iterable of bytes, `Frame`s, `Event`s or SSE messages, or an async context manager that
        gives one, such as `connect(...)`. Every change of the stream carries `context`. Reading stops at `done`.
        Where a `journal` is given, its events go there instead of to the processor's; those of a journal do not.
        Each `StepStreamError` has `.outcome`: everything folded before. What the events up to the one with the ordinal
        `deliver_after` did is folded, and delivered to nobody: so a stream goes on that was `settled` up to there.

        Raises:
            StreamFailed: the stream carried an `error` event, or ended with an error without its name.
            StreamStopped: `stop` ended it.
            StreamTruncated: it ended without `done` while its run went on, or none of its events is known.
            FrameTooLarge: an event is longer than `max_event_bytes`.
            TransportError: the source failed; its exception is the cause.
            JournalError: its journal does not take it, or does not have what is followed any more.
            APIError, IdleTimeout: from `connect`; the first also for a response that was given, by its status.
            RuntimeError: outside of the processor's block, after `stop`, or in a callback, which would wait for itself.
            TypeError: it is no source.
        """
        self._lifetime.streams()
        self._lifetime.check_outside_callbacks("run()", "use start(), which returns at once")
        return await self._stream(context, deliver_after, journal).read(source)

    def statistics(self) -> Statistics:
        """Return what was done so far."""
        events, anomalies = self._counts()
        opened, finished = self._state.order
        last = self._lifetime.last if self._lifetime.is_closed else self._routes.open
        known = dict.fromkeys((*self._routes.failed, *last))
        return Statistics(
            events=events,
            anomalies=anomalies,
            streams=self._lifetime.running.read_now,
            waiting_streams=self._lifetime.running.waiting,
            open_runs=len(opened),
            finished_runs=len(finished),
            unreported=sum(one.dropped for one in self._lifetime.failure_routes.newest),
            subscribers=tuple(map(statistics_of, known)),
        )

    def _counts(self) -> tuple[int, int]:
        """Return how many events and anomalies there were, those of streams that are being read included."""
        reading = self._lifetime.running.reading
        events = self._events + sum(stream.sequence for stream in reading)
        return events, self._anomalies + sum(stream.anomaly_count for stream in reading)

    def start(
        self,
        source: Source,
        context: object = None,
        *,
        deliver_after: int = 0,
        journal: WritableJournal | None = None,
        lease: Lease | None = None,
    ) -> StreamHandle:
        """Read `source` in a task of the processor and return at once. The handle's `outcome()` is what `run` gives.

        A failure of the stream is logged where no task waits for its outcome. What is not delivered when a `lease` ends
        is dropped, and stays unsettled.

        Raises:
            RuntimeError: outside of the processor's block, or after `stop`.
        """
        streams = self._lifetime.streams()
        stream = self._stream(context, deliver_after, journal, lease)
        handle = StreamHandle(stream)
        streams.start_soon(handle._follow, stream, source)
        return handle

    async def redeliver(self, change: Change, subscriber: str, *, lease: Lease | None = None) -> int:
        """Deliver a change once more to the callbacks of a name. Return how many have dealt with it, by their options.

        Raises:
            RuntimeError: outside of the processor's block, or in a callback, which would wait for itself.
        """
        self._lifetime.streams()
        self._lifetime.check_outside_callbacks("redeliver()", "await it in a task of your own")
        return await redeliver(self._routes, change, subscriber, lease)

    def settled(self, run_id: str) -> Settled:
        """Return the newest event whose changes, and those before, every subscriber has settled: its ordinal in the
        stream of the run.

        It is an integer that can be awaited too, for what came so far. A subscriber has settled a change that it took,
        failed at for the last time, or got newer progress for. What one was closed with before it had that stays
        unsettled, unless it was closed by `close`. 0 where the run is not known.
        """
        return Settled.of(self._state.origin_of(run_key(run_id, "")).settling, run_id, self._lifetime)

    def export(self) -> bytes:
        """Return what is known of the runs as bytes, to go on elsewhere with `restore`.

        Contexts are not part of it, nor is what belongs to a stream: its anomalies, and deltas that came too early.
        """
        return self._accumulator(None).export()

    def _accumulator(self, context: object) -> Accumulator:
        return Accumulator(**self._folding, context=context, state=self._state)

    def _silent_fold(self) -> SilentFold:
        return SilentFold(self._accumulator(None))

    def _stream(
        self, context: object, deliver_after: int, journal: WritableJournal | None, lease: Lease | None = None
    ) -> LiveStream:
        """Begin a stream, which is to be read at once."""
        check_numbers(0, int, deliver_after=deliver_after)
        accumulator, own = self._accumulator(context), self._journal if journal is None else journal
        tap = None
        if own is not None:
            tap = self._lifetime.running.publishers.of(own).tap(accumulator, self._silent_fold)
        options: Any = {"deliver_after": deliver_after, "tap": tap, "lease": lease, **self._reading}
        return LiveStream(accumulator, self._lifetime, self._count, **options)

    def _count(self, stream: StreamState) -> None:
        self._events += stream.sequence
        self._anomalies += stream.anomaly_count

    def _begin_again(self) -> None:
        """Forget what is known, and let subscribers take changes again."""
        self._forget()
        self._lifetime = self._lifetime.renewed()
