"""All runs of a journal in a few words each, live, shared by everybody who looks at the list.

No task runs. Of those who wait for something new one leads: it looks at the journal, four times a second at most, and
folds what came. The others sleep until something changed, or nobody leads. So nothing runs while nobody looks, and who
looks again catches up.

Nobody is owed anything: each summary has the number of the version in which it changed, and who had a version is sent
what is newer. A slow reader costs no memory, and gets the newest of each run.
"""

import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Final

import anyio
import msgspec
from msgspec.structs import replace

from stepstream.dashboard.listed_run import ListedRun
from stepstream.journal.following import INTERRUPTED_AFTER
from stepstream.journal.reading import Journal
from stepstream.journal.run_info import RunInfo
from stepstream.live.pending import Signal

MAX_RUNS: Final = 1_000
"""How many runs are listed: the newest."""

LOOK_EVERY: Final = 0.25
"""Seconds from one look at the journal to the next, or more: a look may take a tenth of the time at most."""

LOOK_WITHIN: Final = 2.0
"""Seconds after which is looked at it again, however long that took."""

FOLD_FOR: Final = 0.05
"""Seconds for which is folded until those who wait are told."""

MAX_FOLDED: Final = 64 * 2**20
"""How many bytes of events the folds of all open runs may be made of. A run for which there is no room is folded at its
end."""


class RunList:
    """The newest `max_runs` of `journal`, in a few words each. `version` goes up with every change.

    The journal is looked at every `look_every` seconds at most; with 0, whenever somebody asks.
    """

    def __init__(self, journal: Journal, *, max_runs: int = MAX_RUNS, look_every: float = LOOK_EVERY) -> None:
        self.version = 0
        self.is_closed = False
        self._journal = journal
        self._max_runs = max_runs
        self._look_every = look_every
        self._runs: dict[str, ListedRun] = {}  # in the order in which they were opened
        self._stale: dict[str, ListedRun] = {}  # those whose journal has more than was folded, in the order of that
        self._gone: dict[str, int] = {}  # with the version in which they went, the oldest first
        self._forgotten = 0  # up to this version it is not known any more what has gone
        self._looks_at = 0.0
        self._is_led = False
        self._changed = Signal()
        self._encoded: tuple[int, int, bytes] = (0, 0, b"[]")

    def __repr__(self) -> str:
        return f"<RunList {len(self._runs):,} runs, version {self.version:,}>"

    def __len__(self) -> int:
        return len(self._runs)

    def close(self) -> None:
        """Let nobody wait any more."""
        self.is_closed = True
        self._changed.notify()

    def whole(self) -> bytes:
        """Return all summaries as a JSON array, the newest run first."""
        return _array(run.data for run in reversed(self._runs.values()))

    def since(self, version: int) -> bytes | None:
        """Return what changed since a version as a JSON array; None where that is not known any more."""
        if version < self._forgotten:
            return None
        if self._encoded[:2] != (version, self.version):
            changed = [run.data for run in self._runs.values() if run.version > version]
            gone = [_gone(run_id) for run_id, at in self._gone.items() if at > version]
            self._encoded = version, self.version, _array([*changed, *gone])
        return self._encoded[2]

    async def look(self) -> None:
        """Look at the journal now, unless that was done just now or is being done, so that there is a list.

        Raises:
            JournalError: the journal cannot be read.
        """
        if not self._is_led and anyio.current_time() >= self._looks_at:
            async with self._leading():
                await self._look()

    async def catch_up(self) -> None:
        """Look at the journal, and fold all that it has, unless another one does that.

        Raises:
            JournalError: the journal cannot be read.
        """
        await self.look()
        if not self._is_led:
            async with self._leading():
                while self._stale:
                    await self._step()

    async def newer(self, version: int) -> None:
        """Return when there is something newer than a version, or it is closed.

        Raises:
            JournalError: the journal cannot be read.
        """
        while self.version <= version and not self.is_closed:
            if self._is_led:
                await self._changed.wait()
            else:
                async with self._leading():
                    while self.version <= version and not self.is_closed:
                        await self._step()

    @asynccontextmanager
    async def _leading(self) -> AsyncIterator[None]:
        self._is_led = True
        try:
            yield
        finally:
            self._is_led = False
            self._changed.notify()  # whoever wakes first leads

    async def _step(self) -> None:
        """Look at the journal when it is time to, and fold for a while."""
        if not self._stale:
            await anyio.sleep(max(self._looks_at - anyio.current_time(), 0))
        if anyio.current_time() >= self._looks_at:
            await self._look()
        until = anyio.current_time() + FOLD_FOR
        while self._stale and anyio.current_time() < until:
            await self._fold(self._stale.pop(next(iter(self._stale))), until)

    async def _look(self) -> None:
        """Ask the journal which runs there are, and note which of them have more."""
        began = anyio.current_time()
        infos = {info.id: self._seen(info) async for info in self._journal.runs()}
        took = anyio.current_time() - began
        pause = max(self._look_every, min(10 * took, LOOK_WITHIN)) if self._look_every else 0
        self._looks_at = anyio.current_time() + pause
        newest = dict(list(infos.items())[-self._max_runs :])
        for run_id in [one for one in self._runs if one not in newest]:
            self._drop(run_id)
        known = self._runs
        self._runs = {run_id: known.get(run_id) or ListedRun(self._journal, info) for run_id, info in newest.items()}
        for run_id in reversed(newest):
            self._note(self._runs[run_id], newest[run_id], is_new=run_id not in known)

    def _seen(self, info: RunInfo) -> RunInfo:
        """Return what the journal says of a run, interrupted where its writer is silent: since about when, is said
        once."""
        seen = info.within(INTERRUPTED_AFTER)
        if seen is info:
            return info
        run = self._runs.get(info.id)
        is_known = run is not None and run.info.error == seen.error and run.info.position == info.position
        return run.info if run is not None and is_known else replace(seen, ended=time.time() - info.silence)

    def _note(self, run: ListedRun, info: RunInfo, *, is_new: bool) -> None:
        if not run.take(info) and not is_new:
            return
        self._gone.pop(info.id, None)
        if run.is_to_be_folded:
            self._stale.setdefault(info.id, run)
        if is_new or not run.is_to_be_folded:
            self._publish(run)

    def _drop(self, run_id: str) -> None:
        del self._runs[run_id]
        self._stale.pop(run_id, None)
        self.version += 1
        self._gone[run_id] = self.version
        if len(self._gone) > 2 * self._max_runs:
            oldest = next(iter(self._gone))
            self._forgotten = self._gone.pop(oldest)
        self._changed.notify()

    def _publish(self, run: ListedRun) -> None:
        if run.encode():
            self.version += 1
            run.version = self.version
            self._changed.notify()

    async def _fold(self, run: ListedRun, until: float) -> None:
        has_more = True
        try:
            has_more = await run.fold(until)
        finally:
            if has_more:
                self._stale[run.info.id] = run
        self._keep_bound()
        self._publish(run)

    def _keep_bound(self) -> None:
        """Let the largest folds go until all are within `MAX_FOLDED`."""
        while sum(run.size for run in self._runs.values()) > MAX_FOLDED:
            largest = max(self._runs.values(), key=lambda run: run.size)
            largest.forget_fold()
            largest.is_large = True


def _array(entries: Iterable[bytes]) -> bytes:
    return b"[%b]" % b",".join(entries)


def _gone(run_id: str) -> bytes:
    return msgspec.json.encode({"id": run_id, "gone": True})
