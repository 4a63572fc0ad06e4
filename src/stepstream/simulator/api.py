"""The state behind the API: its threads and runs, its clocks, and what holds where a request does not say otherwise."""

from collections.abc import Callable
from itertools import count
from typing import Any, Final, NamedTuple

from stepstream.simulator import nested, objects
from stepstream.simulator.bodies import NewMessage, NewRun
from stepstream.simulator.objects import JSON
from stepstream.simulator.pace import Pace, pace_of
from stepstream.simulator.requests import ApiRequest, Refusal
from stepstream.simulator.responses.store import Responses
from stepstream.simulator.runs import Run, new_run
from stepstream.simulator.scenario import Scenario
from stepstream.simulator.scenarios import SCENARIOS
from stepstream.simulator.threads import Thread, Threads

SEEDED_TIME: Final = 1_790_000_000.0
"""The Unix time at which everything is created where a seed determines every byte."""

MAX_SEED: Final = 2**63 - 1


class Defaults(NamedTuple):
    """What holds for requests that do not say otherwise."""

    scenario: Scenario
    seed: int | None
    pace: Pace


class Api:
    """The state of both APIs. `wall` gives the Unix time, `clock` a time that only goes forward."""

    def __init__(self, defaults: Defaults, wall: Callable[[], float], clock: Callable[[], float]) -> None:
        self.defaults = defaults
        self.threads = Threads()
        self.responses = Responses()
        self.clock = clock
        self._wall = wall
        self._runs = count(1)
        self._items = count(1)

    def __repr__(self) -> str:
        return f"<Api {self.threads!r}, {self.responses!r}>"

    def next_run(self) -> int:
        """Return the number of the next run, in either API."""
        return next(self._runs)

    def next_item(self) -> int:
        """Return the number of the next message or item that the client sends."""
        return next(self._items)

    def at(self, seed: int | None) -> float:
        """Return the Unix time, which a seed sets."""
        return self._wall() if seed is None else SEEDED_TIME

    @property
    def now(self) -> float:
        """The Unix time, as far as the application's own seed goes."""
        return self.at(self.defaults.seed)

    def thread(self, request: ApiRequest) -> Thread:
        """Return the thread that the path names."""
        found = self.threads.find(request.ids["thread"])
        if found is None:
            raise Refusal(404, f"no thread found with id {request.ids['thread']!r:.80}", param="thread_id")
        return found

    def run(self, request: ApiRequest) -> Run:
        """Return the run that the path names, moved to the present."""
        thread = self.threads.find(request.ids["thread"])
        run = None if thread is None else thread.runs.get(request.ids["run"])
        if run is None:
            text = f"no run found with id {request.ids['run']!r:.80} on thread {request.ids['thread']!r:.80}"
            raise Refusal(404, text, param="run_id")
        run.catch_up(self.clock())
        return run

    def add_message(self, thread: Thread, new: NewMessage, at: float) -> JSON:
        """Keep and return a message of the client, created at the Unix time `at`."""
        parts = [{"type": "text", "text": new.content}] if isinstance(new.content, str) else new.content
        content = [nested.text(part["text"]) if isinstance(part.get("text"), str) else part for part in parts]
        message = objects.message(
            f"msg_sim_{self.next_item()}",
            thread.id,
            int(at),
            content,
            role=new.role,
            attachments=new.attachments,
            metadata=new.metadata,
        )
        thread.add_message(message)
        return message

    def open_run(self, request: ApiRequest, new: NewRun, options: Defaults, thread: Thread) -> Run:
        """Return a new run on `thread`, as the request says."""
        scenario, seed, pace = options
        at = self.at(seed)
        for message in new.additional_messages or ():
            self.add_message(thread, message, at)
        given = request.decode(dict[str, Any])
        instructions = scenario.instructions if new.instructions is None else new.instructions
        settings = {
            "model": new.model or scenario.model,
            "instructions": " ".join(filter(None, (instructions, new.additional_instructions))) or None,
            "tools": scenario.tools if new.tools is None else new.tools,
            **{name: default if given.get(name) is None else given[name] for name, default in objects.SETTINGS.items()},
        }
        run = new_run(
            self.next_run(),
            scenario,
            thread_id=thread.id,
            assistant_id=new.assistant_id,
            settings=settings,
            at=at,
            seed=seed,
            pace=pace,
        )
        self.threads.add_run(thread, run)
        return run

    def options(self, request: ApiRequest) -> Defaults:
        """Return what holds for the run that the request opens."""
        scenario, seed, pace = (request.option(name) for name in Defaults._fields)
        if scenario is not None and scenario not in SCENARIOS:
            text = f"expected a scenario out of {', '.join(SCENARIOS)}; got {scenario!r:.80}"
            raise Refusal(400, text, param="scenario")
        if seed is not None and not (seed.isascii() and seed.isdecimal() and int(seed[:20]) <= MAX_SEED):
            raise Refusal(400, f"expected a seed from 0 to {MAX_SEED}, got {seed!r:.80}", param="seed")
        return Defaults(
            self.defaults.scenario if scenario is None else SCENARIOS[scenario],
            self.defaults.seed if seed is None else int(seed),
            self.defaults.pace if pace is None else _pace(pace),
        )


def _pace(text: str) -> Pace:
    try:
        return pace_of(text)
    except ValueError as exc:
        raise Refusal(400, str(exc), param="pace") from exc
