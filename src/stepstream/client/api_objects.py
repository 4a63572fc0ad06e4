"""The objects in the responses of the API."""

import logging
from collections.abc import Mapping
from typing import Any, Final, TypeVar

import msgspec
from msgspec import UNSET
from msgspec.structs import replace

from stepstream.errors import ProtocolError
from stepstream.wire.events import Malformed, decode_event
from stepstream.wire.messages import Message
from stepstream.wire.objects import Run, RunStep
from stepstream.wire.sse import Frame

_log = logging.getLogger("stepstream.client")

T = TypeVar("T", Run, RunStep, Message)

_NAMES: Final[Mapping[type[Any], str]] = {
    Run: "thread.run.in_progress",
    RunStep: "thread.run.step.in_progress",
    Message: "thread.message.in_progress",
}
"""An event that carries an object of the type. Objects are decoded as its data, so that a kind that is new becomes an
`Unknown` here as it does in a stream."""


def field(raw: msgspec.Raw, name: str) -> Any:
    """Return a field of an undecoded object; UNSET where it has none of that name, or is no JSON object."""
    try:
        return msgspec.json.decode(raw, type=dict[str, Any]).get(name, UNSET)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return UNSET


def object_of(raw: msgspec.Raw, type_: type[T]) -> T:
    """Return an object of the API as it was sent, its status included: None or UNSET where lists leave it out.

    A field that does not fit its type is left out, or read as what it plainly means.

    Raises:
        ProtocolError: it is no object of that type. A `DecodeError` is one.
    """
    event = decode_event(Frame(_NAMES[type_], bytes(raw)))
    data = event.data
    if not isinstance(data, type_):
        reason = data.reason if isinstance(data, Malformed) else type(data).__name__
        raise ProtocolError(f"expected a {type_.__name__}: {reason}")
    for bad in event.bad_fields:
        _log.debug("a %s has a field that does not fit: expected %s, got %s", type_.__name__, bad.expected, bad.got)
    status = field(raw, "status")  # decoding took a missing one from the name of the event, which was made up here
    return replace(data, status=status if status is None or isinstance(status, str) else UNSET)
