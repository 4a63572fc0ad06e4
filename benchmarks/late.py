"""Joining a run late: a relay that nobody watches yet, and a journal that has every event of a run.

The text of the run is the same however many deltas it came in. Its newest checkpoint is as old as a writer lets it
become: joining takes longest right before there is another.
"""

import gc
import statistics
import time
from typing import Final

import anyio

from benchmarks.fanout import RUN, delta, opening
from stepstream import MemoryJournal, Relay, encode_frame
from stepstream.fold.accumulator import Accumulator
from stepstream.fold.checkpoint import save_run
from stepstream.live.journal import Checkpoint, packs_of
from stepstream.live.run_tap import most_behind
from stepstream.live.silent_fold import SilentFold

TEXT: Final = 1_000_000
"""How many characters the text has."""

JOINS: Final = 9


async def written(deltas: int) -> MemoryJournal:
    """Return a journal that has a run of so many deltas, and the oldest checkpoint that may be its newest."""
    journal = MemoryJournal(max_run_bytes=2**30, max_bytes=2**31)
    opened = await journal.open(RUN, writer="bench")
    block = encode_frame(delta("x" * (TEXT // deltas)))
    behind = min(deltas, most_behind(TEXT) // len(block))
    before = [*map(encode_frame, opening()), *[block] * (deltas - behind)]
    packs = packs_of(opened.fence, 1, before)
    silent = SilentFold(Accumulator())
    for pack in packs:
        silent.fold(pack)
    state = Checkpoint(opened.fence, len(before), save_run(silent.accumulator.stream, RUN))
    rest = packs_of(opened.fence, len(before) + 1, [block] * behind)
    await journal.append(opened, [*packs, state, *rest])
    return journal


async def joined_after(deltas: int, form: str) -> dict[str, float]:
    """Return how long it takes until a viewer has the state, and how large that is: the median of some joins."""
    journal = await written(deltas)
    gc.freeze()
    times, size = [], 0
    for _ in range(JOINS):
        began = time.perf_counter()
        async with Relay(journal).frames(RUN, form=form) as frames:
            size = len(await anext(aiter(frames)))
        times.append(time.perf_counter() - began)
    return {"ms": 1000 * statistics.median(times), "KiB": size / 1024}


def measured(deltas: int, form: str) -> dict[str, float]:
    return anyio.run(joined_after, deltas, form)
