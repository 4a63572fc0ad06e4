"""What the measured ratios have to be."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

AT_LEAST: Final = "≥"
AT_MOST: Final = "≤"


@dataclass(frozen=True)
class Bar:
    """One demand on a figure of a case."""

    question: str
    case: str
    figure: str
    sense: str
    limit: float
    goal: float | None = None
    """What comes after it."""


_LATE: Final = "stepstream - 1.5 of coredis alone, p99 ms"
_RECORDED: Final = "like_recordings: openai-python ÷ stepstream"


def _naive(workload: str) -> str:
    return f"{workload}: naive json ÷ stepstream"


def _response(kind: str) -> str:
    return f"{kind}: openai-python ÷ stepstream"


BARS: Final = (
    Bar("in memory, openai-python's time ÷ ours", "in_memory", "openai-python ÷ stepstream", AT_LEAST, 100),
    Bar("in memory, our time ÷ bare decode's", "in_memory", "stepstream ÷ bare decode", AT_MOST, 1.7, goal=1.5),
    Bar("in memory, azure-ai-agents' time ÷ ours", "in_memory", "azure-ai-agents ÷ stepstream", AT_LEAST, 40),
    Bar("whole objects, naive json's time ÷ ours", "throughput", _naive("whole_objects"), AT_LEAST, 1.5, goal=2.5),
    Bar("like recordings, naive json's time ÷ ours", "throughput", _naive("like_recordings"), AT_LEAST, 2.5, goal=3.0),
    Bar("like recordings, openai-python's time ÷ ours", "throughput", _RECORDED, AT_LEAST, 55),
    Bar("parallel steps, naive json's time ÷ ours", "throughput", _naive("parallel_steps"), AT_LEAST, 3.0),
    Bar("parallel calls, naive json's time ÷ ours", "throughput", _naive("parallel_calls"), AT_LEAST, 3.0),
    *(
        Bar(f"{workload} ÷ its twin, {size}", "framing", f"{workload} ÷ its twin, {size}", AT_MOST, 1.2)
        for workload in ("with_ids", "with_crlf", "unnamed")
        for size in ("4 KiB", "one event a chunk")
    ),
    Bar("1,000 streams of 40 events ÷ one stream", "short_streams", "1,000 streams ÷ one", AT_MOST, 2.0),
    Bar("a subscriber that comes and leaves ÷ bare decode", "coming", "a subscriber ÷ bare decode", AT_MOST, 67),
    Bar("a delta in a step of 64,000 ÷ of 1,000", "growth", "64,000 deltas ÷ 1,000", AT_MOST, 1.15),
    Bar("a delta in 4 MiB of logs ÷ in 64 KiB", "growth_of_logs", "4 MiB ÷ 64 KiB", AT_MOST, 1.15),
    Bar("a delta beside 128 calls ÷ 1", "growth_by_calls", "128 calls ÷ 1", AT_MOST, 1.15),
    Bar("one event a chunk ÷ chunks of 4 KiB", "chunking", "one event a chunk ÷ 4 KiB", AT_MOST, 1.5),
    Bar("loopback, openai-python's time ÷ ours", "http", "openai-python ÷ stepstream", AT_LEAST, 12),
    Bar("loopback, openai-python's time ÷ ours, fast", "http", "openai-python ÷ stepstream, fast", AT_LEAST, 40),
    *(
        Bar(f"Responses, {kind}: openai-python's time ÷ ours", "responses", _response(kind), AT_LEAST, 100)
        for kind in ("text", "call")
    ),
    *(
        Bar(f"Responses, {kind} in 64 KiB: our time ÷ bare decode's", "responses_chunking", figure, AT_MOST, 2.5)
        for kind in ("text", "call")
        for figure in (f"{kind}: 64 KiB ÷ bare decode",)
    ),
    Bar("Responses, loopback, openai-python's", "responses_http", "openai-python ÷ stepstream", AT_LEAST, 40),
    Bar("throughput of 1,000 streams ÷ 1", "concurrent", "1,000 at a time ÷ 1", AT_LEAST, 0.8),
    Bar("p99 bytes to callback, ours ÷ openai-python's", "latency", "stepstream ÷ openai-python, p99", AT_MOST, 0.5),
    Bar("import, ours ÷ msgspec and anyio", "imports", "stepstream ÷ msgspec, anyio", AT_MOST, 1.5),
    Bar("delivery ÷ bare decode", "delivery", "(one callback - no subscriber) ÷ bare decode", AT_MOST, 2.0),
    *(
        Bar(f"{label}, with a journal ÷ without", "journals", f"{label}: with a journal ÷ without", AT_MOST, limit)
        for label, limit in (
            ("one-token deltas", 1.3),
            ("one-token deltas, one event a chunk", 1.3),
            ("short runs", 1.3),
            ("Responses", 2.0),
        )
    ),
    Bar("bytes a second to 200 viewers ÷ a raw application's", "viewers", "relay ÷ raw application", AT_LEAST, 0.7),
    *(
        Bar(f"joining, {form}, 1,000,000 deltas ÷ 1,000, {unit}", "viewers_late", figure, AT_MOST, limit)
        for form in ("events", "changes", "view")
        for unit, limit in (("ms", 2.0), ("KiB", 1.2))
        for figure in (f"{form}: 1,000,000 deltas ÷ 1,000, {unit}",)
    ),
    Bar("p99 to 1,000 viewers ÷ a raw application's", "viewers_live", "relay ÷ raw application, p99", AT_MOST, 1.5),
    Bar("p99 beside a stuck viewer", "viewers_live", "with one that never reads ÷ without, p99", AT_MOST, 1.5),
    Bar("KiB of a waiting viewer", "viewers_live", "relay - raw application, KiB a viewer", AT_MOST, 16),
    Bar("a run followed ÷ its stream read", "journals", "followed ÷ read", AT_MOST, 1.3),
    Bar("50 runs published ÷ coredis alone", "shared_publish", "stepstream ÷ coredis alone", AT_LEAST, 0.5),
    Bar("1,000 runs followed ÷ coredis alone", "shared_follow", "stepstream ÷ coredis alone", AT_LEAST, 0.35),
    Bar(
        "1,000 runs of live entries ÷ coredis alone", "shared_follow_live", "stepstream ÷ coredis alone", AT_LEAST, 0.35
    ),
    Bar("ms of p99 to a follower, over 1.5 of coredis alone", "shared_latency", _LATE, AT_MOST, 10),
    Bar("subscribed to another class ÷ to nothing", "delivery", "other class ÷ no subscriber", AT_MOST, 1.02),
    Bar("subscribed to another run ÷ to nothing", "delivery", "other run ÷ no subscriber", AT_MOST, 1.02),
)


def judged(reports: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return every bar of the cases that were asked for, with what was measured and the verdict."""
    return [asdict(bar) | _verdict(bar, reports[bar.case]) for bar in BARS if bar.case in reports]


def _verdict(bar: Bar, report: Mapping[str, Any]) -> dict[str, Any]:
    measured = report["figures"].get(bar.figure)
    if measured is None:
        return {"measured": None, "verdict": f"not measured: {'; '.join(dict.fromkeys(report['missing'].values()))}"}
    found = measured["median"]
    is_met = found >= bar.limit if bar.sense == AT_LEAST else found <= bar.limit
    return {"measured": measured, "verdict": "met" if is_met else "missed"}
