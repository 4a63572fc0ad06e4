"""The usual delta, on a short cut: one more piece of one text that is known already.

Nearly all deltas are that. `grow` does for them what `check` and `merge` would do, and declines all others.
"""

from collections.abc import Mapping
from typing import Any, Final

from msgspec import UNSET
from msgspec.structs import astuple

from stepstream.fold.growing import Growing
from stepstream.fold.tree import Indexed, Node, Pieces
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

TEXTS: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "azure_function": ("arguments", ("name", "output")),
    "code_interpreter": ("input", ("outputs",)),
    "function": ("arguments", ("name", "output")),
}
"""The kinds of call whose content grows by one text: its field, and the others, which must be absent."""


_ABSENT: Final = len(ToolCallDelta.__struct_fields__) - len(("index", "id", "type", "content"))
"""How many fields a tool call's delta lacks where it has those four and no other."""


def grow_step(step: Growing[RunStep], body: RunStepDeltaBody) -> bool:
    """Add `body` to `step` where it is one more piece of one text of one call. Return whether it was."""
    details = body.step_details
    if type(details) is not StepDetailsDelta or details.type != "tool_calls":
        return False
    if details.message_creation is not UNSET or details.activities is not UNSET:
        return False
    entries = details.tool_calls
    if not entries or len(entries) > 1:
        return False
    entry = entries[0]
    if type(entry) is not ToolCallDelta:
        return False
    slot = step.slots.get(entry.index)
    if slot is None or entry.type != slot["type"] or (entry.id is not UNSET and entry.id != slot["id"]):
        return False
    return _grow_call(step, slot, entry)


def _grow_call(step: Growing[RunStep], slot: Node, entry: ToolCallDelta) -> bool:
    kind = slot["type"]
    content, node = getattr(entry, kind), slot.get(kind)
    if not content or type(node) is not Node or astuple(entry).count(UNSET) != _ABSENT + (entry.id is UNSET):
        return False
    field, others = TEXTS[kind]
    for other in others:
        if getattr(content, other) is not UNSET:
            return kind == "code_interpreter" and content.input is UNSET and _grow_logs(step, node, content)
    have, piece = node.get(field), getattr(content, field)
    if type(have) is not Pieces or type(piece) is not str:
        return False
    step.kept = None
    have.append(piece)
    return True


def _grow_logs(step: Growing[RunStep], node: Node, content: CodeInterpreterDelta) -> bool:
    outputs, have = content.outputs, node.get("outputs")
    if not outputs or len(outputs) > 1 or type(have) is not Indexed:
        return False
    output = outputs[0]
    if type(output) is not CodeOutputDelta or output.type != "logs" or output.image is not UNSET:
        return False
    slot = have.get(output.index)
    return slot is not None and slot.get("type") == "logs" and _append(step, slot.get("logs"), output.logs)


def grow_message(message: Growing[Message], body: MessageDeltaBody) -> bool:
    """Add `body` to `message` where it is one more piece of one text. Return whether it was."""
    content = body.content
    if not content or len(content) > 1 or body.role is not UNSET:
        return False
    part = content[0]
    if type(part) is not ContentDelta or part.type != "text" or not part.text or part.text.annotations:
        return False
    if part.image_file is not UNSET or part.image_url is not UNSET or part.refusal is not UNSET:
        return False
    have = message.tree.get("content")
    slot = have.get(part.index) if type(have) is Indexed else None
    if slot is None or slot.get("type") != "text" or type(slot.get("text")) is not Node:
        return False
    if part.text.annotations is not UNSET and "annotations" not in slot["text"]:
        return False
    return _append(message, slot["text"].get("value"), part.text.value)


def _append(growing: Growing[Any], have: object, piece: object) -> bool:
    if type(have) is not Pieces or type(piece) is not str:
        return False
    growing.kept = None
    have.append(piece)
    return True
