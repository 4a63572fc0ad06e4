"""Sending a stream to one client, as long as it takes it, and may have it."""

from collections.abc import AsyncGenerator
from typing import Final

import anyio

from stepstream.relay.access import Permission
from stepstream.relay.frames import Frames

WRITE_TIMEOUT: Final = 10.0
"""Seconds within which a client has to take what it is sent."""

MAX_WRITE: Final = 256 * 2**10
"""How many bytes are given to the server at a time, each within `WRITE_TIMEOUT`."""

RECHECK: Final = 60.0
"""Seconds after which it is asked again who may see what."""

RETRY: Final = 1.0
"""Seconds after which a browser comes back whose connection broke, or up to twice as many."""

RETRY_REFUSED: Final = 5.0
"""Likewise where there was no room for it."""


def retry_block(after: float, chance: float) -> bytes:
    """Return what makes a browser come back after so many seconds, or up to twice as many: `chance` is from 0 to 1."""
    return b"retry: %d\n\n" % round(1000 * after * (1 + chance))


async def permitted(frames: Frames, permission: Permission | None, first: bytes) -> AsyncGenerator[bytes]:
    """Yield `first`, then what a viewer is sent, as long as it may see that, in pieces for one write each.

    `frames` are entered, and have more.
    """
    if first:
        yield first
    due = anyio.current_time() + RECHECK
    while piece := await frames.next():
        if permission is not None and anyio.current_time() >= due:
            due = anyio.current_time() + RECHECK
            if not await permission.still():
                frames.interrupt("revoked", is_silent=True)
                continue
        if len(piece) <= MAX_WRITE:
            yield piece
            continue
        for start in range(0, len(piece), MAX_WRITE):
            yield piece[start : start + MAX_WRITE]
    frames.check_end()


async def only(piece: bytes) -> AsyncGenerator[bytes]:
    """Yield one piece."""
    yield piece
