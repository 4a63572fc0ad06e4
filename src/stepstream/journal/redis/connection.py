"""A connection of coredis over a stream that is connected already: only this module imports it when it is loaded."""

import ssl
from typing import Any

import anyio
from anyio.abc import ByteStream
from coredis.connection import TCPConnection, TCPLocation
from coredis.exceptions import ConnectionError as ConnectionBroke
from coredis.exceptions import NoScriptError, ReadOnlyError, RedisClusterError, RedisError

__all__ = ["USELESS", "Connection", "RedisError", "connected"]

USELESS = (ConnectionBroke, TimeoutError, OSError, NoScriptError, ReadOnlyError, RedisClusterError)
"""Answers that say that a connection, or its server, cannot serve anything now."""


class Connection(TCPConnection):
    """A connection that has its stream from the beginning. One that cannot be had leaves nothing behind."""

    def __init__(self, stream: ByteStream, host: str, port: int, **options: Any) -> None:
        super().__init__(TCPLocation(host, port), **options)
        self._connected = stream

    async def _connect(self) -> ByteStream:
        return self._connected


async def connected(host: str, port: int, tls: ssl.SSLContext | None, limit: float) -> ByteStream:
    """Return a stream to a server.

    Raises:
        OSError: there is none, within `limit` seconds.
    """
    with anyio.fail_after(limit):
        if tls is None:
            return await anyio.connect_tcp(host, port)
        return await anyio.connect_tcp(host, port, ssl_context=tls, tls_standard_compatible=False)
