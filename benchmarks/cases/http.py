"""What is left of it over HTTP?"""

from typing import Final

from benchmarks.harness.case import Case, Row, ratio
from benchmarks.harness.passes import Passes
from benchmarks.workloads import Load

_PEERS: Final = {
    "stepstream": "ours",
    "stepstream, fast": "ours_fast",
    "openai-python": "openai_sdk",
    "openai-python, aiohttp": "openai_aiohttp",
    "naive json": "naive_json",
    "bare read": "bare_read",
}
_SINGLY: Final = ("stepstream", "stepstream, fast", "openai-python", "bare read")


def _passes(peer: str, *, singly: bool = False) -> Passes:
    load = Load("function_call_by_token", 10_000, chunk_size=None)
    return Passes(peer, load, over_http=True, is_written_singly=singly, long_enough=0.5)


CASE: Final = Case(
    name="http",
    question="What does one event cost over loopback HTTP, from a server in another process?",
    about="10,000 tokens of one function call, one event an HTTP chunk; connecting is included",
    rows=(
        *(Row(label, _passes(peer)) for label, peer in _PEERS.items()),
        *(Row(f"{label}, a write each", _passes(_PEERS[label], singly=True)) for label in _SINGLY),
    ),
    figures=(
        ratio("openai-python ÷ stepstream", "openai-python", "stepstream"),
        ratio("openai-python ÷ stepstream, fast", "openai-python", "stepstream, fast"),
        ratio("openai-python, aiohttp ÷ stepstream, fast", "openai-python, aiohttp", "stepstream, fast"),
        ratio("naive json ÷ stepstream", "naive json", "stepstream"),
        ratio("a write each: openai-python ÷ stepstream", "openai-python, a write each", "stepstream, a write each"),
        ratio(
            "a write each: openai-python ÷ stepstream, fast",
            "openai-python, a write each",
            "stepstream, fast, a write each",
        ),
    ),
)
