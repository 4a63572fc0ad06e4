"""What a stream puts into its journal: every event as it is folded, in the vocabulary of the fold.

An event belongs to the run that it names, else to that of its step or message, else to the newest of the stream. What
comes before any run is known waits for the first (`early`). What says how the stream ends is of no run.

The first event of a run is not folded at once. It is held, and all after it, until the run is open (`settle`): what
others have written of it is folded first, silently, so that this event finds what it continues. All else is noted as it
is folded, by one list append, and written when the source is waited for (`publishing`), or when it has become much.
"""

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final

from stepstream.errors import JournalError
from stepstream.fold.accumulator import Accumulator
from stepstream.fold.builder import SnapshotBuilder
from stepstream.live.early_events import EarlyEvents
from stepstream.live.journal import MAX_FRAMES, RunStatus, WritableJournal, translated_errors
from stepstream.live.pending import Turn
from stepstream.live.run_opening import HeldFold, open_run
from stepstream.live.run_tap import RunTap, block_of, block_of_frame, run_named
from stepstream.wire.deltas import MessageDelta, RunStepDelta
from stepstream.wire.ending import ends_stream
from stepstream.wire.events import Event
from stepstream.wire.scan import ID
from stepstream.wire.sse import Frame

MAX_KEPT: Final = 1024
"""How many events a stream whose source never waits keeps before it writes them itself."""

LARGE: Final = 2**16
"""How many bytes an event has that is not kept."""


class StreamTap:
    """Writes the events of one stream to a journal. `again` makes a silent fold on the same state.

    `write_soon` lets `flush` be called when the source is waited for: with True at once, else a little later.
    """

    def __init__(
        self,
        journal: WritableJournal,
        writer: str,
        accumulator: Accumulator,
        again: Callable[[], HeldFold],
        write_soon: Callable[["StreamTap", bool], None],
    ) -> None:
        self.journal = journal
        self.runs: dict[str, RunTap] = {}
        """Those that are open, by id."""
        self.wanted = ""
        """The run that has to be opened before the stream goes on."""
        self.due_at: float = 0
        """The number of the event with which `attend` is to be called next."""
        self.failure: JournalError | None = None
        self.stop: Callable[[], object] | None = None
        """Ends the stream, where the journal takes nothing any more: `failure` is why."""
        self.early = EarlyEvents()
        self.marked: RunTap | None = None
        """The run that got something new last, since all was written."""
        self.sole: RunTap | None = None
        """The run that is open, if no other is, nor was left while it waits: that may have deltas yet."""
        self.block = b""
        """The bytes of the frame that is decoded next, without its empty line, where they are as a journal has them."""
        self.turn = Turn()
        """Whoever has it may write: of one run one thing at a time is told to a journal."""
        self._writer = writer
        self._stream = accumulator.stream
        self._again = again
        self._write_soon = write_soon
        self._held: list[Event] = []
        self._dirty: dict[RunTap, None] = {}
        self._settled: dict[RunTap, None] = {}  # those that have ended or wait, and may be written to yet
        self._newest: RunTap | None = None
        self._left = set[str]()  # runs that wait, and are not open here any more
        self._has_news = False  # whether something else came than deltas
        self._written_at: float = 0  # the number of the newest event when all was written

    def take(self, event: Event) -> bool:
        """Note an event that is folded next. Return whether it may be: else it is kept for `settle`."""
        block, self.block = self.block, b""
        run_id = run_named(event, self._stream.state)
        run = self.runs.get(run_id) if run_id else self._newest
        if self.wanted or (run is None and run_id):
            self.wanted = self.wanted or run_id
            self._held.append(event)
            self._stream.append, self.due_at = None, 0  # it did not append anything
            return False
        if run_id or not ends_stream(event):
            self._put(run, block or block_of(event))
            if not self._has_news and type(event.data) not in (RunStepDelta, MessageDelta):
                self._has_news, self.due_at = True, 0
        return True

    def want(self, run_id: str) -> None:
        """Let a run be opened before the stream goes on: it says otherwise than by its events that it continues it."""
        if run_id not in self.runs:
            self.wanted, self.due_at = run_id, 0

    def take_frame(self, frame: Frame) -> None:
        """Note a frame that cannot be decoded."""
        self.block = b""
        self._put(self._newest, block_of_frame(frame))

    def run_tap(self, builder: SnapshotBuilder[Any]) -> RunTap | None:
        """Return what takes the deltas of a step or message, None while its run is not open."""
        own = builder.run_id
        return None if self.wanted else self.runs.get(own) if own else self._newest

    def mark(self, run: RunTap) -> bool:
        """Note that a run gets something new. Return whether it is open."""
        if run.is_closed:
            return False
        self.marked = run
        self._dirty[run] = None
        return True

    def add(self, run: RunTap | None, blocks: Sequence[bytes], count: int, *, has_ids: bool) -> None:
        """Note so many deltas that were folded, as they came: maybe with ids before them, and comments between."""
        if has_ids:
            blocks = [block[block.find(b"\n") + 1 :] if block.startswith(ID) else block for block in blocks]
        if len(blocks) > count:
            blocks = [block for block in blocks if not block.startswith(b":")]
        if run is not None and (run is self.marked or self.mark(run)):
            run.add(blocks)
        else:
            for block in blocks:
                self._put(self._newest, block)

    def _list(self) -> None:
        self._newest = next(reversed(self.runs.values()), None)
        self.sole = self._newest if len(self.runs) == 1 and not self._left else None

    def _put(self, run: RunTap | None, block: bytes) -> None:
        if not block:
            return
        if run is None:
            self.early.add(block)
        elif run is self.marked or self.mark(run):
            run.put(block)
        if len(block) > LARGE:
            self._written_at, self.due_at = -math.inf, 0  # what is kept is bounded by number only: write it

    async def attend(self, go_on: Callable[[Sequence[Event], bool], object]) -> None:
        """Open the run that is wanted, and see to it that what is new is written.

        Raises:
            JournalError: it is not taken.
        """
        await self.settle(go_on)
        count = self._stream.sequence - self._written_at
        if count >= MAX_KEPT or self.failure is not None:
            await self.flush()
        else:
            is_hurried = self._has_news or count >= MAX_FRAMES
            self._write_soon(self, is_hurried)
            self.due_at = self._written_at + (MAX_KEPT if is_hurried else MAX_FRAMES)

    async def settle(self, go_on: Callable[[Sequence[Event], bool], object]) -> None:
        """Open the run that is wanted, and go on with the events that were kept, and whether its dialect was loaded.

        Raises:
            JournalError: it cannot be opened.
        """
        while self.wanted:
            is_loaded = await self._open(self.wanted)
            self.wanted = ""
            held, self._held = self._held, []
            go_on(held, is_loaded)

    async def _open(self, run_id: str) -> bool:
        """Open a run. Those that have ended by now, or wait, are not written to any more."""
        await self.flush(ends_runs=True)
        opening = open_run(self.journal, run_id, self._writer, self._again, self._stream, self._held[:1], self.early)
        run = self.runs[run_id] = await opening
        self._left.discard(run_id)
        self._list()
        self.mark(run)
        return run.is_loaded

    async def flush(self, *, ends_runs: bool = False) -> bool:
        """Write what is new, and return whether runs have ended. With `ends_runs`, these are not written to any more.

        Raises:
            JournalError: it is not taken.
        """
        async with self.turn:
            if self.failure is not None:
                raise self.failure
            self._has_news, self._written_at = False, self._stream.sequence
            self.due_at = self._written_at + 1
            dirty, self._dirty, self.marked = self._dirty | self._settled, {}, None
            for run in dirty:
                status = run.status_in(self._stream)
                await self._write(run, "open" if status == "ended" and not ends_runs else status)
                self._settled.pop(run, None)
                if status != "open" and ends_runs and run not in self._dirty:  # nothing came while it was written
                    self._end(run)
                elif status != "open":
                    self._settled[run] = None
        return bool(self._settled)

    async def _write(self, run: RunTap, status: RunStatus, error: str = "") -> None:
        stream, opened = self._stream, run.opened
        held = run.new(stream, is_left=status in ("waiting", "interrupted"))
        entry = stream.state.find(run.key)
        if entry is not None:
            entry.note_folded(self.journal, held[-1].last if held else run.position)
        try:
            with translated_errors():
                await self.journal.append(opened, held, status=status, error=error)
        except JournalError as exc:
            self._end(run)
            self.failure = self.failure or exc
            raise
        run.written(held)
        run.status = status

    def _end(self, run: RunTap) -> None:
        run.is_closed = True
        if run.status == "waiting":
            self._left = {run.opened.run_id, *(self._left & self._stream.runs.keys())}  # no more than the stream knows
        self.runs.pop(run.opened.run_id, None)
        self._dirty.pop(run, None)
        self._settled.pop(run, None)
        self._list()
        if self.marked is run:
            self.marked = None

    async def close(self, error: str) -> None:
        """Write what is left, and say of each run how it is left: where it goes on, `error` is why it stopped.

        Raises:
            JournalError: it is not taken.
        """
        async with self.turn:
            for run in list(self.runs.values()):
                status = run.status_at_end(self._stream)
                with suppress(JournalError):  # it is kept: the others are to be closed first
                    await self._write(run, status, error if status == "interrupted" else "")
                self._end(run)
            if self.failure is not None:
                raise self.failure
