"""Events → writes: how a stream is cut into bytes, and how it breaks. Pure: the pauses are left to the sender.

The faults of whole events (`event_faults`) are in the events already, those that concern bytes are here.
"""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from enum import Enum
from typing import Final, NamedTuple

from stepstream.simulator.faults import Faults
from stepstream.simulator.scenario import Scenario
from stepstream.simulator.timed_event import TimedEvent
from stepstream.wire.sse import encode_frame

DRIP_PAUSE: Final = 0.01


class Stop(Enum):
    """How a response ends before its stream does."""

    CUT = "cut"
    """In order, as if nothing more were to come."""
    RESET = "reset"
    """The connection is reset."""
    BREAK = "break"
    """The connection closes inside a chunk."""
    STALL = "stall"
    """The response does not end, but nothing more comes."""


class Write(NamedTuple):
    """Bytes to write at once, and the seconds before. `stop` says what comes after them, if not more."""

    delay: float
    data: bytes
    stop: Stop | None = None


class _Limit(NamedTuple):
    number: int
    stop: Stop


def writes(events: Iterable[TimedEvent], scenario: Scenario, faults: Faults, at: float) -> Iterator[Write]:
    """Yield the bytes of a stream as its scenario's server writes them, with every fault that concerns bytes.

    The delays are those of the events. `at` is the Unix time of the first ping.
    """
    whole = _written(events, scenario, at)
    whole = _until_event(whole, _limit(faults, "event"))
    whole = _until_byte(whole, _limit(faults, "bytes"))
    if "one-byte" in faults:
        return _in_pieces(whole, 1, 0.0)
    return _in_pieces(whole, faults["drip"], DRIP_PAUSE) if "drip" in faults else whole


def _limit(faults: Faults, unit: str) -> _Limit | None:
    """Return where and how the response ends, counted in `unit`: at the nearest, where several are asked for."""
    found = [_Limit(faults[name], stop) for stop in Stop if (name := f"{stop.value}-{unit}") in faults]
    if unit == "event" and "stall" in faults:
        found.append(_Limit(faults["stall"], Stop.STALL))
    return min(found, key=lambda limit: limit.number, default=None)


def _written(events: Iterable[TimedEvent], scenario: Scenario, at: float) -> Iterator[Write]:
    every = scenario.ping_every
    for number, event in enumerate(events, 1):
        at += event.delay
        data = encode_frame(event.frame)
        if every is not None and number % every == 0:
            data = b": ping - %b\n\n%b" % (str(datetime.fromtimestamp(at, UTC)).encode(), data)
        yield Write(event.delay, data if scenario.line_end == "\n" else data.replace(b"\n", b"\r\n"))


def _until_event(whole: Iterator[Write], limit: _Limit | None) -> Iterator[Write]:
    if limit is None:
        yield from whole
        return
    for _, write in zip(range(limit.number), whole, strict=False):
        yield write
    following = next(whole, None) if limit.stop is Stop.BREAK else None
    yield Write(0, following.data[: len(following.data) // 2] if following else b"", limit.stop)


def _until_byte(whole: Iterator[Write], limit: _Limit | None) -> Iterator[Write]:
    left = None if limit is None else limit.number
    for write in whole:
        if limit is None or left is None or len(write.data) < left:
            yield write
        else:
            yield Write(write.delay, write.data[:left], limit.stop)
            return
        left = None if left is None else left - len(write.data)


def _in_pieces(whole: Iterator[Write], size: int, pause: float) -> Iterator[Write]:
    for write in whole:
        delay = write.delay
        for start in range(0, len(write.data) - size, size):
            yield Write(delay, write.data[start : start + size])
            delay = pause
        start = max(0, (len(write.data) - 1) // size * size)
        yield Write(delay, write.data[start:], write.stop)
