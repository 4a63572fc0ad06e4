"""Which events and statuses end what: tables, and the few questions asked of them."""

from collections.abc import Collection
from typing import Final

from stepstream.wire.events import IMPLIED_STATUS, MESSAGE_EVENTS, RUN_EVENTS, STEP_EVENTS
from stepstream.wire.statuses import MESSAGE_TERMINAL, RUN_TERMINAL, STEP_TERMINAL

ENDING_EVENTS: Final = frozenset(
    name
    for events, terminal in ((STEP_EVENTS, STEP_TERMINAL), (MESSAGE_EVENTS, MESSAGE_TERMINAL))
    for name, status in events.items()
    if status in terminal
)
"""The events whose name ends a step or a message, whatever the status of the object in it."""

CREATING_EVENTS: Final = frozenset({"thread.run.step.created", "thread.message.created"})

SETTLED_RUN: Final = RUN_TERMINAL | {"requires_action"}
"""The statuses in which the server has nothing more to send: the run ended, or waits for the caller."""


def names_another_status(name: str, status: object) -> bool:
    """Return whether a run event's name disagrees with the status of its object. `created` names no status."""
    return name in RUN_EVENTS and name != "thread.run.created" and IMPLIED_STATUS[name] != status


def is_over(statuses: Collection[object], *, or_waiting: bool = True) -> bool:
    """Return whether a stream is over where its bytes end, by the statuses of its runs: one is known, and each ended.

    One that waits for action counts too, unless the same stream may go on when it was answered (`or_waiting`).
    """
    ends = SETTLED_RUN if or_waiting else RUN_TERMINAL
    return bool(statuses) and all(status in ends for status in statuses)
