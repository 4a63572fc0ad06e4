"""The shapes in which servers say what went wrong, in the data of an `error` event."""

from collections.abc import Mapping
from typing import Final

import msgspec

from stepstream.wire.depth import is_deeper
from stepstream.wire.loose import unwrapped

FIELDS: Final = ("code", "message", "type", "param")
"""What an error may say of itself."""


def error_fields(payload: bytes, max_depth: int) -> Mapping[str, str | None]:
    """Return what `payload` says, by `FIELDS`: it may be an object, have one under the key `error`, or be a text."""
    try:
        body = None if is_deeper(payload, max_depth) else unwrapped(msgspec.json.decode(payload))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        body = payload.decode("utf-8", "replace")
    if isinstance(body, dict) and isinstance(body.get("error"), dict | str):
        body = body["error"]
    if isinstance(body, str):
        return {"message": body}
    return {key: _scalar_text(body.get(key)) for key in FIELDS} if isinstance(body, dict) else {}


def _scalar_text(value: object) -> str | None:
    return str(value) if isinstance(value, str | int | float) else None
