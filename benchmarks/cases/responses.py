"""What does an event of the Responses API cost?"""

from typing import Final

from benchmarks.harness.case import Case, Row, ratio
from benchmarks.harness.passes import Passes
from benchmarks.workloads import Load

_TEXT: Final = Load("response_text", 10_000)
_CALL: Final = Load("response_call", 10_000)
_PEERS: Final = {
    "stepstream": "ours_responses",
    "openai-python": "openai_responses",
    "Agents SDK": "agents_sdk",
    "naive json": "naive_responses",
}
_OTHERS: Final = tuple(label for label in _PEERS if label != "stepstream")

IN_MEMORY: Final = Case(
    name="responses",
    question="What does one event of the Responses API cost from bytes in memory to the folded step?",
    about="10,000 tokens of one message, of one function call; chunks of 4,096 bytes",
    rows=(
        *(Row(f"text, {label}", Passes(peer, _TEXT)) for label, peer in _PEERS.items()),
        *(Row(f"call, {label}", Passes(peer, _CALL)) for label, peer in _PEERS.items() if peer != "agents_sdk"),
    ),
    figures=(
        *(ratio(f"text: {label} ÷ stepstream", f"text, {label}", "text, stepstream") for label in _OTHERS),
        *(
            ratio(f"call: {label} ÷ stepstream", f"call, {label}", "call, stepstream")
            for label in _OTHERS
            if label != "Agents SDK"
        ),
    ),
)

_SIZES: Final = {"one event a chunk": None, "4 KiB": 4_096, "64 KiB": 65_536}

CHUNKING: Final = Case(
    name="responses_chunking",
    question="What does an event of the Responses API cost beside the bare decode of its payload?",
    about="10,000 tokens of one message, of one function call; chunks of several sizes",
    rows=tuple(
        Row(f"{kind}, {label}", Passes(peer, Load(load.workload, load.size, size)), shares=kind)
        for kind, load in (("text", _TEXT), ("call", _CALL))
        for label, peer, size in (
            *((label, "ours_responses", size) for label, size in _SIZES.items()),
            ("bare decode", "bare_responses", 4_096),
        )
    ),
    figures=tuple(
        ratio(f"{kind}: {label} ÷ bare decode", f"{kind}, {label}", f"{kind}, bare decode")
        for kind in ("text", "call")
        for label in _SIZES
    ),
)

_OVER_HTTP: Final = _PEERS | {"stepstream, fast": "ours_responses_fast", "bare read": "bare_read"}


def _passes(peer: str) -> Passes:
    return Passes(peer, Load("response_text", 10_000, chunk_size=None), over_http=True, long_enough=0.5)


HTTP: Final = Case(
    name="responses_http",
    question="What does one event of the Responses API cost over loopback HTTP, from a server in another process?",
    about="10,000 tokens of one message, one event an HTTP chunk; connecting is included",
    rows=tuple(Row(label, _passes(peer)) for label, peer in _OVER_HTTP.items()),
    figures=(
        *(ratio(f"{label} ÷ stepstream", label, "stepstream") for label in _OTHERS),
        ratio("openai-python ÷ stepstream, fast", "openai-python", "stepstream, fast"),
    ),
)
