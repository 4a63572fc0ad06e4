"""The bytes are there already: what does it cost to make steps of them?"""

from typing import Final

from benchmarks.harness.case import Case, Figure, Row, ratio
from benchmarks.harness.passes import Passes
from benchmarks.workloads import Load

_LOAD: Final = Load("function_call_by_token", 10_000)

CASE: Final = Case(
    name="in_memory",
    question="What does one event cost from bytes in memory to the folded step?",
    about="10,000 tokens of one function call, chunks of 4,096 bytes",
    rows=(
        Row("stepstream", Passes("ours", _LOAD)),
        Row("openai-python", Passes("openai_sdk", _LOAD)),
        Row("azure-ai-agents", Passes("azure_agents", _LOAD)),
        Row("naive json", Passes("naive_json", _LOAD)),
        Row("bare decode", Passes("bare_decode", _LOAD)),
        Row("bare split", Passes("bare_split", _LOAD)),
    ),
    figures=(
        ratio("openai-python ÷ stepstream", "openai-python", "stepstream"),
        ratio("azure-ai-agents ÷ stepstream", "azure-ai-agents", "stepstream"),
        ratio("naive json ÷ stepstream", "naive json", "stepstream"),
        Figure("stepstream ÷ bare decode", lambda took: took["stepstream"]["seconds"] / took["bare decode"]["seconds"]),
    ),
)
