"""Events → other events: the faults that repeat, reorder, drop and add whole events. Pure, one function a fault."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import repeat
from random import Random
from typing import Final, TypeAlias

import msgspec

from stepstream.simulator.faults import Faults
from stepstream.simulator.stage import Beat
from stepstream.wire.sse import Frame

_ERROR: Final = {
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


def _duplicated(beats: Iterable[Beat], times: int, random: Random) -> Iterator[Beat]:
    for beat in beats:
        yield beat
        yield from repeat(Beat(0, beat.frame, beat.about), times - 1)


def _shuffled(beats: Iterable[Beat], number: int, random: Random) -> Iterator[Beat]:
    """Yield the events between two events of the run in another order, those of one step or message in theirs."""
    queues: dict[str, list[Beat]] = {}
    for beat in beats:
        if beat.about is not None:
            queues.setdefault(beat.about, []).append(beat)
            continue
        yield from _drawn(queues, random)
        queues = {}
        yield beat
    yield from _drawn(queues, random)


def _drawn(queues: dict[str, list[Beat]], random: Random) -> Iterator[Beat]:
    rest = {about: iter(queue) for about, queue in queues.items()}
    turns = [about for about, queue in queues.items() for _ in queue]
    random.shuffle(turns)
    return (next(rest[about]) for about in turns)


def _without_done(beats: Iterable[Beat], number: int, random: Random) -> Iterator[Beat]:
    return (beat for beat in beats if beat.frame.event != "done")


def _with_flat_error(beats: Iterable[Beat], after: int, random: Random) -> Iterator[Beat]:
    return _ended_by(beats, after, _ERROR)


def _with_nested_error(beats: Iterable[Beat], after: int, random: Random) -> Iterator[Beat]:
    return _ended_by(beats, after, {"error": _ERROR})


def _ended_by(beats: Iterable[Beat], after: int, error: object) -> Iterator[Beat]:
    for _, beat in zip(range(after), beats, strict=False):
        yield beat
    yield Beat(0, Frame("error", msgspec.json.encode(error)))


def _with_garbage(beats: Iterable[Beat], after: int, random: Random) -> Iterator[Beat]:
    return _inserted(beats, lambda: _GARBAGE, after)


def _with_giant(beats: Iterable[Beat], megabytes: int, random: Random) -> Iterator[Beat]:
    def giant() -> Frame:
        return Frame("thread.run.step.delta", b'{"id": "%b"}' % (b"~" * (megabytes * 10**6)))

    return _inserted(beats, giant, _GIANT_AFTER)


def _inserted(beats: Iterable[Beat], frame: Callable[[], Frame], after: int) -> Iterator[Beat]:
    for number, beat in enumerate(beats):
        if number == after:
            yield Beat(0, frame())
        yield beat


def _with_unknown(beats: Iterable[Beat], every: int, random: Random) -> Iterator[Beat]:
    for number, beat in enumerate(beats, 1):
        yield beat
        if number % every == 0 and beat.frame.event != "done":
            yield Beat(0, _UNKNOWN)


Spoil: TypeAlias = Callable[[Iterable[Beat], int, Random], Iterator[Beat]]

SPOILS: Final[Mapping[str, Spoil]] = {
    "shuffle": _shuffled,
    "duplicate": _duplicated,
    "unknown": _with_unknown,
    "garbage": _with_garbage,
    "giant": _with_giant,
    "error-flat": _with_flat_error,
    "error-nested": _with_nested_error,
    "drop-done": _without_done,
}
"""In the order in which they are applied, whatever order they are asked for in."""


def spoiled(beats: Iterator[Beat], faults: Faults, random: Random) -> Iterator[Beat]:
    """Return the events with every fault that concerns events."""
    for name, spoil in SPOILS.items():
        if name in faults:
            beats = spoil(beats, faults[name], random)
    return beats
