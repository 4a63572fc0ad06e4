"""What do runs take while they are open, and after?"""

from typing import Final

from benchmarks.harness.case import Case, Row
from benchmarks.harness.memory import KEPT, OPEN, RELEASED, Memory

CASE: Final = Case(
    name="memory",
    question="What does a run take in memory, when 10,000 are open at once, and after?",
    about="40 tokens of one function call, a stream each, one processor, three subscribers to all changes",
    rows=(
        Row("heap", Memory(10_000, is_heap=True)),
        Row("resident", Memory(10_000, is_heap=False)),
    ),
    columns=(OPEN, KEPT, RELEASED),
    repeats=1,
)
