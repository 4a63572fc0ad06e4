"""Whether the task itself was cancelled, and what a task group raised without the group."""

import math
import sys
from typing import Any

import anyio


def is_cancelled_from_outside() -> bool:
    """Return whether a scope around the current task was cancelled; else something that it awaited was.

    That is enough for tasks of the processor's own: nobody has to cancel these by hand.
    """
    return anyio.current_effective_deadline() == -math.inf


def is_task_cancelled() -> bool:
    """Return whether the current task is being cancelled, by a scope or by hand, as one of a user's may be.

    Tasks of asyncio count the calls of their `cancel`, of which anyio says nothing; trio has none.
    """
    loop = sys.modules[anyio.get_cancelled_exc_class().__module__.partition(".")[0]]
    current_task = getattr(loop, "current_task", None)
    return is_cancelled_from_outside() or (current_task is not None and current_task().cancelling() > 0)


def lone_exception(group: BaseExceptionGroup[Any]) -> BaseException:
    """Return the exception in `group` where it is the only one, however deeply nested; else the group."""
    inner: BaseException = group
    while isinstance(inner, BaseExceptionGroup) and len(inner.exceptions) == 1:
        inner = inner.exceptions[0]
    return group if isinstance(inner, BaseExceptionGroup) else inner
