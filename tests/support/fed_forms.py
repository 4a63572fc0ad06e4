"""Runs as forms are fed with them: event by event, what each did, and the state after it."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from stepstream import Accumulator, Anomaly, Event, FrameDecoder, Run, RunState
from stepstream.fold.changes import Change
from stepstream.fold.run_state import run_state
from stepstream.relay.forms.form import FormKind
from stepstream.wire.sse import Frame


class Fed(NamedTuple):
    """What a form is fed with, and the state then."""

    event: Event
    changes: Sequence[Change]
    state: RunState


def run_of(stream: bytes) -> list[Fed]:
    """Return the first run of a stream, without what comes before its id is known."""
    return fed_of(FrameDecoder().feed(stream))


def fed_of(frames: Iterable[Frame]) -> list[Fed]:
    """Return the first run of these frames, likewise."""
    accumulator, fed, run_id = Accumulator(), [], ""
    accumulator.stream.journal = "run"
    for frame in frames:
        for event in accumulator.translation.feed(frame):
            changes = accumulator.apply(event)
            run_id = run_id or next((change.run_id or "" for change in changes if not isinstance(change, Anomaly)), "")
            is_other = isinstance(event.data, Run) and event.data.id != run_id
            if run_id and event.name not in ("done", "error") and not is_other:
                fed.append(Fed(event, changes, run_state(accumulator.state, run_id, _waiting(accumulator))))
    return fed


def _waiting(accumulator: Accumulator) -> list[Event]:
    return [ref.event for ref in accumulator.stream.orphans.everything()]


def told_from(kind: FormKind, fed: Sequence[Fed], joined: int) -> tuple[list[Frame], list[list[Frame]]]:
    """Return what a viewer gets who joins after `joined` events: first, and then with each event."""
    form = kind.make()
    first = form.begin(fed[joined - 1].state if joined else None)
    return first, [form.feed(one.event, one.changes) for one in fed[joined:]]
