"""Workers as processes, and the publishers whose runs they share. What a worker does is in its log, with the time of
the clock that all processes of a machine have in common."""

import selectors
import signal
import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing
from random import Random
from typing import Any

import anyio
import sniffio
import trio  # noqa: TID251 - only trio can tell when its loop waits

from stepstream import Processor, RunTransition, StepTransition, Workers
from stepstream.journal.claiming import Beat, Claim
from stepstream.journal.redis.claims import ClaimsPart
from stepstream.live.leases import Lease
from tests.support.journal_programs import entered, publish
from tests.support.process_host import Log

__all__ = ["GROUP", "publish", "toil", "work"]

GROUP = "bots"
TABLES = "CREATE TABLE done (key TEXT PRIMARY KEY); CREATE TABLE effects (key TEXT, worker TEXT)"
"""What was done, by its keys, each once; and what that did, which says by itself nothing of that."""


async def work(
    log: Log, *, url: str, namespace: str, database: str, name: str, lease: float, pace: float = 0.004
) -> None:
    """Deal with runs until it is told to end: each transition is an effect in a database, made once by its key."""
    _watch(log)
    chance = Random(name)
    with closing(sqlite3.connect(database, timeout=60, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = OFF")  # processes are killed here, not the machine
        async with (
            entered(url, namespace) as journal,
            Processor() as processor,
            Workers(journal, group=GROUP, lease=lease, name=name, max_takeovers=50, interrupted_after=5) as workers,
            anyio.create_task_group() as tasks,
        ):

            @processor.on(StepTransition, RunTransition)
            async def hook(change: Any) -> None:
                own = next(run for run in workers._working.runs if run.claim is change.context)
                told = {"run": change.run_id, "key": change.key, "token": change.context.token}
                left, has_waited = own.lease.until - workers._terms.clock(), _waits != _HELD_AT.get(id(own.lease))
                log.note("began", **told, position=change.sequence, left=left, has_waited=has_waited)
                with connection:
                    connection.execute("BEGIN IMMEDIATE")
                    is_new = connection.execute("INSERT OR IGNORE INTO done VALUES (?)", (change.key,)).rowcount
                    if is_new:
                        connection.execute("INSERT INTO effects VALUES (?, ?)", (change.key, name))
                await anyio.sleep(chance.uniform(0, 2 * pace))
                log.note("done", **told)

            tasks.start_soon(_cancel_when_told, tasks.cancel_scope)
            log.note("ready")
            await workers.run(processor)
    log.note("ended")


_waits = 0
"""How often this process had nothing to do: not because it was paused, or others were next."""

_HELD_AT: dict[int, int] = {}
"""What `_waits` was when a lease was looked at last, and held."""


def _note_wait(timeout: float | None) -> None:
    global _waits
    _waits += timeout is None or timeout > 0


class _TrioWaits(trio.abc.Instrument):
    def before_io_wait(self, timeout: float) -> None:
        _note_wait(timeout)


def _watch(log: Log) -> None:
    """Note what is claimed and said, and what the server answers; and when leases are looked at."""
    claim, beat, is_over, select = ClaimsPart.claim, ClaimsPart.beat, Lease.is_over, selectors.DefaultSelector.select

    def noted_select(self: selectors.BaseSelector, timeout: float | None = None) -> Any:
        _note_wait(timeout)
        return select(self, timeout)

    def noted_is_over(self: Lease) -> bool:
        found = is_over.__get__(self)
        if not found and self._clock() < self.until:
            _HELD_AT[id(self)] = _waits
        return found

    async def noted_claim(self: ClaimsPart, worker: str, lease: float, *more: Any) -> list[Claim]:
        found = await claim(self, worker, lease, *more)
        for one in found:
            log.note("claimed", run=one.run_id, token=one.token, position=one.position, takeover=one.is_takeover)
        return found

    async def noted_beat(self: ClaimsPart, worker: str, lease: float, beats: Sequence[Beat]) -> list[int]:
        sent = time.monotonic()
        answers = await beat(self, worker, lease, beats)
        for one, newest in zip(beats, answers, strict=True):
            told = {"run": one.claim.run_id, "token": one.claim.token, "verb": one.verb, "position": one.position}
            log.note("said", **told, newest=newest, sent=sent)
        return answers

    ClaimsPart.claim, ClaimsPart.beat = noted_claim, noted_beat  # type: ignore[method-assign]
    selectors.DefaultSelector.select = noted_select  # type: ignore[method-assign]
    if sniffio.current_async_library() == "trio":
        trio.lowlevel.add_instrument(_TrioWaits())
    Lease.is_over = property(noted_is_over)  # type: ignore[assignment, method-assign]


async def _cancel_when_told(scope: anyio.CancelScope) -> None:
    with anyio.open_signal_receiver(signal.SIGTERM) as signals:
        async for _ in signals:
            scope.cancel()


async def toil(log: Log, *, url: str, namespace: str, name: str, lease: float, max_runs: int) -> None:
    """Deal with runs by callbacks that take a millisecond each, until it is killed."""
    _watch(log)
    async with (
        entered(url, namespace) as journal,
        Processor() as processor,
        Workers(journal, group=GROUP, lease=lease, name=name, max_runs=max_runs) as workers,
    ):

        @processor.on(StepTransition, RunTransition)
        async def hook(_: Any) -> None:
            await anyio.sleep(0.001)
            log.note("done")

        log.note("ready")
        await workers.run(processor)
