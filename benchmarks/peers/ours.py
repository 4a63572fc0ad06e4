"""stepstream: a `Processor` with one subscriber to step transitions."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Final

import msgspec

from benchmarks.workloads import Workload
from stepstream import Outcome, Processor, StepTransition, accumulate

PACKAGES: Final = ("msgspec", "anyio")

_TERMINAL: Final = b"event: thread.run.step.completed\n"


@dataclass
class Result:
    """What the processor returned, and what its subscriber was told."""

    outcome: Outcome | None = None
    statuses: list[str] = field(default_factory=list)


def prepare(load: Workload) -> tuple[bytes, ...]:
    return load.chunks


async def run(chunks: tuple[bytes, ...]) -> Result:
    result = Result()
    async with Processor() as processor:

        @processor.on(StepTransition)
        async def note(change: StepTransition) -> None:
            result.statuses.append(change.status)

        result.outcome = await processor.run(chunks_of(chunks))
    return result


def check(load: Workload, result: Result) -> int:
    outcome = result.outcome
    assert outcome is not None
    assert outcome.reason == "done"
    assert outcome.anomaly_count == 0, outcome.anomalies
    assert outcome.events == len(load.events)
    assert result.statuses == ["in_progress", "completed"]
    assert _as_wire(outcome.steps.values()) == list(load.steps)
    _check_fold(load)
    return len(load.events)


def _check_fold(load: Workload) -> None:
    """Check the step as the deltas alone built it: the terminal object, which replaces it, would hide a wrong fold."""
    stream, _, _ = b"".join(load.chunks).partition(_TERMINAL)
    steps = _as_wire(accumulate([stream]).steps.values())
    assert [_arguments(step) for step in steps] == [_arguments(step) for step in load.steps]


def _as_wire(steps: object) -> list[dict]:
    return msgspec.json.decode(msgspec.json.encode(list(steps)))


def _arguments(step: dict) -> list[str]:
    return [call["function"]["arguments"] for call in step["step_details"]["tool_calls"]]


async def chunks_of(chunks: tuple[bytes, ...]) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk
