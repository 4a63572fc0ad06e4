"""The check of a final object against what came before it: a part, an item, the output of the response."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from stepstream.conformance.deviation import Finding, described, shown
from stepstream.conformance.responses.items import ONLY, Item, Items, Part, Place, Text, texts_of

MUST_STREAM: Final = frozenset({"custom_tool_call", "function_call"})
"""The types of call whose text comes in deltas at every server that streams it at all."""

ANNOUNCED: Final = frozenset({"message content", "reasoning summary"})
"""The lists whose parts events begin and end. Those of the content of reasoning only some servers send."""


NAMED_LATE: Final = frozenset({"tool_search_call"})
"""The types of item that OpenAI itself gives another call_id at their end."""


def is_announced(item: Item, place: Place) -> bool:
    """Return whether events begin and end the part at a place."""
    return f"{item.type} {place[0]}" in ANNOUNCED


def named(item_type: str, place: Place) -> str:
    """Return a place as people write it."""
    return f"the text of the {shown(item_type)}" if place == ONLY else f"{place[0]}[{place[1]}]"


def check_text(part: Part, whole: str, where: str) -> Iterator[Finding]:
    """Yield that a whole text is not what its pieces add up to. It is compared once: then the part is doubtful."""
    if part.is_doubtful:
        return
    if not part.text.is_same(whole):
        part.is_doubtful = True
        if part.text.length or not whole:
            yield Finding(
                "text_mismatch", f"{where} as its deltas gave it, {part.text.length:,} characters", _of(whole)
            )
        else:
            yield Finding("missing_delta", f"{where} in deltas first", _of(whole))


def _of(whole: str) -> str:
    return f"another, {described(whole)}"


def check_item(item: Item, raw: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield where the last object of an item differs from the events about it, and remember its texts."""
    texts = texts_of(raw)
    for place, part in item.parts.items():
        if item.is_doubtful or part.is_doubtful:
            continue
        kind, text = texts.get(place, ("", None))
        where = named(item.type, place)
        if place not in texts:
            part.is_doubtful = True
            yield Finding("entry_missing", f"{where}, which was delivered", "no such entry")
        elif part.kind and kind and kind != part.kind:
            part.is_doubtful = True
            yield Finding("type_mismatch", f"{where} of type {shown(part.kind)!r}", f"type {shown(kind)!r}")
        elif text is not None:
            yield from check_text(part, text, where)
            yield from _unended(item, place, part)
    for place, (kind, text) in texts.items():
        if place not in item.parts:
            yield from _untold(item, place, text)
            item.parts[place] = part = Part(kind)
            part.text = Text(text or "")


def _unended(item: Item, place: Place, part: Part) -> Iterator[Finding]:
    where = named(item.type, place)
    if part.has_deltas and not part.has_text_done:
        part.has_text_done = True
        yield Finding("missing_text_done", f"an event that says {where} is done", "none")
    if part.was_added and not part.is_done:
        part.is_done = True
        yield Finding("missing_part_done", f"an event that ends {where}", "none")


def _untold(item: Item, place: Place, text: str | None) -> Iterator[Finding]:
    """Yield that what stands at a place came with the last object only."""
    if item.is_doubtful or not item.was_added:
        return
    where = named(item.type, place)
    if is_announced(item, place):
        yield Finding("missing_part_added", f"an event that begins {where}", "none")
    elif text and item.type in MUST_STREAM:
        yield Finding("missing_delta", f"{where} in deltas first", described(text))


def check_identity(item: Item, raw: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield what names an item otherwise than before. Each is reported once for an item."""
    if item.is_doubtful:
        return
    kind = raw.get("type")
    if item.type and isinstance(kind, str) and kind != item.type:
        item.is_doubtful = True
        yield Finding("type_changed", f"type {shown(item.type)!r} as before", f"type {shown(kind)!r}")
        return
    yield from check_id(item, raw.get("id"))
    call_id = raw.get("call_id")
    if isinstance(call_id, str) and item.type not in NAMED_LATE:
        if item.call_id not in (None, call_id):
            yield Finding("call_id_changed", "the call_id of the item as before", "another")
        item.call_id = call_id


def check_id(item: Item, identifier: object) -> Iterator[Finding]:
    """Yield that an event gives an item another id."""
    if isinstance(identifier, str) and item.id not in (None, identifier):
        yield Finding("item_id_changed", "the id of the item as before", "another", id=item.id)
    if item.id is None and isinstance(identifier, str):
        item.id = identifier


def check_output(items: Items, output: object, *, is_whole: bool) -> Iterator[Finding]:
    """Yield where the output of a response differs from its items. `is_whole`: all events about them came."""
    if not isinstance(output, list) or not is_whole:
        return
    if len(output) != len(items):
        yield Finding("output_mismatch", f"an output of {len(items):,} items, as they came", described(output))
        return
    for place, raw in enumerate(output):
        item = items.get(place)
        if item is None or item.is_doubtful or not item.is_done or not isinstance(raw, dict):
            continue
        yield from check_identity(item, raw)
        yield from check_item(item, raw)
