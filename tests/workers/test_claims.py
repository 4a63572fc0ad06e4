"""Claims on a server: what each script does, case by case, and by random schedules beside a model of them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, NamedTuple

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from stepstream import RedisJournal
from stepstream.journal.claiming import Beat, Claim, Letter, Verb
from stepstream.journal.redis import claims as claims_module
from stepstream.journal.redis.claim_scripts import MAX_LETTERS
from stepstream.live.journal import Opened, Pack
from stepstream.workers.dead_letters import letter_of_run
from tests.support.tables import each_row
from tests.support.valkey import ValkeyProcess
from tests.support.worked_runs import claimed_once, journal_on, published, run_events

LONG, SHORT = 60.0, 0.05


@pytest.fixture
def anyio_backend() -> str:
    """One event loop: what is tried here is done by the server. Others are tried by the workers that use it."""
    return "asyncio"


class Part(NamedTuple):
    """One partition, the group that has joined it, and a run of three events in it."""

    journal: RedisJournal
    part: Any
    opened: Opened
    server: ValkeyProcess

    async def claim(self, worker: str = "one", lease: float = LONG, count: int = 10) -> list[Claim]:
        return await self.part.claim(worker, lease, count, 5)

    async def say(self, claim: Claim, verb: Verb, position: int, *letters: Letter, worker: str = "one") -> int:
        [answer] = await self.part.beat(worker, LONG, [Beat(claim, verb, position, letters)])
        return int(answer)

    async def add(self, count: int = 1) -> None:
        [before] = [one async for one in self.journal.runs("run_1")]
        packs = [Pack(self.opened.fence, before.position + 1 + n, 1, run_events()[1]) for n in range(count)]
        await self.journal.append(self.opened, packs)
        assert [one.position async for one in self.journal.runs("run_1")] == [before.position + count]

    def at(self, run_id: str = "run_1") -> str:
        """Return how far the group is, as the server has it."""
        key = self.journal._layout.keys(run_id).info
        return self.server.ask(b"HGET", key.encode(), b"at:bots").split(b"\r\n")[1].decode()


@asynccontextmanager
async def part_on(server: ValkeyProcess, **options: Any) -> AsyncIterator[Part]:
    async with journal_on(server, partitions=1, **options) as journal:
        [part] = journal.claims("bots").parts
        await part.join()
        opened = await journal.open("run_1", writer="a")
        one = Part(journal, part, opened, server)
        await one.add(3)
        yield one


async def test_claim_gives_each_run_once_and_no_more_than_asked_for(server: ValkeyProcess):
    async with part_on(server) as one:
        await published(one.journal, *[f"other_{number}" for number in range(5)])
        first, second, third = await one.claim(count=2), await one.claim("two", count=10), await one.claim("three")
    assert (len(first), len(second), third) == (2, 4, [])
    tokens = [claim.token for claim in (*first, *second)]
    assert tokens == sorted(set(tokens))


BECOMES: list[tuple[Verb, int, Any, str, bool]] = [
    ("renew", 2, "open", "2 ", False),
    ("give back", 2, "open", "2 ", True),
    ("let go", 3, "open", "3 ", False),
    ("let go", 2, "waiting", "2 ", True),  # there is more than was settled
    ("let go", 3, "waiting", "3 ", False),
    ("let go", 3, "interrupted", "3 done", False),
    ("let go", 3, "ended", "3 ", True),  # it ended meanwhile
    ("finish", 3, "ended", "3 done", False),
    ("finish", 2, "ended", "2 ", True),
    ("finish", 3, "open", "3 ", True),  # somebody goes on with it
    ("bury", 1, "open", "1 dead", False),
]


async def test_what_becomes_of_a_claim(server: ValkeyProcess):
    """A row a run: what is said of it, the position, the status it has, how far the group is, and if it is due."""
    async with part_on(server) as one:
        for number, (_, _, status, _, _) in enumerate(BECOMES):
            opened = await one.journal.open(f"row_{number}", writer="a")
            packs = [Pack(opened.fence, 1 + n, 1, run_events()[1]) for n in range(3)]
            await one.journal.append(opened, packs, status=status)
            assert [info.position async for info in one.journal.runs(f"row_{number}")] == [3]  # it is there
        claims = {claim.run_id: claim for claim in await one.claim(count=99)}
        told = []
        for number, (verb, position, *_) in enumerate(BECOMES):
            assert await one.say(claims[f"row_{number}"], verb, position) == 3
            told.append(one.at(f"row_{number}"))
        due = {claim.run_id for claim in await one.claim("two", count=99)}
    assert told == [row[3] for row in BECOMES]
    assert [f"row_{number}" in due for number in range(len(BECOMES))] == [row[4] for row in BECOMES]


@each_row(("verb", "is_due"), [("let go", True), ("finish", True), ("bury", False)])
async def test_what_was_put_away_is_due_again_when_it_gets_more(server: ValkeyProcess, verb: Verb, is_due: bool):
    for again in ("append", "open"):
        async with part_on(server) as one:
            await one.journal.append(one.opened, status="ended" if verb == "finish" else "waiting")
            [claim] = await one.claim()
            await one.say(claim, verb, 3)
            assert await one.claim() == []
            if again == "open":
                await one.journal.open("run_1", writer="b")
            else:
                await one.add()
            assert bool(found := await one.claim("two")) == is_due
            assert [claim.position for claim in found] == [3] * is_due


async def test_only_who_has_a_run_may_speak_for_it(server: ValkeyProcess):
    async with part_on(server) as one:
        [claim] = await one.claim()
        letter = letter_of_run("0-ab", "run_1", 0, "reason", 0.0)
        for other, worker in (
            (replace(claim, token=1), "one"),
            (claim, "two"),
            (replace(claim, run_id="other"), "one"),
            (replace(claim, letter=letter), "one"),
        ):
            assert await one.say(other, "finish", 3, letter, worker=worker) == -1
        assert await one.part.letters() == []
        assert await one.say(claim, "renew", 1) == 3
        assert one.at() == "1 "


async def test_position_never_goes_back(server: ValkeyProcess):
    async with part_on(server) as one:
        [claim] = await one.claim()
        for position in (2, 1):
            await one.say(claim, "renew", position)
        assert one.at() == "2 "


async def test_beat_that_is_said_again_changes_nothing(server: ValkeyProcess):
    """The answer to the first may be lost."""
    async with part_on(server) as one:
        [claim] = await one.claim()
        letter = letter_of_run("0-ab", "run_1", 0, "reason", 0.0)
        for _ in range(2):
            await one.say(claim, "renew", 2, letter)
        assert len(await one.part.letters()) == 1
        assert [await one.say(claim, "give back", 2) for _ in range(2)] == [3, -1]
        assert (await one.claim())[0].position == 2


async def test_takeovers_count_until_something_is_settled(server: ValkeyProcess):
    async with part_on(server) as one:
        [first] = await one.claim("one", SHORT)
        second = await claimed_once(one.part, "two")
        third = await claimed_once(one.part, "three", lease=LONG)
        [_] = await one.part.beat("three", SHORT, [Beat(third, "renew", 1)])
        fourth = await claimed_once(one.part, "four", lease=LONG)
        await one.say(fourth, "give back", 1, worker="four")
        [fifth] = await one.claim("five")
    assert [one.takeovers for one in (first, second, third, fourth, fifth)] == [0, 1, 2, 1, 0]
    assert [one.is_takeover for one in (first, second, third, fourth, fifth)] == [False, True, True, True, False]


async def test_what_may_have_ended_its_workers_is_claimed_one_at_a_time(server: ValkeyProcess):
    """Else one that kills would take all along that its worker had beside it."""
    names = [f"run_{number}" for number in range(5)]
    async with journal_on(server, partitions=3) as journal:
        [part] = journal.claims("bots").parts
        lapse = partial(let_lapse, server, journal)
        await part.join()
        await published(journal, *names)
        counts = []
        for worker, suspects in (("one", 1), ("two", 1), ("three", 1), ("four", 0)):
            claims = await part.claim(worker, LONG, 10, 5, suspects)
            counts.append((len(claims), [one.takeovers for one in claims if one.is_suspect]))
            lapse(claims)
        await published(journal, "run_new")
        beside = [(one.run_id, one.is_suspect) for one in await part.claim("five", LONG, 10, 5, 0)]
        cleared = []
        for _ in names:
            [claim] = await part.claim("five", LONG, 10, 5)
            await part.beat("five", LONG, [Beat(claim, "renew", 1)])
            cleared.append((claim.run_id, claim.is_suspect))
    assert counts == [(5, []), (5, []), (1, [2]), (0, [])]
    assert beside == [("run_new", False)]
    assert sorted(cleared) == [(name, True) for name in names]


@pytest.mark.parametrize("asked", [1, 2], ids=["before", "between"])
async def test_claims_of_a_server_that_loses_all_go_on(server: ValkeyProcess, monkeypatch, asked: int):
    """What may have ended its workers is asked for by itself, and all may be lost between the two."""
    async with journal_on(server, partitions=1) as journal:
        [part] = journal.claims("bots").parts
        await part.join()
        await published(journal, "run_1", "run_2")
        for _ in range(2):
            let_lapse(server, journal, await part.claim("one", LONG, 10, 5))
        ask, count = part._ask, 0

        async def losing(commands: Any) -> Any:
            nonlocal count
            count += 1
            if count == asked:
                server.ask(b"FLUSHALL")
            return await ask(commands)

        monkeypatch.setattr(part, "_ask", losing)
        assert (await part.claim("two", LONG, 10, 5), count >= asked) == ([], True)
        await published(journal, "run_3")
        assert [one.run_id for one in await part.claim("two", LONG, 10, 5)] == ["run_3"]


def let_lapse(server: ValkeyProcess, journal: RedisJournal, claims: list[Claim]) -> None:
    """Let the leases of runs end now."""
    layout = journal._layout
    for one in claims:
        due = f"{layout.prefix(layout.partition(one.run_id))}due:bots"
        server.ask(b"ZADD", due.encode(), b"1", b"r" + one.run_id.encode())


async def test_run_that_is_gone_is_forgotten(server: ValkeyProcess):
    async with part_on(server) as one:
        [claim] = await one.claim("one", SHORT)
        keys = one.journal._layout.keys("run_1")
        server.ask(b"DEL", *[key.encode() for key in keys[:3]])
        assert await one.say(claim, "renew", 1) == -1
        assert await one.claim("two") == []
        due = f"{one.journal._layout.prefix(0)}due:bots".encode()
        assert server.ask(b"ZCARD", due) == b":0\r\n"


async def test_new_group_gets_the_runs_that_are_there(server: ValkeyProcess, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(claims_module, "JOIN_PAGE", 2)
    async with part_on(server) as one:
        await published(one.journal, *[f"other_{number}" for number in range(6)])
        [late] = one.journal.claims("late").parts
        assert len(await late.claim("x", LONG, 10, 5)) == 7  # who claims joins
        assert await late.claim("y", LONG, 10, 5) == []


async def test_run_is_kept_until_the_last_group_is_done_with_it(server: ValkeyProcess):
    def seconds_left(one: Part) -> int:
        key = one.journal._layout.keys("run_1").stream.encode()
        return int(server.ask(b"PTTL", key)[1:]) // 1000

    async with part_on(server, keep=50, keep_unworked=5_000) as one:
        [other] = one.journal.claims("mail").parts
        await other.join()
        await one.journal.append(one.opened, status="ended")
        told = [seconds_left(one)]
        for part in (one.part, other):
            [claim] = await part.claim("one", LONG, 10, 5)
            await part.beat("one", LONG, [Beat(claim, "finish", 3)])
            told.append(seconds_left(one))
    assert [seconds > 4_900 for seconds in told] == [True, True, False]
    assert 0 < told[-1] <= 50


async def test_dead_letters_have_a_bound_and_further_ones_are_counted(server: ValkeyProcess):
    async with part_on(server) as one:
        [claim] = await one.claim()
        key = f"{one.journal._layout.prefix(0)}dead:bots".encode()
        for start in range(0, MAX_LETTERS, 1_000):
            pairs = [part for n in range(start, start + 1_000) for part in (b"0-%d" % n, b"{}")]
            server.ask(b"HSET", key, *pairs)
        await one.say(claim, "renew", 1, letter_of_run("0-new", "run_1", 0, "x", 0.0))
        assert server.ask(b"HLEN", key) == b":%d\r\n" % MAX_LETTERS
        assert len({letter.id for letter in await one.part.letters()}) == MAX_LETTERS
        assert server.ask(b"HGET", key.replace(b"dead", b"own"), b"unkept") == b"$1\r\n1\r\n"


async def test_letter_that_is_not_there_is_neither_dropped_nor_sent(server: ValkeyProcess):
    async with journal_on(server) as journal:
        claims = journal.claims("bots")
        for letter_id in ("", "x", "7-ab", "-ab", "0-", "0-ab", "²-ab"):
            assert not await claims.drop(letter_id)
            assert await claims.resend(letter_id, "run_1", is_whole=False) is False


# Any schedule

WORKERS = st.sampled_from("ab")
ACTIONS = st.one_of(
    st.tuples(st.just("claim"), WORKERS),
    st.tuples(st.just("lapse")),
    st.tuples(st.just("say"), st.sampled_from(["renew", "give back", "let go", "finish"]), WORKERS, st.integers(0, 9)),
    st.tuples(st.just("add"), st.sampled_from(["open", "waiting", "ended"])),
    st.tuples(st.just("reopen")),
)


class Beside:
    """A run on a server, and what is known of it here."""

    def __init__(self, one: Part) -> None:
        self.one, self.opened, self.status, self.newest = one, one.opened, "open", 3
        self.owner, self.committed, self.token = "", 0, 0
        self.held: dict[str, Claim] = {}

    def key(self, kind: str) -> bytes:
        return f"{self.one.journal._layout.prefix(0)}{kind}:bots".encode()

    async def claim(self, worker: str) -> None:
        for claim in await self.one.claim(worker):
            assert self.owner == ""
            assert (claim.position, claim.newest) == (self.committed, self.newest)
            assert claim.token > self.token
            self.token, self.owner, self.held[worker] = claim.token, worker, claim

    async def lapse(self) -> None:
        if self.owner:
            self.one.server.ask(b"ZADD", self.key("due"), b"1", b"rrun_1")
            self.owner = ""

    async def say(self, verb: Verb, worker: str, position: int) -> None:
        if worker not in self.held:
            return
        position = min(position, self.newest)
        answer = await self.one.say(self.held[worker], verb, position, worker=worker)
        assert (answer == -1) or self.held[worker].token == self.token  # nobody has had it since
        if answer != -1:
            self.committed = max(self.committed, position)
            self.owner = worker if verb == "renew" else ""

    async def add(self, status: Any) -> None:
        self.newest, self.status = self.newest + 1, status
        await self.one.journal.append(self.opened, [Pack(self.opened.fence, self.newest, 1, run_events()[1])])
        await self.one.journal.append(self.opened, status=status)
        assert [info.position async for info in self.one.journal.runs("run_1")] == [self.newest]

    async def reopen(self) -> None:
        self.opened, self.status = await self.one.journal.open("run_1", writer="b"), "open"

    async def check_nothing_is_left_behind(self) -> None:
        if self.owner:
            await self.say("give back", self.owner, 0)
        left = await self.one.claim("last")
        if self.committed < self.newest:
            assert [claim.position for claim in left] == [self.committed]


@pytest.mark.slow
@settings(deadline=None)
@given(actions=st.lists(ACTIONS, max_size=25))
def test_any_schedule_leaves_no_run_behind(server: ValkeyProcess, actions: list[Any]):
    async def play() -> None:
        async with part_on(server) as one:
            beside = Beside(one)
            for action, *told in actions:
                await getattr(beside, action)(*told)
            await beside.check_nothing_is_left_behind()

    anyio.run(play)
