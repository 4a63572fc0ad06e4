"""How long does a delta take to the callback?"""

from typing import Final

from benchmarks.harness.case import Case, Row, ratio
from benchmarks.harness.latency import P50, P99, Latency

_PEERS: Final = {
    "stepstream": "ours",
    "stepstream, fast": "ours_fast",
    "openai-python": "openai_sdk",
    "naive json": "naive_json",
}

CASE: Final = Case(
    name="latency",
    question="How long is it from the server's write to the callback, at 1,000 events a second?",
    about="3,000 deltas over loopback HTTP, from a server in another process",
    rows=tuple(Row(label, Latency(peer, deltas=3_000, rate=1_000)) for label, peer in _PEERS.items()),
    columns=("deltas", P50, P99, "max µs"),
    figures=(
        ratio("stepstream ÷ openai-python, p50", "stepstream", "openai-python", of=P50),
        ratio("stepstream ÷ openai-python, p99", "stepstream", "openai-python", of=P99),
        ratio("stepstream, fast ÷ openai-python, p99", "stepstream, fast", "openai-python", of=P99),
    ),
)
