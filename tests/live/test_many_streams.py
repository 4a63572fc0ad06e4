"""Thousands of runs at once through one processor: order, completeness, and what is let go of."""

import gc
import json
import subprocess
import sys
import weakref
from collections import Counter, defaultdict
from collections.abc import AsyncGenerator
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from stepstream import MessageProgress, Processor, RunTransition, StepProgress, StepTransition
from stepstream.fold.builder import SnapshotBuilder
from stepstream.live.registration import CLASSES
from tests.support.places import ROOT
from tests.support.run_streams import play, sse, told_of

RETAIN = 10
MANY = [pytest.param(100), *(pytest.param(count, marks=pytest.mark.slow) for count in (1_000, 10_000))]


class Channel:
    """A context that can be watched."""


async def halting(number: int, gate: anyio.Event) -> AsyncGenerator[bytes, None]:
    """A run that waits for the gate in its middle."""
    yield sse(play(number)[:6])
    await gate.wait()
    yield sse(play(number)[6:])


def growing() -> int:
    """Return how many steps and messages are in memory."""
    gc.collect()
    return sum(type(one) is SnapshotBuilder for one in gc.get_objects())


class Many:
    """So many runs at once through one processor with three subscribers, one of them side by side and one sparing."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.all: dict[str | None, list[Any]] = defaultdict(list)
        self.ends: dict[str | None, list[Any]] = defaultdict(list)
        self.drawn: dict[str | None, list[Any]] = defaultdict(list)
        self.channels: list[weakref.ref[Channel]] = []
        self.processor = Processor(retain=RETAIN)
        self.processor.add(CLASSES, self._note)
        self.processor.add((StepTransition, RunTransition), self._end, terminal=True, concurrency=8)
        self.processor.add((StepProgress, MessageProgress, RunTransition), self._draw, overflow="latest")

    async def _note(self, change: Any) -> None:
        assert isinstance(change.context, Channel)
        self.all[change.run_id].append((type(change).__name__, change.sequence))

    async def _end(self, change: Any) -> None:
        await anyio.lowlevel.checkpoint()
        self.ends[change.run_id].append((type(change).__name__, change.sequence))

    async def _draw(self, change: Any) -> None:
        await anyio.lowlevel.checkpoint()
        self.drawn[change.run_id].append((type(change).__name__, change.sequence))

    async def start(self, tasks: Any, gate: anyio.Event) -> None:
        """Start the runs, and return when each waits in its middle."""
        for number in range(self.count):
            channel = Channel()
            self.channels.append(weakref.ref(channel))
            tasks.start_soon(self.processor.run, halting(number, gate), channel)
        del channel
        while self.processor.statistics().open_runs < self.count or self.waiting:
            await anyio.wait_all_tasks_blocked()

    @property
    def waiting(self) -> int:
        return sum(one.waiting for one in self.processor.statistics().subscribers)


@pytest.mark.parametrize("count", MANY)
async def test_each_of_many_runs_is_told_whole_and_in_order(count: int):
    many, gate = Many(count), anyio.Event()
    whole = await told_of(play())
    ends = [one for one in whole if one in (("StepTransition", 7), ("StepTransition", 13), ("RunTransition", 14))]
    async with many.processor, anyio.create_task_group() as tasks:
        await many.start(tasks, gate)
        gate.set()
    assert set(many.all) == {f"run_{number}" for number in range(count)}
    assert Counter(map(tuple, many.all.values())) == {tuple(whole): count}
    assert Counter(map(tuple, many.ends.values())) == {tuple(ends): count}
    for drawn in many.drawn.values():
        assert [name for name, _ in drawn if name == "RunTransition"] == ["RunTransition"] * 3
        assert drawn[-1] == ("RunTransition", 14)
        assert ("MessageProgress", 11) in drawn  # the last of its message: what it replaced may be missing


async def test_runs_are_counted_while_they_are_open_and_after():
    count = 100
    many, gate = Many(count), anyio.Event()
    async with many.processor as processor:
        async with anyio.create_task_group() as tasks:
            await many.start(tasks, gate)
            now = processor.statistics()
            assert (now.streams, now.open_runs, now.finished_runs) == (count, count, 0)
            gate.set()
        then = processor.statistics()
        assert (then.streams, then.open_runs, then.finished_runs) == (0, 0, RETAIN)
        assert (then.events, then.anomalies) == (count * len(play()), 0)
        noting, ending, drawing = then.subscribers
        assert noting.offered == noting.delivered == count * len(await told_of(play()))
        assert ending.offered == ending.delivered == count * 3
        assert drawing.offered == drawing.delivered + drawing.coalesced
        assert [(one.waiting, one.dropped, one.failed) for one in then.subscribers] == [(0, 0, 0)] * 3


@pytest.mark.parametrize("count", MANY)
async def test_finished_runs_are_let_go_of(count: int):
    before = growing()
    many, gate = Many(count), anyio.Event()
    async with many.processor:
        async with anyio.create_task_group() as tasks:
            await many.start(tasks, gate)
            assert growing() - before == count
            gate.set()
        assert growing() - before == 3 * RETAIN  # two steps and a message each
        assert sum(channel() is not None for channel in many.channels) == 0  # the contexts of all runs


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="resident memory is read from /proc")
def test_a_run_takes_little_memory_while_it_is_open_and_less_after():
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.memory", "500", "--json"],
        cwd=ROOT, capture_output=True, check=True, timeout=60,
    )  # fmt: skip
    figures = json.loads(done.stdout)["heap_bytes"]
    assert 0 < figures["kept"] < figures["open"] < 40_000
    assert figures["released"] < 1_000
