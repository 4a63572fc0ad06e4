"""What is known: a `State` that several streams may share, kept by run; and the part of one stream, `StreamState`.

The state is three tables by id (runs, steps, messages) and, beside them, one `RunEntry` a run that says what belongs
together. Objects are kept and dropped by entry: open runs up to a number, finished ones up to another, the oldest
first. What one run holds is not bounded here, and a stream keeps what it touched for its outcome. A step or message
that names no run is one of its stream's newest run, or has an entry of its own where there is none.

A builder that is dropped gets another `version`: code that kept it for later (the fast path) sees that it is gone.
"""

from collections.abc import Container, Sequence
from typing import Any, Final, TypeVar, get_args

from stepstream.dialects.state import DialectState
from stepstream.fold.anomalies import Anomaly, AnomalyCode
from stepstream.fold.builder import Append, SnapshotBuilder
from stepstream.fold.changes import Change, MessageProgress, MessageTransition, StepProgress, StepTransition
from stepstream.fold.entry import RunEntry, StreamOrigin
from stepstream.fold.object_table import ObjectTable
from stepstream.fold.orphans import EventRef, OrphanDeltas
from stepstream.fold.subjects import OF_RUN, run_in
from stepstream.wire.events import Event
from stepstream.wire.messages import Message
from stepstream.wire.objects import Run, RunStep

V = TypeVar("V")

DEFAULT_RETAIN: Final = 256
DEFAULT_MAX_OPEN_RUNS: Final = 10_000

MAX_ANOMALIES: Final = 1_000
"""How many anomalies of a stream are kept. All are counted, and all are among the changes."""

MAX_TOUCHED: Final = 100_000
"""How many runs, steps and messages, each, a stream keeps for its outcome."""

_ALL_CHANGES: Final[frozenset[type[Any]]] = frozenset(get_args(Change))


class State:
    """The runs, steps and messages known. Several streams may share one.

    Of finished runs the newest `retain` are kept, of open ones the newest `max_open_runs`.
    """

    def __init__(self, *, retain: int = DEFAULT_RETAIN, max_open_runs: int = DEFAULT_MAX_OPEN_RUNS) -> None:
        self.retain = retain
        self.max_open_runs = max_open_runs
        self.runs: dict[str, Run] = {}
        self.steps: dict[str, SnapshotBuilder[RunStep]] = {}
        self.messages: dict[str, SnapshotBuilder[Message]] = {}
        self.dialect = DialectState()
        """What the dialects of its streams know of the runs."""
        self._open: dict[str, RunEntry] = {}
        self._finished: dict[str, RunEntry] = {}

    def entry(self, key: str) -> RunEntry:
        """Return the entry of `key`, a new one where it is not known."""
        return self._open.get(key) or self._finished.get(key) or self._open.setdefault(key, RunEntry(key))

    def find(self, key: str) -> RunEntry | None:
        """Return the entry of `key`, or None where it is not known."""
        return self._open.get(key) or self._finished.get(key)

    def add_step(self, step: SnapshotBuilder[RunStep]) -> RunEntry:
        """Keep a new step with its run, and return the entry of that."""
        entry = self.entry(step.run_key)
        self.steps[step.base.id] = entry.steps[step.base.id] = step
        return entry

    def add_message(self, message: SnapshotBuilder[Message]) -> RunEntry:
        """Keep a new message with its run, and return the entry of that."""
        entry = self.entry(message.run_key)
        self.messages[message.base.id] = entry.messages[message.base.id] = message
        return entry

    def set_run(self, run: Run) -> RunEntry:
        """Keep the newest object of a run, and return its entry."""
        entry = self.entry(run_key(run.id, ""))
        self.runs[run.id] = entry.run = run
        return entry

    def origin_of(self, key: str) -> StreamOrigin:
        """Return the origin of the stream that named an entry last: without a context once that stream is over."""
        found = self.find(key)
        return found.origin if found is not None else StreamOrigin()

    @property
    def order(self) -> tuple[list[str], list[str]]:
        """The keys of the open entries and of the finished ones, each in the order in which they are dropped."""
        return list(self._open), list(self._finished)

    def separate_finished(self) -> None:
        """Put the finished entries where they belong, after all were loaded as open ones."""
        for entry in [entry for entry in self._open.values() if entry.is_finished]:
            self._finished[entry.key] = self._open.pop(entry.key)

    def forget(self, key: str) -> None:
        """Drop an entry, open or not, with all that belongs to it."""
        entry = self._open.pop(key, None) or self._finished.pop(key, None)
        if entry is not None:
            self._drop(entry)

    def bound(self, entry: RunEntry) -> Sequence[str]:
        """Drop what exceeds the bounds after an entry changed; return the keys of open entries dropped."""
        if entry.is_finished:
            if entry.key in self._open:
                self._finished[entry.key] = self._open.pop(entry.key)
            while len(self._finished) > self.retain:
                self._drop(self._finished.pop(next(iter(self._finished))))
        elif len(self._open) <= self.max_open_runs:
            return ()
        dropped = []
        while len(self._open) > self.max_open_runs:
            oldest = self._open.pop(next(iter(self._open)))
            self._drop(oldest)
            dropped.append(oldest.key)
        return dropped

    def _drop(self, entry: RunEntry) -> None:
        if entry.run is not None:
            self.runs.pop(entry.run.id, None)
            self.dialect.forget(entry.run.id)
        for identifier, step in entry.steps.items():
            self.steps.pop(identifier, None)
            step.invalidate()
        for identifier, message in entry.messages.items():
            self.messages.pop(identifier, None)
            message.invalidate()


def run_key(run_id: object, otherwise: str) -> str:
    """Return the key of the entry of a run, or `otherwise` where an object names no run."""
    return OF_RUN + run_id if isinstance(run_id, str) else otherwise


class StreamState:
    """What one stream does not share with others: its count of events, its anomalies, what it touched."""

    __slots__ = (
        "_places", "anomalies", "anomaly_count", "append", "context", "is_reconciled", "journal", "messages", "origin",
        "orphans", "received_at", "runs", "sequence", "state", "steps", "wanted",
    )  # fmt: skip

    def __init__(self, state: State, context: object) -> None:
        self.state = state
        self.context: Any = context
        self.origin = StreamOrigin(context)
        self.sequence = 0
        """How many events came."""
        self.received_at: float | None = None
        """When the newest of them came, where anything measures time."""
        self.anomalies: list[Anomaly] = []
        self.anomaly_count = 0
        self.is_reconciled = False
        """Whether the server was asked for what the stream had not sent."""
        self.runs: dict[str, Run] = {}
        """The runs that this stream touched, in order of first sight."""
        self.steps: ObjectTable[RunStep] = ObjectTable(
            "step", StepTransition, StepProgress, state.steps, state.add_step
        )
        self.messages: ObjectTable[Message] = ObjectTable(
            "message", MessageTransition, MessageProgress, state.messages, state.add_message
        )
        self.append: Append | None = None
        """What the last event did, where that was only an append."""
        self.orphans = OrphanDeltas()
        self.wanted: Container[type[Any]] = _ALL_CHANGES
        """The classes of changes that anyone wants. No others are made, except anomalies, which are kept."""
        self.journal = ""
        """The run whose journal the stream is read from: then `sequence` is the position in it."""
        self._places: dict[bool, tuple[int, int]] = {}

    def _ordinal(self, position: int) -> int:
        """Return which of the changes of an event the next anomaly is: 0 is its progress, 1 what it was told with.

        A delta that waited goes on where it was, beside the event that it joins with.
        """
        waited = position != self.sequence
        at, count = self._places.get(waited, (-1, 0))
        self._places[waited] = position, (count + 1 if at == position else 1 + waited)
        return self._places[waited][1]

    def touch_run(self, identifier: str) -> None:
        """Record that the stream named a run, maybe without anything new."""
        known = self.state.runs.get(identifier)
        if known is not None:
            touch(self.runs, identifier, known)

    def ref(self, event: Event) -> EventRef:
        """Return the newest event as what changes come from."""
        return EventRef(event, (event.name, self.sequence, self.context, event.id, self.received_at))

    def release(self) -> None:
        """Let go of the context, now that the stream is over. Only runs that wait for action keep it, to go on."""
        kept = StreamOrigin(self.origin.context, self.origin.variables, self.origin.settling)
        for identifier in self.runs:
            entry = self.state.find(run_key(identifier, ""))
            if entry is not None and entry.waits and entry.origin is self.origin:
                entry.origin = kept
        self.origin.context = self.origin.variables = None

    def anomaly(
        self,
        ref: EventRef,
        code: AnomalyCode,
        identifier: str | None,
        expected: str,
        got: str,
        whose: tuple[str | None, str | None] | None = None,
    ) -> Anomaly:
        """Record an anomaly, keep it while there is room, and return it. `whose` are its run and thread."""
        words = code, identifier, expected, got
        place = (self.journal, self._ordinal(ref.sequence)) if self.journal else ()
        anomaly = Anomaly(*ref.cause, *words, *(whose or self._run_and_thread_of(identifier)), *place)
        self.anomaly_count += 1
        if len(self.anomalies) < MAX_ANOMALIES:
            self.anomalies.append(anomaly)
        return anomaly

    def _run_and_thread_of(self, identifier: str | None) -> tuple[str | None, str | None]:
        """Return the ids of the run and thread that an object belongs to: by default those of the newest run."""
        state, one = self.state, identifier or ""
        builder = state.steps.get(one) or state.messages.get(one)
        if builder is not None and builder.run_id is not None:
            return builder.run_id, builder.base.thread_id or None
        run = state.runs.get(one) or next(reversed(self.runs.values()), None)
        return (run.id, run.thread_id or None) if run is not None else (None, None)

    def bound(self, ref: EventRef, entry: RunEntry) -> list[Anomaly]:
        """Keep the state within its bounds after an entry changed; each open run dropped is an anomaly."""
        entry.origin = self.origin
        dropped = self.state.bound(entry)
        if not dropped:
            return []
        expected, got = f"at most {self.state.max_open_runs:,} open runs", "more: the oldest is forgotten"
        return [self._evicted(ref, evicted, expected, got) for evicted in dropped]

    def _evicted(self, ref: EventRef, key: str, expected: str, got: str) -> Anomaly:
        _, _, identifier = key.partition(":")
        return self.anomaly(ref, "run_evicted", identifier, expected, got, whose=(run_in(key), None))


def touch(seen: dict[str, V], identifier: str, value: V) -> None:
    """Keep `value` as the newest under its id. Beyond `MAX_TOUCHED`, what was seen first is dropped."""
    seen[identifier] = value
    if len(seen) > MAX_TOUCHED:
        dropped = seen.pop(next(iter(seen)))
        if isinstance(dropped, SnapshotBuilder):
            dropped.invalidate()
