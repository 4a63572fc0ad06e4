"""The client that `connect` uses where it is given none: that of httpx, over connections that merge HTTP chunks.

The bytes have to be merged between the socket and h11. httpcore has a place for that, the network backend, but httpx
passes none on to it. So `MergingTransport` does over a pool of httpcore what the transport of httpx does over its own:

    httpx.AsyncClient → MergingTransport → httpcore pool → h11 → _Stream (merges) → stream of anyio

Only public names of both are used. What that costs: a client with a transport of its own asks no proxy of the
environment. Where the environment names one, the client is that of httpx alone, which knows the hosts that are
excepted, and chunks are not merged (`environment`).

A connection is used for one request after another. Whatever is written belongs to a request, so that the next bytes
are the head of a response. After `start_tls` the stream carries other bytes, and gets a merger of its own.
"""

import ssl
from collections.abc import AsyncIterator
from typing import Any

import httpcore
import httpx

from stepstream.sources.merging import Merger


def merging_client(context: ssl.SSLContext) -> httpx.AsyncClient:
    """Return a client of httpx that merges HTTP chunks, and asks no proxy."""
    return httpx.AsyncClient(transport=MergingTransport(context))


class MergingTransport(httpx.AsyncBaseTransport):
    """Sends requests over connections that merge HTTP chunks. Exceptions are those of httpcore, named as in httpx."""

    def __init__(self, ssl_context: ssl.SSLContext) -> None:
        # As many connections, kept for as long, as in a client of httpx.
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=ssl_context,
            max_connections=100,
            max_keepalive_connections=20,
            keepalive_expiry=5.0,
            network_backend=_Backend(),
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request and give the response to it, its body unread."""
        url = request.url
        target = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
        response = await self._pool.handle_async_request(
            httpcore.Request(
                method=request.method,
                url=target,
                headers=request.headers.raw,
                content=request.stream,
                extensions=request.extensions,
            )
        )
        return httpx.Response(
            status_code=response.status,
            headers=response.headers,
            stream=_Body(response),
            extensions=response.extensions,
        )

    async def aclose(self) -> None:
        """Close all connections."""
        await self._pool.aclose()


class _Body(httpx.AsyncByteStream):
    """The body of a response."""

    def __init__(self, response: httpcore.Response) -> None:
        self._response = response

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._response.aiter_stream()

    async def aclose(self) -> None:
        await self._response.aclose()


class _Backend(httpcore.AnyIOBackend):
    """Makes connections over anyio, with merging streams over them."""

    async def connect_tcp(self, *where: Any, **options: Any) -> httpcore.AsyncNetworkStream:
        return _Stream(await super().connect_tcp(*where, **options))


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
