"""The state of an accumulator as bytes and back, to go on in another process.

What still grows is written in the form of a delta, with an index for every entry, so that the deltas to come find
their place. What has ended is written as its snapshot.
"""

from typing import Any, Final, TypeVar

import msgspec

from stepstream.errors import DecodeError
from stepstream.fold.changes import Anomaly, AnomalyCode
from stepstream.fold.growing import Growing
from stepstream.fold.merge import Conflict, merge
from stepstream.fold.state import State
from stepstream.fold.stream import StreamFold
from stepstream.fold.tree import Indexed, Node, Pieces
from stepstream.fold.waiting import Cause
from stepstream.wire.base import WireObject
from stepstream.wire.deltas import MessageDelta, MessageDeltaBody, RunStepDelta, RunStepDeltaBody
from stepstream.wire.events import Event, decode_event
from stepstream.wire.loose import BadIndex, build
from stepstream.wire.messages import Message
from stepstream.wire.objects import Run, RunStep
from stepstream.wire.sse import Frame

FORMAT: Final = 1

Obj = TypeVar("Obj", RunStep, Message)

_BODIES: Final[dict[type[Any], type[WireObject]]] = {RunStep: RunStepDeltaBody, Message: MessageDeltaBody}


class _SavedObject(msgspec.Struct):
    object: Any
    group: str
    created: bool
    ended: bool
    grown: Any = None
    sent: Any = None
    started: dict[str, int] = {}
    finished: list[str] = []


class _SavedAnomaly(msgspec.Struct):
    event: str
    sequence: int
    code: AnomalyCode
    id: str | None
    text: str


class _SavedDelta(msgspec.Struct):
    event: str
    payload: str
    sequence: int


class _Saved(msgspec.Struct):
    stepstream: int
    sequence: int
    anomaly_count: int
    anomalies: list[_SavedAnomaly]
    runs: list[Any]
    steps: list[_SavedObject]
    messages: list[_SavedObject]
    waiting: list[_SavedDelta]


def save(stream: StreamFold) -> bytes:
    """Return everything known to `stream` and its state, as JSON. The context is not part of it."""
    state = stream.state
    anomalies = [_SavedAnomaly(one.event, one.sequence, one.code, one.id, one.text) for one in stream.anomalies]
    waiting = [
        _SavedDelta(cause.event.name, cause.event.payload.decode(), cause.sequence)
        for cause in stream.waiting.everything()
    ]
    saved = _Saved(
        FORMAT,
        stream.sequence,
        stream.anomaly_count,
        anomalies,
        list(state.runs.values()),
        [_saved(step) for step in state.steps.values()],
        [_saved(message) for message in state.messages.values()],
        waiting,
    )
    return msgspec.json.encode(saved)


def load_into(stream: StreamFold, data: bytes) -> None:
    """Fill a fresh `stream` and its state with what `save` gave.

    Raises:
        ValueError: `data` is nothing that `save` gave.
    """
    try:
        saved = msgspec.json.decode(data, type=_Saved)
        if saved.stepstream != FORMAT:
            raise ValueError(f"expected an export of format {FORMAT}, got format {saved.stepstream}")
        _load(stream, saved)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, DecodeError, BadIndex, Conflict) as exc:
        raise ValueError(f"expected the bytes of Accumulator.export(), got something else: {exc}") from exc


def _load(stream: StreamFold, saved: _Saved) -> None:
    stream.sequence = saved.sequence
    stream.anomaly_count = saved.anomaly_count
    stream.anomalies += [
        Anomaly(one.event, one.sequence, stream.context, one.code, one.id, one.text) for one in saved.anomalies
    ]
    state: State = stream.state
    for step in saved.steps:
        state.add_step(_grown(RunStep, step))
    for message in saved.messages:
        state.add_message(_grown(Message, message))
    for run in saved.runs:
        state.set_run(build(Run, run))
    for key in {one.group for one in (*saved.steps, *saved.messages)} | {f"run:{run}" for run in state.runs}:
        list(state.bound(key))
    for delta in saved.waiting:
        cause = Cause(decode_event(Frame(delta.event, delta.payload.encode())), delta.sequence)
        _wait_again(stream, cause)


def _wait_again(stream: StreamFold, cause: Cause) -> None:
    event: Event = cause.event
    if isinstance(event.data, RunStepDelta | MessageDelta):
        kind = "step" if isinstance(event.data, RunStepDelta) else "message"
        stream.waiting.add((kind, event.data.id), cause)


def _saved(growing: Growing[Any]) -> _SavedObject:
    if growing.ended:
        saved = _SavedObject(growing.snapshot(), growing.group, growing.created, True, sent=growing.sent)
    else:
        saved = _SavedObject(growing.base, growing.group, growing.created, False, grown=_as_delta(growing.tree))
    saved.started, saved.finished = growing.started, sorted(growing.finished)
    return saved


def _as_delta(value: Any) -> Any:
    kind = type(value)
    if kind is Node:
        return {key: _as_delta(found) for key, found in value.items()}
    if kind is Indexed:
        return [{"index": index, **_as_delta(entry)} for index, entry in value.items()]
    return value.text() if kind is Pieces else value


def _grown(kind: type[Obj], saved: _SavedObject) -> Growing[Obj]:
    growing: Growing[Obj] = Growing(build(kind, saved.object), saved.group)
    growing.created, growing.ended = saved.created, saved.ended
    growing.started, growing.finished = saved.started, set(saved.finished)
    if saved.ended:
        growing.sent = build(kind, saved.sent)
    else:
        tree = Node(kind)
        merge(tree, build(_BODIES[kind], saved.grown))
        growing.plant(tree)
    return growing
