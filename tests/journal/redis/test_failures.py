"""What is lost, and what is said of it, when servers, publishers and connections fail. The server is a real one."""

import re
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import anyio
import pytest
from coredis.exceptions import AuthorizationError
from coredis.exceptions import ConnectionError as ConnectionBroke

from stepstream import (
    JournalConflict,
    JournalError,
    JournalFailed,
    JournalFull,
    JournalGap,
    Processor,
    RedisJournal,
    RunInterrupted,
    RunTransition,
)
from stepstream.journal.redis import checkpoints, history, partition_reader, server
from stepstream.journal.redis.checkpoint_scripts import MAX_DROPPED
from stepstream.journal.redis.scripts import Layout
from stepstream.live.journal import Checkpoint, Opened, Pack
from tests.support.journal_contract import SOON, everything, pack, stream, told_of
from tests.support.journals import told_of as told_by
from tests.support.places import ROOT
from tests.support.proxy import proxied
from tests.support.valkey import ValkeyProcess, fresh_namespace, valkey

LIMIT = 0.3
CERTIFICATE = ROOT / "tests" / "support" / "self_signed.pem"


@pytest.fixture(autouse=True)
def _short_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partition_reader, "LOOK_EVERY", LIMIT)
    monkeypatch.setattr(server, "COMMAND_LIMIT", LIMIT)


def journal_on(one: ValkeyProcess, **options: Any) -> RedisJournal:
    return RedisJournal(one.url, **{"partitions": 2, "namespace": "test", **options})


@asynccontextmanager
async def open_run(one: ValkeyProcess, **options: Any) -> AsyncIterator[tuple[RedisJournal, Opened]]:
    with anyio.fail_after(SOON):
        async with journal_on(one, **options) as journal:
            yield journal, await journal.open("run_1", writer="a")


def kill_and_start(one: ValkeyProcess) -> None:
    one.kill()
    one.start()


def flush(one: ValkeyProcess) -> None:
    one.ask(b"FLUSHALL")


def break_connections(one: ValkeyProcess) -> None:
    one.ask(b"CLIENT", b"KILL", b"TYPE", b"normal")


FAULTS = [kill_and_start, flush, break_connections]


async def positions(journal: RedisJournal, run_id: str = "run_1", after: int = 0) -> list[int]:
    return [number for held in await everything(journal, run_id, after) for number in numbers(held)]


def numbers(held: Any) -> Sequence[int]:
    return range(held.first, held.last + 1) if isinstance(held, Pack) else ()


@pytest.mark.parametrize("fault", FAULTS)
async def test_what_the_server_lost_is_written_again(own: ValkeyProcess, fault: Any):
    async with open_run(own) as (journal, opened):
        await journal.append(opened, [pack(opened, 1, 2), pack(opened, 3)])
        assert await positions(journal) == [1, 2, 3]
        fault(own)
        await journal.append(opened, [pack(opened, 4)])
        await journal.append(opened, [pack(opened, 5, 2)], status="waiting")
        assert await positions(journal) == [1, 2, 3, 4, 5, 6]
        assert (await told_of(journal)).status == "waiting"


async def test_what_is_lost_while_it_is_read_is_no_gap(own: ValkeyProcess, monkeypatch: pytest.MonkeyPatch):
    async with open_run(own) as (journal, opened):
        await journal.append(opened, [pack(opened, 1, 2), pack(opened, 3)])
        assert await positions(journal) == [1, 2, 3]
        page_of = history._page

        def page_of_lost(*asked: Any) -> Any:
            monkeypatch.setattr(history, "_page", page_of)
            flush(own)
            return page_of(*asked)

        monkeypatch.setattr(history, "_page", page_of_lost)
        assert await positions(journal, after=2) == []
        await journal.append(opened)
        assert await positions(journal, after=2) == [3]


@pytest.mark.parametrize("opened_at", [0, 3], ids=["new", "taken over"])
@pytest.mark.parametrize("count", [1, 2, 4, 1_100], ids=str)
@pytest.mark.parametrize("is_kept", [False, True], ids=["", "checkpoint"])
async def test_what_an_earlier_writer_wrote_once_the_server_had_lost_who_took_over_is_none_of_the_run(
    own: ValkeyProcess, opened_at: int, count: int, is_kept: bool
):
    """The earlier one does not know of the later one, and the server neither, until that writes again."""
    with anyio.fail_after(SOON):
        async with journal_on(own) as journal, journal_on(own) as former:
            by_former = await former.open("run_1", writer="former")
            await former.append(by_former, [event(by_former, n) for n in range(1, opened_at + 1)])
            assert await positions(former) == [*range(1, opened_at + 1)]
            opened = await journal.open("run_1", writer="a")
            mine = [event(opened, opened_at + 1), event(opened, opened_at + 2)]
            await journal.append(opened, mine)
            assert len(await positions(journal)) == opened_at + 2
            flush(own)
            theirs: list[Any] = [event(by_former, opened_at + n) for n in range(1, count + 1)]
            await former.append(by_former, [*theirs, *[Checkpoint(by_former.fence, theirs[-1].last, b"{}")] * is_kept])
            assert len(await positions(former)) == opened_at + count
            mine.append(event(opened, opened_at + 3))
            await journal.append(opened, mine[-1:], status="ended")
            if opened_at and count > MAX_DROPPED:
                with pytest.raises(JournalGap, match="the events 1 to 3 of run run_1 are gone"):
                    await everything(journal)
                assert await everything(journal, after=opened_at) == mine
            else:
                assert await everything(journal) == [*[event(by_former, n) for n in range(1, opened_at + 1)], *mine]
            assert await journal.checkpoint("run_1") is None
            with pytest.raises(JournalConflict):
                await former.append(by_former, [event(by_former, opened_at + count + 1)], status="ended")


def event(opened: Opened, position: int) -> Pack:
    """Return an event that says who wrote it."""
    return Pack(opened.fence, position, 1, b'data: {"by": "%b", "n": %d}\n\n' % (opened.writer.encode(), position))


async def test_sign_of_life_is_enough_to_write_again_what_was_lost(own: ValkeyProcess):
    async with open_run(own) as (journal, opened):
        await journal.append(opened, [pack(opened, 1, 3)])
        assert await positions(journal) == [1, 2, 3]
        flush(own)
        await journal.append(opened)
        assert await positions(journal) == [1, 2, 3]


@pytest.mark.parametrize("size", [1, 2**18])
async def test_what_is_before_the_last_checkpoint_is_not_held_and_the_checkpoint_stands_for_it(
    own: ValkeyProcess, monkeypatch: pytest.MonkeyPatch, size: int
):
    monkeypatch.setattr(checkpoints, "PIECE_BYTES", size)
    async with open_run(own) as (journal, opened):
        checkpoint = Checkpoint(opened.fence, 3, b'{"in": "twenty pieces"}')
        await journal.append(opened, [pack(opened, 1, 3), checkpoint, pack(opened, 4)])
        await positions(journal)
        flush(own)
        await journal.append(opened, [pack(opened, 5)])
        assert await everything(journal) == [checkpoint, pack(opened, 4), pack(opened, 5)]


async def test_checkpoint_of_which_pieces_were_lost_is_sent_again(own: ValkeyProcess, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(checkpoints, "PIECE_BYTES", 1)
    keys, keep, lost = Layout("test", 2).keys("run_1"), checkpoints.Checkpoints._keep, list[bytes]()

    def lose_and_keep(self: Any, one: Checkpoint) -> Any:
        if not lost:
            lost.append(own.ask(b"HDEL", keys.checkpoint.encode(), f"{one.fence}-{one.last}:0".encode()))
        return keep(self, one)

    monkeypatch.setattr(checkpoints.Checkpoints, "_keep", lose_and_keep)
    async with open_run(own) as (journal, opened):
        checkpoint = Checkpoint(opened.fence, 3, b"{}")
        await journal.append(opened, [pack(opened, 1, 3), checkpoint])
        await positions(journal)
        assert lost == [b":1\r\n"]
        flush(own)
        await journal.append(opened, [pack(opened, 4)])
        assert await everything(journal) == [checkpoint, pack(opened, 4)]


async def test_checkpoint_takes_the_place_of_the_one_before(own: ValkeyProcess, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(checkpoints, "PIECE_BYTES", 1)
    async with open_run(own) as (journal, opened):
        for number in (1, 2, 3):
            await journal.append(opened, [pack(opened, number), Checkpoint(opened.fence, number, b"{%d}" % number)])
            await positions(journal)
        stored = own.ask(b"HLEN", Layout("test", 2).keys("run_1").checkpoint.encode())
        assert stored == b":6\r\n"  # three pieces, and which they are
        flush(own)
        await journal.append(opened, [pack(opened, 4)])
        assert (await everything(journal))[0] == Checkpoint(opened.fence, 3, b"{3}")


async def test_what_is_held_for_that_is_bounded(own: ValkeyProcess):
    block = b"data: x\n\n"
    async with open_run(own, max_run_bytes=3 * len(block)) as (journal, opened):
        for number in range(1, 9):
            await journal.append(opened, [Pack(opened.fence, number, 1, block)])
        await positions(journal)
        flush(own)
        await journal.append(opened, [Pack(opened.fence, 9, 1, block)])
        with pytest.raises(JournalGap):
            await everything(journal, after=4)
        assert await positions(journal, after=5) == [6, 7, 8, 9]


async def test_what_an_earlier_writer_wrote_is_a_gap_when_it_is_lost(own: ValkeyProcess):
    async with open_run(own) as (journal, opened):
        await journal.append(opened, [pack(opened, 1, 3)])
        again = await journal.open("run_1", writer="b")
        await journal.append(again, [pack(again, 4)])
        await positions(journal)
        flush(own)
        await journal.append(again, [pack(again, 5)])
        with pytest.raises(JournalGap):
            await everything(journal)
        assert await positions(journal, after=3) == [4, 5]


@pytest.mark.parametrize("fault", FAULTS)
async def test_follower_goes_on_where_the_publisher_writes_again(own: ValkeyProcess, fault: Any):
    got: list[int] = []
    begun = anyio.Event()

    async def follow(journal: RedisJournal) -> None:
        async with journal.follow("run_1") as pieces:
            async for piece in pieces:
                got.extend(numbers(piece.held))
                begun.set()

    async with open_run(own) as (journal, opened), journal_on(own) as other, anyio.create_task_group() as tasks:
        await journal.append(opened, [pack(opened, 1, 3)])
        tasks.start_soon(follow, other)
        await begun.wait()
        fault(own)
        await journal.append(opened, [pack(opened, 4, 2)])
        await positions(journal)
        await journal.append(opened, [pack(opened, 6)], status="ended")
    assert got == [1, 2, 3, 4, 5, 6]


async def test_server_that_was_emptied_under_a_follower_is_a_gap(own: ValkeyProcess):
    async with journal_on(own) as other:
        async with open_run(own) as (journal, opened):
            await journal.append(opened, [pack(opened, 1, 3)])
            await positions(journal)
        async with Processor() as processor:

            @processor.on(RunTransition)
            async def empty(change: RunTransition) -> None:
                flush(own)

            with anyio.fail_after(SOON), pytest.raises(JournalGap, match="has lost"):
                await processor.run(other.follow("run_1"))


async def test_publisher_that_was_paused_is_refused_when_it_wakes(server: ValkeyProcess):
    namespace = fresh_namespace()
    async with (
        journal_on(server, namespace=namespace) as paused,
        journal_on(server, namespace=namespace) as other,
    ):
        opened = await paused.open("run_1", writer="a")
        await paused.append(opened, [pack(opened, 1, 2)])
        await positions(paused)
        newer = await other.open("run_1", writer="b")
        await other.append(newer, [pack(newer, 3)])
        await paused.append(opened, [pack(opened, 3, 4)])
        await other.append(newer, [pack(newer, 4)], status="ended")
        with pytest.raises(JournalConflict):
            await paused.append(opened, status="ended")
        held = await everything(other)
        assert [(one.fence, one.last) for one in held] == [(opened.fence, 2), (newer.fence, 3), (newer.fence, 4)]


async def test_network_that_is_cut_loses_nothing_for_publisher_and_follower(server: ValkeyProcess):
    namespace, got = fresh_namespace(), list[int]()

    async def follow(journal: RedisJournal) -> None:
        async with journal.follow("run_1") as pieces:
            async for piece in pieces:
                got.extend(numbers(piece.held))

    async with proxied(server.port) as near, proxied(server.port) as far:
        urls = [f"redis://127.0.0.1:{proxy.port}" for proxy in (near, far)]
        async with (
            RedisJournal(urls[0], namespace=namespace) as journal,
            RedisJournal(urls[1], namespace=namespace) as other,
            anyio.create_task_group() as tasks,
        ):
            opened = await journal.open("run_1", writer="a")
            tasks.start_soon(follow, other)
            for number in range(1, 10):
                await journal.append(opened, [pack(opened, number)])
                if number % 3 == 0:
                    [near, far][number % 2].cut()
                await anyio.sleep(0.02)
                near.mend()
                far.mend()
            await journal.append(opened, status="ended")
    assert got == list(range(1, 10))


async def test_journal_is_reached_over_tls(server: ValkeyProcess):
    offered = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    offered.load_cert_chain(CERTIFICATE)
    trusting = ssl.create_default_context(cafile=str(CERTIFICATE))
    trusting.check_hostname = False
    async with proxied(server.port, offered) as proxy:
        url = f"rediss://127.0.0.1:{proxy.port}"
        async with RedisJournal(url, namespace=fresh_namespace(), ssl_context=trusting) as journal:
            opened = await journal.open("run_1", writer="a")
            await journal.append(opened, [pack(opened, 1)])
            assert await positions(journal) == [1]


async def test_certificate_that_is_unknown_is_refused(server: ValkeyProcess):
    offered = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    offered.load_cert_chain(CERTIFICATE)
    async with proxied(server.port, offered) as proxy:
        with pytest.raises(JournalFailed):
            async with RedisJournal(f"rediss://127.0.0.1:{proxy.port}"):
                pass


async def test_publisher_that_is_gone_leaves_no_run_open_for_ever(server: ValkeyProcess):
    namespace = fresh_namespace()
    async with journal_on(server, namespace=namespace) as gone:
        opened = await gone.open("run_1", writer="a")
        await gone.append(opened, [pack(opened, 1, 3)])
        await positions(gone)
    async with journal_on(server, namespace=namespace) as other:
        follower = await told_by(other.follow("run_1", interrupted_after=2 * LIMIT))
        assert isinstance(follower.error, RunInterrupted)
        assert len(follower.changes) == 3


async def test_journal_that_is_left_has_what_was_written(server: ValkeyProcess):
    namespace = fresh_namespace()
    async with journal_on(server, namespace=namespace) as left:
        opened = await left.open("run_1", writer="a")
        for number in range(1, 9):
            await left.append(opened, [pack(opened, number)])
    async with journal_on(server, namespace=namespace) as other:
        assert await positions(other) == list(range(1, 9))


async def test_sign_with_a_run_that_waits_counts_for_the_others(server: ValkeyProcess):
    async with journal_on(server, namespace=fresh_namespace()) as journal:
        waiting, opened = [await journal.open(name, writer="a") for name in ("run_1", "run_2")]
        await journal.append(waiting, [pack(waiting, 1)], status="waiting")
        await journal.append(opened, [pack(opened, 1)])
        await anyio.sleep(2 * LIMIT)
        before = (await told_of(journal, "run_2")).silence
        await journal.append(waiting, status="waiting")
        after = (await told_of(journal, "run_2")).silence
        assert after < before


async def test_who_asks_no_more_breaks_no_connection_of_others(server: ValkeyProcess):
    async with journal_on(server, namespace=fresh_namespace()) as journal:
        opened = await journal.open("run_1", writer="a")
        await journal.append(opened, [pack(opened, 1, 3)])
        await positions(journal)
        connections = server.ask(b"INFO", b"stats").split(b"total_connections_received:")[1].split()[0]
        for _ in range(20):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(positions, journal)
                await anyio.lowlevel.checkpoint()
                tasks.cancel_scope.cancel()
            assert await positions(journal) == [1, 2, 3]
        later = server.ask(b"INFO", b"stats").split(b"total_connections_received:")[1].split()[0]
        assert int(later) - int(connections) == 1  # that of the question itself


async def test_server_that_is_paused_gets_everything_when_it_goes_on(own: ValkeyProcess):
    async with open_run(own) as (journal, opened), anyio.create_task_group() as tasks:
        await journal.append(opened, [pack(opened, 1, 2)])
        await positions(journal)
        own.pause()

        async def resume() -> None:
            await anyio.sleep(2 * LIMIT)
            own.resume()

        tasks.start_soon(resume)
        for number in (3, 4, 5):
            await journal.append(opened, [pack(opened, number)], status="waiting" if number == 5 else "open")
        assert await positions(journal) == [1, 2, 3, 4, 5]


async def test_full_server_takes_no_other_run_and_the_rest_when_there_is_room(own: ValkeyProcess):
    async with open_run(own) as (journal, opened):
        own.ask(b"CONFIG", b"SET", b"maxmemory", b"1")
        with pytest.raises(JournalFull):
            await journal.open("run_2", writer="a")
        await journal.append(opened, [pack(opened, 1, 2)])
        own.ask(b"CONFIG", b"SET", b"maxmemory", b"0")
        await journal.append(opened, [pack(opened, 3)], status="waiting")
        assert await positions(journal) == [1, 2, 3]


async def test_outage_that_lasts_too_long_fails_the_run(own: ValkeyProcess):
    async with open_run(own, outage_timeout=0.05) as (journal, opened):
        await journal.append(opened, [pack(opened, 1)])
        await positions(journal)
        own.kill()
        with pytest.raises(JournalFailed, match="written to the journal for"):
            await journal.append(opened, [pack(opened, 2)], status="ended")
        with pytest.raises(JournalFailed):
            await journal.open("run_2", writer="a")


async def test_run_may_go_on_without_its_journal(own: ValkeyProcess):
    async with open_run(own, outage_timeout=0.05, on_outage="go on") as (journal, opened):
        own.kill()
        await journal.append(opened, [pack(opened, 1, 2)], status="waiting")
        await journal.append(opened, [pack(opened, 3)])
        await journal.append(opened, [pack(opened, 4)], status="ended")
        assert journal.missing == 4
        other = await journal.open("run_2", writer="a")
        await journal.append(other, [pack(other, 1, 3)], status="ended")
        assert (journal.missing, [held async for held in other.held]) == (7, [])
        own.start()
        again = await journal.open("run_2", writer="a")
        await journal.append(again, [pack(again, 1)], status="ended")
        assert (journal.missing, await positions(journal, "run_2")) == (7, [1])


async def test_streams_wait_once_too_much_waits_for_the_server(own: ValkeyProcess, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("stepstream.journal.redis.journal.MAX_WAITING", 100)
    async with open_run(own) as (journal, opened):
        own.pause()
        with anyio.move_on_after(LIMIT / 2) as waited:
            await journal.append(opened, [pack(opened, 1)])
        own.resume()
        assert waited.cancelled_caught
        await journal.append(opened, [pack(opened, 1), pack(opened, 2)], status="waiting")
        assert await positions(journal) == [1, 2]


async def test_nobody_there_is_said_at_once():
    with pytest.raises(JournalFailed, match="no connection"):
        async with RedisJournal("redis://127.0.0.1:1"):
            pass


async def test_server_that_stands_still_is_not_said_to_refuse(own: ValkeyProcess):
    own.pause()
    with pytest.raises(JournalFailed, match="was reached, and does not answer"):
        async with journal_on(own):
            pass
    own.resume()


class BrokenConnection:
    """One that broke after it was made, or whose server refuses what it is asked then."""

    def __init__(self, refusal: Exception | None) -> None:
        self.refusal = refusal
        self.is_given_up = False

    async def create_request_batch(self, commands: Sequence[Any]) -> list[Any]:
        if self.refusal is None:
            raise ConnectionBroke("Connection not usable")
        return [self.refusal] * len(commands)

    def invalidate(self) -> None:
        self.is_given_up = True


@pytest.mark.parametrize("refusal", [None, AuthorizationError("NOPERM")])
async def test_node_of_a_cluster_that_does_not_say_where_a_key_is_fails_as_a_journal_does(
    monkeypatch: pytest.MonkeyPatch, refusal: Exception | None
):
    made = BrokenConnection(refusal)

    async def connect(*_: Any) -> BrokenConnection:
        return made

    async with anyio.create_task_group() as tasks:
        servers = server.Servers(server.Address("redis://127.0.0.1", None, None), tasks)
        servers.is_cluster = True
        monkeypatch.setattr(servers, "_connect", connect)
        with pytest.raises(JournalFailed):
            await servers.connect("key")
    assert made.is_given_up


async def test_password_comes_from_a_variable_and_is_in_no_repr(monkeypatch: pytest.MonkeyPatch):
    with valkey("--requirepass", "s3cret") as one:
        with pytest.raises(JournalFailed, match=r"asks for a password, .* STEPSTREAM_JOURNAL_PASSWORD"):
            async with journal_on(one):
                pass
        with pytest.raises(JournalFailed, match="does not accept this user name and password") as refused:
            async with journal_on(one, password="wr0ng"):
                pass
        monkeypatch.setenv("STEPSTREAM_JOURNAL_PASSWORD", "s3cret")
        async with journal_on(one) as journal:
            opened = await journal.open("run_1", writer="a")
            await journal.append(opened, [pack(opened, 1)], status="ended")
            assert repr(journal) == f"<RedisJournal test at 127.0.0.1:{one.port}: 0 runs written>"
    assert "wr0ng" not in repr((refused.value, refused.value.__cause__))


README = (ROOT / "src" / "stepstream" / "journal" / "redis" / "README.md").read_text(encoding="utf-8")


async def test_user_needs_no_more_than_the_readme_says(own: ValkeyProcess):
    """A run that is lost and written again, read and followed uses every command there is."""
    allowed = " ".join(re.findall(r"ACL user needs (.+?), in a cluster", README, re.DOTALL)).replace("`", "").split()
    rules = [one.replace("<namespace>", "test") for one in allowed if one != "and"]
    own.ask(b"ACL", b"SETUSER", b"bot", b"on", b">s3cret", *[rule.encode() for rule in rules])
    url = own.url.replace("redis://", "redis://bot:s3cret@")
    with anyio.fail_after(SOON):
        async with RedisJournal(url, namespace="test") as journal:
            opened = await journal.open("run_1", writer="a")
            await journal.append(opened, [pack(opened, 1, 3), Checkpoint(opened.fence, 3, b"{}")])
            assert await positions(journal) == [1, 2, 3]
            flush(own)
            await journal.append(opened, [pack(opened, 4, 6)], status="ended")
            assert (await told_of(journal)).status == "ended"
            async with journal.watch() as news:
                assert (await anext(news)).id == "run_1"
            assert "s3cret" not in repr(journal)


async def test_number_of_partitions_is_the_same_for_all(server: ValkeyProcess):
    namespace = fresh_namespace()
    async with journal_on(server, namespace=namespace):
        with pytest.raises(ValueError, match="expected the 2 partitions"):
            async with journal_on(server, namespace=namespace, partitions=3):
                pass


@pytest.mark.parametrize("url", ["http://127.0.0.1", "redis://", "redis://h:6379/secret", "nonsense"])
def test_address_is_checked_and_not_repeated(url: str):
    with pytest.raises(ValueError, match="expected") as refused:
        RedisJournal(url)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    "options",
    [
        {"partitions": 0},
        {"on_outage": "panic"},
        {"namespace": ""},
        {"namespace": "{a}"},
        {"keep": -1},
        {"keep_unworked": float("nan")},
        {"replicas": -1},
        {"outage_timeout": -0.1},
    ],
)
def test_options_are_checked(options: dict[str, Any]):
    with pytest.raises(ValueError, match="expected"):
        RedisJournal("redis://127.0.0.1", **options)


async def rounds(own: ValkeyProcess, seed: int) -> None:
    """Write, and let the server fail at random: what was acknowledged is there in the end, once and in order."""
    chance, last = Random(seed), 0
    async with open_run(own, namespace=f"seed{seed}") as (journal, opened):
        for _ in range(12):
            count = chance.randint(1, 70)
            await journal.append(opened, [Pack(opened.fence, last + 1, count, b"data: x\n\n" * count)])
            last += count
            if chance.random() < 0.3:
                chance.choice(FAULTS)(own)
        await journal.append(opened, status="waiting")
        assert await positions(journal) == list(range(1, last + 1))


async def test_nothing_acknowledged_is_lost_while_the_publisher_lives(own: ValkeyProcess):
    for seed in range(5):
        await rounds(own, seed)


@pytest.mark.slow
async def test_nothing_acknowledged_is_lost_while_the_publisher_lives_in_fifty_rounds(own: ValkeyProcess):
    for seed in range(50):
        await rounds(own, seed)


async def test_processor_publishes_through_a_crash_of_the_server(own: ValkeyProcess):
    from tests.support.journal_contract import BLOCKS, DONE

    async def source() -> AsyncIterator[bytes]:
        for number, block in enumerate([*BLOCKS, DONE]):
            if number == 5:
                kill_and_start(own)
            yield block
            await anyio.sleep(0.02)

    with anyio.fail_after(SOON):
        async with journal_on(own) as journal:
            async with Processor(journal=journal) as processor:
                outcome = await processor.run(source())
            follower = await told_by(journal.follow("run_1"))
    assert follower.outcome is not None
    assert (follower.outcome.text, outcome.text) == ("Fog over the bay", "Fog over the bay")


async def test_follower_whose_reader_is_late_reads_what_there_is(
    server: ValkeyProcess, monkeypatch: pytest.MonkeyPatch
):
    """As after a pause of the whole process: that the publisher is alive is asked before the news have come."""
    monkeypatch.setattr(partition_reader.PartitionReader, "_read", lambda _: anyio.sleep_forever())
    namespace, got = fresh_namespace(), list[int]()
    async with journal_on(server, namespace=namespace) as journal, journal_on(server, namespace=namespace) as other:
        opened = await journal.open("run_1", writer="a")
        await journal.append(opened, [pack(opened, 1, 3)])
        await positions(journal)

        async def follow() -> None:
            async with other.follow("run_1", interrupted_after=LIMIT) as pieces:
                async for piece in pieces:
                    got.extend(numbers(piece.held))
                    if len(got) == 3:
                        await journal.append(opened, [pack(opened, 4)])

        with anyio.fail_after(SOON), pytest.raises(RunInterrupted):
            await follow()
        assert got == [1, 2, 3, 4]


async def test_room_is_asked_for_before_a_run_is_opened(own: ValkeyProcess):
    async with open_run(own) as (journal, _):
        own.ask(b"CONFIG", b"SET", b"maxmemory", b"1")
        with pytest.raises(JournalFull):
            await journal.check_room()
        own.ask(b"CONFIG", b"SET", b"maxmemory-policy", b"allkeys-lru")
        await journal.check_room()
        own.ask(b"CONFIG", b"SET", b"maxmemory", b"0")
        await journal.check_room()
        own.kill()
        with pytest.raises(JournalFailed), anyio.fail_after(10):
            await journal.check_room()


async def test_follower_whose_reader_is_late_takes_nothing_of_a_run_that_was_begun_again(
    own: ValkeyProcess, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(partition_reader.PartitionReader, "_read", lambda _: anyio.sleep_forever())
    got = list[int]()
    async with open_run(own) as (journal, opened), journal_on(own) as other, journal_on(own) as another:
        await journal.append(opened, [pack(opened, 1, 3)])
        await positions(journal)

        async def follow() -> None:
            async with other.follow("run_1", interrupted_after=LIMIT) as pieces:
                async for piece in pieces:
                    got.extend(numbers(piece.held))
                    flush(own)
                    newer = await another.open("run_1", writer="b")
                    await another.append(newer, [pack(newer, 1, 5)])

        with pytest.raises(JournalGap, match="does not go on"):
            await follow()
        assert got == [1, 2, 3]


async def test_journal_that_was_not_entered_says_so(server: ValkeyProcess):
    journal = journal_on(server)
    for ask in (anext(journal.runs()), anext(journal.read("run_1")), journal.open("run_1", writer="a")):
        with pytest.raises(RuntimeError, match=r"inside of `async with RedisJournal"):
            await ask
    async with Processor(journal=journal) as processor:
        with pytest.raises(JournalError, match=r"inside of `async with RedisJournal"):
            await processor.run(stream())
    with pytest.raises(RuntimeError, match="expected an open journal"):
        journal.watch("run_1")
