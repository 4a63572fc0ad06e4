"""The measured cases, by name. One file a question."""

from typing import Final

from benchmarks.cases import delivery, in_memory
from benchmarks.harness.case import Case

CASES: Final[dict[str, Case]] = {case.name: case for case in (in_memory.CASE, delivery.CASE)}
