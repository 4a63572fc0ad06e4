"""Tables over the structs: where objects of several kinds stand, which kinds are known, which lists have an index."""

from collections.abc import Iterator, Mapping
from typing import Any, Final, get_args

from stepstream.wire import deltas, messages, objects, tool_calls
from stepstream.wire.base import WireObject

PARTS: Final[Mapping[type[WireObject], Mapping[str, type[WireObject]]]] = {
    objects.RunStep: {"step_details": objects.StepDetails},
    objects.StepDetails: {
        "tool_calls": tool_calls.ToolCall,
        "activities": objects.Activity,
        "reasoning": objects.Reasoning,
    },
    objects.Reasoning: {"summary": objects.ReasoningText, "content": objects.ReasoningText},
    tool_calls.ToolCall: {"code_interpreter": tool_calls.CodeInterpreter, "shell": tool_calls.Shell},
    tool_calls.CodeInterpreter: {"outputs": tool_calls.CodeOutput},
    tool_calls.Shell: {"commands": tool_calls.ShellCommand, "outputs": tool_calls.ShellOutput},
    objects.Run: {"required_action": objects.RequiredAction},
    objects.RequiredAction: {
        "submit_tool_outputs": objects.RequiredCalls,
        "submit_tool_approval": objects.RequiredCalls,
    },
    objects.RequiredCalls: {"tool_calls": tool_calls.ToolCall},
    messages.Message: {"content": messages.Content},
    messages.Content: {"text": messages.Text},
    messages.Text: {"annotations": messages.Annotation},
    deltas.RunStepDelta: {"delta": deltas.RunStepDeltaBody},
    deltas.RunStepDeltaBody: {"step_details": deltas.StepDetailsDelta},
    deltas.StepDetailsDelta: {
        "tool_calls": deltas.ToolCallDelta,
        "activities": objects.Activity,
        "reasoning": deltas.ReasoningDelta,
    },
    deltas.ReasoningDelta: {"summary": deltas.ReasoningTextDelta, "content": deltas.ReasoningTextDelta},
    deltas.ToolCallDelta: {"code_interpreter": deltas.CodeInterpreterDelta, "shell": deltas.ShellDelta},
    deltas.CodeInterpreterDelta: {"outputs": deltas.CodeOutputDelta},
    deltas.ShellDelta: {"commands": deltas.ShellCommandDelta, "outputs": deltas.ShellOutputDelta},
    deltas.MessageDelta: {"delta": deltas.MessageDeltaBody},
    deltas.MessageDeltaBody: {"content": deltas.ContentDelta},
    deltas.ContentDelta: {"text": deltas.TextDelta},
    deltas.TextDelta: {"annotations": deltas.AnnotationDelta},
}
"""The parts of a struct that may be, or may hold, objects of a kind unknown to this version, or lists by index."""

_TYPES: Final[Mapping[type[WireObject], Any]] = {
    objects.StepDetails: objects.StepType,
    objects.Activity: objects.ActivityType,
    objects.ReasoningText: objects.ReasoningType,
    objects.RequiredAction: objects.ActionType,
    tool_calls.ToolCall: tool_calls.ToolType,
    tool_calls.CodeOutput: tool_calls.OutputType,
    messages.Content: messages.ContentType,
    messages.Annotation: messages.AnnotationType,
    deltas.StepDetailsDelta: objects.StepType,
    deltas.ReasoningTextDelta: objects.ReasoningType,
    deltas.ToolCallDelta: tool_calls.ToolType,
    deltas.CodeOutputDelta: tool_calls.OutputType,
    deltas.ContentDelta: messages.ContentType,
    deltas.AnnotationDelta: messages.AnnotationType,
}

KINDS: Final[Mapping[type[WireObject], frozenset[str]]] = {
    struct: frozenset(get_args(types)) for struct, types in _TYPES.items()
}
"""The values of `type` that a struct is for. An object of another type is an `Unknown`."""


def _structs(root: type[WireObject]) -> Iterator[type[WireObject]]:
    for struct in root.__subclasses__():
        yield struct
        yield from _structs(struct)


FIELDS: Final[Mapping[type[WireObject], frozenset[str]]] = {
    struct: frozenset(struct.__struct_fields__) for struct in _structs(WireObject)
}
"""The fields of every struct above."""

FULL: Final[Mapping[type[WireObject], type[WireObject]]] = {
    deltas.StepDetailsDelta: objects.StepDetails,
    deltas.ReasoningDelta: objects.Reasoning,
    deltas.ReasoningTextDelta: objects.ReasoningText,
    deltas.ToolCallDelta: tool_calls.ToolCall,
    deltas.CodeInterpreterDelta: tool_calls.CodeInterpreter,
    deltas.CodeOutputDelta: tool_calls.CodeOutput,
    deltas.ShellDelta: tool_calls.Shell,
    deltas.ShellCommandDelta: tool_calls.ShellCommand,
    deltas.ShellOutputDelta: tool_calls.ShellOutput,
    deltas.ContentDelta: messages.Content,
    deltas.TextDelta: messages.Text,
    deltas.AnnotationDelta: messages.Annotation,
}
"""The struct that a delta's additions build."""

INDEXED: Final = frozenset({"tool_calls", "outputs", "content", "annotations", "summary", "commands"})
"""The fields of the structs above whose entries have their position in `index`, in a delta."""


LISTS: Final = INDEXED | {"activities"}
"""The fields of the structs above that are lists."""


def is_known(struct: type[WireObject], raw: Mapping[str, Any]) -> bool:
    """Return whether `raw` is of a kind that `struct` is for. Without a type its keys decide: most kinds have one."""
    kinds = KINDS.get(struct)
    if kinds is None:
        return True
    kind = raw.get("type")
    if kind is None:
        return raw.keys() <= FIELDS[struct] or not kinds.isdisjoint(raw)
    return kind in kinds if isinstance(kind, str) else True  # a type that is no string is for the checks to refuse
