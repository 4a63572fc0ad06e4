"""What a response says in its course: its events in order, and its object as they change it.

A scenario is as many responses as the client is needed in between, and one more. Each begins at the act after the one
that waited, so that a response can be continued more than once: each continuation tells the same.

No IO and no clock: a script is moved on by taking its next event, and does not depend on when that is.
"""

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, Final, NamedTuple

from stepstream.simulator.objects import JSON
from stepstream.simulator.responses import objects
from stepstream.simulator.responses.item_events import act_events, approved_call_events
from stepstream.simulator.responses.writer import ResponseWriter
from stepstream.simulator.scenario import Act, Ending, Failure, FunctionCalls, McpCall, Scenario, Together
from stepstream.simulator.timed_event import TimedEvent

ENDS: Final[Mapping[str, str]] = {"cancelled": "failed", "expired": "failed"}
"""The event that ends a response, where it is not named after the scenario's end: as Microsoft's host has it."""

STATUSES: Final[Mapping[str, str]] = {"expired": "failed"}
"""The status of a response, where it is not the scenario's end: nothing expires in this API."""

EXPIRED: Final = Failure("server_error", "The run has expired.")


class Start(NamedTuple):
    """Where in its scenario a response begins."""

    act: int = 0
    approved: McpCall | None = None
    """The call that the client has approved, which is made first."""
    request_id: str = ""
    """The request to approve it."""


class Waiting(NamedTuple):
    """What a response has left to the client, by the ids that its answers are to name."""

    act: FunctionCalls | McpCall
    ids: tuple[str, ...]
    next_act: int

    def start(self, answers: Mapping[str, Any]) -> Start:
        """Return where the response begins that follows these answers."""
        if isinstance(self.act, McpCall) and answers[self.ids[0]]:
            return Start(self.next_act, self.act, self.ids[0])
        return Start(self.next_act)


class ResponseScript:
    """The course of one response: `events`, or `cancel` at any time. Taking an event changes the response."""

    def __init__(
        self, scenario: Scenario, writer: ResponseWriter, identifier: str, settings: JSON, start: Start
    ) -> None:
        self.scenario = scenario
        self.writer = writer
        self.id = identifier
        self.status = "queued" if settings["background"] else "in_progress"
        self.waiting: Waiting | None = None
        """What the client is to answer, once the response has ended."""
        self._settings = settings
        self._start = start
        self._created_at = writer.now()
        self._ending: Ending | None = None
        self._ended_at = 0

    @property
    def has_ended(self) -> bool:
        """Whether the response has ended."""
        return self.status not in ("queued", "in_progress")

    def object(self) -> JSON:
        """Return the response as it stands."""
        ending = self._ending
        status, failure = ("", None) if ending is None else (ending.status, ending.failure)
        return self.writer.with_times(
            objects.response(
                self.id,
                self._created_at,
                self._settings,
                self.status,
                output=self.writer.output("in_progress" if ending is None else "incomplete"),
                completed_at=self._ended_at if status == "completed" else None,
                failure=EXPIRED if status == "expired" else failure,
                incomplete=None if ending is None else ending.reason,
                spent=None if ending is None else self.writer.spent,
            )
        )

    def events(self) -> Iterator[TimedEvent]:
        """Yield the events of the response."""
        yield self._event("created", 0.0)
        if self.status == "queued":
            yield self._event("queued")
            self.status = "in_progress"
        yield self._event("in_progress", 0.2)
        approved = self._start.approved
        if approved is not None:
            yield from approved_call_events(self.writer, approved, self._start.request_id)
            self.writer.spent += approved.usage
        yield from self._play_acts()

    def cancel(self) -> Iterator[TimedEvent]:
        """Yield the events that cancel the response, whatever was to come."""
        return self._end(Ending(status="cancelled"))

    def _play_acts(self) -> Iterator[TimedEvent]:
        """Yield what follows until the client is needed or the scenario is over."""
        ending, last = self.scenario.ending, len(self.scenario.acts) - 1
        for number, act in enumerate(self.scenario.acts[self._start.act :], self._start.act):
            yield from islice(act_events(self.writer, act), ending.after if number == last else None)
            self.writer.spent = sum((one.usage for one in _told(act)), self.writer.spent)
            if isinstance(act, FunctionCalls | McpCall):
                asked = [state.item for state in self.writer.items[-_width(act) :]]
                self.waiting = Waiting(act, tuple(str(item.get("call_id", item["id"])) for item in asked), number + 1)
                yield from self._end(Ending())
                return
        yield from self._end(ending)

    def _end(self, ending: Ending) -> Iterator[TimedEvent]:
        """Yield the end of the response; before it, where a limit cuts it, that of everything open."""
        for state in self.writer.items if ending.status == "incomplete" else ():
            if not state.has_ended:
                yield from self.writer.end_text(state)
                yield self.writer.end_item(state, "incomplete")
        self.status, self._ending = STATUSES.get(ending.status, ending.status), ending
        self._ended_at = self.writer.now()
        yield self._event(ENDS.get(ending.status, ending.status))

    def _event(self, name: str, delay: float | None = None) -> TimedEvent:
        """Return the response's event of that name, with the response as it stands then."""
        return self.writer.event(f"response.{name}", {"response": self.object()}, delay)


def _told(act: Act) -> tuple[Any, ...]:
    """Return the acts that cost tokens when `act` is over: a call that waits for approval does when it is made."""
    return act.acts if isinstance(act, Together) else () if isinstance(act, McpCall) else (act,)


def _width(act: FunctionCalls | McpCall) -> int:
    return len(act.calls) if isinstance(act, FunctionCalls) else 1
