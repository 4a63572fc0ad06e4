"""The state of an accumulator as bytes and back, to go on in another process: all that later events depend on.

What deltas have touched is written as the tree it is (`tree_json`), so that those to come find their place.
"""

from typing import Any, Final, TypeVar

import msgspec

from stepstream.dialects.canonical import frame_of_event
from stepstream.dialects.state import DialectState
from stepstream.dialects.translation import Translation
from stepstream.errors import DecodeError
from stepstream.fold.anomalies import Anomaly, AnomalyCode
from stepstream.fold.builder import SnapshotBuilder, ToldCall
from stepstream.fold.cause import TakenStatuses
from stepstream.fold.orphans import EventRef
from stepstream.fold.state import State, run_key
from stepstream.fold.stream_state import StreamState
from stepstream.fold.tree import Node
from stepstream.fold.tree_json import tree_as_json, tree_from_json
from stepstream.wire.deltas import MessageDelta, RunStepDelta
from stepstream.wire.events import decode_event
from stepstream.wire.loose import Misfit, build
from stepstream.wire.messages import Message
from stepstream.wire.objects import Run, RunStep
from stepstream.wire.sse import Frame

FORMAT: Final = 2

Obj = TypeVar("Obj", RunStep, Message)


class SavedStatuses(msgspec.Struct):
    """The statuses that a run, step or message took."""

    counts: dict[str, int]
    again: str
    asked: str = ""


class SavedObject(msgspec.Struct):
    """A step or message, and what deltas have added to it."""

    object: Any
    group: str
    created: bool
    ended: bool
    grown: Any = None
    sent: Any = None
    started: dict[str, tuple[int, str, str | None]] = {}
    finished: list[str] = []
    taken: SavedStatuses | None = None


class _SavedAnomaly(msgspec.Struct):
    event: str
    sequence: int
    code: AnomalyCode
    id: str | None
    expected: str
    got: str
    run_id: str | None
    thread_id: str | None
    event_id: str
    received_at: float | None


class SavedDelta(msgspec.Struct):
    """A delta that waits for its object."""

    event: str
    payload: str
    sequence: int
    id: str
    received_at: float | None


class _Saved(msgspec.Struct):
    stepstream: int
    sequence: int
    order: tuple[list[str], list[str]]
    touched: tuple[list[str], list[str], list[str]]
    anomaly_count: int
    anomalies: list[_SavedAnomaly]
    runs: list[Any]
    steps: list[SavedObject]
    messages: list[SavedObject]
    waiting: list[SavedDelta]
    taken: dict[str, SavedStatuses]
    dialect: DialectState
    translation: tuple[str, Any]


def save(stream: StreamState, translation: Any) -> bytes:
    """Return everything known to `stream`, its translation and its state, as JSON. The context is not part of it."""
    state = stream.state
    anomalies = [
        _SavedAnomaly(**{name: getattr(one, name) for name in _SavedAnomaly.__struct_fields__})
        for one in stream.anomalies
    ]
    waiting = [saved_delta(ref) for ref in stream.orphans.everything()]
    entries = [state.entry(run_key(one, "")) for one in state.runs]
    saved = _Saved(
        FORMAT,
        stream.sequence,
        state.order,
        (list(stream.runs), list(stream.steps.touched), list(stream.messages.touched)),
        stream.anomaly_count,
        anomalies,
        list(state.runs.values()),
        [saved_object(step) for step in state.steps.values()],
        [saved_object(message) for message in state.messages.values()],
        waiting,
        {entry.key: SavedStatuses(entry.taken.counts, entry.taken.again, entry.asked) for entry in entries},
        state.dialect,
        translation,
    )
    return msgspec.json.encode(saved)


def saved_delta(ref: EventRef) -> SavedDelta:
    """Return a delta that waits, in the words of the fold."""
    frame = frame_of_event(ref.event)
    return SavedDelta(frame.event, frame.data.decode(), ref.sequence, frame.id, ref.received_at)


def load_into(stream: StreamState, translation: Translation, data: bytes) -> None:
    """Fill a fresh `stream`, its `translation` and its state with what `save` gave.

    Raises:
        ValueError: `data` is nothing that `save` gave.
    """
    try:
        saved = msgspec.json.decode(data, type=_Saved)
        if saved.stepstream != FORMAT:
            raise ValueError(f"expected an export of format {FORMAT}, got format {saved.stepstream}")
        _load(stream, saved)
        translation.load(saved.translation)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, DecodeError, Misfit, TypeError) as exc:
        raise ValueError(f"expected the bytes that `export` gave, got something else: {exc}") from exc


def _load(stream: StreamState, saved: _Saved) -> None:
    stream.sequence = saved.sequence
    stream.anomaly_count = saved.anomaly_count
    stream.anomalies += [Anomaly(context=stream.context, **msgspec.structs.asdict(one)) for one in saved.anomalies]
    _load_state(stream.state, saved)
    runs, steps, messages = saved.touched
    state = stream.state
    stream.runs.update((one, state.runs[one]) for one in runs if one in state.runs)
    stream.steps.touched.update((one, state.steps[one]) for one in steps if one in state.steps)
    stream.messages.touched.update((one, state.messages[one]) for one in messages if one in state.messages)
    for delta in saved.waiting:
        wait_again(stream, delta)


def _load_state(state: State, saved: _Saved) -> None:
    state.dialect.runs, state.dialect.responses = saved.dialect.runs, saved.dialect.responses
    state.dialect.steps, state.dialect.unnamed = saved.dialect.steps, saved.dialect.unnamed
    keys = [key for some in saved.order for key in some]
    for key in keys:
        entry = state.entry(key)
        if key in saved.taken:
            entry.taken, entry.asked = taken_statuses(saved.taken[key]), saved.taken[key].asked
    for step in saved.steps:
        state.add_step(grown_object(RunStep, step))
    for message in saved.messages:
        state.add_message(grown_object(Message, message))
    for run in saved.runs:
        state.set_run(build(Run, run))
    state.place_loaded()
    for key in keys:
        kept = state.find(key)
        if kept is not None:
            state.bound(kept)


def wait_again(stream: StreamState, delta: SavedDelta) -> None:
    """Let a delta wait for its object, as it did."""
    frame = Frame(delta.event, delta.payload.encode(), delta.id)
    event = decode_event(frame, max_depth=len(frame.data))
    ref = EventRef.of(event, delta.sequence, stream.context, delta.received_at)
    if isinstance(event.data, RunStepDelta | MessageDelta):
        kind = "step" if isinstance(event.data, RunStepDelta) else "message"
        stream.orphans.add((kind, event.data.id), ref)


def saved_object(builder: SnapshotBuilder[Any]) -> SavedObject:
    """Return a step or message to be written."""
    grown = None if builder.grown is None else tree_as_json(builder.grown)
    return SavedObject(
        builder.base,
        builder.run_key,
        builder.created,
        builder.ended,
        grown,
        builder.sent,
        {identifier: (call.index, call.type, call.name) for identifier, call in builder.told.items()},
        sorted(identifier for identifier, call in builder.told.items() if call.is_finished),
        None if builder.taken is None else SavedStatuses(builder.taken.counts, builder.taken.again),
    )


def taken_statuses(saved: SavedStatuses) -> TakenStatuses:
    """Return what was written of the statuses that an object took."""
    taken = TakenStatuses()
    taken.counts, taken.again = saved.counts, saved.again
    return taken


def grown_object(kind: type[Obj], saved: SavedObject) -> SnapshotBuilder[Obj]:
    """Return what was written of a step or message.

    Raises:
        ValueError: it has no status, or its tree is none. What does not fit `kind` raises what `build` raises.
    """
    base: Obj = build(kind, saved.object)
    if base.status is msgspec.UNSET:  # one that was folded has the status of its event, if it came without
        raise ValueError(f"expected a {kind.__name__} with a status")
    builder: SnapshotBuilder[Obj] = SnapshotBuilder(base, saved.group)
    builder.created, builder.ended = saved.created, saved.ended
    finished = set(saved.finished)
    builder.told = {one: ToldCall(*call, one in finished) for one, call in saved.started.items()}
    if saved.taken is not None:
        builder.taken = taken_statuses(saved.taken)
    if saved.sent is not None:
        builder.sent = build(kind, saved.sent)
    if saved.grown is not None:
        tree = tree_from_json(saved.grown)
        if not isinstance(tree, Node) or tree.struct is not kind or not tree.keys() <= {*base.__struct_fields__}:
            raise ValueError(f"expected the tree of a {kind.__name__}")
        builder.set_tree(tree)
    return builder
