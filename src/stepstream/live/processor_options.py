"""The options of a processor by name, for what passes them on, and the check of those that are numbers."""

from collections.abc import Callable
from typing import Any, TypedDict

from stepstream.live.journal import WritableJournal


class ProcessorOptions(TypedDict, total=False):
    """The parameters of `Processor`."""

    strict: bool
    drain_timeout: float
    max_event_bytes: int
    max_depth: int
    retain: int
    max_open_runs: int
    forget_after: float
    max_run_bytes: int
    max_streams: int | None
    journal: WritableJournal | None
    dialect: str
    clock: Callable[[], float] | None


def check_numbers(least: int, kind: Any, **options: float) -> None:
    """Check that options are numbers of a kind, and not below the least.

    Raises:
        TypeError, ValueError: one is not.
    """
    for name, value in options.items():
        if isinstance(value, bool) or not isinstance(value, kind):
            raise TypeError(f"expected {name} as a number, got {type(value).__name__}")
        if not value >= least:
            raise ValueError(f"expected {name} of at least {least}, got {value!r}")
