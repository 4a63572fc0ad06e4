"""How items and responses begin and end: outputs of calls, items settled by the response's own list."""

from collections.abc import Callable, Mapping
from typing import Final

from stepstream.dialects.responses.contents import text_or_json
from stepstream.dialects.responses.identity import by_id, find_announced, find_done, find_whole
from stepstream.dialects.responses.items import call_type_of, error_of, step_type_of
from stepstream.dialects.responses.payloads import JSON, objects_of, text_of
from stepstream.dialects.responses.runs import UNEXPLAINED, learn, tell_run, tools_of
from stepstream.dialects.responses.steps import ENDS_AT_ONCE, begin, end, end_without_content, fill, tell_content
from stepstream.dialects.responses.turn import Turn
from stepstream.dialects.responses.waiting import action_of
from stepstream.dialects.state import Item
from stepstream.wire.objects import LastError

_OUTPUT: Final = "_output"

BRINGS_TOOLS: Final = frozenset({"additional_tools", "tool_search_output"})
"""The kinds of item that declare more tools."""


def add_item(turn: Turn) -> None:
    """Take an item that begins."""
    raw = turn.payload.item
    if raw is None or not text_of(raw, "type"):
        turn.report("undecodable_event", None, "an object with a type as its item", "none")
        return
    known = find_announced(turn, raw)
    if known is not None:
        # Told again: with numbers that would be known, without them the pieces that follow may be known ones too.
        known.is_retold = known.is_retold or (known.is_grown and known.was_added and not known.is_ended)
        known.was_added = True
        return
    item = begin(turn, text_of(raw, "type"), raw)
    item.was_added = True
    if item.type in ENDS_AT_ONCE:
        end(turn, item, raw, "completed")


def end_item(turn: Turn) -> None:
    """Take the last object of an item."""
    raw = turn.payload.item
    if raw is None or not text_of(raw, "type"):
        turn.report("undecodable_event", None, "an object with a type as its item", "none")
        return
    known = find_done(turn, raw)
    if known is None and text_of(raw, "type") in ENDS_AT_ONCE:
        known = find_whole(turn, raw)
    settle(turn, known, raw, "completed")


def settle(turn: Turn, known: Item | None, raw: JSON, otherwise: str) -> None:
    """End an item with its last object, or fill what it lacked where it has ended."""
    if known is not None and known.is_ended:
        fill(turn, known, raw)
        return
    item = known or begin(turn, text_of(raw, "type"), raw)
    end(turn, item, raw, otherwise)
    if item.type.endswith(_OUTPUT):
        _answer(turn, item, raw)
    if item.type in BRINGS_TOOLS and turn.response.tools:
        turn.response.tools += tools_of(raw)


def _answer(turn: Turn, output: Item, raw: JSON) -> None:
    """Give the call that an output is of that output, late."""
    call_id = text_of(raw, "call_id")
    calls = (item for item in reversed(turn.response.items) if item is not output and item.call_id == call_id)
    item = next((one for one in calls if call_id and step_type_of(one.type) == "tool_calls"), None)
    if item is None or item.is_answered:
        return
    item.is_answered = True
    content = OUTPUTS.get(call_type_of(item.type), _whole)(raw)
    news = {key: value for key, value in content.items() if value is not None and key not in item.given}
    if news:
        item.given += news
        tell_content(turn, item, news)


def _text(raw: JSON) -> JSON:
    return {"output": text_or_json(raw.get("output"))}


def _whole(raw: JSON) -> JSON:
    return {"output": raw.get("output")}


OUTPUTS: Final[Mapping[str, Callable[[JSON], JSON]]] = {
    "apply_patch": _text,
    "azure_function": _text,
    "custom": _text,
    "function": _text,
    "mcp": _text,
    "openapi": _text,
    "shell": lambda raw: {"outputs": objects_of(raw, "output") or None},
    "tool_search": lambda raw: {"tools": raw.get("tools")},
}
"""What of an output item is the content of its call, by the call's type. Of all others, its output as it is."""


def end_response(turn: Turn, raw: JSON, status: str, held: LastError | None) -> None:
    """End a run: its items first, then itself. `held` is an error that came by itself."""
    run = turn.response
    learn(run, raw)
    run.is_open = False
    _settle_all(turn, objects_of(raw, "output"), status)
    for item in turn.items:
        if not item.is_ended:
            end_without_content(turn, item, status)
    action = action_of(turn) if status == "completed" else None
    if status in UNEXPLAINED and held is not None and error_of(raw) is None:
        raw = {**raw, "error": {"code": held.code, "message": held.message}}
    tell_run(turn, raw, "requires_action" if action else status, action)
    if action is None:
        for item in turn.items:
            item.asked = None


def _settle_all(turn: Turn, output: list[JSON], status: str) -> None:
    """Settle every item by the response's own list: found by id, else by type and order."""
    rest, named = turn.items, dict[int, Item]()
    for place, raw in enumerate(output):
        known = by_id(turn, raw.get("id"))
        if known is not None and known.type == raw.get("type") and any(one is known for one in rest):
            named[place] = known
            rest = [one for one in rest if one is not known]
    for place, raw in enumerate(output):
        item_type = text_of(raw, "type")
        item = named.get(place) or next((one for one in rest if one.type == item_type), None)
        rest = [one for one in rest if one is not item]
        if item_type:
            settle(turn, item, raw, status)
