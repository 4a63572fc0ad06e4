"""Changes as JSON: one object a change, its keys in the order of one table."""

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from stepstream.fold.anomalies import Anomaly
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

_CALL: Final = ("step_id", "run_id", "index", "id", "type", "name")

COLUMNS: Final[Mapping[type[Change], tuple[str, ...]]] = {
    StepTransition: ("step_id", "run_id", "thread_id", "type", "previous", "status", "event"),
    StepProgress: ("step_id", "run_id", "late", "delta"),
    ToolCallStarted: _CALL,
    ToolCallFinished: _CALL,
    RunTransition: ("run_id", "thread_id", "previous", "status", "event"),
    MessageTransition: ("message_id", "run_id", "previous", "status", "event"),
    MessageProgress: ("message_id", "run_id", "delta"),
    Anomaly: ("code", "event", "id", "text", "expected", "got"),
}
"""What is written of each class of change, after `change` and `sequence`."""

KEYS: Final[Mapping[type[Change], str]] = {
    struct: re.sub(r"(?<!^)(?=[A-Z])", "_", struct.__name__).lower() for struct in COLUMNS
}
"""The value of `change` for each class: its name in snake case."""


class _Wire(msgspec.Struct):
    delta: msgspec.Raw


_WIRE: Final = msgspec.json.Decoder(_Wire)


def encode_change(change: Change) -> bytes:
    """Return `change` as one line of JSON, without the line end. `delta` is the server's own JSON."""
    kind = type(change)
    line: dict[str, Any] = {"change": KEYS[kind], "sequence": change.sequence}
    if isinstance(change, StepProgress | MessageProgress):
        line.update((column, getattr(change, column)) for column in COLUMNS[kind] if column != "delta")
        line["delta"] = None if change._offset == NO_DELTA else _as_sent(change)
    else:
        line.update((column, getattr(change, column)) for column in COLUMNS[kind])
    return msgspec.json.encode(line)


def _as_sent(change: StepProgress | MessageProgress) -> object:
    """Return the delta as the server wrote it, unknown keys included."""
    payload = change._raw[change._offset :]
    try:
        delta = _WIRE.decode(payload).delta
    except msgspec.ValidationError:  # the event was encoded twice: its data is a JSON string
        delta = _WIRE.decode(msgspec.json.decode(payload, type=str)).delta
    return msgspec.Raw(bytes(delta).replace(b"\n", b" "))  # a line end can only stand between two tokens
