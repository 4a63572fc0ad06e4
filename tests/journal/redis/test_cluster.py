"""The journal on a cluster of three masters with a replica each, which fail."""

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import NamedTuple

import anyio
import pytest

from stepstream import RedisJournal
from stepstream.live.journal import Pack
from tests.support.journal_contract import JournalContract, everything
from tests.support.valkey import ValkeyCluster, ValkeyProcess, fresh_namespace, until, valkey_cluster

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cluster() -> Iterator[ValkeyCluster]:
    """One for all tests that leave it as it is."""
    with valkey_cluster() as one:
        yield one


class TestRedisJournalOnACluster(JournalContract):
    moments = range(1, 40, 8)

    @pytest.fixture(autouse=True)
    def _server(self, cluster: ValkeyCluster) -> None:
        self.url = cluster.url

    @asynccontextmanager
    async def made(self) -> AsyncIterator[RedisJournal]:
        async with RedisJournal(self.url, namespace=fresh_namespace(), partitions=4) as journal:
            yield journal


async def written(url: str, harm: Mapping[int, Callable[[], object]]) -> list[int]:
    """Write 60 events, let what is in `harm` begin after some of them, and return what is there in the end."""
    with anyio.fail_after(50):
        async with RedisJournal(url, partitions=1) as journal, anyio.create_task_group() as tasks:
            opened = await journal.open("run_1", writer="a")
            for number in range(1, 61):
                await journal.append(opened, [Pack(opened.fence, number, 1, b"data: %d\n\n" % number)])
                if number in harm:
                    tasks.start_soon(anyio.to_thread.run_sync, harm[number])
                await anyio.sleep(0.02)
            await journal.append(opened, status="waiting")
            return [number for held in await everything(journal) for number in range(held.first, held.last + 1)]


class Partition(NamedTuple):
    """The servers of the only partition of a journal, and one beside them."""

    master: ValkeyProcess
    replica: ValkeyProcess
    other: ValkeyProcess

    def replace_master(self) -> None:
        """Kill the master, and bring it back when it was replaced: only then there is a replica again."""
        self.master.kill()
        self.replica.resume()
        until(lambda: b"role:master" in self.replica.ask(b"INFO", b"replication"))
        self.master.start()


@pytest.fixture
def partition() -> Iterator[Partition]:
    with valkey_cluster() as cluster:
        master = cluster.nodes.index(cluster.master_of("stepstream:{0}:wake"))
        yield Partition(cluster.nodes[master], cluster.nodes[master + 3], cluster.nodes[(master + 1) % 3])


async def test_master_that_is_killed_is_replaced_and_nothing_is_lost(partition: Partition):
    got = await written(partition.other.url, {30: partition.replace_master})
    assert got == list(range(1, 61))


async def test_replica_that_lags_is_promoted_and_nothing_acknowledged_is_lost(partition: Partition):
    """It is paused, so that it lacks what comes then, and its master is killed before it goes on."""
    got = await written(partition.other.url, {20: partition.replica.pause, 40: partition.replace_master})
    assert got == list(range(1, 61))
