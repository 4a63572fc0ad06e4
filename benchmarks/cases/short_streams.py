"""What does it cost that streams are short?"""

from typing import Final

from benchmarks.harness.case import Case, Row, ratio
from benchmarks.harness.passes import Passes
from benchmarks.peers.concurrent import STREAMS, Peer
from benchmarks.workloads import SHORT_TOKENS, Load

CASE: Final = Case(
    name="short_streams",
    question="What does one event cost in 1,000 streams of 40 events, read one after another by one processor?",
    about="the same runs in streams of their own, and in one stream of 40,000 events; chunks of 4,096 bytes",
    rows=(
        Row("1,000 streams", Passes(Peer(1), Load("function_call_by_token", SHORT_TOKENS)), shares="a process"),
        Row("one stream", Passes("ours", Load("short_runs", STREAMS)), shares="a process"),
    ),
    figures=(ratio("1,000 streams ÷ one", "1,000 streams", "one stream"),),
)
