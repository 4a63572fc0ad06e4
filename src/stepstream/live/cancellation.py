"""Cancellation: ours, or that of something which was awaited. And what tasks raise, out of its groups."""

import math
from typing import Any

import anyio


def is_cancelled_from_outside() -> bool:
    """Tell whether the task itself is being cancelled. Else what it awaited was cancelled elsewhere."""
    return anyio.current_effective_deadline() == -math.inf


def lone(group: BaseExceptionGroup[Any]) -> BaseException:
    """Return what a task raised, where it is the only one; else the group."""
    inner: BaseException = group
    while isinstance(inner, BaseExceptionGroup) and len(inner.exceptions) == 1:
        inner = inner.exceptions[0]
    return group if isinstance(inner, BaseExceptionGroup) else inner
