"""Joining a run late: a relay that nobody watches yet, and a journal that has every event of a run.

The text of the run is the same however many deltas it came in.
"""

import gc
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Final

import anyio
import anyio.lowlevel

from benchmarks.fanout import RUN, delta, opening
from stepstream import MemoryJournal, Relay, StreamTruncated, encode_frame, publish

TEXT: Final = 1_000_000
"""How many characters the text has."""

AT_ONCE: Final = 64
"""How many deltas are in a chunk."""

JOINS: Final = 9


async def stream(deltas: int) -> AsyncIterator[bytes]:
    yield b"".join(map(encode_frame, opening()))
    block = encode_frame(delta("x" * (TEXT // deltas)))
    for start in range(0, deltas, AT_ONCE):
        yield block * min(AT_ONCE, deltas - start)
        await anyio.lowlevel.checkpoint()


async def joined_after(deltas: int, form: str) -> dict[str, float]:
    """Return how long it takes until a viewer has the state, and how large that is: the median of some joins."""
    journal = MemoryJournal(max_run_bytes=2**30, max_bytes=2**31)
    with suppress(StreamTruncated):  # the run goes on
        await publish(stream(deltas), journal)
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
