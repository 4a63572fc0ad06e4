"""The filters and options of a subscription: one table of what each may be, and the checks it gives.

`OPTIONS` has a row for every keyword of `on`, `add` and `subscribe`. The typed dictionaries (names, for type checkers),
`Delivery` (usual values) and the README are held against it by tests.
"""

import math
from collections.abc import Callable, Collection, Hashable, Mapping
from typing import Any, Final, Literal, NamedTuple, TypeAlias, TypedDict

import msgspec

from stepstream.fold.anomalies import Anomaly
from stepstream.fold.changes import (
    MessageProgress,
    MessageTransition,
    RunTransition,
    StepProgress,
    StepTransition,
    ToolCallFinished,
    ToolCallStarted,
)
from stepstream.live.coalescing import CoalesceBy
from stepstream.live.context_keys import context_key
from stepstream.live.filters import check_filter
from stepstream.live.option_checks import Test, backoff, boolean, number, one_of, predicate, seconds, words

BUFFER: Final = 256
CALL_TIMEOUT: Final = 30.0
MAX_WAIT: Final = 0.1
LONGEST_BACKOFF: Final = 30.0

Words: TypeAlias = str | Collection[str]
"""The values that a filter lets pass: one string or several."""

Overflow: TypeAlias = Literal["block", "latest", "close"]
Backoff: TypeAlias = float | Callable[[int, Exception], float]
"""Seconds before the second attempt, doubling while below 30; or a function of the attempt's number and exception."""


class Filters(TypedDict, total=False):
    """The filters of a subscription. A change must pass all that are given."""

    status: Words
    step_type: Words
    tool_type: Words
    tool_name: Words
    step_id: Words
    run_id: Words
    thread_id: Words
    context: Any
    terminal: bool
    where: Callable[[Any], object]


class IteratorOptions(Filters, total=False):
    """Filters, and how changes wait for an iterator."""

    buffer: int
    overflow: Overflow
    min_interval: float
    replay: bool
    coalesce_by: CoalesceBy
    max_wait: float


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
    """How many changes may wait, those the subscriber is working on included, before `overflow` decides."""
    overflow: Overflow = "block"
    min_interval: float = 0.0
    """From a call for a step or message to the next for its progress."""
    timeout: float | None = CALL_TIMEOUT
    """Of one call."""
    attempts: int = 1
    backoff: Backoff = 1.0
    concurrency: int = 1
    """How many runs are called for at the same time."""
    max_failures: int | None = None
    """So many failures in a row close the subscription."""
    replay: bool = False
    coalesce_by: CoalesceBy = "step"
    """What newer progress replaces the progress of, and calls are paced for: a step or message, a run, a context."""
    batch: int | None = None
    """Changes come in lists of so many at most."""
    max_wait: float = MAX_WAIT
    """So long a list that has fewer waits for more, while its subscriber waits for it."""

    @property
    def longest_hold(self) -> float:
        """How long a change may wait for time to pass, and not for the subscriber."""
        return self.min_interval + (0.0 if self.batch is None else self.max_wait)

    @property
    def coalesces(self) -> bool:
        """Whether newer progress replaces progress that waits."""
        return self.overflow == "latest" or self.min_interval > 0

    def pause(self, attempt: int, failure: Exception) -> float:
        """Return the seconds to wait after the attempt of that number, from 1, has failed.

        Raises:
            ValueError: the function given as `backoff` returns no finite time, or whatever that function raises.
        """
        if not callable(self.backoff):
            return min(self.backoff * (1 << min(attempt - 1, 20)), max(self.backoff, LONGEST_BACKOFF))
        seconds = float(self.backoff(attempt, failure))
        if not math.isfinite(seconds):
            raise ValueError(f"expected backoff to return seconds, got {seconds}")
        return max(0.0, seconds)


class Filter(NamedTuple):
    """Which changes of its classes a subscription is for."""

    key: tuple[str, frozenset[Any]] | None = None
    """An attribute of the change and the values wanted, by which a subscription is looked up in the routes."""
    tests: tuple[Test, ...] = ()
    """What a change must pass beside."""
    run_ids: frozenset[str] | None = None
    context: tuple[Hashable, Any] | None = None
    """The key of the context wanted, by which a subscription is looked up before all else, and that context."""


class Option(NamedTuple):
    """One filter or option: how its value is checked, and what it is for."""

    check: Callable[[str, Any], Any]
    """Returns the value of the option of that name as it is used. Raises `TypeError` or `ValueError`."""
    attribute: str = ""
    """Of a filter: the attribute of a change that it looks at. Empty for all others."""
    classes: frozenset[type[Any]] = frozenset()
    """Of a filter: the classes of change that have the attribute."""
    for_iterators: bool = True
    """Whether an iterator has it. An iterator is read at its reader's pace, and its reader makes its own attempts."""


_STEP: Final = frozenset({StepTransition, StepProgress})
_CALL: Final = frozenset({ToolCallStarted, ToolCallFinished})
_TRANSITION: Final = frozenset({StepTransition, RunTransition, MessageTransition})
_ALL: Final = _STEP | _CALL | _TRANSITION | {MessageProgress, Anomaly}

OPTIONS: Final[Mapping[str, Option]] = {
    # Filters, the most selective first: a subscription is looked up by the first of them that it has.
    "step_id": Option(words, "step_id", _STEP | _CALL),
    "run_id": Option(words, "run_id", _ALL),
    "thread_id": Option(words, "thread_id", _ALL),
    "tool_name": Option(words, "name", _CALL),
    "status": Option(words, "status", _TRANSITION),
    "terminal": Option(lambda name, value: frozenset({boolean(name, value)}), "terminal", _TRANSITION),
    "step_type": Option(words, "step_type", _STEP),
    "tool_type": Option(words, "type", _CALL),
    "context": Option(lambda name, value: value, "context", _ALL),
    "where": Option(predicate),
    # Delivery, to iterators too.
    "buffer": Option(number(int, "a whole number", least=1)),
    "overflow": Option(one_of("block", "latest", "close")),
    "min_interval": Option(seconds),
    "coalesce_by": Option(one_of("step", "run", "context")),
    "batch": Option(number(int, "a whole number", least=1, or_none=True)),
    "max_wait": Option(seconds),
    "replay": Option(boolean),
    # Delivery to callbacks.
    "timeout": Option(number(int | float, "seconds", least=0, above=True, or_none=True), for_iterators=False),
    "attempts": Option(number(int, "a whole number", least=1), for_iterators=False),
    "backoff": Option(backoff, for_iterators=False),
    "concurrency": Option(number(int, "a whole number", least=1), for_iterators=False),
    "max_failures": Option(number(int, "a whole number", least=1, or_none=True), for_iterators=False),
}


def check_options(
    classes: tuple[type[Any], ...], options: Mapping[str, Any], *, is_iterator: bool = False
) -> tuple[Filter, Delivery]:
    """Return which changes of `classes` are wanted, and how they are delivered.

    Raises:
        TypeError: an option is unknown, of a wrong type, or not for this subscriber, or a class lacks its attribute.
        ValueError: an option is out of its range, or a status is none that its classes have.
    """
    words: dict[str, frozenset[Any]] = {}
    tests: list[Test] = []
    delivery: dict[str, Any] = {}
    context: tuple[Hashable, Any] | None = None
    for name in options.keys() - OPTIONS.keys():
        raise TypeError(f"expected options among {', '.join(OPTIONS)}, got {name}")
    for name in (one for one in OPTIONS if one in options):
        option = OPTIONS[name]
        if is_iterator and not option.for_iterators:
            raise TypeError(f"{name} is for callbacks: an iterator is read at its reader's pace")
        value = option.check(name, options[name])
        if name == "context":
            context = context_key(value), value
        elif option.attribute:
            check_filter(classes, name, option.classes, value)
            words[option.attribute] = value
        elif name == "where":
            tests.append(value)
        else:
            delivery[name] = value
    if "batch" in options:
        delivery["buffer"] = _buffer_for(delivery["batch"], options.get("buffer"))
    key = next(iter(words.items()), None)
    tests[:0] = (_word_test(*one) for one in words.items() if one != key)
    return Filter(key, tuple(tests), words.get("run_id"), context), Delivery(**delivery)


def _buffer_for(batch: int | None, given: int | None) -> int:
    """Return how many changes may wait for lists of that size."""
    if batch is None:
        return given or BUFFER
    if given is not None and given < batch:
        raise ValueError(f"expected buffer of at least batch ({batch}), got {given}")
    return given or max(BUFFER, 2 * batch)


def _word_test(attribute: str, words: frozenset[Any]) -> Test:
    return lambda change: getattr(change, attribute) in words
