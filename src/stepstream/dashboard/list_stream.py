"""The list of runs as an event stream: all of it, then what changes, four messages a second at most."""

from collections.abc import AsyncGenerator, Callable
from typing import Final

import anyio

from stepstream.dashboard.run_list import RunList
from stepstream.errors import JournalError
from stepstream.relay.batch import COMMENT
from stepstream.wire.sse import Frame, encode_frame

WHOLE: Final = "stepstream.runs"
"""The event that brings all runs. Those after it have no name, and bring what changed."""

HEARTBEAT: Final = 15.0
PAUSE: Final = 0.25
RECHECK: Final = 60.0
"""Seconds after which it is asked again who may stay."""

RETRY_MS: Final = 1_000


async def news_of_list(runs: RunList, may_stay: Callable[[], bool] = lambda: True) -> AsyncGenerator[bytes]:
    """Yield the list, then what changes, until it is closed. It ends where the journal cannot be read.

    `may_stay` is asked every minute, and ends it, too.
    """
    yield b"retry: %d\n\n" % RETRY_MS
    version: int | None = None
    due = anyio.current_time() + RECHECK
    try:
        await runs.look()
        while not runs.is_closed:
            changed = None if version is None else runs.since(version)
            name, data = ("message", changed) if changed is not None else (WHOLE, runs.whole())
            version = runs.version
            yield encode_frame(Frame(name, data))
            await anyio.sleep(PAUSE)
            while not runs.is_closed and runs.version == version:
                with anyio.move_on_after(HEARTBEAT):
                    await runs.newer(version)
                if runs.version == version:
                    yield COMMENT
            if anyio.current_time() >= due:
                due = anyio.current_time() + RECHECK
                if not may_stay():
                    return
    except JournalError:
        return  # whoever looks comes back
