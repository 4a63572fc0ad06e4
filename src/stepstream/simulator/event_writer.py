"""The writer of one run's events: it keeps the steps and messages as the events leave them."""

from collections.abc import Callable, Generator, Mapping
from random import Random
from typing import Final

import msgspec

from stepstream.simulator import nested, objects
from stepstream.simulator.delta_merge import merge_deltas
from stepstream.simulator.objects import JSON, Owner
from stepstream.simulator.scenario import Failure, Usage
from stepstream.simulator.stamps import Stamps
from stepstream.simulator.timed_event import TimedEvent
from stepstream.wire.sse import Frame

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
"""Seconds before an event at real pace. The time that a tool takes is its act's own."""

OTHER_DELAY: Final = 0.1
"""Seconds before all other events."""

_OF_MEMBERS: Final = ("thread.run.step.", "thread.message.")


class MessageState:
    """A message of a run as it stands: its deltas, then the object with which it ended."""

    def __init__(self, identifier: str, created_at: int) -> None:
        self.id = identifier
        self.created_at = created_at
        self.sent: list[JSON] = []
        self.ended: JSON | None = None


class StepState:
    """A step of a run as it stands: its deltas, then the object with which it ended."""

    def __init__(self, identifier: str, created_at: int, details: JSON, usage: Usage) -> None:
        self.id = identifier
        self.created_at = created_at
        self.initial = details
        self.usage = usage
        self.sent: list[JSON] = []
        self.ended: JSON | None = None
        self.message: MessageState | None = None

    @property
    def details(self) -> JSON:
        """Its `step_details` as far as they were sent."""
        return merge_deltas(self.sent) if self.sent else self.initial


class EventWriter(Stamps):
    """Write the events of one run, with the ids and times of `Stamps`."""

    def __init__(self, owner: Owner, tag: str, at: float, random: Random | None, *, float_times: bool = False) -> None:
        super().__init__(tag, at, random, float_times=float_times)
        self.owner = owner
        self.steps: dict[str, StepState] = {}
        self.kept_bytes = 0
        """Bytes of the full objects written of steps and messages: about what is remembered of them."""
        self.spent = Usage(0, 0)
        """The tokens of the steps that have ended."""
        self.on_message: Callable[[MessageState], None] = lambda message: None
        """Called with every message that begins."""

    def __repr__(self) -> str:
        return f"<EventWriter {self.owner.run_id} at {self.now()}>"

    def event(self, name: str, data: JSON, delay: float | None = None) -> TimedEvent:
        """Return the event, and let its delay pass on the clock: that of `DELAYS` unless given."""
        seconds = DELAYS.get(name, OTHER_DELAY) if delay is None else delay
        self.pass_time(seconds)
        about = data["id"] if name.startswith(_OF_MEMBERS) else None
        payload = msgspec.json.encode(self.with_times(data))
        self.kept_bytes += len(payload) if about is not None and not name.endswith(".delta") else 0
        return TimedEvent(seconds, Frame(name, payload), about)

    def step_object(self, step: StepState) -> JSON:
        """Return a step as it stands."""
        return step.ended or objects.step(self.owner, step.id, step.created_at, step.details)

    def message_object(self, message: MessageState) -> JSON:
        """Return a message as it stands."""
        content = merge_deltas(message.sent).get("content", [])
        return message.ended or self._message(message, content, status="in_progress")

    def open_step(self, details: JSON, usage: Usage) -> Generator[TimedEvent, None, StepState]:
        """Yield the events that create and start a step, and return it."""
        step = self.new_step(details, usage)
        yield from self.start_step(step)
        return step

    def new_step(self, details: JSON, usage: Usage) -> StepState:
        """Return a new step, whose first events are still to be written."""
        step = StepState(self.new_id("step"), self.now(), details, usage)
        self.steps[step.id] = step
        return step

    def start_step(self, step: StepState) -> Generator[TimedEvent]:
        """Yield the events that create and start a step."""
        for name in ("created", "in_progress"):
            data = objects.step(self.owner, step.id, step.created_at, step.initial)
            yield self.event(f"thread.run.step.{name}", data)

    def call_delta(self, step: StepState, call: JSON, delay: float | None = None) -> TimedEvent:
        """Return a delta of a step: of one tool call, which has its `index`."""
        details = nested.tool_calls([call])
        step.sent.append(details)
        return self.event("thread.run.step.delta", objects.step_delta(step.id, details), delay)

    def end_step(
        self,
        step: StepState,
        details: JSON | None = None,
        *,
        status: str = "completed",
        failure: Failure | None = None,
        delay: float | None = None,
    ) -> TimedEvent:
        """Return the event that ends a step, with the details it has by now unless given. Count its tokens."""
        self.spent += step.usage
        step.ended = objects.step(
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
        return self.event(f"thread.run.step.{status}", step.ended, delay)

    def open_message(self, step: StepState, identifier: str) -> Generator[TimedEvent, None, MessageState]:
        """Yield the events that create and start the message of a step, and return it."""
        message = step.message = MessageState(identifier, step.created_at)
        self.on_message(message)
        for name in ("created", "in_progress"):
            yield self.event(f"thread.message.{name}", self._message(message, [], status="in_progress"))
        return message

    def content_delta(self, message: MessageState, part: JSON) -> TimedEvent:
        """Return a delta of a message: of one part of its content, which has its `index`."""
        message.sent.append({"content": [part]})
        return self.event("thread.message.delta", objects.message_delta(message.id, [part]))

    def end_message(
        self, message: MessageState, content: list[JSON] | None = None, *, reason: str | None = None
    ) -> TimedEvent:
        """Return the event that ends a message, `reason` being why it is incomplete, with what it says by now."""
        status = "completed" if reason is None else "incomplete"
        content = merge_deltas(message.sent).get("content", []) if content is None else content
        message.ended = self._message(message, content, status=status, ended_at=self.now(), reason=reason)
        message.sent.clear()
        return self.event(f"thread.message.{status}", message.ended)

    def _message(
        self,
        message: MessageState,
        content: list[JSON],
        *,
        status: str,
        ended_at: int | None = None,
        reason: str | None = None,
    ) -> JSON:
        owner = self.owner
        return objects.message(
            message.id,
            owner.thread_id,
            message.created_at,
            content,
            owner=owner,
            status=status,
            ended_at=ended_at,
            reason=reason,
        )
