"""What belongs to one stream: its count of events, its anomalies, what it touched, what waits."""

from collections.abc import Callable
from typing import Any, Final, Generic, TypeVar

from stepstream.fold.changes import (
    Anomaly,
    AnomalyCode,
    Change,
    MessageProgress,
    MessageTransition,
    StepProgress,
    StepTransition,
)
from stepstream.fold.grow import Addition, Opening, call_of_step, part_of_message, piece_of_message, piece_of_step
from stepstream.fold.growing import Growing
from stepstream.fold.state import State
from stepstream.fold.waiting import Cause, Waiting
from stepstream.wire.messages import Message
from stepstream.wire.objects import Run, RunStep

V = TypeVar("V")
Obj = TypeVar("Obj", RunStep, Message)

MAX_ANOMALIES: Final = 1_000
"""How many anomalies are kept. All are counted, and all are among the changes."""

MAX_TOUCHED: Final = 100_000
"""How many runs, steps and messages one stream keeps for its outcome, of each kind."""


class Side(Generic[Obj]):
    """One side of a stream, its steps or its messages: what differs between the two. All rules are the same."""

    __slots__ = ("add", "is_steps", "known", "name", "opening_of", "piece_of", "progress", "touched", "transition")

    def __init__(
        self,
        name: str,
        transition: type[StepTransition | MessageTransition],
        progress: type[StepProgress | MessageProgress],
        piece_of: Callable[[Growing[Obj], Any], Addition | None],
        opening_of: Callable[[Growing[Obj], Any], Opening | None],
        known: dict[str, Growing[Obj]],
        add: Callable[[Growing[Obj]], None],
    ) -> None:
        self.name = name
        self.is_steps = name == "step"
        self.transition: Callable[..., Change] = transition
        self.progress: Callable[..., Change] = progress
        self.piece_of: Callable[[Growing[Obj], Any], Addition | None] = piece_of
        """The short cut for the usual delta."""
        self.opening_of: Callable[[Growing[Obj], Any], Opening | None] = opening_of
        """That for the delta which comes before it."""
        self.known: dict[str, Growing[Obj]] = known
        """All that are known, by id."""
        self.add: Callable[[Growing[Obj]], None] = add
        """Keeps a new one with its run."""
        self.touched: dict[str, Growing[Obj]] = {}
        """Those that this stream touched, in order of first sight."""


class StreamFold:
    """The part of the fold that one stream does not share with others."""

    __slots__ = (
        "anomalies",
        "anomaly_count",
        "context",
        "is_reconciled",
        "messages",
        "runs",
        "sequence",
        "state",
        "steps",
        "waiting",
    )

    def __init__(self, state: State, context: object) -> None:
        self.state = state
        self.context: Any = context
        self.sequence = 0
        """How many events came."""
        self.anomalies: list[Anomaly] = []
        self.anomaly_count = 0
        self.is_reconciled = False
        """Whether the server was asked for what the stream did not tell."""
        self.runs: dict[str, Run] = {}
        """The runs that this stream touched, in order of first sight."""
        self.steps = Side[RunStep](
            "step", StepTransition, StepProgress, piece_of_step, call_of_step, state.steps, state.add_step
        )
        self.messages = Side[Message](
            "message",
            MessageTransition,
            MessageProgress,
            piece_of_message,
            part_of_message,
            state.messages,
            state.add_message,
        )
        self.waiting = Waiting()

    def touch_run(self, identifier: str) -> None:
        """Note that the stream told of a run, maybe nothing new."""
        known = self.state.runs.get(identifier)
        if known is not None:
            touch(self.runs, identifier, known)

    def anomaly(self, cause: Cause, code: AnomalyCode, identifier: str | None, text: str) -> Anomaly:
        """Note and return an anomaly."""
        return self.note(Anomaly(cause.event.name, cause.sequence, self.context, code, identifier, text))

    def note(self, anomaly: Anomaly) -> Anomaly:
        """Count an anomaly, and keep it while there is room."""
        self.anomaly_count += 1
        if len(self.anomalies) < MAX_ANOMALIES:
            self.anomalies.append(anomaly)
        return anomaly

    def bound(self, cause: Cause, key: str) -> list[Anomaly]:
        """Keep the state within its bounds after the group of `key` changed; each open run dropped is an anomaly."""
        self.state.remember(key, self.context)
        dropped = self.state.bound(key)
        if not dropped:
            return []
        text = f"more than {self.state.max_open_runs:,} runs are open: the oldest is forgotten"
        return [self.anomaly(cause, "run_evicted", evicted.partition(":")[2], text) for evicted in dropped]


def touch(seen: dict[str, V], identifier: str, value: V) -> None:
    """Note `value` as the newest under its id. Beyond the bound, what was seen first is dropped."""
    seen[identifier] = value
    if len(seen) > MAX_TOUCHED:
        dropped = seen.pop(next(iter(seen)))
        if isinstance(dropped, Growing):
            dropped.version += 1
