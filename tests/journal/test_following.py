"""What a follower folds is what the publisher folded, wherever it begins."""

import random
from typing import Any

import pytest

from stepstream import RunInterrupted
from tests.support.byte_chunks import pieces
from tests.support.journals import alike, folded_by_event, packs, published, run_ids, told_of
from tests.support.places import ROOT

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
