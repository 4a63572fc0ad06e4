"""JSON to events, and objects to JSON."""

import json
from typing import Any

import msgspec

from stepstream.wire.events import Event, decode_event
from stepstream.wire.sse import Frame

JSON = dict[str, Any]


def event(name: str, data: object) -> Event:
    """Return the event that a frame with this name and this data decodes to."""
    return decode_event(Frame(name, json.dumps(data).encode()))


def plain(value: object) -> Any:
    """Return an object of the wire as the JSON that it encodes to."""
    return json.loads(msgspec.json.encode(value))
