"""Deltas that only append: one more piece of one text that is known already, or one more entry that opens such a text.

Nearly all deltas are that, and in them nothing can contradict what is known. So these functions only look: they return
the buffer or list that `merge` would append to, and what it would append, or None for every delta that is anything else
or more. `check` and `merge` decide on those. A delta recognised here must be one that `check` accepts and that `merge`
turns into the same tree; tests compare the two ways over every field.
"""

from collections.abc import Mapping
from typing import Any, Final, TypeAlias

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
from stepstream.wire.messages import Content, Message
from stepstream.wire.objects import RunStep
from stepstream.wire.tool_calls import RankingOptions, ToolCall

TextAppend: TypeAlias = tuple[TextBuffer, str]
"""A text that grows, and one more piece of it."""

EntryAppend: TypeAlias = tuple[Indexed, ToolCallDelta | ContentDelta]
"""A list that grows, and one more entry of it, which says the same as a full object would."""

TEXTS: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "azure_function": ("arguments", ("name", "output")),
    "code_interpreter": ("input", ("outputs",)),
    "function": ("arguments", ("name", "output")),
}
"""The kinds of call whose content grows by one text: its field, and the others, which must be absent."""

OF_CALLS: Final = ("tool_calls", None, UNSET)
"""The types of a step that may have calls."""

_ABSENT: Final = len(ToolCallDelta.__struct_fields__) - len(("index", "id", "type", "content"))
"""How many fields a tool call's delta lacks where it has those four and no other."""


def step_text_append(step: SnapshotBuilder[RunStep], body: RunStepDeltaBody) -> TextAppend | None:
    """Return the text of a step that `body` adds one piece to, and the piece; None for any other delta."""
    entry = _only_call(body)
    slot = None if entry is None else step.text_calls.get(entry.index)
    if entry is None or slot is None or entry.type != slot["type"]:
        return None
    if entry.id is not UNSET and entry.id != slot["id"]:
        return None
    return _call_text(slot, entry)


def call_append(step: SnapshotBuilder[RunStep], body: RunStepDeltaBody) -> EntryAppend | None:
    """Return the calls of a step and the new one that is all of `body`; None where it is not.

    Nothing is known that it could contradict but the type of the step.
    """
    entry = _only_call(body)
    if entry is None or entry.id is UNSET:
        return None
    content, details = getattr(entry, str(entry.type), None), step.tree.get("step_details")
    if not isinstance(content, WireObject) or any(map(_is_more, astuple(content))):
        return None
    if astuple(entry).count(UNSET) != _ABSENT:
        return None
    if type(details) is not Node or details.get("type") != "tool_calls" or step.base.type not in OF_CALLS:
        return None
    calls = details.get("tool_calls")
    return _new_entry(calls, entry, ToolCall)


def _only_call(body: RunStepDeltaBody) -> ToolCallDelta | None:
    """Return the call that is all that `body` adds to; None where it adds to anything else."""
    details = body.step_details
    if type(details) is not StepDetailsDelta or details.type != "tool_calls":
        return None
    if details.message_creation is not UNSET or details.activities is not UNSET:
        return None
    entries = details.tool_calls
    if not entries or len(entries) > 1:
        return None
    entry = entries[0]
    return entry if type(entry) is ToolCallDelta else None


def _is_more(value: object) -> bool:
    """Return whether a value may hold a list that goes by index: it is neither a text nor an object of plain values."""
    return bool(value) and not isinstance(value, (str, RankingOptions))


def _call_text(slot: Node, entry: ToolCallDelta) -> TextAppend | None:
    kind = slot["type"]
    content, node = getattr(entry, kind), slot.get(kind)
    if not content or type(node) is not Node or astuple(entry).count(UNSET) != _ABSENT + (entry.id is UNSET):
        return None
    field, others = TEXTS[kind]
    for other in others:
        if getattr(content, other) is not UNSET:
            is_output = kind == "code_interpreter" and content.input is UNSET
            return _logs_text(node, content) if is_output else None
    return _append(node.get(field), getattr(content, field))


def _logs_text(node: Node, content: CodeInterpreterDelta) -> TextAppend | None:
    outputs, have = content.outputs, node.get("outputs")
    if not outputs or len(outputs) > 1 or type(have) is not Indexed:
        return None
    output = outputs[0]
    if type(output) is not CodeOutputDelta or output.type != "logs" or output.image is not UNSET:
        return None
    slot = have.get(output.index)
    if slot is None or slot.get("type") != "logs":
        return None
    return _append(slot.get("logs"), output.logs)


def message_text_append(message: SnapshotBuilder[Message], body: MessageDeltaBody) -> TextAppend | None:
    """Return the text of a message that `body` adds one piece to, and the piece; None where it is anything else."""
    part, have = _only_text(body), message.tree.get("content")
    slot = have.get(part.index) if part is not None and type(have) is Indexed else None
    if part is None or not part.text or slot is None or slot.get("type") != "text":
        return None
    if type(slot.get("text")) is not Node:
        return None
    if part.text.annotations is not UNSET and slot["text"].get("annotations") is None:
        return None
    return _append(slot["text"].get("value"), part.text.value)


def content_append(message: SnapshotBuilder[Message], body: MessageDeltaBody) -> EntryAppend | None:
    """Return the content of a message and the new part, a text, that is all of `body`; None where it is not."""
    part, have = _only_text(body), message.tree.get("content")
    return None if part is None else _new_entry(have, part, Content)


def _only_text(body: MessageDeltaBody) -> ContentDelta | None:
    """Return the text that is all that `body` adds to; None where it adds to anything else."""
    content = body.content
    if not content or len(content) > 1 or body.role is not UNSET:
        return None
    part = content[0]
    if type(part) is not ContentDelta or part.type != "text" or not part.text or part.text.annotations:
        return None
    if part.image_file is not UNSET or part.image_url is not UNSET or part.refusal is not UNSET:
        return None
    return part


def _new_entry(have: object, entry: ToolCallDelta | ContentDelta, struct: type[Any]) -> EntryAppend | None:
    return (have, entry) if type(have) is Indexed and have.struct is struct and entry.index not in have else None


def _append(have: object, piece: object) -> TextAppend | None:
    return (have, piece) if type(have) is TextBuffer and type(piece) is str else None
