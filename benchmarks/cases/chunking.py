"""Does it matter how the bytes are cut?"""

from typing import Final

from benchmarks.harness.case import Case, Row, ratio
from benchmarks.harness.passes import Passes
from benchmarks.workloads import Load

_SIZES: Final = {"one event a chunk": None, "4 KiB": 4_096, "64 KiB": 65_536}

CASE: Final = Case(
    name="chunking",
    question="What does one event cost when the bytes come in smaller or larger chunks?",
    about="10,000 tokens of one function call",
    rows=tuple(
        Row(label, Passes("ours", Load("function_call_by_token", 10_000, size), long_enough=0.5), shares="a process")
        for label, size in _SIZES.items()
    ),
    figures=(
        ratio("one event a chunk ÷ 4 KiB", "one event a chunk", "4 KiB"),
        ratio("64 KiB ÷ 4 KiB", "64 KiB", "4 KiB"),
    ),
)
