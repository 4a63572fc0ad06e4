"""The statuses of steps, runs and messages, and which may follow which. Others that a server sends are kept."""

from collections.abc import Mapping
from typing import Final

_ENDS: Final[frozenset[str]] = frozenset()

NEXT_STEP: Final[Mapping[str, frozenset[str]]] = {
    "in_progress": frozenset({"completed", "failed", "cancelled", "expired", "incomplete"}),
    "completed": _ENDS,
    "failed": _ENDS,
    "cancelled": _ENDS,
    "expired": _ENDS,
    "incomplete": _ENDS,
}

NEXT_RUN: Final[Mapping[str, frozenset[str]]] = {
    "queued": frozenset({"in_progress", "cancelling", "cancelled", "failed", "expired"}),
    "in_progress": frozenset(
        {"requires_action", "cancelling", "cancelled", "failed", "completed", "incomplete", "expired"}
    ),
    "requires_action": frozenset({"queued", "in_progress", "cancelling", "cancelled", "failed", "expired"}),
    "cancelling": frozenset({"cancelled", "failed", "completed", "incomplete", "expired"}),
    "completed": _ENDS,
    "failed": _ENDS,
    "cancelled": _ENDS,
    "expired": _ENDS,
    "incomplete": _ENDS,
}

NEXT_MESSAGE: Final[Mapping[str, frozenset[str]]] = {
    "in_progress": frozenset({"completed", "incomplete"}),
    "completed": _ENDS,
    "incomplete": _ENDS,
}


def _terminal(following: Mapping[str, frozenset[str]]) -> frozenset[str]:
    return frozenset(status for status, after in following.items() if not after)


STEP_TERMINAL: Final = _terminal(NEXT_STEP)
RUN_TERMINAL: Final = _terminal(NEXT_RUN)
MESSAGE_TERMINAL: Final = _terminal(NEXT_MESSAGE)
