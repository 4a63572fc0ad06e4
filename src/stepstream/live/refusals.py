"""A response that refuses, given as a source: the error it becomes, with the server's own words."""

from collections.abc import AsyncIterator
from typing import Any, Final

import anyio

from stepstream.errors import APIError
from stepstream.wire.events import ErrorData, decode_event
from stepstream.wire.sse import Frame

MAX_ERROR_BODY: Final = 64 * 2**10
"""Bytes of the body of an error response that are read at most."""

ERROR_BODY_TIMEOUT: Final = 10.0
"""Seconds that this may take. The status is known by then: an error is reported with what came until then."""

MAX_TEXT: Final = 500
"""Characters of the server's message that are quoted."""

REQUEST_ID_HEADERS: Final = ("x-request-id", "apim-request-id", "x-ms-request-id")


async def check_status(response: Any, items: AsyncIterator[Any]) -> None:
    """Check that a response of any library carries a stream, by its status. `items` are the bytes of its body.

    Raises:
        APIError: it does not: the status is no success, or says that there is no content.
    """
    status = getattr(response, "status_code", None) or getattr(response, "status", None)
    if not isinstance(status, int) or (200 <= status < 300 and status != 204):
        return
    data: Any = decode_event(Frame("error", await _beginning(items))).data
    words = data if isinstance(data, ErrorData) else ErrorData()
    message = " ".join("".join(one if one.isprintable() else " " for one in words.message or "").split())[:MAX_TEXT]
    reason = str(getattr(response, "reason_phrase", None) or getattr(response, "reason", None) or "")
    text = f"the response given as a source has the status {status} {reason}".rstrip()
    raise APIError(
        f"{text}: {message}" if message else text,
        status_code=status,
        reason_phrase=reason,
        request_id=next((response.headers[name] for name in REQUEST_ID_HEADERS if response.headers.get(name)), None),
        code=words.code,
        message=message or None,
        type=words.type,
        param=words.param,
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
