"""Changes as JSON lines, and back: one object a change, its keys in the order of one table."""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, cast

import msgspec
from msgspec import UNSET

from stepstream.fold.anomalies import Anomaly, AnomalyCode
from stepstream.fold.cause import journal_of
from stepstream.fold.changes import (
    NO_DELTA,
    Change,
    MessageProgress,
    MessageTransition,
    RunTransition,
    StepProgress,
    StepTransition,
    ToolCallFinished,
    ToolCallStarted,
)
from stepstream.fold.subjects import Reference, subject_of
from stepstream.wire.base import Unknown, WireObject
from stepstream.wire.deltas import MessageDelta, RunStepDelta
from stepstream.wire.loose import Misfit, build
from stepstream.wire.messages import Message
from stepstream.wire.objects import Run, RunStep
from stepstream.wire.tool_calls import ToolCall

_CAUSE: Final = ("key", "event_id", "received_at")
_CALL: Final = ("step_id", "run_id", "index", "id", "type", "name", "thread_id", "event", *_CAUSE)
_TIMES: Final = ("created_at", "completed_at", "failed_at", "cancelled_at")

COLUMNS: Final[Mapping[type[Change], tuple[str, ...]]] = {
    StepTransition: (
        "step_id", "run_id", "thread_id", "type", "previous", "status", "event", "terminal", *_CAUSE, *_TIMES,
        "expired_at", "last_error", "usage",
    ),
    StepProgress: ("step_id", "run_id", "late", "delta", "thread_id", "type", "event", *_CAUSE),
    ToolCallStarted: _CALL,
    ToolCallFinished: _CALL,
    RunTransition: (
        "run_id", "thread_id", "previous", "status", "event", "terminal", *_CAUSE, *_TIMES, "started_at",
        "last_error", "incomplete_details", "usage",
    ),
    MessageTransition: (
        "message_id", "run_id", "previous", "status", "event", "thread_id", "terminal", *_CAUSE, "created_at",
        "completed_at", "incomplete_at", "incomplete_details",
    ),
    MessageProgress: ("message_id", "run_id", "delta", "thread_id", "late", "event", *_CAUSE),
    Anomaly: ("code", "event", "id", "text", "expected", "got", "run_id", "thread_id", *_CAUSE),
}  # fmt: skip
"""What is written of each class of change, after `change` and `sequence`: attributes of the change."""

KEYS: Final[Mapping[type[Change], str]] = {
    struct: re.sub(r"(?<!^)(?=[A-Z])", "_", struct.__name__).lower() for struct in COLUMNS
}
"""The value of `change` for each class: its name in snake case."""

OBJECTS: Final[Mapping[type[Change], str]] = {
    StepTransition: "step",
    RunTransition: "run",
    MessageTransition: "message",
    ToolCallStarted: "call",
    ToolCallFinished: "call",
}
"""The attribute that holds the object of a change, and the key that it is written under."""


def encode_change(change: Change, *, snapshot: bool = False) -> bytes:
    """Return `change` as one line of JSON, without the line end. `delta` is the server's own JSON.

    With `snapshot`, the object of a transition or call is in it too, under `step`, `run`, `message` or `call`. What a
    step or message was at a progress is in no line: the lines of its deltas say it.

    Raises:
        TypeError: it is no change.
    """
    kind = type(change)
    if kind not in KEYS:
        raise TypeError(f"expected a change, got {kind.__name__}")
    line: dict[str, Any] = {"change": KEYS[kind], "sequence": change.sequence}
    for column in COLUMNS[kind]:
        line[column] = getattr(change, column) if column != "delta" else _delta(change)
    if snapshot and kind in OBJECTS:
        line[OBJECTS[kind]] = getattr(change, OBJECTS[kind])
    return msgspec.json.encode(line)


def _delta(change: Any) -> msgspec.Raw:
    return msgspec.Raw(change.delta_as_sent())


class _Line(msgspec.Struct, kw_only=True):
    """A line of any class. What else it must have, `_TEXTS` says."""

    change: str
    sequence: int
    event: str
    key: str = ""
    event_id: str = ""
    received_at: float | None = None
    step_id: str | None = None
    message_id: str | None = None
    run_id: str | None = None
    thread_id: str | None = None
    type: str | None = None
    previous: str | None = None
    status: str | None = None
    terminal: bool = False
    late: bool = False
    delta: msgspec.Raw = msgspec.Raw(b"null")
    index: int = 0
    id: str | None = None
    name: str | None = None
    code: AnomalyCode | None = None
    expected: str = ""
    got: str = ""
    step: Any = UNSET
    run: Any = UNSET
    message: Any = UNSET
    call: Any = UNSET

    @property
    def cause(self) -> tuple[str, int, None, str, float | None]:
        return self.event, self.sequence, None, self.event_id, self.received_at


_TEXTS: Final[Mapping[str, tuple[str, ...]]] = {
    KEYS[StepTransition]: ("step_id", "status"),
    KEYS[StepProgress]: ("step_id",),
    KEYS[ToolCallStarted]: ("step_id", "id", "type"),
    KEYS[ToolCallFinished]: ("step_id", "id", "type"),
    KEYS[RunTransition]: ("run_id", "status"),
    KEYS[MessageTransition]: ("message_id", "status"),
    KEYS[MessageProgress]: ("message_id",),
    KEYS[Anomaly]: ("code",),
}
"""The columns without which a line says nothing of its class: they are strings."""

_decode_line: Final = msgspec.json.Decoder(_Line).decode
_decode_all: Final = msgspec.json.Decoder(dict[str, Any]).decode


def decode_change(line: bytes | str) -> Change:
    """Return the change that `encode_change` wrote. It is equal to that, where the line has the object.

    Its `context` is None. A line without the object gives a change that has the columns, and whose `step`, `run`,
    `message` or `call` raises `LookupError`; so does the `step` or `message` of a progress.

    Raises:
        ValueError: the line is nothing that `encode_change` wrote.
    """
    refused = None
    try:
        read = _decode_line(line)
        if all(isinstance(getattr(read, name), str) for name in _TEXTS[read.change]):
            return _READERS[read.change](read, line)
        refused = "one that lacks an id, a status or a code"
    except (msgspec.ValidationError, Misfit):
        refused = "JSON that lacks a column, or has another type in it"
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        refused = "what is not JSON, or more than one line"
    except KeyError:
        refused = "a change of another kind"
    raise ValueError(f"expected a line of encode_change, got {refused}")  # not from the cause: that may quote content


def _transition(
    kind: Callable[..., Change], struct: type[WireObject], own_id: str
) -> Callable[[_Line, bytes | str], Change]:
    name = OBJECTS[cast(Any, kind)]

    def read(line: _Line, written: bytes | str) -> Change:
        sent = getattr(line, name)
        told = {**_decode_all(written), "id": getattr(line, own_id)} if sent is UNSET else sent
        held: Any = build(struct, told)
        held = Reference(held) if sent is UNSET else subject_of(held, line.run_id)
        plain: Any = kind(*line.cause, line.previous, line.status, line.terminal, "", held)
        again = line.key.removeprefix(plain.key)
        return kind(*line.cause, line.previous, line.status, line.terminal, again, held)

    return read


def _call(kind: Callable[..., Change]) -> Callable[[_Line, bytes | str], Change]:
    def read(line: _Line, written: bytes | str) -> Change:
        known = {"id": line.id, "type": line.type, "name": line.name}
        held = Reference(Unknown(known)) if line.call is UNSET else build(ToolCall, line.call)
        whose = line.step_id, line.run_id, line.thread_id
        return kind(*line.cause, line.index, line.id, line.type, line.name, *whose, held)

    return read


def _progress(
    kind: Callable[..., Change], struct: type[WireObject], delta: type[WireObject], own_id: str
) -> Callable[[_Line, bytes | str], Change]:
    def read(line: _Line, written: bytes | str) -> Change:
        identifier, sent = getattr(line, own_id), bytes(line.delta)
        told = {"id": identifier, "run_id": line.run_id, "thread_id": line.thread_id, "type": line.type}
        held = line.late, Reference(build(struct, told))
        journal, _ = journal_of(line.key)
        if sent == b"null":
            return kind(*line.cause, *held, b"", NO_DELTA, None, journal)
        raw = msgspec.json.encode({"id": identifier, "delta": line.delta})
        return kind(*line.cause, *held, raw, 0, build(delta, msgspec.json.decode(raw)).delta, journal)

    return read


def _anomaly(line: _Line, written: bytes | str) -> Change:
    code = cast(AnomalyCode, line.code)
    whose = line.run_id, line.thread_id, *journal_of(line.key)
    return Anomaly(*line.cause, code, line.id, line.expected, line.got, *whose)


_READERS: Final[Mapping[str, Callable[[_Line, bytes | str], Change]]] = {
    KEYS[StepTransition]: _transition(StepTransition, RunStep, "step_id"),
    KEYS[RunTransition]: _transition(RunTransition, Run, "run_id"),
    KEYS[MessageTransition]: _transition(MessageTransition, Message, "message_id"),
    KEYS[StepProgress]: _progress(StepProgress, RunStep, RunStepDelta, "step_id"),
    KEYS[MessageProgress]: _progress(MessageProgress, Message, MessageDelta, "message_id"),
    KEYS[ToolCallStarted]: _call(ToolCallStarted),
    KEYS[ToolCallFinished]: _call(ToolCallFinished),
    KEYS[Anomaly]: _anomaly,
}
