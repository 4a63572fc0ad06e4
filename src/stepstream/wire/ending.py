"""What says that a stream has ended, beside the events of its runs: `done`, `error`, and both without their names.

Servers and gateways that write no `event:` line end with `data: [DONE]`, and report what went wrong as the one object
`{"error": …}`. Neither is taken for the end at once: `[DONE]` counts once a run is known, an error where no run goes on
after it. That is for those who know the runs: `fold/ending.py`, and `sources/stream_end.py` for a connection.
"""

from typing import Final

import msgspec

from stepstream.errors import words_of
from stepstream.wire.depth import is_deeper
from stepstream.wire.events import DEFAULT_MAX_DEPTH, Done, ErrorData, Event, UnknownData, decode_event
from stepstream.wire.sse import Frame

UNNAMED: Final = "message"
"""The name of an event that came without one."""

DONE_DATA: Final = b"[DONE]"

TELLING: Final = frozenset({Done, ErrorData, UnknownData})
"""The types of data that may say how a stream ends. All other events are of a run that goes on."""

_MAX_SHOWN: Final = 80


def is_unnamed_done(name: str, data: bytes) -> bool:
    """Return whether an event is `[DONE]` without a name."""
    return name == UNNAMED and data.strip() == DONE_DATA


def ends_stream(event: Event) -> bool:
    """Return whether an event says how its stream ends, and nothing of a run: `done`, `error`, named or not."""
    if type(event.data) not in TELLING:
        return False
    name, data = event.name, event.payload
    is_named = isinstance(event.data, Done | ErrorData)
    return is_named or is_unnamed_done(name, data) or unnamed_error(name, data) is not None


def unnamed_error(name: str, data: bytes) -> ErrorData | None:
    """Return the error in an event without a name, else None: `{"error": …}`, or an object that calls itself one."""
    if name != UNNAMED or b"error" not in data:
        return None
    fields = _object(data)
    error = fields.get("error")
    is_named_so = "error" in (fields.get("object"), fields.get("type")) and isinstance(fields.get("message"), str)
    if not is_named_so and not (error and isinstance(error, dict | str)):
        return None
    found = decode_event(Frame("error", data)).data
    return found if isinstance(found, ErrorData) else None


def decides_end(frame: Frame) -> bool:
    """Return whether a block that lacks its blank line counts all the same: it says how the stream ended.

    An error whose data was cut as well does not: what is left of it says nothing, and the whole of it may yet come.
    """
    name, data = frame.event, frame.data
    if name == "error":
        return _is_whole(data)
    return name == "done" or is_unnamed_done(name, data) or unnamed_error(name, data) is not None


def _is_whole(data: bytes) -> bool:
    """Return whether there is any data, and no JSON that was cut."""
    text = data.strip()
    try:
        return bool(text) and (text[:1] not in (b"{", b"[") or msgspec.json.decode(text) is not None)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False


def kind_of(name: str, data: bytes) -> str:
    """Return what an event of no known protocol calls itself: its name, or the kind of object in its data."""
    if name != UNNAMED:
        return words_of(name, _MAX_SHOWN)
    fields = _object(data)
    found = next((kind for key in ("object", "type") if isinstance(kind := fields.get(key), str)), None)
    return f"without a name, {words_of(found, _MAX_SHOWN)}" if found else "without a name"


def _object(data: bytes) -> dict[str, object]:
    """Return the JSON object in `data`, an empty one where there is none."""
    try:
        found = None if is_deeper(data, DEFAULT_MAX_DEPTH) else msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
