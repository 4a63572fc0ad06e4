"""The JSON objects of the Assistants wire, with the keys that genuine servers send, in their order.

Where the published text and the wire differ, the wire wins: steps have `expires_at` but neither `expired_at` nor
`metadata`, and usage spells `prompt_token_details` in the singular.
"""

from typing import Any, Final, TypeAlias

import msgspec

from stepstream.simulator.scenario import Scenario, SearchResult, Usage

JSON: TypeAlias = dict[str, Any]

RUN_LIFETIME: Final = 600
"""Seconds from a run's creation to its `expires_at`."""


_SETTINGS: Final[JSON] = {
    "temperature": 1.0,
    "top_p": 1.0,
    "reasoning_effort": None,
    "max_completion_tokens": None,
    "max_prompt_tokens": None,
    "truncation_strategy": {"type": "auto", "last_messages": None},
}
"""How a run's model works, where the request says nothing about it."""


class Owner(msgspec.Struct, frozen=True):
    """Whose objects these are: what a run shares with its steps and messages."""

    run_id: str
    thread_id: str
    assistant_id: str
    created_at: int

    @property
    def expires_at(self) -> int:
        """The Unix time at which an unfinished run is given up."""
        return self.created_at + RUN_LIFETIME


def thread(thread_id: str, created_at: int) -> JSON:
    """Return a new, empty thread."""
    return {"id": thread_id, "object": "thread", "created_at": created_at, "metadata": {}, "tool_resources": {}}


def run(
    owner: Owner,
    scenario: Scenario,
    status: str,
    *,
    started_at: int | None,
    completed_at: int | None = None,
    required_action: JSON | None = None,
    spent: Usage | None = None,
) -> JSON:
    """Return the run as it stands: `completed_at` and `spent` once it is completed."""
    return {
        "id": owner.run_id,
        "object": "thread.run",
        "created_at": owner.created_at,
        "assistant_id": owner.assistant_id,
        "thread_id": owner.thread_id,
        "status": status,
        "started_at": started_at,
        "expires_at": owner.expires_at if completed_at is None else None,
        "cancelled_at": None,
        "failed_at": None,
        "completed_at": completed_at,
        "required_action": required_action,
        "last_error": None,
        "model": scenario.model,
        "instructions": scenario.instructions,
        "tools": scenario.tools,
        "tool_resources": {},
        "metadata": {},
        **_SETTINGS,
        "incomplete_details": None,
        "usage": None if spent is None else usage(spent),
        "response_format": "auto",
        "tool_choice": "auto",
        "parallel_tool_calls": True,
    }


def required_action(calls: list[JSON]) -> JSON:
    """Return what a run waits for: the outputs of the function calls of a step, `calls` as in its details."""
    asked = [
        {**call, "function": {"name": call["function"]["name"], "arguments": call["function"]["arguments"]}}
        for call in calls
    ]
    return {"type": "submit_tool_outputs", "submit_tool_outputs": {"tool_calls": asked}}


def usage(spent: Usage) -> JSON:
    """Return token counts as steps and runs carry them."""
    return {
        "prompt_tokens": spent.prompt,
        "completion_tokens": spent.completion,
        "total_tokens": spent.prompt + spent.completion,
        "prompt_token_details": {"cached_tokens": spent.cached},
        "completion_tokens_details": {"reasoning_tokens": 0},
    }


def step(
    owner: Owner,
    step_id: str,
    created_at: int,
    details: JSON,
    *,
    completed_at: int | None = None,
    spent: Usage | None = None,
) -> JSON:
    """Return a step with `details` as its `step_details`: in progress, or completed where `completed_at` is given."""
    return {
        "id": step_id,
        "object": "thread.run.step",
        "created_at": created_at,
        "run_id": owner.run_id,
        "assistant_id": owner.assistant_id,
        "thread_id": owner.thread_id,
        "type": details["type"],
        "status": "in_progress" if completed_at is None else "completed",
        "cancelled_at": None,
        "completed_at": completed_at,
        "expires_at": owner.expires_at,
        "failed_at": None,
        "last_error": None,
        "step_details": details,
        "usage": None if spent is None else usage(spent),
    }


def tool_calls(calls: list[JSON]) -> JSON:
    """Return the `step_details` of a step that calls tools."""
    return {"type": "tool_calls", "tool_calls": calls}


def message_creation(message_id: str) -> JSON:
    """Return the `step_details` of a step that writes a message."""
    return {"type": "message_creation", "message_creation": {"message_id": message_id}}


def step_delta(step_id: str, call: JSON) -> JSON:
    """Return what was added to one tool call. `call` has its `index`."""
    return {"id": step_id, "object": "thread.run.step.delta", "delta": {"step_details": tool_calls([call])}}


def message(
    owner: Owner, message_id: str, created_at: int, content: list[JSON], *, completed_at: int | None = None
) -> JSON:
    """Return an assistant's message: in progress, or completed where `completed_at` is given."""
    return {
        "id": message_id,
        "object": "thread.message",
        "created_at": created_at,
        "assistant_id": owner.assistant_id,
        "thread_id": owner.thread_id,
        "run_id": owner.run_id,
        "status": "in_progress" if completed_at is None else "completed",
        "incomplete_details": None,
        "incomplete_at": None,
        "completed_at": completed_at,
        "role": "assistant",
        "content": content,
        "attachments": [],
        "metadata": {},
    }


def message_delta(message_id: str, text: JSON) -> JSON:
    """Return what was added to the text of a message, its `value` and maybe its `annotations`."""
    content = {"index": 0, "type": "text", "text": text}
    return {"id": message_id, "object": "thread.message.delta", "delta": {"content": [content]}}


def citation(mark: str, file_id: str, start: int) -> JSON:
    """Return the annotation of a citation whose mark begins at the character `start` of the text."""
    return {
        "type": "file_citation",
        "text": mark,
        "start_index": start,
        "end_index": start + len(mark),
        "file_citation": {"file_id": file_id},
    }


def search(results: tuple[SearchResult, ...]) -> JSON:
    """Return the `file_search` of a tool call."""
    return {
        "ranking_options": {"ranker": "default_2024_08_21", "score_threshold": 0.0},
        "results": [
            {
                "file_id": result.file_id,
                "file_name": result.file_name,
                "score": result.score,
                "attributes": {},
                "content": [{"type": "text", "text": result.text}],
            }
            for result in results
        ],
    }
