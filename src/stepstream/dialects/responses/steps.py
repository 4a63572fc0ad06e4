"""The life of an item as that of a step: begun, grown, ended; of a message, as that of the message too."""

from collections.abc import Mapping
from typing import Final

from msgspec.structs import replace

from stepstream.dialects.responses.contents import content_of
from stepstream.dialects.responses.identity import add, name_also
from stepstream.dialects.responses.items import (
    GROWING,
    STEP_TYPES,
    TYPED,
    call_type_of,
    details_of,
    error_of,
    indexed,
    step_type_of,
)
from stepstream.dialects.responses.payloads import JSON, as_json, text_of
from stepstream.dialects.responses.turn import Turn
from stepstream.dialects.responses.waiting import asked
from stepstream.dialects.state import Item, Part
from stepstream.wire.deltas import RunStepDelta
from stepstream.wire.messages import Message
from stepstream.wire.objects import RunStep

ENDS: Final = frozenset({"completed", "incomplete", "failed", "cancelled"})
"""The statuses of an item that has ended. Any other, also in its last event, is a word for how far it was."""

MAX_SUPPLIED: Final = 64
"""How many entries of a list are told again at most."""

ENDS_AT_ONCE: Final = frozenset({"mcp_approval_request"})
"""The kinds of item that are whole when they are added."""


NAMED_LATE: Final = frozenset({"tool_search_call"})
"""The kinds of item whose call may have another id in its last object, which is the one to answer."""


def begin(turn: Turn, item_type: str, raw: JSON) -> Item:
    """Open the step of a new item, with what is known of it."""
    item = add(turn, item_type, raw)
    content = content_of(item_type, raw)
    named_late = replace(item, call_id="") if item_type in NAMED_LATE else item
    details = details_of(named_late, content, text_of(raw, "status"))
    _tell_step(turn, item, "created", "in_progress", step_details=details)
    _note_entries(item, content)
    if item_type == "message":
        parts = {"role": "assistant", "content": [], **content}
        _tell_message(turn, item, "created", "in_progress", parts)
    return item


def _note_entries(item: Item, content: JSON) -> None:
    """Note the entries of lists that an item brought with it, so that pieces find them."""
    for name in ENTRIES.get(item.type, ()):
        entries = content.get(name)
        if entries:
            kinds = ("command" if name == "commands" else text_of(one, "type") for one in entries)
            item.lists[name] = [Part(place, kind) for place, kind in enumerate(kinds)]


ENTRIES: Final[Mapping[str, tuple[str, ...]]] = {
    "message": ("content",),
    "reasoning": ("summary", "content"),
    "shell_call": ("commands",),
}
"""The lists of an item that grow by entries."""


def end(turn: Turn, item: Item, raw: JSON, otherwise: str) -> None:
    """End the step of an item with the item's last object. Without a status of its own, it ends as `otherwise` says."""
    name_also(turn, item, raw)
    call_id = text_of(raw, "call_id")
    item.call_id = (call_id if item.type in NAMED_LATE else "") or item.call_id or call_id or item.id
    error = error_of(raw)
    status = text_of(raw, "status")
    if status not in ENDS:
        status = "failed" if error is not None or item.has_failed else otherwise
    content = _without_denials(item, content_of(item.type, raw))
    item.given = [key for key, value in content.items() if value is not None]
    item.is_ended = True
    item.lists = {}
    more: JSON = {"step_details": details_of(item, content, status)}
    if error is not None:
        more["last_error"] = as_json(error)
    step = _tell_end(turn, item, status, content, more)
    if status == "completed":
        item.asked = asked(item, content, as_json(step.tool_calls[0]) if step.tool_calls else None)


def _without_denials(item: Item, content: JSON) -> JSON:
    """Return the content of a last object without what is empty in it, or left out, though pieces of it came.

    That is null then, which says nothing: the fold keeps what it has.
    """
    grown = set(item.lists)
    if item.is_grown and item.type in GROWING:
        grown.add(GROWING[item.type])
    return content | {key: None for key in grown if not content.get(key)}


def end_without_content(turn: Turn, item: Item, status: str) -> None:
    """End the step of an item whose last object never came: with a status alone, what was folded stays."""
    item.is_ended = True
    item.lists = {}
    _tell_end(turn, item, status, {}, {})


def _tell_end(turn: Turn, item: Item, status: str, content: JSON, more: JSON) -> RunStep:
    if item.type == "message":
        message_status = "completed" if status == "completed" else "incomplete"
        _tell_message(turn, item, message_status, message_status, content)
    return _tell_step(turn, item, status, status, **more)


def fill(turn: Turn, item: Item, raw: JSON) -> None:
    """Give an ended step what its last object lacked, and this one has."""
    content = content_of(item.type, raw)
    news = {key: value for key, value in content.items() if value is not None and key not in item.given}
    if news and item.type != "message":  # whose list of parts, empty or not, is there from the beginning
        item.given += news
        tell_content(turn, item, news)


def tell_content(turn: Turn, item: Item, content: JSON) -> None:
    """Add the delta that adds content to a step."""
    is_typed = item.type in STEP_TYPES or call_type_of(item.type) in TYPED
    details = details_of(item, indexed(content) if is_typed else content, "")
    for call in details.get("tool_calls", ()):
        call["index"] = 0
    tell_delta(turn, item, details)


def tell_delta(turn: Turn, item: Item, details: JSON) -> None:
    """Add a delta of a step."""
    fields = {"id": item.id, "object": "thread.run.step.delta", "delta": {"step_details": details}}
    turn.tell_object("thread.run.step.delta", RunStepDelta, fields)


def supply(turn: Turn, item: Item, content: JSON) -> None:
    """Tell content of an open step again: the fold takes what it lacks.

    Where that stands far down a list, it waits for the item's end: each entry before it would have to be told, too.
    """
    if any(len(value) > MAX_SUPPLIED for value in content.values() if isinstance(value, list)):
        return
    if item.type == "message":
        _tell_message(turn, item, "in_progress", "in_progress", content)
    else:
        _tell_step(turn, item, "in_progress", "in_progress", step_details=details_of(item, content, ""))


def _tell_step(turn: Turn, item: Item, name: str, status: str, **more: JSON) -> RunStep:
    fields = _fields(turn, item, "thread.run.step", status) | {"type": step_type_of(item.type)} | more
    step: RunStep = turn.tell_object(f"thread.run.step.{name}", RunStep, fields)
    return step


def _tell_message(turn: Turn, item: Item, name: str, status: str, content: JSON) -> None:
    turn.tell_object(f"thread.message.{name}", Message, _fields(turn, item, "thread.message", status) | content)


def _fields(turn: Turn, item: Item, constant: str, status: str) -> JSON:
    """Return the fields that steps and messages have in common; those that are not known are empty."""
    response = turn.response
    return {
        "id": item.id,
        "object": constant,
        "run_id": turn.run_id,
        "assistant_id": response.assistant_id or "",
        "thread_id": response.thread_id or "",
        "status": status,
    }
