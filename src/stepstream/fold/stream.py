"""What belongs to one stream: its count of events, its anomalies, what it touched, what waits."""

from collections.abc import Callable
from typing import Any, Final, NamedTuple, TypeVar

from stepstream.fold.changes import (
    Anomaly,
    AnomalyCode,
    MessageProgress,
    MessageTransition,
    StepProgress,
    StepTransition,
)
from stepstream.fold.grow import grow_message, grow_step
from stepstream.fold.growing import Growing
from stepstream.fold.state import State
from stepstream.fold.waiting import Cause, Waiting
from stepstream.wire.messages import Message
from stepstream.wire.objects import Run, RunStep

V = TypeVar("V")

MAX_ANOMALIES: Final = 1_000
"""How many anomalies are kept. All are counted, and all are among the changes."""

MAX_TOUCHED: Final = 100_000
"""How many runs, steps and messages one stream keeps for its outcome, of each kind."""


class StreamFold:
    """The part of the fold that one stream does not share with others."""

    __slots__ = ("anomalies", "anomaly_count", "context", "messages", "runs", "sequence", "state", "steps", "waiting")

    def __init__(self, state: State, context: object) -> None:
        self.state = state
        self.context: Any = context
        self.sequence = 0
        """How many events came."""
        self.anomalies: list[Anomaly] = []
        self.anomaly_count = 0
        self.runs: dict[str, Run] = {}
        """What this stream touched, in order of first sight; likewise the two below."""
        self.steps: dict[str, Growing[RunStep]] = {}
        self.messages: dict[str, Growing[Message]] = {}
        self.waiting = Waiting()

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
        text = f"more than {self.state.max_open_runs:,} runs are open: the oldest is forgotten"
        dropped = self.state.bound(key)
        return [self.anomaly(cause, "run_evicted", evicted.partition(":")[2], text) for evicted in dropped]


def touch(seen: dict[str, V], identifier: str, value: V) -> None:
    """Note `value` as the newest under its id. Beyond the bound, what was seen first is dropped."""
    seen[identifier] = value
    if len(seen) > MAX_TOUCHED:
        del seen[next(iter(seen))]


class Kind(NamedTuple):
    """Where steps and messages differ. All else is the same for both."""

    name: str
    transition: type[StepTransition | MessageTransition]
    progress: type[StepProgress | MessageProgress]
    grow: Callable[[Growing[Any], Any], bool]
    known: Callable[[State], dict[str, Growing[Any]]]
    add: Callable[[State, Growing[Any]], None]
    touched: Callable[[StreamFold], dict[str, Growing[Any]]]


STEP: Final = Kind(
    "step",
    StepTransition,
    StepProgress,
    grow_step,
    lambda state: state.steps,
    State.add_step,
    lambda stream: stream.steps,
)
MESSAGE: Final = Kind(
    "message",
    MessageTransition,
    MessageProgress,
    grow_message,
    lambda state: state.messages,
    State.add_message,
    lambda stream: stream.messages,
)
