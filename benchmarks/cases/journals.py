"""What does a journal in memory cost, and following a run?"""

from typing import Final

from benchmarks.harness.case import Case, Row, ratio
from benchmarks.harness.passes import Passes
from benchmarks.peers.journals import Followed, Written
from benchmarks.workloads import Load

LOADS: Final = {
    "one-token deltas": Load("function_call_by_token", 10_000),
    "one-token deltas, one event a chunk": Load("function_call_by_token", 10_000, chunk_size=None),
    "short runs": Load("like_recordings", 60),
    "Responses": Load("response_text", 5_000),
}
_FOLLOWED: Final = "one-token deltas"


def _reader(load: Load) -> str:
    """Return the peer that reads such streams without a journal."""
    return "ours_responses" if load.workload.startswith("response") else "ours"


CASE: Final = Case(
    name="journals",
    question="What does one event cost where it is also written to a journal in memory, or followed from one?",
    about=", ".join(f"{load.workload} {load.size:,}" for load in LOADS.values()) + "; chunks of 4,096 bytes",
    rows=(
        *(
            Row(f"{label}, {way}", Passes(peer, load), shares=label)
            for label, load in LOADS.items()
            for way, peer in (("no journal", _reader(load)), ("journal", Written(_reader(load))))
        ),
        Row(f"{_FOLLOWED}, followed", Passes(Followed(), LOADS[_FOLLOWED]), shares=_FOLLOWED),
    ),
    figures=(
        *(ratio(f"{label}: with a journal ÷ without", f"{label}, journal", f"{label}, no journal") for label in LOADS),
        ratio("followed ÷ read", f"{_FOLLOWED}, followed", f"{_FOLLOWED}, no journal"),
    ),
)
