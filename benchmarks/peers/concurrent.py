"""stepstream: a thousand streams through one processor, so many at a time. All else is as in `ours`.

Each source lets the others run before every chunk, as one does that waits for a network.
"""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Final

import anyio
from anyio.lowlevel import checkpoint

from benchmarks.peers.ours import check_outcome
from benchmarks.writer import Workload
from stepstream import Outcome, Processor, StepTransition

STREAMS: Final = 1_000


@dataclass
class Result:
    """What the processor returned, by the number of the stream, and how often its subscriber was told."""

    outcomes: dict[int, Outcome] = field(default_factory=dict)
    told: int = 0


@dataclass(frozen=True)
class Peer:
    """So many streams at a time."""

    at_a_time: int
    streams: int = STREAMS
    PACKAGES = ("msgspec", "anyio")

    def prepare(self, load: Workload) -> list[tuple[bytes, ...]]:
        return [_numbered(load, number).chunks for number in range(self.streams)]

    async def run(self, prepared: list[tuple[bytes, ...]]) -> Result:
        result, waiting = Result(), iter(enumerate(prepared))
        async with Processor() as processor:

            @processor.on(StepTransition)
            async def note(change: StepTransition) -> None:
                result.told += 1

            async with anyio.create_task_group() as tasks:
                for _ in range(self.at_a_time):
                    tasks.start_soon(_read, processor, waiting, result)
        return result

    def check(self, load: Workload, result: Result) -> int:
        assert sorted(result.outcomes) == list(range(self.streams))
        assert result.told == 2 * len(load.steps) * self.streams
        for number, outcome in result.outcomes.items():
            check_outcome(_numbered(load, number), outcome)
        return len(load.events) * self.streams


async def _read(processor: Processor, waiting: Iterator[tuple[int, tuple[bytes, ...]]], result: Result) -> None:
    """Read one stream after another, until none waits."""
    for number, chunks in waiting:
        result.outcomes[number] = await processor.run(_source(chunks))


async def _source(chunks: tuple[bytes, ...]) -> AsyncIterator[bytes]:
    for chunk in chunks:
        await checkpoint()
        yield chunk


def _numbered(load: Workload, number: int) -> Workload:
    """Return the stream with ids of its own."""
    new = f"_bench{number}"
    blocks = tuple(block.replace(b"_bench", new.encode()) for block in load.blocks)
    steps = tuple(_renamed(step, new) for step in load.steps)
    return replace(load, blocks=blocks, steps=steps)


def _renamed(value: Any, new: str) -> Any:
    match value:
        case dict():
            return {key: _renamed(one, new) for key, one in value.items()}
        case list():
            return [_renamed(one, new) for one in value]
        case str():
            return value.replace("_bench", new)
        case _:
            return value
