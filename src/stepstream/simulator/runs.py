"""Runs on their way through a scenario, and the book of those that an application knows. No IO and no clock."""

from collections.abc import Iterator, Mapping
from itertools import count
from typing import Final, NamedTuple, assert_never

from stepstream.simulator import acts, shapes
from stepstream.simulator.scenario import Act, Answer, CodeInterpreter, FileSearch, FunctionCalls, Scenario, Usage
from stepstream.simulator.shapes import JSON
from stepstream.simulator.stage import Beat, Stage, Step
from stepstream.wire.sse import Frame

MAX_RUNS: Final = 1_000
"""How many runs an application remembers. A newer one pushes out the oldest."""


class _Asked(NamedTuple):
    """A step of function calls that waits for its outputs."""

    step: Step
    calls: list[JSON]
    usage: Usage


class Run:
    """One run. `begin` gives the events of its first stream, `submit` those of the next.

    `status` moves as the events are taken.
    """

    def __init__(self, scenario: Scenario, stage: Stage) -> None:
        self.owner = stage.owner
        self.status = "queued"
        self._scenario = scenario
        self._stage = stage
        self._acts = iter(scenario.acts)
        self._started_at: int | None = None
        self._asked: _Asked | None = None

    def __repr__(self) -> str:
        return f"<Run {self.owner.run_id} {self.status}>"

    def begin(self, *, new_thread: bool = False) -> Iterator[Beat]:
        """Yield the events up to the run's first wait or its end. Those of a run on a new thread begin with it."""
        if new_thread:
            yield self._stage.beat("thread.created", shapes.thread(self.owner.thread_id, self.owner.created_at))
        yield self._beat("created")
        yield from self._play()

    def submit(self, outputs: Mapping[str, str | None], at: float) -> Iterator[Beat]:
        """Take the outputs by call id, at the Unix time `at`, and return the events up to the next wait or the end.

        Raises:
            ValueError: the run waits for no outputs, or for those of other calls. Nothing has changed then.
        """
        if self._asked is None or self.status != "requires_action":
            raise ValueError(f"expected a run that requires action, got one that is {self.status}")
        expected = {call["id"] for call in self._asked.calls}
        if outputs.keys() != expected:
            raise ValueError(f"expected outputs for {_listed(expected)}; got them for {_listed(set(outputs))}")
        asked, self._asked = self._asked, None
        self.status = "queued"
        self._stage.catch_up(at)
        return self._resume(asked, outputs)

    def _resume(self, asked: _Asked, outputs: Mapping[str, str | None]) -> Iterator[Beat]:
        calls = [{**call, "function": {**call["function"], "output": outputs[call["id"]]}} for call in asked.calls]
        yield self._stage.close(asked.step, shapes.tool_calls(calls), asked.usage, delay=0)
        yield from self._play()

    def _play(self) -> Iterator[Beat]:
        """Yield what follows until the client is needed or the story is over."""
        yield self._beat("queued")
        self._started_at = self._stage.now()
        yield self._beat("in_progress")
        for act in self._acts:
            yield from self._perform(act)
            if self._asked is not None:
                yield self._beat("requires_action")
                break
        else:
            yield self._beat("completed")
        yield Beat(0, Frame("done", b"[DONE]"))

    def _perform(self, act: Act) -> Iterator[Beat]:
        match act:
            case CodeInterpreter():
                yield from acts.interpret(self._stage, act)
            case FunctionCalls():
                step, calls = yield from acts.ask(self._stage, act)
                self._asked = _Asked(step, calls, act.usage)
            case FileSearch():
                yield from acts.search(self._stage, act)
            case Answer():
                yield from acts.answer(self._stage, act)
            case _:
                assert_never(act)

    def _beat(self, name: str) -> Beat:
        """Return the run's event of that name, with the run as it stands then."""
        self.status = "queued" if name == "created" else name
        is_completed = name == "completed"
        run = shapes.run(
            self.owner,
            self._scenario,
            self.status,
            started_at=self._started_at,
            completed_at=self._stage.now() if is_completed else None,
            required_action=shapes.required_action(self._asked.calls) if self._asked else None,
            spent=self._stage.spent if is_completed else None,
        )
        return self._stage.beat(f"thread.run.{name}", run)


class Runs:
    """The newest `limit` runs of one application."""

    def __init__(self, limit: int = MAX_RUNS) -> None:
        self._limit = limit
        self._runs: dict[str, Run] = {}
        self._numbers = count(1)

    def __repr__(self) -> str:
        return f"<Runs {len(self._runs):,} of at most {self._limit:,}>"

    def open(self, scenario: Scenario, thread_id: str | None, assistant_id: str, at: float) -> Run:
        """Return a new run, created at the Unix time `at`. It has a thread of its own where `thread_id` is None."""
        number = next(self._numbers)
        run = Run(scenario, Stage(number, thread_id or f"thread_sim{number}", assistant_id, at))
        self._runs[run.owner.run_id] = run
        if len(self._runs) > self._limit:
            del self._runs[next(iter(self._runs))]
        return run

    def find(self, thread_id: str, run_id: str) -> Run | None:
        """Return the run, or None where that thread has none of this id, or has it no longer."""
        run = self._runs.get(run_id)
        return run if run is not None and run.owner.thread_id == thread_id else None


def _listed(ids: set[str]) -> str:
    return ", ".join(sorted(ids)) or "none"
