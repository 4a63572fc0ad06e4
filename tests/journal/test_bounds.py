"""What a journal in memory keeps at most, and what it costs to be followed by many."""

import tracemalloc
from typing import Any

import anyio
import pytest

from stepstream import JournalFull, JournalGap, MemoryJournal, Processor, publish
from stepstream.live.journal import Checkpoint, Opened, Pack, packs_of
from tests.journal.test_publishing import words
from tests.support.journal_contract import everything, told_of
from tests.support.journals import told_of as told_by

KIB = 2**10


def events(opened: Opened, first: int, count: int = 1, size: int = KIB) -> Pack:
    return Pack(opened.fence, first, count, b"x" * size * count)


async def test_ten_thousand_open_runs_stay_within_all_bounds():
    journal = MemoryJournal(max_bytes=1_000 * KIB)
    for number in range(10_000):
        opened = await journal.open(f"run_{number}", writer="a")
        await journal.append(opened, [events(opened, 1)])
    infos = [info async for info in journal.runs()]
    held = [len(await everything(journal, info.id)) for info in infos if info.id >= "run_9990"]
    assert (len(infos), set(held)) == (10_000, {1})
    with pytest.raises(JournalGap):
        await everything(journal, "run_0")
    assert await everything(journal, "run_0", after=1) == []
    assert repr(journal) == "<MemoryJournal 10,000 runs, 1,024,000 bytes>"


async def test_ended_runs_go_before_events_of_open_ones_and_those_before_what_no_checkpoint_has():
    journal = MemoryJournal(max_bytes=10 * KIB)
    ended, covered, plain = [await journal.open(name, writer="a") for name in ("ended", "covered", "plain")]
    await journal.append(ended, [events(ended, 1, 3)], status="ended")
    await journal.append(plain, [events(plain, 1), events(plain, 2)])
    await journal.append(covered, [events(covered, 1), events(covered, 2), Checkpoint(covered.fence, 2, b"{}")])
    await journal.append(covered, [events(covered, 3, 4)])
    assert [info.id async for info in journal.runs()] == ["covered", "plain"]
    assert [held.last for held in await everything(journal, "covered")] == [1, 2, 6]
    await journal.append(covered, [events(covered, 7, 3)])
    assert [type(held) for held in await everything(journal, "covered")] == [Checkpoint, Pack, Pack]
    assert len(await everything(journal, "plain")) == 2
    await journal.append(covered, [events(covered, 10, 3)])
    with pytest.raises(JournalGap):
        await everything(journal, "plain")


@pytest.mark.parametrize("status", ["open", "ended"])
async def test_events_behind_the_checkpoint_of_a_run_stay_however_many_they_are(status: Any):
    journal = MemoryJournal(max_run_bytes=4 * KIB)
    opened = await journal.open("run_1", writer="a")
    await journal.append(opened, [events(opened, first) for first in range(1, 5)])
    await journal.append(opened, [events(opened, 5), events(opened, 6), Checkpoint(opened.fence, 6, b"{}")])
    assert [held.last for held in await everything(journal, after=2)] == [3, 4, 5, 6]
    await journal.append(opened, [events(opened, first, size=2 * KIB) for first in range(7, 12)], status=status)
    held = await everything(journal)
    assert [type(one) for one in held] == [Checkpoint, *[Pack] * 5]
    assert [one.last for one in held] == [*range(6, 12)]
    assert repr(journal) == "<MemoryJournal 1 runs, 10,242 bytes>"


async def test_run_is_trimmed_as_soon_as_a_checkpoint_stands_for_its_beginning():
    journal = MemoryJournal(max_run_bytes=4 * KIB)
    opened = await journal.open("run_1", writer="a")
    await journal.append(opened, [events(opened, 1), Checkpoint(opened.fence, 1, b"{}"), *[events(opened, 2, 9)]])
    await journal.append(opened, [Checkpoint(opened.fence, 10, b"{}"), events(opened, 11)])
    assert [(type(one), one.last) for one in await everything(journal)] == [(Checkpoint, 10), (Pack, 11)]


async def test_newest_ended_runs_are_kept():
    journal = MemoryJournal(max_runs=3)
    for number in range(9):
        opened = await journal.open(f"run_{number}", writer="a")
        await journal.append(opened, [events(opened, 1)], status="interrupted" if number % 2 else "ended")
    assert [info.id async for info in journal.runs()] == ["run_6", "run_7", "run_8"]


async def test_checkpoints_of_open_runs_alone_may_fill_a_journal():
    journal = MemoryJournal(max_bytes=10 * KIB)
    opened = await journal.open("run_1", writer="a")
    await journal.append(opened, [events(opened, 1), Checkpoint(opened.fence, 1, b"x" * 11 * KIB)])
    with pytest.raises(JournalFull, match="got 11,264"):
        await journal.open("run_2", writer="a")
    await journal.open("run_1", writer="b")  # it is there already
    again = await journal.open("run_1", writer="b")
    await journal.append(again, status="ended")
    await journal.open("run_2", writer="a")
    assert [info.id async for info in journal.runs()] == ["run_2"]


@pytest.mark.parametrize("name", ["max_run_bytes", "max_bytes", "max_runs", "max_waiting", "keep"])
def test_bound_below_nothing_is_refused(name: str):
    with pytest.raises(ValueError, match=name):
        MemoryJournal(**{name: -1})


def test_packs_hold_64_events_and_256_kib_or_one_event():
    sizes = [1, 1, 300 * KIB, 5, *[5 * KIB] * 130]
    blocks = [b"data: " + b"x" * size + b"\n\n" for size in sizes]
    packs = packs_of(7, 11, blocks)
    assert b"".join(pack.data for pack in packs) == b"".join(blocks)
    assert [pack.first for pack in packs[1:]] == [pack.last + 1 for pack in packs[:-1]]
    assert all(pack.count <= 64 and (pack.size <= 256 * KIB or pack.count == 1) for pack in packs)
    assert repr(packs[0]) == f"<Pack 7.11 to {packs[0].last}: {packs[0].size:,} bytes>"
    assert (packs[0] == Pack(7, 11, packs[0].count, packs[0].data), packs[0] == 1) == (True, False)
    assert hash(packs[0]) == hash(Pack(7, 11, packs[0].count, b""))


async def test_a_thousand_followers_share_the_bytes_of_a_run():
    journal = MemoryJournal()
    await publish(words(500), journal)
    size = sum(len(held.data) for held in await everything(journal))

    async def read_all() -> None:
        async with journal.follow("run_1") as pieces:
            async for _ in pieces:
                await anyio.lowlevel.checkpoint()

    tracemalloc.start()
    try:
        async with anyio.create_task_group() as tasks:
            for _ in range(1_000):
                tasks.start_soon(read_all)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size > 50 * KIB
    assert peak < 1_000 * 20 * KIB  # what a task and its follower take, and not a copy for each
    assert (await told_of(journal)).status == "ended"


@pytest.mark.slow
async def test_run_of_a_million_deltas_stays_within_its_bound_and_can_be_joined():
    journal = MemoryJournal()

    async with Processor(journal=journal) as processor:
        outcome = await processor.run(words(1_000_000))
    held = await everything(journal)
    assert sum(len(one.data) for one in held if isinstance(one, Pack)) <= 64 * 2**20
    assert isinstance(held[0], Checkpoint)
    follower = await told_by(journal.follow("run_1"))
    assert follower.error is None
    assert follower.outcome is not None
    assert follower.outcome.steps == outcome.steps


async def test_runs_that_have_waited_longest_are_interrupted_where_too_many_do():
    journal = MemoryJournal(max_waiting=2)
    opened = [await journal.open(f"run_{number}", writer="a") for number in range(4)]
    for one in opened:
        await journal.append(one, status="waiting")
    statuses = [info.status async for info in journal.runs()]
    await journal.append(opened[0], status="open")
    await journal.append(opened[0], status="waiting")
    later = [info.status async for info in journal.runs()]
    assert statuses == ["interrupted", "interrupted", "waiting", "waiting"]
    assert later == ["waiting", "interrupted", "interrupted", "waiting"]


async def test_follower_of_a_run_that_waits_too_long_is_told():
    journal = MemoryJournal(max_waiting=0)
    await journal.append(await journal.open("run_1", writer="a"), status="waiting")
    with anyio.fail_after(5):
        told = await told_by(journal.follow("run_1"))
    assert str(told.error) == "the stream of run run_1 broke: too many runs waited that began to later"
