"""Refusals that come to a source from another library: the error they become, with the server's own words."""

from collections.abc import AsyncIterator
from typing import Any, Final

import anyio
import msgspec

from stepstream.errors import APIError, words_of
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
        raise _refusal("the response given as a source has the status", status, response, await _beginning(items))


def refusal_in(exc: Exception) -> APIError | None:
    """Return the refusal that an exception of another library reports, by a status that it has; or None.

    Its own text may quote the URL. The server's words are taken from the body, where the exception holds it.
    """
    response = getattr(exc, "response", None)
    status = _status_of(exc) or _status_of(response)
    if status is None or status < 400:
        return None
    try:
        held = exc.body if hasattr(exc, "body") else getattr(response, "content", b"")
        body = held if isinstance(held, bytes) else msgspec.json.encode(held)
    except Exception:  # noqa: BLE001 - it was not read, or has no JSON form: the status is known
        body = b""
    return _refusal("the source was refused with the status", status, response or exc, body)


def _status_of(given: Any) -> int | None:
    status = getattr(given, "status_code", None) or getattr(given, "status", None)
    return status if isinstance(status, int) else None


def _refusal(what: str, status: int, response: Any, body: bytes) -> APIError:
    fields = error_fields(body)
    reason = str(getattr(response, "reason_phrase", None) or getattr(response, "reason", None) or "")
    headers = getattr(response, "headers", None) or {}
    detail = f": {words_of(fields['message'])}" if fields["message"] else ""
    return APIError(
        f"{what} {status} {words_of(reason)}".rstrip() + detail,
        status_code=status,
        reason_phrase=reason,
        retry_after=None,
        request_id=next((headers[name] for name in REQUEST_ID_HEADERS if headers.get(name)), None),
        **fields,
    )


async def _beginning(items: AsyncIterator[Any]) -> bytes:
    """Return the body of a response, as far as it comes soon and is short."""
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
