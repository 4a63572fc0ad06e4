"""A client of httpx over aiohttp, whose HTTP parser is compiled: what `fast=True` uses. On asyncio only.

It is that of httpx-aiohttp, changed where it would break a promise of the default transport:

* A request is sent once. aiohttp sends any but a POST again where its connection breaks, unless it gets another
  exception than its own; `_send_once` raises one of httpx. Retries are decided above, and bounded there.
* Nothing counts as unsent that the server may have read. A POST whose connection failed before a byte went out is sent
  again, so that the exceptions of aiohttp have to be told apart: only its connector raises before that (`ERRORS`).
* What came before a break is given out. aiohttp raises the break first and keeps the bytes; `_Body` takes them.
* A reset of a body that ends with its connection is an error. aiohttp takes it for the end.
* No exception quotes a URL, whose query may hold a key: most of aiohttp's do, and are not even kept as causes. That of
  the socket or of TLS is.
* No cookies are kept beside those of the httpx client.

    POST, reset before the response    aiohttp.ServerDisconnectedError → RemoteProtocolError: not sent again
    POST, no connection                aiohttp.ClientConnectorError    → ConnectError:        sent again

What would break it: a new exception of aiohttp that is raised before anything was sent only costs a retry; one under
`ClientConnectorError` that is raised later would have a POST sent twice.
"""

from collections.abc import AsyncIterator
from io import BytesIO
from math import inf
from typing import Any, Final

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport, HttpxAiohttpClient
from yarl import URL

READ_SIZE: Final = 64 * 2**10
"""Bytes of a body that are given out at once, at most. aiohttp stops reading from the server at half a MiB."""

LARGE_BODY: Final = 2**20
"""aiohttp warns of a request's body that is longer than this and given as bytes; a file is read in parts."""

ERRORS: Final[tuple[tuple[type[Exception], type[httpx.TransportError]], ...]] = (
    (aiohttp.ConnectionTimeoutError, httpx.ConnectTimeout),
    (aiohttp.ServerTimeoutError, httpx.ReadTimeout),
    (aiohttp.ClientConnectorError, httpx.ConnectError),
    (aiohttp.ClientHttpProxyError, httpx.ProxyError),
    (aiohttp.InvalidURL, httpx.UnsupportedProtocol),
    (aiohttp.NonHttpUrlClientError, httpx.UnsupportedProtocol),
    (aiohttp.ClientOSError, httpx.ReadError),
)
"""The exception of httpx for one of aiohttp: the first that fits. Only the connector fails before a byte went out."""

WITHOUT_URL: Final = (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError, aiohttp.ClientPayloadError)
"""The exceptions whose text has no URL. Only these are kept as a cause."""


class FastClient(HttpxAiohttpClient):
    """A client over `FastTransport`, with the proxies of the environment as every client of httpx has them."""

    def _init_transport(self, *_: Any, **options: Any) -> httpx.AsyncBaseTransport:
        del options["transport"]
        return FastTransport(**options)

    def _init_proxy_transport(self, proxy: httpx.Proxy, *_: Any, **options: Any) -> httpx.AsyncBaseTransport:
        return FastTransport(proxy=proxy, **options)


class FastTransport(AiohttpTransport):
    """Sends requests over a session of aiohttp, which is opened with the first one."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request and give the response to it, its body unread."""
        session = self._session()
        await self._trace_proxy(request)
        url, content = _url(request.url), await request.aread()
        timeout = request.extensions.get("timeout", {})
        try:
            response = await session.request(
                request.method,
                url,
                headers=request.headers,
                data=BytesIO(content) if len(content) > LARGE_BODY else content or None,
                skip_auto_headers=("content-type",),
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(
                    connect=timeout.get("pool"),
                    sock_connect=timeout.get("connect"),
                    sock_read=timeout.get("read"),
                    ceil_threshold=inf,  # aiohttp rounds longer timeouts up to whole seconds otherwise
                ),
                server_hostname=request.extensions.get("sni_hostname"),
                **self._proxy_options(),
            )
        except httpx.TransportError:
            raise
        except Exception as exc:  # noqa: BLE001 - whatever it is, its text may quote the URL: only its name is kept
            raise _translate_aiohttp_error(exc) from _system_error(exc)
        return httpx.Response(
            status_code=response.status,
            headers=response.raw_headers,
            stream=_Body(response),
            extensions={"http_version": b"HTTP/1.1", "reason_phrase": (response.reason or "").encode()},
        )

    async def _trace_proxy(self, request: httpx.Request) -> None:
        """Report that a proxy is asked, as httpcore does."""
        trace = request.extensions.get("trace")
        if self.proxy is not None and trace is not None:
            url = self.proxy.url
            await trace("proxy.connect_tcp.started", {"host": url.host, "port": url.port or 80})

    def _session(self) -> aiohttp.ClientSession:
        if not isinstance(self.client, aiohttp.ClientSession):
            limits = self.limits
            connector = aiohttp.TCPConnector(
                limit=limits.max_connections or 0, keepalive_timeout=limits.keepalive_expiry, ssl=self.ssl_context
            )
            jar = aiohttp.DummyCookieJar()
            self.client = aiohttp.ClientSession(
                connector=connector, cookie_jar=jar, auto_decompress=False, middlewares=(_send_once,)
            )
        return self.client

    def _proxy_options(self) -> dict[str, Any]:
        if self.proxy is None:
            return {}
        auth = aiohttp.BasicAuth(*self.proxy.auth) if self.proxy.auth else None
        return {"proxy": str(self.proxy.url), "proxy_auth": auth, "proxy_headers": self.proxy.headers}


class _Body(httpx.AsyncByteStream):
    """The body of a response: all bytes that came, and then the exception, if it broke."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self._protocol = response.connection.protocol if response.connection is not None else None

    async def __aiter__(self) -> AsyncIterator[bytes]:
        content = self._response.content
        try:
            while chunk := await content.read(READ_SIZE):
                yield chunk
        except aiohttp.ClientError as exc:
            if rest := _remaining(content):
                yield rest
            raise _translate_aiohttp_error(exc) from exc
        if self._has_broken():
            raise httpx.ReadError("the connection broke")

    async def aclose(self) -> None:
        self._response.close()

    def _has_broken(self) -> bool:
        """Return whether a body that ends with its connection ended by a reset, which aiohttp takes for its end."""
        is_framed = not {"content-length", "transfer-encoding"}.isdisjoint(map(str.lower, self._response.headers))
        return not is_framed and self._protocol is not None and isinstance(self._protocol.exception(), OSError)


async def _send_once(request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Send a request once: raise an exception of httpx where aiohttp, seeing one of its own, would send it again."""
    try:
        return await send(request)
    except WITHOUT_URL as exc:
        raise _translate_aiohttp_error(exc) from exc


def _remaining(content: aiohttp.StreamReader) -> bytes:
    """Return the bytes that came before a body broke: aiohttp keeps them, but raises first."""
    content.set_exception(None)  # type: ignore[arg-type]  # there is no other way past it
    return content.read_nowait()


def _url(url: httpx.URL) -> URL:
    """Return a URL as it is written, without its fragment and its user, of which httpx has made a header.

    Raises:
        OverflowError: there is no such port, which the default transport says so too.
    """
    if url.port is not None and not 0 <= url.port < 2**16:
        raise OverflowError("expected a port from 0 to 65535")
    return URL(str(url.copy_with(userinfo=b"", fragment=None)), encoded=True)


def _system_error(exc: Exception) -> Exception | None:
    """Return the exception of the socket or of TLS in one of aiohttp, if there is one: it quotes no URL."""
    found = getattr(exc, "certificate_error", None) or getattr(exc, "os_error", None)
    return found if isinstance(found, OSError) and not isinstance(found, aiohttp.ClientError) else None


def _translate_aiohttp_error(exc: Exception) -> httpx.TransportError:
    """Return the exception of httpx for one of aiohttp. Its text is the name of that class, and no more."""
    kind = next((kind for known, kind in ERRORS if isinstance(exc, known)), httpx.RemoteProtocolError)
    return kind(type(exc).__name__)
