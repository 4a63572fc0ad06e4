"""The client that `connect` uses where it is given none: that of httpx, over connections that merge HTTP chunks.

The bytes have to be merged between the socket and h11. httpcore has a place for that, the network backend, and httpx
passes none on. So it is put under the pool of the transport that httpx made. The pool is a private attribute: where a
version of httpx or httpcore has none of that name, the client works as any other, only slower.

    httpx.AsyncClient → AsyncHTTPTransport → httpcore pool → h11 → _Stream (merges) → stream of anyio or trio

A connection is used for one request after another: with each write, a request begins, so that the next bytes are the
head of a response. After `start_tls` the stream carries other bytes, and gets a merger of its own.
"""

import ssl
from typing import Any

import httpcore
import httpx

from stepstream.sources.merging import Merger


class DefaultClient(httpx.AsyncClient):
    """An `httpx.AsyncClient` whose connections, through a proxy or not, merge HTTP chunks."""

    def _init_transport(self, *_: Any, **options: Any) -> httpx.AsyncBaseTransport:
        return _merging(super()._init_transport(**options))

    def _init_proxy_transport(self, proxy: httpx.Proxy, *_: Any, **options: Any) -> httpx.AsyncBaseTransport:
        return _merging(super()._init_proxy_transport(proxy, **options))


def _merging(transport: httpx.AsyncBaseTransport) -> httpx.AsyncBaseTransport:
    """Return a transport of httpx with merging streams put under its pool."""
    pool: Any = getattr(transport, "_pool", None)
    if hasattr(pool, "_network_backend"):
        pool._network_backend = _Backend(pool._network_backend)
    return transport


class _Backend(httpcore.AsyncNetworkBackend):
    """Makes connections as another backend does, with merging streams over them."""

    def __init__(self, backend: httpcore.AsyncNetworkBackend) -> None:
        self._backend = backend

    async def connect_tcp(self, *where: Any, **options: Any) -> httpcore.AsyncNetworkStream:
        return _Stream(await self._backend.connect_tcp(*where, **options))

    async def connect_unix_socket(self, *where: Any, **options: Any) -> httpcore.AsyncNetworkStream:
        return _Stream(await self._backend.connect_unix_socket(*where, **options))

    async def sleep(self, seconds: float) -> None:
        await self._backend.sleep(seconds)


class _Stream(httpcore.AsyncNetworkStream):
    """The stream of a connection, the HTTP chunks of each read merged."""

    def __init__(self, stream: httpcore.AsyncNetworkStream) -> None:
        self._stream = stream
        self._merger = Merger()

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109 - httpcore's
        while data := await self._stream.read(max_bytes, timeout):
            # Nothing to parse yet: read on, since httpcore takes empty bytes for the end of the connection.
            if merged := self._merger.feed(data):
                return merged
        return b""

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109 - httpcore's
        self._merger.expect()
        await self._stream.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> httpcore.AsyncNetworkStream:
        return _Stream(await self._stream.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
