"""What grows in pieces: for each event the item it adds to, and the delta that each piece becomes.

A text is supplied again when it is done. That becomes a full object on the way, of which the fold takes what it lacks:
where pieces were lost, or never came, the text is whole then. The same goes for parts.

Indexes are the server's own only on the way in. Each list of an item is numbered densely from 0, in the order of first
sight. A piece of content with an index that no event announced belongs to the part that is open, if one is: some
servers count that index up with every piece.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

from stepstream.dialects.responses.identity import find
from stepstream.dialects.responses.items import GROWING
from stepstream.dialects.responses.payloads import JSON
from stepstream.dialects.responses.pieces import delta_of
from stepstream.dialects.responses.steps import begin, supply
from stepstream.dialects.responses.turn import Turn
from stepstream.dialects.state import Item, Part
from stepstream.wire.deltas import MAX_INDEX, MessageDelta


class Growth(NamedTuple):
    """One text that grows."""

    item_type: str
    """The type of the item it belongs to; of a call, others may have it too (`PIECES`)."""
    key: str
    """Its name in the event that tells the whole of it."""
    list: str = ""
    """The list that it is in an entry of; empty for the one text of a call."""
    kind: str = ""
    """The type of that entry."""


GROWTHS: Final[Mapping[str, Growth]] = {
    "response.output_text": Growth("message", "text", "content", "text"),
    "response.refusal": Growth("message", "refusal", "content", "refusal"),
    "response.reasoning_text": Growth("reasoning", "text", "content", "reasoning_text"),
    "response.reasoning_summary_text": Growth("reasoning", "text", "summary", "summary_text"),
    "response.function_call_arguments": Growth("function_call", "arguments"),
    "response.mcp_call_arguments": Growth("mcp_call", "arguments"),
    "response.custom_tool_call_input": Growth("custom_tool_call", "input"),
    "response.code_interpreter_call_code": Growth("code_interpreter_call", "code"),
    "response.apply_patch_call_operation_diff": Growth("apply_patch_call", "diff"),
    "response.shell_call_command": Growth("shell_call", "command", "commands", "command"),
}
"""The texts, by the events that bring them without their last word."""


def grow(turn: Turn, growth: Growth) -> None:
    """Add a piece to a text."""
    piece = turn.payload.delta
    if not isinstance(piece, str):
        turn.report("malformed_delta", turn.payload.item_id, "a text as its delta", "none")
        return
    item = find(turn, _types(growth)) or begin_unannounced(turn, growth.item_type)
    if item.is_ended or item.is_retold:
        return
    place = _place(turn, item, growth, or_done=False)
    if place is not None:
        item.is_grown = True
        delta = delta_of(item, growth.kind, place, piece)
        turn.tell("thread.message.delta" if isinstance(delta, MessageDelta) else "thread.run.step.delta", delta)


def open_entry(turn: Turn, growth: Growth) -> None:
    """Open the entry that the pieces of a text will be of. Its text is told again with its end."""
    turn.payload.delta = ""
    grow(turn, growth)


def finish(turn: Turn, growth: Growth) -> None:
    """Take the whole of a text."""
    text = getattr(turn.payload, growth.key)
    item = find(turn, _types(growth), or_ended=True) or begin_unannounced(turn, growth.item_type)
    if item.is_ended or not isinstance(text, str):
        return
    place = _place(turn, item, growth, or_done=True)
    if place is not None:
        if growth.list:
            item.lists[growth.list][place].is_done = True
        item.is_grown = True
        supply(turn, item, _whole(item, growth, place, text))


def _whole(item: Item, growth: Growth, place: int, text: str) -> JSON:
    """Return a text as content, all other texts of its item left out."""
    if not growth.list:
        key = GROWING[item.type]
        return {key: {"diff": text} if growth.key == "diff" else text}
    if growth.kind == "command":
        entry: JSON = {"command": text}
    elif growth.kind == "text":
        entry = {"type": "text", "text": {"value": text}}
    else:
        entry = {"type": growth.kind, growth.key: text}
    return {growth.list: [*entries_before(item, growth.list, place), entry]}


def entries_before(item: Item, name: str, place: int) -> list[JSON]:
    """Return the entries of a list before a place, with nothing in them but what they are."""
    return [{} if name in ("commands", "outputs") else {"type": part.kind} for part in item.lists[name][:place]]


def _types(growth: Growth) -> frozenset[str]:
    return ARGUMENTS if growth.key == "arguments" else frozenset({growth.item_type})


ARGUMENTS: Final = frozenset({"azure_function_call", "function_call", "mcp_call", "openapi_call"})
"""The kinds of item that have arguments."""


def begin_unannounced(turn: Turn, item_type: str) -> Item:
    """Open the step of an item that no event announced."""
    item = begin(turn, item_type, {"id": turn.payload.item_id} if turn.payload.item_id else {})
    item.mentions = 1
    return item


def _index(turn: Turn, name: str) -> int | None:
    payload = turn.payload
    return {
        "content": payload.content_index,
        "summary": payload.summary_index,
        "commands": payload.command_index,
        "outputs": payload.command_index,
    }[name]


def _place(turn: Turn, item: Item, growth: Growth, *, or_done: bool) -> int | None:
    """Return the place of the entry that a piece belongs to, a new one where there is none, None where no more may be.

    For a text that is no entry of a list the place is 0.
    """
    if not growth.list:
        return 0
    index = _index(turn, growth.list)
    place = known_place(item, growth.list, index, growth.kind, or_done=or_done)
    return new_place(turn, item, growth.list, index, growth.kind) if place is None else place


def known_place(item: Item, name: str, index: int | None, kind: str, *, or_done: bool) -> int | None:
    """Return the place of an entry: that with the server's index, else the one that is open, None where neither is.

    With `or_done`, one whose index had been counted up with its pieces need not be open.
    """
    parts = [(place, part) for place, part in enumerate(item.lists.get(name, ())) if part.kind == kind]
    for place, part in parts:
        if index is not None and part.index == index:
            return place
    if index is not None and name != "content":
        return None
    for place, part in reversed(parts):
        if not part.is_done or (or_done and (part.is_counting or index is None)):
            part.is_counting = part.is_counting or index is not None
            part.index = part.index if index is None else index
            return place
    return None


def new_place(turn: Turn, item: Item, name: str, index: int | None, kind: str) -> int | None:
    """Return the place of a new entry, None where the list is full."""
    parts = item.lists.setdefault(name, [])
    if len(parts) > MAX_INDEX:
        turn.report("bad_index", item.id, f"at most {MAX_INDEX + 1:,} entries in {name}", "one more")
        return None
    parts.append(Part(-1 if index is None else index, kind))
    return len(parts) - 1
