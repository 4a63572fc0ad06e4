"""The bytes are there already: what does it cost to make steps of them?"""

from typing import Final

from benchmarks.harness import Case, Row
from benchmarks.workloads import function_call_by_token

CASE: Final = Case(
    name="in_memory",
    question="What does one event cost from bytes in memory to the folded step?",
    workload=function_call_by_token,
    size=10_000,
    unit="tokens",
    rows=(
        Row("stepstream", peer="ours"),
        Row("openai-python", peer="openai_sdk"),
        Row("bare decode", peer="bare_decode"),
    ),
    against=("openai-python", "bare decode"),
)
