"""Writers that take turns on a server which now and then is as it was before, or empty, by random schedules.

So is a replica that was behind when it was promoted, or a server without a disk that was killed. Who was told to stop
before that may not know of it any more, and the server neither, until the one writes again that opened the run last.
Every event says who wrote it. In the end the run is what that one knows: what it found, and what it wrote itself.
"""

import re
from contextlib import AsyncExitStack, suppress
from random import Random
from typing import Any

import anyio
import coredis
import pytest

from stepstream import JournalConflict, JournalGap, RedisJournal
from stepstream.journal.redis import partition_reader
from stepstream.live.journal import Checkpoint, Opened, Pack
from tests.support.journal_contract import SOON, everything, told_of
from tests.support.valkey import ValkeyProcess

ACTS = ("write", "write", "write", "write", "open", "sign", "wait", "pause", "checkpoint", "save", "empty", "go back")
DUMP = """
local found = {}
for _, key in ipairs(redis.call('KEYS', '*')) do
  found[#found + 1] = key
  found[#found + 1] = redis.call('DUMP', key)
end
return found
"""
Event = tuple[str, int]
"""Who wrote it, and its position."""


@pytest.fixture
def anyio_backend() -> str:
    """One event loop: what is tried here is done by the server."""
    return "asyncio"


def event(opened: Opened, position: int) -> bytes:
    return b'data: {"by": "%b %d", "n": %d}\n\n' % (opened.writer.encode(), opened.fence, position)


def events_in(held: Any) -> list[Event]:
    found = re.findall(r'"by": "(.+?)", "n": (\d+)', held.data.decode()) if isinstance(held, Pack) else []
    return [(by, int(number)) for by, number in found]


class Writer:
    """A process that opens the run, and writes to it as long as nobody tells it that another one does."""

    def __init__(self, name: str, journal: RedisJournal, chance: Random) -> None:
        self._name, self.journal, self._chance = name, journal, chance
        self.opened: Opened | None = None
        self.position = 0

    async def act(self, what: str) -> bool:
        """Do something, and return whether that opened the run."""
        if what == "open" or (what == "write" and self.opened is None):
            self.opened = await self.journal.open("run_1", writer=self._name)
            self.position = self.opened.position
            return True
        try:
            await self._go_on(what)
        except JournalConflict:
            self.opened = None
        return False

    async def _go_on(self, what: str) -> None:
        opened = self.opened
        if opened is None:
            return
        match what:
            case "write":
                packs = [self._pack(opened, self._chance.randint(1, 4)) for _ in range(self._chance.randint(1, 3))]
                await self.journal.append(opened, packs)
            case "checkpoint" if self.position > opened.position:
                await self.journal.append(opened, [Checkpoint(opened.fence, self.position, b"{}")])
            case "sign":
                await self.journal.append(opened)
            case "wait":
                [_ async for _ in self.journal.runs("run_1")]  # which waits for what was written before
            case "pause":
                await anyio.sleep(self._chance.uniform(0, 3 * partition_reader.LOOK_EVERY))

    def _pack(self, opened: Opened, count: int) -> Pack:
        first, self.position = self.position + 1, self.position + count
        return Pack(opened.fence, first, count, b"".join(event(opened, first + n) for n in range(count)))

    async def finish(self) -> Opened:
        """End the run, opening it again as often as it was refused."""
        while True:
            if self.opened is None:
                await self.act("open")
            opened = self.opened
            assert opened is not None
            try:
                await self.journal.append(opened, [self._pack(opened, 1)], status="ended")
            except JournalConflict:
                self.opened = None
            else:
                return opened


class Follower:
    """Follows the run to its end, from its beginning again after a gap, unless that is gone."""

    def __init__(self) -> None:
        self.events: dict[int, Event] = {}
        self.position = 0
        self.is_lost = False

    async def run(self, journal: RedisJournal) -> None:
        while not self.is_lost:
            try:
                async with journal.follow("run_1", after=self.position) as pieces:
                    async for piece in pieces:
                        self._take(piece.held)
                return
            except JournalGap:
                self.is_lost = not self.position
                self.position, self.events = 0, {}

    def _take(self, held: Any) -> None:
        found = events_in(held)
        if isinstance(held, Checkpoint):
            self.events = {}
        else:
            assert [number for _, number in found] == list(range(self.position + 1, held.last + 1))
        self.events |= {number: (by, number) for by, number in found}
        self.position = held.last


class Server:
    """What the server has, and had."""

    def __init__(self, client: Any, chance: Random) -> None:
        self._client, self._chance = client, chance
        self._before: list[dict[bytes, bytes]] = []

    async def act(self, what: str) -> None:
        if what == "save":
            found = await self._client.eval(DUMP)
            self._before.append(dict(zip(found[::2], found[1::2], strict=True)))
        elif what == "empty":
            await self._client.flushall()
        elif what == "go back" and self._before:
            async with self._client.pipeline(transaction=True) as pipe:
                pipe.flushall()
                for key, data in self._chance.choice(self._before).items():
                    pipe.restore(key, 0, data)


async def go(server: ValkeyProcess, seed: int) -> None:
    """Let things happen, and check what there is in the end."""
    chance, follower = Random(seed), Follower()
    most = chance.choice([2**26, 2**26, 400, 1_500])
    server.ask(b"FLUSHALL")
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(coredis.Redis("127.0.0.1", server.port))
        journals = [
            await stack.enter_async_context(RedisJournal(server.url, partitions=1, max_run_bytes=most))
            for _ in range(chance.choice([3, 3, 4]))
        ]
        around = Server(client, chance)
        writers = [Writer(f"{number}", one, chance) for number, one in enumerate(journals[1:])]
        newest = writers[0]
        with anyio.fail_after(SOON):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(follower.run, journals[0])
                for _ in range(chance.randint(6, 40)):
                    writer, what = chance.choice(writers), chance.choice(ACTS)
                    newest = writer if await writer.act(what) else newest
                    await around.act(what)
                opened = await newest.finish()
        for one in writers:
            await one.act("sign")  # some still think that they write
            await one.act("wait")
        await check(journals[0], opened, newest.position, follower, is_trimmed=most < 2**20)


async def check(journal: RedisJournal, opened: Opened, last: int, follower: Follower, *, is_trimmed: bool) -> None:
    """Check that there is what the one who ended the run knows, and that a follower has seen nothing else."""
    info = await told_of(journal)
    assert (info.status, info.fence, info.position) == ("ended", opened.fence, last)
    mine, stored = f"{opened.writer} {opened.fence}", list[Event]()
    if not is_trimmed:
        own = [one for held in await everything(journal, after=opened.position) for one in events_in(held)]
        assert own == [(mine, number) for number in range(last + 1 - len(own), last + 1)]
    with suppress(JournalGap):  # nobody holds what came first
        stored = [one for held in await everything(journal) for one in events_in(held)]
    if stored:
        assert [number for _, number in stored] == list(range(stored[0][1], last + 1))
        assert [by == mine for by, _ in stored] == [number > opened.position for _, number in stored]
    if not follower.is_lost:
        assert follower.position == last
        assert [follower.events.get(number, (by, number)) for by, number in stored] == stored


@pytest.fixture(autouse=True)
def _short_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partition_reader, "LOOK_EVERY", 0.05)


@pytest.mark.parametrize("first", [15, 64, 99, 176])
async def test_run_is_what_its_last_writer_knows_whatever_a_server_loses(own: ValkeyProcess, first: int):
    for seed in range(first, first + 5):
        await go(own, seed)


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, 400, 50))
async def test_run_is_what_its_last_writer_knows_in_the_long_run(own: ValkeyProcess, first: int):
    for seed in range(first, first + 50):
        await go(own, seed)
