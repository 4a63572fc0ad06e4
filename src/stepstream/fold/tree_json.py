"""A tree that grows as JSON and back, in which every value says what it is, with the index of every entry."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from stepstream.fold.tree import Indexed, Node, Struct, TextBuffer, part_of
from stepstream.wire.base import WireObject
from stepstream.wire.loose import build

_STRUCTS: Final[Mapping[str, type[WireObject]]] = {struct.__name__: struct for struct in WireObject.__subclasses__()}
_TYPES: Final[Mapping[type[WireObject], Mapping[str, Any]]] = {
    struct: {field.name: field.type for field in msgspec.structs.fields(struct)} for struct in _STRUCTS.values()
}


def tree_as_json(value: Any) -> list[Any]:
    """Return a tree as JSON in which every value says what it is."""
    kind = type(value)
    if kind is TextBuffer:
        return ["text", value.text()]
    if kind not in (Node, Indexed):
        return ["typed" if kind is tuple else "json", value]  # a list of plain JSON is a list
    struct = value.struct.__name__ if value.struct else None
    entries = [[key, tree_as_json(found)] for key, found in value.items()]
    if kind is Node:
        return ["node", struct, entries, sorted(value.dropped)]
    return ["list", struct, entries, list(value.alias.items())]


def tree_from_json(written: list[Any]) -> Any:
    """Return the tree that `tree_as_json` wrote.

    Raises:
        ValueError: it is something else. What does not fit a struct raises what `build` raises.
    """
    return _read(written, None, "")


def _read(written: list[Any], holder: Struct, key: Any) -> Any:
    """Return the tree that `tree_as_json` wrote. `holder` and `key` say where it stands."""
    match written:
        case ["text", str(text)]:
            return TextBuffer([text])
        case ["json", value]:
            return value
        case ["typed", list(entries)] if holder is not None and key in _TYPES[holder]:
            return _typed(holder, key, entries)
        case ["node", None | str() as name, list(entries), list(dropped)] if name is None or name in _STRUCTS:
            node = Node(_STRUCTS[name] if name else None)
            node.update((_name(at), _read(found, node.struct, at)) for at, found in entries)
            node.dropped = frozenset(_name(at) for at in dropped)
            return node
        case ["list", None | str() as name, list(entries), list(alias)] if name is None or name in _STRUCTS:
            indexed = Indexed(_STRUCTS[name] if name else None)
            indexed.update((_index(at), _read(found, indexed.struct, at)) for at, found in entries)
            indexed.alias = {_index(at): _index(place) for at, place in alias}
            return indexed
    raise ValueError("expected a tree as export writes it")


def _name(key: Any) -> str:
    if isinstance(key, str):
        return key
    raise ValueError("expected the name of a field in a tree")


def _index(key: Any) -> int:
    if isinstance(key, int):
        return key
    raise ValueError("expected an index in a tree")


def _typed(holder: type[WireObject], key: str, entries: list[Any]) -> Any:
    """Return the list of typed objects that stands under `key` and does not grow."""
    part = part_of(holder, key)
    return tuple(build(part, entry) for entry in entries) if part else msgspec.convert(entries, _TYPES[holder][key])
