"""Seeded streams of the Responses API, as OpenAI sends them: padding, numbers and log probabilities included."""

import random
from typing import Any, Final

from benchmarks import objects
from benchmarks.writer import CALL_DELTA, TEXT_DELTA, Workload, argument_tokens, tokens

_PADDING: Final = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
_USAGE: Final = {
    "input_tokens": 260,
    "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
    "output_tokens": 12,
    "output_tokens_details": {"reasoning_tokens": 0},
    "total_tokens": 272,
}


def response_text(size: int, *, seed: int = 1) -> Workload:
    """Return a response that writes one message in `size` deltas of one token."""
    rng = random.Random(seed)
    place = {"item_id": "msg_bench", "output_index": 0, "content_index": 0}
    opened = {"id": "msg_bench", "type": "message", "status": "in_progress", "content": [], "role": "assistant"}
    stream, pieces = _Stream(rng), tokens(size, rng)
    whole = "".join(pieces)
    stream.add("response.output_item.added", output_index=0, item=opened)
    stream.add("response.content_part.added", **place, part=_part(""))
    for piece in pieces:
        stream.add_delta(TEXT_DELTA, piece, **place, logprobs=[])
    stream.add("response.output_text.done", **place, text=whole, logprobs=[])
    stream.add("response.content_part.done", **place, part=_part(whole))
    return stream.finish({**opened, "status": "completed", "content": [_part(whole)]})


def response_call(size: int, *, seed: int = 1) -> Workload:
    """Return a response in which one function call gets its arguments in `size` deltas of one token."""
    rng = random.Random(seed)
    place = {"item_id": "fc_bench", "output_index": 0}
    opened = {
        "id": "fc_bench", "type": "function_call", "status": "in_progress", "arguments": "", "call_id": "call_bench",
        "name": "save_report",
    }  # fmt: skip
    stream, pieces = _Stream(rng), list(argument_tokens(size, rng))
    whole = "".join(pieces)
    stream.add("response.output_item.added", output_index=0, item=opened)
    for piece in pieces:
        stream.add_delta(CALL_DELTA, piece, **place)
    stream.add("response.function_call_arguments.done", **place, arguments=whole, name="save_report")
    return stream.finish({**opened, "status": "completed", "arguments": whole})


def _part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "annotations": [], "logprobs": [], "text": text}


class _Stream:
    """A response as it is written."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._events: list[tuple[str, bytes]] = []
        for name in ("created", "in_progress"):
            self.add(f"response.{name}", response=_response("in_progress", [], None))

    def add(self, name: str, /, **fields: Any) -> None:
        data = {"type": name, "sequence_number": len(self._events), **fields}
        self._events.append((name, objects.block(name, objects.compact(data))))

    def add_delta(self, name: str, piece: str, **fields: Any) -> None:
        """Add a piece, padded to 16 characters as OpenAI does, so that its length tells nothing."""
        padding = "".join(self._rng.choices(_PADDING, k=max(0, 16 - len(piece))))
        self.add(name, **fields, delta=piece, obfuscation=padding)

    def finish(self, item: dict[str, Any]) -> Workload:
        self.add("response.output_item.done", output_index=0, item=item)
        self.add("response.completed", response=_response("completed", [item], _USAGE))
        return Workload(
            tuple(block for _, block in self._events), tuple(name for name, _ in self._events), (), output=(item,)
        )


def _response(status: str, output: list[dict[str, Any]], usage: dict[str, Any] | None) -> dict[str, Any]:
    parameters = {"type": "object", "properties": {"text": {"type": "string"}}}
    return {
        "id": "resp_bench", "object": "response", "created_at": objects.BEGIN, "status": status, "background": False,
        "error": None, "incomplete_details": None, "instructions": None, "max_output_tokens": None,
        "max_tool_calls": None, "model": "gpt-5", "output": output, "parallel_tool_calls": True,
        "previous_response_id": None, "reasoning": {"effort": None, "summary": None}, "service_tier": "default",
        "store": True, "temperature": 1.0, "text": {"format": {"type": "text"}, "verbosity": "medium"},
        "tool_choice": "auto",
        "tools": [{"type": "function", "name": "save_report", "parameters": parameters, "strict": False}],
        "top_logprobs": 0, "top_p": 1.0, "truncation": "disabled", "usage": usage, "user": None, "metadata": {},
    }  # fmt: skip


def text_of(item: dict[str, Any]) -> str:
    """Return the text of an item that grew."""
    return item["arguments"] if item["type"] == "function_call" else item["content"][0]["text"]
