"""The runs that there are, for one who may see some of them: at one moment, or live."""

import math
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any, Final, TypeAlias

import anyio
import msgspec

from stepstream.errors import JournalError
from stepstream.journal.reading import Journal
from stepstream.journal.run_info import RunInfo
from stepstream.live.pending import Turn
from stepstream.relay.access import AUTHORIZE_WITHIN
from stepstream.relay.batch import COMMENT
from stepstream.relay.channel import HEARTBEAT
from stepstream.wire.sse import Frame, encode_frame

MaySee: TypeAlias = Callable[[str], Awaitable[bool]]

ASKED_AT_ONCE: Final = 32
"""For how many runs it is asked at a time who may see them."""

ASK_AGAIN: Final = 5.0
"""Seconds after which it is asked again which runs are open."""

_SHOWN: Final = ("id", "status", "position", "opened", "ended")


def shown(info: RunInfo) -> dict[str, Any]:
    """Return what is told of a run."""
    return {name: getattr(info, name) for name in _SHOWN}


async def listed(journal: Journal, may_see: MaySee, interrupted_after: float) -> list[dict[str, Any]]:
    """Return the runs there are, in the order in which they began. Who may see them is asked for some at a time, and
    what is not answered in time is a no."""
    infos = [info.within(interrupted_after) async for info in journal.runs()]
    seen = set[str]()
    asking = iter(infos)

    async def ask() -> None:
        for info in asking:
            if await may_see(info.id):
                seen.add(info.id)

    with anyio.move_on_after(AUTHORIZE_WITHIN):
        async with anyio.create_task_group() as tasks:
            for _ in range(min(ASKED_AT_ONCE, len(infos))):
                tasks.start_soon(ask)
    return [shown(info) for info in infos if info.id in seen]


class OpenRuns:
    """The runs of a journal that are open, as of a few seconds ago: asked for once for all who look at a list."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._turn = Turn()
        self._infos: list[RunInfo] = []
        self._asked_at = -math.inf

    async def infos(self) -> list[RunInfo]:
        """Return what the journal says of them.

        Raises:
            JournalError: it cannot be read.
        """
        async with self._turn:
            if anyio.current_time() - self._asked_at >= ASK_AGAIN:
                self._infos = [info async for info in self._journal.runs() if info.status == "open"]
                self._asked_at = anyio.current_time()
        return self._infos


class RunNews:
    """The runs there are, then each that begins, waits, ends, is interrupted or goes on after that, a message each:
    iterate over it, once.

    It ends where the journal cannot be read, too: a browser comes back by itself.
    """

    def __init__(
        self, journal: Journal, open_runs: OpenRuns, may_see: MaySee, first: bytes, interrupted_after: float
    ) -> None:
        self._journal = journal
        self._open_runs = open_runs
        self._may_see = may_see
        self._first = first
        self._interrupted_after = interrupted_after
        self._is_over = False
        self._waiting: anyio.CancelScope | None = None
        self._open: dict[str, str] = {}  # the runs that are open by their journal, with the status that was told
        self._looks_at = math.inf  # when it is looked which of them are silent

    def interrupt(self, reason: str) -> None:
        """End it. It has no words for the reason."""
        self._is_over = True
        if self._waiting is not None:
            self._waiting.cancel()

    async def pieces(self) -> AsyncGenerator[bytes]:
        """Yield what is sent."""
        yield self._first
        sent_at = anyio.current_time()
        self._looks_at = sent_at + self._interrupted_after
        with suppress(JournalError):
            async with self._journal.watch() as news:
                while not self._is_over:
                    for info in await self._next(news) or (None,):
                        piece = b"" if info is None or self._is_over else await self._told(info)
                        if piece or anyio.current_time() - sent_at >= HEARTBEAT:
                            sent_at = anyio.current_time()
                            yield piece or COMMENT

    async def _next(self, news: AsyncIterator[RunInfo]) -> list[RunInfo]:
        """Return the runs of which there is news; none where there was none for a while."""
        now = anyio.current_time()
        if now >= self._looks_at:
            self._looks_at = now + self._interrupted_after
            return [info for info in await self._open_runs.infos() if self._has_changed(info)] if self._open else []
        info = None
        with anyio.move_on_after(min(HEARTBEAT, self._looks_at - now)) as self._waiting:
            info = await anext(news)
        self._waiting = None
        return [] if info is None else [info]

    def _has_changed(self, info: RunInfo) -> bool:
        """Return whether an open run has fallen silent since it was told, or is heard of again."""
        return self._open.get(info.id, "") not in ("", self._seen(info).status)

    def _seen(self, info: RunInfo) -> RunInfo:
        return info.within(self._interrupted_after)

    async def _told(self, info: RunInfo) -> bytes:
        """Return the message that tells of a run; nothing where that may not be seen."""
        is_seen = False
        with anyio.CancelScope() as self._waiting:
            is_seen = await self._may_see(info.id)
        self._waiting = None
        if not is_seen:
            return b""
        seen = self._seen(info)
        self._open.pop(info.id, None)
        if info.status == "open":
            self._open[info.id] = seen.status
        return encode_frame(Frame(data=msgspec.json.encode(shown(seen))))
