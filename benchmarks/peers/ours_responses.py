"""stepstream on a Responses stream: a `Processor` with one subscriber to step transitions, as in `ours`."""

from typing import Any, Final

from benchmarks.peers.ours import Result, connect_to, prepare, run
from benchmarks.responses import text_of
from benchmarks.writer import DELTAS, Workload
from stepstream import accumulate

__all__ = ["PACKAGES", "check", "connect_to", "prepare", "run", "verify"]

PACKAGES: Final = ("msgspec", "anyio", "httpx")

_OPENS: Final = ("response.created", "response.output_item.added", "response.content_part.added", *DELTAS)


def check(load: Workload, result: Result) -> int:
    outcome = result.outcome
    assert outcome is not None
    assert (outcome.reason, outcome.anomaly_count) == ("ended", 0), outcome.anomalies
    assert outcome.usage.total_tokens == 272
    assert [_item(step, outcome.messages) for step in outcome.steps.values()] == [_named(one) for one in load.output]
    assert result.told == [(one["id"], status) for one in load.output for status in ("in_progress", "completed")]
    return len(load.events)


async def verify(load: Workload) -> None:
    """Check what the deltas alone build: the last objects, which replace it, would hide a wrong fold."""
    blocks = [block for block, name in zip(load.blocks, load.events, strict=True) if name in _OPENS]
    built = accumulate([b"".join(blocks)])
    assert [_text(step, built.messages) for step in built.steps.values()] == [text_of(one) for one in load.output]


def _item(step: Any, messages: Any) -> dict[str, Any]:
    """Return a step as what it was made of."""
    found = {"id": step.id, "status": step.status, "text": _text(step, messages)}
    for call in step.tool_calls:
        found |= {"call_id": call.id, "name": call.tool_name}
    return found


def _named(item: dict[str, Any]) -> dict[str, Any]:
    kept = {key: item[key] for key in ("id", "status", "call_id", "name") if key in item}
    return {**kept, "text": text_of(item)}


def _text(step: Any, messages: Any) -> str:
    return step.tool_calls[0].function.arguments if step.tool_calls else messages[step.id].text
