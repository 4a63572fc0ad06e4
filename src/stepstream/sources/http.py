"""Streams over HTTP: one request, checked before its bytes are taken for events."""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, suppress
from typing import Any, Final

import anyio
import httpx
import httpx_sse

from stepstream.errors import APIError, IdleTimeout, TransportError
from stepstream.sources.refusal import place, refusal, request_id_of

CONNECT_TIMEOUT: Final = 10.0
FIRST_BYTE_TIMEOUT: Final = 60.0
IDLE_TIMEOUT: Final = 300.0
MAX_ERROR_BODY: Final = 64 * 2**10
ERROR_BODY_TIMEOUT: Final = 10.0
LEAVING_TIME: Final = 0.05

OK: Final = 200
EVENT_STREAM: Final = "text/event-stream"


class EventStream:
    """An open stream of events: iterate over it for its bytes. Its headers are those of the response."""

    def __init__(self, response: Any, url: str, idle_timeout: float) -> None:
        self.status_code: int = response.status_code
        self.headers: Mapping[str, str] = response.headers
        self._response = response
        self._place = place(url)
        self._idle_timeout = idle_timeout

    def __repr__(self) -> str:
        return f"<EventStream {self._place} {self.status_code}>"

    @property
    def request_id(self) -> str | None:
        """The id under which the server knows the request, or None."""
        return request_id_of(self.headers)

    async def __aiter__(self) -> AsyncGenerator[bytes]:
        chunks = self._response.aiter_raw()
        try:
            while True:
                with anyio.fail_after(self._idle_timeout):
                    chunk = await anext(chunks, None)
                if chunk is None:
                    return
                yield chunk
        except Exception as exc:
            raise translated(exc, self._place, self._idle_timeout) from exc
        finally:
            await _leave(chunks)


async def _leave(chunks: AsyncGenerator[bytes]) -> None:
    """Read on for a moment, and close.

    A response that was read to its end leaves its connection fit for the next request. One that has no end is
    cancelled while it is read: only then do the generators inside of httpx end in order, which trio insists on.
    """
    with anyio.move_on_after(LEAVING_TIME), suppress(Exception):
        async for _ in chunks:
            pass
    await chunks.aclose()


@asynccontextmanager
async def connect(
    url: str,
    *,
    method: str | None = None,
    json: Any = None,
    headers: Mapping[str, str] | None = None,
    client: Any = None,
    connect_timeout: float = CONNECT_TIMEOUT,
    first_byte_timeout: float = FIRST_BYTE_TIMEOUT,
    idle_timeout: float = IDLE_TIMEOUT,
) -> AsyncIterator[EventStream]:
    """Open `url` and give its stream of events. With `json` it is a POST of that, else a GET, unless `method` says.

    `client` is an `httpx.AsyncClient` or `httpx2.AsyncClient` to use; it stays open. Timeouts are in seconds:
    to connect, until the response begins, and between two chunks of it. Redirects are refused. Nothing is sent twice.

    Raises:
        APIError: the answer is not 200, no event stream, or encoded.
        IdleTimeout: nothing came within a timeout.
        TransportError: the connection failed.
        ValueError: the value of a header is not printable ASCII.
    """
    body = {} if json is None else {"json": json}
    options = {"timeout": (connect_timeout, None, None, connect_timeout), "follow_redirects": False}
    async with AsyncExitStack() as stack:
        if client is None:
            client = await stack.enter_async_context(httpx.AsyncClient())
        verb = method or ("GET" if json is None else "POST")
        opening = httpx_sse.aconnect_sse(client, verb, url, headers=_headers(headers), **options, **body)
        try:
            with anyio.fail_after(first_byte_timeout):
                response: Any = (await stack.enter_async_context(opening)).response
        except TimeoutError as exc:
            text = f"{place(url)} did not answer within {first_byte_timeout} s"
            raise IdleTimeout(text, first_byte_timeout) from exc
        except Exception as exc:
            raise translated(exc, place(url), connect_timeout) from exc
        await _check(response, url)
        yield EventStream(response, url, idle_timeout)


def _headers(given: Mapping[str, str] | None) -> dict[str, str]:
    """Return a copy of the caller's headers, to which httpx-sse adds its own.

    Raises:
        ValueError: a value cannot be sent, such as a key read together with its line end. It is not quoted.
    """
    ours = {"accept", "accept-encoding", "cache-control"}
    kept = {name: value for name, value in (given or {}).items() if name.lower() not in ours}
    for name, value in kept.items():
        if not (value.isascii() and value.isprintable()):
            raise ValueError(f"expected printable ASCII as the value of the header {name!r}")
    return {**kept, "Accept-Encoding": "identity"}


async def _check(response: Any, url: str) -> None:
    status, headers = response.status_code, response.headers
    if status != OK:
        raise refusal(url, status, response.reason_phrase, headers, await _beginning(response))
    essence = headers.get("content-type", "").partition(";")[0].strip().lower()
    encoding = headers.get("content-encoding", "identity").strip().lower()
    if essence != EVENT_STREAM:
        _refuse(url, response, f"expected {EVENT_STREAM}, got {essence[:80] or 'no content type'}")
    if encoding != "identity":
        _refuse(url, response, f"expected no content encoding, got {encoding[:80]}")


def _refuse(url: str, response: Any, text: str) -> None:
    request_id = request_id_of(response.headers)
    raise APIError(f"{place(url)}: {text}", status_code=response.status_code, request_id=request_id)


async def _beginning(response: Any) -> bytes:
    """Return the body of a refusal, as far as it comes soon and is short."""
    body = b""
    try:
        async with aclosing(response.aiter_bytes()) as chunks:
            with anyio.move_on_after(ERROR_BODY_TIMEOUT):
                async for chunk in chunks:
                    body += chunk
                    if len(body) >= MAX_ERROR_BODY:
                        break
    except Exception:  # noqa: BLE001 - the refusal is the news, whatever breaks while its text is read
        return body
    return body[:MAX_ERROR_BODY]


def translated(exc: Exception, where: str, seconds: float) -> TransportError:
    """Return the error for an exception of httpx or httpx2. Its own text may quote keys, and stays in the cause."""
    if isinstance(exc, TimeoutError) or any(base.__name__ == "TimeoutException" for base in type(exc).__mro__):
        return IdleTimeout(f"{where} was silent for {seconds} s", seconds)
    return TransportError(f"{where}: the connection failed ({type(exc).__name__})")
