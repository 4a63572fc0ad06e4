"""Opening a run for writing: what others have written of it is folded first, so that the next event finds it."""

from collections.abc import Callable, Sequence
from typing import Protocol

from stepstream.fold.accumulator import Accumulator
from stepstream.fold.checkpoint import save_run
from stepstream.fold.entry import RunEntry
from stepstream.fold.repetition import Repetition
from stepstream.fold.run_state import retold_events, run_state
from stepstream.fold.state import State, run_key
from stepstream.fold.stream_state import StreamState
from stepstream.live.early_events import EarlyEvents
from stepstream.live.journal import Checkpoint, Held, WritableJournal, translated_errors
from stepstream.live.run_tap import RunTap, block_of
from stepstream.wire.events import Event


class HeldFold(Protocol):
    """Folds what a journal holds of a run, and tells nobody."""

    accumulator: Accumulator

    def fold(self, held: Held) -> None:
        """Fold what comes next."""


async def open_run(
    journal: WritableJournal,
    run_id: str,
    writer: str,
    again: Callable[[], HeldFold],
    stream: StreamState,
    first: Sequence[Event],
    early: EarlyEvents,
) -> RunTap:
    """Open a run that `stream` goes on with, by its `first` event, if one came; what came before is `early`. `again`
    makes a silent fold on the same state.

    Of a run that is known, but not to its journal or not all of it, the journal gets the events that fold to what is
    known: where it refused some, those that followed them get what they missed.

    Raises:
        JournalError: it cannot be opened.
    """
    state, key = stream.state, run_key(run_id, "")
    entry = state.find(key)
    known = 0 if entry is None else entry.folded_of(journal)
    begins = _begins(first, is_new=entry is None)
    with translated_errors():
        opened = await journal.open(run_id, writer=writer, after=known)
    run = RunTap(opened)
    base: Checkpoint | None = None
    if opened.position > known:
        base = await _fold_held(run, known, again(), stream)
        entry = state.entry(key)
        entry.note_folded(journal, opened.position)
    elif entry is not None and (opened.position < known or not opened.position):
        run.add([block_of(event) for event in retold_events(run_state(state, run_id))])
    repetition = None if entry is None else _repetition(run, entry, state, base, begins=begins)
    if repetition is None:
        run.add(early.taken()[run.position if begins else 0 :])  # its journal has no more than such events, if any
    else:
        repetition.pass_over(len(early.taken()))
    return run


async def _fold_held(run: RunTap, known: int, silent: HeldFold, stream: StreamState) -> Checkpoint | None:
    """Fold what its journal holds of a run after a position, and return the state from which its dialect goes on: the
    newest checkpoint, else what is known here. None where it goes on from nothing."""
    state, run_id = stream.state, run.opened.run_id
    before, base = state.dialect.runs.get(run_id), None
    if not known:
        state.forget(run.key)  # its journal says all that is known of it
    elif before is not None:
        base = Checkpoint(run.opened.fence, known, save_run(stream, run_id))
    silent.accumulator.stream.orphans = stream.orphans
    with translated_errors():
        async for held in run.opened.held:
            silent.fold(held if isinstance(held, Checkpoint) else held.after(known))
            base, known = held if isinstance(held, Checkpoint) else base, held.last
    found = state.dialect.runs.get(run_id)
    run.is_loaded = found is not None and found is not before
    return base


def _begins(first: Sequence[Event], *, is_new: bool) -> bool:
    """Return whether an event that was translated is of a run that its dialect did not know."""
    return bool(first) and first[0].is_translated and (is_new or first[0].name == "thread.run.created")


def _repetition(
    run: RunTap, entry: RunEntry, state: State, base: Checkpoint | None, *, begins: bool
) -> Repetition | None:
    """Return what makes a repetition of what comes, where its dialect does not go on where its journal does."""
    position = run.position
    if begins and position and entry.run is not None:
        state.dialect.forget(run.opened.run_id)
        run.is_loaded = True
        entry.repetition = Repetition(entry, position)
    elif base is not None and base.last < position and run.opened.run_id in state.dialect.runs:
        entry.repetition = Repetition(entry, position - base.last, base.data)
    repetition: Repetition | None = entry.repetition
    return repetition
