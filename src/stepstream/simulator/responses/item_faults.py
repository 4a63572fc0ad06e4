"""Events → other events: how servers of the Responses API deviate from what it says. Pure, one function a fault."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from random import Random
from typing import Any, Final

import msgspec

from stepstream.simulator.event_faults import (
    ERROR,
    EventFault,
    duplicated,
    ended_by,
    inserted,
    shuffled,
    with_giant,
    with_unknown,
)
from stepstream.simulator.objects import JSON
from stepstream.simulator.timed_event import TimedEvent
from stepstream.wire.sse import Frame

_UNKNOWN: Final = Frame("response.reflection.added", b'{"type": "response.reflection.added", "id": "reflection_sim"}')
_GARBAGE: Final = Frame("response.output_text.delta", b'{"type": "response.output_text.delta", "item_id": "msg')
_DONE_MARK: Final = Frame("message", b"[DONE]")
_FLAT: Final = {"type": "error", "code": ERROR["code"], "message": ERROR["message"], "param": None}
_NESTED: Final = {"type": "error", "error": ERROR}
_ENDS: Final = frozenset(f"response.{word}" for word in ("completed", "failed", "incomplete"))


def _altered(event: TimedEvent, change: Callable[[JSON], None]) -> TimedEvent:
    """Return an event with its data changed."""
    data = msgspec.json.decode(event.frame.data, type=dict[str, Any])
    change(data)
    return event._replace(frame=Frame(event.frame.event, msgspec.json.encode(data)))


def _without(is_left_out: Callable[[str], bool]) -> EventFault:
    return lambda events, number, random: (event for event in events if not is_left_out(event.frame.event))


def _without_output(events: Iterable[TimedEvent], number: int, random: Random) -> Iterator[TimedEvent]:
    for event in events:
        yield _altered(event, lambda data: data["response"].update(output=[])) if event.frame.event in _ENDS else event


def _with_rotating_ids(events: Iterable[TimedEvent], number: int, random: Random) -> Iterator[TimedEvent]:
    for turn, event in enumerate(events):
        yield _altered(event, partial(_rotate, f"r{turn}"))


def _rotate(suffix: str, data: JSON) -> None:
    """Give the item and the response that an event is about, and the items that it lists, other ids."""
    if "item_id" in data:
        data["item_id"] += suffix
    listed = data.get("response", {}).get("output", [])
    for one in (data.get("item"), data.get("response"), *listed):
        if one is not None:
            one["id"] += suffix


def _shuffled(events: Iterable[TimedEvent], number: int, random: Random) -> Iterator[TimedEvent]:
    """Yield the events of items in another order, numbered as they are sent."""
    first: int | None = None
    for place, event in enumerate(shuffled(events, number, random)):
        first = _number_of(event) if first is None else first
        yield _altered(event, partial(_renumber, first + place))


def _number_of(event: TimedEvent) -> int:
    number: int = msgspec.json.decode(event.frame.data)["sequence_number"]
    return number


def _renumber(number: int, data: JSON) -> None:
    data["sequence_number"] = number


def _replayed(events: Iterable[TimedEvent], after: int, random: Random) -> Iterator[TimedEvent]:
    told: list[TimedEvent] = []
    for event in events:
        if len(told) == after:
            yield from (one._replace(delay=0) for one in told)
        told.append(event)
        yield event


def _with_error_then_failed(events: Iterable[TimedEvent], after: int, random: Random) -> Iterator[TimedEvent]:
    response: JSON = {}
    for _, event in zip(range(after), events, strict=False):
        response = msgspec.json.decode(event.frame.data, type=dict[str, Any]).get("response", response)
        yield event
    failed = {**response, "status": "failed", "error": {"code": ERROR["code"], "message": ERROR["message"]}}
    yield TimedEvent(0, Frame("error", msgspec.json.encode(_NESTED)))
    payload = {"type": "response.failed", "response": failed}
    yield TimedEvent(0, Frame("response.failed", msgspec.json.encode(payload)))


def _with_done_mark(events: Iterable[TimedEvent], number: int, random: Random) -> Iterator[TimedEvent]:
    yield from events
    yield TimedEvent(0, _DONE_MARK)


def _unnamed(events: Iterable[TimedEvent], number: int, random: Random) -> Iterator[TimedEvent]:
    return (event._replace(frame=Frame("message", event.frame.data)) for event in events)


ITEM_FAULTS: Final[Mapping[str, EventFault]] = {
    "no-added": _without(lambda name: name.endswith(("item.added", "part.added"))),
    "no-done": _without(lambda name: name.endswith(".done")),
    "no-output": _without_output,
    "no-terminal": _without(_ENDS.__contains__),
    "ids-rotate": _with_rotating_ids,
    "replay": _replayed,
    "shuffle": _shuffled,
    "duplicate": duplicated,
    "unknown": with_unknown(_UNKNOWN),
    "garbage": lambda events, after, random: inserted(events, lambda: _GARBAGE, after),
    "giant": with_giant("response.output_text.delta"),
    "error-flat": lambda events, after, random: ended_by(events, after, _FLAT),
    "error-nested": lambda events, after, random: ended_by(events, after, _NESTED),
    "error-failed": _with_error_then_failed,
    "done-mark": _with_done_mark,
    "unnamed": _unnamed,
}
"""By the fault's name, in the order in which they are applied, whatever order they are asked for in."""
