"""The changes are there already: what does it cost to deliver them?"""

from typing import Final

from benchmarks.harness import Case, Figure, Row
from benchmarks.workloads import function_call_by_token

CASE: Final = Case(
    name="delivery",
    question="What does it add to have every change delivered to a callback, or to have a subscription for none?",
    workload=function_call_by_token,
    size=10_000,
    unit="tokens",
    rows=(
        Row("no subscriber", peer="delivering.NOBODY"),
        Row("one callback", peer="delivering.EVERYTHING"),
        Row("other class", peer="delivering.OTHER_CLASS"),
        Row("other run", peer="delivering.OTHER_RUN"),
        Row("bare decode", peer="bare_decode"),
    ),
    against=("no subscriber",),
    figures=(
        Figure(
            "(one callback - no subscriber) ÷ bare decode",
            lambda took: (took["one callback"] - took["no subscriber"]) / took["bare decode"],
        ),
        Figure("other class ÷ no subscriber", lambda took: took["other class"] / took["no subscriber"]),
        Figure("other run ÷ no subscriber", lambda took: took["other run"] / took["no subscriber"]),
    ),
    takes_turns_by_pass=True,
    long_enough=1.0,
)
