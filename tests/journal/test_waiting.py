"""How long a follower waits: in time that jumps."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

import anyio
import pytest

from stepstream import MemoryJournal, Processor, RunInterrupted, StreamTruncated, publish
from stepstream.live.journal import Held, Opened, RunStatus
from tests.journal.test_publishing import FIRST, SECOND
from tests.support.journal_contract import BLOCKS, DONE, pack, told_of
from tests.support.journals import alike, chunks_of
from tests.support.journals import told_of as told_by
from tests.support.virtual_time import anyio_backend

__all__ = ["anyio_backend"]

DAY = 24 * 3_600.0


async def test_approval_may_take_a_day():
    journal, told = MemoryJournal(), list[Any]()

    async def follow() -> None:
        told.append(await told_by(journal.follow("run_1")))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(follow)
        await publish(chunks_of(FIRST), journal)
        await anyio.sleep(DAY)
        await publish(chunks_of(SECOND), journal)
    whole = await told_by(chunks_of([*FIRST[:-1], *SECOND]))
    assert alike(told[0].changes) == alike(whole.changes)


@pytest.mark.parametrize("seconds", [30.0, 90.0])
async def test_open_run_without_a_sign_of_life_is_interrupted(seconds: float):
    journal = MemoryJournal()
    opened = await journal.open("run_1", writer="a")
    await journal.append(opened, [pack(opened, 1, 3)])
    begun = anyio.current_time()
    follower = await told_by(journal.follow("run_1", interrupted_after=seconds))
    assert isinstance(follower.error, RunInterrupted)
    assert seconds <= anyio.current_time() - begun <= seconds + 1
    assert len(follower.changes) == 3
    assert (await told_of(journal)).status == "open"  # it is what an observer says, no event


async def test_run_that_never_begins_is_given_up():
    follower = await told_by(MemoryJournal().follow("run_1"))
    assert "did not begin" in str(follower.error)


async def test_processor_gives_signs_of_life_for_runs_of_which_nothing_comes():
    journal = MemoryJournal()
    send, receive = anyio.create_memory_object_stream[bytes](99)
    told: list[Any] = []

    async def follow() -> None:
        told.append(await told_by(journal.follow("run_1")))

    async with send, receive, Processor(journal=journal) as processor, anyio.create_task_group() as tasks:
        handle = processor.start(receive)
        tasks.start_soon(follow)
        for block in BLOCKS[:6]:
            await send.send(block)
        await anyio.sleep(DAY / 48)
        assert (told, (await told_of(journal)).silence <= 10) == ([], True)
        for block in [*BLOCKS[6:], DONE]:
            await send.send(block)
        await handle.outcome()
        send.close()
    assert told[0].outcome.text == "Fog over the bay"


class SlowJournal(MemoryJournal):
    """One that takes some seconds for each thing that it is told, and is told one at a time of each run."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds
        self.under_way = set[str]()
        self.told = list[tuple[str, RunStatus, int]]()

    async def append(
        self, opened: Opened, held: Sequence[Held] = (), *, status: RunStatus = "open", error: str = ""
    ) -> None:
        assert opened.run_id not in self.under_way
        self.under_way.add(opened.run_id)
        try:
            await anyio.sleep(self.seconds)
            await super().append(opened, held, status=status, error=error)
        finally:
            self.under_way.remove(opened.run_id)
        self.told.append((opened.run_id, status, len(held)))


@pytest.mark.parametrize("seconds", [0.1, 4.0, 12.0])
@pytest.mark.parametrize("pace", [0.5, 7.0, 45.0])
async def test_sign_of_life_is_given_while_nothing_else_is_told_of_the_run(seconds: float, pace: float):
    """Told at once, it would say that a run is open which has just been told to have ended."""

    async def paced(number: int) -> AsyncIterator[bytes]:
        for block in [*BLOCKS, DONE]:
            await anyio.sleep(pace)
            yield block.replace(b"_1", b"_%d" % number)

    journal = SlowJournal(seconds)
    async with Processor(journal=journal) as processor, anyio.create_task_group() as tasks:
        for number in (1, 2, 3):
            tasks.start_soon(processor.run, paced(number))
            await anyio.sleep(pace / 3)
    assert [(info.id, info.status) async for info in journal.runs()] == [(f"run_{n}", "ended") for n in (1, 2, 3)]
    signs = [one for one in journal.told if one[1:] == ("open", 0)]
    assert bool(signs) == (pace > 1)


async def test_sign_of_life_goes_on_when_a_run_was_taken_over():
    journal = MemoryJournal()
    send, receive = anyio.create_memory_object_stream[bytes](99)
    async with send, receive, Processor(journal=journal) as processor:
        over = anyio.Event()
        first, second = processor.start(receive), processor.start(nothing_until(over))
        await send.send(BLOCKS[0])
        await anyio.sleep(1)
        await journal.open("run_1", writer="another")
        await anyio.sleep(DAY / 48)
        assert (await told_of(journal)).silence > 30
        send.close()
        over.set()
        with pytest.raises(StreamTruncated, match="the stream ended"):
            await first.outcome()
        with pytest.raises(StreamTruncated, match="without a single event"):
            await second.outcome()


async def nothing_until(over: anyio.Event) -> AsyncIterator[bytes]:
    await over.wait()
    for nothing in ():
        yield nothing


async def test_ended_runs_are_kept_for_so_long_whatever_the_clock_says():
    times = iter([1_800_000_000.0, 5.0, 4e9, *[2e9] * 99])
    journal = MemoryJournal(keep=3_600, clock=lambda: next(times))
    fences = []
    for number in range(3):
        opened = await journal.open(f"run_{number}", writer="a")
        fences.append(opened.fence)
        await journal.append(opened, status="ended" if number else "open")
    assert fences == sorted(set(fences))
    await anyio.sleep(3_000)
    assert len([info async for info in journal.runs()]) == 3
    await anyio.sleep(601)
    assert [info.id async for info in journal.runs()] == ["run_0"]
