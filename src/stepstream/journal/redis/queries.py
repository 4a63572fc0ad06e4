"""What is asked of the servers, beside what is written and followed. In an outage it is asked again for a while."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Final

import anyio
from anyio.abc import TaskGroup

from stepstream.errors import JournalError, JournalFailed, JournalFull
from stepstream.journal.redis import scripts
from stepstream.journal.redis.asking import Asking
from stepstream.journal.redis.entries import info_of
from stepstream.journal.redis.history import history, stored_checkpoint
from stepstream.journal.redis.partition_reader import MAX_RUNS
from stepstream.journal.redis.replies import has_no_room, is_full
from stepstream.journal.redis.scripts import Layout
from stepstream.journal.redis.server import Command, Link, delay_after, script
from stepstream.journal.run_info import RunInfo
from stepstream.live.journal import Checkpoint, Held


class NotEntered(JournalError, RuntimeError):
    """A journal is used outside of its `async with`."""


class _NotOpen:
    """Stands for what a journal has once it is entered."""

    def __getattr__(self, name: str) -> Any:
        raise NotEntered("expected an open journal: use it inside of `async with RedisJournal(...)`")


NOT_OPEN: Final[Any] = _NotOpen()


class Queries:
    """Asks over some links, which share the partitions, in tasks of `group`. An outage is waited for, for
    `outage_timeout` seconds."""

    def __init__(self, layout: Layout, links: Sequence[Link], outage_timeout: float, group: TaskGroup) -> None:
        self._layout, self._outage_timeout = layout, outage_timeout
        self._asking = [Asking(link) for link in links]
        for one in self._asking:
            group.start_soon(one.run)

    async def ask(self, run_id: str, commands: Sequence[Command]) -> list[Any]:
        """Return the answers to commands about a run.

        Raises:
            JournalFailed: there are none.
        """
        asking = self._asking[self._layout.partition(run_id) % len(self._asking)]
        return await self._retried(partial(asking.ask, commands))

    async def run(self, run_id: str) -> RunInfo | None:
        """Return what a run is, None where it is not there."""
        [told] = await self.ask(run_id, [script(scripts.TELL, self._layout.keys(run_id))])
        return info_of(run_id, told)

    def read(
        self, run_id: str, after: int, by: int, noted: Callable[[RunInfo | None], object]
    ) -> AsyncGenerator[Held, None]:
        """Yield what is there of a run after a position, as `history` does."""
        return history(partial(self.ask, run_id), self._layout.keys(run_id), run_id, after, by, noted)

    async def checkpoint(self, run_id: str, up_to: int | None) -> Checkpoint | None:
        """Return the newest checkpoint of a run, or one that is not beyond `up_to`; None where there is none."""
        return await stored_checkpoint(partial(self.ask, run_id), self._layout.keys(run_id), up_to)

    async def runs(self) -> list[RunInfo]:
        """Return what all runs are, in the order in which they were opened first."""
        found: list[RunInfo] = []
        for partition in range(self._layout.partitions):
            link = self._asking[partition % len(self._asking)]
            key = self._layout.runs(partition)
            [ids] = await self._retried(partial(link.ask, [Command(b"ZRANGE", (key, 0, -1))]))
            names = [one.decode() for one in ids]
            for start in range(0, len(names), MAX_RUNS):
                found += await self._some(link, key, names[start : start + MAX_RUNS])
        return sorted(found, key=lambda one: one.opened)

    async def check_room(self) -> None:
        """Check that all servers have memory left. In an outage that is not waited for.

        Raises:
            JournalFull: one has none.
            JournalFailed: one does not answer.
        """
        for link in self._asking:
            [told] = await link.ask([Command(b"INFO", ("memory",))])
            if has_no_room(told):
                raise JournalFull("the server has no memory left for another run")

    async def _some(self, link: Asking, key: str, names: list[str]) -> list[RunInfo]:
        """Return what some runs are, and strike those off the list that are gone."""
        asked = [script(scripts.TELL, self._layout.keys(one)) for one in names]
        infos = list(map(info_of, names, await self._retried(partial(link.ask, asked))))
        gone = [one for one, info in zip(names, infos, strict=True) if info is None]
        if gone:
            await self._retried(partial(link.ask, [Command(b"ZREM", (key, *gone))]))
        return [info for info in infos if info is not None]

    async def _retried(self, ask: Callable[[], Awaitable[list[Any]]]) -> list[Any]:
        began, failures = anyio.current_time(), 0
        while True:
            try:
                return await ask()
            except JournalFailed as exc:
                if is_full(exc.__cause__):
                    raise JournalFull("the server has no memory left for another run") from exc
                failures += 1
                if anyio.current_time() - began >= self._outage_timeout:
                    raise
            await anyio.sleep(delay_after(failures))
