"""The usual deltas, recognised by their shape: one more piece of a text that is known, or one more call or part.

It saves making a tree of such a delta, checking it and walking it together with what is known (`deltas`, `combining`).
For a piece that costs ten times as much, for a call half as much again. These functions only look: they return what the
walk would add to what, or None for every delta that is anything else or more. A delta recognised here must be one that
passes the check, and that the walk would do nothing else with; tests compare the two ways over every field.
"""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple, TypeAlias

from msgspec import UNSET
from msgspec.structs import astuple

from stepstream.fold.builder import SnapshotBuilder
from stepstream.fold.tree import Indexed, Node, TextBuffer
from stepstream.wire.base import WireObject
from stepstream.wire.deltas import (
    CodeInterpreterDelta,
    CodeOutputDelta,
    ContentDelta,
    MessageDeltaBody,
    RunStepDeltaBody,
    StepDetailsDelta,
    ToolCallDelta,
)
from stepstream.wire.messages import Message
from stepstream.wire.objects import RunStep
from stepstream.wire.tool_calls import RankingOptions

TextAppend: TypeAlias = tuple[TextBuffer, str, str]
"""A text that grows, one more piece of it, and the key of both."""


class Append(NamedTuple):
    """What a delta did that did nothing but append to one text."""

    builder: SnapshotBuilder[Any]
    buffer: TextBuffer
    piece: str
    key: str
    """The key of the delta under which the piece stood."""


EntryAppend: TypeAlias = tuple[Indexed, ToolCallDelta | ContentDelta]
"""A list that grows, and one more entry of it, which holds the same as in a full object."""

TEXTS: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "azure_function": ("arguments", ("name", "output")),
    "code_interpreter": ("input", ("outputs",)),
    "function": ("arguments", ("name", "output")),
}
"""The kinds of call whose content grows by one text: its field, and the others, which must be absent."""

_OF_CALLS: Final = ("tool_calls", None, UNSET)
"""The types of a step that may have calls."""

_ABSENT: Final = len(ToolCallDelta.__struct_fields__) - len(("index", "id", "type", "content"))
"""How many fields a tool call's delta lacks where it has those four and no other."""


def step_text_append(step: SnapshotBuilder[RunStep], body: RunStepDeltaBody) -> TextAppend | None:
    """Return what `body` appends to a text of a step, None for any other delta."""
    entry = _only_call(body)
    kind: Any = None if entry is None else entry.type
    calls = _calls(step) if kind in TEXTS else None
    slot = None if calls is None or entry is None else calls.get(entry.index)
    if entry is None or slot is None or kind != slot.get("type"):
        return None
    if entry.id is not UNSET and (entry.id is None or entry.id != slot.get("id")):
        return None
    return _call_text(slot, entry, kind)


def call_append(step: SnapshotBuilder[RunStep], body: RunStepDeltaBody) -> EntryAppend | None:
    """Return the calls of a step and the new one that is all of `body`, None for any other delta."""
    entry = _only_call(body)
    if entry is None or entry.id is UNSET or astuple(entry).count(UNSET) != _ABSENT:
        return None
    content = getattr(entry, str(entry.type), None)
    if not isinstance(content, WireObject) or any(map(_may_hold_entries, astuple(content))):
        return None
    return _new_entry(_calls(step), entry)


def _only_call(body: RunStepDeltaBody) -> ToolCallDelta | None:
    """Return the call that is all that `body` adds to, None where it adds to anything else."""
    details = body.step_details
    if type(details) is not StepDetailsDelta or details.type != "tool_calls":
        return None
    if details.message_creation is not UNSET or details.activities is not UNSET:
        return None
    entries = details.tool_calls
    return entries[0] if entries and len(entries) == 1 and type(entries[0]) is ToolCallDelta else None


def _may_hold_entries(value: object) -> bool:
    """Return whether a value may hold a list that goes by index: it is neither a text nor an object of plain values."""
    return bool(value) and not isinstance(value, (str, RankingOptions))


def _calls(step: SnapshotBuilder[RunStep]) -> Indexed | None:
    """Return the calls of a step, where the step and its details agree that it is one of tool calls."""
    details = step.tree.get("step_details")
    if type(details) is not Node or details.get("type") != "tool_calls" or step.base.type not in _OF_CALLS:
        return None
    calls = details.get("tool_calls")
    return calls if type(calls) is Indexed else None


def _call_text(slot: Node, entry: ToolCallDelta, kind: str) -> TextAppend | None:
    content, node = getattr(entry, kind), slot.get(kind)
    if not content or type(node) is not Node or astuple(entry).count(UNSET) != _ABSENT + (entry.id is UNSET):
        return None
    field, others = TEXTS[kind]
    for other in others:
        if getattr(content, other) is not UNSET:
            is_output = kind == "code_interpreter" and content.input is UNSET
            return _logs_text(node, content) if is_output else None
    return _append(node, field, getattr(content, field))


def _logs_text(node: Node, content: CodeInterpreterDelta) -> TextAppend | None:
    outputs, have = content.outputs, node.get("outputs")
    if not outputs or len(outputs) > 1 or type(have) is not Indexed:
        return None
    output = outputs[0]
    if type(output) is not CodeOutputDelta or output.type != "logs" or output.image is not UNSET:
        return None
    slot = have.get(output.index)
    return None if slot is None or slot.get("type") != "logs" else _append(slot, "logs", output.logs)


def message_text_append(message: SnapshotBuilder[Message], body: MessageDeltaBody) -> TextAppend | None:
    """Return what `body` appends to a text of a message, None for any other delta."""
    part, have = _only_text(body), message.tree.get("content")
    slot = have.get(part.index) if part is not None and type(have) is Indexed else None
    text = slot.get("text") if slot is not None and slot.get("type") == "text" else None
    if part is None or not part.text or type(text) is not Node:
        return None
    if part.text.annotations is not UNSET and text.get("annotations") is None:
        return None
    return _append(text, "value", part.text.value)


def content_append(message: SnapshotBuilder[Message], body: MessageDeltaBody) -> EntryAppend | None:
    """Return the content of a message and the new part, a text, that is all of `body`, None for any other delta."""
    part = _only_text(body)
    return None if part is None else _new_entry(message.tree.get("content"), part)


def _only_text(body: MessageDeltaBody) -> ContentDelta | None:
    """Return the text that is all that `body` adds to, None where it adds to anything else."""
    content = body.content
    if not content or len(content) > 1 or body.role is not UNSET:
        return None
    part = content[0]
    if type(part) is not ContentDelta or part.type != "text" or not part.text or part.text.annotations:
        return None
    is_more = part.image_file is not UNSET or part.image_url is not UNSET or part.refusal is not UNSET
    return None if is_more else part


def _new_entry(have: object, entry: ToolCallDelta | ContentDelta) -> EntryAppend | None:
    return (have, entry) if type(have) is Indexed and entry.index not in have else None


def _append(node: Node, key: str, piece: object) -> TextAppend | None:
    have: Any = node.get(key)
    return (have, piece, key) if type(have) is TextBuffer and type(piece) is str else None
