"""Following a run: what its journal holds, folded as far as it is not folded already."""

from collections.abc import Callable, Iterable, Iterator

from stepstream.fold.state import run_key
from stepstream.live.journal import Checkpoint, RunPiece
from stepstream.live.plain_route import PlainRoute
from stepstream.live.silent_fold import SilentFold


class FollowedRun:
    """Folds the pieces of a run that a stream follows. `read` folds bytes and dispatches their changes."""

    def __init__(self, plain: PlainRoute, read: Callable[[bytes], Iterable[None]]) -> None:
        self._plain = plain
        self._read = read
        self._silent: SilentFold | None = None

    def fold(self, piece: RunPiece) -> Iterator[None]:
        """Fold a piece, in steps."""
        accumulator, stream, key = self._plain.accumulator, self._plain.accumulator.stream, run_key(piece.run_id, "")
        if not stream.journal:
            stream.journal, self._plain.tap = piece.run_id, None  # what comes from a journal is not written again
            accumulator.translation.be_plain()
        held, known = piece.held, stream.state.entry(key).folded_of(piece.journal)
        if not known and (isinstance(held, Checkpoint) or held.first == 1):
            stream.state.forget(key)  # its journal says all that is known of it
        if known >= held.last:
            stream.touch_whole(piece.run_id)
            return
        held = held if isinstance(held, Checkpoint) else held.after(known)
        if piece.is_silent or isinstance(held, Checkpoint):
            self._silent = self._silent or SilentFold(accumulator)
            self._silent.fold(held)
        else:
            stream.sequence = held.first - 1
            for _ in self._read(held.data):
                stream.state.entry(key).note_folded(piece.journal, stream.sequence)
                yield  # and maybe never again: another stream may go on from here before this is let go of
        stream.sequence = held.last  # whatever its bytes hold
        stream.state.entry(key).note_folded(piece.journal, stream.sequence)
