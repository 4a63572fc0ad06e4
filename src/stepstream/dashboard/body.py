"""The body of a request, as it comes: bounded in its size, and in its pauses."""

from collections.abc import AsyncGenerator
from typing import Any, Final

import anyio

from stepstream.asgi.http import Receive
from stepstream.errors import IdleTimeout, ProtocolError, StreamStopped, StreamTruncated
from stepstream.live.marks import ContinuedRun

IDLE_TIMEOUT: Final = 300.0
"""Seconds for which a body may bring nothing."""

MAX_BODY: Final = 2**29
"""How many bytes a body may have: what is known of its runs is in memory while it is read."""

MAX_IGNORED: Final = 2**20
"""How many bytes of a body are read and thrown away after its end, or where it is refused."""

IGNORE_FOR: Final = 2.0
"""For how many seconds."""


class ClientLeft(StreamTruncated):
    """The client closed its connection before the end of its body."""


class BodyTooLarge(ProtocolError):
    """A body has more bytes than one may have."""


class Body:
    """The bytes of a request, as they come: `most` of them, with pauses of at most `idle_timeout` seconds."""

    def __init__(self, receive: Receive, idle_timeout: float, most: int) -> None:
        self.size = 0
        self.is_whole = False
        """Whether all of it has come."""
        self._receive = receive
        self._idle_timeout = idle_timeout
        self._most = most
        self._waiting: anyio.CancelScope | None = None
        self._is_stopped = False

    async def items(self, continued: str = "") -> AsyncGenerator[bytes | ContinuedRun]:
        """Yield the bytes of the body, and before them what says which run they go on with.

        Raises:
            ClientLeft: the client left before its end.
            BodyTooLarge: it is too large.
            IdleTimeout: nothing came for too long.
            StreamStopped: `stop` was called.
        """
        if continued:
            yield ContinuedRun(continued)
        while not self.is_whole:
            message = await self._next()
            if message["type"] == "http.disconnect":
                raise ClientLeft(f"the client left after {self.size:,} bytes")
            self.is_whole = not message.get("more_body", False)
            chunk = message.get("body", b"")
            self.size += len(chunk)
            if self.size > self._most:
                raise BodyTooLarge(f"expected a body of at most {self._most:,} bytes, got a larger one")
            if chunk:
                yield chunk

    def stop(self) -> None:
        """Read nothing more."""
        self._is_stopped = True
        if self._waiting is not None:
            self._waiting.cancel()

    async def ignore_rest(self) -> int:
        """Read on for a while, and return how many bytes came: a client that sends sees no answer."""
        before = self.size
        with anyio.move_on_after(IGNORE_FOR):
            while not (self.is_whole or self._is_stopped) and self.size - before < MAX_IGNORED:
                message = await self._receive()
                self.is_whole = message["type"] == "http.disconnect" or not message.get("more_body", False)
                self.size += len(message.get("body", b""))
        return self.size - before

    async def _next(self) -> Any:
        message = None
        if not self._is_stopped:
            with anyio.move_on_after(self._idle_timeout) as self._waiting:
                message = await self._receive()
            self._waiting = None
        if message is not None:
            return message
        if self._is_stopped:
            raise StreamStopped("the server is shutting down")
        self._is_stopped = True
        raise IdleTimeout(f"nothing came for {self._idle_timeout:g} seconds", self._idle_timeout)
