"""A piece of a text as the delta that the fold knows: one function for each place where texts grow.

Made of structs at once, not of JSON: most events of a stream are pieces.
"""

from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

from stepstream.dialects.state import Item
from stepstream.wire.deltas import (
    CodeInterpreterDelta,
    ContentDelta,
    MessageDelta,
    MessageDeltaBody,
    ReasoningDelta,
    ReasoningTextDelta,
    RunStepDelta,
    RunStepDeltaBody,
    ShellCommandDelta,
    ShellDelta,
    StepDetailsDelta,
    TextDelta,
    ToolCallDelta,
)
from stepstream.wire.tool_calls import ApplyPatch, CustomCall, FunctionCall, PatchOperation

Grown: TypeAlias = MessageDelta | RunStepDelta


def _details(details: StepDetailsDelta, item: Item) -> RunStepDelta:
    return RunStepDelta(item.id, RunStepDeltaBody(details), "thread.run.step.delta")


def _call(item: Item, call: ToolCallDelta) -> RunStepDelta:
    return _details(StepDetailsDelta("tool_calls", tool_calls=(call,)), item)


def _content(item: Item, part: ContentDelta) -> MessageDelta:
    return MessageDelta(item.id, MessageDeltaBody(content=(part,)), "thread.message.delta")


def _text(item: Item, place: int, piece: str) -> MessageDelta:
    return _content(item, ContentDelta(type="text", text=TextDelta(piece), index=place))


def _refusal(item: Item, place: int, piece: str) -> MessageDelta:
    return _content(item, ContentDelta(type="refusal", refusal=piece, index=place))


def _thought(item: Item, place: int, piece: str) -> RunStepDelta:
    thought = (ReasoningTextDelta(type="reasoning_text", text=piece, index=place),)
    return _details(StepDetailsDelta("reasoning", reasoning=ReasoningDelta(content=thought)), item)


def _summary(item: Item, place: int, piece: str) -> RunStepDelta:
    summary = (ReasoningTextDelta(type="summary_text", text=piece, index=place),)
    return _details(StepDetailsDelta("reasoning", reasoning=ReasoningDelta(summary=summary)), item)


def _function(item: Item, place: int, piece: str) -> RunStepDelta:
    return _call(item, ToolCallDelta(type="function", function=FunctionCall(arguments=piece), index=0))


def _azure_function(item: Item, place: int, piece: str) -> RunStepDelta:
    return _call(item, ToolCallDelta(type="azure_function", azure_function=FunctionCall(arguments=piece), index=0))


def _openapi(item: Item, place: int, piece: str) -> RunStepDelta:
    return _call(item, ToolCallDelta(type="openapi", function=FunctionCall(arguments=piece), index=0))


def _mcp(item: Item, place: int, piece: str) -> RunStepDelta:
    return _call(item, ToolCallDelta(type="mcp", arguments=piece, index=0))


def _custom(item: Item, place: int, piece: str) -> RunStepDelta:
    return _call(item, ToolCallDelta(type="custom", custom=CustomCall(input=piece), index=0))


def _code(item: Item, place: int, piece: str) -> RunStepDelta:
    code = CodeInterpreterDelta(input=piece)
    return _call(item, ToolCallDelta(type="code_interpreter", code_interpreter=code, index=0))


def _diff(item: Item, place: int, piece: str) -> RunStepDelta:
    patch = ApplyPatch(operation=PatchOperation(diff=piece))
    return _call(item, ToolCallDelta(type="apply_patch", apply_patch=patch, index=0))


def _command(item: Item, place: int, piece: str) -> RunStepDelta:
    shell = ShellDelta(commands=(ShellCommandDelta(command=piece, index=place),))
    return _call(item, ToolCallDelta(type="shell", shell=shell, index=0))


PIECES: Final[Mapping[tuple[str, str], Callable[[Item, int, str], Grown]]] = {
    ("message", "text"): _text,
    ("message", "refusal"): _refusal,
    ("reasoning", "reasoning_text"): _thought,
    ("reasoning", "summary_text"): _summary,
    ("apply_patch_call", ""): _diff,
    ("azure_function_call", ""): _azure_function,
    ("code_interpreter_call", ""): _code,
    ("custom_tool_call", ""): _custom,
    ("function_call", ""): _function,
    ("mcp_call", ""): _mcp,
    ("openapi_call", ""): _openapi,
    ("shell_call", "command"): _command,
}
"""What makes the delta of a piece, by the type of the item and of the entry in its list."""


def delta_of(item: Item, kind: str, place: int, piece: str) -> Grown:
    """Return a piece of the entry of that kind at a place, or of the one text that a call has, as a delta."""
    return PIECES[item.type, kind](item, place, piece)
