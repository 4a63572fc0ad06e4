"""The journal of many processes: runs on Valkey or Redis, a single server or a cluster.

A process has three kinds of connections: lanes that write (`lane`), readers of partitions in which something is
followed (`partition_reader`), and one a lane for all else. All live in the block of the journal.
"""

import os
import ssl
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, aclosing
from functools import partial
from typing import Any, Final, Literal, Self

import anyio

from stepstream.errors import JournalConflict, JournalFailed
from stepstream.journal.memory import KEEP, MAX_RUN_BYTES, OVER
from stepstream.journal.reading import Journal, check_limits
from stepstream.journal.redis import scripts
from stepstream.journal.redis.claims import RedisClaims
from stepstream.journal.redis.commands import Bounds
from stepstream.journal.redis.lane import MAX_WAITING, SENDERS, Lane
from stepstream.journal.redis.queries import NOT_OPEN, Queries
from stepstream.journal.redis.run_writer import RunWriter
from stepstream.journal.redis.scripts import Layout, check_id
from stepstream.journal.redis.server import COMMAND_LIMIT, Address, Command, Link, Servers, script
from stepstream.journal.redis.watching import Watching
from stepstream.journal.run_info import RunInfo
from stepstream.live.journal import Checkpoint, Held, Opened, RunStatus, given

PASSWORD_VARIABLE: Final = "STEPSTREAM_JOURNAL_PASSWORD"
NAMESPACE: Final = "stepstream"
PARTITIONS: Final = 16
KEEP_UNWORKED: Final = 7 * 86_400.0
OUTAGE_TIMEOUT: Final = 60.0


class RedisJournal(Journal):
    """Runs kept on Valkey or Redis (7.2 or newer), for all processes that reach it. It is to be entered.

    `url` is `redis://[user[:password]@]host[:port][/db]`, `rediss://` with TLS, of a single server or any of a cluster.
    Without a password there, `password` is it, or the variable `STEPSTREAM_JOURNAL_PASSWORD`. All processes need the
    same `namespace` and number of `partitions`, which are spread over a cluster: by default as many as the journal has,
    16 in a new one.

    Ended runs are kept for `keep` seconds, others for `keep_unworked` after the last sign of their writer; an open one
    is trimmed behind its checkpoint beyond `max_run_bytes`. What is written counts once `replicas` have it: without,
    one in a cluster and none of a single server. While nothing can be written up to 64 MiB wait, then the streams;
    after `outage_timeout` seconds their runs raise `JournalFailed`, or, with `on_outage="go on"`, they go on, and
    `missing` counts the events that are not in the journal.
    """

    def __init__(
        self,
        url: str,
        *,
        namespace: str = NAMESPACE,
        partitions: int | None = None,
        keep: float = KEEP,
        keep_unworked: float = KEEP_UNWORKED,
        max_run_bytes: int = MAX_RUN_BYTES,
        replicas: int | None = None,
        outage_timeout: float = OUTAGE_TIMEOUT,
        on_outage: Literal["raise", "go on"] = "raise",
        password: str | None = None,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        if (partitions is not None and partitions < 1) or on_outage not in ("raise", "go on"):
            got = f"got {partitions!r}, {on_outage!r}"
            raise ValueError(f"expected partitions of at least 1 and on_outage 'raise' or 'go on', {got}")
        check_limits(keep=keep, keep_unworked=keep_unworked, replicas=replicas or 0, outage_timeout=outage_timeout)
        if not namespace or set("{}") & set(namespace):
            raise ValueError(f"expected a namespace without braces, got {namespace!r}")
        self.missing = 0
        """How many events are in no journal, since it could not be written and `on_outage` is "go on"."""
        self._address = Address(url, password or os.environ.get(PASSWORD_VARIABLE), ssl_context)
        self._layout = Layout(namespace, partitions or PARTITIONS)
        self._bounds = Bounds(max_run_bytes, int(keep * 1000), int(keep_unworked * 1000))
        self.outage_timeout = outage_timeout
        """Seconds for which an outage is waited for."""
        self._replicas, self._on_outage, self._wanted = replicas, on_outage, partitions
        self._runs, self._lanes = dict[str, RunWriter](), list[Lane]()
        self._stack = AsyncExitStack()
        self._group: Any = None
        self._queries: Queries = NOT_OPEN
        self._watching: Watching = NOT_OPEN

    def __repr__(self) -> str:
        return f"<RedisJournal {self._layout.namespace} at {self._address}: {len(self._runs):,} runs written>"

    async def __aenter__(self) -> Self:
        if self._group is not None:
            raise RuntimeError("a journal is entered once")
        self._group = await self._stack.enter_async_context(anyio.create_task_group())
        try:
            await self._begin()
        except BaseException:
            self._group.cancel_scope.cancel()
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if kind is None:
            with anyio.move_on_after(COMMAND_LIMIT):  # who did not wait for an answer gets this long
                await self._settle_own(None)
        self._group.cancel_scope.cancel()
        await self._stack.aclose()

    async def _begin(self) -> None:
        """Connect, and check that what is there is as it is here."""
        servers = Servers(self._address, self._group)
        await servers.begin()
        settings = Link(servers, self._layout.settings)
        layout = self._layout = await self._stored_layout(settings)
        replicas = int(servers.is_cluster) if self._replicas is None else self._replicas
        restored = partial(settings.ask, [Command(b"SET", (layout.settings, layout.partitions, "NX"))])
        wakes = [layout.wake(partition) for partition in range(layout.partitions if servers.is_cluster else 1)]
        self._lanes = [Lane(Link(servers, wake), replicas, self.outage_timeout, restored) for wake in wakes]
        for lane in self._lanes * SENDERS:
            self._group.start_soon(lane.run)
        links = [Link(servers, wake) for wake in wakes]
        self._queries = Queries(layout, links, self.outage_timeout, self._group)
        self._watching = Watching(layout, servers, self._queries, self._group)
        self._servers, self._replicated = servers, replicas

    async def _stored_layout(self, settings: Link) -> Layout:
        """Return the layout with the number of partitions that the journal has.

        Raises:
            ValueError: it is another than was asked for.
        """
        key, wanted = self._layout.settings, self._layout.partitions
        asked = [Command(b"SET", (key, wanted, "NX")), Command(b"GET", (key,))]
        _, found = await settings.ask(asked)
        if self._wanted not in (None, int(found)):
            raise ValueError(f"expected the {int(found)} partitions that the journal has, got {wanted}")
        return Layout(self._layout.namespace, int(found))

    async def open(self, run_id: str, *, writer: str, after: int = 0) -> Opened:
        """Open a run for writing. A `JournalError` says that its id cannot be part of a key."""
        check_id(run_id)
        known = self._runs.get(run_id)
        if known is not None and known.failure is None:
            await known.settled()
        keys = self._layout.keys(run_id)
        asked = script(scripts.OPEN, keys, run_id, writer, self._bounds.keep_open)
        try:
            [[length, fence, position, begun]] = await self._queries.ask(run_id, [asked])
        except JournalFailed as exc:
            if self._on_outage == "raise":
                raise
            return self._without_journal(run_id, writer, after, exc)
        last = int(position)
        opened = Opened(run_id, writer, int(fence), last, self.read_shortest(run_id, after=after, up_to=last))
        if known is not None:
            known.fail(JournalConflict(f"run {run_id} was opened by another writer"))
        self._runs[run_id] = RunWriter(opened, keys, self._bounds, int(length), begun.decode())
        return opened

    def _without_journal(self, run_id: str, writer: str, after: int, failure: JournalFailed) -> Opened:
        """Return a run of which nothing is taken, and what is missing is counted."""
        opened = Opened(run_id, writer, sys.maxsize, after, given())
        run = self._runs[run_id] = RunWriter(opened, self._layout.keys(run_id), self._bounds)
        run.fail(failure)
        return opened

    async def append(
        self, opened: Opened, held: Sequence[Held] = (), *, status: RunStatus = "open", error: str = ""
    ) -> None:
        """Add what comes next of a run."""
        run = self._runs.get(opened.run_id)
        if run is None or run.fence < opened.fence:
            run = self._runs[opened.run_id] = RunWriter(opened, self._layout.keys(opened.run_id), self._bounds)
        if run.fence > opened.fence:
            raise JournalConflict(f"run {opened.run_id} was opened by another writer")
        if run.failure is None:
            is_other = status != run.status
            lane = self._lane(opened.run_id)
            lane.waiting += run.take(held, status, error)
            lane.note(run)
            if not held:
                self._sign(opened.writer)
            while run.waiting and sum(one.waiting for one in self._lanes) > MAX_WAITING:
                await lane.changed.wait()
            if is_other:
                await run.settled()
        is_missing = isinstance(run.failure, JournalFailed) and self._on_outage == "go on"
        if is_missing:
            self.missing += run.count_missing(held)
        if status in OVER if is_missing else run.failure is not None or (run.status != "open" and run.is_settled):
            self._runs.pop(run.id, None)  # what is said of it later begins with a look at the server
        if run.failure is not None and not is_missing:
            raise run.failure

    def _sign(self, writer: str) -> None:
        """Give a sign of life for all runs of a writer, each of which is looked at."""
        for run in self._runs.values():
            if run.writer == writer and run.failure is None:
                run.is_signed = True
                self._lane(run.id).note(run)

    async def read(self, run_id: str, *, after: int = 0) -> AsyncIterator[Held]:
        """Yield what is there now of a run after a position."""
        packs = self._watching.packs_after(run_id, after)
        if packs:  # nothing may only mean that it has not come here yet
            for pack in packs:
                yield pack
            return
        await self._settle_own(run_id)
        known = self._watching.fence_at(run_id, after), partial(self._watching.note, run_id)
        async with aclosing(self._queries.read(run_id, after, *known)) as found:
            async for held in found:
                yield held

    async def checkpoint(self, run_id: str, *, up_to: int | None = None) -> Checkpoint | None:
        """Return the newest checkpoint of a run, or one that is not beyond `up_to`."""
        await self._settle_own(run_id)
        return await self._queries.checkpoint(run_id, up_to)

    async def runs(self, run_id: str | None = None) -> AsyncIterator[RunInfo]:
        """Yield the runs there are."""
        await self._settle_own(run_id)
        found = await self._queries.runs() if run_id is None else [await self._queries.run(run_id)]
        for info in filter(None, found):
            yield info

    async def _settle_own(self, run_id: str | None) -> None:
        """Return when what was written here before can be read."""
        for run in list(self._runs.values()) if run_id is None else filter(None, [self._runs.get(run_id)]):
            if run.failure is None:
                await run.settled()

    async def check_room(self) -> None:
        """Check that another run may be opened."""
        await self._queries.check_room()

    def watch(self, run_id: str | None = None) -> AbstractAsyncContextManager[AsyncIterator[RunInfo]]:
        """Give an iterator of the runs there are, then of each that changes."""
        return self._watching.watch_all() if run_id is None else self._watching.watch_run(run_id)

    def claims(self, group: str) -> RedisClaims:
        """Return what shares the runs among the workers of a group. `RuntimeError`: it was not entered."""
        if self._group is None:
            raise RuntimeError("expected an open journal: make workers inside of `async with RedisJournal(...)`")
        return RedisClaims(self._layout, self._servers, self._watching, self._replicated, group)

    def _lane(self, run_id: str) -> Lane:
        return self._lanes[self._layout.partition(run_id) % len(self._lanes)]
