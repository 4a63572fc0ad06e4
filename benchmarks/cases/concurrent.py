"""Do streams cost more when they are read side by side?"""

from typing import Final

from benchmarks.harness.case import Case, Row, ratio
from benchmarks.harness.passes import Passes
from benchmarks.peers.concurrent import Peer
from benchmarks.workloads import Load

_LOAD: Final = Load("function_call_by_token", 200)

CASE: Final = Case(
    name="concurrent",
    question="What does one event cost when so many streams are read at a time, through one processor?",
    about="the same 1,000 streams of 200 tokens in memory, in each row; chunks of 4,096 bytes",
    rows=tuple(
        Row(f"{count:,} at a time", Passes(Peer(count), _LOAD), shares="a process") for count in (1, 100, 1_000)
    ),
    figures=(
        ratio("100 at a time ÷ 1", "1 at a time", "100 at a time"),
        ratio("1,000 at a time ÷ 1", "1 at a time", "1,000 at a time"),
    ),
    repeats=3,
)
