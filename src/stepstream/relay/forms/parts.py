"""What a user interface shows of a run, as parts that open, grow and close: texts, thoughts, tool calls."""

from collections.abc import Iterator
from typing import Any, Final, Literal, TypeAlias

from stepstream.relay.forms.calls import APPROVAL
from stepstream.wire.base import Unknown
from stepstream.wire.messages import Content, Message
from stepstream.wire.objects import ReasoningText, RunStep, StepDetails
from stepstream.wire.tool_calls import NAMED, AnyToolCall, ToolCall

PartKind: TypeAlias = Literal["text", "reasoning", "call"]

THOUGHTS: Final = ("summary", "content")
"""The lists of texts that a reasoning step has."""


class Part:
    """A part of a run while it is open, and what was said of it."""

    __slots__ = ("call_type", "id", "is_final", "kind", "name", "owner", "pieces")

    def __init__(self, kind: PartKind, identifier: str, owner: str, call_type: str = "", name: str = "") -> None:
        self.kind = kind
        self.id = identifier
        self.owner = owner
        """The id of its message or step."""
        self.call_type = call_type
        self.name = name
        """Of a call, the name of what is called."""
        self.pieces: list[str] = []
        self.is_final = False
        """Of a call: whether its input was said to be whole. Its result may be to come."""

    @property
    def text(self) -> str:
        """What was said of its text, or of its input."""
        return "".join(self.pieces)

    def __repr__(self) -> str:
        return f"<Part {self.kind} {self.id}>"


def numbered(identifier: str, index: int) -> str:
    """Return the id of one of several texts: the first has that of its message or step."""
    return f"{identifier}/{index}" if index else identifier


def texts_of_message(message: Message) -> Iterator[tuple[int, str]]:
    """Yield the index and the text of each part of a message that has one."""
    for index, content in enumerate(message.content or ()):
        text = text_of(content)
        if text is not None:
            yield index, text


def text_of(content: object) -> str | None:
    """Return the text, or the refusal, of a part of a message or its delta; None where it is none."""
    if not isinstance(content, Content):
        return None
    return (content.text.value or "") if content.text else content.refusal or None


def thought_id(step_id: str, kind: str, index: int) -> str:
    """Return the id of one text of a reasoning step."""
    return numbered(step_id if kind == THOUGHTS[0] else f"{step_id}/{kind}", index)


def texts_of_step(step: RunStep) -> Iterator[tuple[str, str]]:
    """Yield the id and the text of each thought of a step."""
    details = step.step_details
    thoughts = details.reasoning if isinstance(details, StepDetails) else None
    for kind in THOUGHTS if thoughts else ():
        for index, one in enumerate(getattr(thoughts, kind) or ()):
            if isinstance(one, ReasoningText):
                yield thought_id(step.id, kind, index), one.text or ""


def calls_of(step: RunStep, *, is_over: bool) -> tuple[AnyToolCall, ...]:
    """Return the calls of a step that are known well enough to be shown: by id, kind and, where it has one, name.

    Once the step is over, the id will do.
    """
    details = step.step_details
    if step.type == APPROVAL and isinstance(details, Unknown):
        asked: Any = details.get(APPROVAL)
        found = asked if isinstance(asked, dict) else {}
        given = {key: found[key] for key in ("name", "arguments") if isinstance(found.get(key), str)}
        return (ToolCall(id=step.id, type="mcp", **given),)
    return tuple(call for call in step.tool_calls if is_known(call) or (is_over and call.id))


def is_known(call: AnyToolCall) -> bool:
    """Return whether it is known what a call calls."""
    return bool(call.id and call.type and (call.tool_name or call.type not in NAMED))


def message_of(step: RunStep) -> str:
    """Return the id of the message that a step writes; empty for other steps."""
    details = step.step_details
    creation = details.message_creation if isinstance(details, StepDetails) else None
    return (creation and creation.message_id) or ""
