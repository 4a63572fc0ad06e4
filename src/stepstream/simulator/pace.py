"""How fast a stream is sent: as a real one, without pauses, or so many events a second."""

import math
from typing import Final, TypeAlias

import msgspec

PaceLike: TypeAlias = float | str
"""`"real"`, `"fast"`, or events per second, which may be written as text."""


class Pace(msgspec.Struct, frozen=True):
    """The pauses of a stream: those of the scenario, multiplied, or the same before every event."""

    name: str
    factor: float = 0.0
    interval: float = 0.0

    def seconds(self, delay: float) -> float:
        """Return the pause for an event that comes `delay` seconds after the one before it at real pace."""
        return delay * self.factor + self.interval


REAL: Final = Pace("real", factor=1.0)
FAST: Final = Pace("fast")


def pace_of(value: PaceLike) -> Pace:
    """Return the pace that `value` says.

    Raises:
        ValueError: it is none.
    """
    if value in ("real", "fast"):
        return REAL if value == "real" else FAST
    try:
        rate = float(value)
    except ValueError:
        rate = math.nan
    if not 0 < rate < math.inf:
        raise ValueError(f"expected as pace real, fast, or events per second above 0, got {value!r:.80}")
    return Pace(f"{rate:g}/s", interval=1 / rate)
