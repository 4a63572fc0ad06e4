"""A full object and a tree: supplied with what it lacks, settled by the terminal object, restored where that has nulls.

Two trees of one object are walked together, and what an entry of a list corresponds to is decided by id, else by
position (`match`). Which of the two wins is the only difference between the walks:

    supply    an object on the way: the tree wins; the object gives what is missing, and a longer text that continues it
    restore   the terminal object wins; the tree before it gives what the object left null

A terminal object may list fewer entries, or the same ones in another order. Late deltas still use the old indexes, so
`alias` leads from them to the places in the terminal object, and to `DROPPED` for entries that it left out: those must
not come back. What it left out of a call is recorded in the node as `dropped`, for the same reason.
"""

from collections.abc import Mapping
from typing import Any, Final

from stepstream.fold.tree import DROPPED, Indexed, Node, TextBuffer
from stepstream.wire.messages import Message
from stepstream.wire.objects import RunStep, StepDetails

_HOLDERS: Final = frozenset({RunStep, Message, StepDetails})
"""What holds the lists that deltas build. A terminal object without such a list says nothing about it."""


def supply(node: Node, full: Node) -> bool:
    """Give `node` what it lacks of a full object on the way: nulls, missing entries, the rest of a text.

    Nothing that deltas built is removed or replaced, so an object that is older than they are does no harm. Returns
    whether anything was added.
    """
    added = False
    for key, value in full.items() if _may_be(node, full) else ():
        have = node.get(key)
        if have is None:
            added |= value is not None
            node[key] = value
        elif type(have) is TextBuffer and type(value) is TextBuffer:
            if value.text() != have.text() and value.text().startswith(have.text()):
                node[key] = value
                added = True
        elif type(have) is Node and type(value) is Node:
            added |= supply(have, value)
        elif type(have) is Indexed and type(value) is Indexed:
            added |= _supply_entries(have, value)
    return added


def _supply_entries(have: Indexed, full: Indexed) -> bool:
    added = False
    places = match(have, full)
    for position, entry in full.items():
        place = places.get(position)
        if place is not None:
            added |= supply(have[place], entry)
            continue
        free = position
        while free in have:
            free += 1
        have[free] = entry
        added = True
    return added


def restore(node: Node, other: Node, *, settling: bool) -> bool:
    """Give `node` what is null there and known to another tree of the same object.

    When a terminal object is `settling`, `other` is the tree before it: what the terminal object left out of a tool
    call or a part of a message is gone for good, only its nulls are not taken at their word; and an entry of a list is
    still found by the index it had. Otherwise what was left out counts as null too. A dropped entry stays dropped.
    Returns whether anything was given.
    """
    given = False
    for key, value in other.items() if _may_be(node, other) else ():
        have = node.get(key)
        if value is None:
            continue
        if have is None:
            if key in node or not settling or node.struct in _HOLDERS:
                node[key] = value
                given = True
            else:
                node.dropped |= {key}
        elif type(have) is Node and type(value) is Node:
            given |= restore(have, value, settling=settling)
        elif type(have) is Indexed and type(value) is Indexed:
            given |= _restore_entries(have, value, settling=settling)
    return given


def _restore_entries(have: Indexed, other: Indexed, *, settling: bool) -> bool:
    given = False
    places = match(other, have)
    for position, index in places.items():
        given |= restore(have[position], other[index], settling=settling)
    if settling:
        position_of = {index: position for position, index in places.items()}
        have.alias = {index: position_of.get(index, DROPPED) for index in other}
    return given


def contradicts(node: Node, full: Node) -> bool:
    """Return whether `full` holds anything, nulls aside, that `node` does not."""
    return any(_differs(node.get(key), value) for key, value in full.items() if value is not None)


def _differs(have: Any, value: Any) -> bool:
    kind = type(value)
    if type(have) is not kind:
        return True
    if kind is TextBuffer:
        return bool(have.text() != value.text())
    if kind is Node:
        return contradicts(have, value)
    if kind is Indexed:
        places = match(have, value)
        return len(have) != len(value) or any(
            position not in places or contradicts(have[places[position]], entry) for position, entry in value.items()
        )
    return bool(have != value)


def match(have: Indexed, full: Indexed) -> Mapping[int, int]:
    """Return which entry of `have` each entry of `full` is: by id, else by position where an id is lacking."""
    by_id = {entry["id"]: index for index, entry in have.items() if isinstance(entry.get("id"), str)}
    ids = {position: entry["id"] for position, entry in full.items() if isinstance(entry.get("id"), str)}
    found = {position: by_id[identifier] for position, identifier in ids.items() if identifier in by_id}
    taken = set(found.values())
    for position, index in enumerate(sorted(have)):
        entry: Mapping[str, Any] | None = full.get(position)
        if entry is not None and position not in found and index not in taken and _may_be(have[index], entry):
            found[position] = index
    return found


def _may_be(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Return whether two objects in the same place can be the same: neither their ids nor their types contradict."""
    for key in ("id", "type"):
        have = one.get(key)
        if have is not None and other.get(key) not in (None, have):
            return False
    return True
