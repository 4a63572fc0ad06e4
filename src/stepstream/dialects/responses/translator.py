"""The translator of a Responses stream: frames in, events of the fold out.

How it works: `stream` says which run an event belongs to, and whether it came before. A table leads from the event's
name to the rule for it: those about items stand in `rules`, those about the response itself here.

An error that comes by itself is held back: mostly the response fails before or after it, and it says why. One that is
still held at the end of the stream is the end of the stream.
"""

from collections.abc import Mapping
from typing import Any, Final, cast

import msgspec

from stepstream.dialects.responses.ends import end_response
from stepstream.dialects.responses.payloads import JSON, Payload, Unreadable, read, text_of
from stepstream.dialects.responses.rules import rule_of
from stepstream.dialects.responses.runs import OPEN, UNEXPLAINED, learn, tell_error, tell_run
from stepstream.dialects.responses.stream import (
    EventCounter,
    Stream,
    current_of,
    is_replay,
    mark_of,
    report_once,
    response_of,
)
from stepstream.dialects.responses.turn import Turn
from stepstream.dialects.state import DialectState, RunTold
from stepstream.wire.ending import is_unnamed_done, unnamed_error
from stepstream.wire.events import DEFAULT_MAX_DEPTH, Done, ErrorData, Event, Malformed, UnknownData, decode_event
from stepstream.wire.objects import LastError
from stepstream.wire.sse import Frame
from stepstream.wire.statuses import RUN_TERMINAL

RUN_EVENTS: Final[Mapping[str, str]] = {
    "response.created": "in_progress",
    "response.queued": "queued",
    "response.in_progress": "in_progress",
    "response.completed": "completed",
    "response.incomplete": "incomplete",
    "response.failed": "failed",
    "response.cancelled": "cancelled",
    "response.done": "completed",
}
"""The events that carry a response, and the status that each implies: the response's own counts, where it fits."""


class ResponsesTranslator:
    """Translate one stream. What outlives it is in `state`. It raises nothing, whatever a frame holds."""

    def __init__(self, state: DialectState, *, max_depth: int) -> None:
        self._state = state
        self._max_depth = max_depth
        self._stream = Stream()
        self._newest: tuple[str, int | None] = "", None
        self._counted: list[EventCounter] = []

    def feed(self, frame: Frame) -> list[Event]:
        """Return the events that a frame is, maybe none."""
        if frame.event == "done" or is_unnamed_done(frame.event, frame.data):
            data = Done() if frame.event == "done" else UnknownData(frame.data)
            return [*self.finish(), Event(frame.event, data, frame.data, frame.id)]
        misfits: list[str] = []
        try:
            payload = read(frame.data, self._max_depth, misfits)
        except Unreadable as exc:
            if frame.event != "message" and not _is_ours(frame.event):
                return [Event(frame.event, UnknownData(frame.data), frame.data, frame.id)]
            malformed = Malformed(frame.data, exc.expected, exc.got, exc.code)
            return [Event(frame.event, malformed, frame.data, frame.id, is_translated=True)]
        name = _name_of(frame, payload)
        if name not in RUN_EVENTS and name != "error" and rule_of(name) is None:
            return [Event(name, UnknownData(frame.data), frame.data, frame.id)]
        return self._translated(frame, name, payload, misfits)

    def _translated(self, frame: Frame, name: str, payload: Payload, misfits: list[str]) -> list[Event]:
        response = response_of(self._state, self._stream, name, payload)
        turn = Turn(frame, name, payload, self._state, response)
        self._newest = name, payload.output_index
        self._settle()
        if not is_replay(self._stream, turn):
            self._apply(turn)
        if misfits:
            got = f"values of another type in {', '.join(dict.fromkeys(misfits))}"
            turn.report("bad_field", response.run, "every field of its type", got)
        return turn.events

    @property
    def fast_keys(self) -> tuple[str, str, frozenset[str]]:
        """The keys of the piece, of the number while numbers mean something, and of what says nothing."""
        run = current_of(self._state, self._stream)
        if run is None or run.rises < 0:
            return "delta", "", frozenset({"obfuscation"})
        return "delta", "sequence_number", frozenset({"obfuscation"})

    @property
    def run(self) -> str:
        """The run of the event before."""
        return self._stream.run

    @property
    def is_earlier(self) -> bool:
        """Whether the event before was of a response that others of its run followed."""
        return self._stream.is_earlier

    @property
    def last_event(self) -> str:
        """The event with which a stream ends that ends well: `done` belongs to another vocabulary."""
        return "response.completed"

    @property
    def counter(self) -> EventCounter | None:
        """What counts deltas like the event before."""
        run = current_of(self._state, self._stream)
        return None if run is None else EventCounter(self._stream, run, mark_of(*self._newest), self._counted)

    @property
    def held(self) -> ErrorData | None:
        """An error that came by itself, and belongs to nothing so far."""
        return self._stream.held

    def finish(self) -> list[Event]:
        """Return what is left to be said at the end of the stream: an error that belongs to nothing."""
        held, self._stream.held = self._stream.held, None
        return [] if held is None else [Event("error", held)]

    def reconnect(self) -> None:
        """Note that a new connection begins: it may tell again what the one before told."""
        self._stream.highest = -1

    def continue_run(self, run_id: str) -> None:
        """Take the next new response for one more of that run, if it waits for one, whatever the response says."""
        self._stream.continued = run_id

    def save(self) -> Any:
        """Return what belongs to the stream, as JSON."""
        self._settle()
        return msgspec.to_builtins(self._stream)

    def load(self, saved: Any) -> None:
        """Go on with what `save` gave.

        Raises:
            msgspec.ValidationError: it is something else.
        """
        self._stream = msgspec.convert(saved, Stream)

    def _settle(self) -> None:
        for counter in self._counted:
            counter.settle()
        self._counted.clear()

    def _apply(self, turn: Turn) -> None:
        rule = rule_of(turn.name)
        if turn.name == "error":
            self._hold(turn)
        elif turn.name in RUN_EVENTS:
            self._run_event(turn)
        elif rule is not None and turn.response.is_open:
            rule(turn)
        else:
            self._came_late(turn)

    def _came_late(self, turn: Turn) -> None:
        if not self._stream.is_late:
            report_once(self._stream, turn, "event_after_end", "nothing of a response after its end", "more of it")

    def _run_event(self, turn: Turn) -> None:
        raw, run, implied = turn.payload.response, turn.response, RUN_EVENTS[turn.name]
        if raw is None:
            turn.report("undecodable_event", run.run, "an object as its response", "none")
        elif implied in OPEN:
            self._goes_on(turn, raw, implied)
        else:
            self._ends(turn, raw, _status_of(raw, implied))

    def _goes_on(self, turn: Turn, raw: JSON, implied: str) -> None:
        run = turn.response
        if not run.is_open:
            self._came_late(turn)
        elif turn.name == "response.created" and run.status in OPEN:
            for item in turn.items:  # told again from the beginning, and nothing says how far
                item.is_retold = item.is_grown and not item.is_ended
        else:
            learn(run, raw)
            tell_run(turn, raw, _status_of(raw, implied))

    def _ends(self, turn: Turn, raw: JSON, status: str) -> None:
        run, held = turn.response, turn.response.error
        if run.is_open:
            end_response(turn, raw, status, None if held is None else LastError(held.code, held.message))
            if status in UNEXPLAINED:
                self._stream.held = None
        elif status != run.status and (status, run.status) != ("completed", "requires_action"):
            turn.report("conflicting_terminal", run.run, "what the first end of the response said", "another end")

    def _hold(self, turn: Turn) -> None:
        """Keep an error for the end it explains, or give it to the run that ended so before."""
        data = cast(ErrorData, decode_event(Frame("error", turn.frame.data)).data)
        run = turn.response
        if run.unexplained is not None:
            tell_error(turn, LastError(data.code, data.message))
        elif run.status not in UNEXPLAINED:
            kind = None if data.type == "error" else data.type
            self._stream.held = run.error = ErrorData(data.code, data.message, kind, data.param)


def run_told(frame: Frame) -> RunTold | None:
    """Return the run that a frame carries, None where it carries none, or is not whole."""
    name = frame.event
    if name not in RUN_EVENTS and (name != "message" or b'"response.' not in frame.data):
        return None
    try:
        payload = read(frame.data, DEFAULT_MAX_DEPTH, [])
    except Unreadable:
        return None
    implied = RUN_EVENTS.get(name) or RUN_EVENTS.get(payload.type or "")
    if implied is None or payload.response is None:
        return None
    return RunTold(text_of(payload.response, "id"), _status_of(payload.response, implied))


def _status_of(raw: JSON, implied: str) -> str:
    """Return the status of a response: its own, where it fits the event that implies one."""
    sent = text_of(raw, "status")
    return sent if sent in (OPEN if implied in OPEN else RUN_TERMINAL) else implied


def _name_of(frame: Frame, payload: Payload) -> str:
    """Return the name of an event, by its data where it has none: an error need not have a type that says so."""
    name = frame.event if _is_ours(frame.event) else payload.type or frame.event
    return name if _is_ours(name) or unnamed_error(frame.event, frame.data) is None else "error"


def _is_ours(name: str) -> bool:
    return name.startswith("response.") or name == "error"
