"""What a run's object does. The newest object wins, except that an ended run stays ended."""

from typing import Final, cast

from stepstream.fold.anomalies import AnomalyCode
from stepstream.fold.builder import SnapshotBuilder, identified
from stepstream.fold.cause import round_of
from stepstream.fold.changes import Change, RunTransition
from stepstream.fold.lifecycle import names_another_status
from stepstream.fold.orphans import EventRef
from stepstream.fold.state import run_key
from stepstream.fold.stream_state import StreamState, touch
from stepstream.fold.tool_calls import by_id, calls_of, finished_call, started_calls, value_of
from stepstream.wire.events import Event, with_status
from stepstream.wire.objects import RequiredAction, Run, RunStep

ASKING: Final = frozenset({"requires_action", "queued", "in_progress"})
"""The statuses that a run takes once for each round of tool calls."""


def apply_run(stream: StreamState, event: Event) -> list[Change]:
    """Fold the run of `event`."""
    ref = stream.ref(event)
    run = cast(Run, with_status(ref.event.name, ref.event.data))  # for events made by hand
    if not stream.runs:
        stream.adopt(run.id)
    before = stream.state.runs.get(run.id)
    if before is not None and event.bad_fields:
        run = identified(run, before)
    if before is not None and before.is_terminal:
        touch(stream.runs, run.id, before)
        refused = _refusal(before, run)
        if refused is not None:
            code, got = refused
            return [stream.anomaly(ref, code, run.id, "nothing else after the run ended", got)]
    touch(stream.runs, run.id, run)
    entry = stream.state.set_run(run)
    if run.status == "requires_action":
        entry.asked = round_of(_ids_asked(run))
    changes: list[Change] = []
    if names_another_status(ref.event.name, run.status):
        expected, got = "the status that the event's name says", "another in its object, which is kept"
        changes.append(stream.anomaly(ref, "status_mismatch", run.id, expected, got))
    changes += _asked_for(stream, ref, run)
    previous = (before.status or None) if before is not None else None
    if run.status and run.status != previous:
        again = entry.taken.take(run.status, entry.asked if run.status in ASKING else "")
        if RunTransition in stream.wanted:
            changes.append(RunTransition(*ref.cause, previous, run.status, run.is_terminal, again, run))
    changes += stream.bound(ref, entry)
    return changes


def _refusal(ended: Run, run: Run) -> tuple[AnomalyCode, str] | None:
    """Return why an object that comes after the end of its run is not taken, and what it is; None where it is taken."""
    if not run.is_terminal:
        return "status_regression", "an earlier status"
    if run == ended:
        return "duplicate_terminal", "the same object again"
    return None if run.status == ended.status else ("conflicting_terminal", "another end")


def _ids_asked(run: Run) -> list[str]:
    action = run.required_action
    return [call.id for call in action.tool_calls if call.id] if isinstance(action, RequiredAction) else []


def _asked_for(stream: StreamState, ref: EventRef, run: Run) -> list[Change]:
    """Return a `ToolCallFinished` for each call that the run waits for: its arguments are final."""
    asked = _ids_asked(run)
    if not asked:
        return []
    mine, touched = stream.state.entry(run_key(run.id, "")).steps, stream.steps.touched
    steps = [*mine.values(), *(step for one, step in touched.items() if not step.ended and one not in mine)]
    own = [step for step in steps if not step.ended and step.run_id in (run.id, None)]
    return [change for step in own for change in _finish(stream, ref, step, asked)]


def _finish(stream: StreamState, ref: EventRef, step: SnapshotBuilder[RunStep], asked: list[str]) -> list[Change]:
    calls = {index: call for index, call in calls_of(step).items() if value_of(call, "id") in asked}
    changes = started_calls(stream, ref, step, calls, at_end=True)
    for identifier, call in by_id(calls).items():
        told = step.told.get(identifier)
        if told is not None and not told.is_finished:
            changes += finished_call(stream, ref, step, identifier, call)
    return changes
