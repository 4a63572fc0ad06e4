"""Parts, annotations, phases and outputs: what else happens to an item between its beginning and its end."""

from typing import Final

from stepstream.dialects.responses.contents import annotation_json, part_json, part_kind
from stepstream.dialects.responses.growth import begin_unannounced, entries_before, known_place, new_place
from stepstream.dialects.responses.identity import find
from stepstream.dialects.responses.items import (
    call_type_of,
    indexed,
    step_type_of,
)
from stepstream.dialects.responses.payloads import JSON, text_of
from stepstream.dialects.responses.steps import supply, tell_delta
from stepstream.dialects.responses.turn import Turn
from stepstream.dialects.state import Item
from stepstream.wire.deltas import MAX_INDEX, MessageDelta

REASONING_PARTS: Final = {"reasoning_text": "content", "summary_text": "summary"}
"""The lists of reasoning, by the type of a part."""


def _part(turn: Turn, *, or_ended: bool) -> tuple[Item, str, str] | None:
    """Return the item of a part, its list and its kind; None where the event has none, or the item has ended."""
    part = turn.payload.part
    if part is None:
        turn.report("undecodable_event", turn.payload.item_id, "an object as its part", "none")
        return None
    name = REASONING_PARTS.get(text_of(part, "type"))
    item_type = "message" if name is None else "reasoning"
    item = find(turn, {item_type}, or_ended=or_ended) or begin_unannounced(turn, item_type)
    return None if item.is_ended else (item, name or "content", part_kind(part))


def open_part(turn: Turn) -> None:
    """Open a part of a message or of reasoning."""
    found = _part(turn, or_ended=False)
    if found is None:
        return
    item, name, kind = found
    index = turn.payload.summary_index if name == "summary" else turn.payload.content_index
    parts = item.lists.get(name, ())
    if any(part.kind == kind and part.index == index for part in parts):
        return  # a piece of it came before, or it is announced again
    place = new_place(turn, item, name, index, kind)
    if place is None:
        return
    part = part_json(turn.payload.part or {})
    if kind == "text":  # the only one that is not as it came
        item.lists[name][place].notes = list(range(len(part["text"]["annotations"])))
    entry = {name: [{**indexed(part), "index": place}]}
    if item.type == "message":
        _tell_message(turn, item, entry)
    else:
        details = {"type": "reasoning", "reasoning": entry}
        tell_delta(turn, item, details)


def _tell_message(turn: Turn, item: Item, body: JSON) -> None:
    fields = {"id": item.id, "object": "thread.message.delta", "delta": body}
    turn.tell_object("thread.message.delta", MessageDelta, fields)


def finish_part(turn: Turn) -> None:
    """Take the whole of a part."""
    found = _part(turn, or_ended=True)
    if found is None:
        return
    item, name, kind = found
    index = turn.payload.summary_index if name == "summary" else turn.payload.content_index
    place = known_place(item, name, index, kind, or_done=True)
    if place is None:
        place = new_place(turn, item, name, index, kind)
    if place is not None:
        item.lists[name][place].is_done = True
        supply(turn, item, {name: [*entries_before(item, name, place), part_json(turn.payload.part or {})]})


def annotate(turn: Turn) -> None:
    """Add an annotation to a text."""
    payload = turn.payload
    if payload.annotation is None:
        return
    item = find(turn, {"message"}, or_ended=True) or begin_unannounced(turn, "message")
    if item.is_ended or item.is_retold:
        return
    place = known_place(item, "content", payload.content_index, "text", or_done=True)
    if place is None:
        place = new_place(turn, item, "content", payload.content_index, "text")
    if place is None:
        return
    notes = item.lists["content"][place].notes
    number = -1 if payload.annotation_index is None else payload.annotation_index
    if number < 0 or number not in notes:
        notes.append(number)
        at = len(notes) - 1
    else:
        at = notes.index(number)
    if at > MAX_INDEX:
        turn.report("bad_index", item.id, f"at most {MAX_INDEX + 1:,} annotations", "one more")
        return
    text = {"annotations": [{**annotation_json(payload.annotation), "index": at}]}
    _tell_message(turn, item, {"content": [{"type": "text", "text": text, "index": place}]})


def move_on(turn: Turn, item_type: str, phase: str) -> None:
    """Note how far the call of an item is, or the item itself. Bytes that come with that are not kept."""
    item = find(turn, {item_type}, or_ended=True) or begin_unannounced(turn, item_type)
    if item.is_ended:
        return
    item.has_failed = item.has_failed or phase == "failed"
    kind = step_type_of(item_type)
    details: JSON = {"type": kind}
    if kind == "tool_calls":
        details[kind] = [{"type": call_type_of(item_type), "status": phase, "index": 0}]
    elif kind == item_type:
        details[kind] = {"status": phase}
    tell_delta(turn, item, details)


def add_shell_output(turn: Turn) -> None:
    """Add to what a command of a shell call wrote, while that call goes on."""
    piece = turn.payload.delta
    found = _shell_output(turn)
    if found is not None and isinstance(piece, dict):
        item, place = found
        written = {key: piece[key] for key in ("stdout", "stderr") if isinstance(piece.get(key), str)}
        call = {"type": "shell", "index": 0, "shell": {"outputs": [{**written, "index": place}]}}
        details = {"type": "tool_calls", "tool_calls": [call]}
        tell_delta(turn, item, details)


def finish_shell_output(turn: Turn) -> None:
    """Take the whole of what a command wrote."""
    found = _shell_output(turn)
    if found is not None and turn.payload.output:
        item, place = found
        supply(turn, item, {"outputs": [*entries_before(item, "outputs", place), turn.payload.output[0]]})


def _shell_output(turn: Turn) -> tuple[Item, int] | None:
    """Return the open shell call that an output belongs to, and the output's place; None where it has ended.

    The event may name the call, or the item that will hold its whole output.
    """
    item = find(turn, {"shell_call"}) or next(
        (one for one in reversed(turn.items) if one.type == "shell_call" and not one.is_ended), None
    )
    if item is None or item.is_ended:
        return None
    index = turn.payload.command_index
    place = known_place(item, "outputs", index, "output", or_done=True)
    if place is None:
        place = new_place(turn, item, "outputs", index, "output")
    return None if place is None else (item, place)
