"""Reading one stream: items of a source in, changes out, and the verdict on how it ended. It awaits nothing."""

from collections.abc import Iterator
from typing import Any

from stepstream.errors import DecodeError, FrameTooLarge, StreamFailed, StreamTruncated
from stepstream.fold.accumulator import Accumulator
from stepstream.fold.changes import Change
from stepstream.fold.lifecycle import SETTLED_RUN
from stepstream.live.outcome import Outcome, outcome_of
from stepstream.live.source import Reconnected, frame_of
from stepstream.wire.events import Done, ErrorData, Event, decode_event
from stepstream.wire.sse import Frame, FrameDecoder


class Reader:
    """Fold the items of one stream. It is spent once `is_done`: what follows `done` is not read."""

    def __init__(self, accumulator: Accumulator, *, max_event_bytes: int, max_depth: int) -> None:
        self.accumulator = accumulator
        self.is_done = False
        self._max_event_bytes = max_event_bytes
        self._max_depth = max_depth
        self._decoder = FrameDecoder(max_event_bytes=max_event_bytes)

    def read(self, item: Any) -> Iterator[list[Change]]:
        """Take one item and yield the changes of each event in it.

        Raises:
            StreamFailed: the stream carried an `error` event.
            FrameTooLarge: an event is longer than the limit; everything before it is folded.
            TypeError: the item is of no kind that a source may yield.
        """
        if isinstance(item, bytes | bytearray | memoryview):
            yield from self._chunk(item)
        elif isinstance(item, Frame):
            yield self._frame(item)
        elif isinstance(item, Event):
            yield self._event(item)
        elif isinstance(item, Reconnected):
            self._decoder = FrameDecoder(max_event_bytes=self._max_event_bytes)
        else:
            yield self._frame(frame_of(item))

    def finish(self) -> Outcome:
        """Return how the stream ended, now that its bytes have.

        A `done` or `error` block that lacks its blank line counts; any other unfinished block is no event.

        Raises:
            StreamFailed: it ended with an `error` event.
            StreamTruncated: no `done` came, and its run neither ended nor waits for action.
        """
        pending = None if self.is_done else self._decoder.pending()
        if pending is not None and pending.event in ("done", "error"):
            self._frame(pending)
        stream = self.accumulator.stream
        if self.is_done:
            return outcome_of(stream, "done")
        if stream.runs and all(run.status in SETTLED_RUN for run in stream.runs.values()):
            return outcome_of(stream, "ended")
        raise StreamTruncated(f"the stream ended after {stream.sequence:,} events without done, its run unfinished")

    def _chunk(self, chunk: bytes | bytearray | memoryview) -> Iterator[list[Change]]:
        excess: FrameTooLarge | None = None
        try:
            frames = self._decoder.feed(chunk)
        except FrameTooLarge as error:
            frames, excess = error.frames, error
        for frame in frames:
            yield self._frame(frame)
            if self.is_done:
                return
        if excess is not None:
            raise excess

    def _frame(self, frame: Frame) -> list[Change]:
        try:
            event = decode_event(frame, max_depth=self._max_depth)
        except DecodeError as error:
            return [self.accumulator.reject(error)]
        return self._event(event)

    def _event(self, event: Event) -> list[Change]:
        changes = self.accumulator.apply(event)
        if isinstance(event.data, ErrorData):
            error = event.data
            raise StreamFailed(error.code, error.message, error.type, error.param)
        self.is_done = isinstance(event.data, Done)
        return changes
