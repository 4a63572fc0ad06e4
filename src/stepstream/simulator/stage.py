"""Where a run's events are made: its ids, its clock and its token count, shared by the acts that play on it.

Time is the story's own: each event's delay at real pace moves the clock, whatever pace the stream is sent at.
"""

from collections.abc import Iterator, Mapping
from itertools import count
from typing import Final, NamedTuple

import msgspec

from stepstream.simulator import shapes
from stepstream.simulator.scenario import Usage
from stepstream.simulator.shapes import JSON, Owner
from stepstream.wire.sse import Frame

DELAYS: Final[Mapping[str, float]] = {
    "thread.created": 0.0,
    "thread.run.created": 0.0,
    "thread.run.queued": 0.1,
    "thread.run.in_progress": 0.2,
    "thread.run.requires_action": 0.1,
    "thread.run.completed": 0.1,
    "thread.run.step.created": 0.2,
    "thread.run.step.in_progress": 0.02,
    "thread.run.step.delta": 0.018,
    "thread.run.step.completed": 0.1,
    "thread.message.created": 0.05,
    "thread.message.in_progress": 0.02,
    "thread.message.delta": 0.018,
    "thread.message.completed": 0.05,
}
"""Seconds before an event at real pace. The time that a tool takes is its act's own `seconds`."""


class Beat(NamedTuple):
    """One event of a stream, and the seconds that pass before it at real pace."""

    delay: float
    frame: Frame


class Step(NamedTuple):
    """A step in play."""

    id: str
    created_at: int


class Stage:
    """One run's ids, clock and token count. `number` tells its ids from those of other runs, `at` is Unix time."""

    def __init__(self, number: int, thread_id: str, assistant_id: str, at: float) -> None:
        self.owner = Owner(f"run_sim{number}", thread_id, assistant_id, int(at))
        self.spent = Usage(0, 0)
        """The tokens of the steps that have ended."""
        self._number = number
        self._count = count(1)
        self._clock = at

    def __repr__(self) -> str:
        return f"<Stage {self.owner.run_id} at {self.now()}>"

    def now(self) -> int:
        """Return the story's Unix time."""
        return int(self._clock)

    def catch_up(self, at: float) -> None:
        """Move the clock to `at`, unless it is past that already."""
        self._clock = max(self._clock, at)

    def new_id(self, kind: str) -> str:
        """Return an id that no other object of the application has."""
        return f"{kind}_sim{self._number}_{next(self._count)}"

    def new_step(self) -> Step:
        """Return a step created now."""
        return Step(self.new_id("step"), self.now())

    def beat(self, event: str, data: JSON, delay: float | None = None) -> Beat:
        """Return the event, and let its delay pass: the one of `DELAYS` unless given."""
        seconds = DELAYS[event] if delay is None else delay
        self._clock += seconds
        return Beat(seconds, Frame(event, msgspec.json.encode(data)))

    def open(self, step: Step, details: JSON) -> Iterator[Beat]:
        """Yield the events that create and start a step."""
        for name in ("created", "in_progress"):
            yield self.beat(f"thread.run.step.{name}", shapes.step(self.owner, step.id, step.created_at, details))

    def grow(
        self,
        step: Step,
        kind: str,
        payload: JSON,
        call_id: str | None = None,
        *,
        index: int = 0,
        delay: float | None = None,
    ) -> Beat:
        """Return a delta of the tool call at `index`. The one that opens a call gives its id."""
        opening = {} if call_id is None else {"id": call_id}
        call = {"index": index, **opening, "type": kind, kind: payload}
        return self.beat("thread.run.step.delta", shapes.step_delta(step.id, call), delay)

    def close(self, step: Step, details: JSON, usage: Usage, delay: float | None = None) -> Beat:
        """Return the event that completes a step, and count its tokens."""
        self.spent += usage
        closed = shapes.step(self.owner, step.id, step.created_at, details, completed_at=self.now(), spent=usage)
        return self.beat("thread.run.step.completed", closed, delay)
