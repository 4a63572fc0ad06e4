"""Runs as clients move them. No IO: the time comes in with every call that needs it."""

from collections.abc import Mapping

from stepstream.simulator.course import Course, Stream
from stepstream.simulator.event_faults import EVENT_FAULTS
from stepstream.simulator.event_writer import EventWriter
from stepstream.simulator.objects import JSON, Owner
from stepstream.simulator.pace import Pace
from stepstream.simulator.run_script import RunScript
from stepstream.simulator.scenario import McpCall, Scenario
from stepstream.simulator.stamps import chance_of, tag_of


class Run(Course):
    """One run. `begin` and `submit` start a stream each, for one reader."""

    event_faults = EVENT_FAULTS

    def __init__(self, scenario: Scenario, writer: EventWriter, settings: JSON, pace: Pace) -> None:
        super().__init__(scenario, writer, pace)
        self.writer = writer
        self.owner = writer.owner
        self._script = RunScript(scenario, writer, settings)

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

    def begin(self, now: float, *, new_thread: JSON | None = None) -> Stream:
        """Start and return the first stream, at `now` of any clock. That of a run on a new thread begins with it."""
        return self._play(self._script.first(new_thread), now)

    def submit(self, answers: Mapping[str, str | bool | None], at: float, now: float) -> Stream:
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
        if self.is_read:
            self._events = self._script.cancel()
        else:
            self._play(self._script.cancel(), now).leave()

    def _move_clock(self, at: float) -> None:
        if self.writer.random is None:  # with a seed, the same requests give the same bytes, whenever they come
            self.writer.advance_clock(at)


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
    tag = tag_of(number, seed)
    owner = Owner(f"run_{tag}", thread_id, assistant_id, int(at))
    writer = EventWriter(owner, tag, at, chance_of(number, seed), float_times=scenario.float_times)
    return Run(scenario, writer, settings, pace)
