"""The plain route: frames and events of one stream, folded by the rules that all go by, their changes dispatched.

While a run is opened in a journal, what comes is kept. Of a stream in a dialect the frames are kept: what others have
written of the run says what the dialect knows of it, and without that a frame may be taken for news which is none.
"""

from collections.abc import Callable, Sequence

from stepstream.errors import DecodeError
from stepstream.fold.accumulator import Accumulator
from stepstream.fold.ending import StreamEnding
from stepstream.fold.repetition import Repetition
from stepstream.fold.state import run_key
from stepstream.live.routing import Routes
from stepstream.live.stream_tap import StreamTap
from stepstream.wire.ending import TELLING, ends_stream
from stepstream.wire.events import Event
from stepstream.wire.sse import Frame


class PlainRoute:
    """Folds one frame or event after another. Once `is_done`, what follows is to be ignored."""

    __slots__ = ("_dispatch", "_kept", "_newest", "_run_ends", "accumulator", "ending", "is_done", "repetition", "tap")

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
        self.repetition: Repetition | None = None
        """What is told again of a run, while its journal has more."""
        self._run_ends = routes.run_ends
        self._dispatch = dispatch
        self._newest: Frame | None = None  # the one of a dialect whose first event is folded next
        self._kept: list[Frame | None] = []  # that of the first event that is kept, if it is its first; all after it

    def decode(self, frame: Frame) -> list[Event]:
        """Return the events of a frame: in a dialect maybe several, or none. An undecodable one is an anomaly."""
        translation = self.accumulator.translation
        if self.tap is not None and not translation.is_plain:
            if self.tap.wanted:
                self._kept = [*(self._kept or [None]), frame]
                return []
            self._newest = frame
        try:
            return translation.feed(frame)
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
        newest, self._newest = self._newest, None
        if self.repetition is not None and self.repetition.key != run_key(self.accumulator.translation.run, ""):
            self.end()
        if self.repetition is not None:
            is_full = self._repeat(self.repetition, event)
        elif self.tap is not None and not self.tap.take(event):
            self._kept = self._kept or [newest]
            return True
        else:
            is_full = self._tell(event)
        if type(event.data) in TELLING:
            self.is_done = self.ending.note(event)
        return is_full

    def _tell(self, event: Event) -> bool:
        is_full, changes = False, self.accumulator.apply(event)
        for change in changes:
            is_full = self._dispatch(change)
        if self._run_ends.by_run:
            self._run_ends.after_event(changes, self.accumulator.state)
        return is_full

    def _repeat(self, repetition: Repetition, event: Event) -> bool:
        """Fold what is told again, apart from what is known, until it is as far."""
        self.accumulator.stream.append = None  # it did not append anything
        return not ends_stream(event) and repetition.fold(event) and self._catch_up(repetition)

    def _catch_up(self, repetition: Repetition) -> bool:
        """Go on with what is known, and tell what was told beyond that."""
        self.repetition = self.accumulator.state.entry(repetition.key).repetition = None
        is_full = False
        for frame in repetition.missed(self.accumulator.state):
            is_full = self.fold(self.accumulator.translation.decode(frame)) or is_full
        return is_full

    def end(self) -> None:
        """Take the end of what is told again: it will not become more."""
        repetition, self.repetition = self.repetition, None
        if repetition is not None and repetition.end():
            self._catch_up(repetition)

    def go_on(self, held: Sequence[Event], is_loaded: bool) -> None:
        """Fold what was kept while a run was opened: the events, or their frames, where what the dialect has to know of
        it `is_loaded`.

        Raises:
            StreamFailed: one is an `error` event.
        """
        (first, *rest), self._kept = self._kept or [None], []
        run_id = next(reversed(self.tap.runs)) if self.tap is not None else ""
        entry = self.accumulator.state.find(run_key(run_id, ""))
        self.repetition = None if entry is None else entry.repetition
        if is_loaded or self.repetition is not None:
            self.accumulator.stream.touch_whole(run_id)
        if is_loaded and first is not None:
            self.accumulator.translation.reconnect()  # what was told before may be told again
            rest.insert(0, first)
        else:
            for event in held:
                self.fold(event)
        for frame in rest:
            for event in self.decode(frame) if frame is not None else ():
                self.fold(event)
