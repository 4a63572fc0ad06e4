"""The measured cases, by name. One file a question."""

from typing import Final

from benchmarks.cases import (
    chunking,
    concurrent,
    delivery,
    growth,
    http,
    imports,
    in_memory,
    latency,
    memory,
    stuck,
    subscribers,
    throughput,
)
from benchmarks.harness.case import Case

CASES: Final[dict[str, Case]] = {
    case.name: case
    for case in (
        in_memory.CASE,
        throughput.CASE,
        chunking.CASE,
        growth.TOKENS,
        growth.LOGS,
        growth.CALLS,
        delivery.CASE,
        http.CASE,
        latency.CASE,
        concurrent.CASE,
        subscribers.CASE,
        stuck.CASE,
        memory.CASE,
        imports.CASE,
    )
}
