"""The journal of one process: runs in memory, as the bytes that were written, shared by all who read them.

What is kept is bounded by run, in total, in number and in time. Events of ended runs go first, a whole run at a time,
the oldest first; then those of open runs that a checkpoint stands for; in the end the oldest of open runs, and who asks
for them gets a `JournalGap`. No method waits for anything but news, so each is one step to all others.
"""

import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final
from weakref import WeakValueDictionary

import anyio

from stepstream.errors import JournalConflict, JournalFull
from stepstream.journal.memory_runs import KeptRun, Writer
from stepstream.journal.news import News
from stepstream.journal.reading import Journal, check_limits
from stepstream.journal.run_info import RunInfo
from stepstream.live.journal import Checkpoint, Held, Opened, Pack, RunStatus, given

MAX_RUN_BYTES: Final = 64 * 2**20
MAX_BYTES: Final = 256 * 2**20
MAX_RUNS: Final = 1_000
MAX_WAITING: Final = 10_000
KEEP: Final = 3_600.0

OVER: Final[frozenset[RunStatus]] = frozenset({"ended", "interrupted"})
"""What a run is that may be forgotten."""


class MemoryJournal(Journal):
    """Runs kept in memory, for all readers of one process.

    `max_run_bytes` bounds what is kept of one run, but for what follows its checkpoint, `max_bytes` all; of ended runs
    the newest `max_runs` are kept, for `keep` seconds after their end. So many as `max_waiting` may wait for action:
    where more do, those that have waited longest are interrupted. `clock` returns Unix seconds, for what is told.
    """

    def __init__(
        self,
        *,
        max_run_bytes: int = MAX_RUN_BYTES,
        max_bytes: int = MAX_BYTES,
        max_runs: int = MAX_RUNS,
        max_waiting: int = MAX_WAITING,
        keep: float = KEEP,
        clock: Callable[[], float] = time.time,
    ) -> None:
        check_limits(max_run_bytes=max_run_bytes, max_bytes=max_bytes, max_runs=max_runs)
        check_limits(max_waiting=max_waiting, keep=keep)
        self._max_run_bytes, self._max_bytes = max_run_bytes, max_bytes
        self._max_runs, self._max_waiting, self._keep = max_runs, max_waiting, keep
        self._clock = clock
        self._runs: dict[str, KeptRun] = {}
        self._over: dict[str, KeptRun] = {}  # those that may be forgotten, in the order in which they ended
        self._waiting: dict[str, KeptRun] = {}  # in the order in which they began to
        self._covered: dict[str, KeptRun] = {}  # open ones with events that their checkpoint has, too
        self._full: dict[str, KeptRun] = {}  # open ones with events
        self._writers: WeakValueDictionary[str, Writer] = WeakValueDictionary()
        self._watchers: dict[News, None] = {}
        self._run_watchers: dict[str, dict[News, None]] = {}
        self._bytes = self._checkpoint_bytes = 0  # of all; of the checkpoints of open runs
        self._fence = 0

    def __repr__(self) -> str:
        return f"<MemoryJournal {len(self._runs):,} runs, {self._bytes:,} bytes>"

    async def open(self, run_id: str, *, writer: str, after: int = 0) -> Opened:
        """Open a run for writing."""
        now = anyio.current_time()
        self._forget_old(now)
        run = self._runs.get(run_id)
        if run is None:
            await self.check_room()
        held = [] if run is None else list(run.shortest_after(after))
        if run is None:
            run = self._runs[run_id] = KeptRun(run_id, self._clock())
        self._fence = run.fence = max(self._fence + 1, int(self._clock() * 1000))
        run.writer = self._writers.get(writer) or self._writers.setdefault(writer, Writer())
        run.writer.seen = now
        self._say(run, "open", "", now)
        self._tell(run, to_all=True)
        return Opened(run_id, writer, run.fence, run.position, given(held))

    async def check_room(self) -> None:
        """Check that another run may be opened."""
        if self._checkpoint_bytes > self._max_bytes:
            limit = f"at most {self._max_bytes:,} bytes in checkpoints of open runs (max_bytes)"
            raise JournalFull(f"expected {limit}, got {self._checkpoint_bytes:,}")

    async def append(
        self, opened: Opened, held: Sequence[Held] = (), *, status: RunStatus = "open", error: str = ""
    ) -> None:
        """Add what comes next of a run."""
        run = self._runs.get(opened.run_id)
        if run is None or run.fence != opened.fence:
            raise JournalConflict(f"run {opened.run_id} was opened by another writer")
        now = run.writer.seen = anyio.current_time()
        for one in held:
            if isinstance(one, Checkpoint):
                self._keep_checkpoint(run, one)
            elif one.last > run.position:
                self._keep_pack(run, one.after(run.position))
        is_other = status != run.status
        if is_other:
            self._say(run, status, error, now)
        if held or is_other:
            self._make_room(run, now)
            self._tell(run, to_all=is_other)

    async def read(self, run_id: str, *, after: int = 0) -> AsyncIterator[Held]:
        """Yield what is there now of a run after a position."""
        run = self._runs.get(run_id)
        newest = 0 if run is None else run.position
        while run is not None and after < newest:
            for held in run.some_after(after):
                after = held.last
                yield held

    async def checkpoint(self, run_id: str, *, up_to: int | None = None) -> Checkpoint | None:
        """Return the newest checkpoint of a run."""
        run = self._runs.get(run_id)
        return None if run is None else run.checkpoint

    async def runs(self, run_id: str | None = None) -> AsyncIterator[RunInfo]:
        """Yield the runs there are."""
        self._forget_old(anyio.current_time())
        for info in map(self._info, list(self._runs) if run_id is None else [run_id]):
            if info is not None:
                yield info

    @asynccontextmanager
    async def watch(self, run_id: str | None = None) -> AsyncIterator[AsyncIterator[RunInfo]]:
        """Give an iterator of the runs there are, then of each that changes."""
        self._forget_old(anyio.current_time())
        known = self._runs if run_id is None else {run_id} & self._runs.keys()
        news = News(known, self._info)
        watchers = self._watchers if run_id is None else self._run_watchers.setdefault(run_id, {})
        watchers[news] = None
        try:
            yield news
        finally:
            del watchers[news]
            if run_id is not None and not watchers:
                self._run_watchers.pop(run_id, None)

    def _info(self, run_id: str) -> RunInfo | None:
        run = self._runs.get(run_id)
        return None if run is None else run.info(anyio.current_time())

    def _tell(self, run: KeptRun, *, to_all: bool) -> None:
        for news in self._run_watchers.get(run.id, ()):
            news.note(run.id)
        for news in self._watchers if to_all else ():
            news.note(run.id)

    def _say(self, run: KeptRun, status: RunStatus, error: str, now: float) -> None:
        """Record what becomes of a run."""
        was_over, is_over = run.status in OVER, status in OVER
        run.status, run.error = status, error
        if status == "waiting":
            self._waiting.setdefault(run.id, run)
        else:
            self._waiting.pop(run.id, None)
        if is_over == was_over:
            return
        size = len(run.checkpoint.data) if run.checkpoint is not None else 0
        if is_over:
            run.ended, run.over_at = self._clock(), now
            self._over[run.id] = run
            self._checkpoint_bytes -= size
            self._full.pop(run.id, None)
            self._covered.pop(run.id, None)
        else:
            run.ended = None
            del self._over[run.id]
            self._checkpoint_bytes += size
            self._list(run)

    def _list(self, run: KeptRun) -> None:
        """Note what of an open run may go."""
        for table, has_some in ((self._full, bool(run.packs)), (self._covered, run.has_covered)):
            if has_some:
                table[run.id] = run
            else:
                table.pop(run.id, None)

    def _keep_pack(self, run: KeptRun, pack: Pack) -> None:
        if pack.first != run.position + 1:
            raise ValueError(f"expected event {run.position + 1:,} of run {run.id} next, got {pack.first:,}")
        run.packs.append(pack)
        run.position = pack.last
        run.size += pack.size
        self._bytes += pack.size
        self._trim(run)

    def _trim(self, run: KeptRun) -> None:
        """Keep what a run has within its bound. What follows its checkpoint stays: without that, none could join."""
        while run.size > self._max_run_bytes and len(run.packs) > 1 and (run.checkpoint is None or run.has_covered):
            self._drop_pack(run)

    def _keep_checkpoint(self, run: KeptRun, checkpoint: Checkpoint) -> None:
        before = len(run.checkpoint.data) if run.checkpoint is not None else 0
        run.checkpoint = checkpoint
        self._bytes += len(checkpoint.data) - before
        if run.status not in OVER:
            self._checkpoint_bytes += len(checkpoint.data) - before
        self._trim(run)

    def _drop_pack(self, run: KeptRun) -> None:
        size = run.packs.popleft().size
        run.size -= size
        self._bytes -= size

    def _make_room(self, run: KeptRun, now: float) -> None:
        """Keep within the bounds, now that a run has more."""
        if run.status not in OVER:
            self._list(run)
        self._forget_old(now)
        while self._bytes > self._max_bytes and self._over:
            self._forget(_first(self._over))
        while self._bytes > self._max_bytes and (table := self._covered or self._full):
            one = _first(table)
            self._drop_pack(one)
            self._list(one)

    def _forget_old(self, now: float) -> None:
        while len(self._waiting) > self._max_waiting:
            oldest = _first(self._waiting)
            self._say(oldest, "interrupted", "too many runs waited that began to later", now)
            self._tell(oldest, to_all=True)
        for _ in range(2):
            if not self._over or (len(self._over) <= self._max_runs and now - _first(self._over).over_at <= self._keep):
                break
            self._forget(_first(self._over))

    def _forget(self, run: KeptRun) -> None:
        del self._runs[run.id], self._over[run.id]
        self._bytes -= run.size + (len(run.checkpoint.data) if run.checkpoint is not None else 0)


def _first(table: dict[str, KeptRun]) -> KeptRun:
    return next(iter(table.values()))
