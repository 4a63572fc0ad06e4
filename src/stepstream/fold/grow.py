"""The usual delta, on a short cut: one more piece of one text that is known already.

Nearly all deltas are that. For them it finds what `check` and `merge` would append to what, and declines all others.
"""

from collections.abc import Mapping
from typing import Final, TypeAlias

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

Addition: TypeAlias = tuple[Pieces, str]
"""A text that grows, and one more piece of it."""

TEXTS: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "azure_function": ("arguments", ("name", "output")),
    "code_interpreter": ("input", ("outputs",)),
    "function": ("arguments", ("name", "output")),
}
"""The kinds of call whose content grows by one text: its field, and the others, which must be absent."""


_ABSENT: Final = len(ToolCallDelta.__struct_fields__) - len(("index", "id", "type", "content"))
"""How many fields a tool call's delta lacks where it has those four and no other."""


def piece_of_step(step: Growing[RunStep], body: RunStepDeltaBody) -> Addition | None:
    """Return the text of a step that `body` adds one piece to, and the piece; None where it is anything else."""
    details = body.step_details
    if type(details) is not StepDetailsDelta or details.type != "tool_calls":
        return None
    if details.message_creation is not UNSET or details.activities is not UNSET:
        return None
    entries = details.tool_calls
    if not entries or len(entries) > 1:
        return None
    entry = entries[0]
    if type(entry) is not ToolCallDelta:
        return None
    slot = step.slots.get(entry.index)
    if slot is None or entry.type != slot["type"] or (entry.id is not UNSET and entry.id != slot["id"]):
        return None
    return _piece_of_call(slot, entry)


def _piece_of_call(slot: Node, entry: ToolCallDelta) -> Addition | None:
    kind = slot["type"]
    content, node = getattr(entry, kind), slot.get(kind)
    if not content or type(node) is not Node or astuple(entry).count(UNSET) != _ABSENT + (entry.id is UNSET):
        return None
    field, others = TEXTS[kind]
    for other in others:
        if getattr(content, other) is not UNSET:
            is_output = kind == "code_interpreter" and content.input is UNSET
            return _piece_of_logs(node, content) if is_output else None
    return _addition(node.get(field), getattr(content, field))


def _piece_of_logs(node: Node, content: CodeInterpreterDelta) -> Addition | None:
    outputs, have = content.outputs, node.get("outputs")
    if not outputs or len(outputs) > 1 or type(have) is not Indexed:
        return None
    output = outputs[0]
    if type(output) is not CodeOutputDelta or output.type != "logs" or output.image is not UNSET:
        return None
    slot = have.get(output.index)
    if slot is None or slot.get("type") != "logs":
        return None
    return _addition(slot.get("logs"), output.logs)


def piece_of_message(message: Growing[Message], body: MessageDeltaBody) -> Addition | None:
    """Return the text of a message that `body` adds one piece to, and the piece; None where it is anything else."""
    content = body.content
    if not content or len(content) > 1 or body.role is not UNSET:
        return None
    part = content[0]
    if type(part) is not ContentDelta or part.type != "text" or not part.text or part.text.annotations:
        return None
    if part.image_file is not UNSET or part.image_url is not UNSET or part.refusal is not UNSET:
        return None
    have = message.tree.get("content")
    slot = have.get(part.index) if type(have) is Indexed else None
    if slot is None or slot.get("type") != "text" or type(slot.get("text")) is not Node:
        return None
    if part.text.annotations is not UNSET and "annotations" not in slot["text"]:
        return None
    return _addition(slot["text"].get("value"), part.text.value)


def _addition(have: object, piece: object) -> Addition | None:
    return (have, piece) if type(have) is Pieces and type(piece) is str else None
