"""The accumulator: events in, changes out.

How it works: the type of an event's data leads to its rule. A full object opens, updates or ends what is known under
its id, a delta adds to it (`updates`). Both are made trees and combined with the tree of what grows (`combining`), a
delta after it was checked as a whole (`deltas`); it costs the same however much came before. Snapshots are built from
that tree when they are read (`builder`). Steps and messages follow the same rules and share the code; of runs the
newest object wins (`runs`). What is known lives in a `State`, which several streams may share; a `StreamState` holds
what belongs to one stream.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, cast

from stepstream.dialects.translation import AUTO, Translation, says_end
from stepstream.errors import DecodeError
from stepstream.fold.anomalies import Anomaly, AnomalyCode
from stepstream.fold.changes import Change
from stepstream.fold.export import load_into, save
from stepstream.fold.runs import apply_run
from stepstream.fold.snapshots import messages_of, runs_of, steps_of
from stepstream.fold.state import DEFAULT_MAX_OPEN_RUNS, DEFAULT_RETAIN, State
from stepstream.fold.stream_state import StreamState
from stepstream.fold.updates import apply_delta, apply_object
from stepstream.wire.deltas import MessageDelta, RunStepDelta
from stepstream.wire.events import DEFAULT_MAX_DEPTH, Event, Malformed, UnknownData
from stepstream.wire.messages import Message
from stepstream.wire.objects import Run, RunStep, Thread
from stepstream.wire.sse import Frame, FrameDecoder


def _malformed(stream: StreamState, event: Event) -> list[Change]:
    data = cast(Malformed, event.data)
    code = cast(AnomalyCode, data.code)
    return [stream.anomaly(stream.ref(event), code, data.id, data.expected, data.got)]


def _bad_fields(stream: StreamState, event: Event) -> list[Change]:
    """Return the fields of an object that did not fit as anomalies. They come before the object's own changes."""
    data, ref = cast(RunStep | Message | Run | Thread, event.data), stream.ref(event)
    run_id = data.id if isinstance(data, Run) else getattr(data, "run_id", None)
    whose = (run_id, getattr(data, "thread_id", None) or None) if run_id else None
    return [stream.anomaly(ref, "bad_field", data.id, bad.expected, bad.got, whose) for bad in event.bad_fields]


def _rules(stream: StreamState) -> Mapping[type[Any], Callable[[Event], list[Change]]]:
    """Return what folds each type of data. All else (a thread, the end, an unknown event) folds to nothing."""
    return {
        RunStepDelta: partial(apply_delta, stream, stream.steps),
        MessageDelta: partial(apply_delta, stream, stream.messages),
        RunStep: partial(apply_object, stream, stream.steps),
        Message: partial(apply_object, stream, stream.messages),
        Run: partial(apply_run, stream),
        Malformed: partial(_malformed, stream),
    }


class Accumulator:
    """Fold the events of one stream into snapshots.

    `retain` bounds the finished runs that are kept, `max_open_runs` the open ones, `max_depth` the nesting of JSON.
    `context` is any object; every change carries it. `state` shares what is known with other streams: then it is
    the state that says how many runs are kept. `dialect` names the vocabulary of the frames; "auto" finds it out.
    """

    def __init__(
        self,
        *,
        retain: int = DEFAULT_RETAIN,
        max_open_runs: int = DEFAULT_MAX_OPEN_RUNS,
        max_depth: int = DEFAULT_MAX_DEPTH,
        context: object = None,
        state: State | None = None,
        dialect: str = AUTO,
    ) -> None:
        self.state: State = State(retain=retain, max_open_runs=max_open_runs) if state is None else state
        self.stream = StreamState(self.state, context)
        self.translation = Translation(self.state.dialect, dialect, max_depth=max_depth)
        self._rules = _rules(self.stream)

    def __repr__(self) -> str:
        return (
            f"<Accumulator {self.stream.sequence:,} events, {len(self.steps):,} steps, {len(self.runs):,} runs, "
            f"{self.anomaly_count:,} anomalies>"
        )

    @property
    def steps(self) -> Mapping[str, RunStep]:
        """The snapshots of all steps known, by id, each built when it is read."""
        return steps_of(self.state)

    @property
    def runs(self) -> Mapping[str, Run]:
        """The newest objects of all runs known, by id."""
        return runs_of(self.state)

    @property
    def messages(self) -> Mapping[str, Message]:
        """The snapshots of all messages known, by id, each built when it is read."""
        return messages_of(self.state)

    @property
    def anomalies(self) -> list[Anomaly]:
        """The first 1,000 anomalies of the stream."""
        return self.stream.anomalies

    @property
    def anomaly_count(self) -> int:
        """How many anomalies there were."""
        return self.stream.anomaly_count

    def apply(self, event: Event) -> list[Change]:
        """Fold one event and return what it did, in order. Whatever the event holds, nothing is raised."""
        stream, sizes = self.stream, self.stream.sizes
        stream.sequence += 1
        stream.append = None
        size = len(event.payload)
        if sizes.unchecked + size > sizes.half:
            stream.check_sizes(size)
        sizes.unchecked += size
        bad = _bad_fields(self.stream, event) if event.bad_fields else []
        rule = self._rules.get(type(event.data))
        changes = [] if rule is None else rule(event)
        return [*bad, *changes] if bad else changes

    def apply_frame(self, frame: Frame) -> list[Change]:
        """Decode one frame, translate it where it came in a dialect, and fold it. An undecodable one is an anomaly."""
        try:
            events = self.translation.feed(frame)
        except DecodeError as error:
            return [self.reject(error, frame.id)]
        return [change for event in events for change in self.apply(event)]

    def reject(self, error: DecodeError, event_id: str = "") -> Anomaly:
        """Count an event that could not be decoded, and return the anomaly it is."""
        self.stream.sequence += 1
        event = Event(error.event, UnknownData(b""), id=event_id)
        return self.stream.anomaly(self.stream.ref(event), error.code, None, error.expected, error.got)

    def export(self) -> bytes:
        """Return everything known as bytes, to go on elsewhere with `restore`. The context is not part of it."""
        return save(self.stream, self.translation.save())

    @classmethod
    def restore(
        cls,
        data: bytes,
        *,
        retain: int = DEFAULT_RETAIN,
        max_open_runs: int = DEFAULT_MAX_OPEN_RUNS,
        max_depth: int = DEFAULT_MAX_DEPTH,
        context: object = None,
        dialect: str = AUTO,
    ) -> "Accumulator":
        """Return an accumulator that goes on where `export` was called.

        Raises:
            ValueError: `data` did not come from `export`.
        """
        limits: Any = {"retain": retain, "max_open_runs": max_open_runs, "max_depth": max_depth}
        restored = cls(**limits, context=context, dialect=dialect)
        load_into(restored.stream, restored.translation, data)
        return restored


def accumulate(chunks: Iterable[bytes], *, dialect: str = AUTO) -> Accumulator:
    """Return an accumulator that has folded a whole stream, given as chunks of bytes. It does not stop at `done`.

    Raises:
        FrameTooLarge: an event is longer than 16 MiB.
        ValueError: there is no such dialect.
    """
    accumulator = Accumulator(dialect=dialect)
    decoder = FrameDecoder()
    for chunk in chunks:
        for frame in decoder.feed(chunk):
            accumulator.apply_frame(frame)
    pending = decoder.pending()
    if pending is not None and not accumulator.translation.is_plain and says_end(pending):
        accumulator.apply_frame(pending)
    for event in accumulator.translation.finish():
        accumulator.apply(event)
    return accumulator
