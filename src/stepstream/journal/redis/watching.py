"""What is watched in this process: the feeds of runs, and those who want to know of all."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial

from anyio.abc import TaskGroup

from stepstream.journal.news import News
from stepstream.journal.redis.feed import Feed
from stepstream.journal.redis.partition_reader import PartitionReader
from stepstream.journal.redis.queries import Queries
from stepstream.journal.redis.scripts import Layout
from stepstream.journal.redis.server import Link, Servers
from stepstream.journal.run_info import RunInfo
from stepstream.live.journal import Pack


class RunNews(News):
    """News of one run: what it is, for which a server is asked first unless that is known, and each change."""

    def __init__(self, feed: Feed, ask: Callable[[], Awaitable[RunInfo | None]]) -> None:
        super().__init__((feed.run_id,), feed.info)
        self._feed, self._ask = feed, ask

    async def __anext__(self) -> RunInfo:
        if self._feed.fence < 0:
            self._feed.begin(await self._ask())
        return await super().__anext__()


class Watching:
    """The readers of partitions, each made when something is watched there first. They live in `group`."""

    def __init__(self, layout: Layout, servers: Servers, queries: Queries, group: TaskGroup) -> None:
        self._layout, self._servers, self._queries, self._group = layout, servers, queries, group
        self._readers: dict[int, PartitionReader] = {}
        self._watchers: dict[News, dict[str, RunInfo]] = {}
        self._listeners: dict[Callable[[str], None], None] = {}

    def packs_after(self, run_id: str, position: int) -> list[Pack] | None:
        """Return what was read of a run after a position, None where the server is to be asked.

        Raises:
            JournalGap: nobody can go on who follows it.
        """
        feed = self._feed(run_id)
        return None if feed is None or feed.fence < 0 else feed.packs_after(position)

    def fence_at(self, run_id: str, position: int) -> int:
        """Return the fence of the writer of an event, 0 where it is not the newest that was read here."""
        feed = self._feed(run_id)
        return feed.fence if position and feed is not None and feed.position == position else 0

    def note(self, run_id: str, info: RunInfo | None) -> None:
        """Note what a run is, as it was asked for: who begins to follow it need not ask."""
        reader = self._readers.get(self._layout.partition(run_id))
        feed = None if reader is None or not reader.is_ready else reader.feeds.get(run_id)
        if feed is not None:
            feed.begin(info)

    def _feed(self, run_id: str) -> Feed | None:
        reader = self._readers.get(self._layout.partition(run_id))
        return None if reader is None else reader.feeds.get(run_id)

    @asynccontextmanager
    async def watch_all(self) -> AsyncIterator[News]:
        """Give the runs there are, then each that begins, waits, ends or is interrupted."""
        infos: dict[str, RunInfo] = {}
        news = News((), infos.get)
        self._watchers[news] = infos
        try:
            for reader in [self._reader(partition) for partition in range(self._layout.partitions)]:
                await reader.ready()
            for info in await self._queries.runs():
                infos.setdefault(info.id, info)
                news.note(info.id)
            yield news
        finally:
            del self._watchers[news]

    @asynccontextmanager
    async def watch_run(self, run_id: str) -> AsyncIterator[News]:
        """Give what a run is, and then what it is whenever it changed."""
        reader = self._reader(self._layout.partition(run_id))
        feed = reader.feeds.setdefault(run_id, Feed(run_id))
        news = RunNews(feed, partial(self._queries.run, run_id))
        feed.watchers[news] = None
        try:
            await reader.ready()
            yield news
        finally:
            del feed.watchers[news]
            if not feed.watchers and reader.feeds.get(run_id) is feed:
                del reader.feeds[run_id]

    @contextmanager
    def listening(self, changed: Callable[[str], None]) -> Iterator[None]:
        """Call `changed` with the id of each run that begins, waits, ends, is interrupted or becomes due."""
        for partition in range(self._layout.partitions):
            self._reader(partition)
        self._listeners[changed] = None
        try:
            yield
        finally:
            del self._listeners[changed]

    def _reader(self, partition: int) -> PartitionReader:
        known = self._readers.get(partition)
        if known is None:
            link = Link(self._servers, self._layout.wake(partition))
            known = self._readers[partition] = PartitionReader(self._layout, partition, link, self._tell)
            self._group.start_soon(known.run)
        return known

    def _tell(self, info: RunInfo) -> None:
        for changed in self._listeners:
            changed(info.id)
        for news, infos in self._watchers.items():
            before = infos.get(info.id)
            infos[info.id] = info
            if before is None or (before.status, before.fence) != (info.status, info.fence):
                news.note(info.id)
