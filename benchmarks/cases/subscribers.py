"""What do many subscribers cost?"""

from typing import Any, Final

from benchmarks.harness.case import Case, Row, ratio
from benchmarks.harness.passes import Passes
from benchmarks.peers.subscribers import Coming, Many
from benchmarks.workloads import Load
from stepstream import StepProgress, StepTransition
from stepstream.live.registration import CLASSES


def _row(label: str, peer: Any, tokens: int = 2_000) -> Row:
    return Row(label, Passes(peer, Load("function_call_by_token", tokens)))


_TRANSITIONS: Final = (StepTransition,)

CASE: Final = Case(
    name="subscribers",
    question="What does one event cost when so many callbacks are subscribed?",
    about="2,000 tokens of one function call, chunks of 4,096 bytes; subscribing and leaving are included",
    rows=(
        *(_row(f"{n:,} to transitions", Many(n, _TRANSITIONS, changes=2)) for n in (1, 100, 10_000)),
        *(_row(f"{n:,} to all changes", Many(n, CLASSES)) for n in (1, 100)),
        _row("10,000 to transitions, 2 tokens", Many(10_000, _TRANSITIONS, changes=2), tokens=2),
        _row("10,000 to another run", Many(10_000, (StepProgress,), run_id="run_other", changes=0)),
    ),
    columns=("events", "seconds", "µs/event"),
    figures=(
        ratio("100 to transitions ÷ 1", "100 to transitions", "1 to transitions"),
        ratio("10,000 to transitions ÷ 1", "10,000 to transitions", "1 to transitions"),
        ratio("100 to all changes ÷ 1", "100 to all changes", "1 to all changes"),
        ratio("10,000 to another run ÷ 1 to transitions", "10,000 to another run", "1 to transitions"),
    ),
    repeats=3,
)

COMING: Final = Case(
    name="coming",
    question="What does a subscriber cost that comes and leaves again?",
    about="10,000 callbacks one after another, in one processor; bare decode: 10,000 one-token deltas",
    rows=(
        Row("10,000 come and leave", Passes(Coming(10_000), Load("function_call_by_token", 2)), shares="a process"),
        Row("bare decode", Passes("bare_decode", Load("function_call_by_token", 10_000)), shares="a process"),
    ),
    columns=("events", "seconds", "µs/event"),
    figures=(ratio("a subscriber ÷ bare decode", "10,000 come and leave", "bare decode"),),
    repeats=3,
)
