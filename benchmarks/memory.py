"""What runs cost in memory: `python -m benchmarks.memory [RUNS] [--json]`, from the top of the repository.

Each run is a stream of its own: one function call, whose arguments come in 40 tokens. They are read at once through
one processor with three subscribers to every change. Heap and resident memory are measured in a process each, as
tracing the heap takes memory too.

* `open`: every stream is halfway and waits for its server; the task that reads it is included.
* `kept`: every run has ended and is remembered (`retain`).
* `released`: every run has ended, and none is remembered. Not told of resident memory, which the allocator keeps.
"""

import argparse
import gc
import json
import subprocess
import sys
import tracemalloc
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Final

import anyio

from benchmarks.workloads import function_call_by_token
from stepstream import Processor
from stepstream.live.filters import CLASSES

TOKENS: Final = 40
WARM_UP: Final = 50
KINDS: Final = ("heap", "resident")

_BLOCKS: Final = b"".join(function_call_by_token(TOKENS).chunks).split(b"\n\n")
_HALF: Final = len(_BLOCKS) // 2


def _stream(blocks: list[bytes], number: int) -> bytes:
    return b"\n\n".join([*blocks, b""]).replace(b"_bench", b"_bench%d" % number)


async def _source(number: int, gate: anyio.Event) -> AsyncIterator[bytes]:
    yield _stream(_BLOCKS[:_HALF], number)
    await gate.wait()
    yield _stream(_BLOCKS[_HALF:-1], number)


def _resident() -> int:
    """Return the resident memory of this process in bytes; Linux tells it."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("expected VmRSS in /proc/self/status")


async def _measure(runs: int, memory: Callable[[], int], retain: int) -> tuple[float, float]:
    """Return the bytes for each run, while all are open and when all have ended."""

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
    return while_open / runs, after / runs


def _figures(kind: str, runs: int) -> dict[str, float]:
    memory: Callable[[], int] = _resident
    if kind == "heap":
        tracemalloc.start()
        memory = lambda: tracemalloc.get_traced_memory()[0]  # noqa: E731
    anyio.run(_measure, WARM_UP, memory, WARM_UP)
    opened, kept = anyio.run(_measure, runs, memory, runs)
    if kind == "resident":
        return {"open": opened, "kept": kept}
    return {"open": opened, "kept": kept, "released": anyio.run(_measure, runs, memory, 0)[1]}


def _in_a_fresh_process(kind: str, runs: int) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.memory", str(runs), "--only", kind]
    return json.loads(subprocess.run(command, capture_output=True, check=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description="Measure what runs take.")
    parser.add_argument("runs", nargs="?", type=int, default=10_000, metavar="RUNS", help="10,000 unless told")
    parser.add_argument("--json", action="store_true", help="write JSON")
    parser.add_argument("--only", choices=KINDS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only:
        print(json.dumps(_figures(options.only, options.runs)))
        return
    figures = {kind: _in_a_fresh_process(kind, options.runs) for kind in KINDS}
    if options.json:
        print(json.dumps({"runs": options.runs, **{f"{kind}_bytes": figures[kind] for kind in KINDS}}))
        return
    print(f"memory: KiB a run, of {options.runs:,} runs at once", "", "           heap  resident", sep="\n")
    for name, heap in figures["heap"].items():
        resident = figures["resident"].get(name)
        print(f"{name:<9}{heap / 1024:6.2f}{'' if resident is None else f'{resident / 1024:10.2f}'}")


if __name__ == "__main__":
    main()
