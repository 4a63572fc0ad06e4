"""Events → other events: the faults that repeat, reorder, drop and add whole events. Pure, one function a fault."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import repeat
from random import Random
from typing import Final, TypeAlias

import msgspec

from stepstream.simulator.faults import Faults
from stepstream.simulator.timed_event import TimedEvent
from stepstream.wire.sse import Frame

EventFault: TypeAlias = Callable[[Iterable[TimedEvent], int, Random], Iterator[TimedEvent]]
"""Takes events, the fault's number and a source of chance, and gives other events."""

ERROR: Final = {
    "message": "The server had an error while processing your request.",
    "type": "server_error",
    "param": None,
    "code": "server_error",
}
_UNKNOWN: Final = Frame(
    "thread.run.step.reflected", b'{"object": "thread.run.step.reflection", "id": "reflection_sim"}'
)
_GARBAGE: Final = Frame("thread.run.step.delta", b'{"id": "step_sim", "delta": {"step_det')
_GIANT_AFTER: Final = 5


def duplicated(events: Iterable[TimedEvent], times: int, random: Random) -> Iterator[TimedEvent]:
    """Yield every event so many times."""
    for event in events:
        yield event
        yield from repeat(TimedEvent(0, event.frame, event.about), times - 1)


def shuffled(events: Iterable[TimedEvent], number: int, random: Random) -> Iterator[TimedEvent]:
    """Yield the events between two events of the run in another order. Those of one step or message keep theirs."""
    queues: dict[str, list[TimedEvent]] = {}
    for event in events:
        if event.about is not None:
            queues.setdefault(event.about, []).append(event)
            continue
        yield from _interleaved(queues, random)
        queues = {}
        yield event
    yield from _interleaved(queues, random)


def _interleaved(queues: dict[str, list[TimedEvent]], random: Random) -> Iterator[TimedEvent]:
    rest = {about: iter(queue) for about, queue in queues.items()}
    turns = [about for about, queue in queues.items() for _ in queue]
    random.shuffle(turns)
    return (next(rest[about]) for about in turns)


def _without_done(events: Iterable[TimedEvent], number: int, random: Random) -> Iterator[TimedEvent]:
    return (event for event in events if event.frame.event != "done")


def _with_flat_error(events: Iterable[TimedEvent], after: int, random: Random) -> Iterator[TimedEvent]:
    return ended_by(events, after, ERROR)


def _with_nested_error(events: Iterable[TimedEvent], after: int, random: Random) -> Iterator[TimedEvent]:
    return ended_by(events, after, {"error": ERROR})


def ended_by(events: Iterable[TimedEvent], after: int, error: object) -> Iterator[TimedEvent]:
    """Yield so many events, then the error."""
    for _, event in zip(range(after), events, strict=False):
        yield event
    yield TimedEvent(0, Frame("error", msgspec.json.encode(error)))


def _with_garbage(events: Iterable[TimedEvent], after: int, random: Random) -> Iterator[TimedEvent]:
    return inserted(events, lambda: _GARBAGE, after)


def with_giant(name: str) -> EventFault:
    """Return the fault that adds an event of that name, so many megabytes long."""

    def apply(events: Iterable[TimedEvent], megabytes: int, random: Random) -> Iterator[TimedEvent]:
        return inserted(events, lambda: Frame(name, b'{"id": "%b"}' % (b"~" * (megabytes * 10**6))), _GIANT_AFTER)

    return apply


def inserted(events: Iterable[TimedEvent], frame: Callable[[], Frame], after: int) -> Iterator[TimedEvent]:
    """Yield the events, and after so many of them one more."""
    for number, event in enumerate(events):
        if number == after:
            yield TimedEvent(0, frame())
        yield event


def with_unknown(frame: Frame) -> EventFault:
    """Return the fault that adds an event after every so many."""

    def apply(events: Iterable[TimedEvent], every: int, random: Random) -> Iterator[TimedEvent]:
        for number, event in enumerate(events, 1):
            yield event
            if number % every == 0 and event.frame.event != "done":
                yield TimedEvent(0, frame)

    return apply


EVENT_FAULTS: Final[Mapping[str, EventFault]] = {
    "shuffle": shuffled,
    "duplicate": duplicated,
    "unknown": with_unknown(_UNKNOWN),
    "garbage": _with_garbage,
    "giant": with_giant("thread.run.step.delta"),
    "error-flat": _with_flat_error,
    "error-nested": _with_nested_error,
    "drop-done": _without_done,
}
"""By the fault's name, in the order in which they are applied, whatever order they are asked for in."""


def with_event_faults(
    events: Iterator[TimedEvent], faults: Faults, random: Random, table: Mapping[str, EventFault] = EVENT_FAULTS
) -> Iterator[TimedEvent]:
    """Return the events with every fault of the table that is asked for."""
    for name, apply in table.items():
        if name in faults:
            events = apply(events, faults[name], random)
    return events
