"""Does it matter how the server writes its events?"""

from typing import Final

from benchmarks.harness.case import Case, Row, ratio
from benchmarks.harness.passes import Passes
from benchmarks.workloads import Load

_TWINS: Final = {"with_ids": "function_call_by_token", "with_crlf": "function_call_by_token", "unnamed": "named"}
_SIZES: Final = {"4 KiB": 4_096, "one event a chunk": None}

CASE: Final = Case(
    name="framing",
    question="What does one event cost with ids, with CRLF, with events without a name between?",
    about="5,000 tokens of one function call; each is compared with the same stream without that",
    rows=tuple(
        Row(f"{workload}, {label}", Passes("ours", Load(workload, 5_000, size), long_enough=0.5), shares="a process")
        for label, size in _SIZES.items()
        for workload in dict.fromkeys((*_TWINS, *_TWINS.values()))
    ),
    figures=tuple(
        ratio(f"{workload} ÷ its twin, {label}", f"{workload}, {label}", f"{twin}, {label}")
        for workload, twin in _TWINS.items()
        for label in _SIZES
    ),
)
