"""What may be a callback, and what its developer calls it."""

import inspect
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

Callback: TypeAlias = Callable[[Any], Awaitable[object]]


def checked_callback(callback: Callback) -> Callback:
    """Return `callback`, which must be an async function of one argument, or an object whose call is one.

    Raises:
        TypeError: it is not.
    """
    call = getattr(callback, "__call__", None)  # noqa: B004 - looked into, not only tested
    is_async = inspect.iscoroutinefunction(callback) or inspect.iscoroutinefunction(call)
    if not is_async or isinstance(callback, type):
        raise TypeError(f"expected an async function as callback, got {name_of(callback)}: declare it with async def")
    if not _takes_one(callback):
        raise TypeError(f"expected a callback that takes one argument, got {name_of(callback)} with other parameters")
    return callback


def _takes_one(callback: Any) -> bool:
    """Return whether a function takes one argument; of what is none, it is not looked at. It costs a microsecond."""
    code = getattr(callback, "__code__", None)
    if code is None:
        return True
    own = code.co_argcount - hasattr(callback, "__self__")
    has_room = own > 0 or bool(code.co_flags & inspect.CO_VARARGS)
    return has_room and own - len(callback.__defaults__ or ()) <= 1


def name_of(callback: object) -> str:
    """Return the name of a callback, or of its class. Its `repr` may show data, such as the arguments of a partial."""
    function = getattr(callback, "func", callback)  # of a functools.partial
    return str(getattr(function, "__qualname__", type(function).__qualname__))
