"""Where a stream is: the run that its next event belongs to, and whether that event came before.

Which run: by the id of the event's response, else of its item, else that of the event before. A stream that goes on
where another one stopped has none before it: then the one open run whose next number this is.

Whether it came before: a server counts its events in `sequence_number`. A number that is not higher than the highest
was told before, by a stream that this one resumes, or by a gateway that repeats itself. Some servers send numbers that
mean nothing: where one comes again with another event, none of that response counts any more.
"""

from collections import deque
from collections.abc import Sequence
from typing import Any, Final
from zlib import crc32

import msgspec

from stepstream.dialects.responses.payloads import JSON, Payload, text_of
from stepstream.dialects.responses.runs import adopt, is_named, open_run, unnamed_run
from stepstream.dialects.responses.turn import Turn
from stepstream.dialects.state import DialectState, Response
from stepstream.wire.events import ErrorData

TRUSTED: Final = 2
"""How often the numbers of a response must have risen before a lower one is taken for a repetition."""


MARKS: Final = 64
"""How many numbers are kept with a checksum of their events."""


class Stream(msgspec.Struct):
    """What belongs to one stream. All but the state can be written as JSON and read back."""

    run: str = ""
    """The run of the event before."""
    unnamed: Response | None = None
    """That run, while its id has not come."""
    held: ErrorData | None = None
    """An error that came by itself."""
    highest: int = -1
    """The highest sequence number of this response that this connection brought."""
    reported: list[str] = []
    """The anomalies that are reported once for a response, and were."""
    is_earlier: bool = False
    """Whether it is at a response of its run before the newest: all of that was told."""
    is_late: bool = False
    """Whether its response was over before it came to that: all that it says is told again."""
    continued: str = ""
    """The run that the next new response continues, where the caller knows that."""


class EventCounter:
    """Counts the deltas of one text, which are events of the response that a stream is at.

    It adds itself to `counted` where it has counted what `settle` did not write down yet.
    """

    __slots__ = ("_counted", "_mark", "_newest", "_response", "_stream")

    def __init__(self, stream: Stream, response: Response, mark: int, counted: "list[EventCounter]") -> None:
        self._stream = stream
        self._response = response
        self._mark = mark
        self._counted = counted
        self._newest = deque[Any](maxlen=MARKS)

    def count(self, deltas: Sequence[Any]) -> bool:
        """Count deltas, each with a `number` and a `piece`, if their numbers rise from the highest, or mean nothing."""
        if self._response.rises < 0:
            return True
        number, first, last = self._response.number, deltas[0].number, deltas[-1].number
        if first <= number or (len(deltas) > 1 and not _rise([one.number for one in deltas])):
            return False
        if not self._newest:
            self._counted.append(self)
        self._newest.extend(deltas)
        self._response.number = self._stream.highest = last
        self._response.rises += len(deltas)
        return True

    def settle(self) -> None:
        """Write down the marks of what was counted: they are needed only where other events come."""
        marks = [(one.number, crc32(one.piece.encode(), self._mark)) for one in self._newest]
        self._response.marks = sorted([*self._response.marks, *marks])[-MARKS:]
        self._newest.clear()


def _rise(numbers: list[int]) -> bool:
    return numbers == list(range(numbers[0], numbers[0] + len(numbers))) or numbers == sorted(set(numbers))


# Which run


def response_of(state: DialectState, stream: Stream, name: str, payload: Payload) -> Response:
    """Return the run that an event belongs to, a new one where it is of none that is known."""
    raw, current = payload.response, current_of(state, stream)
    if raw is None:
        found = current if current is not None and current.is_open else _named(state, payload) or current
        found = found or _next_in_order(state, payload) or unnamed_run(state)
    else:
        identifier = text_of(raw, "id")
        known = state.runs.get(state.responses.get(identifier, ""))
        stream.is_earlier = known is not None and identifier in known.earlier
        found = known or _opened(state, stream, name, raw, current)
    if found is not current:
        stream.reported, stream.highest, stream.is_late = [], -1, not found.is_open
        stream.is_earlier = stream.is_earlier and raw is not None
    stream.run = found.run
    stream.unnamed = None if is_named(state, found) else found
    return found


def _opened(state: DialectState, stream: Stream, name: str, raw: JSON, current: Response | None) -> Response:
    """Return the run of a response with an id that was not seen before: the one that is open, else a new one."""
    begins = name == "response.created" and current is not None and is_named(state, current)
    if current is not None and current.is_open and not begins:
        adopt(state, current, raw)
        return current
    continued, stream.continued, stream.highest = stream.continued, "", -1
    return open_run(state, raw, continued)


def current_of(state: DialectState, stream: Stream) -> Response | None:
    """Return the run of the event before."""
    return stream.unnamed or state.runs.get(stream.run)


def _named(state: DialectState, payload: Payload) -> Response | None:
    """Return the run that has the item which an event names."""
    identifier = payload.item_id or (text_of(payload.item, "id") if payload.item else "")
    return state.runs.get(state.steps.get(identifier, ""))


def _next_in_order(state: DialectState, payload: Payload) -> Response | None:
    """Return the one open run whose next event has this number, for a stream that goes on without a name."""
    number = payload.sequence_number
    if number is None:
        return None
    found = [run for run in state.runs.values() if run.number == number - 1 and run.is_open]
    return found[0] if len(found) == 1 else None


# Whether it came before


def is_replay(stream: Stream, turn: Turn) -> bool:
    """Return whether an event came before. One that comes twice over the same connection is reported."""
    number, run = turn.payload.sequence_number, turn.response
    if stream.is_earlier or number is None or run.rises < 0:
        return stream.is_earlier
    mark = _mark(turn)
    if number > run.number:
        run.number, run.rises, stream.highest = number, run.rises + 1, number
        run.marks = [*run.marks[1 - MARKS :], (number, mark)]
        return False
    known = next((one for at, one in run.marks if at == number), None)
    if known != mark if known is not None else run.rises < TRUSTED:
        run.rises = -1
        return False
    if number <= stream.highest:
        report_once(stream, turn, "replayed_event", "each event once", "one that came before, which is dropped")
    return True


def _mark(turn: Turn) -> int:
    """Return a checksum of what an event says, without what may differ where it is told again: ids and padding."""
    payload = turn.payload
    piece = payload.delta if isinstance(payload.delta, str) else ""
    return crc32(piece.encode("utf-8", "replace"), mark_of(turn.name, payload.output_index))


def mark_of(name: str, output_index: int | None) -> int:
    """Return the checksum of an event without its piece."""
    return crc32(f"{name} {output_index} ".encode("utf-8", "replace"))


def report_once(stream: Stream, turn: Turn, code: str, expected: str, got: str) -> None:
    """Report an anomaly that is reported once for each response."""
    if code not in stream.reported:
        stream.reported.append(code)
        turn.report(code, turn.response.run, expected, got)
