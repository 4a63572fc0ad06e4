"""The runs that there are, for one who may see some of them: at one moment, or live."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, Final, TypeAlias

import anyio
import msgspec

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


async def news_of_runs(journal: Journal, may_see: MaySee) -> AsyncGenerator[bytes]:
    """Yield the runs there are, then each that begins, waits, ends or is interrupted, a message each."""
    async with journal.watch() as news:
        while True:
            info = None
            with anyio.move_on_after(HEARTBEAT):
                info = await anext(news)
            if info is None:
                yield COMMENT
            elif await may_see(info.id):
                yield encode_frame(Frame(data=msgspec.json.encode(shown(info))))
