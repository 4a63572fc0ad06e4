"""How many questions a server is asked, and what becomes of one that is refused, cancelled, or never answered."""

from collections.abc import Sequence
from typing import Any

import anyio
import pytest
from anyio import wait_all_tasks_blocked

from stepstream import JournalFailed, Processor, RedisJournal
from stepstream.journal.redis.asking import AT_ONCE, Asking
from stepstream.journal.redis.server import Command, Link
from stepstream.live.journal import Pack
from tests.support.journal_contract import SOON, pack
from tests.support.valkey import ValkeyProcess, fresh_namespace


def journal_on(one: ValkeyProcess) -> RedisJournal:
    return RedisJournal(one.url, partitions=1, namespace=fresh_namespace())


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of commands that links were asked together."""
    counts: list[int] = []
    replies = Link.replies

    async def counted(self: Link, commands: Sequence[Command], more: float = 0) -> list[Any]:
        if not more:
            counts.append(len(commands))
        return await replies(self, commands, more)

    monkeypatch.setattr(Link, "replies", counted)
    return counts


async def test_run_that_is_there_is_followed_with_one_question(server: ValkeyProcess, monkeypatch: pytest.MonkeyPatch):
    questions: list[Sequence[Command]] = []
    ask = Asking.ask

    async def noted(self: Asking, commands: Sequence[Command]) -> list[Any]:
        questions.append(commands)
        return await ask(self, commands)

    with anyio.fail_after(SOON):
        async with journal_on(server) as journal, Processor() as processor:
            opened = await journal.open("run_1", writer="a")
            await journal.append(opened, [pack(opened, 1, 9)], status="ended")
            monkeypatch.setattr(Asking, "ask", noted)
            outcome = await processor.run(journal.follow("run_1"))
    assert (outcome.text, len(questions)) == ("Fog over the bay", 1)


@pytest.mark.parametrize(
    ("size", "pages"), [(200, [16, 64, 256, 256]), (2_000, [16, 34, *[32] * 9]), (2**17, [16] * 3)], ids=str
)
async def test_small_entries_of_a_run_are_read_more_at_once(
    server: ValkeyProcess, monkeypatch: pytest.MonkeyPatch, size: int, pages: list[int]
):
    """A run that was published live has an event an entry. The first one of all is the mark of its writer."""
    async with journal_on(server) as journal:
        opened = await journal.open("run_1", writer="a")
        count = sum(pages) - 10
        held = [
            Pack(opened.fence, number, 1, (b"data: " + b"x" * size)[: size - 2] + b"\n\n") for number in range(1, count)
        ]
        await journal.append(opened, held, status="ended")
        asked: list[int] = []
        ask = Asking.ask

        async def noted(self: Asking, commands: Sequence[Command]) -> list[Any]:
            asked.extend(one.serialized_arguments[-1] for one in commands if one.name == b"XRANGE")
            return await ask(self, commands)

        monkeypatch.setattr(Asking, "ask", noted)
        assert [one async for one in journal.read("run_1")] == held
    assert asked == pages


async def test_questions_that_come_while_one_is_under_way_are_asked_together(own: ValkeyProcess, asked: list[int]):
    async def ask(journal: RedisJournal, run_id: str) -> None:
        assert [info async for info in journal.runs(run_id)] == []

    with anyio.fail_after(SOON):
        async with journal_on(own) as journal, anyio.create_task_group() as tasks:
            await ask(journal, "run")
            asked.clear()
            own.pause()
            for number in range(2 * AT_ONCE + 3):
                tasks.start_soon(ask, journal, f"run_{number}")
                if not number:
                    await wait_all_tasks_blocked()
            await wait_all_tasks_blocked()
            own.resume()
    assert asked == [1, AT_ONCE, AT_ONCE, 2]


async def test_question_that_is_refused_is_no_failure_of_those_beside_it(server: ValkeyProcess):
    async with journal_on(server) as journal:
        asking, lengths = journal._queries._asking[0], list[Any]()

        async def length(key: str) -> None:
            try:
                lengths.append(await asking.ask([Command(b"XLEN", (key,))]))
            except JournalFailed as exc:
                lengths.append(str(exc))

        with anyio.fail_after(SOON):
            await journal.open("run_1", writer="a")
            keys = journal._layout.keys("run_1")
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(length, keys.info)
                tasks.start_soon(length, keys.stream)
    assert sorted(lengths, key=str) == [
        [1],
        f"the server at {server.url.removeprefix('redis://')} refuses what it is asked",
    ]


async def test_question_that_waits_for_others_is_not_asked_once_it_is_cancelled(own: ValkeyProcess, asked: list[int]):
    async with journal_on(own) as journal:
        asking = journal._queries._asking[0]
        await asking.ask([Command(b"PING", ())])
        asked.clear()
        own.pause()
        with anyio.fail_after(SOON):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(asking.ask, [Command(b"PING", ())])
                await wait_all_tasks_blocked()
                tasks.start_soon(asking.ask, [Command(b"PING", ())] * 2)
                await wait_all_tasks_blocked()
                tasks.cancel_scope.cancel()
            own.resume()
            await asking.ask([Command(b"PING", ())] * 3)
    assert asked == [1, 3]


async def test_who_asks_while_a_journal_is_left_is_not_kept_waiting(own: ValkeyProcess):
    async def ask(journal: RedisJournal) -> None:
        with pytest.raises(RuntimeError, match="expected an open journal"):
            await anext(journal.runs("run_1"))

    with anyio.fail_after(SOON):
        async with anyio.create_task_group() as tasks:
            async with journal_on(own) as journal:
                own.pause()
                tasks.start_soon(ask, journal)
                await wait_all_tasks_blocked()
            own.resume()
        await ask(journal)
