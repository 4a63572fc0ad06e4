"""stepstream: a stream that is written to a journal in memory, and a run that is followed. All else is as in `ours`."""

from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from benchmarks.peers import ours
from benchmarks.peers.ours import Result, Source
from benchmarks.writer import Workload
from stepstream import MemoryJournal, Processor, StepTransition, publish


async def _told(source: Any, journal: MemoryJournal | None = None) -> Result:
    result = Result()
    async with Processor(journal=journal) as processor:

        @processor.on(StepTransition)
        async def note(change: StepTransition) -> None:
            result.told.append((change.step_id, change.status))

        result.outcome = await processor.run(source)
    return result


@dataclass(frozen=True)
class Written:
    """Each pass writes to a journal of its own. `like` is the module that reads the same without one."""

    like: str = "ours"
    PACKAGES = ours.PACKAGES

    def prepare(self, load: Workload) -> Source:
        return ours.prepare(load)

    async def run(self, source: Source) -> tuple[Result, list[Any]]:
        journal = MemoryJournal()
        result = await _told(source(), journal)
        return result, [info async for info in journal.runs()]

    def check(self, load: Workload, result: tuple[Result, list[Any]]) -> int:
        told, runs = result
        assert told.outcome is not None
        assert {info.status for info in runs} == {"ended"}
        assert sum(info.position for info in runs) == told.outcome.events - load.events.count("done")
        checked: int = import_module(f"benchmarks.peers.{self.like}").check(load, told)
        return checked


@dataclass
class _Published:
    """A stream, and its journal once it was published."""

    source: Source
    journal: MemoryJournal | None = None


@dataclass(frozen=True)
class Followed:
    """Each pass follows the run of a stream that the first one publishes."""

    PACKAGES = ours.PACKAGES
    run_id: str = "run_bench"
    published: dict[int, _Published] = field(default_factory=dict)
    """By the number of events of the stream."""

    def prepare(self, load: Workload) -> _Published:
        return self.published.setdefault(len(load.events), _Published(ours.prepare(load)))

    async def run(self, source: _Published) -> Result:
        if source.journal is None:
            source.journal = MemoryJournal()
            await publish(source.source(), source.journal)
        return await _told(source.journal.follow(self.run_id))

    def check(self, load: Workload, result: Result) -> int:
        assert result.outcome is not None
        assert (result.outcome.reason, result.outcome.anomaly_count) == ("ended", 0)
        assert ours.as_wire(result.outcome.steps.values()) == list(load.steps)
        return result.outcome.events
