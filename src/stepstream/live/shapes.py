"""Shapes of deltas: what the templates of like texts have in common.

Theory. A delta of one call, and that of another call or of another step, are written alike: only the id and the first
index differ. Folding one of them did nothing but append to one text (`templates`). Folding the other does the same to
another text, provided that the walk would take the same way and meet nothing else:

1. the object is known and has not ended, and its own field has the type that it had on the first way;
2. the same keys lead to a text, with the other index in the place of the first, and every object on that way has the
   type that it had on the first way. So whatever the delta says of types contradicts nothing, as it did not before;
3. the delta has no member that is not on the way, `type` and `object` aside. One that repeats what is set once, or is
   null, or replaces a value does nothing only because of what was known;
4. it differs from the first in nothing that a decoder could refuse: an id that is plain ASCII, and an index.

So the first delta of a text costs no walk, and since each stream looks at what it knows itself, the streams of a
processor share what they learned: a short one need not learn at all. What would break this: a delta whose first index
is not that of the outer list, which `shape_of` refuses, since it asks for all indexes before the piece, where an outer
one comes first.
"""

import re
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from stepstream.fold.builder import SnapshotBuilder
from stepstream.fold.tree import Indexed, Node, TextBuffer

MAX_SHAPES: Final = 64

_LAYOUT: Final = re.compile(rb'(event: \S+\ndata: \{"id": ?)"([ !#-\[\]-~]+)"(.*?"index": ?)(0|[1-9]\d{0,3})(,.*)')
_KEYS: Final = re.compile(rb'"([^"]*)"[ \t]*:')


class Layout(NamedTuple):
    """The bytes before a piece, taken apart."""

    key: tuple[bytes, ...]
    """All but the id of the object and the first index."""
    identifier: str
    first_index: int
    prefix: bytes


def layout_of(prefix: bytes) -> Layout | None:
    """Return the bytes before a piece taken apart, None where they have no id of printable ASCII first, or no index."""
    found = _LAYOUT.fullmatch(prefix)
    if found is None:
        return None
    return Layout(found.group(1, 3, 5), found[2].decode(), int(found[4]), prefix)


class Shape(NamedTuple):
    """What the templates of like texts have in common, beside the key of their layout."""

    event: str
    suffix: bytes
    path: tuple[str | int, ...]
    """The keys and indexes that lead to the text; the first index is that of the first text of the shape."""
    types: tuple[Any, ...]
    """The types on that way."""
    base_type: Any
    """The type by the object's own field."""

    def text_in(self, builder: SnapshotBuilder[Any], index: int) -> TextBuffer | None:
        """Return the text that a delta of the shape with that first index appends to, None where it may do more."""
        if builder.ended or builder.grown is None or _own_type(builder) != self.base_type:
            return None
        place: Any = builder.grown
        types, is_first = iter(self.types), True
        for key in self.path:
            if isinstance(key, int) and is_first:
                key, is_first = index, False
            place = place.get(key)
            if type(place) is Node:
                if place.get("type") != next(types):
                    return None
            elif type(place) is not Indexed:
                break
        return place if type(place) is TextBuffer else None


class ShapeTable:
    """The shapes of the deltas of one server, by what they have in common: all streams of a processor share them."""

    __slots__ = ("_by_key", "opening", "suffixes")

    def __init__(self) -> None:
        self._by_key: dict[tuple[bytes, ...], Shape] = {}
        self.suffixes: tuple[bytes, ...] = ()
        """How a block ends that has one of the shapes."""
        self.opening = b'":"'
        """What stood before the newest piece: servers write it throughout with a space, or without."""

    def find(self, layout: Layout) -> Shape | None:
        """Return the shape of deltas with that layout, if one is known."""
        return self._by_key.get(layout.key)

    def add(self, layout: Layout, shape: Shape) -> None:
        """Keep a shape. Beyond `MAX_SHAPES` all are dropped at once: those in use are soon learned again."""
        if len(self._by_key) >= MAX_SHAPES:
            self._by_key.clear()
        self._by_key[layout.key] = shape
        self.suffixes = tuple({one.suffix for one in self._by_key.values()})


def shape_of(
    layout: Layout, event: str, suffix: bytes, builder: SnapshotBuilder[Any], text: TextBuffer
) -> Shape | None:
    """Return the shape of a delta that appended to `text` and did nothing else, None where it has none."""
    found = next(_ways_to(builder.tree, text), None)
    if found is None or layout.identifier != builder.base.id or _KEYS.search(suffix):
        return None
    path, types = found
    indexes = [key for key in path if isinstance(key, int)]
    keys = sorted(key.decode("utf-8", "replace") for key in _KEYS.findall(layout.prefix) if key != b"type")
    expected = ["id", "delta", *("index" if isinstance(key, int) else key for key in path)]
    if keys not in (sorted(expected), sorted([*expected, "object"])) or layout.first_index != indexes[0]:
        return None
    return Shape(event, suffix, path, types, _own_type(builder))


def _own_type(builder: SnapshotBuilder[Any]) -> Any:
    return getattr(builder.base, "type", None)


def _ways_to(place: Any, text: TextBuffer) -> Iterator[tuple[tuple[str | int, ...], tuple[Any, ...]]]:
    """Yield the keys and indexes that lead to a text in a tree, and the types of the objects on the way."""
    for key, value in place.items():
        if value is text:
            yield (key,), ()
        elif type(value) in (Node, Indexed):
            own = (value.get("type"),) if type(value) is Node else ()
            for path, types in _ways_to(value, text):
                yield (key, *path), (*own, *types)
