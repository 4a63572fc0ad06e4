"""What is known: a `State` that several streams may share, kept by run; and the part of one stream, `StreamState`.

The state is three tables by id (runs, steps, messages) and, beside them, one `RunEntry` a run that says what belongs
together. Objects are kept and dropped by entry: open runs up to a number, finished ones up to another, the oldest
first. What one run holds is not bounded here, and a stream keeps what it touched for its outcome. A step or message
that names no run has an entry of its own.

A builder that is dropped gets another `version`: code that kept it for later (the fast path) sees that it is gone.
"""

from collections.abc import Callable
from typing import Any, Final, Generic, TypeVar

from stepstream.fold.anomalies import Anomaly, AnomalyCode
from stepstream.fold.appends import (
    Append,
    EntryAppend,
    TextAppend,
    call_append,
    content_append,
    message_text_append,
    step_text_append,
)
from stepstream.fold.builder import SnapshotBuilder
from stepstream.fold.changes import (
    Change,
    MessageProgress,
    MessageTransition,
    StepProgress,
    StepTransition,
)
from stepstream.fold.orphans import EventRef, OrphanDeltas
from stepstream.wire.messages import Message
from stepstream.wire.objects import Run, RunStep

V = TypeVar("V")
Obj = TypeVar("Obj", RunStep, Message)

DEFAULT_RETAIN: Final = 256
DEFAULT_MAX_OPEN_RUNS: Final = 10_000

MAX_ANOMALIES: Final = 1_000
"""How many anomalies of a stream are kept. All are counted, and all are among the changes."""

MAX_TOUCHED: Final = 100_000
"""How many runs, steps and messages, each, a stream keeps for its outcome."""


class RunEntry:
    """A run with its steps and messages."""

    __slots__ = ("context", "key", "messages", "run", "steps")

    def __init__(self, key: str) -> None:
        self.key = key
        self.run: Run | None = None
        self.context: Any = None
        """That of the stream which named the run last."""
        self.steps: dict[str, SnapshotBuilder[RunStep]] = {}
        self.messages: dict[str, SnapshotBuilder[Message]] = {}

    @property
    def is_finished(self) -> bool:
        """Whether its run ended; without a run id, whether its only member did."""
        if self.key.startswith("run:"):
            return self.run is not None and self.run.is_terminal
        return all(step.ended for step in self.steps.values()) and all(one.ended for one in self.messages.values())


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
        self._open: dict[str, RunEntry] = {}
        self._finished: dict[str, RunEntry] = {}

    def entry(self, key: str) -> RunEntry:
        """Return the entry of `key`, a new one where it is not known."""
        found = self._open.get(key) or self._finished.get(key)
        if found is None:
            found = self._open[key] = RunEntry(key)
        return found

    def add_step(self, step: SnapshotBuilder[RunStep]) -> None:
        """Keep a new step with its run."""
        self.steps[step.base.id] = self.entry(step.run_key).steps[step.base.id] = step

    def add_message(self, message: SnapshotBuilder[Message]) -> None:
        """Keep a new message with its run."""
        self.messages[message.base.id] = self.entry(message.run_key).messages[message.base.id] = message

    def set_run(self, run: Run) -> None:
        """Keep the newest object of a run."""
        self.runs[run.id] = self.entry(run_key(run.id, "")).run = run

    def context_of(self, key: str) -> Any:
        """Return the context of the stream that named an entry last."""
        found = self._open.get(key) or self._finished.get(key)
        return found.context if found is not None else None

    @property
    def order(self) -> tuple[list[str], list[str]]:
        """The keys of the open entries and of the finished ones, each in the order in which they are dropped."""
        return list(self._open), list(self._finished)

    def bound(self, key: str) -> list[str]:
        """Drop what exceeds the bounds after the entry of `key` changed; return the keys of open entries dropped."""
        entry = self._open.get(key)
        if entry is not None and entry.is_finished:
            self._finished[key] = self._open.pop(key)
        while len(self._finished) > self.retain:
            self._drop(self._finished.pop(next(iter(self._finished))))
        dropped = []
        while len(self._open) > self.max_open_runs:
            oldest = self._open.pop(next(iter(self._open)))
            self._drop(oldest)
            dropped.append(oldest.key)
        return dropped

    def _drop(self, entry: RunEntry) -> None:
        if entry.run is not None:
            self.runs.pop(entry.run.id, None)
        for identifier, step in entry.steps.items():
            self.steps.pop(identifier, None)
            step.invalidate()
        for identifier, message in entry.messages.items():
            self.messages.pop(identifier, None)
            message.invalidate()


def run_key(run_id: object, otherwise: str) -> str:
    """Return the key of the entry of a run, or `otherwise` where an object names no run."""
    return f"run:{run_id}" if isinstance(run_id, str) else otherwise


class ObjectTable(Generic[Obj]):
    """The steps or the messages of a stream, and what differs between the two. All rules are the same."""

    __slots__ = ("add", "entry_append", "is_steps", "known", "name", "progress", "text_append", "touched", "transition")

    def __init__(
        self,
        name: str,
        transition: type[StepTransition | MessageTransition],
        progress: type[StepProgress | MessageProgress],
        text_append: Callable[[SnapshotBuilder[Obj], Any], TextAppend | None],
        entry_append: Callable[[SnapshotBuilder[Obj], Any], EntryAppend | None],
        known: dict[str, SnapshotBuilder[Obj]],
        add: Callable[[SnapshotBuilder[Obj]], None],
    ) -> None:
        self.name = name
        self.is_steps = name == "step"
        self.transition: Callable[..., Change] = transition
        self.progress: Callable[..., Change] = progress
        self.text_append: Callable[[SnapshotBuilder[Obj], Any], TextAppend | None] = text_append
        """Recognises the usual delta."""
        self.entry_append: Callable[[SnapshotBuilder[Obj], Any], EntryAppend | None] = entry_append
        """Recognises the one that comes before it."""
        self.known: dict[str, SnapshotBuilder[Obj]] = known
        """All that are known to the state, by id."""
        self.add: Callable[[SnapshotBuilder[Obj]], None] = add
        """Keeps a new one with its run."""
        self.touched: dict[str, SnapshotBuilder[Obj]] = {}
        """Those that this stream touched, in order of first sight."""


class StreamState:
    """What one stream does not share with others: its count of events, its anomalies, what it touched."""

    __slots__ = (
        "anomalies", "anomaly_count", "append", "context", "is_reconciled", "messages", "orphans", "runs", "sequence",
        "state", "steps",
    )  # fmt: skip

    def __init__(self, state: State, context: object) -> None:
        self.state = state
        self.context: Any = context
        self.sequence = 0
        """How many events came."""
        self.anomalies: list[Anomaly] = []
        self.anomaly_count = 0
        self.is_reconciled = False
        """Whether the server was asked for what the stream had not sent."""
        self.runs: dict[str, Run] = {}
        """The runs that this stream touched, in order of first sight."""
        self.steps = ObjectTable[RunStep](
            "step", StepTransition, StepProgress, step_text_append, call_append, state.steps, state.add_step
        )
        self.messages = ObjectTable[Message](
            "message",
            MessageTransition,
            MessageProgress,
            message_text_append,
            content_append,
            state.messages,
            state.add_message,
        )
        self.append: Append | None = None
        """What the last event did, where that was only an append."""
        self.orphans = OrphanDeltas()

    def touch_run(self, identifier: str) -> None:
        """Record that the stream named a run, maybe without anything new."""
        known = self.state.runs.get(identifier)
        if known is not None:
            touch(self.runs, identifier, known)

    def anomaly(self, ref: EventRef, code: AnomalyCode, identifier: str | None, expected: str, got: str) -> Anomaly:
        """Record and return an anomaly."""
        return self.count(Anomaly(ref.event.name, ref.sequence, self.context, code, identifier, expected, got))

    def count(self, anomaly: Anomaly) -> Anomaly:
        """Count an anomaly, and keep it while there is room."""
        self.anomaly_count += 1
        if len(self.anomalies) < MAX_ANOMALIES:
            self.anomalies.append(anomaly)
        return anomaly

    def bound(self, ref: EventRef, key: str) -> list[Anomaly]:
        """Keep the state within its bounds after the entry of `key` changed; each open run dropped is an anomaly."""
        self.state.entry(key).context = self.context
        dropped = self.state.bound(key)
        if not dropped:
            return []
        expected, got = f"at most {self.state.max_open_runs:,} open runs", "more: the oldest is forgotten"
        return [self.anomaly(ref, "run_evicted", evicted.partition(":")[2], expected, got) for evicted in dropped]


def touch(seen: dict[str, V], identifier: str, value: V) -> None:
    """Keep `value` as the newest under its id. Beyond `MAX_TOUCHED`, what was seen first is dropped."""
    seen[identifier] = value
    if len(seen) > MAX_TOUCHED:
        dropped = seen.pop(next(iter(seen)))
        if isinstance(dropped, SnapshotBuilder):
            dropped.invalidate()
