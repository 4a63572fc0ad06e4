"""What a journal holds is folded silently to what the rules that all events go by make of it."""

import random
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path

import pytest

from stepstream.fold.accumulator import Accumulator
from stepstream.fold.checkpoint import save_run
from stepstream.live.journal import Checkpoint, packs_of
from stepstream.live.silent_fold import SilentFold
from tests.support.delta_streams import USUAL, greeting, opening, says, written
from tests.support.places import ROOT

STREAMS = [
    path for path in sorted((ROOT / "tests" / "streams").glob("*.sse")) if b"thread.run" in path.read_bytes()[:4096]
]
START = [*opening(), *greeting()]
ODD = {
    "plain": [b"fog"],
    "escapes": [rb"\n", rb"\"", rb"\\", b"", rb"\u00e9\ud83d\ude00", "東京".encode()],
    "a quote": [b'a","b'],
    "a backslash": [b"a\\"],
    "a quote and a backslash": [b"a\\", b',"c'],
    "half a character": ["é".encode()[:1], "é".encode()[1:]],
    "half a pair": [rb"\ud83d", rb"\ude00"],
    "an end": [b'a"]'],
    "a line": [b"a\nb"],
    "a null": [b"a\0b"],
}
"""Pieces of text, as they stand between the quotes of a delta."""


def blocks_of(data: bytes) -> list[bytes]:
    return [block + b"\n\n" for block in data.replace(b"\r\n", b"\n").split(b"\n\n") if block.strip()]


def plainly(blocks: Sequence[bytes]) -> Accumulator:
    """Fold blocks one at a time, so that none of them is like another."""
    accumulator = Accumulator()
    for number, block in enumerate(blocks, 1):
        one = SilentFold(accumulator)
        [pack] = packs_of(1, number, [block])
        one.fold(pack)
    return accumulator


def silently(blocks: Sequence[bytes], sizes: Iterator[int]) -> Accumulator:
    """Fold blocks in packs of these sizes, and go on from a checkpoint now and then."""
    silent, at = SilentFold(Accumulator()), 0
    while at < len(blocks):
        size = next(sizes)
        for pack in packs_of(1, at + 1, blocks[at : at + size]):
            silent.fold(pack)
        at += size
        if size % 5 == 0 and silent.accumulator.runs:
            [run_id, *_] = silent.accumulator.runs
            data = save_run(silent.accumulator.stream, run_id)
            silent.fold(Checkpoint(1, min(at, len(blocks)), data))
    return silent.accumulator


def sizes_of(chance: random.Random) -> Iterator[int]:
    while True:
        yield chance.choice([1, 3, 5, 20, 64])


@pytest.mark.parametrize("path", STREAMS, ids=lambda path: path.stem)
def test_stream_in_packs_folds_to_what_its_events_fold_to(path: Path):
    blocks = [one for one in blocks_of(path.read_bytes()) if not one.startswith(b"event: done")]
    found, expected = silently(blocks, sizes_of(random.Random(path.stem))), plainly(blocks)
    assert (found.runs, found.steps, found.messages) == (expected.runs, expected.steps, expected.messages)
    assert found.stream.sequence == expected.stream.sequence == len(blocks)


@pytest.mark.parametrize("name", ODD)
def test_odd_pieces_among_like_deltas_fold_to_what_each_folds_to(name: str):
    for usual, size in product(USUAL.values(), (7, 64)):
        grown = [written(*usual, piece) for piece in [b"a", b"b", *ODD[name], b"c", b"d"] * 9]
        blocks = [*START, *grown]
        found, expected = silently(blocks, iter([len(START), *[size] * 99])), plainly(blocks)
        assert (found.steps, found.messages) == (expected.steps, expected.messages)
        assert found.anomaly_count == expected.anomaly_count


def test_like_deltas_are_folded_together():
    deltas = [written("thread.message.delta", says(f"word {number} ")) for number in range(300)]
    silent = SilentFold(Accumulator())
    packs = packs_of(1, 1, [*START, *deltas])
    for pack in packs[:2]:
        silent.fold(pack)
    [builder] = silent.accumulator.state.messages.values()
    before = builder.deltas
    text = next(node for node in builder.tree["content"].values())["text"]["value"]
    pieces = len(text)
    silent.fold(packs[2])
    assert (builder.deltas - before, len(text) - pieces) == (64, 1)
