"""What a stream puts into its journal: every event as it is folded, in the vocabulary of the fold.

An event belongs to the run that it names, else to that of its step or message, else to the newest of the stream. What
comes before any run is known waits for the first (`MAX_EARLY`). What says how the stream ends is of no run.

The first event of a run is not folded at once. It is held, and all after it, until the run is open (`settle`): what
others have written of it is folded first, silently, so that this event finds what it continues. All else is noted as it
is folded, without waiting, by one list append (`RunTap.blocks`), and written later: with a transition, after 64 events,
or when 10 ms have passed (`publishing`).
"""

from collections.abc import Callable
from typing import Any, Final, Protocol

import anyio

from stepstream.errors import JournalError
from stepstream.fold.accumulator import Accumulator
from stepstream.fold.builder import SnapshotBuilder
from stepstream.fold.state import run_key
from stepstream.live.journal import MAX_FRAMES, RunStatus, WritableJournal
from stepstream.live.run_opening import open_run
from stepstream.live.run_tap import RunTap, block_of, block_of_frame, run_named
from stepstream.wire.deltas import MessageDelta, RunStepDelta
from stepstream.wire.ending import ends_stream
from stepstream.wire.events import Event
from stepstream.wire.sse import Frame

MAX_EARLY: Final = 2**20
"""How many bytes of events wait until a run is known. The rest is in no journal."""


class TapOwner(Protocol):
    """What knows the streams that write to one journal."""

    def write_soon(self, tap: "StreamTap") -> None:
        """Call its `flush` soon."""

    def forget(self, tap: "StreamTap") -> None:
        """Know it no longer: it was closed."""


class StreamTap:
    """Writes the events of one stream to a journal. `again` makes an accumulator on the same state."""

    __slots__ = (
        "_again",
        "_dirty",
        "_early",
        "_early_size",
        "_held",
        "_is_noted",
        "_lock",
        "_owner",
        "_stream",
        "_writer",
        "due_at",
        "failure",
        "is_urgent",
        "journal",
        "marked",
        "runs",
        "wanted",
    )  # fmt: skip

    def __init__(
        self,
        journal: WritableJournal,
        writer: str,
        accumulator: Accumulator,
        again: Callable[[], Accumulator],
        owner: "TapOwner",
    ) -> None:
        self.journal = journal
        self.runs: dict[str, RunTap] = {}
        """Those that are open, by id."""
        self.wanted = ""
        """The run that has to be opened before the stream goes on."""
        self.is_urgent = False
        """Whether there is something new that is to be written at once."""
        self.due_at = MAX_FRAMES
        """The number of the event with which there is enough to write."""
        self._is_noted = False  # whether the publisher will write what is new, soon
        self.failure: JournalError | None = None
        """What was raised where nobody waited for it."""
        self._writer = writer
        self._stream = accumulator.stream
        self._again = again
        self._owner = owner
        self._held: list[Event] = []
        self._early: list[bytes] = []
        self._early_size = 0
        self.marked: RunTap | None = None
        """The run that got something new last, since all was written."""
        self._dirty: dict[RunTap, None] = {}
        self._lock = anyio.Lock(fast_acquire=True)

    @property
    def is_due(self) -> bool:
        """Whether there is something to write or to open now; where there is less, it is noted."""
        if self.is_urgent or self.wanted or self._stream.sequence >= self.due_at:
            return True
        if not self._is_noted:
            self._is_noted = True
            self._owner.write_soon(self)
        return False

    def take(self, event: Event) -> bool:
        """Note an event that is folded next. Return whether it may be: else it is kept for `settle`."""
        if self.wanted:
            self._held.append(event)
            return False
        run_id = self._run_of(event)
        if run_id and run_id not in self.runs:
            self.wanted = run_id
            self._held.append(event)
            self._stream.append = None  # it did not append anything
            return False
        if not ends_stream(event):
            self._put(self.runs.get(run_id), block_of(event))
            self.is_urgent = self.is_urgent or type(event.data) not in (RunStepDelta, MessageDelta)
        return True

    def take_frame(self, frame: Frame) -> None:
        """Note a frame that cannot be decoded."""
        self._put(self._newest, block_of_frame(frame))

    def run_tap(self, builder: SnapshotBuilder[Any]) -> RunTap | None:
        """Return what takes the deltas of a step or message, None while its run is not open. It is written to next."""
        own = builder.run_id
        run = self.runs.get(own) if own else self._newest
        if run is not None and run is not self.marked and not self.wanted:
            self.mark(run)
        return run if not self.wanted else None

    def mark(self, run: RunTap) -> None:
        """Note that a run has something new."""
        self.marked = run
        self._dirty[run] = None

    @property
    def _newest(self) -> RunTap | None:
        return next(reversed(self.runs.values()), None)

    def _put(self, run: RunTap | None, block: bytes) -> None:
        if not block:
            return
        if run is not None:
            run.blocks.append(block)
            if run is not self.marked:
                self.mark(run)
        elif self._early_size + len(block) <= MAX_EARLY:
            self._early.append(block)
            self._early_size += len(block)

    def _run_of(self, event: Event) -> str:
        """Return the run that an event belongs to; "" where none is known yet."""
        newest = self._newest
        return run_named(event, self._stream.state) or (newest.opened.run_id if newest is not None else "")

    async def write(self, fold: Callable[[Event], object]) -> None:
        """Open the run that is wanted, and write what is new.

        Raises:
            JournalError: it is not taken.
        """
        await self.settle(fold)
        await self.flush()

    async def settle(self, fold: Callable[[Event], object]) -> None:
        """Open the run that is wanted, and fold the events that were kept.

        Raises:
            JournalError: it cannot be opened.
        """
        while self.wanted:
            await self._open(self.wanted)
            self.wanted = ""
            held, self._held = self._held, []
            for event in held:
                fold(event)

    async def _open(self, run_id: str) -> None:
        run = self.runs[run_id] = await open_run(self.journal, run_id, self._writer, self._again(), self._stream)
        run.blocks += self._early
        self._early.clear()
        self._early_size = 0
        self.mark(run)

    async def flush(self, *, ends_runs: bool = False) -> None:
        """Write what is new. With `ends_runs`, those that have ended are not written to any more.

        Raises:
            JournalError: it is not taken.
        """
        async with self._lock:
            if self.failure is not None:
                raise self.failure
            self.is_urgent = self._is_noted = False
            self.due_at = self._stream.sequence + MAX_FRAMES
            dirty, self._dirty, self.marked = self._dirty, {}, None
            for run in dirty:
                status = run.status_in(self._stream)
                is_over = status == "ended" and ends_runs
                await self._write(run, status if is_over or status == "waiting" else "open")
                if is_over:
                    self._end(run)

    async def _write(self, run: RunTap, status: RunStatus, error: str = "") -> None:
        stream, opened, count = self._stream, run.opened, len(run.blocks)
        held = run.new(stream)
        entry = stream.state.find(run_key(opened.run_id, ""))
        if entry is not None:
            entry.note_folded(self.journal, run.position + count)
        try:
            await self.journal.append(opened, held, status=status, error=error)
        except JournalError as exc:
            self._end(run)
            self.failure = exc
            raise
        run.written(count)
        run.status = status

    def _end(self, run: RunTap) -> None:
        self.runs.pop(run.opened.run_id, None)
        self._dirty.pop(run, None)
        if self.marked is run:
            self.marked = None

    async def close(self, error: str) -> None:
        """Write what is left, and say of each run how it is left: where it goes on, `error` is why it stopped.

        Raises:
            JournalError: it is not taken.
        """
        self._owner.forget(self)
        async with self._lock:
            for run in list(self.runs.values()):
                known = self._stream.runs.get(run.opened.run_id)
                if known is not None and known.is_terminal:
                    await self._write(run, "ended")
                elif known is not None and known.status == "requires_action":
                    await self._write(run, "waiting")
                else:
                    await self._write(run, "interrupted", error)
                self._end(run)
            if self.failure is not None:
                raise self.failure
