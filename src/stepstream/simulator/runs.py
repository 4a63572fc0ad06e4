"""Runs on their way through a scenario. No IO: the time comes in with every call that needs it."""

from collections import deque
from collections.abc import Iterator, Mapping
from itertools import islice
from random import Random
from typing import Final, NamedTuple

from stepstream.simulator import acts, shapes
from stepstream.simulator.pace import Pace
from stepstream.simulator.scenario import Act, Ending, FunctionCalls, McpCall, Scenario
from stepstream.simulator.shapes import JSON, Owner
from stepstream.simulator.stage import Beat, Stage, Step
from stepstream.wire.sse import Frame
from stepstream.wire.statuses import RUN_TERMINAL

LAG: Final = 1.0
"""Seconds for which a run waits for the reader of its stream. Then it goes on without: what it says is kept."""


class _Asked(NamedTuple):
    """A step of calls that waits for the client."""

    act: FunctionCalls | McpCall
    step: Step
    calls: list[JSON]

    @property
    def action(self) -> JSON:
        """What the run's `required_action` says."""
        shape = shapes.outputs_action if isinstance(self.act, FunctionCalls) else shapes.approval_action
        return shape(self.calls)


class _Cut(NamedTuple):
    """What becomes of the steps and messages that are open when a run ends."""

    step_status: str
    message_reason: str


CUTS: Final[Mapping[str, _Cut]] = {
    "failed": _Cut("failed", "run_failed"),
    "cancelled": _Cut("cancelled", "run_cancelled"),
    "expired": _Cut("expired", "run_expired"),
    "incomplete": _Cut("completed", "max_tokens"),
}


class Run:
    """One run. `begin` and `submit` start a stream each.

    The run moves as its events are taken: by a stream's reader, and where there is none, or it does not read, by the
    clock, whenever somebody asks for the run (`catch_up`).
    """

    def __init__(self, scenario: Scenario, stage: Stage, settings: JSON, pace: Pace) -> None:
        self.scenario = scenario
        self.stage = stage
        self.owner = stage.owner
        self.status = "queued"
        self.pace = pace
        self._settings = settings
        self._acts = enumerate(scenario.acts, 1)
        self._beats: Iterator[Beat] = iter(())
        self._due = 0.0
        self._stream: Stream | None = None
        self._started_at: int | None = None
        self._ended_at: int | None = None
        self._asked: _Asked | None = None

    def __repr__(self) -> str:
        return f"<Run {self.owner.run_id} {self.status}>"

    @property
    def is_terminal(self) -> bool:
        """Whether the run has ended."""
        return self.status in RUN_TERMINAL

    def object(self) -> JSON:
        """Return the run as it stands."""
        has_ended = self.is_terminal
        ending = self.scenario.ending
        is_own_end = has_ended and self.status == ending.status
        data = shapes.run(
            self.owner,
            self._settings,
            self.status,
            started_at=self._started_at,
            ended_at=self._ended_at,
            required_action=self._asked.action if self._asked and self.status == "requires_action" else None,
            failure=ending.failure if is_own_end else None,
            incomplete=ending.reason if is_own_end else None,
            spent=self.stage.spent if has_ended else None,
        )
        return self.stage.timed(data)

    def steps(self) -> list[JSON]:
        """Return the run's steps as they stand, oldest first."""
        return [self.stage.timed(self.stage.step_object(step)) for step in self.stage.steps.values()]

    def begin(self, now: float, *, new_thread: JSON | None = None) -> "Stream":
        """Start and return the first stream, at `now` of any clock. That of a run on a new thread begins with it."""
        return self._play(self._first(new_thread), now)

    def submit(self, answers: Mapping[str, str | bool | None], at: float, now: float) -> "Stream":
        """Take outputs, or approvals, by call id, at the Unix time `at`, and start and return the next stream.

        Raises:
            ValueError: the run waits for nothing, or for other calls, or for the other kind. Nothing has changed then.
        """
        asked = self._asked
        if asked is None or self.status != "requires_action":
            raise ValueError(f"expected a run that requires action, got one that is {self.status}")
        expected = {call["id"] for call in asked.calls}
        if answers.keys() != expected:
            raise ValueError(f"expected answers for {_listed(expected)}; got them for {_listed(set(answers))}")
        if any(isinstance(answer, bool) != isinstance(asked.act, McpCall) for answer in answers.values()):
            raise ValueError(f"expected an answer to {asked.action['type']}, got one of the other kind")
        self._asked = None
        self.status = "queued"
        self._move_clock(at)
        return self._play(self._resume(asked, answers), now)

    def cancel(self, at: float, now: float) -> None:
        """Begin to cancel the run. Its stream, if one is read, says how it ends.

        Raises:
            ValueError: it has ended already.
        """
        if self.is_terminal or self.status == "cancelling":
            raise ValueError(f"expected a run that can be cancelled, got one that is {self.status}")
        self.status = "cancelling"
        self._asked = None
        self._move_clock(at)
        if self._stream is None:
            self._play(self._cancelled(), now).leave()
        else:
            self._beats = self._cancelled()

    def catch_up(self, now: float) -> None:
        """Move as far as the run would have gone by the time `now` without its reader."""
        lag = LAG if self._stream is not None else 0.0
        while self._due + lag <= now:
            beat = self.take(self._due)
            if beat is None:
                return
            if self._stream is not None:
                self._stream.unread.append(beat)

    def take(self, now: float) -> Beat | None:
        """Move by one event and return it, or None where there is none until the client does something."""
        beat = next(self._beats, None)
        if beat is not None:
            self._due = now + self.pace.seconds(beat.delay)
        return beat

    def is_read_by(self, stream: "Stream") -> bool:
        """Tell whether `stream` is the one that goes on."""
        return self._stream is stream

    def end_reading(self) -> None:
        """Note that nobody reads the stream any more: from now on, the clock moves the run."""
        self._stream = None

    def _move_clock(self, at: float) -> None:
        if self.stage.random is None:  # with a seed, no clock of the world may show
            self.stage.catch_up(at)

    def _play(self, beats: Iterator[Beat], now: float) -> "Stream":
        self._beats = beats
        self._due = now
        self._stream = Stream(self)
        return self._stream

    def _first(self, new_thread: JSON | None) -> Iterator[Beat]:
        if new_thread is not None:
            yield self.stage.beat("thread.created", new_thread)
        yield self._beat("created", "queued")
        yield from self._start()
        yield from self._go_on()

    def _resume(self, asked: _Asked, answers: Mapping[str, str | bool | None]) -> Iterator[Beat]:
        stage, (act, step, calls) = self.stage, asked
        if isinstance(act, McpCall):
            yield self._beat("created", "queued")
            yield from self._start()
            yield from acts.call_tool(stage, act, step, calls, approved=bool(answers[calls[0]["id"]]))
        else:
            calls = [{**call, "function": {**call["function"], "output": answers[call["id"]]}} for call in calls]
            yield stage.end(step, shapes.tool_calls(calls), delay=0)
            yield from self._start()
        yield from self._go_on()

    def _start(self) -> Iterator[Beat]:
        yield self._beat("queued")
        self._started_at = self.stage.now()
        yield self._beat("in_progress")

    def _go_on(self) -> Iterator[Beat]:
        """Yield what follows until the client is needed or the story is over."""
        ending, last = self.scenario.ending, len(self.scenario.acts)
        for number, act in self._acts:
            yield from islice(self._perform(act), ending.after if number == last else None)
            if self._asked is not None:
                yield self._beat("requires_action")
                yield _DONE
                return
        yield from self._end(ending)

    def _perform(self, act: Act) -> Iterator[Beat]:
        if isinstance(act, FunctionCalls):
            self._asked = _Asked(act, *(yield from acts.ask(self.stage, act)))
        elif isinstance(act, McpCall):
            self._asked = _Asked(act, *(yield from acts.ask_approval(self.stage, act)))
        else:
            yield from acts.perform(self.stage, act)

    def _cancelled(self) -> Iterator[Beat]:
        yield self._beat("cancelling")
        yield from self._end(Ending(status="cancelled"))

    def _end(self, ending: Ending) -> Iterator[Beat]:
        """Yield the end of the run, before it that of everything open."""
        stage, cut = self.stage, CUTS.get(ending.status)
        if ending.status == "expired":
            stage.catch_up(self.owner.expires_at)
        if ending.status == "cancelled" and self.status != "cancelling":
            yield self._beat("cancelling")
        for step in [] if cut is None else [step for step in stage.steps.values() if step.ended is None]:
            assert cut is not None
            if step.message is not None and step.message.ended is None:
                yield stage.end_message(step.message, reason=cut.message_reason)
            failure = ending.failure if cut.step_status == "failed" else None
            yield stage.end(step, status=cut.step_status, failure=failure)
        self._ended_at = stage.now()
        yield self._beat(ending.status)
        yield _DONE

    def _beat(self, name: str, status: str | None = None) -> Beat:
        """Return the run's event of that name, with the run as it stands then."""
        self.status = status or name
        return self.stage.beat(f"thread.run.{name}", self.object())


class Stream:
    """The events of a run up to its next wait or its end, for the one who reads them."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.unread: deque[Beat] = deque()
        """The events that the clock has taken because their reader did not."""

    def __repr__(self) -> str:
        return f"<Stream of {self.run!r}>"

    def next_beat(self, now: float) -> Beat | None:
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


_DONE: Final = Beat(0, Frame("done", b"[DONE]"))


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
    stage = Stage(owner, tag, at, random, float_times=scenario.float_times)
    return Run(scenario, stage, settings, pace)
