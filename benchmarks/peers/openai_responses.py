"""openai-python: `client.responses.stream(…)`, every event iterated, then `get_final_response()`.

What it holds is the response of the terminal event; of the text it builds itself, each event of a text's end has a
parsed copy. So the final output is compared as a whole, and the deltas by their sum.
"""

from dataclasses import dataclass, field
from typing import Any, Final

from openai import AsyncOpenAI

from benchmarks.peers.openai_sdk import PACKAGES, connect_to, prepare
from benchmarks.responses import text_of
from benchmarks.writer import DELTAS, Workload

__all__ = ["PACKAGES", "check", "connect_to", "prepare", "run", "verify"]

_DONE: Final = ("response.output_text.done", "response.function_call_arguments.done")


@dataclass
class Result:
    """What came, and the response in the end."""

    events: int = 0
    told: list[tuple[str, str]] = field(default_factory=list)
    response: Any = None


async def run(client: AsyncOpenAI) -> Result:
    result = Result()
    async with client.responses.stream(model="gpt-5", input="Write a report.") as stream:
        async for event in stream:
            result.events += 1
            if event.type in ("response.output_item.added", "response.output_item.done"):
                result.told.append((event.item.id, event.item.status))
        result.response = await stream.get_final_response()
    await client.close()
    return result


def check(load: Workload, result: Result) -> int:
    assert result.events == len(load.events)
    assert result.told == [(one["id"], status) for one in load.output for status in ("in_progress", "completed")]
    assert result.response.usage.total_tokens == 272
    assert [_as_wire(one) for one in result.response.output] == list(load.output)
    return len(load.events)


async def verify(load: Workload) -> None:
    """Check what the pieces add up to."""
    client = prepare(load)
    async with client.responses.stream(model="gpt-5", input="Write a report.") as stream:
        pieces = [event.delta async for event in stream if event.type in DELTAS]
    await client.close()
    assert "".join(pieces) == "".join(text_of(one) for one in load.output)


def _as_wire(item: Any) -> dict[str, Any]:
    """Return an item without what the client adds to it."""
    found = item.to_dict(mode="json")
    found.pop("parsed_arguments", None)
    for part in found.get("content") or ():
        part.pop("parsed", None)
    return found
