"""The changes are there already: what does it cost to deliver them?"""

from typing import Any, Final

from benchmarks.harness.case import Case, Figure, Round, Row, ratio
from benchmarks.harness.passes import Passes
from benchmarks.peers import delivering
from benchmarks.workloads import Load


def _row(label: str, peer: Any) -> Row:
    return Row(label, Passes(peer, Load("function_call_by_token", 10_000), long_enough=1.0), shares="a process")


def _delivery(took: Round) -> float:
    seconds = {label: sample["seconds"] for label, sample in took.items()}
    return (seconds["one callback"] - seconds["no subscriber"]) / seconds["bare decode"]


CASE: Final = Case(
    name="delivery",
    question="What does it add to have every change delivered to a callback, or to have a subscription for none?",
    about="10,000 tokens of one function call, chunks of 4,096 bytes",
    rows=(
        _row("no subscriber", delivering.NOBODY),
        _row("one callback", delivering.EVERYTHING),
        _row("other class", delivering.OTHER_CLASS),
        _row("other run", delivering.OTHER_RUN),
        _row("bare decode", "bare_decode"),
    ),
    figures=(
        Figure("(one callback - no subscriber) ÷ bare decode", _delivery),
        ratio("other class ÷ no subscriber", "other class", "no subscriber"),
        ratio("other run ÷ no subscriber", "other run", "no subscriber"),
    ),
)
