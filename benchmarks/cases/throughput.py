"""Does another shape of stream change the picture?"""

from typing import Final

from benchmarks.harness.case import Case, Row, ratio
from benchmarks.harness.passes import Passes
from benchmarks.workloads import Load

LOADS: Final = (
    Load("code_by_token", 3_000),
    Load("function_call_by_token", 3_000),
    Load("logs_by_piece", 4_096),
    Load("parallel_steps", 3_000),
    Load("parallel_calls", 1_280),
    Load("messages_only", 3_000),
    Load("keep_alive_comments", 3_000),
    Load("whole_objects", 600),
    Load("like_recordings", 30),
)
PEERS: Final = {
    "stepstream": "ours",
    "openai-python": "openai_sdk",
    "azure-ai-agents": "azure_agents",
    "naive json": "naive_json",
}
_CANNOT: Final = {("azure_agents", "keep_alive_comments")}

CASE: Final = Case(
    name="throughput",
    question="What does one event cost in other streams?",
    about=", ".join(f"{load.workload} {load.size:,}" for load in LOADS) + "; chunks of 4,096 bytes",
    rows=tuple(
        Row(f"{load.workload}, {label}", Passes(peer, load))
        for load in LOADS
        for label, peer in PEERS.items()
        if (peer, load.workload) not in _CANNOT
    ),
    figures=tuple(
        ratio(f"{load.workload}: {label} ÷ stepstream", f"{load.workload}, {label}", f"{load.workload}, stepstream")
        for load in LOADS
        for label, peer in PEERS.items()
        if peer != "ours" and (peer, load.workload) not in _CANNOT
    ),
    repeats=3,
)
