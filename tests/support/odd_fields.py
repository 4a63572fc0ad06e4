"""Objects with every field that their structs have, and what becomes of a field that holds something odd.

The objects are made from the annotations of the structs, so that a new field is in every test that uses them. What
becomes of an odd value stands in `READ_AS`, a table of its own: nothing here is taken from the code under test.
"""

from collections.abc import Iterator
from copy import copy
from itertools import islice
from types import NoneType
from typing import Any, Final, Literal, NamedTuple, get_args, get_origin

import msgspec
import pytest

from stepstream.wire.base import Integer, Number, Seconds, WireObject
from stepstream.wire.messages import Message
from stepstream.wire.objects import Run, RunStep, Thread
from tests.support.json_values import JSON

LEFT_OUT: Final = object()

ISO: Final = "2025-01-01T00:00:00Z"
MILLISECONDS: Final = 1735689600000
TIME: Final = 1735689600
HUGE: Final = 10**30

ODD: Final[dict[str, Any]] = {
    "null": None,
    "boolean": True,
    "integer": 5,
    "whole float": 3.0,
    "float": 3.5,
    "milliseconds": MILLISECONDS,
    "huge": HUGE,
    "text": "a word",
    "ISO time": ISO,
    "list": [],
    "object": {},
    "list of odds": [5, None, "a word"],
}

READ_AS: Final[dict[str, dict[str, Any]]] = {
    "text": {"text": "a word", "ISO time": ISO},
    "type": {},
    "boolean": {"boolean": True},
    "integer": {"integer": 5, "milliseconds": MILLISECONDS, "whole float": 3},
    "number": {"integer": 5, "whole float": 3.0, "float": 3.5, "milliseconds": MILLISECONDS, "huge": HUGE},
    "time": {"integer": 5, "whole float": 3.0, "float": 3.5, "milliseconds": TIME, "ISO time": TIME},
    "text or object": {"text": "a word", "ISO time": ISO, "object": {}},
    "object": {"object": {}},
    "list": {"list": [], "list of odds": []},
    "list of texts": {"list": [], "list of odds": ["a word"]},
}
"""By the kind of a field, the odd values that fit or are read, and as what. All others are left out."""

OTHERWISE: Final = {("integer", "whole float"), ("time", "milliseconds"), ("time", "ISO time")}
"""Values that are read as something else than they are, and are told of."""

IN_LIST: Final = {"list": (0, 1, 2), "list of texts": (0, 1)}
"""The places of the entries of "list of odds" that are left out."""

ROOTS: Final[dict[str, tuple[type[WireObject], str]]] = {
    "thread": (Thread, "thread.created"),
    "run": (Run, "thread.run.queued"),
    "step": (RunStep, "thread.run.step.created"),
    "message": (Message, "thread.message.created"),
}
EXTENTS: Final = [
    *[(root, 11) for root in ("run", "step", "message")],
    *[pytest.param(root, 1, marks=pytest.mark.slow) for root in ("run", "step", "message")],
]
"""Arguments of `oddities`, for what is done to all: by default every field and every value, in turn."""
STATUSES: Final = {"run": "queued", "step": "in_progress", "message": "in_progress"}


class Place(NamedTuple):
    """A field somewhere in an object."""

    path: tuple[str | int, ...]
    kind: str

    @property
    def dotted(self) -> str:
        return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in self.path)[1:]


def kind_of(annotation: Any) -> str:
    """Return what belongs under a field, in the words of `READ_AS`."""
    options = {*get_args(annotation)} - {NoneType, msgspec.UnsetType} if annotation is not str else {str}
    if any(get_origin(option) is Literal for option in options):
        return "type"
    if any(get_origin(option) is tuple for option in options):
        return "list of texts" if tuple[str, ...] in options else "list"
    leaves = {
        "text": {str},
        "boolean": {bool},
        "integer": {Integer},
        "number": {*get_args(Number)},
        "time": {*get_args(Seconds)},
        "text or object": {str, dict[str, Any]},
    }
    return next((kind for kind, leaf in leaves.items() if leaf == options), "object")


def struct_in(annotation: Any) -> type[WireObject] | None:
    if isinstance(annotation, type) and issubclass(annotation, WireObject):
        return annotation
    return next((found for inner in get_args(annotation) if (found := struct_in(inner))), None)


def whole(root: str) -> tuple[JSON, list[Place]]:
    """Return an object with all its fields, down to the last, and the place of each."""
    struct, _ = ROOTS[root]
    places: list[Place] = []
    made = _made(struct, (), places)
    made["id"] = f"{root}_1"
    if root in STATUSES:
        made["status"] = STATUSES[root]
    return made, [place for place in places if place.path != ("id",)]


def _made(struct: type[WireObject], path: tuple[str | int, ...], places: list[Place]) -> JSON:
    made: JSON = {}
    for field in msgspec.structs.fields(struct):
        place = Place((*path, field.name), kind_of(field.type))
        places.append(place)
        made[field.name] = _value(place, field.type, places)
    return made


def _value(place: Place, annotation: Any, places: list[Place]) -> Any:
    inner = struct_in(annotation)
    if place.kind == "type":
        return next(get_args(one)[0] for one in get_args(annotation) if get_origin(one) is Literal)
    if place.kind == "list" and inner:
        return [_made(inner, (*place.path, position), places if position == 1 else []) for position in range(2)]
    if place.kind == "object" and inner:
        return _made(inner, place.path, places)
    return {
        "text": f"text of {place.dotted}",
        "boolean": False,
        "integer": 7,
        "number": 0.5,
        "time": 1790000000,
        "text or object": "auto",
        "object": {"key": [place.dotted]},
        "list": [{"key": place.dotted}],
        "list of texts": ["file_1"],
    }[place.kind]


class Oddity(NamedTuple):
    """An object with one odd value in it, and what it is to be read as."""

    name: str
    sent: JSON
    read: JSON
    told: list[str]
    """The paths that are to be told of."""


def oddities(root: str, every: int = 1) -> Iterator[Oddity]:
    """Yield an object for every field and every odd value, or each so many-th of them."""
    return islice(_oddities(root), 0, None, every)


def _oddities(root: str) -> Iterator[Oddity]:
    good, places = whole(root)
    for place in places:
        for name, value in ODD.items():
            if place.kind == "type" and isinstance(value, str):
                continue  # a kind that is not known, and nothing odd
            told: list[str] = []
            as_ = None if value is None else READ_AS[place.kind].get(name, LEFT_OUT)
            if as_ is LEFT_OUT or (place.kind, name) in OTHERWISE:
                told = [place.dotted]
            elif name == "list of odds":
                told = [f"{place.dotted}[{position}]" for position in IN_LIST[place.kind]]
            yield Oddity(f"{place.dotted}: {name}", put(good, place.path, value), put(good, place.path, as_), told)


def put(good: JSON, path: tuple[str | int, ...], value: object) -> JSON:
    """Return a copy with a value in a place, or without that place. What is beside the path is shared, not copied."""
    changed = dict(good)
    holder: Any = changed
    for part in path[:-1]:
        holder[part] = copy(holder[part])
        holder = holder[part]
    if value is LEFT_OUT:
        del holder[path[-1]]
    else:
        holder[path[-1]] = value
    return changed


def at(value: Any, path: tuple[str | int, ...]) -> Any:
    """Return what is in a place."""
    for part in path:
        value = value[part]
    return value
