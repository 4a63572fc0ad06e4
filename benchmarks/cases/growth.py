"""Does the cost of a delta depend on what came before it?

Nothing is subtracted. Our streams of one case have the same deltas and the same events by name: what differs is over
how many steps the deltas are spread, and steps that get none are opened and completed too. Streams by calls have one
more delta for each more call, which opens it, and it is counted as one. openai-python reads one step of each size.
"""

from typing import Final

from benchmarks.harness.case import DELTA_COST, Case, Row, ratio
from benchmarks.harness.passes import Passes
from benchmarks.workloads import Load

_COLUMNS: Final = ("events", "seconds", DELTA_COST)


def _spread(workload: str, size: int, steps: int) -> Load:
    """Return deltas spread over so many of 64 steps."""
    return Load(workload, size, options=(("steps", steps), ("idle", 64 - steps)))


def _ours(label: str, load: Load) -> Row:
    return Row(label, Passes("ours", load, long_enough=0.5), shares="ours")


def _theirs(label: str, load: Load) -> Row:
    return Row(f"openai-python, {label}", Passes("openai_sdk", load))


TOKENS: Final = Case(
    name="growth",
    question="What does a delta cost in a step of so many one-token deltas?",
    about="64,000 one-token deltas of code over 64, 16, 4 steps or in 1; chunks of 4,096 bytes",
    rows=(
        *(_ours(f"{64_000 // n:,} deltas", _spread("code_by_token", 64_000, n)) for n in (64, 16, 4, 1)),
        *(_theirs(f"{n:,} deltas", Load("code_by_token", n)) for n in (1_000, 4_000, 16_000, 64_000)),
    ),
    columns=_COLUMNS,
    figures=(
        ratio("64,000 deltas ÷ 1,000", "64,000 deltas", "1,000 deltas", of=DELTA_COST),
        ratio(
            "openai-python, 64,000 ÷ 1,000",
            "openai-python, 64,000 deltas",
            "openai-python, 1,000 deltas",
            of=DELTA_COST,
        ),
    ),
    repeats=3,
)

LOGS: Final = Case(
    name="growth_of_logs",
    question="What does a delta cost in a step of so many bytes of logs?",
    about="16,384 deltas of 256 bytes of logs over 64, 16, 4 steps or in 1; chunks of 4,096 bytes",
    rows=(
        *(_ours(f"{4_096 // n:,} KiB", _spread("logs_by_piece", 16_384, n)) for n in (64, 16, 4, 1)),
        *(_theirs(f"{n // 4:,} KiB", Load("logs_by_piece", n)) for n in (256, 1_024, 4_096, 16_384)),
    ),
    columns=_COLUMNS,
    figures=(
        ratio("4 MiB ÷ 64 KiB", "4,096 KiB", "64 KiB", of=DELTA_COST),
        ratio("openai-python, 4 MiB ÷ 64 KiB", "openai-python, 4,096 KiB", "openai-python, 64 KiB", of=DELTA_COST),
    ),
    repeats=3,
)

CALLS: Final = Case(
    name="growth_by_calls",
    question="What does a delta cost in a step of so many function calls that take turns?",
    about="64,000 one-token deltas over so many calls, openai-python 1,280; chunks of 4,096 bytes",
    rows=(
        *(_ours(f"{n} calls", Load("parallel_calls", 64_000, options=(("calls", n),))) for n in (1, 8, 32, 128)),
        *(_theirs(f"{n} calls", Load("parallel_calls", 1_280, options=(("calls", n),))) for n in (1, 128)),
    ),
    columns=_COLUMNS,
    figures=(
        ratio("128 calls ÷ 1", "128 calls", "1 calls", of=DELTA_COST),
        ratio("openai-python, 128 calls ÷ 1", "openai-python, 128 calls", "openai-python, 1 calls", of=DELTA_COST),
    ),
    repeats=3,
)
