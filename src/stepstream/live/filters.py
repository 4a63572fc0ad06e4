"""Which changes a subscription is for: classes, filters on their fields, and a predicate."""

import inspect
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final, TypeAlias, TypedDict, get_args

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
    "run_id": ("run_id", frozenset(_ALL)),
    "thread_id": ("thread_id", frozenset(_ALL)),
    "terminal": ("terminal", frozenset(_TRANSITION)),
}
"""Each filter: the attribute it looks at, and the classes that have it."""

Test: TypeAlias = Callable[[Any], bool]


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


class Filters(TypedDict, total=False):
    """The filters of a subscription. A change must pass all that are given."""

    status: Words
    step_type: Words
    tool_type: Words
    tool_name: Words
    run_id: Words
    thread_id: Words
    terminal: bool
    where: Callable[[Any], object]


def checked_filters(classes: tuple[type[Change], ...], filters: Filters) -> list[Test]:
    """Return the tests that a change must pass, one for each filter given.

    Raises:
        TypeError: a filter is unknown, of a wrong type, or looks at a field that one of the classes does not have.
    """
    tests = []
    for name, value in filters.items():
        if name not in FILTERS and name != "where":
            raise TypeError(f"expected filters among {', '.join((*FILTERS, 'where'))}, got {name}")
        if name == "where":
            tests.append(_where_test(value))
        elif name == "terminal":
            tests.append(_terminal_test(classes, value))
        else:
            tests.append(_word_test(classes, name, value))
    return tests


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


def _word_test(classes: tuple[type[Change], ...], name: str, value: Any) -> Test:
    attribute = _attribute(classes, name)
    words = [value] if isinstance(value, str) else value
    if not isinstance(words, Collection) or not all(isinstance(word, str) for word in words):
        raise TypeError(f"expected {name} as a string or a collection of strings, got {type(value).__name__}")
    wanted = frozenset(words)
    return lambda change: getattr(change, attribute) in wanted


def _terminal_test(classes: tuple[type[Change], ...], terminal: Any) -> Test:
    attribute = _attribute(classes, "terminal")
    if not isinstance(terminal, bool):
        raise TypeError(f"expected terminal as a bool, got {type(terminal).__name__}")
    return lambda change: getattr(change, attribute) is terminal
