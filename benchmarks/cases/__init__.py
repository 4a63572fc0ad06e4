"""The measured cases, by name. One file a question."""

from typing import Final

from benchmarks.cases import (
    chunking,
    concurrent,
    delivery,
    framing,
    growth,
    http,
    imports,
    in_memory,
    journals,
    latency,
    memory,
    responses,
    shared,
    short_streams,
    stuck,
    subscribers,
    throughput,
    viewers,
)
from benchmarks.harness.case import Case

CASES: Final[dict[str, Case]] = {
    case.name: case
    for case in (
        in_memory.CASE,
        throughput.CASE,
        chunking.CASE,
        framing.CASE,
        growth.TOKENS,
        growth.LOGS,
        growth.CALLS,
        delivery.CASE,
        http.CASE,
        responses.IN_MEMORY,
        responses.CHUNKING,
        responses.HTTP,
        latency.CASE,
        concurrent.CASE,
        short_streams.CASE,
        subscribers.CASE,
        subscribers.COMING,
        stuck.CASE,
        journals.CASE,
        shared.PUBLISH,
        shared.FOLLOW,
        shared.FOLLOW_LIVE,
        shared.LATENCY,
        viewers.FANOUT,
        viewers.PACE,
        viewers.LATE,
        memory.CASE,
        imports.CASE,
    )
}
