import json
import time
import traceback
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from msgspec import UNSET

from stepstream.errors import DecodeError
from stepstream.wire.base import Unknown, WireObject
from stepstream.wire.deltas import MessageDelta, RunStepDelta
from stepstream.wire.depth import is_deeper
from stepstream.wire.events import Done, ErrorData, Event, Malformed, UnknownData, decode_event, read_again
from stepstream.wire.messages import Message
from stepstream.wire.objects import RequiredAction, Run, RunStep, Thread
from stepstream.wire.sse import Frame
from stepstream.wire.tool_calls import ToolCall

Wire = dict[str, Any]

CREATED = "thread.run.step.created"
DELTA = "thread.run.step.delta"


def decode(name: str, data: object) -> Event:
    return decode_event(Frame(name, json.dumps(data).encode()))


def canonical(value: object) -> str:
    """Return JSON that is the same text for the same JSON: 1 and 1.0 differ, the order of keys does not count."""
    return json.dumps(value, sort_keys=True)


def encoded(value: object) -> str:
    return canonical(json.loads(msgspec.json.encode(value)))


def tool_step(*calls: Wire, **fields: Any) -> Wire:
    details = {"type": "tool_calls", "tool_calls": list(calls)}
    return {"id": "step_elm", "type": "tool_calls", "status": "in_progress", "step_details": details, **fields}


def calls_delta(*calls: object, **fields: Any) -> Wire:
    return {"id": "step_elm", "delta": {"step_details": {"type": "tool_calls", "tool_calls": list(calls)}}, **fields}


def content_delta(*content: object) -> Wire:
    return {"id": "msg_wren", "delta": {"content": list(content)}}


# Names

NAMES = [
    ("thread.created", Thread, None),
    ("thread.run.created", Run, "queued"),
    ("thread.run.queued", Run, "queued"),
    ("thread.run.in_progress", Run, "in_progress"),
    ("thread.run.requires_action", Run, "requires_action"),
    ("thread.run.completed", Run, "completed"),
    ("thread.run.incomplete", Run, "incomplete"),
    ("thread.run.failed", Run, "failed"),
    ("thread.run.cancelling", Run, "cancelling"),
    ("thread.run.cancelled", Run, "cancelled"),
    ("thread.run.expired", Run, "expired"),
    ("thread.run.step.created", RunStep, "in_progress"),
    ("thread.run.step.in_progress", RunStep, "in_progress"),
    ("thread.run.step.completed", RunStep, "completed"),
    ("thread.run.step.failed", RunStep, "failed"),
    ("thread.run.step.cancelled", RunStep, "cancelled"),
    ("thread.run.step.expired", RunStep, "expired"),
    ("thread.run.step.incomplete", RunStep, "incomplete"),
    ("thread.message.created", Message, "in_progress"),
    ("thread.message.in_progress", Message, "in_progress"),
    ("thread.message.completed", Message, "completed"),
    ("thread.message.incomplete", Message, "incomplete"),
]

WITH_STATUS = [(name, status) for name, _, status in NAMES if status]


@pytest.mark.parametrize(("name", "struct"), [case[:2] for case in NAMES])
def test_name_leads_to_its_type_and_only_id_is_needed(name: str, struct: type[WireObject]) -> None:
    data = decode(name, {"id": "x_1"}).data
    assert (type(data), data.id) == (struct, "x_1")


@pytest.mark.parametrize(
    ("name", "struct"),
    [
        ("thread.run.step.delta", RunStepDelta),
        ("thread.message.delta", MessageDelta),
        ("thread.message.chunk", MessageDelta),
    ],
)
def test_delta_needs_only_id_and_delta(name: str, struct: type[WireObject]) -> None:
    assert type(decode(name, {"id": "x_1", "delta": {}}).data) is struct


@pytest.mark.parametrize(("name", "status"), WITH_STATUS)
def test_missing_status_comes_from_the_name(name: str, status: str) -> None:
    assert decode(name, {"id": "x_1"}).data.status == status


@pytest.mark.parametrize("name", [name for name, _ in WITH_STATUS])
def test_status_is_kept_whatever_the_name(name: str) -> None:
    assert decode(name, {"id": "x_1", "status": "meditating"}).data.status == "meditating"


def test_status_of_a_twice_encoded_object_comes_from_the_name() -> None:
    assert decode("thread.run.failed", json.dumps({"id": "x_1"})).data.status == "failed"


UNKNOWN_NAMES = [
    "message",
    "keepalive",
    "thread.run.step.pondering",
    "thread",
    "thread.run.step",
    "Done",
    "THREAD.CREATED",
]


@pytest.mark.parametrize("name", UNKNOWN_NAMES)
def test_unknown_name_keeps_its_payload(name: str) -> None:
    assert decode_event(Frame(name, b'{"a": 1}')).data == UnknownData(b'{"a": 1}')


@pytest.mark.parametrize("payload", [b"", b"plain", b"{", b"\xff", b"[" * 500])
def test_payload_of_an_unknown_name_may_be_anything(payload: bytes) -> None:
    assert decode_event(Frame("keepalive", payload)).payload == payload


@pytest.mark.parametrize("payload", [b"[DONE]", b"", b"{}", b"bye", b"[" * 500])
def test_done_may_carry_anything(payload: bytes) -> None:
    assert decode_event(Frame("done", payload)).data == Done()


@pytest.mark.parametrize(
    "frame",
    [
        Frame(CREATED, b'{ "id":"step_elm", "mood" : "calm" }'),
        Frame(CREATED, b'"{\\"id\\": \\"step_elm\\"}"'),
        Frame(CREATED, b"[5]"),
        Frame("error", b"overloaded"),
        Frame("done", b"[DONE]"),
        Frame("keepalive", b"{}"),
    ],
    ids=["object", "twice", "malformed", "error", "done", "unknown"],
)
def test_payload_is_what_came(frame: Frame) -> None:
    assert decode_event(frame).payload == frame.data


@pytest.mark.parametrize(
    ("event", "payload"),
    [
        (Event(CREATED, RunStep(id="step_elm", usage=None)), b'{"id":"step_elm","usage":null}'),
        (Event("keepalive", UnknownData(b"{ }")), b"{ }"),
        (Event(CREATED, Malformed(b"[ ]", "no object")), b"[ ]"),
    ],
    ids=["object", "unknown", "malformed"],
)
def test_event_made_by_hand_has_a_payload(event: Event, payload: bytes) -> None:
    assert event.payload == payload


# What encodes back to what came

CALLS: dict[str, Wire] = {
    "code_interpreter": {
        "id": "call_1",
        "type": "code_interpreter",
        "code_interpreter": {
            "input": "1/3\r\n",
            "outputs": [{"type": "logs", "logs": "0.3"}, {"type": "image", "image": {"file_id": "file_1"}}],
        },
    },
    "file_search": {
        "id": "call_1",
        "type": "file_search",
        "file_search": {
            "ranking_options": {"ranker": "auto", "score_threshold": 0.0},
            "results": [
                {
                    "file_id": "file_1",
                    "file_name": "log.txt",
                    "score": 1,
                    "content": [{"type": "text", "text": "fog"}],
                    "attributes": {"year": 1921, "dry": False},
                }
            ],
        },
    },
    "file_search_of_2024": {"id": "call_1", "type": "file_search", "file_search": {}},
    "function": {"id": "call_1", "type": "function", "function": {"name": "sail", "arguments": "{", "output": None}},
    "mcp": {
        "id": "call_1",
        "type": "mcp",
        "name": "find",
        "arguments": "{}",
        "output": "here",
        "server_label": "maps",
    },
    "openapi": {"id": "call_1", "type": "openapi", "function": {"name": "get", "arguments": "{}", "output": "[]"}},
    "bing_grounding": {
        "id": "call_1",
        "type": "bing_grounding",
        "bing_grounding": {"requesturl": "https://example.test/?q=fog", "response_metadata": "{}"},
    },
    "bing_custom_search": {"id": "call_1", "type": "bing_custom_search", "bing_custom_search": {"requesturl": "u"}},
    "azure_ai_search": {"id": "call_1", "type": "azure_ai_search", "azure_ai_search": {"input": "i", "output": "o"}},
    "sharepoint_grounding": {
        "id": "call_1",
        "type": "sharepoint_grounding",
        "sharepoint_grounding": {"input": "i", "output": "o"},
    },
    "fabric_dataagent": {"id": "call_1", "type": "fabric_dataagent", "fabric_dataagent": {"input": "i"}},
    "azure_function": {
        "id": "call_1",
        "type": "azure_function",
        "azure_function": {"name": "sail", "arguments": "{}", "output": "o"},
    },
    "connected_agent": {
        "id": "call_1",
        "type": "connected_agent",
        "connected_agent": {
            "name": "mate",
            "arguments": "{}",
            "output": "o",
            "run_id": "run_2",
            "thread_id": "thread_2",
            "assistant_id": "asst_2",
        },
    },
    "deep_research": {"id": "call_1", "type": "deep_research", "deep_research": {"input": "i", "output": "o"}},
    "browser_automation": {
        "id": "call_1",
        "type": "browser_automation",
        "browser_automation": {"input": "i", "output": "o", "steps": [{"current_state": "s", "n": [1]}]},
    },
    "computer_use_preview": {
        "id": "call_1",
        "type": "computer_use_preview",
        "computer_use_preview": {
            "action": {"type": "click", "x": 1},
            "pending_safety_checks": [],
            "output": {"a": None},
        },
    },
}

UNKNOWN_KINDS: dict[str, tuple[str, Wire]] = {
    "tool": (CREATED, tool_step({"id": "call_1", "type": "dowsing_rod", "dowsing_rod": {"depth": 3.0}, "name": None})),
    "tool_beside_a_known_one": (CREATED, tool_step({"type": "dowsing_rod", "x": [1, {}]}, CALLS["function"])),
    "output": (
        CREATED,
        tool_step(
            {"type": "code_interpreter", "code_interpreter": {"outputs": [{"type": "video", "video": {"s": 1}}]}}
        ),
    ),
    "step": (
        CREATED,
        {"id": "step_elm", "type": "dream", "status": "x", "step_details": {"type": "dream", "dream": [1]}},
    ),
    "activity": (
        CREATED,
        {"id": "a", "status": "x", "step_details": {"type": "activities", "activities": [{"type": "nap", "at": [2]}]}},
    ),
    "content": (
        "thread.message.created",
        {"id": "a", "status": "x", "content": [{"type": "hologram", "hologram": {"size": 1e3}}]},
    ),
    "annotation": (
        "thread.message.created",
        {
            "id": "a",
            "status": "x",
            "content": [{"type": "text", "text": {"value": "v", "annotations": [{"type": "doodle", "ink": "blue"}]}}],
        },
    ),
    "required_action": (
        "thread.run.requires_action",
        {"id": "a", "status": "x", "required_action": {"type": "submit_poem", "submit_poem": {"lines": 14}}},
    ),
    "required_call": (
        "thread.run.requires_action",
        {
            "id": "a",
            "status": "x",
            "required_action": {
                "type": "submit_tool_outputs",
                "submit_tool_outputs": {"tool_calls": [{"id": "call_1", "type": "dowsing_rod", "depth": 3}]},
            },
        },
    ),
    "tool_delta": (DELTA, calls_delta({"index": 0, "type": "dowsing_rod", "dowsing_rod": {"depth": 3}})),
    "tool_delta_without_type": (
        DELTA,
        calls_delta({"index": 0, "type": None, "index_card": 1}, {"index": 1, "type": "rod"}),
    ),
    "output_delta": (
        DELTA,
        calls_delta({"index": 0, "code_interpreter": {"outputs": [{"index": 1, "type": "video", "video": {"s": 1}}]}}),
    ),
    "step_delta": (DELTA, {"id": "a", "delta": {"step_details": {"type": "dream", "dream": [1]}}}),
    "content_delta": ("thread.message.delta", content_delta({"index": 0, "type": "hologram", "hologram": {"size": 1}})),
    "annotation_delta": (
        "thread.message.delta",
        content_delta({"index": 0, "text": {"annotations": [{"index": 2, "type": "doodle", "ink": "blue"}]}}),
    ),
}

OBJECTS: dict[str, tuple[str, Wire]] = {
    **{f"call_{kind}": (CREATED, tool_step(call)) for kind, call in CALLS.items()},
    **{f"unknown_{kind}": case for kind, case in UNKNOWN_KINDS.items()},
    "step": (
        "thread.run.step.failed",
        {
            "id": "step_elm",
            "object": "thread.run.step",
            "created_at": 1790000000,
            "run_id": "run_1",
            "assistant_id": "asst_1",
            "thread_id": "thread_1",
            "type": "message_creation",
            "status": "failed",
            "cancelled_at": None,
            "completed_at": None,
            "expires_at": 1790000600,
            "failed_at": 1790000003,
            "last_error": {"code": "server_error", "message": "the mast broke"},
            "step_details": {"type": "message_creation", "message_creation": {"message_id": "msg_1"}},
            "usage": {
                "prompt_tokens": 3,
                "completion_tokens": 4,
                "total_tokens": 7,
                "prompt_token_details": {"cached_tokens": 0},
                "completion_tokens_details": {"reasoning_tokens": 0},
            },
            "metadata": {"k": "v"},
        },
    ),
    "step_with_float_times": (CREATED, {"id": "a", "status": "x", "created_at": 1790000000.0, "expires_at": 1.5}),
    "step_with_empty_calls": (CREATED, tool_step()),
    "step_with_null_calls": (CREATED, {"id": "a", "status": "x", "step_details": {"tool_calls": None}}),
    "activities": (
        CREATED,
        {
            "id": "a",
            "status": "x",
            "step_details": {
                "type": "activities",
                "activities": [
                    {"id": "b", "type": "mcp_list_tools", "server_label": "maps", "tools": {"find": {"parameters": {}}}}
                ],
            },
        },
    ),
    "run": (
        "thread.run.completed",
        {
            "id": "run_1",
            "object": "thread.run",
            "created_at": 1790000000,
            "assistant_id": "asst_1",
            "thread_id": "thread_1",
            "status": "completed",
            "started_at": 1790000001,
            "expires_at": None,
            "cancelled_at": None,
            "failed_at": None,
            "completed_at": 1790000002,
            "required_action": None,
            "last_error": None,
            "model": "m",
            "instructions": None,
            "tools": [{"type": "function", "function": {"name": "sail", "parameters": {}}}, {"type": "rod"}],
            "tool_resources": {"code_interpreter": {"file_ids": []}},
            "metadata": {},
            "temperature": 1.0,
            "top_p": 1,
            "reasoning_effort": "low",
            "max_completion_tokens": 16,
            "max_prompt_tokens": None,
            "truncation_strategy": {"type": "auto", "last_messages": None},
            "incomplete_details": {"reason": "max_prompt_tokens"},
            "usage": {"prompt_tokens": 0},
            "response_format": "auto",
            "tool_choice": {"type": "function"},
            "parallel_tool_calls": True,
            "file_ids": ["file_1"],
        },
    ),
    "run_with_object_format": ("thread.run.queued", {"id": "a", "status": "x", "response_format": {"type": "text"}}),
    "run_waiting_for_outputs": (
        "thread.run.requires_action",
        {
            "id": "a",
            "status": "requires_action",
            "required_action": {
                "type": "submit_tool_outputs",
                "submit_tool_outputs": {
                    "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
                },
            },
        },
    ),
    "run_waiting_for_approval": (
        "thread.run.requires_action",
        {
            "id": "a",
            "status": "requires_action",
            "required_action": {
                "type": "submit_tool_approval",
                "submit_tool_approval": {
                    "tool_calls": [{"id": "c", "type": "mcp", "arguments": "{}", "name": "f", "server_label": "maps"}]
                },
            },
        },
    ),
    "message": (
        "thread.message.incomplete",
        {
            "id": "msg_wren",
            "object": "thread.message",
            "created_at": 1790000000,
            "thread_id": "thread_1",
            "run_id": "run_1",
            "assistant_id": None,
            "status": "incomplete",
            "incomplete_details": {"reason": "max_tokens"},
            "incomplete_at": 1790000005,
            "completed_at": None,
            "role": "assistant",
            "content": [
                {
                    "type": "text",
                    "text": {
                        "value": "see [1][2][3]",
                        "annotations": [
                            {
                                "type": "file_citation",
                                "text": "[1]",
                                "start_index": 4,
                                "end_index": 7,
                                "file_citation": {"file_id": "file_1", "quote": ""},
                            },
                            {"type": "file_path", "text": "[2]", "file_path": {"file_id": "file_2"}},
                            {"type": "url_citation", "url_citation": {"url": "https://example.test", "title": "t"}},
                        ],
                    },
                },
                {"type": "image_file", "image_file": {"file_id": "file_3", "detail": "low"}},
                {"type": "image_url", "image_url": {"url": "https://example.test/a.png", "detail": "auto"}},
                {"type": "refusal", "refusal": "no"},
            ],
            "attachments": [{"file_id": "file_1", "tools": [{"type": "file_search"}]}],
            "metadata": {"k": "v"},
        },
    ),
    "thread": (
        "thread.created",
        {"id": "thread_1", "object": "thread", "created_at": 1, "tool_resources": {"file_search": {}}, "metadata": {}},
    ),
    "step_delta": (
        DELTA,
        {
            "id": "step_elm",
            "object": "thread.run.step.delta",
            "delta": {
                "step_details": {
                    "type": "tool_calls",
                    "tool_calls": [
                        {"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": ""}},
                        {"index": 1023, "id": None, "function": {"name": None, "arguments": "{", "output": None}},
                    ],
                }
            },
        },
    ),
    "step_delta_of_nothing": (DELTA, {"id": "a", "delta": {}}),
    "step_delta_of_null": (DELTA, {"id": "a", "delta": None}),
    "step_delta_of_null_details": (DELTA, {"id": "a", "delta": {"step_details": None}}),
    "step_delta_of_null_calls": (DELTA, {"id": "a", "delta": {"step_details": {"tool_calls": None}}}),
    "message_delta": (
        "thread.message.delta",
        {
            "id": "msg_wren",
            "object": "thread.message.delta",
            "delta": {
                "role": "assistant",
                "content": [
                    {
                        "index": 0,
                        "type": "text",
                        "text": {"value": "v", "annotations": [{"index": 0, "type": "file_path", "start_index": 3}]},
                    }
                ],
            },
        },
    ),
    "message_delta_of_null": ("thread.message.delta", {"id": "a", "delta": None}),
}  # fmt: skip


@pytest.mark.parametrize(("name", "data"), OBJECTS.values(), ids=OBJECTS)
def test_object_encodes_back_to_what_came(name: str, data: Wire) -> None:
    assert encoded(decode(name, data).data) == canonical(data)


@pytest.mark.parametrize(("name", "data"), OBJECTS.values(), ids=OBJECTS)
def test_twice_encoded_object_is_the_object(name: str, data: Wire) -> None:
    assert decode(name, json.dumps(data)).data == decode(name, data).data


@pytest.mark.parametrize(("name", "data"), OBJECTS.values(), ids=OBJECTS)
def test_equal_json_gives_equal_objects(name: str, data: Wire) -> None:
    assert decode(name, data) == decode(name, json.loads(json.dumps(data)))


@pytest.mark.parametrize(("name", "data"), OBJECTS.values(), ids=OBJECTS)
def test_object_read_again_is_the_same(name: str, data: Wire) -> None:
    assert encoded(read_again(decode(name, data)).data) == canonical(data)


@pytest.mark.parametrize(("name", "struct"), [("thread.created", Thread), *[case[:2] for case in NAMES[1::7]]])
def test_explicit_nulls_are_kept(name: str, struct: type[WireObject]) -> None:
    data = {**dict.fromkeys(struct.__struct_fields__), "id": "x_1"}
    data |= {"status": "x"} if "status" in data else {}
    assert encoded(decode(name, data).data) == canonical(data)


def test_absent_key_is_unset_and_null_is_none() -> None:
    step = decode(CREATED, {"id": "step_elm", "usage": None}).data
    assert (step.usage, step.last_error) == (None, UNSET)


@pytest.mark.parametrize("kind", CALLS)
def test_unknown_key_of_a_known_kind_is_left_to_the_payload(kind: str) -> None:
    call = CALLS[kind]
    event = decode(CREATED, tool_step({**call, "mood": "calm"}, mood="calm"))
    assert (encoded(event.data), event.payload.count(b"calm")) == (canonical(tool_step(call)), 2)


def test_unknown_kind_is_a_dict_with_its_id_type_and_name() -> None:
    call = {"id": "call_1", "type": "dowsing_rod", "name": "y", "length": 2}
    (found,) = decode(CREATED, tool_step(call)).data.tool_calls
    assert (found, found.id, found.type, found.tool_name) == (Unknown(call), "call_1", "dowsing_rod", "y")


def test_unknown_kind_without_words_has_no_id_type_or_name() -> None:
    odd = Unknown(id=5, type=None, name=["y"])
    assert (odd.id, odd.type, odd.tool_name) == (None, None, None)


@pytest.mark.parametrize(
    ("call", "is_known"),
    [
        ({"index": 0, "id": "c"}, True),
        ({"index": 0, "function": {"name": "f"}, "mood": "calm"}, True),
        ({"index": 0, "id": "c", "mood": "calm"}, False),
        ({"index": 0, "type": "function", "mood": "calm"}, True),
        ({"index": 0, "type": "dowsing_rod", "function": {"name": "f"}}, False),
    ],
    ids=["known_keys", "key_of_a_kind", "unknown_key", "known_type", "unknown_type"],
)
def test_kind_is_told_by_its_type_or_else_by_its_keys(call: Wire, is_known: bool) -> None:
    again = read_again(decode(DELTA, calls_delta(call))).data
    assert (type(again.delta.step_details.tool_calls[0]) is not Unknown) == is_known


def test_twice_encoded_event_is_read_again() -> None:
    event = decode(DELTA, json.dumps(calls_delta({"index": 0, "mood": "calm"})))
    assert encoded(read_again(event).data) == canonical(calls_delta({"index": 0, "mood": "calm"}))


def test_event_of_another_name_is_read_again_by_its_data() -> None:
    event = Event("by.hand", RunStepDelta("step_elm", None))
    assert read_again(event) == event


# What objects tell


@pytest.mark.parametrize("kind", CALLS)
def test_tool_name_is_that_of_a_kind_with_names(kind: str) -> None:
    named = {"function": "sail", "azure_function": "sail", "connected_agent": "mate", "mcp": "find", "openapi": "get"}
    (call,) = decode(CREATED, tool_step(CALLS[kind])).data.tool_calls
    assert call.tool_name == named.get(kind)


@pytest.mark.parametrize(
    "call",
    [{"type": "function"}, {"type": "function", "function": None}, {"type": "mcp", "name": ""}, {"name": "f"}],
    ids=["no_content", "null_content", "empty_name", "no_type"],
)
def test_tool_name_is_none_while_unknown(call: Wire) -> None:
    assert msgspec.convert(call, ToolCall).tool_name is None


@pytest.mark.parametrize(
    "details",
    [
        None,
        {"type": "tool_calls"},
        {"type": "tool_calls", "tool_calls": None},
        {"type": "message_creation", "message_creation": {}},
        {"type": "dream", "tool_calls": [{}]},
    ],
    ids=["null", "absent", "null_calls", "message", "unknown"],
)
def test_step_without_calls_has_no_tool_calls(details: object) -> None:
    assert decode(CREATED, {"id": "a", "step_details": details}).data.tool_calls == ()


@pytest.mark.parametrize("case", ["run_waiting_for_outputs", "run_waiting_for_approval"])
def test_required_action_tells_the_calls_of_either_kind(case: str) -> None:
    assert [call.id for call in decode(*OBJECTS[case]).data.required_action.tool_calls] == ["c"]


def test_required_action_without_calls_has_no_tool_calls() -> None:
    assert RequiredAction(type="submit_tool_outputs").tool_calls == ()


def test_message_text_is_its_text_parts_joined() -> None:
    parts = [
        {"type": "text", "text": {"value": "low "}},
        {"type": "image_file", "image_file": {"file_id": "f"}},
        {"type": "hologram", "text": {"value": "no"}},
        {"type": "text", "text": {"value": None}},
        {"type": "text", "text": {"value": "tide"}},
    ]
    assert decode("thread.message.created", {"id": "a", "content": parts}).data.text == "low tide"


@pytest.mark.parametrize("content", [None, []])
def test_message_without_content_has_no_text(content: object) -> None:
    assert decode("thread.message.created", {"id": "a", "content": content}).data.text == ""


STEP_ENDS = ["completed", "failed", "cancelled", "expired", "incomplete"]
RUN_ENDS = STEP_ENDS
MESSAGE_ENDS = ["completed", "incomplete"]
STATUSES = [*STEP_ENDS, "queued", "in_progress", "requires_action", "cancelling", "meditating", ""]


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize(("struct", "ends"), [(RunStep, STEP_ENDS), (Run, RUN_ENDS), (Message, MESSAGE_ENDS)])
def test_object_is_terminal_by_its_status(struct: type[Any], ends: list[str], status: str) -> None:
    assert struct(id="a", status=status).is_terminal == (status in ends)


# Times


@pytest.mark.parametrize(
    ("field", "moment"),
    [
        ("created_at", "created"),
        ("completed_at", "completed"),
        ("failed_at", "failed"),
        ("cancelled_at", "cancelled"),
        ("expires_at", "expires"),
    ],
)
def test_time_of_a_step_is_an_aware_utc_datetime(field: str, moment: str) -> None:
    step = decode(CREATED, {"id": "a", field: 1790000000}).data
    assert getattr(step, moment) == datetime(2026, 9, 21, 14, 13, 20, tzinfo=UTC)


def test_fractions_of_a_second_are_kept() -> None:
    step = decode(CREATED, {"id": "a", "created_at": 1790000000.25}).data
    assert step.created == datetime(2026, 9, 21, 14, 13, 20, 250_000, tzinfo=UTC)


def test_zero_is_a_time() -> None:
    assert decode(CREATED, {"id": "a", "created_at": 0}).data.created == datetime(1970, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("at", [None, 10**30, -(10**30), 1e300, 10**18])
def test_time_that_no_datetime_can_hold_is_none(at: float | None) -> None:
    assert decode(CREATED, {"id": "a", "created_at": at}).data.created is None


def test_absent_time_is_none() -> None:
    step = RunStep(id="a")
    assert [step.created, step.completed, step.failed, step.cancelled, step.expires, step.duration] == [None] * 6


@pytest.mark.parametrize("end", ["completed_at", "failed_at", "cancelled_at", "expired_at"])
def test_duration_is_from_creation_to_whichever_end(end: str) -> None:
    assert RunStep(id="a", created_at=100, **{end: 102.5}).duration == timedelta(seconds=2.5)


@pytest.mark.parametrize("times", [{"created_at": 100}, {"completed_at": 100}, {"created_at": 100, "expires_at": 200}])
def test_duration_is_none_without_both_ends(times: dict[str, int]) -> None:
    assert RunStep(id="a", **times).duration is None


# Errors

ERRORS = [
    ("flat", {"message": "m", "type": "t", "param": "p", "code": "c"}, ErrorData("c", "m", "t", "p")),
    ("nested", {"error": {"message": "m", "type": "t", "param": None, "code": "c"}}, ErrorData("c", "m", "t", None)),
    ("message_only", {"message": "m"}, ErrorData(message="m")),
    ("error_is_text", {"error": "m"}, ErrorData(message="m")),
    ("text", "m", ErrorData(message="m")),
    ("twice_encoded", json.dumps({"error": {"message": "m"}}), ErrorData(message="m")),
    ("numeric_code", {"code": 503, "message": "m"}, ErrorData("503", "m")),
    ("flat_with_null_error", {"error": None, "message": "m"}, ErrorData(message="m")),
    ("odd_values", {"code": {}, "message": ["m"], "type": None}, ErrorData()),
    ("empty", {}, ErrorData()),
    ("list", [1], ErrorData()),
    ("null", None, ErrorData()),
]


@pytest.mark.parametrize(("data", "error"), [case[1:] for case in ERRORS], ids=[case[0] for case in ERRORS])
def test_error_is_read_from_any_shape(data: object, error: ErrorData) -> None:
    assert decode("error", data).data == error


@pytest.mark.parametrize(
    ("payload", "message"),
    [(b"overloaded, try later", "overloaded, try later"), (b"", ""), (b"{", "{"), (b"caf\xe9", "caf\ufffd")],
)
def test_error_that_is_not_json_is_its_own_message(payload: bytes, message: str) -> None:
    assert decode_event(Frame("error", payload)).data == ErrorData(message=message)


def test_error_that_nests_too_deeply_is_still_an_error() -> None:
    assert decode_event(Frame("error", b"[" * 65 + b"]" * 65)).data == ErrorData()


# Malformed

UNDECODABLE = "undecodable_event"
SHAPE = "malformed_delta"
INDEX = "bad_index"

MALFORMED: dict[str, tuple[str, object, str, str | None]] = {
    "list": (CREATED, [], UNDECODABLE, None),
    "number": (CREATED, 5, UNDECODABLE, None),
    "null": (CREATED, None, UNDECODABLE, None),
    "text": (CREATED, "still here", UNDECODABLE, None),
    "text_that_is_almost_json": (CREATED, '{"id": "step_elm"', UNDECODABLE, None),
    "empty_text": (CREATED, "", UNDECODABLE, None),
    "thrice_encoded": (CREATED, json.dumps(json.dumps({"id": "a"})), UNDECODABLE, None),
    "twice_encoded_list": (CREATED, "[]", UNDECODABLE, None),
    "twice_encoded_misfit": (CREATED, '{"id": "a", "created_at": "x"}', UNDECODABLE, "a"),
    "no_id": (CREATED, {"status": "completed"}, UNDECODABLE, None),
    "null_id": (CREATED, {"id": None}, UNDECODABLE, None),
    "number_id": (CREATED, {"id": 5}, UNDECODABLE, None),
    "text_time": (CREATED, {"id": "a", "created_at": "now"}, UNDECODABLE, "a"),
    "bool_time": (CREATED, {"id": "a", "created_at": True}, UNDECODABLE, "a"),
    "number_status": (CREATED, {"id": "a", "status": 5}, UNDECODABLE, "a"),
    "list_details": (CREATED, {"id": "a", "step_details": []}, UNDECODABLE, "a"),
    "object_calls": (CREATED, {"id": "a", "step_details": {"tool_calls": {}}}, UNDECODABLE, "a"),
    "number_call": (CREATED, {"id": "a", "step_details": {"tool_calls": [5]}}, UNDECODABLE, "a"),
    "number_type": (CREATED, {"id": "a", "step_details": {"type": 5}}, UNDECODABLE, "a"),
    "misfit_beside_an_unknown_kind": (CREATED, tool_step({"type": "rod"}, usage=5), UNDECODABLE, "step_elm"),
    "misfit_in_a_run": ("thread.run.queued", {"id": "a", "tools": 5}, UNDECODABLE, "a"),
    "misfit_in_a_message": ("thread.message.created", {"id": "a", "content": "x"}, UNDECODABLE, "a"),
    "misfit_in_a_thread": ("thread.created", {"id": "a", "metadata": []}, UNDECODABLE, "a"),
    "delta_without_delta": (DELTA, {"id": "a"}, SHAPE, "a"),
    "delta_without_id": (DELTA, {"delta": {}}, SHAPE, None),
    "delta_with_null_id": (DELTA, {"id": None, "delta": {}}, SHAPE, None),
    "delta_that_is_a_list": (DELTA, [], SHAPE, None),
    "delta_that_is_text": (DELTA, "still here", SHAPE, None),
    "text_delta": (DELTA, {"id": "a", "delta": "x"}, SHAPE, "a"),
    "list_delta": (DELTA, {"id": "a", "delta": []}, SHAPE, "a"),
    "delta_of_list_details": (DELTA, {"id": "a", "delta": {"step_details": []}}, SHAPE, "a"),
    "delta_of_object_calls": (DELTA, {"id": "a", "delta": {"step_details": {"tool_calls": {}}}}, SHAPE, "a"),
    "delta_of_a_number_call": (DELTA, calls_delta(5), SHAPE, "step_elm"),
    "delta_of_a_null_call": (DELTA, calls_delta(None), SHAPE, "step_elm"),
    "delta_of_a_text_function": (DELTA, calls_delta({"index": 0, "function": "x"}), SHAPE, "step_elm"),
    "delta_of_number_arguments": (DELTA, calls_delta({"index": 0, "function": {"arguments": 5}}), SHAPE, "step_elm"),
    "delta_of_object_arguments": (DELTA, calls_delta({"index": 0, "function": {"arguments": {}}}), SHAPE, "step_elm"),
    "delta_of_a_number_call_id": (DELTA, calls_delta({"index": 0, "id": 5}), SHAPE, "step_elm"),
    "delta_of_a_number_call_type": (DELTA, calls_delta({"index": 0, "type": 5}), SHAPE, "step_elm"),
    "misfit_beside_a_rod": (DELTA, calls_delta({"index": 0, "type": "rod"}, {"index": 1, "id": 5}), SHAPE, "step_elm"),
    "message_delta_without_delta": ("thread.message.delta", {"id": "a"}, SHAPE, "a"),
    "message_delta_of_text": ("thread.message.delta", {"id": "a", "delta": {"content": "x"}}, SHAPE, "a"),
    "message_chunk_of_text": ("thread.message.chunk", {"id": "a", "delta": {"content": "x"}}, SHAPE, "a"),
    "call_without_index": (DELTA, calls_delta({"id": "c", "type": "function"}), INDEX, "step_elm"),
    "unknown_tool_without_index": (DELTA, calls_delta({"id": "c", "type": "rod"}), INDEX, "step_elm"),
    "output_without_index": (
        DELTA,
        calls_delta({"index": 0, "code_interpreter": {"outputs": [{"type": "logs", "logs": "x"}]}}),
        INDEX,
        "step_elm",
    ),
    "content_without_index": ("thread.message.delta", content_delta({"type": "text"}), INDEX, "msg_wren"),
    "annotation_without_index": (
        "thread.message.delta",
        content_delta({"index": 0, "text": {"annotations": [{"type": "file_path"}]}}),
        INDEX,
        "msg_wren",
    ),
    "twice_encoded_bad_index": (DELTA, json.dumps(calls_delta({"index": -1})), INDEX, "step_elm"),
}  # fmt: skip


@pytest.mark.parametrize(("name", "data", "code", "identifier"), MALFORMED.values(), ids=MALFORMED)
def test_json_that_does_not_fit_is_malformed(name: str, data: object, code: str, identifier: str | None) -> None:
    found = decode(name, data).data
    assert isinstance(found, Malformed)
    assert (found.code, found.id) == (code, identifier)


@pytest.mark.parametrize(("name", "data", "code", "identifier"), MALFORMED.values(), ids=MALFORMED)
def test_malformed_data_keeps_its_payload(name: str, data: object, code: str, identifier: str | None) -> None:
    assert decode(name, data).payload == json.dumps(data).encode()


BAD_INDEXES = [-1, 1024, 10**30, 1.0, 0.5, True, False, None, "0", "", [0], {}]


@pytest.mark.parametrize("index", BAD_INDEXES, ids=json.dumps)
@pytest.mark.parametrize(
    "place",
    [
        lambda index: (DELTA, calls_delta({"index": index, "id": "c", "type": "function"})),
        lambda index: (DELTA, calls_delta({"index": index, "id": "c", "type": "rod"})),
        lambda index: (DELTA, calls_delta({"index": 0, "code_interpreter": {"outputs": [{"index": index}]}})),
        lambda index: ("thread.message.delta", content_delta({"index": index, "type": "text"})),
        lambda index: (
            "thread.message.delta",
            content_delta({"index": 0, "text": {"annotations": [{"index": index}]}}),
        ),
    ],
    ids=["call", "unknown_tool", "output", "content", "annotation"],
)
def test_index_that_is_no_integer_from_0_to_1023_is_bad(
    place: Callable[[object], tuple[str, Wire]], index: object
) -> None:
    assert decode(*place(index)).data.code == INDEX


@pytest.mark.parametrize("index", [0, 1, 1023])
def test_index_from_0_to_1023_is_good(index: int) -> None:
    assert type(decode(DELTA, calls_delta({"index": index})).data) is RunStepDelta


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ({"id": "a", "created_at": "now"}, "Expected `int | float | null`, got `str` - at `$.created_at`"),
        ({"status": "x"}, "Object missing required field `id`"),
    ],
)
def test_reason_says_what_was_expected_and_where(data: Wire, reason: str) -> None:
    assert decode(CREATED, data).data.reason == reason


@pytest.mark.parametrize(("index", "got"), [(None, "nothing"), ("0", "str"), (5000, "int"), (True, "bool")])
def test_reason_of_a_bad_index_says_what_came(index: object, got: str) -> None:
    reason = decode(DELTA, calls_delta({"index": index})).data.reason
    assert reason == f"expected index as an int from 0 to 1023, got {got}"


# DecodeError

BROKEN = {
    "nothing": b"",
    "space": b" ",
    "word": b"overloaded",
    "done_in_the_wrong_place": b"[DONE]",
    "cut": b'{"id": "step_elm", "type": "tool_ca',
    "cut_text": b'"still he',
    "rest": b'{"id": "step_elm"} {}',
    "closing": b"]]]]",
    "trailing_comma": b'{"id": "step_elm",}',
    "single_quotes": b"{'id': 'step_elm'}",
    "nan": b'{"id": "step_elm", "created_at": NaN}',
    "infinity": b'{"id": "step_elm", "created_at": -Infinity}',
    "number_out_of_range": b'{"id": "step_elm", "created_at": 1e999}',
    "control_character": b'{"id": "step\nelm"}',
    "lone_surrogate": b'{"id": "\\ud800"}',
    "not_utf_8": b'{"id": "\xff"}',
    "mark": b'\xef\xbb\xbf{"id": "step_elm"}',
    "cut_after_an_unknown_kind": b'{"id": "a", "step_details": {"type": "dream"}, "x":',
}


@pytest.mark.parametrize("name", [CREATED, DELTA, "thread.run.queued", "thread.message.delta", "thread.created"])
@pytest.mark.parametrize("payload", BROKEN.values(), ids=BROKEN)
def test_data_that_is_not_json_is_a_decode_error(name: str, payload: bytes) -> None:
    with pytest.raises(DecodeError) as raised:
        decode_event(Frame(name, payload))
    assert (raised.value.event, raised.value.code) == (name, "undecodable_event")


def test_decode_error_tells_event_size_and_reason() -> None:
    with pytest.raises(
        DecodeError, match=r"expected JSON in the data of 'thread\.created', got 2 bytes: Input data was"
    ):
        decode_event(Frame("thread.created", b'{"'))


def test_decode_error_of_bytes_says_not_utf_8() -> None:
    with pytest.raises(DecodeError, match="not UTF-8"):
        decode_event(Frame("thread.created", b'{"id": "\xff"}'))


def test_nesting_beyond_the_decoder_is_a_decode_error() -> None:
    with pytest.raises(DecodeError) as raised:
        decode_event(Frame(CREATED, b'{"id": "a", "x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"), max_depth=10**6)
    assert raised.value.code == "undecodable_event"


def test_nesting_beyond_the_second_look_is_a_decode_error() -> None:
    with pytest.raises(DecodeError) as raised:
        decode_event(Frame(CREATED, json.dumps("[" * 100_000 + "]" * 100_000).encode()), max_depth=10**6)
    assert raised.value.code == "undecodable_event"


# Depth


def nested(depth: int, opening: str = "[", closing: str = "]") -> bytes:
    """Return an object that nests `depth` levels deep, itself included."""
    inner = opening * (depth - 1) + "1" + closing * (depth - 1)
    return f'{{"id": "a", "x": {inner}}}'.encode()


@pytest.mark.parametrize("depth", [2, 63, 64])
@pytest.mark.parametrize("brackets", [("[", "]"), ('{"k":', "}")], ids=["lists", "objects"])
def test_64_levels_are_decoded(depth: int, brackets: tuple[str, str]) -> None:
    assert decode_event(Frame(CREATED, nested(depth, *brackets))).data.id == "a"


@pytest.mark.parametrize("depth", [65, 66, 1000])
@pytest.mark.parametrize("brackets", [("[", "]"), ('{"k":', "}")], ids=["lists", "objects"])
def test_65_levels_are_too_deep(depth: int, brackets: tuple[str, str]) -> None:
    with pytest.raises(DecodeError, match="nested deeper than 64 levels") as raised:
        decode_event(Frame(CREATED, nested(depth, *brackets)))
    assert raised.value.code == "too_deep"


def test_depth_limit_can_be_set() -> None:
    with pytest.raises(DecodeError, match="nested deeper than 3 levels"):
        decode_event(Frame(CREATED, nested(4)), max_depth=3)


def test_depth_limit_can_be_reached() -> None:
    assert decode_event(Frame(CREATED, nested(3)), max_depth=3).data.id == "a"


def test_too_deep_goes_before_not_json() -> None:
    with pytest.raises(DecodeError) as raised:
        decode_event(Frame(CREATED, b"[" * 65))
    assert raised.value.code == "too_deep"


@pytest.mark.parametrize("depth", [2, 63, 64])
def test_64_levels_of_a_twice_encoded_object_are_decoded(depth: int) -> None:
    assert decode(CREATED, nested(depth).decode()).data.id == "a"


def test_65_levels_of_a_twice_encoded_object_are_too_deep() -> None:
    with pytest.raises(DecodeError) as raised:
        decode(CREATED, nested(65).decode())
    assert raised.value.code == "too_deep"


SHALLOW = {
    "brackets_in_a_string": b'{"id": "' + b"[{" * 100 + b'"}',
    "brackets_after_an_escaped_quote": b'{"id": "\\"' + b"[{" * 100 + b'"}',
    "brackets_after_an_escaped_backslash": b'{"a\\\\": "b\\\\", "id": "' + b"[" * 100 + b'"}',
    "brackets_in_a_key": b'{"id": "a", "' + b"[{" * 100 + b'": 1}',
    "brackets_around_strings": b'{"id": "a", "x": [' + b'"[", {"]": "]"}, ' * 100 + b"[]]}",
    "siblings": b'{"id": "a", "x": [' + b"[{}], " * 100 + b"1]}",
}


@pytest.mark.parametrize("payload", SHALLOW.values(), ids=SHALLOW)
def test_brackets_in_strings_and_siblings_do_not_nest(payload: bytes) -> None:
    assert type(decode_event(Frame(CREATED, payload)).data) is RunStep


DEEP = {
    "after_a_string": b'{"id": "a", "x": "]]]]", "y": ' + b"[" * 64 + b"]" * 64 + b"}",
    "after_an_escaped_backslash": b'{"id": "a\\\\", "y": ' + b"[" * 64 + b"]" * 64 + b"}",
    "after_an_escaped_quote": b'{"id": "a\\"]]]", "y": ' + b"[" * 64 + b"]" * 64 + b"}",
    "between_siblings": b'{"id": "a", "x": [' + b"[{}], " * 100 + b"[" * 63 + b"]" * 63 + b"]}",
}


@pytest.mark.parametrize("payload", DEEP.values(), ids=DEEP)
def test_strings_do_not_hide_depth(payload: bytes) -> None:
    with pytest.raises(DecodeError) as raised:
        decode_event(Frame(CREATED, payload))
    assert raised.value.code == "too_deep"


@pytest.mark.parametrize("unit", [b"[]", b'"[', b'\\"[', b'"\\', b"[[", b'""[{'])
def test_telling_the_depth_takes_linear_time(unit: bytes) -> None:
    def work(count: int) -> float:
        payload, times = b'{"id": "' + unit * count, []
        for _ in range(5):
            started = time.process_time()
            is_deeper(payload, 10**9 if unit == b"[[" else 64)
            times.append(time.process_time() - started)
        return min(times)

    # Eight times the bytes take eight times the time, and would take 64 times if the walk went back.
    assert work(160_000) < 28 * max(work(20_000), 1e-4)


# Hostile values


@pytest.mark.parametrize(
    "identifier", ["", "__proto__", "__class__", "a" * 100_000, "\0", "\u202e", "\U0001f6f6", "../x"]
)
def test_id_may_be_any_text(identifier: str) -> None:
    assert decode(CREATED, {"id": identifier}).data.id == identifier


@pytest.mark.parametrize("key", ["__class__", "__struct_fields__", "self", "is_terminal", "duration", "tool_calls"])
def test_keys_named_like_attributes_are_ignored(key: str) -> None:
    assert decode(CREATED, {"id": "a", key: 5}).data == decode(CREATED, {"id": "a"}).data


def test_last_of_repeated_keys_wins() -> None:
    assert decode_event(Frame(CREATED, b'{"id": "a", "id": "b"}')).data.id == "b"


@pytest.mark.parametrize("number", ["0", "-0.0", "1e-7", "123456789012345678901234567890", "1.0", "1e+22", "0.1"])
def test_number_is_kept_as_its_value(number: str) -> None:
    data = decode_event(Frame("thread.run.queued", b'{"id": "a", "temperature": %s}' % number.encode())).data
    assert (data.temperature, type(data.temperature)) == (json.loads(number), type(json.loads(number)))


def test_snapshot_cannot_be_changed() -> None:
    step = decode(CREATED, {"id": "a"}).data
    with pytest.raises(AttributeError):
        step.status = "completed"


# Nothing leaks

HUSH = "hush-7c1e"
IDENTIFYING = {"id", "type", "status", "object"}


def hushed(value: Any, key: str = "") -> Any:
    """Return `value` with the secret for every text but ids, types and statuses, and for the keys of free-form maps."""
    if isinstance(value, dict):
        return {(HUSH if key == "metadata" else name): hushed(found, name) for name, found in value.items()}
    if isinstance(value, list):
        return [hushed(found) for found in value]
    return HUSH if isinstance(value, str) and key not in IDENTIFYING else value


def parts(value: object) -> Iterator[object]:
    """Yield every struct, and every object of unknown kind, in `value`."""
    if isinstance(value, WireObject):
        yield value
        for name in value.__struct_fields__:
            yield from parts(getattr(value, name))
    elif isinstance(value, Unknown):
        yield value
    elif isinstance(value, tuple):
        for found in value:
            yield from parts(found)


@pytest.mark.parametrize(("name", "data"), OBJECTS.values(), ids=OBJECTS)
def test_repr_of_no_part_tells_content(name: str, data: Wire) -> None:
    event = decode(name, hushed(data))
    assert HUSH not in " ".join(map(repr, [event, *parts(event.data)]))


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        (RunStep(id="step_elm", status="failed"), "<RunStep step_elm failed>"),
        (ToolCall(id="call_1", type="mcp", arguments=HUSH), "<ToolCall call_1 mcp>"),
        (Unknown(type="rod", input=HUSH), "<Unknown rod 2 keys>"),
        (UnknownData(HUSH.encode()), "<UnknownData>"),
        (ErrorData(message=HUSH, code="c"), "<ErrorData>"),
        (Event("keepalive", UnknownData(HUSH.encode())), "<Event keepalive <UnknownData>>"),
        (Malformed(HUSH.encode(), "r", id="a"), "<Malformed a>"),
        (decode(DELTA, calls_delta({"index": 3})).data.delta.step_details.tool_calls[0], "<ToolCallDelta 3>"),
    ],
    ids=["step", "call", "unknown", "unknown_data", "error", "event", "malformed", "delta"],
)
def test_repr_tells_what_it_is(data: object, shown: str) -> None:
    assert repr(data) == shown


LEAKY: dict[str, tuple[str, object]] = {
    "misfit": (CREATED, {"id": "a", "created_at": HUSH}),
    "text": (CREATED, HUSH),
    "kind": (DELTA, calls_delta({"index": 0, "type": HUSH}, 5)),
    "kind_of_step": (CREATED, {"id": "a", "step_details": {"type": HUSH}, "usage": HUSH}),
    "kind_of_output": (
        DELTA,
        calls_delta({"index": 0, "code_interpreter": {"outputs": [{"index": 0, "type": HUSH}, 5]}}),
    ),
    "kind_of_action": ("thread.run.queued", {"id": "a", "required_action": {"type": HUSH}, "tools": HUSH}),
    "index": (DELTA, calls_delta({"index": HUSH})),
    "key": (CREATED, {"id": "a", "metadata": {HUSH: 1}, "usage": {HUSH: 1, "total_tokens": HUSH}}),
    "list": (CREATED, [HUSH]),
    "result": (CREATED, tool_step({"type": "file_search", "file_search": {"results": [{"content": [HUSH]}]}})),
    "attributes": (CREATED, tool_step({"type": "file_search", "file_search": {"results": [{"attributes": HUSH}]}})),
}


@pytest.mark.parametrize(("name", "data"), LEAKY.values(), ids=LEAKY)
def test_malformed_data_tells_no_content(name: str, data: object) -> None:
    event = decode(name, data)
    assert isinstance(event.data, Malformed)
    assert HUSH not in f"{event!r} {event.data.reason} {event.data.id}"


LEAKY_BYTES = {
    "cut": b'{"id": "%s' % HUSH.encode(),
    "rest": b'{"id": "%s"} "%s"' % (HUSH.encode(), HUSH.encode()),
    "word": HUSH.encode(),
    "not_utf_8": b'{"id": "%s\xff"}' % HUSH.encode(),
    "cut_after_an_unknown_kind": b'{"id": "a", "step_details": {"type": "%s"}, "x": ' % HUSH.encode(),
    "not_utf_8_after_an_unknown_kind": b'{"step_details": {"type": "%s"}, "id": "\xff"}' % HUSH.encode(),
    "too_deep": b'{"id": "%s", "x": ' % HUSH.encode() + b"[" * 99 + b"]" * 99 + b"}",
    "too_deep_in_text": json.dumps(HUSH + "[" * 99).encode(),
}


@pytest.mark.parametrize("payload", LEAKY_BYTES.values(), ids=LEAKY_BYTES)
def test_decode_error_and_its_traceback_tell_no_content(payload: bytes) -> None:
    with pytest.raises(DecodeError) as raised:
        decode_event(Frame(CREATED, payload))
    told = [str(raised.value), repr(raised.value), raised.value.reason, *traceback.format_exception(raised.value)]
    assert HUSH not in "".join(told)
