"""Where a run's events are made: its ids, its clock and its objects, shared by the acts that play on it.

Time is the story's own: each event's delay at real pace moves the clock, whatever pace the stream is sent at.
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from itertools import count, cycle
from random import Random
from typing import Final, NamedTuple, TypeVar

import msgspec

from stepstream.simulator import shapes
from stepstream.simulator.scenario import Failure, Usage
from stepstream.simulator.shapes import JSON, Owner
from stepstream.simulator.sums import summed
from stepstream.wire.sse import Frame

T = TypeVar("T")

DELAYS: Final[Mapping[str, float]] = {
    "thread.created": 0.0,
    "thread.run.created": 0.0,
    "thread.run.in_progress": 0.2,
    "thread.run.step.created": 0.2,
    "thread.run.step.in_progress": 0.02,
    "thread.run.step.delta": 0.018,
    "thread.message.created": 0.05,
    "thread.message.in_progress": 0.02,
    "thread.message.delta": 0.018,
    "thread.message.completed": 0.05,
}
"""Seconds before an event at real pace; before all others 0.1. The time that a tool takes is its act's own."""

OTHER_DELAY: Final = 0.1

_OF_MEMBERS: Final = ("thread.run.step.", "thread.message.")


class Beat(NamedTuple):
    """One event of a stream, and the seconds that pass before it at real pace."""

    delay: float
    frame: Frame
    about: str | None = None
    """The id of the step or message that it is about."""


class Message:
    """A message in the making, and what it has become."""

    def __init__(self, identifier: str, created_at: int) -> None:
        self.id = identifier
        self.created_at = created_at
        self.sent: list[JSON] = []
        self.ended: JSON | None = None


class Step:
    """A step in the making, and what it has become."""

    def __init__(self, identifier: str, created_at: int, details: JSON, usage: Usage) -> None:
        self.id = identifier
        self.created_at = created_at
        self.opening = details
        self.usage = usage
        self.sent: list[JSON] = []
        self.ended: JSON | None = None
        self.message: Message | None = None

    @property
    def details(self) -> JSON:
        """Its `step_details` as far as they were sent."""
        return summed(self.sent) if self.sent else self.opening


class Stage:
    """One run's ids, clock and objects. `tag` tells its ids from those of other runs, `at` is Unix time."""

    def __init__(self, owner: Owner, tag: str, at: float, random: Random | None, *, float_times: bool = False) -> None:
        self.owner = owner
        self.random = random
        self.steps: dict[str, Step] = {}
        self.kept_bytes = 0
        """How much was said of steps and messages that have ended, or grow: about what is remembered."""
        self.spent = Usage(0, 0)
        """The tokens of the steps that have ended."""
        self.on_message: Callable[[Message], None] = lambda message: None
        """Is told of every message that begins."""
        self._tag = tag
        self._count = count(1)
        self._clock = at
        self._float_times = float_times

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
        return f"{kind}_{self._tag}_{next(self._count)}"

    def turns(self, players: Sequence[T]) -> Generator[T]:
        """Yield players for ever, in turns; at random where the stage has a seed."""
        if self.random is None:
            yield from cycle(players)
        while self.random is not None and players:
            yield self.random.choice(players)

    def beat(self, event: str, data: JSON, delay: float | None = None) -> Beat:
        """Return the event, and let its delay pass: the one of `DELAYS` unless given."""
        seconds = DELAYS.get(event, OTHER_DELAY) if delay is None else delay
        self._clock += seconds
        about = data["id"] if event.startswith(_OF_MEMBERS) else None
        payload = msgspec.json.encode(self.timed(data))
        self.kept_bytes += len(payload) if about is not None and not event.endswith(".delta") else 0
        return Beat(seconds, Frame(event, payload), about)

    def timed(self, data: JSON) -> JSON:
        """Return an object with its timestamps as this server writes them."""
        if not self._float_times:
            return data
        return {key: float(value) if key.endswith("_at") and value else value for key, value in data.items()}

    def step_object(self, step: Step) -> JSON:
        """Return a step as it stands."""
        return step.ended or shapes.step(self.owner, step.id, step.created_at, step.details)

    def message_object(self, message: Message) -> JSON:
        """Return a message as it stands."""
        content = summed(message.sent).get("content", [])
        return message.ended or self._message(message, content, status="in_progress")

    def open(self, details: JSON, usage: Usage) -> Generator[Beat, None, Step]:
        """Yield the events that create and start a step, and return it."""
        step = self.new_step(details, usage)
        yield from self.announce(step)
        return step

    def new_step(self, details: JSON, usage: Usage) -> Step:
        """Return a step of which nothing has been told."""
        step = Step(self.new_id("step"), self.now(), details, usage)
        self.steps[step.id] = step
        return step

    def announce(self, step: Step) -> Generator[Beat]:
        """Yield the events that create and start a step."""
        for name in ("created", "in_progress"):
            data = shapes.step(self.owner, step.id, step.created_at, step.opening)
            yield self.beat(f"thread.run.step.{name}", data)

    def grow(self, step: Step, call: JSON, delay: float | None = None) -> Beat:
        """Return a delta of one tool call, which has its `index`."""
        details = shapes.tool_calls([call])
        step.sent.append(details)
        return self.beat("thread.run.step.delta", shapes.step_delta(step.id, details), delay)

    def end(
        self,
        step: Step,
        details: JSON | None = None,
        *,
        status: str = "completed",
        failure: Failure | None = None,
        delay: float | None = None,
    ) -> Beat:
        """Return the event that ends a step, with the details it has by now unless given. Count its tokens."""
        self.spent += step.usage
        step.ended = shapes.step(
            self.owner,
            step.id,
            step.created_at,
            step.details if details is None else details,
            status=status,
            ended_at=self.now(),
            failure=failure,
            spent=step.usage,
        )
        step.sent.clear()
        return self.beat(f"thread.run.step.{status}", step.ended, delay)

    def open_message(self, step: Step, identifier: str) -> Generator[Beat, None, Message]:
        """Yield the events that create and start the message of a step, and return it."""
        message = step.message = Message(identifier, step.created_at)
        self.on_message(message)
        for name in ("created", "in_progress"):
            yield self.beat(f"thread.message.{name}", self._message(message, [], status="in_progress"))
        return message

    def grow_message(self, message: Message, part: JSON) -> Beat:
        """Return a delta of one part of a message's content, which has its `index`."""
        message.sent.append({"content": [part]})
        return self.beat("thread.message.delta", shapes.message_delta(message.id, [part]))

    def end_message(self, message: Message, content: list[JSON] | None = None, *, reason: str | None = None) -> Beat:
        """Return the event that ends a message, `reason` being why it is incomplete, with what it says by now."""
        status = "completed" if reason is None else "incomplete"
        content = summed(message.sent).get("content", []) if content is None else content
        message.ended = self._message(message, content, status=status, ended_at=self.now(), reason=reason)
        message.sent.clear()
        return self.beat(f"thread.message.{status}", message.ended)

    def _message(
        self,
        message: Message,
        content: list[JSON],
        *,
        status: str,
        ended_at: int | None = None,
        reason: str | None = None,
    ) -> JSON:
        owner = self.owner
        return shapes.message(
            message.id,
            owner.thread_id,
            message.created_at,
            content,
            owner=owner,
            status=status,
            ended_at=ended_at,
            reason=reason,
        )
