"""Calls that are answered by a JSON object: sent, tried again where that is harmless, decoded."""

import math
from collections.abc import Mapping
from time import time
from typing import Any, Final, TypeVar

import anyio
import msgspec

from stepstream.errors import APIError, IdleTimeout, ProtocolError, StepStreamError
from stepstream.sources.backoff import Backoff, retry_after_of
from stepstream.sources.discretion import Discreet
from stepstream.sources.opening import (
    ERROR_BODY_TIMEOUT,
    MAX_ERROR_BODY,
    is_unread,
    leave,
    may_pass,
    sendable,
    translated,
)
from stepstream.sources.refusal import place, refusal, request_id_of

MAX_BODY_BYTES: Final = 32 * 2**20

T = TypeVar("T")


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One call: what is asked for, of whom, for how long (in seconds), and how often it may be tried."""

    client: Any
    method: str
    url: str
    headers: Mapping[str, str]
    json: Any = None
    connect_timeout: float
    timeout: float
    attempts: int

    def __repr__(self) -> str:
        return f"<Call {self.method} {place(self.url)}>"


async def answer(call: Call, type_: type[T]) -> T:
    """Return the answer to a call, decoded as `type_`.

    Raises:
        APIError: it is refused, or its answer is encoded.
        IdleTimeout: no whole answer came within the time.
        TransportError: the connection failed.
        ProtocolError: the answer is no JSON of that type, or longer than 32 MiB.
    """
    backoff = Backoff()
    is_worth_another = may_pass if call.method == "GET" else is_unread
    for attempt in range(1, call.attempts + 1):
        try:
            body = await _body(call)
            break
        except StepStreamError as failure:
            if attempt == call.attempts or not is_worth_another(failure):
                raise
            retry_after = failure.retry_after if isinstance(failure, APIError) else None
            await anyio.sleep(backoff.failed(anyio.current_time(), retry_after=retry_after))
    try:
        return msgspec.json.decode(body, type=type_)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        kind = type(exc).__name__
    raise ProtocolError(f"{place(call.url)}: expected an object or a list of them, in JSON, got neither ({kind})")


async def _body(call: Call) -> bytearray:
    where = place(call.url)
    headers = {**sendable(call.headers), "Accept": "application/json", "Accept-Encoding": "identity"}
    body = {} if call.json is None else {"json": call.json}
    timeout = (call.connect_timeout, None, None, call.connect_timeout)
    options = {"headers": headers, "timeout": timeout, "follow_redirects": False, **body}
    try:
        with anyio.fail_after(call.timeout):
            async with Discreet(call.client).stream(call.method, call.url, **options) as response:
                if 200 <= response.status_code < 300:
                    return await _answered(response, where)
                data = await _beginning(response)
    except TimeoutError as exc:
        raise IdleTimeout(f"{where} did not answer within {call.timeout:g} s", call.timeout) from exc
    except StepStreamError:
        raise
    except Exception as exc:
        raise translated(exc, where, call.connect_timeout) from exc
    headers = response.headers
    raise refusal(
        call.url, response.status_code, response.reason_phrase, headers, data, retry_after_of(headers, time())
    )


async def _answered(response: Any, where: str) -> bytearray:
    encoding = _encoding(response)
    if encoding != "identity":
        text = f"{where}: expected no content encoding, got {encoding[:80]}"
        status, reason, request_id = response.status_code, response.reason_phrase, request_id_of(response.headers)
        raise APIError(text, status_code=status, reason_phrase=reason, request_id=request_id)
    data = await _read(response, MAX_BODY_BYTES, math.inf)
    if len(data) > MAX_BODY_BYTES:
        raise ProtocolError(f"{where}: expected an answer of at most {MAX_BODY_BYTES:,} bytes")
    return data


async def _beginning(response: Any) -> bytes:
    """Return the body of a refusal, as far as it comes soon, is short and not encoded."""
    if _encoding(response) != "identity":
        return b""
    return bytes(await _read(response, MAX_ERROR_BODY, ERROR_BODY_TIMEOUT))[:MAX_ERROR_BODY]


async def _read(response: Any, limit: int, seconds: float) -> bytearray:
    """Return a body; of one that is longer, or takes longer, what came until then."""
    data = bytearray()
    chunks = response.aiter_bytes()
    with anyio.move_on_after(seconds):
        async for chunk in chunks:
            data += chunk
            if len(data) > limit:
                break
    await leave(response, chunks)
    return data


def _encoding(response: Any) -> str:
    encoding: str = response.headers.get("content-encoding", "identity")
    return encoding.strip().lower()
