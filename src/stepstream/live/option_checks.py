"""What the value of an option may be: functions of its name and value that return the value as it is used.

Each raises `TypeError` for a wrong type and `ValueError` for what is out of its range.
"""

import inspect
import math
from collections.abc import Callable, Collection
from contextvars import copy_context
from typing import Any, Final, TypeAlias

Test: TypeAlias = Callable[[Any], bool]


def words(name: str, value: Any) -> frozenset[str]:
    """Return one string or several as a set."""
    found = [value] if isinstance(value, str) else value
    if not isinstance(found, Collection) or not all(isinstance(word, str) for word in found):
        raise TypeError(f"expected {name} as a string or a collection of strings, got {type(value).__name__}")
    return frozenset(found)


def boolean(name: str, value: Any) -> bool:
    """Return true or false."""
    if not isinstance(value, bool):
        raise TypeError(f"expected {name} as a bool, got {type(value).__name__}")
    return value


def predicate(name: str, value: Any) -> Test:
    """Return a function of a change as a test."""
    if not callable(value) or inspect.iscoroutinefunction(value):
        raise TypeError(f"expected {name} as a function of a change that is not async, got {type(value).__name__}")
    return lambda change: bool(copy_context().run(value, change))  # what it sets stays out of the stream's task


def number(
    kind: Any, what: str, *, least: int, above: bool = False, or_none: bool = False
) -> Callable[[str, Any], Any]:
    """Return the check of an option that takes a number, or None."""

    def check(name: str, value: Any) -> Any:
        if value is None and or_none:
            return None
        if isinstance(value, bool) or not isinstance(value, kind):
            raise TypeError(f"expected {name} as {what}, got {type(value).__name__}")
        if not least <= value < math.inf or (above and value == least):
            raise ValueError(
                f"expected {name} {'above' if above else 'of at least'} {least}, and finite, got {value!r}"
            )
        return value

    return check


seconds: Final = number(int | float, "seconds", least=0)


def backoff(name: str, value: Any) -> Any:
    """Return seconds, or a function that returns them."""
    is_function = callable(value) and not inspect.iscoroutinefunction(value)  # an async function returns no number
    return value if is_function else seconds(name, value)


def one_of(*words: str) -> Callable[[str, Any], Any]:
    """Return the check of an option that takes one of some words."""

    def check(name: str, value: Any) -> Any:
        if not isinstance(value, str):
            raise TypeError(f"expected {name} as a string, got {type(value).__name__}")
        if value not in words:
            raise ValueError(f"expected {name} {', '.join(words[:-1])} or {words[-1]}, got {value!r}")
        return value

    return check
