"""Filters that can never let a change pass, refused when they are given: else their subscriber waits in vain.

What a status may be is known, by class. Ids, names and types of tools and steps are open sets: nothing is known of
them. A server that has statuses of its own can still be filtered, by a function (`where`).
"""

from collections.abc import Collection, Mapping
from difflib import get_close_matches
from typing import Any, Final

from stepstream.fold.changes import MessageTransition, RunTransition, StepTransition
from stepstream.wire.statuses import NEXT_MESSAGE, NEXT_RUN, NEXT_STEP

STATUSES: Final[Mapping[type[Any], Collection[str]]] = {
    StepTransition: NEXT_STEP,
    RunTransition: NEXT_RUN,
    MessageTransition: NEXT_MESSAGE,
}


def check_filter(
    classes: Collection[type[Any]], name: str, having: Collection[type[Any]], values: Collection[Any]
) -> None:
    """Check a filter: that each of `classes` is among those `having` its field, and each of the `values` can occur.

    Raises:
        TypeError: a class lacks the field.
        ValueError: a status is one that none of the classes has.
    """
    for one in classes:
        if one not in having:
            raise TypeError(f"{one.__name__} has no {name}: subscribe to it separately, or leave {name} out")
    if name == "status":
        check_statuses(classes, values)


def check_statuses(classes: Collection[type[Any]], statuses: Collection[str]) -> None:
    """Check that each status is one that some of the classes have.

    Raises:
        ValueError: it is not.
    """
    known = dict.fromkeys(status for one in classes for status in STATUSES[one])
    for status in statuses:
        if status not in known:
            near = get_close_matches(status, known, 1)
            meant = f": did you mean {near[0]!r}?" if near else ""
            names = " or ".join(one.__name__ for one in classes)
            expected = f"expected a status of {names} ({', '.join(known)}; others by where=)"
            raise ValueError(f"{expected}, got {status!r:.80}{meant}")
