"""What goes on on the server: events in order, taken by those who read them, or by the clock. No IO."""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from random import Random
from typing import Final

from stepstream.simulator.event_faults import EventFault
from stepstream.simulator.pace import Pace
from stepstream.simulator.scenario import Scenario
from stepstream.simulator.stamps import Stamps
from stepstream.simulator.timed_event import TimedEvent

LAG: Final = 1.0
"""Seconds for which a course waits for the readers of its streams. Then it goes on without: what it says is kept."""


class Course:
    """The events of one run. They come to pass as they are taken: by the reader of a stream, and where there is none,
    or it does not read, by the clock, whenever a request asks for the run (`catch_up`).
    """

    event_faults: Mapping[str, EventFault]
    """What faults of whole events do to its streams, by name."""

    def __init__(self, scenario: Scenario, stamps: Stamps, pace: Pace) -> None:
        self.scenario = scenario
        self.pace = pace
        self.stamps = stamps
        self._events: Iterator[TimedEvent] = iter(())
        self._due = 0.0
        """When the newest event was due: without a reader, the clock takes the next one from then on."""
        self._streams: list[Stream] = []

    @property
    def chance(self) -> Random:
        """What faults that need chance go by."""
        return self.stamps.random or Random(0)

    def catch_up(self, now: float) -> None:
        """Move as far as the course would have gone by the time `now` without its readers."""
        lag = LAG if self._streams else 0.0
        while self._due + lag <= now and self.move(self._due):
            pass

    def move(self, now: float) -> bool:
        """Move by one event, and return whether there was one: else there is none until the client does something."""
        event = next(self._events, None)
        if event is None:
            return False
        self._due = now + self.pace.seconds(event.delay)
        self.keep(event)
        for stream in self._streams:
            stream.unread.append(event)
        return True

    def keep(self, event: TimedEvent) -> None:
        """Take note of an event that has come to pass."""

    def has_stream(self, stream: "Stream") -> bool:
        """Return whether `stream` goes on."""
        return stream in self._streams

    def leave(self, stream: "Stream") -> None:
        """Note that a stream has no reader any more. Without one, the clock moves the course."""
        if stream in self._streams:
            self._streams.remove(stream)

    @property
    def is_read(self) -> bool:
        """Whether a stream goes on."""
        return bool(self._streams)

    def _play(self, events: Iterator[TimedEvent], now: float) -> "Stream":
        """Begin with these events, in a stream that takes over from those before."""
        self._events, self._due, self._streams = events, now, []
        return self._open_stream()

    def _open_stream(self, told: Iterable[TimedEvent] = ()) -> "Stream":
        stream = Stream(self, told)
        self._streams.append(stream)
        return stream


class Stream:
    """The events of a course up to its next wait or its end, for one reader, after those in `told`."""

    def __init__(self, course: Course, told: Iterable[TimedEvent] = ()) -> None:
        self.course = course
        self.unread: deque[TimedEvent] = deque(told)
        """The events that came to pass, and that the reader has not read."""

    def __repr__(self) -> str:
        return f"<Stream of {self.course!r}>"

    def next_event(self, now: float) -> TimedEvent | None:
        """Return the next event at the time `now`, or None at the end, or where another stream has taken over."""
        if not self.unread and self.course.has_stream(self):
            self.course.move(now)
        return self.unread.popleft() if self.unread else None

    def leave(self) -> None:
        """Read no further: the course goes on alone."""
        self.course.leave(self)
