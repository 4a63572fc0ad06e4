"""What cannot be worked on: it goes to the dead letters with its reason, and holds up nothing else."""

from collections.abc import Callable, Sequence
from typing import Any

import anyio
import pytest

from stepstream import (
    JournalError,
    Processor,
    RedisJournal,
    RunTransition,
    StreamTruncated,
    SubscriberTooSlow,
    publish,
)
from stepstream.live.journal import Pack
from tests.support.delta_streams import says, written
from tests.support.valkey import ValkeyProcess
from tests.support.worked_runs import (
    DONE,
    SOON,
    TRANSITIONS,
    Noting,
    at_work,
    blocks_of,
    claimed,
    claimed_once,
    dead_letters,
    journal_on,
    published,
    run_end,
    run_events,
    until,
    whole_run,
)

Spoil = Callable[[RedisJournal, ValkeyProcess, str], Any]


def key(journal: RedisJournal, kind: int, run_id: str) -> bytes:
    return journal._layout.keys(run_id)[kind].encode()


async def foreign_entry(journal: RedisJournal, server: ValkeyProcess, run_id: str) -> None:
    await published(journal, run_id)
    server.ask(b"XADD", key(journal, 0, run_id), b"9999999999999-99", b"n", b"many", b"d", b"?")


async def foreign_entry_with_an_id_of_the_server(journal: RedisJournal, server: ValkeyProcess, run_id: str) -> None:
    await published(journal, run_id)
    server.ask(b"XADD", key(journal, 0, run_id), b"*", b"some", b"thing")


async def hole(journal: RedisJournal, server: ValkeyProcess, run_id: str) -> None:
    await published(journal, run_id, words=200)
    fence = server.ask(b"HGET", key(journal, 1, run_id), b"fence").split(b"\r\n")[1]
    server.ask(b"XTRIM", key(journal, 0, run_id), b"MINID", fence + b"-100")


async def lost_stream(journal: RedisJournal, server: ValkeyProcess, run_id: str) -> None:
    await published(journal, run_id)
    server.ask(b"DEL", key(journal, 0, run_id))


async def interrupted(journal: RedisJournal, server: ValkeyProcess, run_id: str) -> None:
    with pytest.raises(StreamTruncated):
        await publish(blocks_of(run_events(run_id)), journal)


async def silent(journal: RedisJournal, server: ValkeyProcess, run_id: str) -> None:
    opened = await journal.open(run_id, writer="dead")
    await journal.append(opened, [Pack(opened.fence, 1, 1, run_events(run_id)[0])])


async def large_event(journal: RedisJournal, server: ValkeyProcess, run_id: str = "run_1") -> None:
    large = written("thread.message.delta", says("x" * 20_000, f"msg_{run_id}"))
    await publish(blocks_of([*run_events(run_id), large, run_end(run_id), DONE]), journal)


SPOILT: dict[Spoil, str] = {
    foreign_entry: "JournalGap: an entry of run {} is none that a writer wrote",
    foreign_entry_with_an_id_of_the_server: "JournalGap: an entry of run {} is none that a writer wrote",
    lost_stream: "JournalGap: no event of the run is there",
    hole: "JournalGap: the events 1 to ",
    interrupted: "RunInterrupted: the stream of run {} broke: ",
    silent: "RunInterrupted: run {} gave no sign for 0.3 seconds",
    large_event: "FrameTooLarge: expected an event of at most 10,000 bytes",
}


async def test_runs_that_cannot_be_read_are_dead_letters_and_others_go_on(server: ValkeyProcess):
    note = Noting()
    processor = Processor(max_event_bytes=10_000)
    processor.add(TRANSITIONS, note)
    async with journal_on(server) as journal:
        for spoil in SPOILT:
            await spoil(journal, server, spoil.__name__)
        async with at_work(journal, processor, interrupted_after=0.3) as workers:
            await published(journal, "run_2")
            await until(lambda: workers.dead_letters == len(SPOILT) and not workers.owned)
        letters = {letter.run_id: letter for letter in await dead_letters(journal)}
    reasons = {spoil.__name__: reason.format(spoil.__name__) for spoil, reason in SPOILT.items()}
    assert {name: letters[name].reason[: len(reason)] for name, reason in reasons.items()} == reasons
    assert all(letter.is_whole for letter in letters.values())
    assert "run/completed" in note.of("run_2")


async def test_run_that_was_given_up_is_worked_on_once_it_is_sent_again(server: ValkeyProcess):
    note, large = Noting(), Noting()
    async with journal_on(server) as journal:
        await large_event(journal, server)
        small = Processor(max_event_bytes=10_000)
        small.add(TRANSITIONS, large)
        async with at_work(journal, small) as workers:
            await until(lambda: workers.dead_letters and not workers.owned)
        [letter] = await dead_letters(journal)
        processor = Processor()
        processor.add(TRANSITIONS, note)
        async with at_work(journal, processor) as workers:
            await publish(blocks_of([*run_events()[1:2], run_end(), DONE]), journal)  # it goes on, and stays given up
            assert note.keys == []
            assert await journal.claims("bots").resend(letter.id, "run_1", is_whole=True)
            await until(lambda: "run/completed" in note.of("run_1") and not workers.owned)
        assert await dead_letters(journal) == []
    assert large.of("run_1") + note.of("run_1") == [
        "run/queued", "run/in_progress", "step/step_run_1/in_progress", "step/step_run_1/completed", "run/completed",
    ]  # fmt: skip


async def test_interrupted_run_goes_on_where_it_was_when_its_publisher_is_back(server: ValkeyProcess):
    note = Noting()
    processor = Processor()
    processor.add(TRANSITIONS, note)
    async with journal_on(server) as journal:
        opened = await journal.open("run_1", writer="paused")
        await journal.append(opened, [Pack(opened.fence, 1, 1, run_events()[0])])
        async with at_work(journal, processor, interrupted_after=0.3) as workers:
            await until(lambda: workers.dead_letters and not workers.owned)
            await journal.append(opened, [Pack(opened.fence, 2, 1, run_events()[1])])
            await journal.append(opened, [Pack(opened.fence, 3, 1, run_end())], status="ended")
            await until(lambda: len(note.keys) == 3 and not workers.owned)
        assert await dead_letters(journal) == []  # it has ended after all
    assert note.of("run_1") == ["run/queued", "run/in_progress", "run/completed"]


async def test_run_that_ends_its_workers_is_given_up(server: ValkeyProcess):
    async with journal_on(server, partitions=1) as journal:
        [part] = journal.claims("bots").parts
        await part.join()
        await published(journal, "run_1")
        for number in range(3):
            await claimed_once(part, f"dead {number}", max_takeovers=2)
        async with at_work(journal, lease=1.5, max_takeovers=2):  # it asks twice a second
            with anyio.fail_after(SOON):
                while not (letters := await dead_letters(journal)):
                    pass  # each look asks the server
        [letter] = letters
        assert await claimed(journal, "another") == []
    assert (letter.reason, letter.position) == ("taken over 2 times without progress", 0)


async def test_takeovers_of_a_run_that_had_nothing_new_do_not_count(server: ValkeyProcess):
    async with journal_on(server, partitions=1) as journal:
        [part] = journal.claims("bots").parts
        await part.join()
        opened = await journal.open("run_1", writer="a")
        told = []
        for number in range(4):
            claim = await claimed_once(part, f"dead {number}", max_takeovers=1)
            told.append((claim.takeovers, claim.is_spent))
        await journal.append(opened, status="waiting")
    assert told == [(0, False)] * 4


async def test_odd_ids_are_worked_on(server: ValkeyProcess):
    odd = ["a{b}c", "{}", "two\nlines", "tab\tand space", "ü" * 512, "r", "token", "run/1/x", "x y z"]
    note = Noting()
    processor = Processor()
    processor.add(RunTransition, note)
    async with journal_on(server) as journal, at_work(journal, processor) as workers:
        for run_id in odd:
            await publish(blocks_of(whole_run(run_id)), journal)
        await until(lambda: len(note.keys) == 3 * len(odd) and not workers.owned)
    assert {change.run_id for change in note.changes} == set(odd)


async def test_id_that_is_no_part_of_a_key_is_refused(server: ValkeyProcess):
    async with journal_on(server) as journal:
        for run_id in ("x" * 2**20, "ü" * 513, "\ud800"):
            with pytest.raises(JournalError, match=r"expected the id of a run (of at most 1,024 bytes|as text), got"):
                await journal.open(run_id, writer="a")


async def test_worker_whose_subscriber_was_closed_stops(server: ValkeyProcess):
    """What it missed is told to the next worker."""

    async def fail(change: Any) -> None:
        raise ValueError

    note, closed = Noting(), Processor()
    closed.add(TRANSITIONS, fail, max_failures=2)
    async with journal_on(server) as journal:
        await published(journal, "run_1")

        async def work() -> None:
            async with at_work(journal, closed):
                await anyio.sleep_forever()

        with pytest.raises(BaseExceptionGroup) as raised:
            await work()
        assert _leaves(raised.value) == [SubscriberTooSlow]
        processor = Processor()
        processor.add(TRANSITIONS, note)
        async with at_work(journal, processor) as workers:
            await until(lambda: len(note.keys) == 3 and not workers.owned)
        assert [letter.reason for letter in await dead_letters(journal)] == ["ValueError"] * 2


def _leaves(group: BaseExceptionGroup[Any]) -> Sequence[type[BaseException]]:
    return [leaf for one in group.exceptions for leaf in (_leaves(one) if hasattr(one, "exceptions") else [type(one)])]
