"""Reading one stream: items of a source in, changes dispatched, and the verdict on how it ended.

`Reader` awaits nothing. It folds an item in steps and yields between them, so that its caller can wait where a
subscriber's queue is full: `source_reader` does, and lets other tasks run where a source never waits.

How an item takes its way: bytes are cut into blocks by the scanner. The fast path folds those that match a template,
and passes each other one on to the plain route. Frames, events and SSE messages go the plain route at once.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final, assert_never

from stepstream.dialects.translation import says_end
from stepstream.errors import FrameTooLarge, StepStreamError
from stepstream.fold.accumulator import Accumulator
from stepstream.fold.ending import failure_of
from stepstream.fold.outcome import Outcome, outcome_of
from stepstream.fold.reconcile import ServerAnswer, missed_events
from stepstream.live.fast_path import FastPath
from stepstream.live.followed import FollowedRun
from stepstream.live.journal import RunPiece
from stepstream.live.marks import ContinuedRun, Reconnected, ServerEvents, Told
from stepstream.live.pending import Signal
from stepstream.live.plain_route import PlainRoute
from stepstream.live.progress import Fanout
from stepstream.live.routing import Routes
from stepstream.live.shapes import ShapeTable
from stepstream.live.source import beginning_of_bytes, encoded, frame_of
from stepstream.live.stream_tap import StreamTap
from stepstream.wire.error_body import ENOUGH, foreign_text
from stepstream.wire.events import Event
from stepstream.wire.scan import MAX_KEPT, Scanner
from stepstream.wire.sse import Frame

MAX_PIECE: Final = 2**16
"""Longer chunks are read in pieces of so many bytes, so that one chunk does not overfill queues."""

EVENTS_BETWEEN_CHECKPOINTS: Final = 1024
"""A source that never waits lets other tasks run, and can be cancelled, after so many events, or items without one."""


class Reader:
    """Fold the items of one stream. Once `is_done`, nothing more may be read: what follows `done` is ignored."""

    def __init__(
        self,
        accumulator: Accumulator,
        routes: Routes,
        fanout: Fanout,
        *,
        max_event_bytes: int,
        clock: Callable[[], float] | None,
        shapes: ShapeTable | None = None,
        tap: StreamTap | None = None,
    ) -> None:
        self.accumulator = accumulator
        self._stream = accumulator.stream
        self._sizes = self._stream.sizes
        self._clock = clock
        self._has_ended = False
        self._opening = b""  # the first bytes of a stream that has no event yet
        self._piece_size = max(1, min(MAX_PIECE, max_event_bytes, self._sizes.half))
        self._max_event_bytes = max_event_bytes
        self.plain = PlainRoute(accumulator, routes, fanout.dispatch, tap)
        self._scanner = Scanner(max_event_bytes=max_event_bytes)
        self._fast_path = FastPath(self._scanner, self.plain, routes, fanout, shapes)
        self._followed: FollowedRun | None = None
        self.begun = Signal()
        """Notified once a run is known."""

    @property
    def is_done(self) -> bool:
        """Whether `done` came."""
        return self.plain.is_done

    def read(self, item: Any) -> Iterable[None]:
        """Fold one item and dispatch its changes. Between two steps of the iteration the caller may wait for room.

        Raises:
            StreamFailed: the stream carried an `error` event.
            FrameTooLarge: an event is longer than the limit; everything before it is folded.
            TypeError: the item is of no kind that a source may yield.
        """
        if self._clock is not None:
            self._stream.received_at = self._clock()
        if type(item) is not bytes or (size := len(item)) > self._piece_size:
            return self._follow(item) if type(item) is RunPiece else self._other(item)
        sizes = self._sizes
        if sizes.unchecked + size > sizes.half:
            self._stream.check_sizes(size + MAX_KEPT)  # a block of which the beginning came before ends in it
        sizes.unchecked += size
        scanner = self._scanner
        if scanner.is_between_blocks and self._fast_path.fold_chunk(item):
            return ()
        try:
            # What a journal keeps, and a dialect, is folded uncut; else a delta costs as much where texts take turns.
            is_uncut = self.plain.tap is not None or self._fast_path.translated.patterns
            frames, blocks = scanner.feed(item, self._fast_path.take if is_uncut else None)
        except FrameTooLarge as excess:
            return self._rest(excess.frames, [], excess)
        if not blocks and not frames:
            return ()
        if frames or len(blocks) > EVENTS_BETWEEN_CHECKPOINTS:
            return self._rest(frames, blocks)
        folded = self._fast_path.fold(blocks)
        return () if folded == len(blocks) else self._rest([], blocks[folded:])

    def _rest(
        self, frames: Sequence[Frame], blocks: Sequence[bytes], excess: FrameTooLarge | None = None
    ) -> Iterator[None]:
        """Fold what a chunk holds in steps, after each of which a queue may be full."""
        yield
        for frame in frames:
            if self.is_done:
                return
            self._fast_path.fold_frame(frame)
            yield
        while blocks and not self.is_done:
            blocks = blocks[self._fast_path.fold(blocks[:EVENTS_BETWEEN_CHECKPOINTS]) :]
            yield
        if excess is not None and not self.is_done:
            raise excess

    def _other(self, item: Any) -> Iterator[None]:
        if isinstance(item, bytes | bytearray | memoryview):
            for start in range(0, len(item), self._piece_size):
                if self.is_done:
                    return
                yield from self.read(bytes(item[start : start + self._piece_size]))
                yield
        elif isinstance(item, str):
            yield from self._other(encoded(item))
        elif isinstance(item, Event):
            self.plain.fold(item)
            yield
        elif isinstance(item, Told):
            yield from self._take(item)
        else:
            self._fold_frame(item if isinstance(item, Frame) else frame_of(item))
            yield

    def _take(self, item: Told) -> Iterator[None]:
        """Take what a source says beside what came over the wire."""
        match item:
            case Reconnected():  # what was kept of an unfinished block is gone with the old connection
                self._connect(Scanner(max_event_bytes=self._max_event_bytes, last_event_id=item.last_event_id))
                self.accumulator.translation.reconnect()
            case RunPiece():
                yield from self._follow(item)
            case ContinuedRun():
                if self.plain.tap is not None:
                    self.plain.tap.want(item.run_id)
                    yield
                self.accumulator.translation.continue_run(item.run_id)
            case ServerAnswer() | ServerEvents():
                self._stream.is_reconciled = True
                if isinstance(item, ServerAnswer) and self._is_behind_journal(item.run_id):
                    yield  # what others have written of it is not missed
                frames = item.frames if isinstance(item, ServerEvents) else missed_events(self.accumulator.state, item)
                for frame in frames:
                    self._fold_frame(frame)
                    yield
                if isinstance(item, ServerAnswer):
                    self._stream.touch_whole(item.run_id)
            case _:
                assert_never(item)

    def _is_behind_journal(self, run_id: str) -> bool:
        """Return whether a run has to be opened in the journal first, as there may be more of it than is known here."""
        tap, known = self.plain.tap, self.accumulator.state.runs.get(run_id)
        if tap is None or (known is not None and known.is_terminal):
            return False
        tap.want(run_id)
        return bool(tap.wanted)

    def _connect(self, scanner: Scanner) -> None:
        """Go on with the bytes of another connection."""
        self._scanner = scanner
        self._fast_path.connect(scanner)

    def _follow(self, piece: RunPiece) -> Iterator[None]:
        """Fold a piece of what is followed, which is whole events."""
        if self._followed is None:
            self._connect(Scanner(max_event_bytes=self._max_event_bytes, may_have_mark=False))
            self._followed = FollowedRun(self.plain, self.read)
        return self._followed.fold(piece)

    def fold_end(self) -> None:
        """Fold what the end of the bytes is, unless that was done.

        A block that says so counts though it lacks its blank line; any other unfinished block is no event.

        Raises:
            StreamFailed: it is an `error` event.
        """
        if self._has_ended:
            return
        self._has_ended = True
        pending = None if self.is_done else self._scanner.pending()
        if pending is not None and says_end(pending):
            self._fold_frame(pending)
        for event in self.accumulator.translation.finish():
            self.plain.fold(event)
        self.plain.end()

    def finish(self) -> Outcome:
        """Return how the stream ended, now that its bytes have.

        Raises:
            StreamFailed: it ended with an `error` event, or an error without its name.
            StreamTruncated: no `done` came, and its run neither ended nor waits for action; or no event is known.
        """
        self.fold_end()
        foreign, translation = foreign_text(self._opening) if self._opening else "", self.accumulator.translation
        if not self._stream.runs:
            self._stream.touch_whole(translation.run)  # all of it was known: what is told again is no event
        if translation.is_earlier:
            return outcome_of(self._stream, "ended")  # its run has gone on since
        reason = self.plain.ending.reason(f": {foreign}" if foreign else "", translation.last_event)
        return outcome_of(self._stream, reason)

    def note_opening(self, item: Any) -> bool:
        """Keep the beginning of bytes in which no event came yet: it says what they are, if none comes.

        Returns whether a run is known by now, and says so to those who wait for that.
        """
        if not self._stream.sequence and len(self._opening) < ENOUGH:
            self._opening += beginning_of_bytes(item)
        if self._stream.runs:
            self.begun.notify()
        return bool(self._stream.runs)

    def failure(self) -> StepStreamError | None:
        """Return the error that came without its name, or in a dialect, and that no event of a run followed."""
        held = self.accumulator.translation.held
        return self.plain.ending.failure() if held is None else failure_of(held)

    def _fold_frame(self, frame: Frame) -> None:
        """Fold a frame from which nothing is learned: what it says need not be what a decoder makes of bytes."""
        for event in self.plain.decode(frame):
            self.plain.fold(event)
