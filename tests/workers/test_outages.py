"""What becomes of work while its server does not answer, or after it has lost what it had."""

from collections.abc import Iterator
from typing import Any

import anyio
import pytest

from stepstream import JournalFailed, Processor
from stepstream.journal.redis import partition_reader, server
from stepstream.live.journal import Pack
from tests.support.valkey import ValkeyCluster, ValkeyProcess, valkey_cluster
from tests.support.worked_runs import (
    SOON,
    TRANSITIONS,
    Noting,
    at_work,
    journal_on,
    published,
    run_end,
    run_events,
    until,
)

LIMIT = 0.3


@pytest.fixture(autouse=True)
def _short_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partition_reader, "LOOK_EVERY", LIMIT)
    monkeypatch.setattr(server, "COMMAND_LIMIT", LIMIT)
    monkeypatch.setattr(server, "CONNECT_LIMIT", LIMIT)


def noting(note: Noting, **options: Any) -> Processor:
    processor = Processor()
    processor.add(TRANSITIONS, note, **options)
    return processor


async def test_calls_end_with_the_lease_and_work_goes_on_when_the_server_is_back(own: ValkeyProcess):
    held = anyio.Event()
    note = Noting(lambda change: held.wait() if change.key == "run_1/run/in_progress" else None)
    async with journal_on(own) as journal:
        await published(journal, "run_1")
        async with at_work(journal, noting(note), lease=0.6) as workers:
            await until(lambda: len(note.keys) == 2)
            own.pause()
            await until(lambda: note.cancelled)
            held.set()
            assert len(note.keys) == 2
            own.resume()
            await until(lambda: "run/completed" in note.of("run_1") and not workers.owned)
    assert note.cancelled == ["run_1/run/in_progress"]
    assert note.of("run_1")[-4:] == [
        "run/in_progress", "step/step_run_1/in_progress", "step/step_run_1/completed", "run/completed",
    ]  # fmt: skip


async def test_outage_that_takes_too_long_is_raised(own: ValkeyProcess):
    async with journal_on(own, outage_timeout=0.5) as journal:

        async def work() -> None:
            async with at_work(journal, lease=0.5):
                own.pause()
                await anyio.sleep(SOON)

        with pytest.raises(BaseExceptionGroup) as raised:
            await work()
        own.resume()
    found: BaseException = raised.value
    while isinstance(found, BaseExceptionGroup):
        [found] = found.exceptions
    assert isinstance(found, JournalFailed)


async def test_server_that_lost_everything_gets_it_again_and_work_goes_on(own: ValkeyProcess):
    note = Noting()
    async with journal_on(own) as journal, at_work(journal, noting(note), lease=0.6):
        opened = await journal.open("run_1", writer="a")
        await journal.append(opened, [Pack(opened.fence, 1, 1, run_events()[0])])
        await until(lambda: len(note.keys) == 1)
        own.ask(b"FLUSHALL")
        await journal.append(opened, [Pack(opened.fence, 2, 1, run_events()[1])])
        await until(lambda: "run/in_progress" in note.of("run_1"))
        await journal.append(opened, [Pack(opened.fence, 3, 1, run_end())], status="ended")
        await until(lambda: "run/completed" in note.of("run_1"))


@pytest.fixture(scope="module")
def cluster() -> Iterator[ValkeyCluster]:
    with valkey_cluster() as one:
        yield one


@pytest.mark.slow
async def test_cluster_is_worked_on_and_a_part_of_it_that_fails_holds_up_no_other(cluster: ValkeyCluster):
    note = Noting()
    run_ids = [f"run_{number}" for number in range(12)]
    async with journal_on(cluster, partitions=6) as journal, at_work(journal, noting(note), lease=2) as workers:
        await published(journal, *run_ids)
        await until(lambda: all("run/completed" in note.of(one) for one in run_ids) and not workers.owned)
        assert [info.status async for info in journal.runs()] == ["ended"] * 12
        layout = journal._layout
        lost = cluster.master_of(layout.wake(0))
        served = [one for one in map("other_{}".format, range(99)) if not _is_on(cluster, lost, layout, one)][:4]
        lost.pause()
        try:
            await published(journal, *served)
            await until(lambda: all("run/completed" in note.of(one) for one in served))
        finally:
            lost.resume()


def _is_on(cluster: ValkeyCluster, node: ValkeyProcess, layout: Any, run_id: str) -> bool:
    return cluster.master_of(layout.wake(layout.partition(run_id))) is node
