"""Two trees of one object, compared: which entries of their lists are the same, and whether they contradict each other.

An entry is the same as another by its id. Where an id is lacking, its position decides, unless the types differ, or
what stands there was found by its id.

    have  0: {"id": "a"}, 1: {"id": "b"}, 2: {}        full  0: {"id": "b"}, 1: {}, 2: {}
    match(have, full) == {0: 1, 2: 2}                  position 1 is taken by "b"
"""

from collections.abc import Mapping
from typing import Any, Final

from msgspec import UNSET

from stepstream.fold.anomalies import AnomalyCode
from stepstream.fold.tree import Indexed, Node, TextBuffer, sent_fields
from stepstream.wire.base import WireObject

ONCE: Final[Mapping[str, AnomalyCode]] = {"id": "id_conflict", "type": "type_conflict", "name": "id_conflict"}
"""What is set once, and the anomaly that another value is."""

_IDENTIFYING: Final = frozenset({"id", "type"})
_TEXTS: Final = frozenset({str, TextBuffer})


def is_not_another(node: Node, other: Node) -> bool:
    """Return whether nothing that is set once differs between the two."""
    return all(other.get(key) is None or node.get(key) in (None, other[key]) for key in ONCE)


def may_be(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Return whether two objects in the same place can be the same: neither their ids nor their types contradict."""
    return all(one.get(key) is None or other.get(key) in (None, one[key]) for key in ("id", "type"))


def agrees(node: Node, other: Node) -> bool:
    """Return whether combining the two would change nothing that is set once."""
    if not is_not_another(node, other):
        return False
    pairs = [(node.get(key), value) for key, value in other.items()]
    pairs += [
        (have.get(index), entry)
        for have, value in pairs
        if type(have) is Indexed and type(value) is Indexed
        for index, entry in value.items()
    ]
    return all(agrees(have, value) for have, value in pairs if type(have) is Node and type(value) is Node)


def match(have: Indexed, full: Indexed) -> Mapping[int, int]:
    """Return which entry of `have` each entry of `full` is: by id, else by position where an id is lacking."""
    by_id = {entry["id"]: index for index, entry in have.items() if isinstance(entry.get("id"), str)}
    ids = {position: entry["id"] for position, entry in full.items() if isinstance(entry.get("id"), str)}
    found = {position: by_id[identifier] for position, identifier in ids.items() if identifier in by_id}
    taken = set(found.values())
    for position, index in enumerate(sorted(have)):
        entry: Mapping[str, Any] | None = full.get(position)
        if entry is not None and position not in found and index not in taken and may_be(have[index], entry):
            found[position] = index
    return found


def covers(full: Any, known: Any) -> bool:
    """Return whether `full`, a value of a terminal object, plainly leaves out nothing that was known in its place.

    Then settling takes nothing of what was known, and every index of a list leads to the same place as before. `known`
    is a tree or of another full object. Where it takes more than a look in the same places to say, the answer is False.
    """
    if full is None or full is UNSET:
        return known is None or known is UNSET
    kind = type(known)
    if kind is Indexed or kind is tuple:
        return not known or _covers_entries(full, known)
    is_dict = isinstance(known, dict)
    if not is_dict and not isinstance(known, WireObject):
        return True  # null, a text, or a plain value: the terminal object's own stays
    is_struct = isinstance(full, WireObject)
    if not is_struct and not isinstance(full, dict):
        return False
    for key, value in known.items() if is_dict else sent_fields(known):
        if value is None:
            continue
        own = getattr(full, key, None) if is_struct else full.get(key)
        if own is None or own is UNSET:
            return False
        if (own != value) if key in _IDENTIFYING else (type(value) not in _TEXTS and not covers(own, value)):
            return False
    return True


def _covers_entries(full: Any, known: Indexed | tuple[Any, ...]) -> bool:
    entries = known if isinstance(known, Indexed) else dict(enumerate(known))
    highest = max(entries)
    if not isinstance(full, tuple) or highest >= len(full) or len(entries) <= highest:
        return False
    ids = [one.get("id") if isinstance(one, dict) else getattr(one, "id", None) for one in full]
    said = [identifier for identifier in ids if isinstance(identifier, str)]
    return len(set(said)) == len(said) and all(covers(full[index], entry) for index, entry in entries.items())


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
