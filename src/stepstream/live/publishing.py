"""Publishing: the streams of a processor that write to journals, and the one task that writes what none of them does.

A stream writes what it has itself where that is much, or something new, for then it runs anyway. What is left when its
source falls silent is written by the `Publisher` of its journal, `WRITE_AFTER` seconds after it came. The publisher
also gives the sign of life, one for all runs of the processor every `HEARTBEAT` seconds.
"""

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

WRITE_AFTER: Final = 0.01
"""Seconds after which an event is written, where nothing follows it."""


class Publisher:
    """Writes to one journal what the streams of one processor leave to it."""

    def __init__(self, journal: WritableJournal) -> None:
        self._journal = journal
        self._name = os.urandom(8).hex()
        self._taps: WeakSet[StreamTap] = WeakSet()  # those that are written, or were until a moment ago
        self._noted: dict[StreamTap, None] = {}
        self._is_hurried = False
        self._changed, self._hurried = Signal(), Signal()
        self._scope = anyio.CancelScope()

    def tap(self, accumulator: Accumulator, again: Callable[[], HeldFold]) -> StreamTap:
        """Return what writes the events of a stream, which is to be closed. `again`: as `StreamTap` has it."""
        tap = StreamTap(self._journal, self._name, accumulator, again, self.write_soon)
        self._taps.add(tap)
        return tap

    def write_soon(self, tap: StreamTap, at_once: bool) -> None:
        """Write what a stream has, when its source is waited for."""
        self._noted[tap] = None
        self._changed.notify()
        if at_once and not self._is_hurried:
            self._is_hurried = True
            self._hurried.notify()

    async def _keep_writing(self) -> None:
        signed_at = anyio.current_time()
        while True:
            if not self._noted:
                with anyio.move_on_after(HEARTBEAT if self._taps else None):
                    await self._changed.wait()
            if self._noted and not self._is_hurried:
                with anyio.move_on_after(WRITE_AFTER):
                    await self._hurried.wait()
            if self._noted:
                await self._write()
            if self._taps and anyio.current_time() - signed_at >= HEARTBEAT:
                signed_at = anyio.current_time()
                await self._sign()

    async def run(self) -> None:
        """Keep writing until `end`."""
        with self._scope:
            await self._keep_writing()

    def end(self) -> None:
        """Write nothing any more."""
        self._scope.cancel()

    async def _write(self) -> None:
        noted, self._noted = self._noted, {}
        ends_runs, self._is_hurried = not self._is_hurried, False
        for tap in noted:
            try:
                is_settled = await tap.flush(ends_runs=ends_runs)
            except JournalError:
                if tap.stop is not None:
                    tap.stop()  # then the stream raises what it keeps
            else:
                if is_settled:  # where nothing follows it, that is all
                    self._noted[tap] = None

    async def _sign(self) -> None:
        """Give a sign of life with one of the open runs; that which others have opened since is none."""
        for run in [run for tap in self._taps for run in tap.runs.values()]:
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
