"""A connection of coredis over a stream that is connected already: only this module imports it when it is loaded."""

import ssl
from typing import Any

import anyio
from anyio.abc import ByteStream
from coredis.connection import TCPConnection, TCPLocation
from coredis.exceptions import (
    AuthenticationFailureError,
    AuthenticationRequiredError,
    NoScriptError,
    ReadOnlyError,
    RedisClusterError,
    RedisError,
)
from coredis.exceptions import ConnectionError as ConnectionBroke

__all__ = ["USELESS", "Connection", "RedisError", "connected", "refusal_of"]

USELESS = (ConnectionBroke, TimeoutError, OSError, NoScriptError, ReadOnlyError, RedisClusterError)
"""Answers that say that a connection, or its server, cannot serve anything now."""

_REFUSALS: tuple[tuple[type[RedisError], str], ...] = (
    (AuthenticationRequiredError, "asks for a password, and there is none: see STEPSTREAM_JOURNAL_PASSWORD"),
    (AuthenticationFailureError, "does not accept this user name and password"),
    (ConnectionBroke, "was reached, and does not answer"),
    (RedisError, "refuses the connection"),
)


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


def refusal_of(exc: RedisError) -> str:
    """Return what a server did that took a connection and did not serve it, for people. Its own words are not told."""
    return next(text for kind, text in _REFUSALS if isinstance(exc, kind))
