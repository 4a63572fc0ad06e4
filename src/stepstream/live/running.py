"""The streams of one block of a processor: which are read, which are not delivered yet, and how all are stopped."""

from collections.abc import Callable
from typing import Protocol

import anyio

from stepstream.fold.stream_state import StreamState
from stepstream.live.deadlines import SubscriberDeadlines
from stepstream.live.pending import Signal
from stepstream.live.publishing import Publishers
from stepstream.live.routing import Routes
from stepstream.live.shapes import ShapeTable


class RunningStream(Protocol):
    """A stream from its beginning until what it did was delivered."""

    stream: StreamState

    def stop(self) -> None:
        """Read nothing more."""


class RunningStreams:
    """All streams of a block, of which at most `max_streams` are read at a time. `changed` is notified whenever one has
    ended."""

    def __init__(self, routes: Routes, deadlines: SubscriberDeadlines, max_streams: int | None) -> None:
        self.max_streams = max_streams
        self.is_stopped = False
        """Whether they were stopped: no other may begin."""
        self.changed = Signal()
        self.publishers = Publishers()
        """Those that write to journals."""
        self.shapes = ShapeTable()
        """What their deltas have in common."""
        self._routes = routes
        self._deadlines = deadlines
        self._running: dict[RunningStream, None] = {}
        self._reading: dict[RunningStream, None] = {}  # those that wait for their turn too
        self._line: dict[RunningStream, anyio.Event] = {}  # those, the next one first

    @property
    def waiting(self) -> int:
        """How many wait for their turn to be read."""
        return len(self._line)

    @property
    def read_now(self) -> int:
        """How many are being read."""
        return len(self._reading) - len(self._line)

    @property
    def is_over(self) -> bool:
        """Whether they were stopped, and none is read any more: nothing new comes in this block."""
        return self.is_stopped and not self._reading

    @property
    def reading(self) -> list[StreamState]:
        """Those that are being read, or soon will be."""
        return [one.stream for one in self._reading]

    def begin(self, stream: RunningStream) -> None:
        """Record that a stream is being read, or waits for its turn, which comes in the order of these calls."""
        if self.max_streams is not None and self.read_now >= self.max_streams:
            self._line[stream] = anyio.Event()
        self._running[stream] = self._reading[stream] = None

    async def turn(self, stream: RunningStream) -> None:
        """Return when a stream may be read."""
        turn = self._line.get(stream)
        if turn is not None:
            await turn.wait()

    def end_reading(self, stream: RunningStream) -> None:
        """Record that a stream is read no more."""
        del self._reading[stream]
        if self._line.pop(stream, None) is None and self._line:
            self._line.pop(next(iter(self._line))).set()
        self.stop_pacing()
        self._end_iterators()

    def end(self, stream: RunningStream) -> None:
        """Record that what a stream did was delivered."""
        del self._running[stream]
        self.changed.notify()

    def stop(self, seconds: float) -> None:
        """Stop reading. What the streams did is still delivered: a subscriber has so many seconds for it."""
        self.is_stopped = True
        self._deadlines.limit(seconds)
        for stream in list(self._reading):
            stream.stop()
        self.stop_pacing()
        self._end_iterators()
        self.changed.notify()

    def _end_iterators(self) -> None:
        """Let iterators end with what they have, once nothing new comes: who reads one would wait for ever."""
        if self.is_over:
            for mailbox in self._routes.open:
                if not mailbox.has_callback:
                    mailbox.end()

    def stop_pacing(self) -> None:
        """Deliver what is held back, once the block has ended and nothing is read: no stream waits for time to pass."""
        if self._deadlines.is_limited and not self._reading:
            for mailbox in self._routes.open:
                mailbox.stop_pacing()

    async def until_stopped(self) -> None:
        """Return when they were stopped."""
        await self.until(lambda: self.is_stopped)

    async def until_ended(self) -> None:
        """Return when none is left, and what they did was delivered."""
        await self.until(lambda: not self._running)

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Return when `is_so` returns true, which is looked at whenever `changed` is notified."""
        while not is_so():
            await self.changed.wait()
