"""The runs that there are, for one who may see some of them: at one moment, or live."""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any, Final, TypeAlias

import anyio
import msgspec

from stepstream.errors import JournalError
from stepstream.journal.reading import Journal
from stepstream.journal.run_info import RunInfo
from stepstream.relay.batch import COMMENT
from stepstream.relay.channel import HEARTBEAT
from stepstream.wire.sse import Frame, encode_frame

MaySee: TypeAlias = Callable[[str], Awaitable[bool]]

_SHOWN: Final = ("id", "status", "position", "opened", "ended")


def shown(info: RunInfo) -> dict[str, Any]:
    """Return what is told of a run."""
    return {name: getattr(info, name) for name in _SHOWN}


async def listed(journal: Journal, may_see: MaySee) -> list[dict[str, Any]]:
    """Return the runs there are, in the order in which they began."""
    infos = [info async for info in journal.runs()]
    return [shown(info) for info in infos if await may_see(info.id)]


class RunNews:
    """The runs there are, then each that begins, waits, ends or is interrupted, a message each: iterate over it, once.

    It ends where the journal cannot be read, too: a browser comes back by itself.
    """

    def __init__(self, journal: Journal, may_see: MaySee, first: bytes) -> None:
        self._journal = journal
        self._may_see = may_see
        self._first = first
        self._is_over = False
        self._waiting: anyio.CancelScope | None = None

    def interrupt(self, reason: str) -> None:
        """End it. It has no words for the reason."""
        self._is_over = True
        if self._waiting is not None:
            self._waiting.cancel()

    async def pieces(self) -> AsyncGenerator[bytes]:
        """Yield what is sent."""
        yield self._first
        with suppress(JournalError):
            async with self._journal.watch() as news:
                while not self._is_over:
                    piece = await self._next(news)
                    if piece:
                        yield piece

    async def _next(self, news: AsyncIterator[RunInfo]) -> bytes:
        info = None
        with anyio.move_on_after(HEARTBEAT) as self._waiting:
            info = await anext(news)
        self._waiting = None
        if info is None:
            return b"" if self._is_over else COMMENT
        is_seen = await self._may_see(info.id)
        return encode_frame(Frame(data=msgspec.json.encode(shown(info)))) if is_seen else b""
