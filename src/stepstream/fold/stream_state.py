"""What belongs to one stream, of those that share a `State`: its count of events, its anomalies, what it touched."""

from collections.abc import Container, Iterator
from typing import Any, Final, TypeVar, get_args

from stepstream.fold.anomalies import Anomaly, AnomalyCode
from stepstream.fold.builder import Append, SnapshotBuilder
from stepstream.fold.changes import Change, MessageProgress, MessageTransition, StepProgress, StepTransition
from stepstream.fold.entry import RunEntry, StreamOrigin
from stepstream.fold.object_table import ObjectTable
from stepstream.fold.orphans import EventRef, OrphanDeltas
from stepstream.fold.sizes import RunSizes
from stepstream.fold.state import State, run_key
from stepstream.fold.subjects import run_in
from stepstream.fold.tree import Node
from stepstream.wire.events import Event
from stepstream.wire.messages import Message
from stepstream.wire.objects import Run, RunStep

V = TypeVar("V")

MAX_ANOMALIES: Final = 1_000
"""How many anomalies of a stream are kept. All are counted, and all are among the changes."""

MAX_TOUCHED: Final = 100_000
"""How many runs, steps and messages, each, a stream keeps for its outcome."""

_ALL_CHANGES: Final[frozenset[type[Any]]] = frozenset(get_args(Change))


class StreamState:
    """What one stream does not share with others: its count of events, its anomalies, what it touched."""

    __slots__ = (
        "_places", "anomalies", "anomaly_count", "append", "context", "is_reconciled", "journal", "messages", "origin",
        "orphans", "received_at", "runs", "sequence", "sizes", "state", "steps", "wanted",
    )  # fmt: skip

    def __init__(self, state: State, context: object) -> None:
        self.state = state
        self.context: Any = context
        self.origin = StreamOrigin(context)
        self.origin.is_read = True
        self.sizes = RunSizes(state.max_run_bytes)
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

    def touch_whole(self, run_id: str) -> None:
        """Record that the stream is about a run that was folded before: its outcome has all of it."""
        self.touch_run(run_id)
        entry = self.state.find(run_key(run_id, ""))
        if entry is not None:
            self.steps.touched.update(entry.steps)
            self.messages.touched.update(entry.messages)

    def meet(self, table: ObjectTable[Any], builder: SnapshotBuilder[Any], run_id: str | None) -> None:
        """Record that the stream named a known object, maybe with its run, which it may not have named before."""
        identifier = builder.base.id
        if table.touched.get(identifier) is not builder:
            touch(table.touched, identifier, builder)
        if run_id and builder.run_id is None:
            self._move(table, builder, run_id)

    def adopt(self, run_id: str) -> None:
        """Keep what named no run with the first one that the stream names; but what a user wrote belongs to none."""
        for table in (self.steps, self.messages):
            for one in table.touched.values():
                if one.run_id is None and getattr(one.base, "role", None) != "user":
                    self._move(table, one, run_id)

    def _move(self, table: ObjectTable[Any], builder: SnapshotBuilder[Any], run_id: str) -> None:
        builder.invalidate()
        self.state.leave(builder.run_key)
        builder.run_key = run_key(run_id, "")
        table.add(builder).origin = self.origin

    def ref(self, event: Event) -> EventRef:
        """Return the newest event as what changes come from."""
        return EventRef(event, (event.name, self.sequence, self.context, event.id, self.received_at))

    def open_entries(self) -> Iterator[RunEntry]:
        """Give the open runs that this stream touched."""
        keys = [run_key(identifier, "") for identifier in self.runs]
        keys += [one.run_key for table in (self.steps, self.messages) for one in table.touched.values()]
        for found in map(self.state.find, dict.fromkeys(keys)):
            if found is not None and not found.is_finished:
                yield found

    def check_sizes(self, coming: int) -> None:
        """Look at what the open runs hold, as one may hold too much once so many bytes more are folded."""
        self.sizes.check(self.open_entries(), coming)

    def release(self) -> None:
        """Let go of the context, now that the stream is over. Only runs that wait for action keep it, to go on.

        Its open runs may be forgotten from now on, unless they are heard of again.
        """
        touched = list(self.open_entries())
        self.sizes.end(touched)
        for one in touched:
            if one.origin is self.origin:
                self.state.idle.add(one.key, self.received_at)
        kept = StreamOrigin(self.origin.context, self.origin.variables, self.origin.settling)
        for identifier in self.runs:
            entry = self.state.find(run_key(identifier, ""))
            if entry is not None and entry.waits and entry.origin is self.origin:
                entry.origin = kept
        self.origin.context = self.origin.variables = None
        self.origin.is_read = False

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
        idle = self.state.forget_idle(self.received_at) if self.state.idle else ()
        dropped = self.state.bound(entry)
        if not dropped and not idle:
            return []
        expected, got = f"at most {self.state.max_open_runs:,} open runs", "more: the oldest is forgotten"
        told = [self._evicted(ref, key, "news of an open run", "none for too long: it is forgotten") for key in idle]
        return told + [self._evicted(ref, key, expected, got) for key in dropped]

    def overflows(self, ref: EventRef, builder: SnapshotBuilder[Any], delta: Node, told: list[Change]) -> bool:
        """Return whether a delta is to be dropped, as its run would hold too much. The first one of a run is `told`."""
        if not self.sizes.exceeds(builder, delta):
            return False
        entry: RunEntry = builder.counted_in
        if not entry.is_overfull:
            entry.is_overfull = True
            expected, got = f"at most {self.state.max_run_bytes:,} bytes in a run", "more: its deltas are dropped"
            run_id = entry.key.partition(":")[2]
            told.append(self.anomaly(ref, "run_overflow", run_id, expected, got))
        return True

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
