"""stepstream: a `Processor` with one subscriber to step transitions."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from benchmarks.expected import texts
from benchmarks.writer import STEP_END, Workload
from stepstream import Outcome, Processor, StepProgress, StepTransition, accumulate, connect

PACKAGES: Final = ("msgspec", "anyio", "httpx")

Source = Callable[[], Any]
"""Gives what `Processor.run` reads."""

_ENDS: Final = (STEP_END, "thread.message.completed")


@dataclass
class Result:
    """What the processor returned, and what its subscriber was told."""

    outcome: Outcome | None = None
    told: list[tuple[str, str]] = field(default_factory=list)


def prepare(load: Workload) -> Source:
    chunks = load.chunks
    return lambda: chunks_of(chunks)


def connect_to(url: str) -> Source:
    return lambda: connect(url, json={"stream": True})


async def run(source: Source) -> Result:
    result = Result()
    async with Processor() as processor:

        @processor.on(StepTransition)
        async def note(change: StepTransition) -> None:
            result.told.append((change.step_id, change.status))

        result.outcome = await processor.run(source())
    return result


async def listen(source: Source, note: Callable[[str], None]) -> str:
    """Call `note` with what each delta adds to a function's arguments, and return them."""
    async with Processor() as processor:

        @processor.on(StepProgress)
        async def tell(change: StepProgress) -> None:
            note(change.delta.step_details.tool_calls[0].function.arguments)

        outcome = await processor.run(source())
    (step,) = outcome.steps.values()
    return step.tool_calls[0].function.arguments


def check(load: Workload, result: Result) -> int:
    assert result.outcome is not None
    check_outcome(load, result.outcome)
    expected = [(step["id"], status) for step in load.steps for status in ("in_progress", "completed")]
    assert sorted(result.told) == sorted(expected)
    return len(load.events)


def check_outcome(load: Workload, outcome: Outcome) -> None:
    assert outcome.reason == "done"
    assert outcome.anomaly_count == 0, outcome.anomalies
    assert outcome.events == len(load.events)
    assert as_wire(outcome.steps.values()) == list(load.steps)
    assert as_wire(outcome.messages.values()) == list(load.messages)


async def verify(load: Workload) -> None:
    """Check what the deltas alone build: the terminal objects, which replace it, would hide a wrong fold."""
    blocks = [block for block, name in zip(load.blocks, load.events, strict=True) if name not in _ENDS]
    built = accumulate([b"".join(blocks)])
    assert texts(as_wire(built.steps.values())) == texts(load.steps)
    assert texts(as_wire(built.messages.values())) == texts(load.messages)


def as_wire(objects: object) -> list[dict]:
    return msgspec.json.decode(msgspec.json.encode(list(objects)))


async def chunks_of(chunks: tuple[bytes, ...]) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk
