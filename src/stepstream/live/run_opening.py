"""Opening a run for writing: what others have written of it is folded first, so that the next event finds it."""

from collections.abc import Callable
from typing import Protocol

from stepstream.fold.accumulator import Accumulator
from stepstream.fold.run_state import retold_events, run_state
from stepstream.fold.state import run_key
from stepstream.fold.stream_state import StreamState
from stepstream.live.journal import Held, WritableJournal, translated_errors
from stepstream.live.run_tap import RunTap, block_of


class HeldFold(Protocol):
    """Folds what a journal holds of a run, and tells nobody."""

    accumulator: Accumulator

    def fold(self, held: Held) -> None:
        """Fold what comes next."""


async def open_run(
    journal: WritableJournal, run_id: str, writer: str, again: Callable[[], HeldFold], stream: StreamState
) -> RunTap:
    """Open a run that `stream` goes on with. `again` makes a silent fold on the same state.

    Of a run that is known, but not to its journal or not all of it, the journal gets the events that fold to what is
    known: where it refused some, those that followed them get what they missed.

    Raises:
        JournalError: it cannot be opened.
    """
    state, key = stream.state, run_key(run_id, "")
    entry = state.find(key)
    known = 0 if entry is None else entry.folded_of(journal)
    with translated_errors():
        opened = await journal.open(run_id, writer=writer, after=known)
    run = RunTap(opened)
    if opened.position > known:
        if not known:
            state.forget(key)  # its journal says all that is known of it
        silent = again()
        silent.accumulator.stream.orphans = stream.orphans
        with translated_errors():
            async for held in opened.held:
                silent.fold(held)
        state.entry(key).note_folded(journal, opened.position)
    elif entry is not None and (opened.position < known or not opened.position):
        run.blocks += [block_of(event) for event in retold_events(run_state(state, run_id))]
    return run
