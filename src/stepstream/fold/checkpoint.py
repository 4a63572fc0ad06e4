"""The state of one run as bytes and back: what stands for the events of its journal that are gone.

It is what `export` writes of that run, and what its dialect knows of it, so that the run goes on with the next event as
if all before had been folded here. What else is known stays as it is.
"""

from typing import Any, Final

import msgspec

from stepstream.dialects.state import DialectState, Response
from stepstream.errors import DecodeError
from stepstream.fold.export import (
    SavedDelta,
    SavedObject,
    SavedStatuses,
    grown_object,
    saved_delta,
    saved_object,
    taken_statuses,
    wait_again,
)
from stepstream.fold.state import run_key
from stepstream.fold.stream_state import StreamState, touch
from stepstream.wire.loose import Misfit, build
from stepstream.wire.messages import Message
from stepstream.wire.objects import Run, RunStep

FORMAT: Final = 1


class _Saved(msgspec.Struct):
    checkpoint: int
    id: str
    run: Any
    taken: SavedStatuses
    steps: list[SavedObject]
    messages: list[SavedObject]
    waiting: list[SavedDelta]
    dialect: Response | None


def save_run(stream: StreamState, run_id: str) -> bytes:
    """Return everything known of a run, as JSON: in the state, and what of its deltas waits in the stream."""
    state = stream.state
    entry = state.entry(run_key(run_id, ""))
    saved = _Saved(
        FORMAT,
        run_id,
        entry.run,
        SavedStatuses(entry.taken.counts, entry.taken.again, entry.asked),
        [saved_object(step) for step in entry.steps.values()],
        [saved_object(message) for message in entry.messages.values()],
        [saved_delta(ref) for ref in stream.orphans.everything()],
        state.dialect.runs.get(run_id),
    )
    return msgspec.json.encode(saved)


def load_run(stream: StreamState, data: bytes) -> None:
    """Make what `save_run` wrote the state of its run, and the stream's. What was known of that run is forgotten.

    Raises:
        ValueError: it is something else.
    """
    try:
        saved = msgspec.json.decode(data, type=_Saved)
        if saved.checkpoint != FORMAT:
            raise ValueError(f"expected a checkpoint of format {FORMAT}, got format {saved.checkpoint}")
        _load(stream, saved)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, DecodeError, Misfit, TypeError) as exc:
        raise ValueError(f"expected a checkpoint, got something else: {type(exc).__name__}") from exc


def _load(stream: StreamState, saved: _Saved) -> None:
    state, key = stream.state, run_key(saved.id, "")
    run = None if saved.run is None else build(Run, saved.run)
    steps = [grown_object(RunStep, step) for step in saved.steps]
    messages = [grown_object(Message, message) for message in saved.messages]
    state.forget(key)
    entry = state.entry(key)
    entry.taken, entry.asked, entry.origin = taken_statuses(saved.taken), saved.taken.asked, stream.origin
    for step in steps:
        state.add_step(step)
        touch(stream.steps.touched, step.base.id, step)
    for message in messages:
        state.add_message(message)
        touch(stream.messages.touched, message.base.id, message)
    if run is not None:
        state.set_run(run)
        touch(stream.runs, run.id, run)
    for delta in saved.waiting:
        wait_again(stream, delta)
    if saved.dialect is not None:
        _know(state.dialect, saved.id, saved.dialect)
    state.bound(entry)


def _know(dialect: DialectState, run_id: str, response: Response) -> None:
    """Let a dialect know a run, its responses and its items."""
    dialect.runs[run_id] = response
    dialect.responses.update(dict.fromkeys(response.ids, run_id))
    dialect.steps.update({item.id: run_id for item in response.items})
