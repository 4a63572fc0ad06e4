"""Which changes a subscription is for: classes, filters on their fields, and a predicate."""

import inspect
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final, NamedTuple, TypeAlias, TypedDict, get_args

from stepstream.fold.changes import (
    Change,
    MessageProgress,
    MessageTransition,
    RunTransition,
    StepProgress,
    StepTransition,
    ToolCallFinished,
    ToolCallStarted,
)

Words: TypeAlias = str | Collection[str]
"""The values that a filter lets pass: one string or several."""

CLASSES: Final[tuple[type[Change], ...]] = get_args(Change)

_STEP: Final = {StepTransition, StepProgress}
_CALL: Final = {ToolCallStarted, ToolCallFinished}
_TRANSITION: Final = {StepTransition, RunTransition, MessageTransition}
_ALL: Final = _STEP | _CALL | _TRANSITION | {MessageProgress}

FILTERS: Final[Mapping[str, tuple[str, frozenset[Any]]]] = {
    "status": ("status", frozenset(_TRANSITION)),
    "step_type": ("step_type", frozenset(_STEP)),
    "tool_type": ("type", frozenset(_CALL)),
    "tool_name": ("name", frozenset(_CALL)),
    "step_id": ("step_id", frozenset(_STEP | _CALL)),
    "run_id": ("run_id", frozenset(_ALL)),
    "thread_id": ("thread_id", frozenset(_ALL)),
    "terminal": ("terminal", frozenset(_TRANSITION)),
}
"""Each filter: the attribute it looks at, and the classes that have it."""

Test: TypeAlias = Callable[[Any], bool]

KEYS: Final = ("step_id", "run_id", "thread_id", "tool_name", "status", "terminal", "step_type", "tool_type")
"""The filters by which a subscription is found, the one that says most first."""


class Wanted(NamedTuple):
    """Which changes of its classes a subscription is for."""

    key: tuple[str, frozenset[Any]] | None = None
    """An attribute of the change, and the values by which the subscription is found."""
    tests: tuple[Test, ...] = ()
    """What it must pass beside."""


def checked_classes(classes: tuple[type[Any], ...]) -> tuple[type[Change], ...]:
    """Return `classes`, which must be at least one class of change.

    Raises:
        TypeError: they are not.
    """
    if not classes:
        raise TypeError("expected at least one class of change, such as StepTransition, got none")
    for one in classes:
        if one not in CLASSES:
            names = ", ".join(known.__name__ for known in CLASSES)
            raise TypeError(f"expected classes of change ({names}), got {one!r}")
    return classes


MORE: Final = (
    "buffer", "overflow", "min_interval", "timeout", "attempts", "backoff", "concurrency", "max_failures", "replay",
)  # fmt: skip
"""The options beside filters, for those who misspell one."""


class Filters(TypedDict, total=False):
    """The filters of a subscription. A change must pass all that are given."""

    status: Words
    step_type: Words
    tool_type: Words
    tool_name: Words
    step_id: Words
    run_id: Words
    thread_id: Words
    terminal: bool
    where: Callable[[Any], object]


def checked_filters(classes: tuple[type[Change], ...], filters: Filters) -> Wanted:
    """Return what a change must be like.

    Raises:
        TypeError: a filter is unknown, of a wrong type, or looks at a field that one of the classes does not have.
    """
    known: dict[str, tuple[str, frozenset[Any]]] = {}
    tests: list[Test] = []
    for name, value in filters.items():
        if name not in FILTERS and name != "where":
            raise TypeError(f"expected options among {', '.join((*FILTERS, 'where', *MORE))}, got {name}")
        if name == "where":
            tests.append(_where_test(value))
        else:
            words = _flag(value) if name == "terminal" else _words(name, value)
            known[name] = _attribute(classes, name), words
    first = next((name for name in KEYS if name in known), None)
    key = None if first is None else known.pop(first)
    return Wanted(key, (*(_word_test(*one) for one in known.values()), *tests))


def _where_test(where: Any) -> Test:
    if not callable(where) or inspect.iscoroutinefunction(where):
        raise TypeError(f"expected where as a function of a change that is not async, got {where!r}")
    return lambda change: bool(where(change))


def _attribute(classes: tuple[type[Change], ...], name: str) -> str:
    attribute, having = FILTERS[name]
    for one in classes:
        if one not in having:
            raise TypeError(f"{one.__name__} has no {name}: filter the classes apart, or leave {name} out")
    return attribute


def _words(name: str, value: Any) -> frozenset[str]:
    words = [value] if isinstance(value, str) else value
    if not isinstance(words, Collection) or not all(isinstance(word, str) for word in words):
        raise TypeError(f"expected {name} as a string or a collection of strings, got {type(value).__name__}")
    return frozenset(words)


def _flag(value: Any) -> frozenset[bool]:
    if not isinstance(value, bool):
        raise TypeError(f"expected terminal as a bool, got {type(value).__name__}")
    return frozenset({value})


def _word_test(attribute: str, words: frozenset[Any]) -> Test:
    return lambda change: getattr(change, attribute) in words
