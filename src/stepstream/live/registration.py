"""What a subscriber is registered with: classes of change and options, checked before anything is done."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from types import UnionType
from typing import Any, Final, TypeAlias, Union, get_args, get_origin

from stepstream.fold.changes import Change
from stepstream.live.options import Delivery, Filter, check_options

CLASSES: Final[tuple[type[Change], ...]] = get_args(Change)

Several: TypeAlias = Collection[type[Change]] | UnionType
"""A list of classes of change, or a union of them, such as `StepTransition | RunTransition` or `Change`."""


def checked_subscription(
    given: Iterable[Any], options: Mapping[str, Any], *, is_iterator: bool = False
) -> tuple[tuple[type[Change], ...], Filter, Delivery]:
    """Return the classes that were given, each once, which of their changes are wanted, and how these are delivered.

    Raises:
        TypeError: there is no class, one is none of changes, or as `check_options` does.
        ValueError: an option is out of its range.
    """
    classes = tuple(dict.fromkeys(_flat(given)))
    if not classes:
        raise TypeError("expected at least one class of change, such as StepTransition, got none")
    return classes, *check_options(classes, options, is_iterator=is_iterator)


def _flat(given: Iterable[Any]) -> Iterator[type[Change]]:
    for one in given:
        if get_origin(one) in (UnionType, Union):
            yield from _flat(get_args(one))
        elif isinstance(one, list | tuple | set | frozenset):
            yield from _flat(one)
        elif isinstance(one, type) and one in CLASSES:
            yield one
        else:
            names = ", ".join(known.__name__ for known in CLASSES)
            raise TypeError(f"expected classes of change ({names}), got {one!r}")
