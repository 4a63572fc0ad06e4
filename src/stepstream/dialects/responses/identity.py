"""Which item an event is about.

Servers agree on less than they document: the id of an item may change with every event, or only at its end, be missing,
or have been another's; its index may be another's too. So an item is looked for by what can be trusted most:

1. its id, where that announced an item of this response;
2. its index: the newest item there that can be meant and has not ended;
3. without either, the newest item that can be meant and has not ended.

"Can be meant" goes by the type: a piece of text belongs to a message. What is found by none of these is a new item.

One case asks for more: items that no event announced, with ids that stay the same, all at one index. There a piece
with a new id is a new item, though an open one stands at its index: the one there is known by an id that came twice.
"""

from collections.abc import Collection, Iterable
from typing import Final

from stepstream.dialects.responses.payloads import JSON, text_of
from stepstream.dialects.responses.turn import Turn
from stepstream.dialects.state import Item


def find(turn: Turn, types: Collection[str], *, or_ended: bool = False) -> Item | None:
    """Return the item that a piece is about, None for a new one. With `or_ended`, it may be about one that ended."""
    payload = turn.payload
    named = by_id(turn, payload.item_id)
    if named is not None and named.type in types:
        named.mentions += 1
        return _namesake(turn, named) or named
    can_be = [item for item in reversed(turn.items) if item.type in types]
    found = _at((item for item in can_be if not item.is_ended), payload.output_index)
    if found is not None and payload.item_id and _is_settled(found):
        found = None
    return _at(can_be, payload.output_index) if found is None and or_ended else found


def _namesake(turn: Turn, named: Item) -> Item | None:
    """Return the item that stands where a piece belongs, where the server gave it the id of another one."""
    index = turn.payload.output_index
    if index in (None, named.output_index):
        return None
    others = (item for item in turn.items if item.output_index == index and item.type == named.type)
    return next((item for item in others if not item.has_own_id and not item.is_ended), None)


def find_announced(turn: Turn, raw: JSON) -> Item | None:
    """Return the item that an `added` repeats, None where it begins a new one."""
    known = by_id(turn, raw.get("id"))
    index = turn.payload.output_index
    if known is None or known.type != raw.get("type"):
        return None
    return known if index is None or known.output_index in (-1, index) else None


def find_done(turn: Turn, raw: JSON) -> Item | None:
    """Return the item that a `done` ends, or ended before, None where it is the first of it."""
    item_type, call_id, index = text_of(raw, "type"), text_of(raw, "call_id"), turn.payload.output_index
    known = by_id(turn, raw.get("id"))
    if known is not None and known.type != item_type:
        known = None
    if known is not None and (index is None or known.output_index in (-1, index)):
        return known
    can_be = [item for item in reversed(turn.items) if item.type == item_type and not item.is_ended]
    called = next((item for item in can_be if call_id and item.call_id == call_id), None)
    here = next((item for item in can_be if item.output_index == index), None)
    is_open = known is not None and not known.is_ended
    return called or here or (known if is_open else None) or _at(can_be, index)


def find_whole(turn: Turn, raw: JSON) -> Item | None:
    """Return the item at the index of a `done` that was whole when it was added, and has another id now."""
    index, item_type = turn.payload.output_index, text_of(raw, "type")
    found = (item for item in reversed(turn.items) if item.type == item_type and item.output_index == index)
    return next(found, None) if index is not None else None


def by_id(turn: Turn, identifier: object) -> Item | None:
    """Return the item of the newest response that was announced by an id."""
    response = turn.response
    place = response.places.get(identifier, -1) if isinstance(identifier, str) and identifier else -1
    return response.items[place] if place >= response.first else None


def _at(can_be: Iterable[Item], index: int | None) -> Item | None:
    """Return the first of some items that stands at an index. Without one, any does."""
    return next((item for item in can_be if index is None or item.output_index in (-1, index)), None)


def _is_settled(item: Item) -> bool:
    return not item.was_added and item.mentions > 1


def add(turn: Turn, item_type: str, raw: JSON) -> Item:
    """Return a new item. Its step has its id, unless that is missing, or was another's."""
    response, state = turn.response, turn.state
    wire_id = text_of(raw, "id")
    identifier = wire_id
    has_own_id = bool(identifier) and identifier not in state.steps and identifier not in response.places
    if not has_own_id:
        identifier = f"{response.run}:{len(response.items)}"
    index = turn.payload.output_index
    item = Item(identifier, item_type, -1 if index is None else index, has_own_id=has_own_id)
    item.call_id = text_of(raw, "call_id") or (identifier if item_type not in NAMED_BY_CALL else "")
    if wire_id and by_id(turn, wire_id) is None:
        response.places[wire_id] = len(response.items)
    response.items.append(item)
    if turn.run_id:  # else its id is known once that of its run is
        state.steps[identifier] = response.run
    return item


NAMED_BY_CALL: Final = frozenset(
    {"apply_patch_call", "computer_call", "custom_tool_call", "function_call", "local_shell_call", "shell_call"}
)
"""The kinds of item that have an id for their call beside their own. The calls of all others have the item's."""


def name_also(turn: Turn, item: Item, raw: JSON) -> None:
    """Know an item also by the id that its end gives it."""
    wire_id = text_of(raw, "id")
    if wire_id and wire_id not in turn.response.places:
        turn.response.places[wire_id] = next(place for place, one in enumerate(turn.response.items) if one is item)
