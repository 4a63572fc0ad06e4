"""Measures what runs take in memory.

Each run is a stream of its own: one function call, whose arguments come in 40 tokens. They are read at once through
one processor with three subscribers to every change. Heap and resident memory are measured in a process each, as
tracing the heap takes memory too.

* open: every stream is halfway and waits for its server; the task that reads it is included.
* kept: every run has ended and is remembered (`retain`).
* released: every run has ended, and none is remembered. Not told of resident memory, which the allocator keeps.
"""

import gc
import tracemalloc
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import anyio

from benchmarks.harness.case import Measurement, Sample
from benchmarks.workloads import Load
from stepstream import Processor
from stepstream.live.registration import CLASSES

OPEN: Final = "open KiB/run"
KEPT: Final = "kept KiB/run"
RELEASED: Final = "released KiB/run"

WARM_UP: Final = 50
_BLOCKS: Final = Load("function_call_by_token", 40).make().blocks
_HALF: Final = len(_BLOCKS) // 2


@dataclass(frozen=True)
class Memory(Measurement):
    """So many runs, measured by the heap that `tracemalloc` tells, or by the resident memory that Linux tells."""

    runs: int
    is_heap: bool

    def packages(self) -> tuple[str, ...]:
        return ("msgspec", "anyio")

    def missing(self) -> str:
        return "" if self.is_heap or Path("/proc/self/status").is_file() else "the system does not tell"

    def __call__(self) -> Sample:
        if not self.is_heap:
            opened, kept = _measured(self.runs, _resident, self.runs)
            return {OPEN: opened, KEPT: kept}
        tracemalloc.start()
        try:
            opened, kept = _measured(self.runs, _heap, self.runs)
            return {OPEN: opened, KEPT: kept, RELEASED: _measured(self.runs, _heap, 0)[1]}
        finally:
            tracemalloc.stop()


def _heap() -> int:
    return tracemalloc.get_traced_memory()[0]


def _resident() -> int:
    """Return the resident memory of this process in bytes; Linux tells it."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("expected VmRSS in /proc/self/status")


def _measured(runs: int, memory: Callable[[], int], retain: int) -> tuple[float, float]:
    few = min(WARM_UP, runs)
    anyio.run(_measure, few, memory, few)
    return anyio.run(_measure, runs, memory, retain)


async def _measure(runs: int, memory: Callable[[], int], retain: int) -> tuple[float, float]:
    """Return the KiB for each run, while all are open and when all have ended."""

    async def take(change: Any) -> None:
        pass

    def used() -> int:
        gc.collect()
        return memory()

    gate, before = anyio.Event(), used()
    async with Processor(retain=retain, max_open_runs=runs) as processor:
        for _ in range(3):
            processor.add(CLASSES, take)
        async with anyio.create_task_group() as tasks:
            for number in range(runs):
                tasks.start_soon(processor.run, _source(number, gate))
            await anyio.wait_all_tasks_blocked()
            now = processor.statistics()
            assert (now.open_runs, now.streams) == (runs, runs)
            while_open = used() - before
            gate.set()
        then = processor.statistics()
        assert (then.open_runs, then.finished_runs) == (0, min(runs, retain))
        after = used() - before
    return while_open / runs / 1024, after / runs / 1024


async def _source(number: int, gate: anyio.Event) -> AsyncIterator[bytes]:
    yield _numbered(_BLOCKS[:_HALF], number)
    await gate.wait()
    yield _numbered(_BLOCKS[_HALF:], number)


def _numbered(blocks: tuple[bytes, ...], number: int) -> bytes:
    return b"".join(blocks).replace(b"_bench", b"_bench%d" % number)
