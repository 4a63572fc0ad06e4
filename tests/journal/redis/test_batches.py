"""What is sent together to a server, and what becomes of several batches in an outage."""

from collections.abc import Sequence

import anyio
import pytest

from stepstream import JournalFailed, RedisJournal
from stepstream.journal.redis import lane
from stepstream.journal.redis.lane import SENDERS, Lane
from stepstream.journal.redis.run_writer import RunWriter
from tests.support.journal_contract import SOON, everything, pack
from tests.support.valkey import ValkeyProcess, fresh_namespace

RUNS = [f"run_{number}" for number in range(12)]
STEPS = range(1, 40)


async def test_batches_are_under_way_together_and_share_no_run(server: ValkeyProcess, monkeypatch: pytest.MonkeyPatch):
    under_way: list[Sequence[RunWriter]] = []
    together: set[int] = set()
    send = Lane._send

    async def noted(self: Lane, runs: Sequence[RunWriter]) -> None:
        assert not {run.id for run in runs} & {run.id for batch in under_way for run in batch}
        under_way.append(runs)
        together.add(len(under_way))
        await send(self, runs)
        under_way.remove(runs)

    async def write(journal: RedisJournal, run_id: str) -> None:
        opened = await journal.open(run_id, writer="a")
        for position in STEPS:
            await journal.append(opened, [pack(opened, position)], status="open" if position < STEPS[-1] else "ended")

    monkeypatch.setattr(Lane, "_send", noted)
    monkeypatch.setattr(lane, "MAX_SENT", 500)
    with anyio.fail_after(SOON):
        async with RedisJournal(server.url, namespace=fresh_namespace(), partitions=2) as journal:
            async with anyio.create_task_group() as tasks:
                for run_id in RUNS:
                    tasks.start_soon(write, journal, run_id)
            kept = [[held.last for held in await everything(journal, run_id)] for run_id in RUNS]
    assert kept == [[*STEPS]] * len(RUNS)
    assert together == {*range(1, SENDERS + 1)}


async def test_outage_fails_the_runs_of_all_batches(own: ValkeyProcess, monkeypatch: pytest.MonkeyPatch):
    opened_here, failures, down = list[str](), list[str](), anyio.Event()

    async def write(journal: RedisJournal, run_id: str) -> None:
        opened = await journal.open(run_id, writer="a")
        opened_here.append(run_id)
        await down.wait()
        with pytest.raises(JournalFailed, match="written to the journal for"):
            await journal.append(opened, [pack(opened, 1)], status="ended")
        failures.append(run_id)

    monkeypatch.setattr(lane, "MAX_SENT", 1)
    with anyio.fail_after(SOON):
        async with RedisJournal(own.url, namespace=fresh_namespace(), partitions=2, outage_timeout=0.3) as journal:
            async with anyio.create_task_group() as tasks:
                for run_id in RUNS:
                    tasks.start_soon(write, journal, run_id)
                while len(opened_here) < len(RUNS):
                    await anyio.lowlevel.checkpoint()
                own.kill()
                down.set()
            own.start()
    assert sorted(failures) == sorted(RUNS)
