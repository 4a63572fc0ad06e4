"""The usual delta, folded from the bytes of its data: what `grow` does, without an event, and mostly without a change.

A delta that is not usual, whatever is unusual about it, is left to the rules that all events go by.
"""

from collections.abc import Container, Sequence
from typing import Any, Protocol

import msgspec
from msgspec import UNSET

from stepstream.fold.changes import Change
from stepstream.fold.growing import Growing
from stepstream.fold.stream import StreamFold
from stepstream.fold.tree import Indexed, Node, Pieces
from stepstream.wire.messages import Message
from stepstream.wire.objects import RunStep
from stepstream.wire.usual import USUAL, UsualCall, UsualMessageDelta, UsualStepDelta


class Audience(Protocol):
    """Those who are told what a stream does."""

    @property
    def wanted(self) -> Container[type[Change]]:
        """The classes of change that somebody may want."""

    def is_wanted(self, kind: type[Change], growing: Growing[Any]) -> bool:
        """Tell whether anybody may want that kind of progress of an object."""

    def hear(self, change: Change) -> bool:
        """Take a change, and tell whether there is no room for more just now."""


class UsualFold:
    """The usual deltas of one stream."""

    __slots__ = ("_audience", "_kinds", "_of", "_stream")

    def __init__(self, stream: StreamFold, audience: Audience) -> None:
        self._stream = stream
        self._audience = audience
        self._kinds = audience.wanted
        self._of: dict[str, tuple[Any, ...]] = {
            event: (USUAL[event], grow, side.known, side.touched, side.progress)
            for event, grow, side in (
                ("thread.run.step.delta", _grow_call, stream.steps),
                ("thread.message.delta", _grow_text, stream.messages),
            )
        }

    def apply(self, event: str, found: Sequence[object], start: int = 0) -> int:
        """Fold the data of deltas, `found` from `start` on, and return the place of the first that is not folded.

        That is one which is not usual, or the next after one for which the audience had no more room. Progress is
        made, and heard, only where it is wanted.
        """
        stream, audience, kinds = self._stream, self._audience, self._kinds
        decode, grow, known, touched, progress = self._of[event]
        before, place = stream.sequence - start, start
        identifier, growing, wanted = None, None, False
        try:
            for data in found[start:] if start else found:
                if type(data) is not bytes:
                    break
                delta = decode(data)
                if delta.id != identifier:
                    identifier = delta.id
                    growing = known.get(identifier)
                    if growing is None or growing.ended or identifier not in touched:
                        break
                    wanted = progress in kinds and audience.is_wanted(progress, growing)
                if not grow(growing, delta):
                    break
                place += 1
                if wanted and audience.hear(
                    progress(event, before + place, stream.context, UNSET, False, growing, data)
                ):
                    break
        except (msgspec.DecodeError, UnicodeDecodeError):
            pass  # it is not that form: the rules for all events see to it
        stream.sequence = before + place
        return place


def _grow_call(step: Growing[RunStep], delta: UsualStepDelta) -> bool:
    """Add a piece to a text of a step's call. Return whether there is one."""
    (entry,) = delta.delta.step_details.tool_calls
    slot = step.slots.get(entry.index)
    kind = entry.type
    if slot is None or kind != slot["type"] or (entry.id is not UNSET and entry.id != slot["id"]):
        return False
    if kind == "function":
        node, content = slot.get("function"), entry.function
        have = node.get("arguments") if type(node) is Node else None
        if type(have) is not Pieces or content is UNSET or entry.code_interpreter is not UNSET:
            return False
        step.kept = None
        have.append(content.arguments)
        return True
    return kind == "code_interpreter" and _grow_code(step, slot.get("code_interpreter"), entry)


def _grow_code(step: Growing[RunStep], node: object, entry: UsualCall) -> bool:
    content = entry.code_interpreter
    if content is UNSET or type(node) is not Node or entry.function is not UNSET:
        return False
    if content.input is not UNSET:
        return content.outputs is UNSET and _append(step, node.get("input"), content.input)
    have = node.get("outputs")
    if content.outputs is UNSET or type(have) is not Indexed:
        return False
    (output,) = content.outputs
    slot = have.get(output.index)
    return slot is not None and slot.get("type") == "logs" and _append(step, slot.get("logs"), output.logs)


def _grow_text(message: Growing[Message], delta: UsualMessageDelta) -> bool:
    """Add a piece to a text of a message. Return whether there is one."""
    (part,) = delta.delta.content
    have = message.tree.get("content")
    slot = have.get(part.index) if type(have) is Indexed else None
    if slot is None or slot.get("type") != "text" or type(slot.get("text")) is not Node:
        return False
    return _append(message, slot["text"].get("value"), part.text.value)


def _append(growing: Growing[Any], have: object, piece: str) -> bool:
    if type(have) is not Pieces:
        return False
    growing.kept = None
    have.append(piece)
    return True
