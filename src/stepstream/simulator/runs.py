"""Runs as clients move them. No IO: the time comes in with every call that needs it."""

from collections import deque
from collections.abc import Iterator, Mapping
from random import Random
from typing import Final

from stepstream.simulator.event_writer import EventWriter, TimedEvent
from stepstream.simulator.objects import JSON, Owner
from stepstream.simulator.pace import Pace
from stepstream.simulator.run_script import RunScript
from stepstream.simulator.scenario import McpCall, Scenario

LAG: Final = 1.0
"""Seconds for which a run waits for the reader of its stream. Then it goes on without: what it says is kept."""


class Run:
    """One run. `begin` and `submit` start a stream each.

    The run moves as its events are taken: by a stream's reader, and where there is none, or it does not read, by the
    clock, whenever a request asks for the run (`catch_up`).
    """

    def __init__(self, scenario: Scenario, writer: EventWriter, settings: JSON, pace: Pace) -> None:
        self.scenario = scenario
        self.writer = writer
        self.owner = writer.owner
        self.pace = pace
        self._script = RunScript(scenario, writer, settings)
        self._events: Iterator[TimedEvent] = iter(())
        self._due = 0.0
        """When the newest event was due: without a reader, the clock takes the next one from then on."""
        self._stream: Stream | None = None

    def __repr__(self) -> str:
        return f"<Run {self.owner.run_id} {self.status}>"

    @property
    def status(self) -> str:
        """Its status, as its newest event says."""
        return self._script.status

    @property
    def is_terminal(self) -> bool:
        """Whether the run has ended."""
        return self._script.is_terminal

    def object(self) -> JSON:
        """Return the run as it stands."""
        return self._script.object()

    def steps(self) -> list[JSON]:
        """Return the run's steps as they stand, oldest first."""
        return [self.writer.with_times(self.writer.step_object(step)) for step in self.writer.steps.values()]

    def begin(self, now: float, *, new_thread: JSON | None = None) -> "Stream":
        """Start and return the first stream, at `now` of any clock. That of a run on a new thread begins with it."""
        return self._play(self._script.first(new_thread), now)

    def submit(self, answers: Mapping[str, str | bool | None], at: float, now: float) -> "Stream":
        """Take outputs, or approvals, by call id, at the Unix time `at`, and start and return the next stream.

        Raises:
            ValueError: the run waits for nothing, or for other calls, or for the other kind. Nothing has changed then.
        """
        awaited = self._script.awaited
        if awaited is None or self.status != "requires_action":
            raise ValueError(f"expected a run that requires action, got one that is {self.status}")
        expected = {call["id"] for call in awaited.calls}
        if answers.keys() != expected:
            raise ValueError(f"expected answers for {_listed(expected)}; got them for {_listed(set(answers))}")
        if any(isinstance(answer, bool) != isinstance(awaited.act, McpCall) for answer in answers.values()):
            raise ValueError(f"expected an answer to {awaited.action['type']}, got one of the other kind")
        self._script.awaited = None
        self._script.status = "queued"
        self._move_clock(at)
        return self._play(self._script.resume(awaited, answers), now)

    def cancel(self, at: float, now: float) -> None:
        """Begin to cancel the run. Its stream, if one is read, says how it ends.

        Raises:
            ValueError: it has ended already.
        """
        if self.is_terminal or self.status == "cancelling":
            raise ValueError(f"expected a run that can be cancelled, got one that is {self.status}")
        self._script.status = "cancelling"
        self._script.awaited = None
        self._move_clock(at)
        if self._stream is None:
            self._play(self._script.cancel(), now).leave()
        else:
            self._events = self._script.cancel()

    def catch_up(self, now: float) -> None:
        """Move as far as the run would have gone by the time `now` without its reader."""
        lag = LAG if self._stream is not None else 0.0
        while self._due + lag <= now:
            event = self.take(self._due)
            if event is None:
                return
            if self._stream is not None:
                self._stream.unread.append(event)

    def take(self, now: float) -> TimedEvent | None:
        """Move by one event and return it, or None where there is none until the client does something."""
        event = next(self._events, None)
        if event is not None:
            self._due = now + self.pace.seconds(event.delay)
        return event

    def is_read_by(self, stream: "Stream") -> bool:
        """Return whether `stream` is the one that goes on."""
        return self._stream is stream

    def end_reading(self) -> None:
        """Note that the stream has no reader any more: from now on, the clock moves the run."""
        self._stream = None

    def _move_clock(self, at: float) -> None:
        if self.writer.random is None:  # with a seed, the same requests give the same bytes, whenever they come
            self.writer.advance_clock(at)

    def _play(self, events: Iterator[TimedEvent], now: float) -> "Stream":
        self._events = events
        self._due = now
        self._stream = Stream(self)
        return self._stream


class Stream:
    """The events of a run up to its next wait or its end, for its one reader."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.unread: deque[TimedEvent] = deque()
        """The events that the clock has taken because their reader did not."""

    def __repr__(self) -> str:
        return f"<Stream of {self.run!r}>"

    def next_event(self, now: float) -> TimedEvent | None:
        """Return the next event at the time `now`, or None at the end, or where another stream has taken over."""
        if self.unread:
            return self.unread.popleft()
        return self.run.take(now) if self.run.is_read_by(self) else None

    def leave(self) -> None:
        """Read no further: the run goes on alone."""
        if self.run.is_read_by(self):
            self.run.end_reading()


def _listed(ids: set[str]) -> str:
    return ", ".join(sorted(ids)) or "none"


def new_run(
    number: int,
    scenario: Scenario,
    *,
    thread_id: str,
    assistant_id: str,
    settings: JSON,
    at: float,
    seed: int | None,
    pace: Pace,
) -> Run:
    """Return the run of that number of an application, created at the Unix time `at`."""
    tag = f"sim{number}" if seed is None else f"sim{seed}x{number}"
    owner = Owner(f"run_{tag}", thread_id, assistant_id, int(at))
    random = None if seed is None else Random(f"{seed}/{number}")
    writer = EventWriter(owner, tag, at, random, float_times=scenario.float_times)
    return Run(scenario, writer, settings, pace)
