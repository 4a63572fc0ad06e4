"""What does a stuck subscriber cost the others?"""

from typing import Any, Final

from benchmarks.harness.case import Case, Row, ratio
from benchmarks.harness.passes import Passes
from benchmarks.peers.subscribers import Stuck
from benchmarks.workloads import Load


def _row(label: str, options: dict[str, Any] | None) -> Row:
    peer = Stuck(None if options is None else tuple(options.items()))
    return Row(label, Passes(peer, Load("function_call_by_token", 2_000)))


CASE: Final = Case(
    name="stuck",
    question="How long until one subscriber has seen the step's end, when another is stuck in its first call?",
    about="2,000 tokens of one function call, chunks of 4,096 bytes",
    rows=(
        _row("nobody is stuck", None),
        _row('stuck, "latest"', {"overflow": "latest"}),
        _row('stuck, "close"', {"overflow": "close"}),
        _row('stuck, "block", given up after 0.1 s', {"timeout": 0.1, "max_failures": 1}),
    ),
    columns=("events", "seconds", "µs/event"),
    figures=(
        ratio('"latest" ÷ nobody', 'stuck, "latest"', "nobody is stuck", of="seconds"),
        ratio('"close" ÷ nobody', 'stuck, "close"', "nobody is stuck", of="seconds"),
        ratio('"block" ÷ nobody', 'stuck, "block", given up after 0.1 s', "nobody is stuck", of="seconds"),
    ),
    repeats=3,
)
