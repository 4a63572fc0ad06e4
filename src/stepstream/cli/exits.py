"""What a command ends with: an exit status for every kind of error."""

from collections.abc import Sequence
from typing import Final

from stepstream.errors import (
    APIError,
    JournalFailed,
    RunInterrupted,
    StreamFailed,
    StreamTruncated,
    TransportError,
)

USAGE: Final = 2


class UsageError(Exception):
    """The command line cannot be used as it was typed. Most of that argparse finds; this is the rest."""


STATUSES: Final[Sequence[tuple[type[Exception], int]]] = (
    (UsageError, USAGE),
    (StreamTruncated, 3),
    (RunInterrupted, 3),
    (StreamFailed, 4),
    (APIError, 5),
    (TransportError, 6),
    (JournalFailed, 6),
)
"""The first class that an error is of counts. All else is 1."""


def status_of(error: Exception) -> int:
    """Return the exit status for `error`."""
    return next((status for kind, status in STATUSES if isinstance(error, kind)), 1)
