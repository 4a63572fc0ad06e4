"""The usual delta: one more piece of one text. Nearly all events are that, so it is decoded to just that.

These structs are for our own fold; users see those of `deltas`. They have no room for anything else: a delta with one
more key, a null or a second entry does not fit, and goes the way of all other events. What fits says the same in both.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

import msgspec
from msgspec import UNSET, UnsetType

from stepstream.wire.deltas import Index

DEPTH: Final = 8
"""No usual delta nests deeper."""


class _Exact(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """What has these keys and no other."""


class UsualFunction(_Exact, frozen=True):
    """A piece of a function's arguments."""

    arguments: str


class UsualLogs(_Exact, frozen=True):
    """A piece of what code put out."""

    index: Index
    type: Literal["logs"]
    logs: str


class UsualCode(_Exact, frozen=True):
    """A piece of code, or of what it put out."""

    input: str | UnsetType = UNSET
    outputs: tuple[UsualLogs] | UnsetType = UNSET


class UsualCall(_Exact, frozen=True):
    """A piece of one tool call."""

    index: Index
    type: str
    function: UsualFunction | UnsetType = UNSET
    code_interpreter: UsualCode | UnsetType = UNSET
    id: str | UnsetType = UNSET


class _Details(_Exact, frozen=True):
    type: Literal["tool_calls"]
    tool_calls: tuple[UsualCall]


class _StepBody(_Exact, frozen=True):
    step_details: _Details


class UsualStepDelta(_Exact, frozen=True):
    """The usual data of `thread.run.step.delta`."""

    id: str
    delta: _StepBody
    object: Literal["thread.run.step.delta"] | UnsetType = UNSET


class _Text(_Exact, frozen=True):
    value: str


class UsualPart(_Exact, frozen=True):
    """A piece of one text of a message."""

    index: Index
    type: Literal["text"]
    text: _Text


class _MessageBody(_Exact, frozen=True):
    content: tuple[UsualPart]


class UsualMessageDelta(_Exact, frozen=True):
    """The usual data of `thread.message.delta`."""

    id: str
    delta: _MessageBody
    object: Literal["thread.message.delta"] | UnsetType = UNSET


USUAL: Final[Mapping[str, Callable[[bytes], Any]]] = {
    "thread.run.step.delta": msgspec.json.Decoder(UsualStepDelta).decode,
    "thread.message.delta": msgspec.json.Decoder(UsualMessageDelta).decode,
}
"""The events that have a usual form, and the decoder of that."""
