"""One request, and the response to it: opened, checked, and its refusals and failures told apart."""

import re
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from time import time
from typing import Any, Final

import anyio
import httpx_sse
import msgspec

from stepstream.errors import APIError, IdleTimeout, StepStreamError, TransportError
from stepstream.sources.backoff import retry_after_of
from stepstream.sources.discretion import Discreet
from stepstream.sources.options import check_seconds
from stepstream.sources.refusal import place, refusal, request_id_of
from stepstream.sources.resumption import header_of

MAX_ERROR_BODY: Final = 64 * 2**10
ERROR_BODY_TIMEOUT: Final = 10.0
LEAVING_TIME: Final = 0.05
LEAVING_SIZE: Final = 256 * 2**10
MAX_REDIRECTS: Final = 5

OK: Final = 200
NO_CONTENT: Final = 204
EVENT_STREAM: Final = "text/event-stream"
REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
TRANSIENT: Final = frozenset({408, 429, 500, 502, 503, 504})
"""The statuses after which the same request may succeed."""

OURS: Final = frozenset({"accept", "accept-encoding", "cache-control", "last-event-id"})
"""The headers that the caller's do not replace."""

UNSENT: Final = frozenset({"ConnectError", "ConnectTimeout", "PoolTimeout"})
"""What httpx and httpx2 raise before a byte of the request went out."""


UNSENDABLE: Final = frozenset({"InvalidURL", "UnsupportedProtocol"})
"""What they raise for a URL that nothing can be sent to."""

_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


class Unsendable(TransportError):
    """Nothing can be sent to the URL, now or later."""


class Unsent(TransportError):
    """No connection was made: the request never reached the server."""


class UnsentTimeout(Unsent, IdleTimeout):
    """No connection was made in time."""


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked for, of whom, and for how long. Times are in seconds."""

    method: str
    url: str
    client: Any
    headers: Mapping[str, str]
    json: Any
    connect_timeout: float
    first_byte_timeout: float

    def __post_init__(self) -> None:
        check_seconds(connect_timeout=self.connect_timeout, first_byte_timeout=self.first_byte_timeout)

    def __repr__(self) -> str:
        return f"<Request {self.method} {place(self.url)}>"


def sendable(headers: Mapping[str, str]) -> dict[str, str]:
    """Return a copy of the caller's headers, without those that are ours to say.

    Raises:
        TypeError: a value is no string.
        ValueError: a name or a value cannot be sent, such as a key read together with its line end, or with a space
            at its end. It is not quoted.
    """
    kept = {name: value for name, value in headers.items() if name.lower() not in OURS}
    for name, value in kept.items():
        if not isinstance(value, str):
            raise TypeError(f"expected a string as the value of the header {name!r}, got {type(value).__name__}")
        if not _TOKEN.fullmatch(name):
            raise ValueError("expected letters, digits and hyphens as the name of a header")
        if not (value.isascii() and value.isprintable()) or value != value.strip():
            raise ValueError(f"expected printable ASCII as the value of the header {name!r}, no space around it")
    return kept


@asynccontextmanager
async def opened(request: Request, last_event_id: str = "") -> AsyncIterator[Any]:
    """Send a request and give the response to it: status 200, an event stream, not encoded; or status 204.

    Redirects of a GET are followed within its origin, at most 5 times.

    Raises:
        APIError: any other response, or a redirect that is not followed.
        IdleTimeout: no response within `first_byte_timeout`.
        Unsent: no connection was made.
        TransportError: the connection failed.
    """
    url = request.url
    for followed in range(MAX_REDIRECTS + 1):
        async with _sent(request, url, last_event_id) as response:
            if response.status_code not in REDIRECTS:
                if response.status_code != NO_CONTENT:
                    await _check(response, url)
                yield response
                return
            url = _target(request, url, response, followed)


@asynccontextmanager
async def _sent(request: Request, url: str, last_event_id: str) -> AsyncIterator[Any]:
    where = place(url)
    headers: dict[str, Any] = {**request.headers, "Accept-Encoding": "identity"}
    resumed_at = header_of(last_event_id)
    if resumed_at is not None:
        headers["Last-Event-ID"] = resumed_at
    body = {} if request.json is None else {"json": request.json}
    timeout = (request.connect_timeout, None, None, request.connect_timeout)
    options = {"headers": headers, "timeout": timeout, "follow_redirects": False, **body}
    client: Any = Discreet(request.client)
    opening = httpx_sse.aconnect_sse(client, request.method, url, **options)
    try:
        with anyio.fail_after(request.first_byte_timeout):
            response: Any = (await opening.__aenter__()).response
    except TimeoutError as exc:
        text = f"{where} did not answer within {request.first_byte_timeout:g} s"
        raise IdleTimeout(text, request.first_byte_timeout) from exc
    except (TypeError, ValueError):  # what cannot be sent as JSON
        raise
    except Exception as exc:
        raise translated(exc, where, request.connect_timeout) from exc
    try:
        yield response
    finally:
        with suppress(Exception):  # whatever breaks while a response is closed, there is nothing more to it
            await opening.__aexit__(None, None, None)


def _target(request: Request, url: str, response: Any, followed: int) -> str:
    """Return where a redirect leads.

    Raises:
        APIError: it is not to be followed: that of a POST, out of its origin, to nowhere, or one too many.
    """
    target = _joined(response)
    if request.method != "GET":
        expected = f"expected no redirect of a {request.method}"
    elif target is None:
        expected = "expected a redirect that says where"
    elif _origin(target) != _origin(response.url):
        expected = "expected a redirect within its origin"
    elif followed == MAX_REDIRECTS:
        expected = f"expected at most {MAX_REDIRECTS} redirects"
    else:
        return str(target)
    where = "nowhere" if target is None else place(str(target))
    raise _refused(response, f"{place(url)} answered {response.status_code}: {expected}, got one to {where}")


def _joined(response: Any) -> Any:
    """Return the URL that a redirect names, or None where it names none, by the client's own reading of it."""
    location = response.headers.get("location", "").strip()
    try:
        return response.url.join(location) if location else None
    except Exception:  # noqa: BLE001 - `InvalidURL` of httpx and of httpx2 have no base in common
        return None


def _origin(url: Any) -> tuple[str, str, int | None]:
    """Return what two URLs of one origin share."""
    return url.scheme, url.host, url.port or {"http": 80, "https": 443}.get(url.scheme)


async def _check(response: Any, url: str) -> None:
    status, headers = response.status_code, response.headers
    if status != OK:
        body = await _beginning(response)
        raise refusal(url, status, response.reason_phrase, headers, body, retry_after_of(headers, time()))
    essence = headers.get("content-type", "").partition(";")[0].strip().lower()
    encoding = headers.get("content-encoding", "identity").strip().lower()
    if essence != EVENT_STREAM:
        raise _refused(response, f"{place(url)}: expected {EVENT_STREAM}, got {essence[:80] or 'no content type'}")
    if encoding != "identity":
        raise _refused(response, f"{place(url)}: expected no content encoding, got {encoding[:80]}")


def _refused(response: Any, text: str) -> APIError:
    status, reason = response.status_code, response.reason_phrase
    request_id = request_id_of(response.headers)
    return APIError(text, status_code=status, reason_phrase=reason, request_id=request_id)


async def _beginning(response: Any) -> bytes:
    """Return the body of a refusal, as far as it comes soon and is short."""
    body = b""
    if response.headers.get("content-encoding", "identity").strip().lower() != "identity":
        return body  # it was asked for as it is, and may unpack to anything
    chunks = response.aiter_bytes()
    try:
        with anyio.move_on_after(ERROR_BODY_TIMEOUT):
            async for chunk in chunks:
                body += chunk
                if len(body) >= MAX_ERROR_BODY:
                    break
        await leave(response, chunks)
    except Exception:  # noqa: BLE001 - the refusal is the news, whatever breaks while its text is read
        return body
    return body[:MAX_ERROR_BODY]


async def leave(response: Any, chunks: AsyncGenerator[bytes]) -> None:
    """Read on for a moment, and close.

    A response that was read to its end leaves its connection fit for the next request. One that has no end is cancelled
    while it is read, and one with too much to come is closed and then read: only so do the generators inside of httpx
    end in order, which trio insists on.
    """
    with suppress(Exception):
        with anyio.move_on_after(LEAVING_TIME):
            await _read_on(chunks)
        await response.aclose()
        await _read_on(chunks)
    await chunks.aclose()


async def _read_on(chunks: AsyncGenerator[bytes]) -> None:
    left = LEAVING_SIZE
    async for chunk in chunks:
        left -= len(chunk)
        if left < 0:
            return


def may_pass(failure: StepStreamError) -> bool:
    """Tell whether the same GET may succeed after this failure."""
    if isinstance(failure, APIError):
        return failure.status_code in TRANSIENT
    return isinstance(failure, TransportError) and not isinstance(failure, Unsendable)


def is_unread(failure: StepStreamError) -> bool:
    """Tell whether the server has not begun to work on the request, so that it can be sent again whatever it does."""
    return isinstance(failure, Unsent) or (isinstance(failure, APIError) and failure.status_code in TRANSIENT)


def translated(exc: Exception, where: str, seconds: float) -> TransportError:
    """Return the error for an exception of httpx or httpx2. Its own text may quote keys, and stays in the cause."""
    names = {base.__name__ for base in type(exc).__mro__}
    is_late = isinstance(exc, TimeoutError) or "TimeoutException" in names
    if UNSENDABLE & {*names, type(exc.__context__).__name__}:  # httpx reads where a redirect leads even if it stays
        return Unsendable(f"{where}: expected an http or https URL ({type(exc).__name__})")
    if UNSENT & names and is_late:
        return UnsentTimeout(f"{where}: no connection was made within {seconds:g} s", seconds)
    if UNSENT & names:
        return Unsent(f"{where}: the connection failed ({type(exc).__name__})")
    if is_late:
        return IdleTimeout(f"{where} was silent for {seconds:g} s", seconds)
    return TransportError(f"{where}: the connection failed ({type(exc).__name__})")
