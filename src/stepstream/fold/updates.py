"""What one event does to one step or message: a full object opens, updates or ends it; a delta adds to it.

Steps and messages follow the same rules. What differs between them stands in their `ObjectTable`; that only steps have
tool calls is the one condition left here.
"""

from collections.abc import Mapping
from typing import Any, cast

import msgspec

from stepstream.fold.anomalies import AnomalyCode
from stepstream.fold.builder import GROWN_FIELDS, Append, SnapshotBuilder
from stepstream.fold.changes import NO_DELTA, Change, MessageProgress, StepProgress
from stepstream.fold.deltas import Conflict, DeltaTree, Unclear
from stepstream.fold.entry import run_of_nameless
from stepstream.fold.lifecycle import CREATING_EVENTS, ENDING_EVENTS
from stepstream.fold.object_table import ObjectTable
from stepstream.fold.orphans import EventRef
from stepstream.fold.state import run_key
from stepstream.fold.stream_state import StreamState, touch
from stepstream.fold.subjects import subject_of
from stepstream.fold.tool_calls import Call, calls_of, ended_calls, started_calls, touched_calls
from stepstream.fold.tree import Node
from stepstream.wire.deltas import MessageDelta, RunStepDelta
from stepstream.wire.events import Event, read_again, with_status
from stepstream.wire.messages import Message
from stepstream.wire.objects import RunStep


class _Update(msgspec.Struct, gc=False):
    """One event about one object, and the changes it makes."""

    stream: StreamState
    ref: EventRef
    table: ObjectTable[Any]
    builder: SnapshotBuilder[Any]
    changes: list[Change] = []

    def anomaly(self, code: AnomalyCode, expected: str, got: str) -> None:
        """Note an anomaly."""
        self.changes.append(self.stream.anomaly(self.ref, code, self.builder.base.id, expected, got))

    def transition(self, previous: str | None, *, ends: bool) -> None:
        """Note that the object has another status than the `previous` one."""
        builder, make = self.builder, self.table.transition
        status: Any = builder.base.status or ""
        again = builder.take_status(previous, status, ends=ends)
        if make in self.stream.wanted:
            held = builder.snapshot() if builder.base.run_id else subject_of(builder.snapshot(), builder.run_id)
            self.changes.append(make(*self.ref.cause, previous, status, ends, again, held))

    def progress(self, body: Any = None, *, late: bool = False) -> None:
        """Note the progress that a delta made; without a body, that of a full object."""
        event, make = self.ref.event, self.table.progress
        if make in self.stream.wanted:
            raw, offset = (b"", NO_DELTA) if body is None or event.is_translated else (event.payload, 0)
            self.changes.append(make(*self.ref.cause, late, self.builder, raw, offset, body, self.stream.journal))

    def started(self, calls: Mapping[int, Call]) -> None:
        """Note which of some calls are known to have started now."""
        if calls:
            self.changes += started_calls(self.stream, self.ref, self.builder, calls)

    def calls(self) -> Mapping[int, Call]:
        return calls_of(self.builder) if self.table.is_steps else {}


def apply_object(stream: StreamState, table: ObjectTable[Any], event: Event) -> list[Change]:
    """Fold the full object of `event`."""
    full: Any = event.data
    if not full.status:  # an event made by hand did not come through `decode_event`
        full = with_status(event.name, full)
    builder = table.known.get(full.id)
    if builder is not None:
        stream.meet(table, builder, full.run_id)
        if full is builder.base and builder.grown is None and not (builder.ended or event.name in CREATING_EVENTS):
            return []  # the very object that is known: `decode_event` saw the same bytes again
    ref, ends = stream.ref(event), event.name in ENDING_EVENTS or full.is_terminal
    if builder is None:
        return _open(stream, ref, table, full, ends=ends)
    update = _Update(stream, ref, table, builder)
    if builder.ended:
        return _repeat(update, full, ends=ends)
    return _end(update, full, builder.base.status) if ends else _update(update, full)


def _open(
    stream: StreamState, ref: EventRef, table: ObjectTable[Any], full: RunStep | Message, *, ends: bool
) -> list[Change]:
    """Begin to build an object, from the deltas that waited for it too."""
    waited = stream.orphans.take((table.name, full.id)) if stream.orphans.count else []
    run_id = full.run_id or run_of_nameless(full, stream.runs, stream.steps.touched)
    builder: SnapshotBuilder[Any] = SnapshotBuilder(full, run_key(run_id, f"{table.name}:{full.id}"))
    if ends and waited:  # they build the fields that grow, and then it settles them
        builder.base = msgspec.structs.replace(full, **dict.fromkeys(GROWN_FIELDS[type(full)]))
    builder.created = ref.event.name in CREATING_EVENTS
    entry = table.add(builder)
    touch(table.touched, full.id, builder)
    update = _Update(stream, ref, table, builder)
    if ends:  # the transition carries the whole object: the progress that led there is left out
        added = [change for delta in waited for change in _add(_Update(stream, delta, table, builder))]
        kept = [change for change in added if not isinstance(change, StepProgress | MessageProgress)]
        return [*kept, *_end(update, full, None), *stream.bound(ref, entry)]
    update.transition(None, ends=False)
    update.started(update.calls())
    for delta in waited:
        update.changes += _add(_Update(stream, delta, table, builder))
    return [*update.changes, *stream.bound(ref, entry)]


def _update(update: _Update, full: Any) -> list[Change]:
    """Take a full object on the way."""
    table, builder = update.table, update.builder
    if update.ref.event.name in CREATING_EVENTS:
        if builder.created:
            update.anomaly("duplicate_created", f"one created event for the {table.name}", "another")
        builder.created = True
    previous, added = builder.base.status, builder.update(full)
    if previous != builder.base.status:
        update.transition(previous, ends=False)
    update.started(update.calls())
    if added:
        update.progress()
    return update.changes


def _end(update: _Update, full: Any, previous: str | None) -> list[Change]:
    """Take the terminal object. After it nothing is told of calls, so what was told is forgotten."""
    stream, ref, builder, before = update.stream, update.ref, update.builder, update.calls()
    builder.settle(full, is_odd=bool(ref.event.bad_fields))
    if update.table.is_steps:
        update.changes += ended_calls(stream, ref, builder, before)
        builder.told.clear()
    update.transition(previous, ends=True)
    entry = stream.state.entry(builder.run_key)
    if entry.is_run:
        entry.origin = stream.origin  # a run ends with its own object: there is nothing to drop before
    else:
        update.changes += stream.bound(ref, entry)
    return update.changes


def _repeat(update: _Update, full: Any, *, ends: bool) -> list[Change]:
    """Take an object after the terminal one: what it fills is progress, what it contradicts an anomaly."""
    name, builder = update.table.name, update.builder
    if not ends:
        update.anomaly("status_regression", f"nothing but repetitions after the {name} ended", "an earlier status")
        return update.changes
    filled = against = False
    if full not in (builder.sent, builder.snapshot()):
        filled, against = builder.complete(full) if full.status == builder.base.status else (False, True)
    if filled:
        update.progress(late=True)
    if against:
        update.anomaly("conflicting_terminal", f"what the first terminal object of the {name} said", "something else")
    elif not filled:
        update.anomaly("duplicate_terminal", f"one terminal event for the {name}", "another")
    return update.changes


def apply_delta(stream: StreamState, table: ObjectTable[Any], event: Event) -> list[Change]:
    """Fold the delta of `event` into the object it names, or let it wait for that object."""
    delta: Any = event.data
    ref = stream.ref(event)
    builder = table.known.get(delta.id)
    if builder is None:
        return _wait(stream, ref, table, delta.id)
    if delta.id not in table.touched:
        touch(table.touched, delta.id, builder)
    return _add(_Update(stream, ref, table, builder))


def _wait(stream: StreamState, ref: EventRef, table: ObjectTable[Any], identifier: str) -> list[Change]:
    key = table.name, identifier
    is_first = key not in stream.orphans
    if not stream.orphans.add(key, ref):
        expected = f"the {table.name} before its deltas"
        return [stream.anomaly(ref, "orphan_overflow", identifier, expected, "more of them than can wait")]
    expected = f"the {table.name} before its delta"
    return [stream.anomaly(ref, "delta_before_created", identifier, expected, "the delta first")] if is_first else []


def _add(update: _Update) -> list[Change]:
    """Add a delta: wholly or, with an anomaly, not at all; if its object has ended, only fill."""
    body, builder = _body(update.ref.event), update.builder
    builder.deltas += 1
    if body is None:
        return []
    try:
        body, tree = _checked(builder, update.ref.event, body)
    except Conflict as conflict:
        if not builder.ended:
            update.anomaly(conflict.code, conflict.expected, conflict.got)
        tree = None
    if builder.ended:
        return _fill(update, body)
    if tree is None or not any(value is not None for value in tree.root.values()):
        return update.changes
    if builder.counted_in is not None and update.stream.overflows(update.ref, builder, tree.root, update.changes):
        return update.changes
    effect = builder.merge(tree.root, has_repetitions=tree.has_odd_lists)
    if not effect.only_append:
        update.started(touched_calls(update.calls(), tree.root))
    elif effect.appended is not None and tree.is_typed:
        update.stream.append = None if builder.counted_in else Append(builder, *effect.appended)
    update.progress(body)
    return update.changes


def _body(event: Event) -> Any:
    return cast(RunStepDelta | MessageDelta, event.data).delta


def _checked(builder: SnapshotBuilder[Any], event: Event, body: Any) -> tuple[Any, DeltaTree]:
    """Return the body of a delta, and that as a tree which contradicts nothing.

    Raises:
        Conflict: it contradicts what is known.
    """
    tree = DeltaTree(type(builder.base), body)
    _check_type(builder, tree.root)
    try:
        tree.check(builder.tree)
    except Unclear:
        body = _body(read_again(event))
        tree = DeltaTree(type(builder.base), body)
        tree.check(builder.tree, certain=True)
        tree.is_typed = False
    return body, tree


def _check_type(builder: SnapshotBuilder[Any], delta: Node) -> None:
    """Check the type of a step's delta against the step's own field. Against its details, the tree is checked."""
    details, known = delta.get("step_details"), getattr(builder.base, "type", None)
    given = details.get("type") if type(details) is Node else None
    if known and isinstance(given, str) and given and given != known:
        raise Conflict("type_conflict", "step_details of the step's own type", "another")


def _fill(update: _Update, body: Any) -> list[Change]:
    """Add a late delta: what the terminal object left null is filled, all else lost."""
    effect = update.builder.fill(DeltaTree(type(update.builder.base), body).root)
    if effect.added:
        update.progress(body, late=True)
    if effect.lost:
        expected = f"no more than what the ended {update.table.name} left null"
        update.anomaly("delta_after_terminal", expected, "something else, which is dropped")
    return update.changes
