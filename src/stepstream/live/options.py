"""How changes are delivered to one subscriber: the options, checked."""

import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, TypeAlias, get_args

import msgspec

from stepstream.live.filters import Filters

BUFFER: Final = 256
CALL_TIMEOUT: Final = 30.0
LONGEST_BACKOFF: Final = 30.0

Overflow: TypeAlias = Literal["block", "latest", "close"]
Backoff: TypeAlias = float | Callable[[int, Exception], float]
"""Seconds before the second attempt, doubling while below 30; or a function of the attempt's number and exception."""


class IteratorOptions(Filters, total=False):
    """Filters, and how changes wait for an iterator."""

    buffer: int
    overflow: Overflow
    min_interval: float
    replay: bool


class Options(IteratorOptions, total=False):
    """Filters, and how changes are delivered to a callback."""

    timeout: float | None
    attempts: int
    backoff: Backoff
    concurrency: int
    max_failures: int | None


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """How changes are delivered. Times are in seconds."""

    buffer: int = BUFFER
    """How many changes may wait, those in the subscriber's hands included, before `overflow` says what happens."""
    overflow: Overflow = "block"
    min_interval: float = 0.0
    """Between two progress changes of one step or message."""
    timeout: float | None = CALL_TIMEOUT
    """Of one call."""
    attempts: int = 1
    backoff: Backoff = 1.0
    concurrency: int = 1
    """How many runs are called for at the same time."""
    max_failures: int | None = None
    """So many failures in a row close the subscription."""
    replay: bool = False

    @property
    def coalesces(self) -> bool:
        """Whether newer progress replaces progress that waits."""
        return self.overflow == "latest" or self.min_interval > 0

    def pause(self, attempt: int, failure: Exception) -> float:
        """Return the seconds to wait after the attempt of that number, from 1, has failed.

        Raises:
            ValueError: the function that was given for it returns what is no time, or whatever that raises.
        """
        if not callable(self.backoff):
            return min(self.backoff * (1 << min(attempt - 1, 20)), max(self.backoff, LONGEST_BACKOFF))
        seconds = float(self.backoff(attempt, failure))
        if not math.isfinite(seconds):
            raise ValueError(f"expected backoff to return seconds, got {seconds}")
        return max(0.0, seconds)


DELIVERY: Final = frozenset(Delivery.__struct_fields__)
ITERATOR: Final = frozenset({"buffer", "overflow", "min_interval", "replay"})
"""The options that an iterator has. Its reader is its own clock and its own second attempt."""

_WHOLE: Final = frozenset({"buffer", "attempts", "concurrency", "max_failures"})
_SECONDS: Final = frozenset({"min_interval", "timeout", "backoff"})
_MAY_BE_NONE: Final = frozenset({"timeout", "max_failures"})


def delivery_of(options: Mapping[str, Any], allowed: frozenset[str]) -> tuple[Delivery, Filters]:
    """Return the delivery that `options` ask for, and the filters among them, unchecked.

    Raises:
        TypeError: an option is of a wrong type, or not for this kind of subscriber.
        ValueError: an option is out of its range.
    """
    filters: Any = {name: value for name, value in options.items() if name not in DELIVERY}
    given = {name: value for name, value in options.items() if name in DELIVERY}
    for name in given.keys() - allowed:
        raise TypeError(f"{name} is for callbacks: an iterator is read when its reader likes")
    for name, value in given.items():
        _check(name, value)
    return Delivery(**given), filters


def _check(name: str, value: Any) -> None:
    if (value is None and name in _MAY_BE_NONE) or (name == "backoff" and _is_function(value)):
        return
    if name in _WHOLE:
        _check_number(name, value, int, "a whole number", least=1)
    elif name in _SECONDS:
        _check_number(name, value, int | float, "seconds", least=0)
    elif name == "replay" and not isinstance(value, bool):
        raise TypeError(f"expected replay as a bool, got {type(value).__name__}")
    elif name == "overflow" and not isinstance(value, str):
        raise TypeError(f"expected overflow as a string, got {type(value).__name__}")
    elif name == "overflow" and value not in get_args(Overflow):
        raise ValueError(f"expected overflow block, latest or close, got {value!r}")


def _check_number(name: str, value: Any, kind: Any, what: str, *, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, kind):
        raise TypeError(f"expected {name} as {what}, got {type(value).__name__}")
    if not least <= value < math.inf:
        raise ValueError(f"expected {name} of at least {least}, and finite, got {value!r}")


def _is_function(value: Any) -> bool:
    """Tell whether it can be called for a number: what an async function returns is none."""
    return callable(value) and not inspect.iscoroutinefunction(value)


def check_at_least(least: int, kind: Any, **options: float) -> None:
    """Check the options of a processor, which are numbers.

    Raises:
        TypeError: one is not of that kind.
        ValueError: one is less.
    """
    for name, value in options.items():
        if isinstance(value, bool) or not isinstance(value, kind):
            raise TypeError(f"expected {name} as a number, got {type(value).__name__}")
        if not value >= least:
            raise ValueError(f"expected {name} of at least {least}, got {value!r}")
