"""The rule of each event that is about an item: what is wrong with it after the events before."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, TypeAlias

from stepstream.conformance.deviation import Finding, shown
from stepstream.conformance.responses.finals import (
    check_id,
    check_identity,
    check_item,
    check_text,
    is_announced,
    named,
)
from stepstream.conformance.responses.items import MAX_PARTS, ONLY, Item, Items, Part, Place, text_in
from stepstream.conformance.responses.shapes import PHASE_EVENTS, TEXT_EVENTS

Raw: TypeAlias = Mapping[str, Any]
Rule: TypeAlias = Callable[[Items, Raw], Iterator[Finding]]

STREAMED: Final = frozenset({"code_interpreter_call", "custom_tool_call", "function_call", "mcp_call", "message"})
"""The types of item that begin open. Others may come whole."""

OPEN: Final = frozenset({"in_progress", "queued", "searching", "interpreting", "generating", "calling"})
"""The statuses of an item that has not ended."""


def added(items: Items, raw: Raw) -> Iterator[Finding]:
    """Check an item that begins."""
    index, new = raw["output_index"], raw["item"]
    kind, identifier = new["type"], new.get("id")
    known = items.get(index)
    if known is not None and known.is_doubtful and not known.was_added:
        known.was_added = True  # what came before it was lost, or in disorder
        return
    if known is not None:
        known.is_doubtful = True
        code = "duplicate_added" if identifier in (None, known.id) else "index_reused"
        yield Finding(code, f"an item at index {items.next_index}", f"one at index {index}", id=known.id)
        return
    if index > items.next_index and not items.excuse():
        yield Finding("index_gap", f"output_index {items.next_index}", str(index))
    item = items.add(index, kind, identifier)
    item.call_id = new.get("call_id")
    item.was_added = True
    status = new.get("status")
    if kind in STREAMED and isinstance(status, str) and status not in OPEN:
        yield Finding("status_mismatch", "status 'in_progress' of an item that begins", f"status {shown(status)!r}")


def done(items: Items, raw: Raw) -> Iterator[Finding]:
    """Check the last object of an item."""
    index, last = raw["output_index"], raw["item"]
    item = items.get(index)
    if item is None:
        yield from _unannounced(items, index, "an item that ends")
        item = items.add(index, last["type"], last.get("id"))
    if item.is_done:
        if not item.is_doubtful:
            item.is_doubtful = True
            yield Finding("duplicate_done", "one response.output_item.done of an item", "another")
        return
    yield from check_identity(item, last)
    yield from check_item(item, last)
    item.is_done = True
    status = last.get("status")
    if isinstance(status, str) and status in OPEN:
        yield Finding("status_mismatch", "the status of an item that has ended", f"status {shown(status)!r}")


def _unannounced(items: Items, index: int, what: str) -> Iterator[Finding]:
    if not items.excuse():
        yield Finding("missing_added", f"response.output_item.added at index {index} first", what)


def _item(items: Items, raw: Raw, types: str, found: list[Item]) -> Iterator[Finding]:
    """Find the item that an event is about, yield what is wrong with that, and put it into `found` if it is open."""
    index = raw["output_index"]
    item = items.get(index)
    if item is None:
        yield from _unannounced(items, index, "an event about an item")
        item = items.add(index, "", raw.get("item_id"))
        item.is_doubtful = True
    if item.is_doubtful:
        return
    if item.is_done:
        item.is_doubtful = True
        yield Finding("event_after_item", "no event about an item that has ended", "one")
        return
    yield from check_id(item, raw.get("item_id"))
    if item.type not in types.split() and not (types == _ARGUMENTS and item.type.endswith("_call")):
        item.is_doubtful = True
        yield Finding("type_mismatch", f"an item of type {types.replace(' ', ' or ')}", f"type {shown(item.type)!r}")
        return
    found.append(item)


def _place(raw: Raw) -> Place:
    for key, name in (("content_index", "content"), ("summary_index", "summary")):
        if key in raw:
            return name, raw[key]
    return ONLY


def part_added(items: Items, raw: Raw) -> Iterator[Finding]:
    """Check a part that begins."""
    found: list[Item] = []
    yield from _item(items, raw, "message reasoning", found)
    for item in found:
        place, new = _place(raw), raw["part"]
        if place in item.parts:
            item.parts[place].is_doubtful = True
            yield Finding("duplicate_added", f"one event that begins {named(item.type, place)}", "another")
        elif item.counted(place[0]) < MAX_PARTS:
            expected = item.counted(place[0])
            if place[1] > expected:
                yield Finding("index_gap", f"index {expected} in {place[0]}", str(place[1]))
                _pass_over(item, place[0], expected, place[1])
            part = item.parts[place] = Part(new["type"], was_added=True)
            part.is_doubtful = bool(text_in(new))  # whether pieces go on from that text is not known


def _pass_over(item: Item, name: str, first: int, last: int) -> None:
    """Enter parts of which no event came, so that they are not reported again when the item ends."""
    for index in range(first, min(last, MAX_PARTS)):
        part = item.parts.setdefault((name, index), Part())
        part.is_doubtful = True


def part_done(items: Items, raw: Raw) -> Iterator[Finding]:
    """Check the last object of a part."""
    found: list[Item] = []
    yield from _item(items, raw, "message reasoning", found)
    for item in found:
        parts: list[Part] = []
        yield from _part(item, _place(raw), raw["part"]["type"], parts)
        for part in parts:
            where = named(item.type, _place(raw))
            if part.has_deltas and not part.has_text_done:
                part.has_text_done = True
                yield Finding("missing_text_done", f"an event that says {where} is done", "none")
            text = text_in(raw["part"])
            if text is not None:
                yield from check_text(part, text, where)
            part.is_done = True


def _part(item: Item, place: Place, kind: str, found: list[Part]) -> Iterator[Finding]:
    """Find a part, yield what is wrong with that, and put it into `found` if it is open."""
    part = item.parts.get(place)
    if part is None:
        if item.counted(place[0]) >= MAX_PARTS:
            return
        part = item.parts[place] = Part(kind)
        if is_announced(item, place):
            part.is_doubtful = True
            yield Finding("missing_part_added", f"an event that begins {named(item.type, place)}", "none")
    if part.is_doubtful:
        return
    if part.kind and kind and part.kind != kind:
        part.is_doubtful = True
        yield Finding("type_mismatch", f"a part of type {shown(part.kind)!r}", f"a piece of {shown(kind)!r}")
    elif part.is_done:
        part.is_doubtful = True
        yield Finding("event_after_part", f"no event about {named(item.type, place)} after its end", "one")
    else:
        found.append(part)


def annotated(items: Items, raw: Raw) -> Iterator[Finding]:
    """Check an annotation."""
    found: list[Item] = []
    yield from _item(items, raw, "message", found)
    for item in found:
        parts: list[Part] = []
        yield from _part(item, _place(raw), "output_text", parts)
        for part in parts:
            if raw["annotation_index"] > part.notes:
                yield Finding("index_gap", f"annotation_index {part.notes}", str(raw["annotation_index"]))
            part.notes = max(part.notes, raw["annotation_index"] + 1)


_ARGUMENTS: Final = "function_call mcp_call"
_SHELL: Final = "shell_call shell_call_output"

TEXTS: Final[Mapping[str, tuple[str, str]]] = {
    "response.output_text": ("message", "output_text"),
    "response.refusal": ("message", "refusal"),
    "response.reasoning_text": ("reasoning", "reasoning_text"),
    "response.reasoning_summary_text": ("reasoning", "summary_text"),
    "response.function_call_arguments": (_ARGUMENTS, ""),
    "response.mcp_call_arguments": (_ARGUMENTS, ""),
    "response.custom_tool_call_input": ("custom_tool_call", ""),
    "response.code_interpreter_call_code": ("code_interpreter_call", ""),
}
"""The types of item and of part that each text belongs to. Commands and diffs are followed no further than the item."""


def _growing(name: str, *, is_whole: bool) -> Rule:
    types, kind = TEXTS[name]
    key = TEXT_EVENTS[name][1] if is_whole else "delta"

    def rule(items: Items, raw: Raw) -> Iterator[Finding]:
        found: list[Item] = []
        yield from _item(items, raw, types, found)
        for item in found:
            parts: list[Part] = []
            place = _place(raw)
            yield from _part(item, place, kind, parts)
            for part in parts:
                yield from _take(part, raw[key], named(item.type, place), is_whole=is_whole)

    return rule


def _take(part: Part, text: str, where: str, *, is_whole: bool) -> Iterator[Finding]:
    if part.has_text_done:
        part.is_doubtful = True
        yield Finding("event_after_part", f"nothing of {where} once it is done", "more of it")
    elif is_whole:
        part.has_text_done = True
        yield from check_text(part, text, where)
    else:
        part.has_deltas = True
        part.text.add(text)


def _about(types: str) -> Rule:
    def rule(items: Items, raw: Raw) -> Iterator[Finding]:
        yield from _item(items, raw, types, [])

    return rule


RULES: Final[Mapping[str, Rule]] = {
    "response.output_item.added": added,
    "response.output_item.done": done,
    "response.content_part.added": part_added,
    "response.content_part.done": part_done,
    "response.reasoning_summary_part.added": part_added,
    "response.reasoning_summary_part.done": part_done,
    "response.output_text.annotation.added": annotated,
    **{f"{name}.delta": _growing(name, is_whole=False) for name in TEXTS},
    **{f"{name}.done": _growing(name, is_whole=True) for name in TEXTS},
    **{f"response.apply_patch_call_operation_diff.{word}": _about("apply_patch_call") for word in ("delta", "done")},
    **{f"response.shell_call_command.{word}": _about(_SHELL) for word in ("added", "delta", "done")},
    **{f"response.shell_call_output_content.{word}": _about(_SHELL) for word in ("delta", "done")},
    **{name: _about(kind) for name, kind in PHASE_EVENTS.items()},
}
"""The rule of every event about an item. It is given only data in which each field has its type."""
