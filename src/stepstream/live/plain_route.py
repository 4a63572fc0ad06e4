"""The plain route: frames and events of one stream, folded by the rules that all go by, their changes dispatched."""

from collections.abc import Callable

from stepstream.errors import DecodeError
from stepstream.fold.accumulator import Accumulator
from stepstream.fold.ending import StreamEnding
from stepstream.live.routing import Routes
from stepstream.live.stream_tap import StreamTap
from stepstream.wire.ending import TELLING
from stepstream.wire.events import Event
from stepstream.wire.sse import Frame


class PlainRoute:
    """Folds one frame or event after another. Once `is_done`, what follows is to be ignored."""

    __slots__ = ("_dispatch", "_run_ends", "accumulator", "ending", "is_done", "tap")

    def __init__(
        self, accumulator: Accumulator, routes: Routes, dispatch: Callable[..., bool], tap: StreamTap | None = None
    ) -> None:
        self.accumulator = accumulator
        self.ending = StreamEnding(accumulator.stream)
        """What the events say of the end of the stream."""
        self.is_done = False
        """Whether they say that it is over."""
        self.tap = tap
        """What writes the stream to a journal, where anything does."""
        self._run_ends = routes.run_ends
        self._dispatch = dispatch

    def decode(self, frame: Frame) -> list[Event]:
        """Return the events of a frame: in a dialect maybe several, or none. An undecodable one is an anomaly."""
        try:
            return self.accumulator.translation.feed(frame)
        except DecodeError as error:
            self.reject(error, frame)
            return []

    def reject(self, error: DecodeError, frame: Frame) -> None:
        """Report a frame that cannot be decoded."""
        if self.tap is not None:
            self.tap.take_frame(frame)
        self._dispatch(self.accumulator.reject(error, frame.id))

    def fold(self, event: Event) -> bool:
        """Fold an event and dispatch its changes. Return whether the stream must wait: for a queue, or for its journal.

        Raises:
            StreamFailed: it is an `error` event.
        """
        if self.tap is not None and not self.tap.take(event):
            return True
        is_full, changes = False, self.accumulator.apply(event)
        for change in changes:
            is_full = self._dispatch(change)
        if self._run_ends.by_run:
            self._run_ends.after_event(changes, self.accumulator.state)
        if type(event.data) in TELLING:
            self.is_done = self.ending.note(event)
        return is_full
