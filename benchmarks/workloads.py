"""Seeded streams to measure with, each named by the path it stresses.

The bytes are written here with the standard library alone, so that no measured package has a hand in its own input.
"""

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

CHUNK_SIZE: Final = 4096
DELTA: Final = "thread.run.step.delta"

_IDS: Final = {"run_id": "run_bench", "assistant_id": "asst_bench", "thread_id": "thread_bench"}
_STEP_ID: Final = "step_bench"
_CALL_ID: Final = "call_bench"
_FUNCTION: Final = "save_report"
_BEGIN: Final = 1_761_861_531
_TOKENS: Final = (
    " the", " a", " of", " and", " to", " in", " is", " run", " step", " stream", " status", " report", "ing", "ed",
    ",", ".", ":", " (", ")", " 12", "7", "-", "_id", "\\n", '\\"', " weather", " Paris", " café", " 東京", "s",
)  # fmt: skip
"""Pieces of a JSON string as a model sends them, escapes and some characters outside ASCII included."""


@dataclass(frozen=True, slots=True)
class Workload:
    """A stream and what must come of it."""

    chunks: tuple[bytes, ...]
    steps: tuple[dict[str, Any], ...]
    """The final steps, as the wire objects."""
    events: tuple[str, ...]
    """The name of every event, in order, `done` included."""


def function_call_by_token(tokens: int, *, seed: int = 1) -> Workload:
    """Return a run with one step, in which one function call gets its arguments in `tokens` deltas of one token."""
    pieces = list(_argument_tokens(tokens, random.Random(seed)))
    step = _step("completed", [_call("".join(pieces), output="saved")], completed_at=_BEGIN + 60)
    events = [
        ("thread.run.created", _run("queued")),
        ("thread.run.queued", _run("queued")),
        ("thread.run.in_progress", _run("in_progress", started_at=_BEGIN + 1)),
        ("thread.run.step.created", _step("in_progress", [])),
        ("thread.run.step.in_progress", _step("in_progress", [])),
        (DELTA, _delta({"index": 0, **_call("", output=None)})),
        *((DELTA, _delta(_argument_delta(piece))) for piece in pieces),
        ("thread.run.step.completed", step),
        ("thread.run.completed", _run("completed", started_at=_BEGIN + 1, completed_at=_BEGIN + 61)),
    ]
    stream = b"".join(_block(name, _compact(data)) for name, data in events) + _block("done", "[DONE]")
    return Workload(_chunks(stream), (step,), (*(name for name, _ in events), "done"))


def _argument_tokens(count: int, rng: random.Random) -> Iterator[str]:
    """Yield `count` pieces that together are one JSON object."""
    if count < 2:
        raise ValueError(f"expected at least 2 tokens, got {count}")
    yield '{"text":"'
    yield from rng.choices(_TOKENS, k=count - 2)
    yield '"}'


def _call(arguments: str, *, output: str | None) -> dict[str, Any]:
    return {
        "id": _CALL_ID,
        "type": "function",
        "function": {"name": _FUNCTION, "arguments": arguments, "output": output},
    }


def _argument_delta(piece: str) -> dict[str, Any]:
    return {"index": 0, "type": "function", "function": {"arguments": piece}}


def _delta(call: dict[str, Any]) -> dict[str, Any]:
    details = {"type": "tool_calls", "tool_calls": [call]}
    return {"id": _STEP_ID, "object": "thread.run.step.delta", "delta": {"step_details": details}}


def _step(status: str, calls: list[dict[str, Any]], *, completed_at: int | None = None) -> dict[str, Any]:
    usage = {"prompt_tokens": 260, "completion_tokens": 12, "total_tokens": 272}
    return {
        "id": _STEP_ID,
        "object": "thread.run.step",
        "created_at": _BEGIN + 2,
        **_IDS,
        "type": "tool_calls",
        "status": status,
        "cancelled_at": None,
        "completed_at": completed_at,
        "expires_at": _BEGIN + 600,
        "failed_at": None,
        "last_error": None,
        "step_details": {"type": "tool_calls", "tool_calls": calls},
        "usage": usage if completed_at else None,
    }


def _run(status: str, *, started_at: int | None = None, completed_at: int | None = None) -> dict[str, Any]:
    parameters = {"type": "object", "properties": {"text": {"type": "string"}}}
    return {
        "id": _IDS["run_id"],
        "object": "thread.run",
        "created_at": _BEGIN,
        "assistant_id": _IDS["assistant_id"],
        "thread_id": _IDS["thread_id"],
        "status": status,
        "started_at": started_at,
        "expires_at": _BEGIN + 600,
        "cancelled_at": None,
        "failed_at": None,
        "completed_at": completed_at,
        "required_action": None,
        "last_error": None,
        "model": "gpt-4o",
        "instructions": None,
        "tools": [{"type": "function", "function": {"name": _FUNCTION, "parameters": parameters}}],
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


def _compact(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _block(name: str, data: str) -> bytes:
    return f"event: {name}\ndata: {data}\n\n".encode()


def _chunks(stream: bytes) -> tuple[bytes, ...]:
    return tuple(stream[start : start + CHUNK_SIZE] for start in range(0, len(stream), CHUNK_SIZE))
