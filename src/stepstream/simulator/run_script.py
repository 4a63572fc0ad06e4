"""What a run says and does in its course: its events in order, and its object as they change it.

No IO and no clock: a script is moved on by taking its next event, and does not depend on when that is.
"""

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Final, NamedTuple

from stepstream.simulator import nested, objects, step_events
from stepstream.simulator.event_writer import EventWriter, StepState
from stepstream.simulator.objects import JSON
from stepstream.simulator.scenario import Act, Ending, FunctionCalls, McpCall, Scenario
from stepstream.simulator.timed_event import TimedEvent
from stepstream.wire.sse import Frame
from stepstream.wire.statuses import RUN_TERMINAL


class AwaitedCalls(NamedTuple):
    """A step of calls that waits for the client."""

    act: FunctionCalls | McpCall
    step: StepState
    calls: list[JSON]

    @property
    def action(self) -> JSON:
        """What the run's `required_action` says."""
        action = nested.outputs_action if isinstance(self.act, FunctionCalls) else nested.approval_action
        return action(self.calls)


class _Cut(NamedTuple):
    """What becomes of the steps and messages that are open when a run ends."""

    step_status: str
    message_reason: str


CUTS: Final[Mapping[str, _Cut]] = {
    "failed": _Cut("failed", "run_failed"),
    "cancelled": _Cut("cancelled", "run_cancelled"),
    "expired": _Cut("expired", "run_expired"),
    "incomplete": _Cut("completed", "max_tokens"),
}
"""By the status with which a run ends."""

_DONE: Final = TimedEvent(0, Frame("done", b"[DONE]"))


class RunScript:
    """The course of one run: `first`, then `resume` after each wait for the client, or `cancel` at any time.

    Each gives the events of one stream. Taking an event changes the run's status and its object to what that event
    says.
    """

    def __init__(self, scenario: Scenario, writer: EventWriter, settings: JSON) -> None:
        self.scenario = scenario
        self.writer = writer
        self.status = "queued"
        self.awaited: AwaitedCalls | None = None
        """What the client is to answer, while the run waits for it."""
        self._settings = settings
        self._acts = enumerate(scenario.acts, 1)
        self._started_at: int | None = None
        self._ended_at: int | None = None

    @property
    def is_terminal(self) -> bool:
        """Whether the run has ended."""
        return self.status in RUN_TERMINAL

    def object(self) -> JSON:
        """Return the run as it stands."""
        has_ended = self.is_terminal
        ending = self.scenario.ending
        is_own_end = has_ended and self.status == ending.status
        data = objects.run(
            self.writer.owner,
            self._settings,
            self.status,
            started_at=self._started_at,
            ended_at=self._ended_at,
            required_action=self.awaited.action if self.awaited and self.status == "requires_action" else None,
            failure=ending.failure if is_own_end else None,
            incomplete=ending.reason if is_own_end else None,
            spent=self.writer.spent if has_ended else None,
        )
        return self.writer.with_times(data)

    def first(self, new_thread: JSON | None) -> Iterator[TimedEvent]:
        """Yield the events of the first stream. That of a run on a new thread begins with the thread's."""
        if new_thread is not None:
            yield self.writer.event("thread.created", new_thread)
        yield self._event("created", "queued")
        yield from self._start()
        yield from self._play_acts()

    def resume(self, answered: AwaitedCalls, answers: Mapping[str, str | bool | None]) -> Iterator[TimedEvent]:
        """Yield the events that follow the client's answers, which are outputs or approvals by call id."""
        writer, (act, step, calls) = self.writer, answered
        if isinstance(act, McpCall):
            yield self._event("created", "queued")  # Azure creates the run once more
            yield from self._start()
            yield from step_events.tool_result_events(writer, act, step, calls, approved=bool(answers[calls[0]["id"]]))
        else:
            calls = [{**call, "function": {**call["function"], "output": answers[call["id"]]}} for call in calls]
            yield writer.end_step(step, nested.tool_calls(calls), delay=0)
            yield from self._start()
        yield from self._play_acts()

    def cancel(self) -> Iterator[TimedEvent]:
        """Yield the events that cancel the run, whatever was to come."""
        yield self._event("cancelling")
        yield from self._end(Ending(status="cancelled"))

    def _start(self) -> Iterator[TimedEvent]:
        yield self._event("queued")
        self._started_at = self.writer.now()
        yield self._event("in_progress")

    def _play_acts(self) -> Iterator[TimedEvent]:
        """Yield what follows until the client is needed or the scenario is over."""
        ending, last = self.scenario.ending, len(self.scenario.acts)
        for number, act in self._acts:
            yield from islice(self._play(act), ending.after if number == last else None)
            if self.awaited is not None:
                yield self._event("requires_action")
                yield _DONE
                return
        yield from self._end(ending)

    def _play(self, act: Act) -> Iterator[TimedEvent]:
        if isinstance(act, FunctionCalls):
            self.awaited = AwaitedCalls(act, *(yield from step_events.function_call_events(self.writer, act)))
        elif isinstance(act, McpCall):
            self.awaited = AwaitedCalls(act, *(yield from step_events.approval_events(self.writer, act)))
        else:
            yield from step_events.hosted_events(self.writer, act)

    def _end(self, ending: Ending) -> Iterator[TimedEvent]:
        """Yield the end of the run, before it that of everything open."""
        writer, cut = self.writer, CUTS.get(ending.status)
        if ending.status == "expired":
            writer.advance_clock(writer.owner.expires_at)
        if ending.status == "cancelled" and self.status != "cancelling":
            yield self._event("cancelling")
        for step in [] if cut is None else [step for step in writer.steps.values() if step.ended is None]:
            assert cut is not None
            if step.message is not None and step.message.ended is None:
                yield writer.end_message(step.message, reason=cut.message_reason)
            failure = ending.failure if cut.step_status == "failed" else None
            yield writer.end_step(step, status=cut.step_status, failure=failure)
        self._ended_at = writer.now()
        yield self._event(ending.status)
        yield _DONE

    def _event(self, name: str, status: str | None = None) -> TimedEvent:
        """Return the run's event of that name, with the run as it stands then."""
        self.status = status or name
        return self.writer.event(f"thread.run.{name}", self.object())
