"""The fields of every object on the wire: which are required, which may be null, and of what type each is.

From the published API; where servers send other things, the wire wins: steps have `expires_at` but neither
`expired_at` nor `metadata`, runs may leave out `parallel_tool_calls` and have null `instructions`. Keys that no table
names are not looked at, nor is what lies under a `type` that none names.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple, TypeAlias

from stepstream.wire.events import MESSAGE_EVENTS, RUN_EVENTS, STEP_EVENTS

Fields: TypeAlias = Mapping[str, "Field"]


class Shape(NamedTuple):
    """The fields of an object, and those that it has beside them by its `type`."""

    fields: Fields
    kinds: Mapping[str, Fields] = {}


class Field(NamedTuple):
    """What a field may hold. `shape` is that of its object, or of the objects in its list."""

    types: tuple[str, ...]
    required: bool = True
    nullable: bool = False
    shape: Shape | None = None


def _may_be_null(*types: str, shape: Shape | None = None) -> Field:
    return Field(types, nullable=True, shape=shape)


def _optional(*types: str, nullable: bool = True, shape: Shape | None = None) -> Field:
    return Field(types, required=False, nullable=nullable, shape=shape)


STRING: Final = Field(("string",))
INTEGER: Final = Field(("integer",))
TIME: Final = Field(("time",))
OBJECT: Final = Field(("object",))
SOMETIME: Final = _may_be_null("time")
PIECE: Final = _optional("string", nullable=False)


def _holding(shape: Shape) -> Field:
    return Field(("object",), shape=shape)


def _list_of(shape: Shape) -> Field:
    return Field(("list",), shape=shape)


ERROR: Final = Shape({"code": STRING, "message": STRING})
ERROR_DATA: Final = Shape(
    {
        "message": STRING,
        "code": _optional("string", "integer"),
        "type": _optional("string"),
        "param": _optional("string"),
    }
)
REASON: Final = Shape({"reason": PIECE})
USAGE: Final = Shape({"prompt_tokens": INTEGER, "completion_tokens": INTEGER, "total_tokens": INTEGER})

OUTPUT: Final = Shape(
    {"type": STRING}, {"logs": {"logs": STRING}, "image": {"image": _holding(Shape({"file_id": STRING}))}}
)
FUNCTION: Final = Shape({"name": STRING, "arguments": STRING, "output": _may_be_null("string")})
CALL: Final = Shape(
    {"id": STRING, "type": STRING},
    {
        "function": {"function": _holding(FUNCTION)},
        "code_interpreter": {"code_interpreter": _holding(Shape({"input": STRING, "outputs": _list_of(OUTPUT)}))},
        "file_search": {"file_search": OBJECT},
    },
)
DETAILS: Final = Shape(
    {"type": STRING},
    {
        "message_creation": {"message_creation": _holding(Shape({"message_id": STRING}))},
        "tool_calls": {"tool_calls": _list_of(CALL)},
    },
)
STEP: Final = Shape(
    {
        "id": STRING,
        "object": STRING,
        "created_at": TIME,
        "run_id": STRING,
        "assistant_id": STRING,
        "thread_id": STRING,
        "type": STRING,
        "status": STRING,
        "cancelled_at": SOMETIME,
        "completed_at": SOMETIME,
        "expires_at": SOMETIME,
        "failed_at": SOMETIME,
        "expired_at": _optional("time"),
        "last_error": _may_be_null("object", shape=ERROR),
        "step_details": _holding(DETAILS),
        "usage": _may_be_null("object", shape=USAGE),
        "metadata": _optional("object"),
    }
)

ASKED: Final = Shape(
    {"id": STRING, "type": STRING},
    {"function": {"function": _holding(Shape({"name": STRING, "arguments": STRING}))}},
)
REQUIRED_ACTION: Final = Shape(
    {"type": STRING},
    {
        "submit_tool_outputs": {"submit_tool_outputs": _holding(Shape({"tool_calls": _list_of(ASKED)}))},
        "submit_tool_approval": {"submit_tool_approval": _holding(Shape({"tool_calls": _list_of(ASKED)}))},
    },
)
RUN: Final = Shape(
    {
        "id": STRING,
        "object": STRING,
        "created_at": TIME,
        "thread_id": STRING,
        "assistant_id": STRING,
        "status": STRING,
        "required_action": _may_be_null("object", shape=REQUIRED_ACTION),
        "last_error": _may_be_null("object", shape=ERROR),
        "expires_at": SOMETIME,
        "started_at": SOMETIME,
        "cancelled_at": SOMETIME,
        "failed_at": SOMETIME,
        "completed_at": SOMETIME,
        "model": STRING,
        "instructions": _may_be_null("string"),
        "tools": _list_of(Shape({"type": STRING})),
        "metadata": _may_be_null("object"),
        "usage": _may_be_null("object", shape=USAGE),
        "incomplete_details": _may_be_null("object", shape=REASON),
        "max_prompt_tokens": _may_be_null("integer"),
        "max_completion_tokens": _may_be_null("integer"),
        "truncation_strategy": _may_be_null("object"),
        "tool_choice": _may_be_null("string", "object"),
        "response_format": _may_be_null("string", "object"),
        "parallel_tool_calls": _optional("boolean"),
        "temperature": _optional("number"),
        "top_p": _optional("number"),
        "tool_resources": _optional("object"),
        "reasoning_effort": _optional("string"),
        "file_ids": _optional("list"),
    }
)

ANNOTATION: Final = Shape({"type": STRING, "text": STRING, "start_index": INTEGER, "end_index": INTEGER})
CONTENT: Final = Shape(
    {"type": STRING},
    {
        "text": {"text": _holding(Shape({"value": STRING, "annotations": _list_of(ANNOTATION)}))},
        "image_file": {"image_file": _holding(Shape({"file_id": STRING}))},
        "image_url": {"image_url": _holding(Shape({"url": STRING}))},
        "refusal": {"refusal": STRING},
    },
)
MESSAGE: Final = Shape(
    {
        "id": STRING,
        "object": STRING,
        "created_at": TIME,
        "thread_id": STRING,
        "status": STRING,
        "incomplete_details": _may_be_null("object", shape=REASON),
        "completed_at": SOMETIME,
        "incomplete_at": SOMETIME,
        "role": STRING,
        "content": _list_of(CONTENT),
        "assistant_id": _may_be_null("string"),
        "run_id": _may_be_null("string"),
        "attachments": _may_be_null("list"),
        "metadata": _may_be_null("object"),
    }
)
THREAD: Final = Shape(
    {
        "id": STRING,
        "object": STRING,
        "created_at": TIME,
        "tool_resources": _may_be_null("object"),
        "metadata": _may_be_null("object"),
    }
)

_FUNCTION_PIECE: Final = Shape({"name": PIECE, "arguments": PIECE, "output": _optional("string")})
_CALL_PIECE: Final = Shape(
    {"id": PIECE, "type": STRING},
    {"function": {"function": _optional("object", nullable=False, shape=_FUNCTION_PIECE)}},
)
_DETAILS_PIECE: Final = Shape({"type": STRING, "tool_calls": _optional("list", shape=_CALL_PIECE)})
STEP_DELTA: Final = Shape(
    {
        "id": STRING,
        "object": STRING,
        "delta": _holding(Shape({"step_details": _optional("object", shape=_DETAILS_PIECE)})),
    }
)
MESSAGE_DELTA: Final = Shape(
    {
        "id": STRING,
        "object": STRING,
        "delta": _holding(Shape({"role": PIECE, "content": _optional("list", shape=Shape({"type": STRING}))})),
    }
)


class Kind(NamedTuple):
    """What an event carries: the kind of object it is about, the constant under `object`, the fields."""

    name: str
    constant: str
    shape: Shape
    is_delta: bool = False


KINDS: Final[Mapping[str, Kind]] = {
    "thread.created": Kind("thread", "thread", THREAD),
    **dict.fromkeys(RUN_EVENTS, Kind("run", "thread.run", RUN)),
    **dict.fromkeys(STEP_EVENTS, Kind("step", "thread.run.step", STEP)),
    "thread.run.step.delta": Kind("step", "thread.run.step.delta", STEP_DELTA, is_delta=True),
    **dict.fromkeys(MESSAGE_EVENTS, Kind("message", "thread.message", MESSAGE)),
    "thread.message.delta": Kind("message", "thread.message.delta", MESSAGE_DELTA, is_delta=True),
}
"""What each event with an object carries."""

KIND_OF: Final[Mapping[str, str]] = {kind.constant: kind.name for kind in KINDS.values()}
"""The kind of object that each constant under `object` is about."""
