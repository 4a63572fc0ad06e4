"""The deltas of a stream: additions to a step or a message. The entry of a list has its position in `index`."""

from typing import TYPE_CHECKING, Annotated, Final, TypeAlias

import msgspec
from msgspec import UNSET, Meta

from stepstream.wire.base import Maybe, Unknown, WireObject
from stepstream.wire.messages import Annotation, Content, Text
from stepstream.wire.objects import Reasoning, ReasoningText, StepDetails
from stepstream.wire.tool_calls import CodeInterpreter, CodeOutput, Shell, ShellCommand, ShellOutput, ToolCall

MAX_INDEX: Final = 1023

Index: TypeAlias = Annotated[int, Meta(ge=0, le=MAX_INDEX)]
"""The position of an entry in its list."""


class CodeOutputDelta(CodeOutput, frozen=True, kw_only=True):
    """An addition to one output of code."""

    index: Index


class AnnotationDelta(Annotation, frozen=True, kw_only=True):
    """An addition to one annotation."""

    index: Index


if TYPE_CHECKING:
    AnyCodeOutputDelta: TypeAlias = CodeOutputDelta | Unknown
    AnyAnnotationDelta: TypeAlias = AnnotationDelta | Unknown
else:
    AnyCodeOutputDelta, AnyAnnotationDelta = CodeOutputDelta, AnnotationDelta


class CodeInterpreterDelta(CodeInterpreter, frozen=True):
    """An addition to code that is run: more source text, more outputs."""

    outputs: Maybe[tuple[AnyCodeOutputDelta, ...]] = UNSET


class ShellCommandDelta(ShellCommand, frozen=True, kw_only=True):
    """An addition to one command."""

    index: Index


class ShellOutputDelta(ShellOutput, frozen=True, kw_only=True):
    """An addition to what one command wrote."""

    index: Index


class ShellDelta(Shell, frozen=True):
    """An addition to a shell call: more of its commands, more of what they wrote."""

    commands: Maybe[tuple[ShellCommandDelta, ...]] = UNSET
    outputs: Maybe[tuple[ShellOutputDelta, ...]] = UNSET


class ToolCallDelta(ToolCall, frozen=True, kw_only=True):
    """An addition to one tool call."""

    index: Index
    code_interpreter: Maybe[CodeInterpreterDelta] = UNSET
    shell: Maybe[ShellDelta] = UNSET


if TYPE_CHECKING:
    AnyToolCallDelta: TypeAlias = ToolCallDelta | Unknown
else:
    AnyToolCallDelta = ToolCallDelta


class ReasoningTextDelta(ReasoningText, frozen=True, kw_only=True):
    """An addition to one part of what a model thought."""

    index: Index


if TYPE_CHECKING:
    AnyReasoningTextDelta: TypeAlias = ReasoningTextDelta | Unknown
else:
    AnyReasoningTextDelta = ReasoningTextDelta


class ReasoningDelta(Reasoning, frozen=True):
    """An addition to what a model thought."""

    summary: Maybe[tuple[AnyReasoningTextDelta, ...]] = UNSET
    content: Maybe[tuple[AnyReasoningTextDelta, ...]] = UNSET


class StepDetailsDelta(StepDetails, frozen=True):
    """An addition to the details of a step."""

    tool_calls: Maybe[tuple[AnyToolCallDelta, ...]] = UNSET
    reasoning: Maybe[ReasoningDelta] = UNSET


if TYPE_CHECKING:
    AnyStepDetailsDelta: TypeAlias = StepDetailsDelta | Unknown
else:
    AnyStepDetailsDelta = StepDetailsDelta


class RunStepDeltaBody(WireObject, frozen=True):
    """What was added to a step. Other keys than `step_details` do not belong here and are not read."""

    step_details: Maybe[AnyStepDetailsDelta] = UNSET


class RunStepDelta(WireObject, frozen=True):
    """The data of `thread.run.step.delta`: the step's id and what was added to it."""

    id: str
    delta: RunStepDeltaBody | None
    object: Maybe[str] = UNSET


class TextDelta(Text, frozen=True):
    """An addition to a text."""

    annotations: Maybe[tuple[AnyAnnotationDelta, ...]] = UNSET


class ContentDelta(Content, frozen=True, kw_only=True):
    """An addition to one part of a message."""

    index: Index
    text: Maybe[TextDelta] = UNSET


if TYPE_CHECKING:
    AnyContentDelta: TypeAlias = ContentDelta | Unknown
else:
    AnyContentDelta = ContentDelta


class MessageDeltaBody(WireObject, frozen=True):
    """What was added to a message."""

    role: Maybe[str] = UNSET
    content: Maybe[tuple[AnyContentDelta, ...]] = UNSET


class MessageDelta(WireObject, frozen=True):
    """The data of `thread.message.delta`: the message's id and what was added to it."""

    id: str
    delta: MessageDeltaBody | None
    object: Maybe[str] = UNSET


class _Sent(msgspec.Struct):
    delta: msgspec.Raw


_decode_sent: Final = msgspec.json.Decoder(_Sent).decode


_IN_ONE_LINE: Final = bytes.maketrans(b"\r\n", b"  ")  # a line end can only stand between two tokens


def delta_as_sent(payload: bytes) -> bytes:
    """Return what stands under `delta` in the payload of such an event, as JSON in one line, unknown keys included."""
    try:
        delta = _decode_sent(payload).delta
    except msgspec.ValidationError:  # the event was encoded twice: its data is a JSON string
        delta = _decode_sent(msgspec.json.decode(payload, type=str)).delta
    return bytes(delta).translate(_IN_ONE_LINE)
