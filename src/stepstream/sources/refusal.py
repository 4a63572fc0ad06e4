"""What a refusal says: the error of a response, told without its secrets."""

import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from stepstream.errors import APIError

REQUEST_ID_HEADERS: Final = ("x-request-id", "apim-request-id", "x-ms-request-id")
_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
"""What has no place in the text of an exception: it could forge lines of a log."""

MAX_TEXT: Final = 500
"""How many characters of a plain-text body become the message."""


def request_id_of(headers: Mapping[str, str]) -> str | None:
    """Return the id under which the server knows the request, or None."""
    return next((headers[name] for name in REQUEST_ID_HEADERS if headers.get(name)), None)


def place(url: str) -> str:
    """Return `url` without its query, fragment and user: what may be shown."""
    parts = urlsplit(url)
    origin = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}" if parts.netloc else ""  # the client may know it
    return f"{origin}{parts.path}"


def refusal(
    url: str, status: int, reason: str, headers: Mapping[str, str], body: bytes, retry_after: float | None
) -> APIError:
    """Return the error for a response that is no success. `body` is its body, or the beginning of it."""
    fields = _fields(body)
    detail = f": {_CONTROL.sub(_escaped, fields['message'])}" if fields["message"] else ""
    request_id = request_id_of(headers)
    text = f"{place(url)} answered {status} {reason}".rstrip() + detail
    return APIError(
        text, status_code=status, reason_phrase=reason, retry_after=retry_after, request_id=request_id, **fields
    )


def _fields(body: bytes) -> dict[str, str | None]:
    """Return code, message, type and param from the shapes that servers use: OpenAI's, Azure's, flat, plain text."""
    try:
        decoded = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        decoded = body.decode("utf-8", "replace").strip()[:MAX_TEXT]
    error: Any = decoded.get("error", decoded) if isinstance(decoded, dict) else decoded
    if isinstance(error, str):
        error = {"message": " ".join(error.split()) or None}
    found = error if isinstance(error, dict) else {}
    return {key: _word(found.get(key)) for key in ("code", "message", "type", "param")}


def _word(value: object) -> str | None:
    return str(value) if isinstance(value, str | int | float) else None


def _escaped(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}"
