"""stepstream: a `Processor` with one plain callback or none. All else is as in `ours`."""

from dataclasses import dataclass
from typing import Any, Final

from benchmarks.peers.ours import Source, prepare
from benchmarks.writer import STEP_DELTA, Workload
from stepstream import MessageProgress, Outcome, Processor, StepProgress, Subscription
from stepstream.live.registration import CLASSES

PACKAGES: Final = ("msgspec", "anyio")

BESIDE_DELTAS: Final = 7
"""Changes that the workload makes beside one for each delta: three of the run, two of the step, two of its call."""


@dataclass(frozen=True)
class Peer:
    """A subscription: to which classes, by which filters, and whether it is for what the workload does."""

    classes: tuple[type[Any], ...]
    run_id: str | None = None
    matches: bool = True
    PACKAGES = PACKAGES

    def prepare(self, load: Workload) -> Source:
        return prepare(load)

    async def run(self, source: Source) -> tuple[Outcome, Subscription | None]:
        async with Processor() as processor:
            subscription = None
            if self.classes:
                filters: Any = {} if self.run_id is None else {"run_id": self.run_id}
                subscription = processor.add(self.classes, take, **filters)
            return await processor.run(source()), subscription

    def check(self, load: Workload, result: tuple[Outcome, Subscription | None]) -> int:
        outcome, subscription = result
        assert (outcome.reason, outcome.anomaly_count, outcome.events) == ("done", 0, len(load.events))
        if subscription is not None:
            expected = load.events.count(STEP_DELTA) + BESIDE_DELTAS if self.matches else 0
            assert (subscription.delivered, subscription.failed) == (expected, 0)
        return len(load.events)


async def take(change: object) -> None:
    """Do nothing: what is measured is how the change comes here."""


NOBODY: Final = Peer(())
EVERYTHING: Final = Peer(CLASSES)
OTHER_CLASS: Final = Peer((MessageProgress,), matches=False)
OTHER_RUN: Final = Peer((StepProgress,), run_id="run_other", matches=False)
