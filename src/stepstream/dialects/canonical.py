"""Events in the words of the fold as frames, and an anomaly of a dialect back: what is kept of a stream for others."""

from typing import Final

import msgspec

from stepstream.wire.events import Event, Malformed
from stepstream.wire.sse import Frame

ANOMALY: Final = "stepstream.anomaly"
"""The event that an anomaly of a dialect is in the words of the fold."""


class _Told(msgspec.Struct):
    code: str
    event: str
    id: str | None
    expected: str
    got: str


_decode: Final = msgspec.json.Decoder(_Told).decode


def frame_of_event(event: Event) -> Frame:
    """Return an event as a frame in the words of the fold: as it came, unless it was translated."""
    data = event.data
    if not event.is_translated:
        return Frame(event.name, event.payload, event.id)
    if isinstance(data, Malformed):
        told = _Told(data.code, event.name, data.id, data.expected, data.got)
        return Frame(ANOMALY, msgspec.json.encode(told), event.id)
    return Frame(event.name, msgspec.json.encode(data), event.id)


def told_again(event: Event) -> Event:
    """Return the anomaly that `frame_of_event` wrote; any other event as it is."""
    if event.name != ANOMALY:
        return event
    try:
        told = _decode(event.payload)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return event
    data = Malformed(event.payload, told.expected, told.got, told.code, told.id)
    return Event(told.event, data, event.payload, event.id, is_translated=True)
