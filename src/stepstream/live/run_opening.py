"""Opening a run for writing: what others have written of it is folded first, so that the next event finds it."""

from collections.abc import Callable

from stepstream.fold.accumulator import Accumulator
from stepstream.fold.checkpoint import load_run
from stepstream.fold.run_state import retold_events, run_state
from stepstream.fold.state import run_key
from stepstream.fold.stream_state import StreamState
from stepstream.live.journal import Checkpoint, Held, WritableJournal, translated_errors
from stepstream.live.run_tap import RunTap, block_of
from stepstream.live.source import ItemDecoder


async def open_run(
    journal: WritableJournal, run_id: str, writer: str, again: Callable[[], Accumulator], stream: StreamState
) -> RunTap:
    """Open a run that `stream` goes on with. `again` makes a fresh accumulator on the same state, which folds silently.

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
        silent.translation.be_plain()
        silent.stream.orphans = stream.orphans
        with translated_errors():
            async for held in opened.held:
                fold_held(silent, held)
        state.entry(key).note_folded(journal, opened.position)
    elif entry is not None and (opened.position < known or not opened.position):
        run.blocks += [block_of(event) for event in retold_events(run_state(state, run_id))]
    return run


def fold_held(accumulator: Accumulator, held: Held) -> None:
    """Fold what a journal holds, and tell nobody of it."""
    stream = accumulator.stream
    if isinstance(held, Checkpoint):
        load_run(stream, held.data)
    else:
        stream.sequence = held.first - 1
        for frame in ItemDecoder().feed(held.data):
            accumulator.apply_frame(frame)
    stream.sequence = held.last
