"""API calls, each answered by one JSON object: sent, sent again where that is safe, decoded."""

from collections.abc import Mapping
from typing import Any, Final, TypeVar

import anyio
import msgspec

from stepstream.errors import APIError, IdleTimeout, ProtocolError, StepStreamError, words_of
from stepstream.live.refusals import refusal
from stepstream.sources.backoff import Backoff
from stepstream.sources.http_errors import (
    is_transient,
    is_unprocessed,
    shown_cause,
    translate_http_error,
    unexpected_response,
)
from stepstream.sources.options import validated_headers
from stepstream.sources.response_body import (
    IDENTITY,
    close_response,
    content_encoding,
    read_error_body,
)
from stepstream.sources.retry_log import log_retry
from stepstream.sources.sending import RequestSender
from stepstream.sources.url_redaction import redact_url
from stepstream.wire.error_body import foreign_fields

MAX_BODY_BYTES: Final = 32 * 2**20

T = TypeVar("T")


class ApiCall(msgspec.Struct, frozen=True, kw_only=True):
    """One call of the API: what is sent, with which client, for how long (in seconds), and in how many attempts."""

    client: Any
    method: str
    url: str
    headers: Mapping[str, str]
    json: Any = None
    connect_timeout: float
    timeout: float
    attempts: int

    def __repr__(self) -> str:
        return f"<ApiCall {self.method} {redact_url(self.url)}>"


async def send(call: ApiCall, type_: type[T]) -> T:
    """Send a call, and return the body of the response decoded as `type_`.

    A GET is sent again after any failure that may not last; another method only where the server cannot have begun to
    work on it, since it may open a run.

    Raises:
        APIError: the status is no success, or the body is encoded.
        IdleTimeout: the response was not complete within the timeout.
        TransportError: the connection failed.
        ProtocolError: the body is no JSON of that type, or longer than 32 MiB.
    """
    backoff = Backoff()
    is_retryable = is_transient if call.method == "GET" else is_unprocessed
    for attempt in range(1, call.attempts + 1):
        try:
            body = await _exchange(call)
            break
        except StepStreamError as failure:
            if attempt == call.attempts or not is_retryable(failure):
                raise
            retry_after = failure.retry_after if isinstance(failure, APIError) else None
            delay = backoff.failed(anyio.current_time(), retry_after=retry_after)
            log_retry(call.url, delay, failure)
            await anyio.sleep(delay)
    try:
        return msgspec.json.decode(body, type=type_)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        kind = type(exc).__name__
    # Raised out of the handler: the exception may quote the body, and would be shown as the context of this one.
    said = foreign_fields(bytes(body))["message"]
    text = f"expected an object or a list of them, in JSON, got neither ({kind}){f': {words_of(said)}' if said else ''}"
    raise ProtocolError(f"{redact_url(call.url)}: {text}")


async def _exchange(call: ApiCall) -> bytearray:
    """Send a call once, and return the body of the response."""
    where = redact_url(call.url)
    headers = {**validated_headers(call.headers), "Accept": "application/json", "Accept-Encoding": IDENTITY}
    body = {} if call.json is None else {"json": call.json}
    timeout = (call.connect_timeout, None, None, call.connect_timeout)  # connect, read, write, pool
    options = {"headers": headers, "timeout": timeout, "follow_redirects": False, **body}
    sender = RequestSender(call.client)
    try:
        with anyio.fail_after(call.timeout):  # over everything: a body that comes byte by byte must end too
            async with sender.stream(call.method, call.url, **options) as response:
                if 200 <= response.status_code < 300:
                    return await _read_object(response, where)
                data = await read_error_body(response)
    except TimeoutError as exc:
        raise IdleTimeout(f"{where} did not answer within {call.timeout:g} s", call.timeout) from exc
    except StepStreamError:
        raise
    except Exception as exc:  # noqa: BLE001 - what the client raised is translated, whatever it is
        raise translate_http_error(exc, where, call.connect_timeout, sender.proxy) from shown_cause(exc)
    status = response.status_code
    raise refusal(f"{where} answered {status}", status, response.reason_phrase, response.headers, data)


async def _read_object(response: Any, where: str) -> bytearray:
    encoding = content_encoding(response)
    if encoding != IDENTITY:
        raise unexpected_response(response, f"{where}: expected no content encoding, got {encoding[:80]}")
    data, chunks = bytearray(), response.aiter_bytes()
    async for chunk in chunks:
        data += chunk
        if len(data) > MAX_BODY_BYTES:
            break
    await close_response(response, chunks)
    if len(data) > MAX_BODY_BYTES:
        raise ProtocolError(f"{where}: expected an answer of at most {MAX_BODY_BYTES:,} bytes")
    return data
