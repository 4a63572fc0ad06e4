"""A delta as a tree, and the check that it contradicts nothing.

A delta applies wholly or not at all. So it is made a tree of its own first, which touches nothing; `check` compares it
with what is known, and raises `Conflict` where something set once would change; only then the two are combined, which
cannot fail (`combining`). Late deltas are the exception: all of them that fits is applied, whatever the check says of
the rest.

Lists are the difference to a full object. There, the position of an entry is its place; in a delta, entries name their
places by `index`. Two entries for one index apply in order, so the second is also checked against the first.

    known  0: {"id": "call_a", "arguments": "{"}
    delta  [{"index": 0, "arguments": "}"}, {"index": 0, "id": "call_b"}]    → Conflict id_conflict, "{" stays "{"

An entry may leave out its `type`, where an earlier delta named it. Its keys were read as those of any known kind; if
the known object is of none of these kinds, that was wrong, and `Unclear` asks for the delta to be read again.
"""

from copy import deepcopy
from typing import Any, Final

from stepstream.fold.anomalies import AnomalyCode
from stepstream.fold.combining import MERGE, Effect, combine
from stepstream.fold.matching import ONCE
from stepstream.fold.tree import (
    TEXTS,
    Indexed,
    Node,
    Struct,
    TextBuffer,
    goes_by_index,
    load_value,
    part_of,
    sent_fields,
)
from stepstream.wire.base import WireObject
from stepstream.wire.deltas import MAX_INDEX
from stepstream.wire.loose import index_words
from stepstream.wire.schema import FIELDS, FULL, KINDS

NO_PLACE: Final = -2
"""The highest index of entries in a late delta that have no valid one."""


class Conflict(Exception):
    """The delta contradicts what is known. `code` is the anomaly, `expected` and `got` say what was wrong."""

    def __init__(self, code: AnomalyCode, expected: str, got: str) -> None:
        super().__init__(f"expected {expected}, got {got}")
        self.code = code
        self.expected = expected
        self.got = got


class Unclear(Exception):
    """An entry came without its type, and what is known does not say which of its keys are known."""


class DeltaTree:
    """A delta as a tree, which combining consumes.

    An entry without a valid index gets one below zero: `check` refuses it; in a late delta, which is not checked, it
    can only be found by its id. A list with several entries for one index has the first, and all in `Indexed.every`.
    """

    __slots__ = ("_looks_everywhere", "_misplaced", "_untyped", "has_odd_lists", "is_typed", "root")

    def __init__(self, struct: Struct, body: Any) -> None:
        self._misplaced: dict[int, tuple[str, str]] = {}  # what is wrong with an index, by the `id()` of its list
        self.has_odd_lists = False
        """Whether it has a list with a wrong index, or several entries for one."""
        self._looks_everywhere = False  # whether `check` visits what nothing is known of, too
        self._untyped: set[int] = set()  # the `id()`s of nodes that came without a type
        self.is_typed = True
        """Whether it has no part of an unknown kind, so that a decoder of known kinds gives the same."""
        self.root = self._node(struct, body)

    def check(self, known: Node, *, certain: bool = False) -> None:
        """Check that combining `known` with the delta changes nothing that is set once.

        Raises:
            Conflict: it would, or an index is wrong.
            Unclear: unless `certain`, the delta must be read again.
        """
        if certain:
            self._untyped.clear()
        self._looks_everywhere = self.has_odd_lists or bool(self._untyped)
        self._check(known, self.root)

    def _check(self, known: Node, node: Node) -> None:
        if id(node) in self._untyped and known.get("type") not in KINDS.get(node.struct or WireObject, ()):
            raise Unclear
        for key, value in node.items():
            have = known.get(key)
            kind = type(value)
            if kind is Node:
                if type(have) is Node or self._looks_everywhere:
                    self._check(have if type(have) is Node else Node(None), value)
            elif kind is Indexed:
                if type(have) is Indexed or self._looks_everywhere:
                    self._check_entries(have if type(have) is Indexed else Indexed(None), value)
            elif key in ONCE and value is not None and have is not None and value != have:
                raise Conflict(ONCE[key], f"the same {key} as before", "another")

    def _check_entries(self, known: Indexed, indexed: Indexed) -> None:
        if id(indexed) in self._misplaced:
            raise Conflict("bad_index", *self._misplaced[id(indexed)])
        for index, entry in indexed.every or indexed.items():
            if index in known or self._looks_everywhere:
                self._check(known.get(index) or Node(None), entry)
        if indexed.every:
            untyped, self._untyped = self._untyped, set()  # only what is known can say what an entry's type is
            together = Indexed(indexed.struct)
            for index, entry in indexed.every:
                slot = together.setdefault(index, Node(indexed.struct))
                self._check(slot, entry)
                combine(slot, deepcopy(entry), MERGE, Effect(has_repetitions=True))
            self._untyped = untyped

    def _node(self, struct: Struct, value: Any) -> Node:
        node, kind, texts = Node(struct), type(value), TEXTS[struct]
        is_struct = kind in FIELDS
        if kind in KINDS and not value.type:
            self._untyped.add(id(node))
        for key, found in sent_fields(value) if is_struct else value.items():
            found_kind = type(found)
            if found_kind is str:
                node[key] = TextBuffer((found,)) if key in texts else found
            elif found_kind in FULL:
                node[key] = self._node(FULL[found_kind], found)
            elif found is None:
                node[key] = None
            elif key != "index" or not is_struct:
                node[key] = self._value(node, key, found)
        return node

    def _value(self, node: Node, key: str, value: Any) -> Any:
        if type(value) is tuple and len(value) == 1 and type(value[0]) in FULL:  # nearly all lists
            alone = Indexed(FULL[type(value[0])])
            self._add_entry(alone, value[0])
            return alone
        if isinstance(value, dict):
            self.is_typed = False
            return self._node(part_of(node.struct, key), value)
        if isinstance(value, WireObject):
            return self._node(type(value), value)
        if not goes_by_index(node.struct, key, value):
            return load_value(node, key, value)
        indexed = Indexed(part_of(node.struct, key))
        every = [self._add_entry(indexed, entry) for entry in value]
        if len(every) > len(indexed):
            indexed.every = tuple(every)
            self.has_odd_lists = True
        return indexed

    def _add_entry(self, indexed: Indexed, entry: Any) -> tuple[int, Node]:
        is_plain = isinstance(entry, dict)
        index = entry["index"] if is_plain else entry.index
        if type(index) is not int or not 0 <= index <= MAX_INDEX:
            self._misplaced.setdefault(id(indexed), index_words(index))
            self.has_odd_lists = True
            index = NO_PLACE - len(indexed)
        if is_plain:  # a delta's entry, as an object that does not say its place
            self.is_typed = False
            entry = {key: value for key, value in entry.items() if key != "index"}
        node = self._node(indexed.struct, entry)
        indexed.setdefault(index, node)
        return index, node
