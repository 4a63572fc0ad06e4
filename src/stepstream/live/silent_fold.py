"""Folding what a journal holds of a run, told to nobody: the usual deltas from their bytes, as the fast path does."""

from stepstream.fold.accumulator import Accumulator
from stepstream.fold.changes import Change
from stepstream.fold.checkpoint import load_run
from stepstream.live.fanout import StreamFanout
from stepstream.live.fast_path import FastPath
from stepstream.live.journal import BLANK, MAX_PACK_BYTES, Checkpoint, Held, Pack
from stepstream.live.plain_route import PlainRoute
from stepstream.live.routing import Routes
from stepstream.wire.events import Event
from stepstream.wire.scan import Scanner


class SilentFold:
    """Folds packs and checkpoints of a run, in order, into `accumulator`, which is plain: a journal has no dialect."""

    def __init__(self, accumulator: Accumulator) -> None:
        self.accumulator = accumulator
        accumulator.translation.be_plain()
        routes = Routes()
        self._scanner = Scanner(may_have_mark=False)
        plain = _SilentRoute(accumulator, routes, _tell_nobody)
        self._fast_path = FastPath(self._scanner, plain, routes, StreamFanout(routes))

    def __repr__(self) -> str:
        return f"<SilentFold {self.accumulator!r}>"

    def fold(self, held: Held) -> None:
        """Fold what comes next.

        Raises:
            ValueError: it is a checkpoint that cannot be read.
            FrameTooLarge: an event is longer than 16 MiB.
        """
        stream = self.accumulator.stream
        if isinstance(held, Checkpoint):
            load_run(stream, held.data)
        else:
            stream.sequence = held.first - 1
            self._fold_pack(held)
        stream.sequence = held.last

    def _fold_pack(self, pack: Pack) -> None:
        sizes = self.accumulator.stream.sizes
        if sizes.unchecked + pack.size > sizes.half:
            self.accumulator.stream.check_sizes(pack.size)
        sizes.unchecked += pack.size
        if (
            self._scanner.is_between_blocks
            and pack.size <= MAX_PACK_BYTES
            and self._fast_path.take(pack.data.removesuffix(BLANK))
        ):
            return
        frames, blocks = self._scanner.feed(pack.data)
        for frame in frames:
            self._fast_path.fold_frame(frame)
        self._fast_path.fold(blocks)  # all of them, as no queue is full and no event is the last


class _SilentRoute(PlainRoute):
    """Folds events and nothing else. None of them says that a stream is over: these are a stream's and no run's."""

    __slots__ = ()

    def fold(self, event: Event) -> bool:
        """Fold an event."""
        self.accumulator.apply(event)
        return False


def _tell_nobody(change: Change) -> bool:
    return False
