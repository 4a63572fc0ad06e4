"""JSON that grows: a tree that can be added to at a cost that does not depend on its size.

`Node` stands for an object, `TextBuffer` for a text that is appended to, `Indexed` for a list that goes by index. Any
other value is itself. `load` makes a tree from a full object, `freeze` makes the snapshot of it:

    freeze(load(Struct, value)) == value        for every value that a decoder gives

A text is a list of pieces that are joined when it is read, and stays joined: n pieces cost n appends and one join, not
n copies of what came before. A list is a dict by index, so entries may come in any order and leave gaps.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, TypeAlias

import msgspec

from stepstream.wire.base import Unknown, WireObject
from stepstream.wire.messages import Content, Text
from stepstream.wire.objects import ReasoningText
from stepstream.wire.schema import FIELDS, FULL, INDEXED, PARTS, is_known
from stepstream.wire.tool_calls import PatchOperation, ShellCommand, ShellOutput

APPENDED: Final = frozenset({"arguments", "input", "logs", "output"})
"""The names of the texts that deltas append to."""

APPENDED_IN: Final[Mapping[Any, frozenset[str]]] = {
    Content: frozenset({"refusal"}),
    Text: frozenset({"value"}),
    ReasoningText: frozenset({"text"}),
    PatchOperation: frozenset({"diff"}),
    ShellCommand: frozenset({"command"}),
    ShellOutput: frozenset({"stdout", "stderr"}),
}
"""Those that are such texts in one kind of object only."""

Struct: TypeAlias = type[WireObject] | None

TEXTS: Final[Mapping[Struct, frozenset[str]]] = {
    None: APPENDED,
    **{struct: APPENDED | APPENDED_IN.get(struct, frozenset()) for struct in FIELDS},
}
"""The texts that deltas append to, of every kind of object."""


DROPPED: Final = -1
"""No place in a list."""

_NOTHING_DROPPED: Final[frozenset[str]] = frozenset()


class TextBuffer(list[str]):
    """A text in the pieces it came in."""

    __slots__ = ()

    def text(self) -> str:
        """Return the whole text, and keep it as one piece."""
        if len(self) > 1:
            self[:] = ["".join(self)]
        return self[0]


class Node(dict[str, Any]):
    """An object that grows. `struct` is what it is frozen to, None for plain JSON.

    `dropped` holds the keys that deltas had delivered and the terminal object left out: no late delta brings them back.
    """

    __slots__ = ("dropped", "struct")

    def __init__(self, struct: Struct) -> None:
        self.struct = struct
        self.dropped: frozenset[str] = _NOTHING_DROPPED


class Indexed(dict[int, Node]):
    """A list that grows, by index and without padding. `struct` is that of its entries.

    Once a terminal object has settled it, `alias` leads from each index that deltas used to the place in that object,
    or to `DROPPED` where it left the entry out.

    In a delta that has several entries for one index, the first is in its place, and `every` has all in order.
    """

    __slots__ = ("alias", "every", "struct")

    def __init__(self, struct: Struct) -> None:
        self.struct = struct
        self.alias: dict[int, int] = {}
        self.every: tuple[tuple[int, Node], ...] = ()

    def repetitions(self) -> list[tuple[int, Node]]:
        """Return the entries for an index that came before, which are to be added to the first; they are given once."""
        found = [(index, entry) for index, entry in self.every if self[index] is not entry]
        self.every = ()
        return found


def sent_fields(value: Any) -> list[tuple[str, Any]]:
    """Return the names and values of the fields of a struct that were sent.

    That is what msgspec makes for pretty printers, where defaults are left out (`repr_omit_defaults`): a tool call has
    some thirty fields, of which four are sent, and this looks at the others in C.
    """
    found: list[tuple[str, Any]] = value.__rich_repr__()
    return found


def fields(value: Any) -> Collection[tuple[str, Any]]:
    """Return the keys and values of an object as they came, without `index`, which is a place in a list."""
    if isinstance(value, dict):
        return value.items()
    return [pair for pair in sent_fields(value) if pair[0] != "index"]


def is_object(value: object) -> bool:
    """Return whether `value` is an object, of a known kind or not."""
    return isinstance(value, (WireObject, dict))


def part_of(struct: Struct, key: str) -> Struct:
    """Return the struct of the objects under `key`, where it is one that may come in unknown kinds."""
    return PARTS.get(struct, {}).get(key) if struct else None


def goes_by_index(struct: Struct, key: str, value: object) -> bool:
    """Return whether a list in a delta goes by index: every entry has one; for an empty list its field decides."""
    if not isinstance(value, (list, tuple)):
        return False
    return all(map(_has_index, value)) if value else key in INDEXED and part_of(struct, key) is not None


def _has_index(entry: object) -> bool:
    return (
        "index" in FIELDS[type(entry)]
        if isinstance(entry, WireObject)
        else isinstance(entry, dict) and "index" in entry
    )


def load(struct: Struct, value: Any) -> Node:
    """Return a full object as a tree; entries of its lists get their position as index."""
    node, texts = Node(struct), TEXTS[struct]
    for key, found in fields(value):
        if type(found) is str:
            node[key] = TextBuffer((found,)) if key in texts else found
        else:
            node[key] = load_value(node, key, found)
    return node


def load_value(node: Node, key: str, value: Any) -> Any:
    """Return a value of a full object as the part of a tree that it is under `key` of `node`."""
    if isinstance(value, str):
        return TextBuffer([value]) if key in TEXTS[node.struct] else value
    if value is None:
        return None
    if isinstance(value, WireObject):
        return load(FULL.get(type(value), type(value)), value)
    if isinstance(value, dict):
        return load(part_of(node.struct, key), value)
    if isinstance(value, tuple) and key in INDEXED and (part := part_of(node.struct, key)):
        return by_position(part, value)
    return value


def by_position(struct: Struct, entries: Sequence[Any]) -> Indexed:
    """Return the list of a full object as a tree."""
    indexed = Indexed(struct)
    for position, entry in enumerate(entries):
        indexed[position] = load(struct, entry)
    return indexed


def freeze(value: Any) -> Any:
    """Return the snapshot of a tree: equal to the decoded object that would have come in one piece."""
    kind = type(value)
    if kind is TextBuffer:
        return value.text()
    if kind is Node:
        return _freeze_node(value)
    if kind is Indexed:
        entries = (_freeze_node(value[index]) for index in sorted(value))
        return tuple(entries) if value.struct else list(entries)
    return value


def _freeze_node(node: Node) -> Any:
    struct = node.struct
    if struct is None:
        return plain(node)
    if not is_known(struct, node):
        return Unknown(plain(node))
    known = FIELDS[struct]
    frozen = {key: value if type(value) is str else freeze(value) for key, value in node.items() if key in known}
    return struct(**frozen)


def plain(value: Any) -> Any:
    """Return a tree as plain JSON: what an object of an unknown kind holds."""
    kind = type(value)
    if kind is TextBuffer:
        return value.text()
    if kind is Indexed:
        return [plain(value[index]) for index in sorted(value)]
    if isinstance(value, WireObject):
        return plain(msgspec.to_builtins(value))
    if isinstance(value, dict):
        return {key: plain(found) for key, found in value.items()}
    return [plain(entry) for entry in value] if isinstance(value, list | tuple) else value
