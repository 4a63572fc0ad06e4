"""When things happened: by our own clock, or by the server's timestamps where ours came too late to see it.

A stream that is read as it happens is timed here, to a fraction of a second. One that comes faster than it happened,
a file or a run joined late, has only the server's whole seconds. Which of the two it is shows in how far the server's
timestamps went while we watched them: where they went further than our own clock, we did not see it happen.
"""

from typing import Final, NamedTuple

from stepstream.wire.objects import Run, RunStep

APART: Final = 2.0
"""Seconds that the server's time of a run may differ from ours: its timestamps are cut to whole ones."""

_LONGEST: Final = 30 * 86_400.0
"""No run takes longer: a timestamp that says so is not believed."""


class Span(NamedTuple):
    """From when to when, in seconds from the beginning of the run. Without an end it goes on."""

    begun: float
    ended: float | None
    is_exact: bool


class RunTimes:
    """The times of one run and its steps, as they are seen.

    `is_coarse`: they are looked at too seldom to measure durations, so the server's timestamps are used throughout.
    """

    def __init__(self, now: float, *, is_coarse: bool = False) -> None:
        self.first = now
        self._is_coarse = is_coarse
        self._last = now
        self._stamp = 0.0
        """The server's newest timestamp."""
        self._stamp_at = now
        """When it came, by our clock."""
        self._created: float | None = None
        self._ended: float | None = None
        self._steps: dict[str, list[float | None]] = {}

    def see_run(self, run: Run, now: float) -> None:
        """Take the timestamps of a run as it stands at `now`."""
        created = stamp(run.created_at)
        self._created = created if self._created is None else self._created
        ends = (run.completed_at, run.failed_at, run.cancelled_at)
        self._advance((created, stamp(run.started_at), *map(stamp, ends)), now)
        if run.is_terminal and self._ended is None:
            self._ended = now

    def see_step(self, identifier: str, now: float, *, ended: bool, stamps: tuple[object, ...] = ()) -> None:
        """Note that a step is known at `now`, and whether it has ended."""
        seen = self._steps.setdefault(identifier, [now, None])
        if ended and seen[1] is None:
            seen[1] = now
        self._advance(tuple(map(stamp, stamps)), now)

    def _advance(self, stamps: tuple[float | None, ...], now: float) -> None:
        self._last = now
        newest = max((stamp for stamp in stamps if stamp is not None), default=0.0)
        if newest > self._stamp:
            self._stamp, self._stamp_at = newest, now

    @property
    def is_exact(self) -> bool:
        """Whether our own clock saw it happen."""
        if self._created is None or self._is_coarse:
            return not self._is_coarse
        theirs, ours = self._stamp - self._created, self._stamp_at - self.first
        return not APART < theirs - ours < _LONGEST

    @property
    def zero(self) -> float:
        """When the run began, by our clock."""
        if self.is_exact or self._created is None:
            return self.first
        return self._created + (self._stamp_at - self._stamp)

    def of_run(self, run: Run | None) -> Span:
        """Return the times of the run itself."""
        if self._ended is None:
            return Span(0.0, None, self.is_exact)
        if not self.is_exact and run is not None and self._created is not None:
            ends = (stamp(one) for one in (run.completed_at, run.failed_at, run.cancelled_at))
            ended = next((one for one in ends if one is not None), self._stamp)
            return Span(0.0, max(0.0, ended - self._created), False)
        return Span(0.0, self._ended - self.zero, self.is_exact)

    def of_step(self, identifier: str, step: RunStep | None) -> Span:
        """Return the times of a step, or of a message, which has no `step`."""
        first, last = self._steps.get(identifier, (self._last, None))
        begun, ended = (first or 0.0) - self.zero, None if last is None else last - self.zero
        if self.is_exact or step is None or self._created is None:
            return Span(max(0.0, begun), ended, self.is_exact)
        created = stamp(step.created_at)
        ends = (stamp(one) for one in (step.completed_at, step.failed_at, step.cancelled_at, step.expired_at))
        end = next((one for one in ends if one is not None), None)
        begun = begun if created is None else created - self._created
        if ended is not None and end is not None:
            ended = end - self._created
        return Span(max(0.0, begun), None if ended is None else max(begun, ended), False)


def stamp(value: object) -> float | None:
    """Return a Unix timestamp that can be one, or None."""
    is_one = isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 4e10
    return float(value) if is_one else None  # type: ignore[arg-type]  # mypy loses what is_one says
