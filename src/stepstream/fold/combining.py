"""Two trees of one object, combined: one walk, and a table of what each meeting of two values comes to.

Whatever comes for an object (a delta, a late delta, a full object on the way, its terminal object) is made a tree
(`tree`) and combined with the tree of what is known. The walk is the same; a `Policy` decides at each key:

    policy     other is             null       nothing known   two texts   two objects   two lists        all else
    MERGE      a delta              kept       taken           appended    walked        by index         replaced
    FILL       a late delta         skipped    taken *         lost        walked        by id or index   lost
    SUPPLY     an object on the way kept       taken           continued   walked        matched, or new  kept
    SETTLE     the tree before the  skipped    taken where     kept        walked        matched, aliased kept
               terminal object                 it was null *
    COMPLETE   a second terminal    skipped    taken           kept        walked        matched          kept
               object
    * What a terminal object left out of a call or part is dropped: a late delta does not bring it back. But where
      fields of it did not fit (SETTLE_ODD), nobody knows what it left out, and what deltas brought stays.

    known  0: {"id": "call_a", "arguments": "{"}
    MERGE  0: {"arguments": "}"}, 1: {"id": "call_b"}    → 0: {"id": "call_a", "arguments": "{" "}"}, and the new 1
    FILL   0: {"arguments": "}", "output": "7"}          → "output" is filled, "}" is lost

No walk fails: a delta is checked before (`deltas`). `Effect` says what a walk did. A delta that did nothing but append
to one buffer (`only_append`) is the usual one: the next delta with the same bytes around its piece would do the same,
and the fast path is built on that.

A terminal object may list fewer entries, or the same ones in another order. Late deltas still use the old indexes, so
`Indexed.alias` leads from them to the places in the terminal object, and to `DROPPED` for entries that it left out.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

import msgspec

from stepstream.fold.matching import ONCE, agrees, is_not_another, match, may_be
from stepstream.fold.tree import DROPPED, Indexed, Node, TextBuffer, by_position, is_object
from stepstream.wire.messages import Message
from stepstream.wire.objects import RunStep, StepDetails

_SAME_IF_EQUAL: Final = frozenset({str, int, bool})  # of others not: 0.0 equals -0.0, and [1] equals [true]
_HOLDERS: Final = frozenset({RunStep, Message, StepDetails})
"""What holds the lists that deltas build. A terminal object without such a list says nothing about it."""


class Effect(msgspec.Struct):
    """What a walk did."""

    has_repetitions: bool = False
    """Of entries for one index, which are added up before a delta's value is taken."""
    added: bool = False
    """Whether anything was added."""
    lost: bool = False
    """Whether anything of a late delta had to be dropped."""
    appended: tuple[TextBuffer, str, str] | None = None
    """The buffer that was appended to last, the text, and the key that both stood under."""
    only_append: bool = True
    """Whether nothing else was done than to append to at most one buffer."""


class Policy(NamedTuple):
    """One row of the table. The functions get the node, the key, what is known, what came, and the effect."""

    applies: Callable[[Node, Node], bool] | None  # returns whether the two can be the same object; None: they are
    keeps_null: bool
    refuses_dropped: bool
    absent: Callable[[Node, str, Any, Effect], None]
    texts: Callable[[Node, str, Any, Any, Effect], None]
    lists: Callable[[Indexed, Indexed, Effect], None]
    rest: Callable[[Node, str, Any, Any, Effect], None]


def combine(node: Node, other: Node, policy: Policy, effect: Effect) -> Effect:
    """Combine `node` with `other` as `policy` says, and return `effect`."""
    applies, keeps_null, refuses_dropped = policy[:3]
    if applies is not None and not applies(node, other):
        effect.lost = True
        return effect
    for key, value in other.items():
        have = node.get(key)
        if value is None:
            if keeps_null and key not in node:
                node[key] = None
                effect.only_append = False
            continue
        kind = type(value)
        if refuses_dropped and key in node.dropped and (have is None or key not in ONCE):
            effect.lost = True
        elif have is None:
            policy.absent(node, key, value, effect)
        elif kind is Node and type(have) is Node:
            combine(have, value, policy, effect)
        elif kind is Indexed and type(have) is Indexed:
            policy.lists(have, value, effect)
        elif type(have) is TextBuffer and kind in (TextBuffer, str):
            policy.texts(node, key, have, value, effect)
        else:
            policy.rest(node, key, have, value, effect)
    return effect


# What each meeting of two values may come to


def _take(node: Node, key: str, value: Any, effect: Effect) -> None:
    node[key] = value
    effect.added, effect.only_append = True, False


def _take_added_up(node: Node, key: str, value: Any, effect: Effect) -> None:
    if effect.has_repetitions:
        _add_up(value)
    _take(node, key, value, effect)


def _take_if_whole(node: Node, key: str, value: Any, effect: Effect) -> None:
    if _add_up(value):
        _take(node, key, value, effect)
    else:
        effect.lost = True


def _add_up(value: Any) -> bool:
    """Add further entries for an index to the first, before the value is taken as a whole. Return whether it can be.

    In a late delta, which is not checked, it cannot where an entry has no valid index, or contradicts one before it.
    """
    if type(value) not in (Node, Indexed):
        return True
    if type(value) is Indexed:
        if min(value, default=0) < 0:
            return False
        for index, entry in value.repetitions():
            if not agrees(value[index], entry):
                return False
            combine(value[index], entry, MERGE, Effect(has_repetitions=True))
    return all(map(_add_up, value.values()))


def _take_where_null(node: Node, key: str, value: Any, effect: Effect) -> None:
    if key in node or node.struct in _HOLDERS:
        _take(node, key, value, effect)
    else:
        node.dropped |= {key}


def _append(node: Node, key: str, have: TextBuffer, value: Any, effect: Effect) -> None:
    pieces = [value] if isinstance(value, str) else value
    have.extend(pieces)
    if effect.appended is not None or len(pieces) > 1:
        effect.only_append = False
    effect.appended = have, pieces[-1], key


def _continue(node: Node, key: str, have: TextBuffer, value: Any, effect: Effect) -> None:
    if value.text() != have.text() and value.text().startswith(have.text()):
        _take(node, key, value, effect)


def _keep(node: Node, key: str, have: Any, value: Any, effect: Effect) -> None:
    """Do nothing: what is known stays."""


def _lose(node: Node, key: str, have: Any, value: Any, effect: Effect) -> None:
    effect.lost = effect.lost or key not in ONCE


def _replace(node: Node, key: str, have: Any, value: Any, effect: Effect) -> None:
    if type(value) is Indexed and isinstance(have, list) and all(map(is_object, have)):
        node[key] = by_position(value.struct, have)  # plain JSON that did not go by index so far
        _merge_entries(node[key], value, effect)
        effect.only_append = False
    elif is_object(value) or key not in ONCE:
        _add_up(value)
        if type(have) is not type(value) or type(value) not in _SAME_IF_EQUAL or have != value:
            effect.only_append = False
        node[key] = value


def _merge_entries(have: Indexed, other: Indexed, effect: Effect) -> None:
    for index, entry in other.every or other.items():
        slot = have.get(index)
        if slot is None:
            if effect.has_repetitions:
                _add_up(entry)
            have[index] = entry
            effect.added, effect.only_append = True, False
        else:
            combine(slot, entry, MERGE, effect)


def _fill_entries(have: Indexed, other: Indexed, effect: Effect) -> None:
    for index, entry in other.every or other.items():
        slot = _slot_of(have, index, entry)
        if slot is None:
            effect.lost = True
        else:
            combine(slot, entry, FILL, effect)


def _slot_of(have: Indexed, index: int, entry: Node) -> Node | None:
    """Return the entry of a settled list that a late delta means: by its id, else by its index; None for none."""
    identity = entry.get("id")
    named = next((slot for slot in have.values() if identity and slot.get("id") == identity), None)
    return named if named is not None else have.get(have.alias.get(index, index))


def _supply_entries(have: Indexed, other: Indexed, effect: Effect) -> None:
    places = match(have, other)
    for position, entry in other.items():
        place = places.get(position)
        if place is not None:
            combine(have[place], entry, SUPPLY, effect)
            continue
        free = position
        while free in have:
            free += 1
        have[free] = entry
        effect.added = True


def _settle_entries(have: Indexed, other: Indexed, effect: Effect) -> None:
    _settle_by(SETTLE, have, other, effect)


def _settle_odd_entries(have: Indexed, other: Indexed, effect: Effect) -> None:
    _settle_by(SETTLE_ODD, have, other, effect)


def _settle_by(policy: Policy, have: Indexed, other: Indexed, effect: Effect) -> None:
    places = _combine_matched(have, other, policy, effect)
    position_of = {index: position for position, index in places.items()}
    have.alias = {index: position_of.get(index, DROPPED) for index in other}


def _combine_matched(have: Indexed, other: Indexed, policy: Policy, effect: Effect) -> Mapping[int, int]:
    places = match(other, have)
    for position, index in places.items():
        combine(have[position], other[index], policy, effect)
    return places


def _complete_entries(have: Indexed, other: Indexed, effect: Effect) -> None:
    _combine_matched(have, other, COMPLETE, effect)


MERGE: Final = Policy(None, True, False, _take_added_up, _append, _merge_entries, _replace)
FILL: Final = Policy(is_not_another, False, True, _take_if_whole, _lose, _fill_entries, _lose)
SUPPLY: Final = Policy(may_be, True, False, _take, _continue, _supply_entries, _keep)
SETTLE: Final = Policy(may_be, False, False, _take_where_null, _keep, _settle_entries, _keep)
SETTLE_ODD: Final = SETTLE._replace(absent=_take, lists=_settle_odd_entries)
COMPLETE: Final = Policy(may_be, False, False, _take, _keep, _complete_entries, _keep)
