"""The reader of a partition in which runs are followed: one for all of them, however many follow each.

It blocks on the wake stream of its partition, which names the runs that changed, and reads these without blocking, each
into its `Feed`. Every `LOOK_EVERY` seconds, and whenever its connection was lost, it looks at all of them: what was not
woken for is found then, and what the server has lost too.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import anyio

from stepstream.errors import JournalFailed
from stepstream.journal.redis import scripts
from stepstream.journal.redis.entries import info_of
from stepstream.journal.redis.feed import Feed
from stepstream.journal.redis.scripts import Layout
from stepstream.journal.redis.server import Command, Link, delay_after, script
from stepstream.journal.run_info import RunInfo

LOOK_EVERY: Final = 5.0
MAX_WAKES: Final = 500
"""How many entries of the wake stream are read at once: half of what it has."""
MAX_RUNS: Final = 64
"""Of so many runs something is read at once,"""
MAX_ENTRIES: Final = 4
"""and so many entries of each: what a server does for one who is behind is no burden to others."""


class PartitionReader:
    """Reads what is followed of a partition. `changed` is called with what became of any run."""

    def __init__(self, layout: Layout, partition: int, link: Link, changed: Callable[[RunInfo], None]) -> None:
        self.feeds: dict[str, Feed] = {}
        self._layout, self._link, self._changed = layout, link, changed
        self._wake, self._runs = layout.wake(partition), layout.runs(partition)
        self._told: dict[str, str] = {}  # the runs that are to be read, and "s" where it is more than events
        self._cursor = b""
        self._ready = anyio.Event()
        self._looked_at = -math.inf

    @property
    def is_ready(self) -> bool:
        """Whether it misses nothing any more."""
        return self._ready.is_set()

    async def ready(self) -> None:
        """Return when it misses nothing any more."""
        if not self._ready.is_set():
            await self._ready.wait()

    async def run(self) -> None:
        """Read, until it is cancelled."""
        failures = 0
        while True:
            try:
                if not self._cursor:
                    await self._begin()
                await self._read()
                failures = 0
            except JournalFailed:
                failures += 1
                self._looked_at = -math.inf  # whatever was said meanwhile may be gone
                await anyio.sleep(delay_after(failures))

    async def _begin(self) -> None:
        [newest] = await self._link.ask([Command(b"XREVRANGE", (self._wake, "+", "-", "COUNT", 1))])
        self._cursor = newest[0][0] if newest else b"0-0"
        self._looked_at = anyio.current_time()
        self._ready.set()

    async def _read(self) -> None:
        """Wait for news, for a few seconds at most, and read the runs that it names."""
        rest = 0 if self._told else max(self._looked_at + LOOK_EVERY - anyio.current_time(), 0)
        block = ("BLOCK", int(rest * 1000)) if rest >= 0.001 else ()
        asked = Command(b"XREAD", ("COUNT", MAX_WAKES, *block, "STREAMS", self._wake, self._cursor))
        [found] = await self._link.ask([asked], rest)
        wakes = (found or {}).get(self._wake.encode(), ())
        for entry_id, fields in wakes:
            self._cursor = entry_id
            for run_id, kind in zip(fields[::2], fields[1::2], strict=True):
                self._told[run_id.decode()] = max(kind.decode(), self._told.get(run_id.decode(), ""))
        late = anyio.current_time() - self._looked_at - LOOK_EVERY
        if late >= 0:
            self._told |= dict.fromkeys(self.feeds, "s")
        if late >= LOOK_EVERY or len(wakes) == MAX_WAKES:  # there may have been more, which are gone
            [all_runs] = await self._link.ask([Command(b"ZRANGE", (self._runs, 0, -1))])
            self._told |= dict.fromkeys([one.decode() for one in all_runs], "s")
        wanted = [run_id for run_id, kind in self._told.items() if kind == "s" or run_id in self.feeds]
        again: list[str] = []
        for start in range(0, len(wanted), MAX_RUNS):
            again += await self._update(wanted[start : start + MAX_RUNS], late >= 0)
        self._told = dict.fromkeys(again, "s")
        if late >= 0:
            self._looked_at = anyio.current_time()

    async def _update(self, run_ids: Sequence[str], is_look: bool) -> list[str]:
        """Read what is new of runs, and say what they are. What is asked first is told last: it holds by then.

        Returned are those that are to be read again: who follows them began to while they were asked for.
        """
        again: list[str] = []
        behind = [feed for one in run_ids if (feed := self.feeds.get(one)) is not None and feed.is_begun]
        asked = [script(scripts.TELL, self._layout.keys(one)) for one in run_ids]
        answers = await self._link.ask([*asked, *map(self._next, behind)])
        infos = dict(zip(run_ids, map(info_of, run_ids, answers), strict=False))
        answers = answers[len(run_ids) :]
        behind, answers = self._without_lost(behind, answers, infos, is_look)
        while behind:
            for feed, answer in zip(behind, answers, strict=True):
                feed.take(answer)
            full = [feed for feed, answer in zip(behind, answers, strict=True) if len(answer) == MAX_ENTRIES]
            behind = [feed for feed in full if feed.gap is None]
            answers = await self._link.ask(list(map(self._next, behind))) if behind else []
        for run_id, info in infos.items():
            known = self.feeds.get(run_id)
            if known is not None:
                known.begin(info)
            if known is not None and info is not None:
                if known.position >= info.position:
                    known.tell(info)
                elif known.gap is None:
                    again.append(run_id)
            if info is not None:
                self._changed(info)
        return again

    def _without_lost(
        self, feeds: Sequence[Feed], answers: Sequence[Any], infos: Mapping[str, RunInfo | None], is_look: bool
    ) -> tuple[list[Feed], list[Any]]:
        """Return the feeds whose runs the server has as far as they are known here, and the answers for them."""
        kept = [
            (feed, answer)
            for feed, answer in zip(feeds, answers, strict=True)
            if not feed.is_lost(infos[feed.run_id], is_look)
        ]
        return [feed for feed, _ in kept], [answer for _, answer in kept]

    def _next(self, feed: Feed) -> Any:
        start = f"({feed.fence}-{feed.position}"
        return Command(b"XRANGE", (self._layout.keys(feed.run_id).stream, start, "+", "COUNT", MAX_ENTRIES))
