"""The objects of the protocol as a server sends them, and the blocks they are sent in.

Written with the standard library alone, so that no measured package has a hand in its own input.
"""

import json
from typing import Any, Final

BEGIN: Final = 1_761_861_531
"""When every run began."""

_USAGE: Final = {"prompt_tokens": 260, "completion_tokens": 12, "total_tokens": 272}


def ids_of(run: str) -> dict[str, str]:
    return {"run_id": f"run_{run}", "assistant_id": "asst_bench", "thread_id": "thread_bench"}


def run_object(
    run: str, status: str, *, completed_at: int | None = None, required: list[dict] | None = None
) -> dict[str, Any]:
    parameters = {"type": "object", "properties": {"text": {"type": "string"}}}
    ids = ids_of(run)
    action = {"type": "submit_tool_outputs", "submit_tool_outputs": {"tool_calls": required}} if required else None
    return {
        "id": ids.pop("run_id"),
        "object": "thread.run",
        "created_at": BEGIN,
        **ids,
        "status": status,
        "started_at": None if status == "queued" else BEGIN + 1,
        "expires_at": BEGIN + 600,
        "cancelled_at": None,
        "failed_at": None,
        "completed_at": completed_at,
        "required_action": action,
        "last_error": None,
        "model": "gpt-4o",
        "instructions": None,
        "tools": [{"type": "function", "function": {"name": "save_report", "parameters": parameters}}],
        "metadata": {},
        "temperature": 1.0,
        "top_p": 1.0,
        "max_completion_tokens": None,
        "max_prompt_tokens": None,
        "truncation_strategy": {"type": "auto", "last_messages": None},
        "incomplete_details": None,
        "usage": None,
        "response_format": "auto",
        "tool_choice": "auto",
        "parallel_tool_calls": True,
    }


def step_object(run: str, step: str, details: dict[str, Any], *, completed: bool = False) -> dict[str, Any]:
    return {
        "id": step,
        "object": "thread.run.step",
        "created_at": BEGIN + 2,
        **ids_of(run),
        "type": details["type"],
        "status": "completed" if completed else "in_progress",
        "cancelled_at": None,
        "completed_at": BEGIN + 60 if completed else None,
        "expires_at": BEGIN + 600,
        "failed_at": None,
        "last_error": None,
        "step_details": details,
        "usage": _USAGE if completed else None,
    }


def message_object(run: str, message: str, text: str | None) -> dict[str, Any]:
    """Return a message: one without content while its text is to come, else the completed one."""
    content = [] if text is None else [{"type": "text", "text": {"value": text, "annotations": []}}]
    return {
        "id": message,
        "object": "thread.message",
        "created_at": BEGIN + 3,
        **ids_of(run),
        "status": "in_progress" if text is None else "completed",
        "incomplete_details": None,
        "incomplete_at": None,
        "completed_at": None if text is None else BEGIN + 60,
        "role": "assistant",
        "content": content,
        "attachments": [],
        "metadata": {},
    }


def calls_details(calls: list[dict[str, Any]]) -> dict[str, Any]:
    return {"type": "tool_calls", "tool_calls": calls}


def message_details(message: str) -> dict[str, Any]:
    return {"type": "message_creation", "message_creation": {"message_id": message}}


def function_call(call: str, arguments: str, *, output: str | None = None) -> dict[str, Any]:
    body = {"name": "save_report", "arguments": arguments, "output": output}
    return {"id": call, "type": "function", "function": body}


def code_call(call: str, source: str, outputs: list[dict[str, Any]]) -> dict[str, Any]:
    return {"id": call, "type": "code_interpreter", "code_interpreter": {"input": source, "outputs": outputs}}


def search_call(call: str, text: str | None) -> dict[str, Any]:
    """Return a file search; its results come in the completed object only."""
    ranking = {"ranker": "default_2024_08_21", "score_threshold": 0.0}
    found = {"file_id": "file-bench", "file_name": "notes.md", "score": 0.75}
    results = [] if text is None else [{**found, "content": [{"type": "text", "text": text}]}]
    return {"id": call, "type": "file_search", "file_search": {"ranking_options": ranking, "results": results}}


def call_delta(step: str, call: dict[str, Any]) -> dict[str, Any]:
    return {"id": step, "object": "thread.run.step.delta", "delta": {"step_details": calls_details([call])}}


def text_delta(message: str, piece: str) -> dict[str, Any]:
    content = [{"index": 0, "type": "text", "text": {"value": piece}}]
    return {"id": message, "object": "thread.message.delta", "delta": {"content": content}}


def compact(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def block(name: str, data: str) -> bytes:
    return f"event: {name}\ndata: {data}\n\n".encode()
