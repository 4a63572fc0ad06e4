"""Reading one stream: items of a source in, changes out, and the verdict on how it ended. It awaits nothing."""

from collections.abc import Iterator, Sequence
from typing import Any

from stepstream.errors import DecodeError, FrameTooLarge, StreamFailed, StreamTruncated
from stepstream.fold.accumulator import Accumulator
from stepstream.fold.changes import Change
from stepstream.fold.lifecycle import SETTLED_RUN
from stepstream.fold.truth import Truth, missed
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
        if isinstance(item, Event):
            yield self._event(item)
        elif isinstance(item, Reconnected):
            self._decoder = FrameDecoder(max_event_bytes=self._max_event_bytes, last_event_id=item.last_event_id)
        elif isinstance(item, Truth):
            self.accumulator.stream.is_reconciled = True
            for frame in missed(self.accumulator.state, item):
                yield self._frame(frame)
            self.accumulator.stream.touch_run(item.run_id)
        else:
            frames, excess = self._frames(item)
            for frame in frames:
                yield self._frame(frame)
                if self.is_done:
                    return
            if excess is not None:
                raise excess

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
        if not stream.sequence:
            raise StreamTruncated("the stream ended without a single event")
        events = f"{stream.sequence:,} event{'' if stream.sequence == 1 else 's'}"
        raise StreamTruncated(f"the stream ended after {events} without done, its run unfinished")

    def _frames(self, item: Any) -> tuple[Sequence[Frame], FrameTooLarge | None]:
        """Return the frames of an item, and the error that comes after them, if any."""
        if isinstance(item, Frame):
            return [item], None
        if not isinstance(item, bytes | bytearray | memoryview):
            return [frame_of(item)], None
        try:
            return self._decoder.feed(item), None
        except FrameTooLarge as excess:
            return excess.frames, excess

    def _frame(self, frame: Frame) -> list[Change]:
        try:
            event = decode_event(frame, max_depth=self._max_depth)
        except DecodeError as error:
            return [self.accumulator.reject(error)]
        return self._event(event)

    def _event(self, event: Event) -> list[Change]:
        changes = self.accumulator.apply(event)
        data = event.data
        if isinstance(data, ErrorData):
            raise StreamFailed(data.code, data.message, data.type, data.param)
        self.is_done = isinstance(data, Done)
        return changes
