"""The JSON objects of the Assistants wire: threads, runs, steps and messages, and deltas of the last two.

They have the keys that genuine servers send, in their order. Where the published text and the wire differ, the wire
wins: steps have `expires_at` but neither `expired_at` nor `metadata`, and usage spells `prompt_token_details` in the
singular.
"""

from collections.abc import Mapping
from typing import Any, Final, TypeAlias

import msgspec

from stepstream.simulator.scenario import Failure, Usage

JSON: TypeAlias = dict[str, Any]

RUN_LIFETIME: Final = 600
"""Seconds from a run's creation to its `expires_at`."""

SETTINGS: Final[JSON] = {
    "metadata": {},
    "temperature": 1.0,
    "top_p": 1.0,
    "reasoning_effort": None,
    "max_completion_tokens": None,
    "max_prompt_tokens": None,
    "truncation_strategy": {"type": "auto", "last_messages": None},
    "response_format": "auto",
    "tool_choice": "auto",
    "parallel_tool_calls": True,
}
"""How a run's model works, where the request says nothing about it."""

ENDED_AT: Final[Mapping[str, str]] = {
    "completed": "completed_at",
    "incomplete": "completed_at",
    "failed": "failed_at",
    "cancelled": "cancelled_at",
}
"""The field that says when a step or run ended, by its status. `expired_at` is never sent."""


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


def thread(thread_id: str, created_at: int, metadata: JSON | None = None, resources: JSON | None = None) -> JSON:
    """Return a thread."""
    return {
        "id": thread_id,
        "object": "thread",
        "created_at": created_at,
        "metadata": metadata or {},
        "tool_resources": resources or {},
    }


def run(
    owner: Owner,
    settings: JSON,
    status: str,
    *,
    started_at: int | None,
    ended_at: int | None = None,
    required_action: JSON | None = None,
    failure: Failure | None = None,
    incomplete: str | None = None,
    spent: Usage | None = None,
) -> JSON:
    """Return the run as it stands: `ended_at` and `spent` once it has ended, `incomplete` the reason why too early."""
    ended = {ENDED_AT.get(status): ended_at}
    return {
        "id": owner.run_id,
        "object": "thread.run",
        "created_at": owner.created_at,
        "assistant_id": owner.assistant_id,
        "thread_id": owner.thread_id,
        "status": status,
        "started_at": started_at,
        "expires_at": owner.expires_at if ended_at is None or status == "expired" else None,
        "cancelled_at": ended.get("cancelled_at"),
        "failed_at": ended.get("failed_at"),
        "completed_at": ended.get("completed_at"),
        "required_action": required_action,
        "last_error": last_error(failure),
        "incomplete_details": None if incomplete is None else {"reason": incomplete},
        "usage": None if spent is None else usage(spent),
        "tool_resources": {},
        **settings,
    }


def last_error(failure: Failure | None) -> JSON | None:
    """Return why a step or run failed, if it did."""
    return None if failure is None else {"code": failure.code, "message": failure.message}


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
    status: str = "in_progress",
    ended_at: int | None = None,
    failure: Failure | None = None,
    spent: Usage | None = None,
) -> JSON:
    """Return a step with `details` as its `step_details`, ended or not."""
    ended = {ENDED_AT.get(status): ended_at}
    return {
        "id": step_id,
        "object": "thread.run.step",
        "created_at": created_at,
        "run_id": owner.run_id,
        "assistant_id": owner.assistant_id,
        "thread_id": owner.thread_id,
        "type": details["type"],
        "status": status,
        "cancelled_at": ended.get("cancelled_at"),
        "completed_at": ended.get("completed_at"),
        "expires_at": owner.expires_at,
        "failed_at": ended.get("failed_at"),
        "last_error": last_error(failure),
        "step_details": details,
        "usage": None if spent is None else usage(spent),
    }


def step_delta(step_id: str, details: JSON) -> JSON:
    """Return what was added to a step's details. The calls in it have their `index`."""
    return {"id": step_id, "object": "thread.run.step.delta", "delta": {"step_details": details}}


def message(
    message_id: str,
    thread_id: str,
    created_at: int,
    content: list[JSON],
    *,
    owner: Owner | None = None,
    status: str = "completed",
    ended_at: int | None = None,
    reason: str | None = None,
    role: str = "assistant",
    attachments: list[JSON] | None = None,
    metadata: JSON | None = None,
) -> JSON:
    """Return a message, of a run or of a user. `reason` says why it is incomplete."""
    return {
        "id": message_id,
        "object": "thread.message",
        "created_at": created_at,
        "assistant_id": owner and owner.assistant_id,
        "thread_id": thread_id,
        "run_id": owner and owner.run_id,
        "status": status,
        "incomplete_details": None if reason is None else {"reason": reason},
        "incomplete_at": ended_at if status == "incomplete" else None,
        "completed_at": ended_at if status == "completed" else None,
        "role": role,
        "content": content,
        "attachments": attachments or [],
        "metadata": metadata or {},
    }


def message_delta(message_id: str, content: list[JSON]) -> JSON:
    """Return what was added to a message's content. Its parts have their `index`."""
    return {"id": message_id, "object": "thread.message.delta", "delta": {"content": content}}
