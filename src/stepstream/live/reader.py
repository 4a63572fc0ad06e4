"""Reading one stream: items of a source in, changes dispatched, and the verdict on how it ended.

`Reader` awaits nothing. It folds an item in steps and yields between them, so that its caller can wait where a
subscriber's queue is full: `read_source` does, and lets other tasks run where a source never waits.

How an item takes its way: bytes are cut into blocks by the scanner. The fast path folds those that match a template,
and passes each other one on to the plain route. Frames, events and SSE messages go the plain route at once.
"""

import logging
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from typing import Any, Final, assert_never

import anyio
import anyio.lowlevel

from stepstream.dialects.translation import says_end
from stepstream.errors import FrameTooLarge, StepStreamError, StreamTruncated
from stepstream.fold.accumulator import Accumulator
from stepstream.fold.ending import failure_of
from stepstream.fold.outcome import Outcome, outcome_of
from stepstream.fold.reconcile import ServerAnswer, missed_events
from stepstream.live.closing import translate_source_error
from stepstream.live.fast_path import FastPath
from stepstream.live.lifetime import Lifetime
from stepstream.live.log_ids import ids_of_stream
from stepstream.live.marks import ContinuedRun, Reconnected, ServerEvents, Told
from stepstream.live.plain_route import PlainRoute
from stepstream.live.progress import Fanout
from stepstream.live.routing import Routes, StreamFanout
from stepstream.live.shapes import ShapeTable
from stepstream.live.source import Source, beginning_of_bytes, encoded, frame_of, open_source
from stepstream.wire.error_body import ENOUGH, foreign_text
from stepstream.wire.events import Event
from stepstream.wire.scan import Scanner
from stepstream.wire.sse import Frame

MAX_PIECE: Final = 2**16
"""Longer chunks are read in pieces of so many bytes, so that one chunk does not overfill queues."""

EVENTS_BETWEEN_CHECKPOINTS: Final = 512
"""A source that never waits lets other tasks run, and can be cancelled, after so many events, or items without one."""

_log = logging.getLogger("stepstream.live")


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
    ) -> None:
        self.accumulator = accumulator
        self._stream = accumulator.stream
        self._clock = clock
        self._opening = b""  # the first bytes of a stream that has no event yet
        self._piece_size = min(MAX_PIECE, max_event_bytes)
        self._max_event_bytes = max_event_bytes
        self.plain = PlainRoute(accumulator, routes, fanout.dispatch)
        self._scanner = Scanner(max_event_bytes=max_event_bytes)
        self._fast_path = FastPath(self._scanner, self.plain, routes, fanout, shapes)

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
        if type(item) is not bytes or len(item) > self._piece_size:
            return self._other(item)
        scanner = self._scanner
        if scanner.is_between_blocks and self._fast_path.fold_chunk(item):
            return ()
        try:
            frames, blocks = scanner.feed(item, self._fast_path.take)
        except FrameTooLarge as excess:
            return self._rest(excess.frames, [], excess)
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
                self._scanner = Scanner(max_event_bytes=self._max_event_bytes, last_event_id=item.last_event_id)
                self._fast_path.connect(self._scanner)
                self.accumulator.translation.reconnect()
            case ContinuedRun():
                self.accumulator.translation.continue_run(item.run_id)
            case ServerAnswer() | ServerEvents():
                self._stream.is_reconciled = True
                frames = item.frames if isinstance(item, ServerEvents) else missed_events(self.accumulator.state, item)
                for frame in frames:
                    self._fold_frame(frame)
                    yield
                if isinstance(item, ServerAnswer):
                    self._stream.touch_run(item.run_id)
            case _:
                assert_never(item)

    def finish(self) -> Outcome:
        """Return how the stream ended, now that its bytes have.

        A block that says so counts though it lacks its blank line; any other unfinished block is no event.

        Raises:
            StreamFailed: it ended with an `error` event, or an error without its name.
            StreamTruncated: no `done` came, and its run neither ended nor waits for action; or no event is known.
        """
        pending = None if self.is_done else self._scanner.pending()
        if pending is not None and says_end(pending):
            self._fold_frame(pending)
        translation = self.accumulator.translation
        for event in translation.finish():
            self.plain.fold(event)
        foreign = foreign_text(self._opening)
        reason = self.plain.ending.reason(f": {foreign}" if foreign else "", translation.last_event)
        return outcome_of(self._stream, reason)

    def note_opening(self, item: Any) -> None:
        """Keep the beginning of bytes in which no event came yet: it says what they are, if none comes."""
        if len(self._opening) < ENOUGH:
            self._opening += beginning_of_bytes(item)

    def failure(self) -> StepStreamError | None:
        """Return the error that came without its name, or in a dialect, and that no event of a run followed."""
        held = self.accumulator.translation.held
        return self.plain.ending.failure() if held is None else failure_of(held)

    def _fold_frame(self, frame: Frame) -> None:
        """Fold a frame from which nothing is learned: what it says need not be what a decoder makes of bytes."""
        for event in self.plain.decode(frame):
            self.plain.fold(event)


async def read_source(reader: Reader, source: Source, fanout: StreamFanout, lifetime: Lifetime) -> None:
    """Read `source` to its end, or to `done`, waiting for subscribers whose queues are full.

    Raises:
        StepStreamError: the source failed, or the stream carried an error or a frame that is too large.
        TypeError, RuntimeError: it is no source, or was read before.
    """
    try:
        async with open_source(source) as items:
            await _read_items(reader, items, fanout, lifetime)
    except StepStreamError as exc:
        if not reader.is_done:
            told = reader.failure()
            if told is not None:
                raise told from exc  # the server had said why, before the source failed
            raise
        ids = ids_of_stream(reader.accumulator.stream)
        _log.warning("a source failed when it was closed after done", exc_info=exc, extra=ids)


async def _read_items(reader: Reader, items: AsyncIterator[Any], fanout: StreamFanout, lifetime: Lifetime) -> None:
    stream, rest_at, items_left = reader.accumulator.stream, EVENTS_BETWEEN_CHECKPOINTS, EVENTS_BETWEEN_CHECKPOINTS
    plain = reader.plain
    while not plain.is_done:
        try:
            item = await anext(items)
        except StopAsyncIteration:
            return
        except StepStreamError:
            raise
        except Exception as exc:
            raise translate_source_error(exc) from exc
        _check_open(lifetime)
        for _ in reader.read(item):
            if fanout.full or stream.sequence >= rest_at:
                await _rest(fanout, lifetime)
                rest_at = stream.sequence + EVENTS_BETWEEN_CHECKPOINTS
        if not stream.sequence:
            reader.note_opening(item)
        items_left -= 1  # an item may be a comment, and no event
        if fanout.full or stream.sequence >= rest_at or not items_left:
            await _rest(fanout, lifetime)
            rest_at, items_left = stream.sequence + EVENTS_BETWEEN_CHECKPOINTS, EVENTS_BETWEEN_CHECKPOINTS
        elif fanout.has_woken and fanout.should_yield(anyio.current_time()):
            await anyio.lowlevel.checkpoint()


async def _rest(fanout: StreamFanout, lifetime: Lifetime) -> None:
    """Let other tasks run, and wait for the subscribers whose queues are still full then."""
    await anyio.lowlevel.checkpoint()  # mostly they make room meanwhile
    while fanout.full:
        mailbox = fanout.full.pop(0)
        if mailbox.gate.is_full or mailbox.gate.line:
            await lifetime.deadlines.wait(mailbox, mailbox.gate.wait)
    _check_open(lifetime)


def _check_open(lifetime: Lifetime) -> None:
    """Check that subscribers still take changes: a stream of a task outside of the block may outlast it."""
    if lifetime.is_closed:
        raise StreamTruncated("the Processor was left before the stream ended")
