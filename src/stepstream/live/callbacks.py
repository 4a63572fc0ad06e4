"""What may be a callback, and what its developer calls it."""

import inspect
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

Callback: TypeAlias = Callable[[Any], Awaitable[object]]


def checked_callback(callback: Callback) -> Callback:
    """Return `callback`, which must be an async function, or an object whose call is one.

    Raises:
        TypeError: it is not.
    """
    call = getattr(callback, "__call__", None)  # noqa: B004 - looked into, not only tested
    is_async = inspect.iscoroutinefunction(callback) or inspect.iscoroutinefunction(call)
    if not is_async or isinstance(callback, type):
        raise TypeError(f"expected an async function as callback, got {name_of(callback)}: declare it with async def")
    return callback


def name_of(callback: object) -> str:
    """Return the name of a callback, or of its class. Its `repr` may show data, such as the arguments of a partial."""
    function = getattr(callback, "func", callback)  # of a functools.partial
    return str(getattr(function, "__qualname__", type(function).__qualname__))
