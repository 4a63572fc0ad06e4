"""A run that goes on at every await of whoever joins it, and many who join it or come back at once."""

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from stepstream import MemoryJournal, Relay
from tests.support.published_runs import PublishedRun, events_of
from tests.support.relay_clients import WITH_CURSOR, EventsClient, known, known_at_end
from tests.support.relay_requests import Answer, scope_of, watching
from tests.support.virtual_time import anyio_backend

__all__ = ["anyio_backend"]


class BusyJournal(MemoryJournal):
    """A journal that has one more event of a run whenever anybody has waited for it, as long as it is `busy`."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self.after = after
        """How many waits go by before that."""
        self.run = PublishedRun(self, *events_of("archive"))

    async def more(self) -> None:
        await anyio.lowlevel.checkpoint()
        self.after -= 1
        if self.after < 0 and not self.run.is_whole:
            await self.run.append(1)

    async def read(self, run_id: str, *, after: int = 0) -> AsyncIterator[Any]:
        await self.more()
        pieces: Any = super().read(run_id, after=after)
        async with aclosing(pieces):
            async for held in pieces:
                await self.more()
                yield held
                await self.more()
        await self.more()

    async def runs(self, run_id: str | None = None) -> AsyncIterator[Any]:
        await self.more()
        async for info in super().runs(run_id):
            await self.more()
            yield info

    @asynccontextmanager
    async def watch(self, run_id: str | None = None) -> AsyncIterator[Any]:
        await self.more()
        async with super().watch(run_id) as news:
            await self.more()
            yield BusyNews(self, news)


class BusyNews:
    """What a busy journal gives to who watches it."""

    def __init__(self, journal: BusyJournal, news: AsyncIterator[Any]) -> None:
        self._journal = journal
        self._news = news

    async def __anext__(self) -> Any:
        await self._journal.more()
        return await anext(self._news)


@pytest.mark.parametrize("form", WITH_CURSOR)
async def test_nothing_is_missing_or_twice_where_a_run_goes_on_at_every_await(form: str):
    for after in range(0, 40, 5):
        journal = BusyJournal(after)
        await journal.run.append(2)
        relay = Relay(journal, coalesce=0)
        clients = [WITH_CURSOR[form]() for _ in range(2)]

        async def view(client: Any, relay: Relay = relay, journal: BusyJournal = journal) -> None:
            pieces = 0
            while not client.is_done:
                client.connect()
                async with relay.frames(journal.run.run_id, form=form, last_event_id=client.last_event_id) as frames:
                    if not frames.has_more:
                        return
                    async for piece in frames:
                        client.feed(piece)
                        pieces += 1
                        if pieces % 3 == 0:
                            break
                    else:
                        assert client.is_done

        with anyio.fail_after(1_000):
            async with anyio.create_task_group() as tasks:
                for client in clients:
                    tasks.start_soon(view, client)
                while not journal.run.is_whole:
                    await anyio.sleep(1)
                    await journal.more()
        for client in clients:
            client.check(journal.run.changes)
            assert client.gaps == []
            assert client.known == known_at_end(form, journal.run.server, journal.run.run_id)


@pytest.mark.parametrize("count", [30, pytest.param(1_000, marks=pytest.mark.slow)])
async def test_many_who_are_cut_and_come_back_at_once_lose_nothing(count: int):
    journal = MemoryJournal()
    run = PublishedRun(journal, *events_of("archive"))
    await run.append(4)
    relay = Relay(journal)
    clients = [EventsClient() for _ in range(count)]

    async def view(client: EventsClient) -> None:
        client.connect()
        async for piece in relay.frames(run.run_id, last_event_id=client.last_event_id):
            client.feed(piece)

    for _ in range(3):
        async with anyio.create_task_group() as tasks:
            for client in clients:
                tasks.start_soon(view, client)
            await anyio.wait_all_tasks_blocked()
            await run.append(4)
            await anyio.wait_all_tasks_blocked()
            tasks.cancel_scope.cancel()
        await run.append(2)
    async with anyio.create_task_group() as tasks:
        for client in clients:
            tasks.start_soon(view, client)
        await anyio.wait_all_tasks_blocked()
        await run.append(1_000)
    for client in clients:
        assert (client.gaps, client.positions, client.is_done) == ([], list(range(4, len(run.events) + 1)), True)
        assert client.known == known(run.server)


@pytest.mark.slow
async def test_ten_thousand_viewers_are_let_in_and_no_more(anyio_backend: Any):
    journal = MemoryJournal()
    run = PublishedRun(journal, *events_of("sums"))
    await run.append(4)
    relay = Relay(journal, max_per_client=20_000)
    ends: list[str] = []

    async with anyio.create_task_group() as tasks:
        for _ in range(10_000):
            tasks.start_soon(relay_view, relay, run.run_id, ends)
        await anyio.wait_all_tasks_blocked()
        assert repr(relay) == "<Relay 10,000 viewers>"
        async with watching(relay, f"/{run.run_id}/events") as late:
            assert (late.frames, late.is_whole) == ([], True)
        await run.append(1_000)
    assert ends == ["done"] * 10_000


async def relay_view(relay: Relay, run_id: str, ends: list[str]) -> None:
    answer = Answer()
    await relay(scope_of(f"/{run_id}/events"), answer.receive, answer.send)
    ends.append(answer.events[-1])
