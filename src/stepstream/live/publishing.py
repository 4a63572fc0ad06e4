"""Publishing: the streams of a processor that write to journals, and the tasks that write what none of them does.

A stream writes what it has itself where that is much. What it has when its source is waited for is written by the
`Publisher` of its journal: what is new or enough for a pack at once, by one task; what is left `WRITE_AFTER` seconds
after it came, by another. That one also says of a run that it has ended, once nothing followed for so long, and gives
the sign of life, one for all runs of the processor every `HEARTBEAT` seconds.
"""

import math
import os
from collections.abc import Callable
from contextvars import Context, copy_context
from typing import Final
from weakref import WeakSet

import anyio
from anyio.abc import TaskGroup

from stepstream.errors import JournalConflict, JournalError
from stepstream.fold.accumulator import Accumulator
from stepstream.live.journal import HEARTBEAT, WritableJournal, translated_errors
from stepstream.live.pending import Signal
from stepstream.live.run_opening import HeldFold
from stepstream.live.stream_tap import StreamTap

WRITE_AFTER: Final = 0.008
"""Seconds after which an event is written, where nothing follows it: timers fire late, and 10 ms is the promise."""


class Publisher:
    """Writes to one journal what the streams of one processor leave to it."""

    def __init__(self, journal: WritableJournal) -> None:
        self._journal = journal
        self._name = os.urandom(8).hex()
        self._taps: WeakSet[StreamTap] = WeakSet()  # those that are written, or were until a moment ago
        self._hurried: dict[StreamTap, None] = {}
        self._hurry = Signal()
        self._noted: dict[StreamTap, float] = {}  # those that may wait, and since when, the oldest first
        self._changed = Signal()
        self._signed_at = 0.0
        self._scope = anyio.CancelScope()

    def tap(self, accumulator: Accumulator, again: Callable[[], HeldFold]) -> StreamTap:
        """Return what writes the events of a stream, which is to be closed. `again`: as `StreamTap` has it."""
        tap = StreamTap(self._journal, self._name, accumulator, again, self.write_soon)
        self._taps.add(tap)
        return tap

    def write_soon(self, tap: StreamTap, at_once: bool) -> None:
        """Write what a stream has, when its source is waited for."""
        if at_once:
            self._hurried[tap] = None
            self._hurry.notify()
        elif tap not in self._noted:
            self._noted[tap] = anyio.current_time()
            self._changed.notify()

    async def run(self) -> None:
        """Keep writing until `end`."""
        with self._scope:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._keep_writing_rest)
                while True:
                    if not self._hurried:
                        await self._hurry.wait()
                    hurried, self._hurried = self._hurried, {}
                    for tap in hurried:
                        await self._write(tap)

    async def _keep_writing_rest(self) -> None:
        self._signed_at = anyio.current_time()
        while True:
            if not self._noted:
                with anyio.move_on_after(HEARTBEAT):
                    await self._changed.wait()
            await anyio.sleep_until(next(iter(self._noted.values()), -math.inf) + WRITE_AFTER)
            now = anyio.current_time()
            for tap, since in [*self._noted.items()]:
                if since + WRITE_AFTER <= now and self._noted.get(tap) == since:
                    await self._write(tap, ends_runs=True)
            if now - self._signed_at >= HEARTBEAT:
                self._signed_at = now
                await self._sign()

    def end(self) -> None:
        """Write nothing any more."""
        self._scope.cancel()

    async def _write(self, tap: StreamTap, *, ends_runs: bool = False) -> None:
        self._noted.pop(tap, None)
        try:
            is_settled = await tap.flush(ends_runs=ends_runs)
        except JournalError:
            if tap.stop is not None:
                tap.stop()  # then the stream raises what it keeps
        else:
            if is_settled:  # where nothing follows it, that is all
                self._noted.pop(tap, None)
                self._noted[tap] = anyio.current_time()
                self._changed.notify()

    async def _sign(self) -> None:
        """Give a sign of life with one of the open runs; that which others have opened since is none.

        A sign says again what the run is. So it is given of a stream that writes nothing now: what that says may be
        another thing. Where all write, they live.
        """
        for tap in [one for one in self._taps if not one.turn.is_taken]:
            async with tap.turn:
                for run in list(tap.runs.values()):
                    try:
                        with translated_errors():
                            return await self._journal.append(run.opened, status=run.status)
                    except JournalConflict:
                        continue
                    except JournalError:
                        return None
        return None


class Publishers:
    """Those of one block of a processor, one a journal."""

    def __init__(self) -> None:
        self._group: TaskGroup | None = None
        self._variables = Context()
        self._by_journal: dict[int, Publisher] = {}  # by `id()`: a publisher holds its journal

    def begin(self, group: TaskGroup) -> None:
        """Write in tasks of a group, which see the contextvars of now."""
        self._group, self._variables = group, copy_context()

    def of(self, journal: WritableJournal) -> Publisher:
        """Return what writes to a journal."""
        known = self._by_journal.get(id(journal))
        if known is None:
            known = self._by_journal[id(journal)] = Publisher(journal)
            if self._group is not None:
                self._variables.run(self._group.start_soon, known.run)
        return known

    def end(self) -> None:
        """Write nothing any more that no stream writes itself."""
        for publisher in self._by_journal.values():
            publisher.end()
