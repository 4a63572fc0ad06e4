"""Streams over HTTP. A GET is resumed where its connection breaks; a POST, which may open a run, is sent once."""

import math
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager, nullcontext
from typing import Any, Final

import anyio
import httpx
from msgspec.structs import replace

from stepstream.sources.default_client import merging_client
from stepstream.sources.environment import has_proxies, proxied_client, ssl_context
from stepstream.sources.event_stream import EventStream
from stepstream.sources.http_errors import Unsendable, is_transient, is_unprocessed
from stepstream.sources.limits import Limits
from stepstream.sources.options import (
    ApiKey,
    check_attempts,
    check_client,
    check_json,
    check_url,
    validated_headers,
    verb_of,
)
from stepstream.sources.response import StreamRequest

CONNECT_TIMEOUT: Final = 10.0
FIRST_BYTE_TIMEOUT: Final = 60.0
IDLE_TIMEOUT: Final = 300.0
ATTEMPTS: Final = 3


class FastUnavailable(Unsendable, RuntimeError):
    """`fast` needs an extra that is not installed, or another event loop. No attempt after it would succeed."""


def connect(
    url: str,
    *,
    method: str | None = None,
    json: Any = None,
    headers: Mapping[str, str] | None = None,
    api_key: ApiKey | None = None,
    client: Any = None,
    fast: bool = False,
    attempts: int = ATTEMPTS,
    reconnect: bool = True,
    connect_timeout: float = CONNECT_TIMEOUT,
    first_byte_timeout: float = FIRST_BYTE_TIMEOUT,
    idle_timeout: float = IDLE_TIMEOUT,
    event_timeout: float | None = None,
    total_timeout: float | None = None,
) -> AbstractAsyncContextManager[EventStream]:
    """Open `url` and give its stream of events. With `json` it is a POST of that, otherwise a GET, or as `method` says.

    `api_key` is sent as a bearer token, unless `headers` have an authorization: a key, or a callable that returns a
    fresh token for each request, or an awaitable of one. Either wins over `user:password@` in the URL, and over the
    `auth` of a client, as `auth=` does in httpx. `client` is an `httpx.AsyncClient` or `httpx2.AsyncClient` to
    use; it stays open. With `fast`, aiohttp speaks HTTP instead of httpcore: with the same behaviour, on asyncio only,
    and cheaper per event. Timeouts are in seconds: to connect, until the response begins, between two chunks of it,
    from one event to the next, whatever comments come between, and for everything. An event that has begun has 300.

    The first connection is tried `attempts` times where none could be made, and after 408, 429, 500, 502, 503 and 504,
    with growing delays, or as long as `Retry-After` says, up to 120 seconds. Apart from that, only a GET is sent twice.
    With `reconnect`, a GET is resumed with `Last-Event-ID` where its stream breaks or ends before its runs have, until
    the server answers 204 or refuses. Redirects are followed for a GET, within its origin. A wrong option raises at
    once; only what `fast` needs is checked when the stream is opened.

    Raises:
        APIError: the response is not 200, no event stream, or encoded.
        IdleTimeout: nothing came within a timeout.
        TransportError: the connection failed, or `total_timeout` has passed.
        TypeError: `url` is no string, `json` has no JSON form, `client` is no async client, or `fast` is given beside
            it.
        ValueError: `json` has no JSON form, the method, a header or the key cannot be sent, or a number is too small.
        RuntimeError: `fast` without its extra, or on trio. It is a `TransportError` too.
    """
    check_url(url)
    check_attempts(attempts)
    check_client(client, fast=fast)
    check_json(json)  # raises here rather than when the request is sent
    verb = verb_of(method, json)
    limits = Limits(
        idle_timeout=idle_timeout,
        event_timeout=event_timeout,
        total_timeout=total_timeout,
        deadline=math.inf,
        is_resumed=reconnect and verb == "GET",
    )
    request = StreamRequest(
        method=verb,
        url=url,
        client=client,
        headers=validated_headers(headers or {}),
        api_key=api_key,
        json=json,
        connect_timeout=connect_timeout,
        first_byte_timeout=first_byte_timeout,
    )
    return _open_stream(request, limits, attempts, fast=fast)


@asynccontextmanager
async def _open_stream(
    request: StreamRequest, limits: Limits, attempts: int, *, fast: bool
) -> AsyncIterator[EventStream]:
    """Give the stream that a request opens, with a client of our own where it has none."""
    if limits.total_timeout is not None:
        limits = replace(limits, deadline=anyio.current_time() + limits.total_timeout)
    client = request.client
    async with (
        nullcontext(client) if client is not None else new_client(request.url, fast=fast) as used,
        aclosing(EventStream(replace(request, client=used), limits)) as stream,
    ):
        await stream.begin(attempts, is_transient if request.method == "GET" else is_unprocessed)
        yield stream


def new_client(url: str, *, fast: bool = False) -> httpx.AsyncClient:
    """Return a client for one origin. For one without TLS no certificates are loaded, which would take a while.

    Raises:
        FastUnavailable: `fast` without its extra, or on trio.
        Unsendable: a proxy or the certificates that the environment names cannot be used.
    """
    kind = _fast_client() if fast else httpx.AsyncClient
    context = ssl_context(verify=not url.lower().startswith("http://"))
    if has_proxies(url):
        return proxied_client(kind, context)
    return kind(verify=context, trust_env=False) if fast else merging_client(context)


def _fast_client() -> type[httpx.AsyncClient]:
    loop = anyio.get_cancelled_exc_class().__module__.partition(".")[0]
    if loop != "asyncio":
        raise FastUnavailable(f"expected asyncio for fast=True, got {loop}: leave fast out there")
    try:
        from stepstream.sources.fast_transport import FastClient
    except ImportError as exc:
        raise FastUnavailable("expected httpx-aiohttp for fast=True: pip install 'stepstream[fast]'") from exc
    return FastClient
