"""Objects of every kind as servers send them, and the text that equal JSON has."""

import json
from typing import Any

from tests.support.json_values import JSON, plain

CREATED = "thread.run.step.created"
DELTA = "thread.run.step.delta"


def canonical(value: object) -> str:
    """Return JSON that is the same text for the same JSON: 1 and 1.0 differ, the order of keys does not count."""
    return json.dumps(value, sort_keys=True)


def encoded(value: object) -> str:
    return canonical(plain(value))


def tool_step(*calls: JSON, **fields: Any) -> JSON:
    details = {"type": "tool_calls", "tool_calls": list(calls)}
    return {"id": "step_elm", "type": "tool_calls", "status": "in_progress", "step_details": details, **fields}


def calls_delta(*calls: object, **fields: Any) -> JSON:
    return {"id": "step_elm", "delta": {"step_details": {"type": "tool_calls", "tool_calls": list(calls)}}, **fields}


def content_delta(*content: object) -> JSON:
    return {"id": "msg_wren", "delta": {"content": list(content)}}


CALLS: dict[str, JSON] = {
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

UNKNOWN_KINDS: dict[str, tuple[str, JSON]] = {
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

OBJECTS: dict[str, tuple[str, JSON]] = {
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
