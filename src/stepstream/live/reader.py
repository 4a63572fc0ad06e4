"""Reading one stream: items of a source in, changes out, and the verdict on how it ended. It awaits nothing."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final

from stepstream.errors import DecodeError, FrameTooLarge, StreamFailed, StreamTruncated
from stepstream.fold.accumulator import Accumulator
from stepstream.fold.alike import Alike, Interest
from stepstream.fold.lifecycle import SETTLED_RUN
from stepstream.fold.truth import Truth, missed
from stepstream.live.outcome import Outcome, outcome_of
from stepstream.live.source import Reconnected, frame_of
from stepstream.wire.events import Done, ErrorData, Event, decode_event
from stepstream.wire.scan import Scanner
from stepstream.wire.sse import Frame

MAX_PIECE: Final = 2**16
"""Of a longer chunk, so much is looked at at a time."""


class Reader:
    """Fold the items of one stream. It is spent once `is_done`: what follows `done` is not read."""

    def __init__(
        self,
        accumulator: Accumulator,
        interest: Interest,
        hear: Callable[..., bool],
        *,
        max_event_bytes: int,
        max_depth: int,
    ) -> None:
        self.accumulator = accumulator
        self.is_done = False
        self._hear = hear
        self._alike = Alike(accumulator.stream, interest, hear)
        self._most = min(MAX_PIECE, max_event_bytes)
        self._max_event_bytes = max_event_bytes
        self._max_depth = max_depth
        self._begin("")

    def read(self, item: Any) -> Iterable[None]:
        """Take one item and fold it, so that what it does is heard. Between two turns there may be waited for room.

        Raises:
            StreamFailed: the stream carried an `error` event.
            FrameTooLarge: an event is longer than the limit; everything before it is folded.
            TypeError: the item is of no kind that a source may yield.
        """
        if type(item) is not bytes or len(item) > self._most:
            return self._other(item)
        if self._scanner.is_between_blocks and self._alike.take(item):
            return ()
        try:
            found = self._scanner.feed(item)
        except FrameTooLarge as excess:
            return self._each(excess.frames, 0, excess)
        place = self._alike.fold(found)
        return () if place == len(found) else self._each(found, place, None)

    def _begin(self, last_event_id: str) -> None:
        """Begin with the bytes of a connection."""
        limits: Any = {"max_event_bytes": self._max_event_bytes, "last_event_id": last_event_id}
        self._scanner = Scanner(**limits)

    def _each(self, found: Sequence[Any], place: int, excess: FrameTooLarge | None) -> Iterator[None]:
        """Go on where something is not usual, or after somebody had no more room."""
        scanner = self._scanner
        yield
        while place < len(found) and not self.is_done:
            before, place = place, self._alike.fold(found, place)
            if place == before:
                one = found[place]
                for frame in scanner.frames_of(one) if type(one) is bytes else [one]:
                    event = self._frame(frame)
                    if event is not None:
                        self._alike.learn(event)
                    yield
                    if self.is_done:
                        return
                place += 1
            yield
        if excess is not None and not self.is_done:
            raise excess

    def _other(self, item: Any) -> Iterator[None]:
        if isinstance(item, bytes | bytearray | memoryview):
            for start in range(0, len(item), self._most):
                if self.is_done:
                    return
                yield from self.read(bytes(item[start : start + self._most]))
                yield
        elif isinstance(item, Event):
            self._event(item)
            yield
        elif isinstance(item, Reconnected):
            self._begin(item.last_event_id)
        elif isinstance(item, Truth):
            self.accumulator.stream.is_reconciled = True
            for frame in missed(self.accumulator.state, item):
                self._frame(frame)
                yield
            self.accumulator.stream.touch_run(item.run_id)
        else:
            self._frame(item if isinstance(item, Frame) else frame_of(item))
            yield

    def finish(self) -> Outcome:
        """Return how the stream ended, now that its bytes have.

        A `done` or `error` block that lacks its blank line counts; any other unfinished block is no event.

        Raises:
            StreamFailed: it ended with an `error` event.
            StreamTruncated: no `done` came, and its run neither ended nor waits for action.
        """
        pending = None if self.is_done else self._scanner.pending()
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

    def _frame(self, frame: Frame) -> Event | None:
        """Fold a frame, and return what it says, where that can be told."""
        try:
            event = decode_event(frame, max_depth=self._max_depth)
        except DecodeError as error:
            self._hear(self.accumulator.reject(error))
            return None
        self._event(event)
        return event

    def _event(self, event: Event) -> None:
        for change in self.accumulator.apply(event):
            self._hear(change)
        data = event.data
        if isinstance(data, ErrorData):
            raise StreamFailed(data.code, data.message, data.type, data.param)
        self.is_done = isinstance(data, Done)
