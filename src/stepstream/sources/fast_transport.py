"""A client of httpx that speaks HTTP by aiohttp, whose parser is compiled: what `fast` asks for. On asyncio only.

It is httpx-aiohttp's, but for what the default transport promises as well: nothing is taken for unsent that may have
been read, what came before a break is given out, an exception quotes no URL, and no cookie is kept on the side.
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
"""Of what has come, so much is given out at once. aiohttp itself holds back the server at half a MiB."""

LARGE: Final = 2**20
"""Of a body of bytes longer than this aiohttp warns."""

KINDS: Final[tuple[tuple[type[Exception], type[httpx.TransportError]], ...]] = (
    (aiohttp.ConnectionTimeoutError, httpx.ConnectTimeout),
    (aiohttp.ServerTimeoutError, httpx.ReadTimeout),
    (aiohttp.ClientConnectorError, httpx.ConnectError),
    (aiohttp.ClientHttpProxyError, httpx.ProxyError),
    (aiohttp.InvalidURL, httpx.UnsupportedProtocol),
    (aiohttp.NonHttpUrlClientError, httpx.UnsupportedProtocol),
    (aiohttp.ClientOSError, httpx.ReadError),
)
"""What an exception of aiohttp is to httpx: the first that fits. Only the connector fails before a byte went out."""

SILENT_ON_URL: Final = (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError, aiohttp.ClientPayloadError)
"""Those whose text has no URL, which may have a key in its query. The others are not shown as a cause."""


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
        url, trace = _url(request.url), request.extensions.get("trace")
        if trace is not None:
            await trace("aiohttp.send_request_headers.started", {"request": request})  # as httpcore reports it
        content = await request.aread()
        timeout = request.extensions.get("timeout", {})
        try:
            response = await session.request(
                request.method,
                url,
                headers=request.headers,
                data=BytesIO(content) if len(content) > LARGE else content or None,
                skip_auto_headers=("content-type",),
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(
                    connect=timeout.get("pool"),
                    sock_connect=timeout.get("connect"),
                    sock_read=timeout.get("read"),
                    ceil_threshold=inf,
                ),
                server_hostname=request.extensions.get("sni_hostname"),
                **self._by_proxy(),
            )
        except httpx.TransportError:
            raise
        except Exception as exc:  # noqa: BLE001 - whatever it is, nothing of it but its kind is told
            raise _translated(exc) from None
        return httpx.Response(
            status_code=response.status,
            headers=response.raw_headers,
            stream=_Body(response),
            extensions={"http_version": b"HTTP/1.1", "reason_phrase": (response.reason or "").encode()},
        )

    def _session(self) -> aiohttp.ClientSession:
        if not isinstance(self.client, aiohttp.ClientSession):
            limits = self.limits
            connector = aiohttp.TCPConnector(
                limit=limits.max_connections or 0, keepalive_timeout=limits.keepalive_expiry, ssl=self.ssl_context
            )
            jar = aiohttp.DummyCookieJar()
            self.client = aiohttp.ClientSession(
                connector=connector, cookie_jar=jar, auto_decompress=False, middlewares=(_once,)
            )
        return self.client

    def _by_proxy(self) -> dict[str, Any]:
        if self.proxy is None:
            return {}
        auth = aiohttp.BasicAuth(*self.proxy.auth) if self.proxy.auth else None
        return {"proxy": str(self.proxy.url), "proxy_auth": auth, "proxy_headers": self.proxy.headers}


class _Body(httpx.AsyncByteStream):
    """The body of a response: all that has come at once, and then how it broke, if it did."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self._protocol = response.connection.protocol if response.connection is not None else None

    async def __aiter__(self) -> AsyncIterator[bytes]:
        content = self._response.content
        try:
            while chunk := await content.read(READ_SIZE):
                yield chunk
        except aiohttp.ClientError as exc:
            if rest := _left(content):
                yield rest
            raise _translated(exc) from exc
        if self._has_broken():
            raise httpx.ReadError("the connection broke")

    async def aclose(self) -> None:
        self._response.close()

    def _has_broken(self) -> bool:
        """Tell whether a body that ends with its connection ended by a reset: aiohttp takes that for its end."""
        is_framed = not {"content-length", "transfer-encoding"}.isdisjoint(map(str.lower, self._response.headers))
        return not is_framed and self._protocol is not None and isinstance(self._protocol.exception(), OSError)


async def _once(request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Send a request once: aiohttp sends another than a POST again where its connection breaks, unless it sees other
    exceptions than its own."""
    try:
        return await send(request)
    except SILENT_ON_URL as exc:
        raise _translated(exc) from exc


def _left(content: aiohttp.StreamReader) -> bytes:
    """Return what came before a body broke: aiohttp keeps it, but tells of the break first."""
    content.set_exception(None)  # type: ignore[arg-type]  # there is no other way past it
    return content.read_nowait()


def _url(url: httpx.URL) -> URL:
    """Return a URL as it is written, without its user, whom httpx has made a header of, and fragment."""
    return URL(str(url.copy_with(userinfo=b"", fragment=None)), encoded=True)


def _translated(exc: Exception) -> httpx.TransportError:
    """Return the exception of httpx that one of aiohttp is. It says no more than its kind."""
    kind = next((kind for known, kind in KINDS if isinstance(exc, known)), httpx.RemoteProtocolError)
    return kind(type(exc).__name__)
