"""Events: decoded frames. A table leads from an event's name to its type, which has a decoder, built at import.

Data that the decoder refuses takes a second look (`loose`), which is slow and rare: a kind of object that this version
does not know becomes an `Unknown`, of an object is left out what does not fit, a delta of a wrong shape is `Malformed`.
A `ValidationError` may quote the payload in its text, so it is neither raised nor kept as the cause or context of an
exception that is.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

import msgspec

from stepstream.errors import DecodeError
from stepstream.wire.base import WireObject
from stepstream.wire.deltas import MessageDelta, RunStepDelta
from stepstream.wire.depth import HIGHEST_LIMIT, is_deeper
from stepstream.wire.error_body import error_fields
from stepstream.wire.loose import BadField, BadIndex, Misfit, build, read_object, unwrapped
from stepstream.wire.messages import Message
from stepstream.wire.objects import Run, RunStep, Thread
from stepstream.wire.sse import Frame

DEFAULT_MAX_DEPTH: Final = 64


class UnknownData(WireObject, frozen=True):
    """The data of an event whose name this version does not know: its bytes, undecoded."""

    payload: bytes


class Malformed(WireObject, frozen=True):
    """JSON that does not fit the type of its event: it is reported as the anomaly `code`, of the object `id`."""

    payload: bytes
    expected: str
    """What the type asks for and where, in a few words."""
    got: str
    """What came instead: types and kinds, never content."""
    code: str = "undecodable_event"
    id: str | None = None

    @property
    def reason(self) -> str:
        """What was expected and what came, in one phrase."""
        return f"expected {self.expected}, got {self.got}"


class Done(WireObject, frozen=True):
    """The data of `done`, which ends a stream."""


class ErrorData(WireObject, frozen=True):
    """The data of `error`, from any of the shapes in which servers say what went wrong (`error_body`)."""

    code: str | None = None
    message: str | None = None
    type: str | None = None
    param: str | None = None


Data: TypeAlias = (
    RunStepDelta | MessageDelta | RunStep | Run | Message | Thread | Done | ErrorData | UnknownData | Malformed
)


class Event(msgspec.Struct, frozen=True, gc=False):
    """One decoded frame: the event's name as sent, and its data."""

    name: str
    data: Data
    raw: bytes | None = None
    """The bytes that `data` was decoded from; None in an event that was made by hand."""
    id: str = ""
    """The id of its frame; "" where there is none."""
    bad_fields: tuple[BadField, ...] = ()
    """The fields of an object that did not fit their types, and were left out or read as what they plainly mean."""
    is_translated: bool = False
    """Whether `raw` is of another vocabulary, that of a dialect."""

    @property
    def payload(self) -> bytes:
        """The raw JSON of the data, with all keys that the structs leave out."""
        if self.raw is not None:
            return self.raw
        data = self.data
        return data.payload if isinstance(data, UnknownData | Malformed) else msgspec.json.encode(data)

    def __repr__(self) -> str:
        return f"<Event {self.name} {self.data!r}>"


STEP_EVENTS: Final[Mapping[str, str]] = {
    "thread.run.step.created": "in_progress",
    "thread.run.step.in_progress": "in_progress",
    "thread.run.step.completed": "completed",
    "thread.run.step.failed": "failed",
    "thread.run.step.cancelled": "cancelled",
    "thread.run.step.expired": "expired",
    "thread.run.step.incomplete": "incomplete",
}
"""Events that carry a full step, and the status that each implies. Likewise for runs and messages below."""

RUN_EVENTS: Final[Mapping[str, str]] = {
    "thread.run.created": "queued",
    "thread.run.queued": "queued",
    "thread.run.in_progress": "in_progress",
    "thread.run.requires_action": "requires_action",
    "thread.run.completed": "completed",
    "thread.run.incomplete": "incomplete",
    "thread.run.failed": "failed",
    "thread.run.cancelling": "cancelling",
    "thread.run.cancelled": "cancelled",
    "thread.run.expired": "expired",
}

MESSAGE_EVENTS: Final[Mapping[str, str]] = {
    "thread.message.created": "in_progress",
    "thread.message.in_progress": "in_progress",
    "thread.message.completed": "completed",
    "thread.message.incomplete": "incomplete",
}

IMPLIED_STATUS: Final[Mapping[str, str]] = {**STEP_EVENTS, **RUN_EVENTS, **MESSAGE_EVENTS}

_REPEATS: Final[Mapping[str, str]] = {
    "thread.run.queued": "thread.run.created",
    "thread.run.step.in_progress": "thread.run.step.created",
    "thread.message.in_progress": "thread.message.created",
}
"""Events that mostly come right after another one with the same object, byte for byte, and imply the same status."""

OPENING_EVENTS: Final = frozenset(_REPEATS.values())
"""The events whose object may come again under another name."""

TYPES: Final[Mapping[str, type[WireObject]]] = {
    "thread.created": Thread,
    **dict.fromkeys(RUN_EVENTS, Run),
    **dict.fromkeys(STEP_EVENTS, RunStep),
    "thread.run.step.delta": RunStepDelta,
    **dict.fromkeys(MESSAGE_EVENTS, Message),
    "thread.message.delta": MessageDelta,
    "thread.message.chunk": MessageDelta,  # the name in older previews of Azure
}
"""Every event with an object in its data, and the type of that object."""

_DECODE: Final[Mapping[str, Callable[[bytes], Any]]] = {
    name: msgspec.json.Decoder(struct).decode for name, struct in TYPES.items()
}


def decode_event(frame: Frame, *, max_depth: int = DEFAULT_MAX_DEPTH, before: Event | None = None) -> Event:
    """Return the event of a frame. An unknown name gives `UnknownData`, JSON of the wrong shape gives `Malformed`.

    A status that the object lacks is taken from the event's name. Data that is a JSON string with JSON in it, as Azure
    was seen to send, is decoded once more. `before` is an event decoded with the same limit: its object is given again
    where this event's data is the same bytes.

    Raises:
        DecodeError: the data of a known event is not JSON, or nests deeper than `max_depth`, which is at most 128.
    """
    name, payload = frame.event, frame.data
    if before is not None and payload == before.raw and _REPEATS.get(name) == before.name:
        return Event(name, before.data, payload, frame.id, before.bad_fields)
    decode = _DECODE.get(name)
    if decode is None:
        return Event(name, _special(name, payload), payload, frame.id)
    if is_deeper(payload, max_depth):
        raise _too_deep(name, payload, max_depth)
    is_refused = False
    try:
        data = decode(payload)
    except msgspec.ValidationError:
        is_refused = True
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise _undecodable(name, payload, exc) from exc
    if is_refused:  # out of the handler: else what is raised there has it, and the payload, in its context
        data, bad_fields = _second_look(name, payload, max_depth)
        return Event(name, with_status(name, data), payload, frame.id, bad_fields)
    has_status = name not in IMPLIED_STATUS or data.status
    return Event(name, data if has_status else with_status(name, data), payload, frame.id)


def with_status(name: str, data: Data) -> Data:
    """Return `data` with the status that the event's name implies, where it is an object that came without one."""
    if isinstance(data, RunStep | Run | Message) and not data.status and name in IMPLIED_STATUS:
        return msgspec.structs.replace(data, status=IMPLIED_STATUS[name])
    return data


def read_again(event: Event) -> Event:
    """Return `event` with unknown keys kept in every object without a `type`: the deltas before say what they are."""
    if event.is_translated:
        return event
    raw = unwrapped(msgspec.json.decode(event.payload))
    return msgspec.structs.replace(event, data=build(type(event.data), raw))


def _special(name: str, payload: bytes) -> Data:
    if name == "done":
        return Done()
    return ErrorData(**error_fields(payload)) if name == "error" else UnknownData(payload)


def _second_look(name: str, payload: bytes, max_depth: int) -> tuple[Any, tuple[BadField, ...]]:
    """Return data that its decoder refused, read field by field, and what of an object did not fit.

    It is `Malformed` where it has no usable id or is no object at all, and where a delta does not fit.

    Raises:
        DecodeError: a JSON string holds JSON that nests too deeply.
    """
    try:
        raw = msgspec.json.decode(payload)
        if isinstance(raw, str) and is_deeper(raw.encode(), max_depth):
            raise _too_deep(name, payload, max_depth)
        raw = unwrapped(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise _undecodable(name, payload, exc) from exc
    struct = TYPES[name]
    is_delta = struct in (RunStepDelta, MessageDelta)
    try:
        return (build(struct, raw), ()) if is_delta else read_object(struct, raw)
    except BadIndex as exc:
        return Malformed(payload, exc.expected, exc.got, "bad_index", _id(raw)), ()
    except Misfit as exc:
        code = "malformed_delta" if is_delta else "undecodable_event"
        return Malformed(payload, exc.expected, exc.got, code, _id(raw)), ()


def _id(raw: object) -> str | None:
    return found if isinstance(raw, dict) and isinstance(found := raw.get("id"), str) else None


def _too_deep(name: str, payload: bytes, limit: int) -> DecodeError:
    levels = min(limit, HIGHEST_LIMIT)
    got = f"{len(payload):,} bytes nested deeper than {levels} levels"
    return DecodeError(name, "too_deep", f"JSON of at most {levels} levels", got)


def _undecodable(name: str, payload: bytes, exc: Exception) -> DecodeError:
    reason = "not UTF-8" if isinstance(exc, UnicodeDecodeError) or "UTF-8" in str(exc) else str(exc)
    return DecodeError(name, "undecodable_event", "JSON", f"{len(payload):,} bytes: {reason}")
