"""Refusals: the error that one becomes, with the server's own words, whatever library it comes from."""

from collections.abc import AsyncIterator, Mapping
from datetime import UTC
from time import time
from typing import Any, Final

import anyio
import msgspec

from stepstream.errors import APIError, words_of
from stepstream.live.source_kinds import attribute
from stepstream.wire.error_body import error_fields

MAX_ERROR_BODY: Final = 64 * 2**10
"""Bytes of the body of an error response that are read at most."""

ERROR_BODY_TIMEOUT: Final = 10.0
"""Seconds that this may take. The status is known by then: an error is reported with what came until then."""

REQUEST_ID_HEADERS: Final = ("x-request-id", "apim-request-id", "x-ms-request-id")


async def check_status(response: Any, items: AsyncIterator[Any]) -> None:
    """Check that a response of any library carries a stream, by its status. `items` are the bytes of its body.

    Raises:
        APIError: it does not: the status is no success, or says that there is no content.
    """
    status = _status_of(response)
    if status is not None and (not 200 <= status < 300 or status == 204):
        raise _refusal("the response given as a source has the status", status, response, await beginning_of(items))


def refusal_in(exc: Exception) -> APIError | None:
    """Return the refusal that an exception of another library reports, by a status that it has; or None.

    Its own text may quote the URL. The server's words are taken from the body, where the exception holds it.
    """
    response = attribute(exc, "response")
    status = _status_of(exc) or _status_of(response)
    if status is None or status < 400:
        return None
    try:
        held = exc.body if hasattr(exc, "body") else getattr(response, "content", b"")
        body = held if isinstance(held, bytes) else msgspec.json.encode(held)
    except Exception:  # noqa: BLE001 - it was not read, or has no JSON form: the status is known
        body = b""
    return _refusal("the source was refused with the status", status, exc if response is None else response, body)


def _status_of(given: Any) -> int | None:
    status = attribute(given, "status_code") or attribute(given, "status")
    return status if isinstance(status, int) else None


def _refusal(what: str, status: int, response: Any, body: bytes) -> APIError:
    reason = attribute(response, "reason_phrase") or attribute(response, "reason")
    found = attribute(response, "headers")
    headers = {str(name).lower(): str(found[name]) for name in found} if isinstance(found, Mapping) else {}
    return refusal(f"{what} {status}", status, str(reason or ""), headers, body)


def refusal(text: str, status: int, reason: str, headers: Mapping[str, str], body: bytes) -> APIError:
    """Return the error for a response whose status is no success, as `text` says. `body` is its body, or a part."""
    fields = error_fields(body)
    detail = f": {words_of(fields['message'])}" if fields["message"] else ""
    return APIError(
        f"{text} {words_of(reason)}".rstrip() + detail,
        status_code=status,
        reason_phrase=reason,
        retry_after=retry_after_of(headers, time()),
        request_id=request_id_of(headers),
        **fields,
    )


def request_id_of(headers: Mapping[str, str]) -> str | None:
    """Return the id under which the server knows the request, or None."""
    return next((headers[name] for name in REQUEST_ID_HEADERS if headers.get(name)), None)


def retry_after_of(headers: Mapping[str, str], now: float) -> float | None:
    """Return the seconds that a response asks to wait, or None. `now` is the Unix time.

    `retry-after` has seconds or a date (RFC 9110, section 10.2.3); `retry-after-ms`, as OpenAI and Azure send it,
    milliseconds.
    """
    exact, text = headers.get("retry-after-ms", ""), headers.get("retry-after", "").strip()
    for number, unit in ((exact.strip(), 1_000), (text, 1)):
        if number.isascii() and number.replace(".", "", 1).isdecimal() and len(number) < 20:
            return float(number) / unit
    from email.utils import parsedate_to_datetime  # it loads much, sockets among it, which few streams need

    try:
        date = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return max(0.0, (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - now)


async def beginning_of(items: AsyncIterator[Any]) -> bytes:
    """Return the body of an error response, as far as it comes soon and is short."""
    body = b""
    try:
        with anyio.move_on_after(ERROR_BODY_TIMEOUT):
            async for chunk in items:
                body += chunk
                if len(body) >= MAX_ERROR_BODY:
                    break
    except Exception:  # noqa: BLE001 - the status is what to report, whatever breaks while its text is read
        return body
    return body[:MAX_ERROR_BODY]
