"""What a follower folds is what the publisher folded, wherever it begins."""

import random
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import anyio
import pytest

from stepstream import JournalGap, MemoryJournal, RunInterrupted
from stepstream.live.journal import Held, Pack
from stepstream.simulator import SCENARIOS, app
from tests.support import response_streams
from tests.support.byte_chunks import pieces
from tests.support.delta_streams import Server, chunked
from tests.support.journal_contract import SOON, pack
from tests.support.journals import alike, folded_by_event, packs, published, run_ids, told_of
from tests.support.places import ROOT
from tests.support.simulator_responses import BODY, RESPONSES
from tests.support.simulator_runs import RUN_BODY, RUNS, calling

STREAMS = sorted((ROOT / "tests" / "streams").glob("*.sse"))


async def compare(chunks: list[bytes], chance: random.Random, *, every_position: bool = False) -> None:
    journal, publisher = await published(chunks)
    ids = await run_ids(journal)
    follower_changes: list[Any] = []
    for run_id in ids:
        held = await packs(journal, run_id)
        by_event = folded_by_event(held)
        assert [pack.first for pack in held] == [1 + sum(p.count for p in held[:i]) for i in range(len(held))]
        assert sum(pack.count for pack in held) == len(by_event)
        assert all(pack.count <= 64 and (len(pack.data) <= 256 * 1024 or pack.count == 1) for pack in held)
        positions = range(len(by_event) + 1) if every_position else {0, chance.randrange(len(by_event) + 1)}
        for position in positions:
            follower = await told_of(journal.follow(run_id, after=position))
            assert follower.error is None or isinstance(follower.error, RunInterrupted), follower.error
            expected = [change for some in by_event[position:] for change in some]
            assert alike(follower.changes) == alike(expected)
            keys = [change.key for change in follower.changes]
            assert "" not in keys
            assert len(set(keys)) == len(keys)
        follower_changes += [change for some in by_event for change in some]
    if len(ids) == 1:
        assert alike(follower_changes) == alike(publisher.changes)


@pytest.mark.parametrize("path", STREAMS, ids=lambda path: path.stem)
async def test_follower_folds_what_the_publisher_folded(path: Any):
    chance = random.Random(path.stem)
    await compare(pieces(path.read_bytes(), chance.choice([100, 700, 5000])), chance)


STORY = [
    response_streams.lifecycle("created"),
    *response_streams.thinking("Deep.", "How deep?", 1, 0),
    *response_streams.calling('{"at": "bay", "in": "fathoms", "by": "lead"}', 2, 1),
    *response_streams.writing("Fog lies over the bay, and nobody sees the boats", 3, 2),
    response_streams.lifecycle("completed"),
]
GROWING = [response_streams.piece(f"word {number} ", response_streams.item(number=3), 2, 0) for number in range(99)]
TRANSLATED = {
    "plain": STORY,
    "long": [*STORY[:-3], *GROWING, *STORY[-3:]],
    "twice": [event for event in STORY for _ in range(2)],
    "cut": STORY[:-4],
    "mixed": [*STORY[:5], *STORY[2:5], *STORY[5:]],
}


@pytest.mark.parametrize("name", TRANSLATED)
async def test_follower_of_a_translated_stream_folds_what_the_publisher_folded(name: str):
    for is_numbered in (True, False):
        events = response_streams.numbered(TRANSLATED[name]) if is_numbered else TRANSLATED[name]
        for size in (10_000, 300):
            await compare(pieces(response_streams.encoded(events), size), random.Random(name))


async def test_small_packs_are_followed_together_and_what_a_cancelled_look_had_read_is_not_missed():
    """A run that was published live has an event a pack."""
    journal = Halting()
    opened = await journal.open("run_1", writer="a")
    await journal.append(opened, [pack(opened, number, 1) for number in range(1, 10)], status="ended")
    async with journal.follow("run_1") as run:
        assert [(piece.held.last, piece.held.count) async for piece in run] == [(9, 9)]
    async with journal.follow("run_1") as run:
        for halted_at in (1, 5, 9):
            journal.halts_at = halted_at
            with anyio.move_on_after(0) as scope:
                await anext(run)
            assert (scope.cancelled_caught, run.position) == (True, 0)
        journal.halts_at = 0
        with anyio.fail_after(SOON):
            assert [piece.held.last async for piece in run] == [9]


class Halting(MemoryJournal):
    """Reads for ever once it has come to some event."""

    halts_at = 0

    async def read(self, run_id: str, *, after: int = 0) -> AsyncIterator[Held]:
        async with aclosing(super().read(run_id, after=after)) as found:  # type: ignore[type-var]
            async for held in found:
                yield held
                if held.last == self.halts_at:
                    await anyio.sleep_forever()


LARGE = {"big-logs", "many-deltas"}
FAULTS = (
    "none", "duplicate", "shuffle", "garbage", "unknown", "error-flat", "drop-done", "cut-event=20", "no-added",
    "no-done", "no-output", "no-terminal", "ids-rotate", "replay", "error-failed", "unnamed", "done-mark",
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("path", ["assistants", "responses"])
@pytest.mark.parametrize("fault", FAULTS)
async def test_follower_folds_what_the_publisher_folded_for_every_scenario(path: str, fault: str):
    url, body = (RUNS, RUN_BODY) if path == "assistants" else (RESPONSES, BODY)
    for scenario in SCENARIOS if fault == "none" else set(SCENARIOS) - LARGE:
        async with calling(app(pace="fast")) as client:
            response = await client.post(f"{url}?scenario={scenario}&fault={fault}", json=body)
        if response.status_code == 200:
            await compare(pieces(response.content[:100_000], 400), random.Random(scenario))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(150))
async def test_follower_of_a_random_stream_folds_what_the_publisher_folded(seed: int):
    await compare(chunked(Server(seed).stream(60), seed), random.Random(seed))


@pytest.mark.slow
@pytest.mark.parametrize("path", STREAMS, ids=lambda path: path.stem)
async def test_follower_from_every_position_folds_what_comes_after_it(path: Any):
    await compare(pieces(path.read_bytes(), 700), random.Random(path.stem), every_position=True)


class MixedJournal(MemoryJournal):
    """Gives the second event as another writer wrote it, who was earlier."""

    async def read(self, run_id: str, *, after: int = 0) -> AsyncIterator[Held]:
        async with aclosing(super().read(run_id, after=after)) as found:
            async for held in found:
                assert isinstance(held, Pack)
                yield held if held.first == 1 else Pack(held.fence - 1, held.first, held.count, held.data)


async def test_event_of_an_earlier_writer_does_not_follow_those_of_a_later_one():
    journal = MixedJournal()
    opened = await journal.open("run_1", writer="a")
    for number in (1, 2):
        await journal.append(opened, [pack(opened, number)])
    follower = await told_of(journal.follow("run_1"))
    assert isinstance(follower.error, JournalGap)
    assert len(follower.changes) == 1
