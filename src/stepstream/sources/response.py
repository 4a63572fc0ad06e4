"""One request, and the response to it: sent, redirected where that is safe, and checked to be an event stream.

What is promised of a response that `open_response` gives: its status is 200, it is an event stream, and its bytes are
those of the events (no content encoding); or its status is 204, which tells a client not to reconnect (HTML, section
9.2). Everything else is an `APIError` or a `TransportError` before a byte of a stream is read. Three rules keep it:

* Redirects are followed here, never by the client, which would repeat a POST after 307 and 308 and send all headers but
  `Authorization` to another origin. Here only a GET is redirected, since a POST may open a run, and only within its
  origin, since the headers hold the caller's key. A reconnection asks the first URL again.
* The client's own timeout bounds the connection only. The time to the response is bounded by a scope around the whole
  exchange, which a server that sends its head byte by byte cannot extend as it could a timeout per read. Silence later
  on is for the reader of the stream to measure.
* `Accept-Encoding: identity` is sent and held to: a few bytes of another encoding may unpack to any number.

    GET /runs → 307, Location: /v2/runs        same origin: followed
    GET /runs → 307, Location: //other/runs    another origin: APIError, nothing is sent there
    POST /runs → 307                           APIError: the run is not opened a second time
"""

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

import anyio
import httpx_sse
import msgspec

from stepstream.errors import IdleTimeout, words_of
from stepstream.live.refusals import refusal
from stepstream.sources.http_errors import shown_cause, translate_http_error, unexpected_response
from stepstream.sources.options import ApiKey, bearer, check_seconds, fresh_key
from stepstream.sources.response_body import IDENTITY, content_encoding, read_error_body
from stepstream.sources.sending import RequestSender
from stepstream.sources.url_redaction import redact_url

MAX_REDIRECTS: Final = 5

OK: Final = 200
NO_CONTENT: Final = 204
EVENT_STREAM: Final = "text/event-stream"
REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})

_UNSENDABLE: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


class StreamRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A request for a stream: what is sent, with which client, and how long each part may take, in seconds."""

    method: str
    url: str
    client: Any
    headers: Mapping[str, str]
    api_key: ApiKey | None = None
    """Sent as a bearer token, unless `headers` have an authorization."""
    json: Any
    connect_timeout: float
    first_byte_timeout: float

    def __post_init__(self) -> None:
        check_seconds(connect_timeout=self.connect_timeout, first_byte_timeout=self.first_byte_timeout)
        if not callable(self.api_key):
            bearer(self.api_key)

    async def authorized_headers(self) -> dict[str, str]:
        """Return the headers, with a fresh key where they have none."""
        if any(name.lower() == "authorization" for name in self.headers):
            return dict(self.headers)
        return {**self.headers, **bearer(await fresh_key(self.api_key))}

    def __repr__(self) -> str:
        return f"<StreamRequest {self.method} {redact_url(self.url)}>"


@asynccontextmanager
async def open_response(request: StreamRequest, last_event_id: str = "") -> AsyncIterator[Any]:
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
        async with _send(request, url, last_event_id) as response:
            if response.status_code not in REDIRECTS:
                if response.status_code != NO_CONTENT:
                    await _check(response, url, request)
                yield response
                return
            url = _redirect_target(request, url, response, followed)


@asynccontextmanager
async def _send(request: StreamRequest, url: str, last_event_id: str) -> AsyncIterator[Any]:
    where = redact_url(url)
    headers: dict[str, Any] = {**await request.authorized_headers(), "Accept-Encoding": IDENTITY}
    resumed_at = last_event_id_header(last_event_id)
    if resumed_at is not None:
        headers["Last-Event-ID"] = resumed_at
    body = {} if request.json is None else {"json": request.json}
    timeout = (request.connect_timeout, None, None, request.connect_timeout)  # connect, read, write, pool
    options = {"headers": headers, "timeout": timeout, "follow_redirects": False, **body}
    sender: Any = RequestSender(request.client)
    # `Accept` and `Cache-Control` are set by httpx-sse. Its decoder is not used: the reader of the stream decodes.
    exchange = httpx_sse.aconnect_sse(sender, request.method, url, **options)
    try:
        with anyio.fail_after(request.first_byte_timeout):
            response: Any = (await exchange.__aenter__()).response
    except TimeoutError as exc:
        text = f"{where} did not answer within {request.first_byte_timeout:g} s"
        raise IdleTimeout(text, request.first_byte_timeout) from exc
    except Exception as exc:  # noqa: BLE001 - what the client raised is translated, whatever it is
        raise translate_http_error(exc, where, request.connect_timeout, sender.proxy) from shown_cause(exc)
    try:
        yield response
    finally:
        with suppress(Exception):  # what fails while a response is closed changes nothing of what was read of it
            await exchange.__aexit__(None, None, None)


def _redirect_target(request: StreamRequest, url: str, response: Any, followed: int) -> str:
    """Return the URL that a redirect leads to.

    Raises:
        APIError: it is not to be followed: that of a POST, out of its origin, to nowhere, or one too many.
    """
    target = _location(response)
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
    where = "nowhere" if target is None else redact_url(str(target))
    text = f"{redact_url(url)} answered {response.status_code}: {expected}, got one to {where}"
    raise unexpected_response(response, text)


def _location(response: Any) -> Any:
    """Return the URL that a redirect names, or None where it names none that the client can parse."""
    location = response.headers.get("location", "").strip()
    try:
        return response.url.join(location) if location else None
    except Exception:  # noqa: BLE001 - `InvalidURL` of httpx and of httpx2 have no base in common
        return None


def _origin(url: Any) -> tuple[str, str, int | None]:
    """Return what two URLs of one origin have in common: scheme, host and port, be the port written or not."""
    return url.scheme, url.host, url.port or {"http": 80, "https": 443}.get(url.scheme)


async def _check(response: Any, url: str, request: StreamRequest) -> None:
    """Check that a response is an open event stream.

    Raises:
        APIError: it is not.
    """
    status, headers = response.status_code, response.headers
    if status != OK:
        body, what = await read_error_body(response), f"{redact_url(url)} answered {status}"
        if 200 <= status < 300:  # no refusal: the body may be a stream, which is not quoted
            raise unexpected_response(response, f"{what}: expected 200", body)
        raise refusal(what, status, response.reason_phrase, headers, body)
    essence = headers.get("content-type", "").partition(";")[0].strip().lower()
    if essence != EVENT_STREAM:
        text = f"{redact_url(url)}: expected {EVENT_STREAM}, got {words_of(essence, 80) or 'no content type'}"
        if _is_json(essence) and isinstance(request.json, dict) and request.json.get("stream") is not True:
            text += ' (the request does not say "stream": true)'
        has_words = _is_json(essence) or essence in ("text/html", "text/plain")
        body = await read_error_body(response) if has_words else b""
        raise unexpected_response(response, text, body)
    encoding = content_encoding(response)
    if encoding != IDENTITY:
        raise unexpected_response(response, f"{redact_url(url)}: expected no content encoding, got {encoding[:80]}")


def _is_json(essence: str) -> bool:
    return essence == "application/json" or essence.endswith("+json")


def last_event_id_header(last_event_id: str) -> bytes | None:
    """Return the id as the value of a header, in UTF-8 and without spaces around it (RFC 9110, section 5.5).

    None where it is empty or has control characters: it cannot be sent then.
    """
    value = last_event_id.strip(" \t")
    return value.encode() if value and not _UNSENDABLE.search(value) else None
