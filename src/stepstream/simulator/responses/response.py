"""Responses as clients move them. No IO: the time comes in with every call that needs it."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from stepstream.simulator.course import Course, Stream
from stepstream.simulator.objects import JSON
from stepstream.simulator.pace import Pace
from stepstream.simulator.responses.item_faults import ITEM_FAULTS
from stepstream.simulator.responses.script import ResponseScript, Start
from stepstream.simulator.responses.writer import ResponseWriter
from stepstream.simulator.scenario import Scenario
from stepstream.simulator.stamps import chance_of, tag_of
from stepstream.simulator.timed_event import TimedEvent

RESUMABLE_FOR: Final = 300.0
"""Seconds after its end for which the stream of a response in the background can be asked for again."""


class Asked(NamedTuple):
    """What the request for a response says about it."""

    settings: JSON
    input: list[JSON]
    """As items, each with its id."""
    is_streamed: bool

    @property
    def is_background(self) -> bool:
        """Whether the response is made whether or not its client stays."""
        return bool(self.settings["background"])

    @property
    def is_kept(self) -> bool:
        """Whether it can be asked for later."""
        return bool(self.settings["store"]) or self.is_background


class Response(Course):
    """One response. Its first stream is what `begin` starts; `follow` gives more of it to others."""

    event_faults = ITEM_FAULTS

    def __init__(self, script: ResponseScript, pace: Pace, asked: Asked) -> None:
        super().__init__(script.scenario, script.writer, pace)
        self.id = script.id
        self.asked = asked
        self.script = script
        self.kept_bytes = 0
        """Bytes of the events that are kept, or of the items alone where a stream cannot be asked for again."""
        self._told: list[TimedEvent] = []
        self._ended_at: float | None = None

    def __repr__(self) -> str:
        return f"<Response {self.id} {self.script.status}>"

    @property
    def is_resumable(self) -> bool:
        """Whether its stream can be asked for again."""
        return self.asked.is_background and self.asked.is_streamed

    def object(self) -> JSON:
        """Return the response as it stands."""
        return self.script.object()

    def begin(self, now: float) -> Stream:
        """Start and return the first stream, at `now` of any clock."""
        return self._play(self.script.events(), now)

    def keep(self, event: TimedEvent) -> None:
        """Keep an event for streams that are asked for later."""
        if self.is_resumable:
            self._told.append(event._replace(delay=0.0))
        if self.is_resumable or event.frame.event == "response.output_item.done":
            self.kept_bytes += len(event.frame.data)
        if self.script.has_ended and self._ended_at is None:
            self._ended_at = self._due

    def follow(self, after: int, now: float) -> Stream:
        """Return the stream of the events whose numbers are higher than `after`.

        Raises:
            ValueError: it cannot be asked for, or no longer.
        """
        if not self.is_resumable:
            raise ValueError("expected a response that was created with background and stream")
        if self._ended_at is not None and now - self._ended_at > RESUMABLE_FOR:
            raise ValueError(f"expected a response that ended at most {RESUMABLE_FOR / 60:g} minutes ago")
        return self._open_stream(self._told[after + 1 :])

    def cancel(self, now: float) -> None:
        """Cancel the response now. Its streams say so. One that was cancelled stays as it is.

        Raises:
            ValueError: it is not in the background, or has ended otherwise.
        """
        if not self.asked.is_background:
            raise ValueError("expected a response in the background, got one that ends with its connection")
        if self.script.has_ended and self.script.status != "cancelled":
            raise ValueError(f"expected a response that can be cancelled, got one that is {self.script.status}")
        if not self.script.has_ended:
            self._events = self.script.cancel()
            while self.move(now):
                pass

    def start_of_next(self, answers: Mapping[str, Any]) -> Start:
        """Return where in the scenario the response begins that continues this one, with these answers by id.

        Raises:
            ValueError: it has not ended, or waits for other answers.
        """
        if not self.script.has_ended:
            raise ValueError(f"expected a previous response that has ended, got one that is {self.script.status}")
        waiting = self.script.waiting
        if waiting is None:
            return Start()
        missing = [one for one in waiting.ids if one not in answers]
        if missing:
            raise ValueError(f"No tool output found for function call {missing[0]}.")
        return waiting.start(answers)


def new_response(
    number: int, scenario: Scenario, asked: Asked, start: Start, *, at: float, seed: int | None, pace: Pace
) -> Response:
    """Return the response of that number of an application, created at the Unix time `at`."""
    tag = tag_of(number, seed)
    writer = ResponseWriter(tag, at, chance_of(number, seed), float_times=scenario.float_times)
    script = ResponseScript(scenario, writer, f"resp_{tag}", asked.settings, start)
    return Response(script, pace, asked)
