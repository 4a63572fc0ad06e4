"""The JSON of a frame as it came, without types."""

from typing import Any, Final, NamedTuple

import msgspec

from stepstream.wire.depth import is_deeper
from stepstream.wire.events import DEFAULT_MAX_DEPTH


class Reading(NamedTuple):
    """What the data of a frame holds."""

    raw: dict[str, Any] | None
    """The object, or None where it is none or could not be decoded."""
    is_double: bool = False
    """Whether it came as a JSON string that holds it."""


NOTHING: Final = Reading(None)


def read(data: bytes) -> Reading:
    """Return the object in `data`. Where there is none, the fold reports why."""
    value = _decoded(data)
    if isinstance(value, str):
        inner = _decoded(value.encode())
        return Reading(inner, is_double=True) if isinstance(inner, dict) else NOTHING
    return Reading(value) if isinstance(value, dict) else NOTHING


def _decoded(data: bytes) -> Any:
    """Return decoded JSON, None for what cannot be decoded or is nested too deeply."""
    if is_deeper(data, DEFAULT_MAX_DEPTH):
        return None
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
