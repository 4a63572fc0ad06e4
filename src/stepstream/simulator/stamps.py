"""Ids, times and chances: what the writer of a run's events takes from outside of its scenario.

The clock is the scenario's own: each event's delay at real pace moves it, whatever pace the stream is sent at. So the
timestamps of a run are the same at every pace.
"""

from collections.abc import Generator, Sequence
from itertools import count, cycle
from random import Random
from typing import TypeVar

from stepstream.simulator.objects import JSON

T = TypeVar("T")


class Stamps:
    """`tag` keeps the ids of a run apart from those of other runs, `at` is the Unix time at which it begins.

    With a `random`, what goes on together takes turns by chance, in the order that its seed gives.
    """

    def __init__(self, tag: str, at: float, random: Random | None, *, float_times: bool = False) -> None:
        self.random = random
        self._tag = tag
        self._count = count(1)
        self._clock = at
        self._float_times = float_times

    def now(self) -> int:
        """Return the Unix time in the scenario."""
        return int(self._clock)

    def pass_time(self, seconds: float) -> None:
        """Move the clock on."""
        self._clock += seconds

    def advance_clock(self, at: float) -> None:
        """Move the clock to `at`, unless it is past that already."""
        self._clock = max(self._clock, at)

    def new_id(self, kind: str) -> str:
        """Return an id that no other object of the application has."""
        return f"{kind}_{self._tag}_{next(self._count)}"

    def alternate(self, members: Sequence[T]) -> Generator[T]:
        """Yield one of `members` after the other for ever: in turns, or by chance where the run has a seed."""
        if self.random is None:
            yield from cycle(members)
        while self.random is not None and members:
            yield self.random.choice(members)

    def with_times(self, data: JSON) -> JSON:
        """Return an object with its timestamps as this server writes them."""
        if not self._float_times:
            return data
        return {key: float(value) if key.endswith("_at") and value else value for key, value in data.items()}


def tag_of(number: int, seed: int | None) -> str:
    """Return what the ids of the run of that number of an application have in common."""
    return f"sim{number}" if seed is None else f"sim{seed}x{number}"


def chance_of(number: int, seed: int | None) -> Random | None:
    """Return the chances of that run, where a seed sets them."""
    return None if seed is None else Random(f"{seed}/{number}")
