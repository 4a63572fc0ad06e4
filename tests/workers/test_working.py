"""What workers do with runs: claimed, delivered, committed, let go, taken over. The server is a real one."""

from typing import Any

import anyio
import pytest
from msgspec import Raw
from msgspec.structs import replace

from stepstream import (
    Accumulator,
    FrameDecoder,
    MemoryJournal,
    MessageProgress,
    Processor,
    RedisJournal,
    Workers,
    publish,
)
from stepstream.fold.changes import Change
from stepstream.fold.checkpoint import save_run
from stepstream.journal.claiming import Beat, Claim, Letter
from stepstream.journal.redis.claims import ClaimsPart
from stepstream.live.journal import Checkpoint, Pack
from stepstream.live.leases import Lease
from stepstream.workers import worked
from stepstream.workers.dead_letters import DeadLetter
from tests.support.delta_streams import says, written
from tests.support.suspensions import quiet
from tests.support.tables import each_row
from tests.support.valkey import ValkeyProcess
from tests.support.worked_runs import (
    DONE,
    TRANSITIONS,
    Noting,
    approval,
    at_work,
    blocks_of,
    claimed,
    dead_letters,
    journal_on,
    published,
    run_end,
    run_events,
    until,
)

OF_A_RUN = ["run/queued", "run/in_progress", "step/step_{0}/in_progress", "step/step_{0}/completed", "run/completed"]


def of_a_run(run_id: str) -> list[str]:
    return [one.format(run_id) for one in OF_A_RUN]


def with_callback(note: Noting, **options: Any) -> Processor:
    processor = Processor()
    processor.add(TRANSITIONS, note, **options)
    return processor


async def test_runs_are_delivered_in_order_and_finished(server: ValkeyProcess):
    note = Noting()
    async with journal_on(server) as journal:
        await published(journal, "run_1", "run_2", "run_3")
        async with at_work(journal, with_callback(note)) as workers:
            await until(lambda: len(note.keys) == 15 and not workers.owned)
            assert workers.lag == (0, 0.0)
        assert await claimed(journal, "another") == []
    assert {run_id: note.of(run_id) for run_id in ("run_1", "run_2", "run_3")} == {
        run_id: of_a_run(run_id) for run_id in ("run_1", "run_2", "run_3")
    }


async def test_run_is_delivered_while_it_is_published(server: ValkeyProcess):
    note = Noting()
    send, receive = anyio.create_memory_object_stream[bytes](99)
    async with journal_on(server) as journal, at_work(journal, with_callback(note)), anyio.create_task_group() as tasks:
        tasks.start_soon(publish, receive, journal)
        for block in run_events():
            await send.send(block)
        await until(lambda: len(note.keys) == 4)
        await send.send(run_end())
        await send.send(DONE)
        send.close()
        await until(lambda: len(note.keys) == 5)
    assert note.of("run_1") == of_a_run("run_1")


async def test_two_groups_each_get_everything(server: ValkeyProcess):
    notes = {"bots": Noting(), "mail": Noting()}
    async with journal_on(server) as journal:
        await published(journal, "run_1")
        async with (
            at_work(journal, with_callback(notes["bots"]), group="bots"),
            at_work(journal, with_callback(notes["mail"]), group="mail"),
        ):
            await published(journal, "run_2")
            await until(lambda: all(len(note.keys) == 10 for note in notes.values()))
    assert notes["bots"].of("run_2") == notes["mail"].of("run_2") == of_a_run("run_2")


async def test_run_of_a_silent_worker_is_taken_over_where_it_was(server: ValkeyProcess):
    note = Noting()
    async with journal_on(server) as journal:
        await at_join(journal)
        await published(journal, "run_1")
        [claim] = await claimed(journal, "dead", lease=0.2)
        begun = anyio.current_time()
        async with at_work(journal, with_callback(note), lease=0.2) as workers:
            await until(lambda: len(note.keys) == 5)
            assert anyio.current_time() - begun > 0.1
            assert workers.takeovers == 1
        assert claim.run_id == "run_1"
    assert note.of("run_1") == of_a_run("run_1")


async def at_join(journal: Any, group: str = "bots") -> None:
    for part in journal.claims(group).parts:
        await part.join()


async def test_runs_are_given_back_at_once_when_a_worker_stops(server: ValkeyProcess):
    """And whoever has one next is told only what was not settled."""
    note, other = Noting(), Noting()
    held = anyio.Event()

    def hold(change: Change) -> Any:
        return held.wait() if change.key == "run_1/step/step_run_1/completed" else None

    first = Noting(hold)
    async with journal_on(server) as journal:
        await published(journal, "run_1")
        async with at_work(journal, with_callback(first), lease=60):
            await until(lambda: len(first.keys) == 4)
        assert first.cancelled == ["run_1/step/step_run_1/completed"]
        async with at_work(journal, with_callback(other), lease=60) as workers:
            await until(lambda: len(other.keys) == 2)
            assert workers.takeovers == 0
    assert other.of("run_1") == of_a_run("run_1")[3:]
    assert note.keys == []


async def test_no_call_begins_once_a_run_is_given_back(server: ValkeyProcess, monkeypatch: pytest.MonkeyPatch):
    note, beats, beat = Noting(lambda change: anyio.sleep(0.001)), list[tuple[bool, int]](), ClaimsPart.beat
    async with journal_on(server) as journal:
        await published(journal, "run_1", words=400)
        processor = Processor()
        processor.add(MessageProgress, note)
        async with at_work(journal, processor) as workers:

            async def slow_beat(part: Any, name: str, lease: float, said: Any) -> Any:
                if said[0].verb == "give back":
                    beats.append((all(one.lease.is_over for one in workers._working.runs), len(note.keys)))
                    await anyio.sleep(0.05)
                return await beat(part, name, lease, said)

            monkeypatch.setattr(ClaimsPart, "beat", slow_beat)
            await until(lambda: len(note.keys) > 3)
    [(is_over, called)] = beats
    assert (is_over, len(note.keys) - called) == (True, 0)


async def test_waiting_run_is_let_go_and_goes_on_elsewhere(server: ValkeyProcess):
    """However many workers came and went meanwhile: nothing of it is told twice, and it is no dead letter."""
    notes = [Noting() for _ in range(6)]
    async with journal_on(server) as journal:
        async with at_work(journal, with_callback(notes[0])) as workers:
            await publish(blocks_of([*run_events(), approval(), DONE]), journal)
            await until(lambda: len(notes[0].keys) == 5 and not workers.owned)
        for note in notes[1:5]:
            async with at_work(journal, with_callback(note)) as workers:
                assert workers.owned == 0
        async with at_work(journal, with_callback(notes[5])):
            await publish(blocks_of([*run_events()[1:2], run_end(), DONE]), journal)
            await until(lambda: "run/completed" in notes[5].of("run_1"))
        assert await dead_letters(journal) == []
    assert [len(note.keys) for note in notes] == [5, 0, 0, 0, 0, 2]


async def test_lease_that_ended_lets_no_call_begin_and_cancels_what_is_in_hand(server: ValkeyProcess):
    skipped = 0.0
    held = anyio.Event()

    def clock() -> float:
        return anyio.current_time() + skipped

    def hold(change: Change) -> Any:
        return held.wait() if change.key == "run_1/run/in_progress" else None

    note = Noting(hold)
    async with journal_on(server) as journal:
        await published(journal, "run_1")
        async with at_work(journal, with_callback(note), lease=0.6, clock=clock):
            await until(lambda: len(note.keys) == 2)
            skipped = 1.0
            held.set()  # the call in hand succeeds, just then
            await until(lambda: len(note.keys) == 7)
    assert note.of("run_1") == [*of_a_run("run_1")[:2], *of_a_run("run_1")]
    assert len({change.context.token for change in note.changes[:2]}) == 1


async def test_late_commit_is_refused(server: ValkeyProcess):
    async with journal_on(server, partitions=1) as journal:
        await at_join(journal)
        await published(journal, "run_1")
        [part] = journal.claims("bots").parts
        [old] = await part.claim("one", 0.05, 1, 5)
        new: list[Any] = []
        while not new:
            new = await part.claim("two", 5, 1, 5)
        beats = [Beat(old, "renew", 4), Beat(new[0], "renew", 2)]
        assert await part.beat("one", 5, beats[:1]) == [-1]
        assert await part.beat("one", 5, beats[1:]) == [-1]
        assert await part.beat("two", 5, beats[1:]) == [9 - 1]
        assert new[0].token > old.token
    assert (new[0].is_takeover, old.is_takeover, new[0].takeovers) == (True, False, 1)


async def test_change_that_fails_for_good_is_a_dead_letter_and_the_run_goes_on(server: ValkeyProcess):
    def fail(change: Change) -> None:
        if change.key == "run_1/run/in_progress":
            raise KeyError("secret")

    note = Noting(fail)
    async with journal_on(server) as journal:
        await published(journal, "run_1")
        async with at_work(journal, with_callback(note, attempts=3, backoff=0)) as workers:
            await until(lambda: len(note.keys) == 7 and not workers.owned)
            assert workers.dead_letters == 1
        [letter] = await dead_letters(journal)
    assert (letter.subscriber, letter.key, letter.reason, letter.position) == (
        "Noting",
        "run_1/run/in_progress",
        "KeyError",
        2,
    )
    assert b'"status":"in_progress"' in bytes(letter.change)


def test_journal_that_processes_cannot_share_is_refused():
    with pytest.raises(TypeError, match="expected a RedisJournal, which processes can share, got MemoryJournal"):
        Workers(MemoryJournal(), group="bots")


async def test_dead_letter_that_is_sent_again_reaches_its_subscriber_only(server: ValkeyProcess):
    is_mended = False

    def fail(change: Change) -> None:
        if change.key == "run_1/run/in_progress" and not is_mended:
            raise KeyError

    note, other = Noting(fail), Noting()
    processor = with_callback(note)

    @processor.on(*TRANSITIONS)
    async def also(change: Change) -> None:
        await other(change)

    async with journal_on(server) as journal:
        await published(journal, "run_1")
        claims = journal.claims("bots")
        async with at_work(journal, processor) as workers:
            await until(lambda: len(note.keys) == 5 and not workers.owned)
            [letter] = await dead_letters(journal)
            assert await claims.resend(letter.id, "run_1", is_whole=False)
            await until(lambda: workers.dead_letters == 2 and not workers.owned)
            [again] = await dead_letters(journal)
            is_mended = True
            assert await claims.resend(letter.id, "run_1", is_whole=False)
            await until(lambda: len(note.keys) == 7 and not workers.owned)
            assert await dead_letters(journal) == []
    assert (again.id, again.time > letter.time) == (letter.id, True)
    assert note.of("run_1")[5:] == ["run/in_progress"] * 2
    assert replace(note.changes[-1], received_at=None) == replace(note.changes[1], received_at=None)
    assert other.of("run_1") == of_a_run("run_1")


async def test_options_of_subscriptions_hold(server: ValkeyProcess):
    """Lists, runs side by side, and each run in order."""
    lists: list[list[Change]] = []
    at_once = most = 0

    async def take(changes: Any) -> None:
        lists.append(list(changes))

    async def count(change: Change) -> None:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await anyio.sleep(0.01)
        at_once -= 1

    async with journal_on(server) as journal:
        run_ids = [f"run_{number}" for number in range(6)]
        await published(journal, *run_ids)
        processor = with_callback(Noting(count), concurrency=3)
        processor.add(TRANSITIONS, take, batch=10, max_wait=0.05)
        async with at_work(journal, processor) as workers:
            await until(lambda: sum(map(len, lists)) == 30 and not workers.owned)
    assert 1 < most <= 3
    assert max(map(len, lists)) > 1
    by_run = {one: [change.key for some in lists for change in some if change.run_id == one] for one in run_ids}
    assert by_run == {one: [f"{one}/{key}" for key in of_a_run(one)] for one in run_ids}


async def test_no_worker_has_more_than_it_may(server: ValkeyProcess):
    hold = anyio.Event()
    first, second = Noting(lambda change: hold.wait()), Noting(lambda change: hold.wait())
    async with journal_on(server) as journal:
        await published(journal, *[f"run_{number}" for number in range(5)])
        async with (
            at_work(journal, with_callback(first, concurrency=9), max_runs=2) as one,
            at_work(journal, with_callback(second, concurrency=9), max_runs=2) as other,
        ):
            await until(lambda: (one.owned, other.owned) == (2, 2))
            hold.set()
            await until(lambda: len(first.keys) + len(second.keys) == 25)


async def test_lag_is_what_is_not_settled(server: ValkeyProcess):
    now = 100.0
    hold = anyio.Event()
    note = Noting(lambda change: hold.wait() if change.key == "run_1/run/in_progress" else None)
    async with journal_on(server) as journal:
        await published(journal, "run_1")
        async with at_work(
            journal, with_callback(note), lease=1.5, clock=lambda: anyio.current_time() + now
        ) as workers:
            await until(lambda: workers.lag.seconds > 0)
            assert workers.lag.events == 8 - 1
            assert repr(workers) == "<Workers bots: 1 runs owned, 7 events behind, 0 taken over>"
            hold.set()
            await until(lambda: not workers.owned)
            assert workers.lag == (0, 0.0)


async def test_letters_that_are_many_are_said_one_after_another(server: ValkeyProcess, monkeypatch: pytest.MonkeyPatch):
    """And no position is committed before the letters up to it."""
    monkeypatch.setattr(worked, "MAX_SAID", 1_500)

    def fail(change: Change) -> None:
        raise ValueError

    async with journal_on(server) as journal:
        await published(journal, "run_1", words=30)
        processor = Processor()
        processor.add((MessageProgress, *TRANSITIONS), Noting(fail))
        async with at_work(journal, processor) as workers:
            await until(lambda: workers.dead_letters and not workers.owned)
        letters = await dead_letters(journal)
    assert len(letters) == 35
    assert len({letter.key for letter in letters}) == 35


async def test_what_is_kept_of_content_is_in_no_repr():
    letter = Letter("0-ab", b'{"run_id": "run_1", "secret": "fog"}')
    claim = Claim(run_id="run_1", token=1, letter=letter)
    dead = DeadLetter(
        id="0-ab", run_id="run_1", subscriber="hook", key="k", reason="E", position=1, time=0, change=Raw(b'"fog"')
    )
    run = worked.WorkedRun(claim, Lease(1.0, lambda: 0.0), 1.0, lambda: 0.0)
    assert [repr(one) for one in (letter, claim, dead, run) if "fog" in repr(one)] == []


async def test_workers_run_once_at_a_time_and_inside_of_their_block(server: ValkeyProcess):
    async with journal_on(server) as journal, Processor() as processor:
        workers = Workers(journal, group="bots")
        with pytest.raises(RuntimeError, match="expected open Workers"):
            await workers.run(processor)
        async with workers, anyio.create_task_group() as tasks:
            tasks.start_soon(workers.run, processor)
            await quiet()
            with pytest.raises(RuntimeError, match="expected Workers that do not run"):
                await workers.run(processor)
            tasks.cancel_scope.cancel()
    with pytest.raises(RuntimeError, match="expected an open journal"):
        async with Workers(RedisJournal(server.url), group="bots"):
            pass


@each_row(
    ("options", "message"),
    [
        ({"group": ""}, "a group's name of 1 to 200"),
        ({"group": "g" * 201}, "a group's name of 1 to 200"),
        ({"group": "g", "lease": 0}, "lease of at least 0.05"),
        ({"group": "g", "max_runs": 0}, "max_runs of at least 1"),
        ({"group": "g", "max_takeovers": -1}, "max_takeovers of at least 0"),
    ],
)
def test_wrong_option_is_named(options: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        Workers(RedisJournal("redis://127.0.0.1"), **options)


@pytest.mark.slow
async def test_event_that_is_too_large_holds_up_nothing(server: ValkeyProcess):
    note, large = Noting(), written("thread.message.delta", says("x" * (17 * 2**20), "msg_run_1"))
    async with journal_on(server) as journal:
        async with Processor(journal=journal, max_event_bytes=2**25) as publisher:
            await publisher.run(blocks_of([*run_events(), large, run_end(), DONE]))
        await published(journal, "run_2")
        async with at_work(journal, with_callback(note)) as workers:
            await until(lambda: workers.dead_letters and not workers.owned)
        [letter] = await dead_letters(journal)
    assert (
        letter.reason
        == "FrameTooLarge: expected an event of at most 16,777,216 bytes (max_event_bytes), got a longer one"
    )
    assert note.of("run_2") == of_a_run("run_2")


async def test_run_that_was_trimmed_is_told_from_where_it_was_committed(server: ValkeyProcess):
    """The newest checkpoint is beyond that: the one before it is kept for those who work on the run."""
    note, position = Noting(), 0
    async with journal_on(server, partitions=1, max_run_bytes=30_000) as journal:
        [part] = journal.claims("bots").parts
        await part.join()
        opened = await journal.open("run_1", writer="a")
        accumulator = Accumulator()
        accumulator.translation.be_plain()
        blocks = [*run_events(words=2)[:-1], *[deltas("x" * 2_000) for _ in range(60)], run_end()]
        [claim] = [claim for claim in await part.claim("dead", 60, 9, 5) if claim.run_id == "run_1"]
        for position, block in enumerate(blocks, 1):
            for frame in FrameDecoder().feed(block):
                accumulator.apply_frame(frame)
            held: list[Any] = [Pack(opened.fence, position, 1, block)]
            if position % 10 == 0:
                held.append(Checkpoint(opened.fence, position, save_run(accumulator.stream, "run_1")))
            await journal.append(opened, held)
            assert [info.position async for info in journal.runs("run_1")] == [position]
        await journal.append(opened, status="ended")
        checkpoint = await journal.checkpoint("run_1")
        assert checkpoint is not None
        committed = checkpoint.last - 4
        await part.beat("dead", 60, [Beat(claim, "give back", committed)])
        processor = Processor()
        processor.add((MessageProgress, *TRANSITIONS), note)
        async with at_work(journal, processor) as workers:
            await until(lambda: "run/completed" in note.of("run_1") and not workers.owned)
        assert await dead_letters(journal) == []
    assert [change.sequence for change in note.changes] == list(range(committed + 1, position + 1))


def deltas(text: str) -> bytes:
    return written("thread.message.delta", says(text, "msg_run_1"))
