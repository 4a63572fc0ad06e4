"""stepstream: a `Processor` with many plain callbacks, or one that is stuck. All else is as in `ours`."""

import logging
from dataclasses import dataclass
from typing import Any

import anyio

from benchmarks.peers.delivering import BESIDE_DELTAS, take
from benchmarks.peers.ours import Source, prepare
from benchmarks.writer import STEP_DELTA, Workload
from stepstream import Outcome, Processor, StepTransition, Subscription
from stepstream.live.registration import CLASSES

PATIENCE = 60.0
"""Seconds to wait for the subscriber that is not stuck."""


@dataclass(frozen=True)
class Many:
    """So many subscriptions, and how many changes each is to get: of transitions 2, of all classes None for all."""

    count: int
    classes: tuple[type[Any], ...]
    run_id: str | None = None
    changes: int | None = None
    PACKAGES = ("msgspec", "anyio")

    def prepare(self, load: Workload) -> Source:
        return prepare(load)

    async def run(self, source: Source) -> tuple[Outcome, list[Subscription]]:
        filters: Any = {} if self.run_id is None else {"run_id": self.run_id}
        async with Processor() as processor:
            subscriptions = [processor.add(self.classes, take, **filters) for _ in range(self.count)]
            return await processor.run(source()), subscriptions

    def check(self, load: Workload, result: tuple[Outcome, list[Subscription]]) -> int:
        outcome, subscriptions = result
        assert (outcome.reason, outcome.anomaly_count, outcome.events) == ("done", 0, len(load.events))
        expected = _changes(load) if self.changes is None else self.changes
        assert {(one.delivered, one.failed) for one in subscriptions} == {(expected, 0)}
        assert len(subscriptions) == self.count
        return len(load.events)


@dataclass(frozen=True)
class Coming:
    """So many subscribers that come and leave, one after another. Each of them is counted as an event."""

    count: int
    PACKAGES = ("msgspec", "anyio")

    def prepare(self, load: Workload) -> Source:
        return prepare(load)

    async def run(self, source: Source) -> tuple[Outcome, list[Subscription]]:
        async with Processor() as processor:
            subscriptions = []
            for _ in range(self.count):
                subscriptions.append(processor.add(StepTransition, take))
                subscriptions[-1].close()
            return await processor.run(source()), subscriptions

    def check(self, load: Workload, result: tuple[Outcome, list[Subscription]]) -> int:
        outcome, subscriptions = result
        assert (outcome.reason, outcome.events) == ("done", len(load.events))
        assert {(one.is_closed, one.offered) for one in subscriptions} == {(True, 0)}
        assert len(subscriptions) == self.count
        return self.count


@dataclass(frozen=True)
class Stuck:
    """One subscriber to every change that works, beside one that is stuck in its first, if it has options.

    A pass is over when the one that works has seen the step's end.
    """

    options: tuple[tuple[str, Any], ...] | None
    PACKAGES = ("msgspec", "anyio")

    def prepare(self, load: Workload) -> Source:
        logging.getLogger("stepstream").addHandler(logging.NullHandler())  # that it is stuck is no news
        return prepare(load)

    async def run(self, source: Source) -> tuple[Outcome, Subscription]:
        seen_the_end, may_go_on = anyio.Event(), anyio.Event()

        async def work(change: object) -> None:
            if isinstance(change, StepTransition) and change.terminal:
                seen_the_end.set()

        async def be_stuck(change: object) -> None:
            await may_go_on.wait()

        async with Processor() as processor:
            working = processor.add(CLASSES, work)
            if self.options is not None:
                processor.add(CLASSES, be_stuck, **dict(self.options))
            stream = processor.start(source())
            with anyio.fail_after(PATIENCE):
                await seen_the_end.wait()
            may_go_on.set()
            return await stream.outcome(), working

    def check(self, load: Workload, result: tuple[Outcome, Subscription]) -> int:
        outcome, working = result
        assert (outcome.reason, outcome.anomaly_count, outcome.events) == ("done", 0, len(load.events))
        assert (working.delivered, working.failed) == (_changes(load), 0)
        return len(load.events)


def _changes(load: Workload) -> int:
    return load.events.count(STEP_DELTA) + BESIDE_DELTAS
