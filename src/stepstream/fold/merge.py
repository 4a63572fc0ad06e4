"""A delta and a tree: checked, merged, or, where the object has ended, used to fill what is left null.

A delta applies wholly or not at all. `check` walks it once without touching the tree and raises `Conflict` at anything
that contradicts what is known; only then `merge` walks it again, and cannot fail any more. Two entries for one index in
one delta apply in order, so the second is checked against what the first will have made: `_check_entries` merges them
into a scratch list for that.

    known  0: {"id": "call_a", "arguments": "{"}
    delta  [{"index": 0, "arguments": "}"}, {"index": 0, "id": "call_b"}]   → Conflict id_conflict, "{" stays "{"

Lists are the difference to a full object. In a delta, the entries of a list name their place by `index`; in a full
object, their position is their place. So a delta's objects grow from empty nodes (`_grown`), never by `load`.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from stepstream.fold.anomalies import AnomalyCode
from stepstream.fold.tree import (
    Indexed,
    Node,
    TextBuffer,
    by_position,
    fields,
    goes_by_index,
    is_object,
    load_value,
    part_of,
)
from stepstream.wire.deltas import MAX_INDEX
from stepstream.wire.loose import index_words
from stepstream.wire.schema import FULL, KINDS

ONCE: Final[Mapping[str, AnomalyCode]] = {"id": "id_conflict", "type": "type_conflict", "name": "id_conflict"}
"""What is set once, and the anomaly that another value is."""


class Conflict(Exception):
    """The delta contradicts what is known. `code`, `expected` and `got` are those of the anomaly that this is."""

    def __init__(self, code: AnomalyCode, expected: str, got: str) -> None:
        super().__init__(f"expected {expected}, got {got}")
        self.code: AnomalyCode = code
        self.expected = expected
        self.got = got


class Unclear(Exception):
    """An entry came without its type, and nothing before it says which of its keys are known."""


def check(node: Node, delta: Any, *, certain: bool) -> None:
    """Check that `delta` can be merged into `node`.

    Raises:
        Conflict: it contradicts what is known, or an index is wrong.
        Unclear: unless `certain`, an entry must be read once more with its unknown keys.
    """
    kinds = KINDS.get(type(delta))
    if kinds and not certain and not delta.type and node.get("type") not in kinds:
        raise Unclear
    for key, value in fields(delta):
        have = node.get(key)
        if isinstance(value, str):
            if key in ONCE and have is not None and value != have:
                raise _conflict(key)
        elif is_object(value):
            check(have if type(have) is Node else Node(None), value, certain=certain)
        elif goes_by_index(node.struct, key, value):
            _check_entries(have if type(have) is Indexed else Indexed(None), value, certain=certain)
        elif key in ONCE and value is not None and have is not None and value != have:
            raise _conflict(key)


def _conflict(key: str) -> Conflict:
    return Conflict(ONCE[key], f"the same {key} as before", "another")


def _check_entries(have: Indexed, entries: Sequence[Any], *, certain: bool) -> None:
    indexes = [index_of(entry) for entry in entries]
    entries = [without_index(entry) for entry in entries]
    for index, entry in zip(indexes, entries, strict=True):
        check(have.get(index, Node(have.struct)), entry, certain=certain)
    if len(set(indexes)) < len(indexes):  # entries for one index apply in order, so each is checked with those before
        together = Indexed(have.struct)
        for index, entry in zip(indexes, entries, strict=True):
            slot = together.setdefault(index, Node(have.struct))
            check(slot, entry, certain=True)
            merge(slot, entry)


def index_of(entry: Any) -> int:
    """Return the place of a delta's entry.

    Raises:
        Conflict: it is no integer from 0 to 1023. Of the typed entries, the decoder has checked that.
    """
    index = entry["index"] if isinstance(entry, dict) else entry.index
    if type(index) is not int or not 0 <= index <= MAX_INDEX:
        raise Conflict("bad_index", *index_words(index))
    return index


def without_index(entry: Any) -> Any:
    """Return a delta's entry as an object that does not say its place. Of typed entries, `fields` leaves that out."""
    return {key: value for key, value in entry.items() if key != "index"} if isinstance(entry, dict) else entry


def merge(node: Node, delta: Any) -> None:
    """Add a checked `delta` to `node`."""
    for key, value in fields(delta):
        have = node.get(key)
        if isinstance(value, str):
            if type(have) is TextBuffer:
                have.append(value)
            elif key not in ONCE or have is None:
                node[key] = load_value(node, key, value)
        elif value is None:
            node.setdefault(key, None)
        elif goes_by_index(node.struct, key, value):
            node[key] = _merge_entries(have, Indexed(part_of(node.struct, key)), value)
        elif type(have) is Node and is_object(value):
            merge(have, value)
        elif is_object(value):
            node[key] = _grown(node, key, value)
        elif key not in ONCE or have is None:
            node[key] = load_value(node, key, value)


def _grown(holder: Node, key: str, value: Any) -> Node:
    """Return a new node, grown from nothing: unlike in a full object, the lists in `value` go by index."""
    kind = type(value)
    struct = part_of(holder.struct, key) if isinstance(value, dict) else FULL.get(kind, kind)
    node = Node(struct)
    merge(node, value)
    return node


def _merge_entries(have: Any, empty: Indexed, entries: Sequence[Any]) -> Indexed:
    indexed = have if type(have) is Indexed else empty
    if isinstance(have, list) and all(map(is_object, have)):  # plain JSON that did not go by index so far
        indexed = by_position(empty.struct, have)
    for entry in entries:
        index = index_of(entry)
        slot = indexed.get(index)
        if slot is None:
            slot = indexed[index] = Node(indexed.struct)
        merge(slot, without_index(entry))
    return indexed


def fill(node: Node, delta: Any) -> tuple[bool, bool]:
    """Add to `node`, which a terminal object has settled, what that object left null or absent.

    Returns whether anything was added, and whether anything had to be dropped.
    """
    said = fields(delta)
    if any(key in ONCE and value is not None and node.get(key) not in (None, value) for key, value in said):
        return False, True  # it means something else
    added = dropped = False
    for key, value in said:
        have = node.get(key)
        if value is None or (key in ONCE and have is not None):
            continue
        if key in node.dropped:
            dropped = True
        elif have is None:
            added, dropped = _either((added, dropped), _fill_whole(node, key, value))
        elif type(have) is Node and is_object(value):
            added, dropped = _either((added, dropped), fill(have, value))
        elif type(have) is Indexed and goes_by_index(node.struct, key, value):
            added, dropped = _either((added, dropped), _fill_entries(have, value))
        else:
            dropped = True
    return added, dropped


def _fill_whole(node: Node, key: str, value: Any) -> tuple[bool, bool]:
    try:
        check(Node(node.struct), {key: value}, certain=True)
    except Conflict:
        return False, True
    merge(node, {key: value})
    return True, False


def _either(one: tuple[bool, bool], other: tuple[bool, bool]) -> tuple[bool, bool]:
    return one[0] or other[0], one[1] or other[1]


def _fill_entries(have: Indexed, entries: Sequence[Any]) -> tuple[bool, bool]:
    found = False, False
    for entry in entries:
        slot = slot_of(have, entry)
        found = _either(found, (False, True) if slot is None else fill(slot, without_index(entry)))
    return found


def slot_of(have: Indexed, entry: Any) -> Node | None:
    """Return the entry of a settled list that a late delta means: by its id, else by its index; None for none."""
    identity = entry.get("id") if isinstance(entry, dict) else getattr(entry, "id", None)
    named = [slot for slot in have.values() if identity and slot.get("id") == identity]
    if named:
        return named[0]
    try:
        index = index_of(entry)
    except Conflict:
        return None
    return have.get(have.alias.get(index, index))
