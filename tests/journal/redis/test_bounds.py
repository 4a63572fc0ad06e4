"""How much of runs a server keeps, how long, and what is read of it at once."""

import re
from collections.abc import AsyncIterator

import anyio
import pytest
from anyio.lowlevel import checkpoint

from stepstream import RedisJournal, Relay, publish
from stepstream.journal.redis.scripts import Layout
from stepstream.live.journal import Checkpoint, Pack
from tests.support.delta_streams import greeting, run, says, written
from tests.support.journal_contract import DONE, SOON, everything, stream
from tests.support.valkey import ValkeyProcess, fresh_namespace, valkey

KIB = 2**10


async def test_open_run_is_trimmed_behind_its_checkpoint(server: ValkeyProcess):
    layout = Layout(fresh_namespace(), 2)
    async with RedisJournal(server.url, namespace=layout.namespace, partitions=2, max_run_bytes=40 * KIB) as journal:
        opened = await journal.open("run_1", writer="a")
        for number in range(1, 201):
            held = [Pack(opened.fence, number, 1, b"data: " + b"x" * KIB + b"\n\n")]
            checkpoint = Checkpoint(opened.fence, number, b"{}")
            await journal.append(opened, [*held, *([checkpoint] if number % 10 == 0 else [])])
            if number % 7 == 0:
                await everything(journal)  # what was sent is acknowledged
        await journal.append(opened, status="waiting")
        first, *packs = await everything(journal)
        assert isinstance(first, Checkpoint)
        assert [one.last for one in packs] == list(range(first.last + 1, 201))
        assert int(server.ask(b"MEMORY", b"USAGE", layout.keys("run_1").stream.encode())[1:]) <= 80 * KIB


async def test_ended_run_is_kept_for_so_long_and_is_struck_off_the_list_then(server: ValkeyProcess):
    layout = Layout(fresh_namespace(), 2)
    async with RedisJournal(server.url, namespace=layout.namespace, partitions=2, keep=50) as journal:
        await publish(stream(), journal)
        keys = layout.keys("run_1")
        assert [0 < int(server.ask(b"PTTL", key.encode())[1:]) <= 50_000 for key in keys[:2]] == [True, True]
        server.ask(b"DEL", *[key.encode() for key in keys[:3]])  # as the server does then
        assert [info async for info in journal.runs()] == []
        assert server.ask(b"ZCARD", keys.runs.encode()) == b":0\r\n"
        assert await everything(journal) == []


async def test_who_joins_late_reads_page_by_page(server: ValkeyProcess):
    async with RedisJournal(server.url, namespace=fresh_namespace()) as journal:
        opened = await journal.open("run_1", writer="a")
        for number in range(1, 51):
            await journal.append(opened, [Pack(opened.fence, number, 1, b"data: x\n\n")])
        again = await journal.open("run_1", writer="b")
        await journal.append(again, [Pack(again.fence, 51, 1, b"data: x\n\n")])
        for after in (0, 1, 16, 49, 50, 51):
            assert [held.last for held in await everything(journal, after=after)] == list(range(after + 1, 52))


async def test_viewer_moves_between_the_relays_of_two_processes_and_misses_nothing(server: ValkeyProcess):
    namespace = fresh_namespace()
    async with (
        RedisJournal(server.url, namespace=namespace, partitions=1) as one,
        RedisJournal(server.url, namespace=namespace, partitions=1) as other,
    ):
        await publish(stream(), one)
        relays = Relay(one), Relay(other)
        whole = await seen(relays[0])
        for cut, frame in enumerate(whole[:-2], 1):
            found = re.search(rb"^id: (.+)$", frame, re.MULTILINE)
            if found is not None:
                assert (await seen(relays[cut % 2], found[1].decode()))[-len(whole[cut:]) :] == whole[cut:]


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_run_of_a_million_deltas_blocks_the_server_for_no_time():
    """What a command takes is by the clock: in a few of thousands another process may have had the processor."""
    words = b"".join(written("thread.message.delta", says(f"word {n} and the next, ")) for n in range(100))

    async def stream() -> AsyncIterator[bytes]:
        yield b"".join([written("thread.run.created", run("in_progress")), *greeting()])
        for _ in range(10_000):
            yield words
            await checkpoint()
        yield written("thread.run.requires_action", run("requires_action")) + DONE

    with valkey("--slowlog-log-slower-than", "10000", "--slowlog-max-len", "40") as own:
        async with RedisJournal(own.url) as journal, RedisJournal(own.url) as other:
            await publish(stream(), journal)
            first, *packs = await everything(other)
            assert isinstance(first, Checkpoint)
            assert len(first.data) > 10_000 * KIB
            assert (packs[0].first, packs[-1].last) == (first.last + 1, 1_000_003)
        slow = own.ask(b"SLOWLOG", b"GET", b"40")
        assert int(own.ask(b"SLOWLOG", b"LEN")[1:]) <= 30
        took = [int(one) for one in re.findall(rb"\*6\r\n:\d+\r\n:\d+\r\n:(\d+)", slow)]
        assert max(took, default=0) < 50_000


async def seen(relay: Relay, last_event_id: str | None = None) -> list[bytes]:
    """Return what a viewer gets, without what tells when to come again."""
    with anyio.fail_after(SOON):
        async with relay.frames("run_1", form="changes", last_event_id=last_event_id) as frames:
            data = b"".join([frame async for frame in frames])
    return [one for one in data.split(b"\n\n") if one and not one.startswith(b"retry:")]
