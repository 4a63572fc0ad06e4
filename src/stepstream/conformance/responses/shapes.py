"""The fields of every event, response, item and part: which are required, which may be null, of what type each is.

From the types of openai-python and from what servers send. Where they differ, the wire wins: only what OpenAI and Azure
always send is required. Keys that no table names are not looked at, nor are items and parts of a type that none names.
"""

from collections.abc import Mapping
from typing import Final

from stepstream.conformance.shapes import INTEGER, OBJECT, STRING, TIME, Field, Fields, Shape

LIST: Final = Field(("list",))
NULLABLE_TEXT: Final = Field(("string",), required=False, nullable=True)
NULLABLE_LIST: Final = Field(("list",), required=False, nullable=True)
NUMBER: Final = Field(("integer",), required=False)


def _maybe(*types: str, shape: Shape | None = None) -> Field:
    return Field(types, required=False, nullable=True, shape=shape)


def _list_of(shape: Shape) -> Field:
    return Field(("list",), shape=shape)


PART: Final = Shape(
    {"type": STRING},
    {
        "output_text": {"text": STRING, "annotations": _list_of(Shape({"type": STRING}))},
        "refusal": {"refusal": STRING},
        "reasoning_text": {"text": STRING},
        "summary_text": {"text": STRING},
    },
)

_CALL: Final[Fields] = {"call_id": STRING, "name": STRING}
_ASKED: Final[Fields] = {"name": STRING, "arguments": STRING, "server_label": STRING}

ITEM: Final = Shape(
    {"id": STRING, "type": STRING, "status": NULLABLE_TEXT},
    {
        "message": {"role": STRING, "status": STRING, "content": _list_of(PART)},
        "function_call": {**_CALL, "arguments": STRING},
        "custom_tool_call": {**_CALL, "input": STRING},
        "reasoning": {
            "summary": _list_of(PART),
            "content": Field(("list",), required=False, nullable=True, shape=PART),
        },
        "code_interpreter_call": {"code": NULLABLE_TEXT, "outputs": NULLABLE_LIST},
        "file_search_call": {"queries": LIST, "results": NULLABLE_LIST},
        "mcp_call": _ASKED,
        "mcp_approval_request": _ASKED,
        "mcp_list_tools": {"server_label": STRING, "tools": LIST},
        "apply_patch_call": {"call_id": STRING, "operation": OBJECT},
        "shell_call": {"call_id": STRING, "action": OBJECT},
        "local_shell_call": {"call_id": STRING, "action": OBJECT},
    },
)

USAGE: Final = Shape({"input_tokens": INTEGER, "output_tokens": INTEGER, "total_tokens": INTEGER})
ERROR: Final = Shape({"code": Field(("string",), nullable=True), "message": STRING})
RESPONSE: Final = Shape(
    {
        "id": STRING,
        "object": STRING,
        "created_at": TIME,
        "status": STRING,
        "model": STRING,
        "output": _list_of(ITEM),
        "completed_at": _maybe("time"),
        "error": _maybe("object", shape=ERROR),
        "incomplete_details": _maybe("object"),
        "metadata": _maybe("object"),
        "previous_response_id": _maybe("string"),
        "tools": _maybe("list", shape=Shape({"type": STRING})),
        "usage": _maybe("object", shape=USAGE),
    }
)

_ABOUT_ITEM: Final[Fields] = {"output_index": INTEGER, "item_id": STRING}
_ABOUT_PART: Final[Fields] = {**_ABOUT_ITEM, "content_index": INTEGER}
_ABOUT_SUMMARY: Final[Fields] = {**_ABOUT_ITEM, "summary_index": INTEGER}
_ABOUT_COMMAND: Final[Fields] = {"output_index": INTEGER, "command_index": INTEGER}
_PART: Final[Fields] = {"part": Field(("object",), shape=PART)}
_ITEM: Final[Fields] = {"output_index": INTEGER, "item": Field(("object",), shape=ITEM)}

LIFECYCLE: Final[Mapping[str, frozenset[str]]] = {
    "response.created": frozenset({"queued", "in_progress"}),
    "response.queued": frozenset({"queued"}),
    "response.in_progress": frozenset({"in_progress"}),
    "response.completed": frozenset({"completed"}),
    "response.incomplete": frozenset({"incomplete"}),
    "response.failed": frozenset({"failed"}),
}
"""The events that carry the response, and the statuses that it may have in them."""

OTHER_ENDS: Final = frozenset({"response.cancelled", "response.done"})
"""Events that end a response at some servers, though the protocol does not have them."""

OPENING: Final = frozenset({"response.created", "response.queued", "response.in_progress"})

STATUSES: Final = frozenset({"queued", "in_progress", "completed", "incomplete", "failed", "cancelled"})

TEXT_EVENTS: Final[Mapping[str, tuple[Fields, str]]] = {
    "response.output_text": (_ABOUT_PART, "text"),
    "response.refusal": (_ABOUT_PART, "refusal"),
    "response.reasoning_text": (_ABOUT_PART, "text"),
    "response.reasoning_summary_text": (_ABOUT_SUMMARY, "text"),
    "response.function_call_arguments": (_ABOUT_ITEM, "arguments"),
    "response.mcp_call_arguments": (_ABOUT_ITEM, "arguments"),
    "response.custom_tool_call_input": (_ABOUT_ITEM, "input"),
    "response.code_interpreter_call_code": (_ABOUT_ITEM, "code"),
    "response.apply_patch_call_operation_diff": (_ABOUT_ITEM, "diff"),
    "response.shell_call_command": (_ABOUT_COMMAND, "command"),
}
"""The texts, by their events without the last word: what those say of the place, and the key of the whole text."""

PHASES: Final[Mapping[str, tuple[str, ...]]] = {
    "code_interpreter_call": ("in_progress", "interpreting", "completed"),
    "compaction": ("compacting",),
    "file_search_call": ("in_progress", "searching", "completed"),
    "image_generation_call": ("in_progress", "generating", "partial_image", "completed"),
    "mcp_call": ("in_progress", "completed", "failed"),
    "mcp_list_tools": ("in_progress", "completed", "failed"),
    "web_search_call": ("in_progress", "searching", "completed"),
}
"""How far a call is, by the item's type: the last words of the events that say so."""

PHASE_EVENTS: Final[Mapping[str, str]] = {
    f"response.{kind}.{phase}": kind for kind, phases in PHASES.items() for phase in phases
}

EVENTS: Final[Mapping[str, Shape]] = {
    **dict.fromkeys(LIFECYCLE, Shape({"response": Field(("object",), shape=RESPONSE)})),
    "response.output_item.added": Shape(_ITEM),
    "response.output_item.done": Shape(_ITEM),
    "response.content_part.added": Shape({**_ABOUT_PART, **_PART}),
    "response.content_part.done": Shape({**_ABOUT_PART, **_PART}),
    "response.reasoning_summary_part.added": Shape({**_ABOUT_SUMMARY, **_PART}),
    "response.reasoning_summary_part.done": Shape({**_ABOUT_SUMMARY, **_PART}),
    "response.output_text.annotation.added": Shape(
        {**_ABOUT_PART, "annotation_index": INTEGER, "annotation": Field(("object",), required=False)}
    ),
    "response.shell_call_command.added": Shape(_ABOUT_COMMAND),
    "response.shell_call_output_content.delta": Shape({**_ABOUT_ITEM, "command_index": INTEGER, "delta": OBJECT}),
    "response.shell_call_output_content.done": Shape({**_ABOUT_ITEM, "command_index": INTEGER, "output": LIST}),
    **{f"{name}.delta": Shape({**place, "delta": STRING}) for name, (place, _) in TEXT_EVENTS.items()},
    **{f"{name}.done": Shape({**place, key: STRING}) for name, (place, key) in TEXT_EVENTS.items()},
    **dict.fromkeys(PHASE_EVENTS, Shape(_ABOUT_ITEM)),
    "response.audio.delta": Shape({"delta": STRING}),
    "response.audio.done": Shape({}),
    "response.audio.transcript.delta": Shape({"delta": STRING}),
    "response.audio.transcript.done": Shape({}),
    "error": Shape({"message": STRING, "code": _maybe("string", "integer"), "param": _maybe("string")}),
    "keepalive": Shape({}),
}
"""Every event, and its fields beside type and sequence_number."""
