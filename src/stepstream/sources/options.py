"""Options that are checked before anything is sent."""

from typing import Any


def check_attempts(attempts: int) -> None:
    """Check a number of attempts.

    Raises:
        ValueError: it is below 1.
    """
    if attempts < 1:
        raise ValueError(f"expected at least 1 attempt, got {attempts}")


def check_seconds(**timeouts: float | None) -> None:
    """Check timeouts. None is none.

    Raises:
        TypeError: one is no number.
        ValueError: one is below 0.
    """
    for name, seconds in timeouts.items():
        if seconds is None:
            continue
        if isinstance(seconds, bool) or not isinstance(seconds, int | float):
            raise TypeError(f"expected {name} in seconds, got {type(seconds).__name__}")
        if not seconds >= 0:
            raise ValueError(f"expected {name} of at least 0 seconds, got {seconds}")


def check_client(client: Any, *, fast: bool) -> None:
    """Check that a client is an async one, of httpx or a look-alike. None is none.

    Raises:
        TypeError: it is not, or there is `fast`, which is about our own client, beside it.
    """
    if client is not None and not hasattr(client, "aclose"):
        raise TypeError(f"expected an httpx.AsyncClient or httpx2.AsyncClient as client, got {type(client).__name__}")
    if client is not None and fast:
        raise TypeError("expected client or fast=True, got both: a client brings its own transport")
