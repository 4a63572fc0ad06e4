"""What is known: a `State` that several streams may share, kept by run.

The state is three tables by id (runs, steps, messages) and, beside them, one `RunEntry` a run that says what belongs
together. Objects are kept and dropped by entry: open runs up to a number, finished ones up to another, the oldest
first. `sizes` bounds what one run holds; a stream keeps what it touched for its outcome. A step or message that names
no run is one of its stream's newest run, or has an entry of its own where there is none, until one is named.

A builder that is dropped gets another `version`: code that kept it for later (the fast path) sees that it is gone.
"""

from collections.abc import Sequence
from typing import Any, Final, TypeVar, get_args

from stepstream.dialects.state import DialectState
from stepstream.fold.builder import SnapshotBuilder
from stepstream.fold.changes import Change
from stepstream.fold.entry import RunEntry, StreamOrigin
from stepstream.fold.idle import IdleRuns
from stepstream.fold.sizes import DEFAULT_MAX_RUN_BYTES, RunSizes
from stepstream.fold.subjects import OF_RUN
from stepstream.wire.messages import Message
from stepstream.wire.objects import Run, RunStep

V = TypeVar("V")

DEFAULT_RETAIN: Final = 256
DEFAULT_MAX_OPEN_RUNS: Final = 10_000
DEFAULT_FORGET_AFTER: Final = 3_600.0

MAX_ANOMALIES: Final = 1_000
"""How many anomalies of a stream are kept. All are counted, and all are among the changes."""

MAX_TOUCHED: Final = 100_000
"""How many runs, steps and messages, each, a stream keeps for its outcome."""

_ALL_CHANGES: Final[frozenset[type[Any]]] = frozenset(get_args(Change))


class State:
    """The runs, steps and messages known. Several streams may share one.

    Of finished runs the newest `retain` are kept, of open ones the newest `max_open_runs`, and none of which nothing
    was heard for `forget_after` seconds, unless its stream is still read. One run holds at most `max_run_bytes` of what
    deltas add.
    """

    def __init__(
        self,
        *,
        retain: int = DEFAULT_RETAIN,
        max_open_runs: int = DEFAULT_MAX_OPEN_RUNS,
        forget_after: float | None = None,
        max_run_bytes: int = DEFAULT_MAX_RUN_BYTES,
    ) -> None:
        self.retain = retain
        self.max_open_runs = max_open_runs
        self.max_run_bytes = max_run_bytes
        self.idle = IdleRuns(forget_after)
        """Of the open runs those that no stream reads."""
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
        step.counted_in = entry if entry.is_counted else None
        return entry

    def add_message(self, message: SnapshotBuilder[Message]) -> RunEntry:
        """Keep a new message with its run, and return the entry of that."""
        entry = self.entry(message.run_key)
        self.messages[message.base.id] = entry.messages[message.base.id] = message
        message.counted_in = entry if entry.is_counted else None
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

    def place_loaded(self) -> None:
        """Put the entries that were loaded where they belong: finished ones apart, huge open ones counted."""
        for entry in [entry for entry in self._open.values() if entry.is_finished]:
            self._finished[entry.key] = self._open.pop(entry.key)
        for key in self._open:
            self.idle.add(key, None)
        RunSizes(self.max_run_bytes).check(self._open.values())

    def leave(self, key: str) -> None:
        """Let an entry go, but not the object that it was of: that is kept with a run from now on."""
        self._open.pop(key, None)
        self._finished.pop(key, None)
        self.idle.remove(key)

    def forget(self, key: str) -> None:
        """Drop an entry, open or not, with all that belongs to it."""
        entry = self._open.pop(key, None) or self._finished.pop(key, None)
        self.idle.remove(key)
        if entry is not None:
            self._drop(entry)

    def bound(self, entry: RunEntry) -> Sequence[str]:
        """Drop what exceeds the bounds after an entry changed; return the keys of open entries dropped."""
        if entry.is_finished:
            if entry.key in self._open:
                self._finished[entry.key] = self._open.pop(entry.key)
                self.idle.remove(entry.key)
            while len(self._finished) > self.retain:
                self._drop(self._finished.pop(next(iter(self._finished))))
        elif len(self._open) <= self.max_open_runs:
            return ()
        dropped = []
        while len(self._open) > self.max_open_runs:
            oldest = self._open.pop(next(iter(self._open)))
            self.idle.remove(oldest.key)
            self._drop(oldest)
            dropped.append(oldest.key)
        return dropped

    def forget_idle(self, now: float | None) -> list[str]:
        """Drop the open entries of which nothing was heard for too long; return their keys."""
        gone = [key for key in self.idle.due(now) if not self._open[key].origin.is_read]
        for key in gone:
            self._drop(self._open.pop(key))
        return gone

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
