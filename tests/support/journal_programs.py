"""Publishers and followers as processes. What they write can be told from what it is: event n of a run is one only.

So whoever takes a run over knows what comes next, and whoever reads it sees a hole, a repeat or a mixture.
"""

import re
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import cache
from importlib import import_module
from pathlib import Path
from random import Random
from typing import Any

import anyio

from stepstream import JournalConflict, JournalFailed, JournalGap, RedisJournal, RunInterrupted
from stepstream.journal.redis import partition_reader, server
from stepstream.live.journal import Opened, Pack
from tests.support.delta_streams import run, step, written
from tests.support.process_host import Log, lines_of

for _late in ("anyio._backends._asyncio", "anyio._backends._trio", "stepstream.journal.redis.connection"):
    import_module(_late)  # those who are forked have it then

SHORT = 0.4
"""Seconds that stand for the 5 within which a server answers, and after which all that is followed is looked at."""


@cache
def script(run_id: str, steps: int) -> list[bytes]:
    """Return the events of a run, which name their positions."""
    bodies: list[tuple[str, Any]] = [
        ("run.created", run("queued", run_id)),
        ("run.in_progress", run("in_progress", run_id)),
    ]
    for number in range(1, steps + 1):
        name = f"{run_id}_step_{number}"
        bodies += [
            ("run.step.created", step("in_progress", name, run_id=run_id)),
            ("run.step.completed", step("completed", name, run_id=run_id)),
        ]
    bodies.append(("run.completed", run("completed", run_id)))
    return [written(f"thread.{name}", {**body, "n": n}) for n, (name, body) in enumerate(bodies, 1)]


def numbers_in(data: bytes) -> list[int]:
    """Return which events of the script those are."""
    return [int(one) for one in re.findall(rb'"n":(\d+)', data)]


@asynccontextmanager
async def entered(url: str, namespace: str) -> AsyncIterator[RedisJournal]:
    """Give the journal, as soon as its server lets somebody in."""
    partition_reader.LOOK_EVERY = server.COMMAND_LIMIT = SHORT  # type: ignore[misc]
    async with AsyncExitStack() as stack:
        while True:
            try:
                journal = await stack.enter_async_context(RedisJournal(url, namespace=namespace, partitions=2))
                break
            except JournalFailed:
                await anyio.sleep(SHORT / 10)
        yield journal


async def publish(
    log: Log,
    *,
    url: str,
    namespace: str,
    name: str,
    runs: Sequence[str],
    steps: int,
    pace: float = 0.004,
    most: int = 20,
    ends: bool = True,
    seed: int = 0,
) -> None:
    """Write runs from where they are to their ends, `most` events at once; or, without `ends`, stay in the middle."""
    async with entered(url, namespace) as journal, anyio.create_task_group() as tasks:

        async def write(run_id: str) -> None:
            events, chance = script(run_id, steps), Random(f"{seed} {run_id}")
            try:
                opened = await journal.open(run_id, writer=name)
                log.note("opened", run=run_id, fence=opened.fence, position=opened.position)
                await _write(log, journal, opened, events, pace, most, ends, chance)
            except JournalConflict:
                log.note("conflict", run=run_id)

        for run_id in runs:
            tasks.start_soon(write, run_id)


async def _write(
    log: Log,
    journal: RedisJournal,
    opened: Opened,
    events: list[bytes],
    pace: float,
    most: int,
    ends: bool,
    chance: Random,
) -> None:
    position, last = opened.position, len(events) if ends else len(events) // 2
    while position < last:
        count = min(chance.randint(1, most), last - position)
        pack = Pack(opened.fence, position + 1, count, b"".join(events[position : position + count]))
        position = pack.last
        await journal.append(opened, [pack])
        if chance.random() < 0.2:
            await _note_what_is_safe(log, journal, opened)
        await anyio.sleep(pace)
    await journal.append(opened, status="ended" if ends else "open")
    log.note("written", run=opened.run_id, fence=opened.fence, position=position)
    while not ends:
        await anyio.sleep(SHORT / 4)
        await journal.append(opened)  # a sign of life, until it is killed


async def _note_what_is_safe(log: Log, journal: RedisJournal, opened: Opened) -> None:
    async for info in journal.runs(opened.run_id):  # which waits for what is on its way
        if info.fence == opened.fence:
            log.note("acknowledged", run=opened.run_id, fence=info.fence, position=info.position)


async def follow(log: Log, *, path: str, url: str, namespace: str, runs: Sequence[str], orphans: Sequence[str]) -> None:
    """Follow runs to their ends, from where the one before was: `path` is the log that it left."""
    before = lines_of(Path(path))
    log.note("began")
    async with entered(url, namespace) as journal, anyio.create_task_group() as tasks:
        for run_id in (*runs, *orphans):
            if not any(one["what"] in ("ended", "lost") and one["run"] == run_id for one in before):
                tasks.start_soon(_follow, log, journal, run_id, position_in(before, run_id), run_id in orphans)


def position_in(lines: Sequence[dict[str, Any]], run_id: str) -> int:
    """Return how far a run was followed."""
    position = 0
    for line in lines:
        if line.get("run") == run_id and line["what"] in ("got", "gap"):
            position = line["numbers"][-1] if line["what"] == "got" else 0
    return position


async def _follow(log: Log, journal: RedisJournal, run_id: str, position: int, is_orphan: bool) -> None:
    is_again = False
    while True:
        try:
            async with journal.follow(run_id, after=position, interrupted_after=3 * SHORT) as pieces:
                async for piece in pieces:
                    if isinstance(piece.held, Pack) and not piece.is_silent:
                        log.note("got", run=run_id, fence=piece.held.fence, numbers=numbers_in(piece.held.data))
                        position = piece.held.last
            return log.note("ended", run=run_id, position=position)
        except RunInterrupted:
            log.note("interrupted", run=run_id, position=position)
            if is_orphan:
                return log.note("ended", run=run_id, position=position)
        except JournalGap as exc:
            log.note("gap", run=run_id, position=position, why=str(exc))
            if is_again:
                return log.note("lost", run=run_id)
            position, is_again = 0, not position
