"""Sending a stream to one client, as long as it takes it, and may have it."""

from collections.abc import AsyncGenerator, Coroutine
from typing import Any, Final, Self

import anyio

from stepstream.relay.access import Permission
from stepstream.relay.frames import Frames

WRITE_TIMEOUT: Final = 10.0
"""Seconds within which a client has to take what it is sent."""

RECHECK: Final = 60.0
"""Seconds after which it is asked again who may see what."""

RETRY: Final = 1.0
"""Seconds after which a browser comes back whose connection broke, or up to twice as many."""

RETRY_REFUSED: Final = 5.0
"""Likewise where there was no room for it."""


def retry_block(after: float, chance: float) -> bytes:
    """Return what makes a browser come back after so many seconds, or up to twice as many: `chance` is from 0 to 1."""
    return b"retry: %d\n\n" % round(1000 * after * (1 + chance))


class Permitted:
    """What a viewer is sent, as long as it may see that: `first`, then what `frames` give, which are entered."""

    __slots__ = ("_due", "_first", "_frames", "_permission")

    def __init__(self, frames: Frames, permission: Permission | None, first: bytes = b"") -> None:
        self._frames = frames
        self._permission = permission
        self._first = first
        self._due = anyio.current_time() + RECHECK

    def __aiter__(self) -> Self:
        return self

    def __anext__(self) -> Coroutine[Any, Any, bytes]:
        is_bare = self._permission is None and not self._first
        return self._frames.__anext__() if is_bare else self._checked()

    async def _checked(self) -> bytes:
        first, self._first = self._first, b""
        while not first:
            piece = await anext(self._frames)
            if self._permission is None or anyio.current_time() < self._due:
                return piece
            self._due = anyio.current_time() + RECHECK
            if await self._permission.still():
                return piece
            self._frames.interrupt("revoked", is_silent=True)
        return first


async def only(piece: bytes) -> AsyncGenerator[bytes]:
    """Yield one piece."""
    yield piece
