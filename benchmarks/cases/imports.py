"""What does it cost to import?"""

from typing import Final

from benchmarks.harness.case import Case, Row, ratio
from benchmarks.harness.imports import Import

MODULES: Final = ("stepstream", "stepstream.live.processor", "msgspec, anyio", "openai")

CASE: Final = Case(
    name="imports",
    question="How long does the import take, in a fresh interpreter?",
    about="each sample is the median of five interpreters",
    rows=tuple(
        Row(modules, Import(modules))
        for modules in ("stepstream", "stepstream.live.processor", "msgspec, anyio", "openai")
    ),
    columns=("ms",),
    figures=(
        ratio("stepstream ÷ msgspec, anyio", "stepstream", "msgspec, anyio", of="ms"),
        ratio("stepstream.live.processor ÷ msgspec, anyio", "stepstream.live.processor", "msgspec, anyio", of="ms"),
        ratio("openai ÷ stepstream", "openai", "stepstream", of="ms"),
    ),
)
