"""Whether the task itself was cancelled, and what a task group raised without the group."""

import math
from typing import Any

import anyio


def is_cancelled_from_outside() -> bool:
    """Return whether the current task itself is being cancelled; else something that it awaited was."""
    return anyio.current_effective_deadline() == -math.inf


def lone_exception(group: BaseExceptionGroup[Any]) -> BaseException:
    """Return the exception in `group` where it is the only one, however deeply nested; else the group."""
    inner: BaseException = group
    while isinstance(inner, BaseExceptionGroup) and len(inner.exceptions) == 1:
        inner = inner.exceptions[0]
    return group if isinstance(inner, BaseExceptionGroup) else inner
