"""Cancellation: ours, or that of something which was awaited."""

import math

import anyio


def is_cancelled_from_outside() -> bool:
    """Tell whether the task itself is being cancelled. Else what it awaited was cancelled elsewhere."""
    return anyio.current_effective_deadline() == -math.inf
