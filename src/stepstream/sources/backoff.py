"""How long to wait before the next attempt. No clock and no sleep: time and randomness are arguments."""

from collections.abc import Callable
from random import random
from typing import Final

FIRST: Final = 1.0
LONGEST: Final = 30.0
HEALTHY_AFTER: Final = 60.0
SHORTEST_RETRY: Final = 0.1
"""With `retry: 0` a server that refuses would be asked without a pause: 0 doubled stays 0."""
LONGEST_RETRY: Final = 30.0
LONGEST_RETRY_AFTER: Final = 120.0
"""Whatever a server asks for, one response does not hold up the caller, who waits meanwhile, for longer."""


class Backoff:
    """Delays that double from one failure to the next, each shortened at random, down to half.

    `chance` gives numbers from 0 to 1. The delays begin anew after a connection that lasted for 60 seconds. One that
    opens and breaks at once does not reset them: else a server that fails after the first byte would be asked at once
    for ever.
    """

    def __init__(self, chance: Callable[[], float] = random) -> None:
        self._chance = chance
        self._failures = 0
        self._opened_at: float | None = None

    def __repr__(self) -> str:
        return f"<Backoff after {self._failures} failures>"

    def opened(self, now: float) -> None:
        """Record that a connection opened at the time `now`."""
        self._opened_at = now

    def failed(self, now: float, *, retry: int | None = None, retry_after: float | None = None) -> float:
        """Record a failure at the time `now`, and return the seconds to wait.

        `retry` is the server's reconnection time in milliseconds, with which the delays begin, clamped to between 0.1
        and 30 seconds. `retry_after` is the delay that an error response asked for, in seconds: the result is at least
        that, or 120.
        """
        if self._opened_at is not None and now - self._opened_at >= HEALTHY_AFTER:
            self._failures = 0
        self._opened_at = None
        first = FIRST if retry is None else min(max(retry / 1_000, SHORTEST_RETRY), LONGEST_RETRY)
        delay = min(first * (1 << min(self._failures, 10)), LONGEST) * (0.5 + self._chance() / 2)
        self._failures += 1
        return max(delay, min(retry_after or 0.0, LONGEST_RETRY_AFTER))
