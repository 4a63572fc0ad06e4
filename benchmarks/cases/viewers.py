"""What do viewers of one run cost, and how soon do they see it?"""

from dataclasses import dataclass
from typing import Final

from benchmarks import late
from benchmarks.fanout import measured
from benchmarks.harness.case import Case, Figure, Measurement, Row, Sample, ratio


@dataclass(frozen=True)
class Viewers(Measurement):
    """Sends deltas to viewers, so many a second, or with a rate of 0 as fast as it goes."""

    kind: str
    viewers: int
    deltas: int
    rate: float = 0
    stuck: int = 0

    def __call__(self) -> Sample:
        return measured(self.kind, self.viewers, self.deltas, self.rate, self.stuck)


FANOUT: Final = Case(
    name="viewers",
    question="How fast do 200 viewers get a run, over HTTP, beside a raw application that has every frame ready?",
    about="2,000 deltas as fast as they go, `events`, uvicorn in one process, 200 sockets in another",
    rows=(Row("relay", Viewers("relay", 200, 2_000)), Row("raw application", Viewers("raw", 200, 2_000))),
    columns=("MB/s",),
    figures=(ratio("relay ÷ raw application", "relay", "raw application", of="MB/s"),),
    repeats=3,
)

PACE: Final = Case(
    name="viewers_live",
    question="How soon do 1,000 viewers see a delta, and what does one take that waits?",
    about="25 deltas a second for 3 seconds, `events`, uvicorn in one process, the sockets in another",
    rows=(
        Row("relay", Viewers("relay", 1_000, 75, 25)),
        Row("raw application", Viewers("raw", 1_000, 75, 25)),
        Row("relay, and one that never reads", Viewers("relay", 1_001, 75, 25, stuck=1)),
    ),
    columns=("p50 ms", "p99 ms", "KiB/viewer"),
    figures=(
        ratio("relay ÷ raw application, p99", "relay", "raw application", of="p99 ms"),
        ratio("with one that never reads ÷ without, p99", "relay, and one that never reads", "relay", of="p99 ms"),
        Figure(
            "relay - raw application, KiB a viewer",
            lambda found: found["relay"]["KiB/viewer"] - found["raw application"]["KiB/viewer"],
        ),
    ),
    repeats=3,
)


@dataclass(frozen=True)
class Join(Measurement):
    """Joins a run after so many deltas."""

    deltas: int
    form: str

    def __call__(self) -> Sample:
        return late.measured(self.deltas, self.form)


def _after(deltas: int, form: str) -> str:
    return f"{form}, after {deltas:,} deltas"


FORMS: Final = ("events", "changes", "view")
MANY, FEW = 1_000_000, 1_000

LATE: Final = Case(
    name="viewers_late",
    question="What does it take to join a run that nobody watches yet, after many deltas and after few?",
    about="a text of 1,000,000 characters, in memory, right before its next checkpoint; until a viewer has the state",
    rows=tuple(Row(_after(deltas, form), Join(deltas, form)) for form in FORMS for deltas in (MANY, FEW)),
    columns=("ms", "KiB"),
    figures=tuple(
        ratio(f"{form}: 1,000,000 deltas ÷ 1,000, {unit}", _after(MANY, form), _after(FEW, form), of=unit)
        for form in FORMS
        for unit in ("ms", "KiB")
    ),
    repeats=3,
)
