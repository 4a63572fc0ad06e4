"""The scenarios by name: what agents do, what goes wrong for them, and how differently servers write it."""

from collections.abc import Mapping, Sequence
from typing import Final, overload

from stepstream.simulator.scenario import (
    Answer,
    Citation,
    CodeInterpreter,
    ConnectedAgent,
    Ending,
    Failure,
    FileSearch,
    FunctionCall,
    FunctionCalls,
    ListTools,
    McpCall,
    Reasoning,
    Scenario,
    SearchResult,
    Together,
)
from stepstream.simulator.umbrella_scenario import UMBRELLAS

_CODE: Final = """\
import csv

with open("tides.csv") as file:
    heights = [float(row["metres"]) for row in csv.DictReader(file)]
print(f"{len(heights)} tides")
print(f"highest: {max(heights):.2f} m")
"""


class _Lines(Sequence[str]):
    """So many lines of 256 bytes, each made when it is read."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...
    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(self._count))]
        if not 0 <= index < self._count:
            raise IndexError(index)
        return f"buoy {index:08d} ".ljust(255, "~") + "\n"


_TIDES: Final = CodeInterpreter(
    code=_CODE,
    logs=("706 tides\n", "highest: 4.31 m\n"),
    image_file_id="file-sim-tide-chart",
)
_ANSWER: Final = Answer(parts=("The highest of 706 tides stood at 4.31 m.",))
_LONG_ANSWER: Final = Answer(
    parts=("The harbour is deepest at the north pier, where the ferry lands.\n\nAt low tide, keep to the buoys.",)
)
_SEARCH: Final = FileSearch(
    results=(
        SearchResult(
            file_id="file-sim-pilot-book",
            file_name="pilot-book.pdf",
            score=0.9127,
            text="The north pier has seven metres of water at low tide.",
        ),
    ),
    repeats=3,
)
_LANDING: Final = FunctionCalls(calls=(FunctionCall("get_depth", '{"place": "north pier", "tide": "low"}'),))

SCENARIOS: Final[Mapping[str, Scenario]] = {
    "umbrellas": UMBRELLAS,
    "message": Scenario(summary="one message, nothing else", acts=(_LONG_ANSWER,)),
    "code": Scenario(
        summary="code that prints and draws, then a message",
        tools=({"type": "code_interpreter"},),
        acts=(_TIDES, _ANSWER),
    ),
    "search": Scenario(
        summary="a file search: its deltas repeat, its results come with its end; a message that cites",
        tools=({"type": "file_search"},),
        acts=(_SEARCH, Answer(parts=("Seven metres", Citation("【1†pilot-book】", "file-sim-pilot-book"), "."))),
    ),
    "function": Scenario(summary="one function call", acts=(_LANDING, _LONG_ANSWER)),
    "parallel-functions": Scenario(
        summary="five function calls in one step, their arguments interleaved",
        acts=(
            FunctionCalls(
                calls=tuple(
                    FunctionCall("get_depth", f'{{"place": "{place}", "tide": "{tide}"}}')
                    for place, tide in (
                        ("north pier", "low"),
                        ("south pier", "high"),
                        ("ferry landing", "low"),
                        ("channel", "high"),
                        ("boat yard", "low"),
                    )
                )
            ),
            _LONG_ANSWER,
        ),
    ),
    "tool-rounds": Scenario(
        summary="three rounds of function calls, code between them",
        acts=(
            _LANDING,
            _TIDES,
            FunctionCalls(calls=(FunctionCall("get_tide", "{}"), FunctionCall("get_wind", '{"unit": "m/s"}'))),
            FunctionCalls(calls=(FunctionCall("book_berth", '{"place": "north pier", "hours": 6}'),)),
            _LONG_ANSWER,
        ),
    ),
    "mcp": Scenario(
        summary="an MCP tool to be approved, as Azure does it: created twice, its output in a late delta",
        tools=({"type": "mcp", "server_label": "harbour", "server_url": "https://mcp.example/harbour"},),
        acts=(
            ListTools(
                server_label="harbour",
                tools={
                    "find_berth": {
                        "description": "Find a free berth",
                        "parameters": {"type": "object", "properties": {"length": {"type": "number"}}},
                    }
                },
            ),
            McpCall(
                server_label="harbour",
                name="find_berth",
                arguments='{"length": 11.5}',
                output='{"berth": "N4", "free_until": "Sunday"}',
            ),
            Answer(parts=("Berth N4 is free until Sunday.",)),
        ),
    ),
    "reasoning": Scenario(
        summary="a summary of reasoning, which only the Responses API tells, then a message",
        acts=(Reasoning(summary="The ferry draws four metres.\n\nSo it needs the north pier."), _LONG_ANSWER),
    ),
    "connected-agent": Scenario(
        summary="another agent answers, as Azure does it",
        acts=(
            ConnectedAgent(
                name="weather_desk",
                arguments="Is it safe to sail on Saturday?",
                output="Yes: south-west 4, no gale warning.",
            ),
            Answer(parts=("On Saturday it is safe to sail.",)),
        ),
    ),
    "step-failed": Scenario(
        summary="a code step fails, the run goes on",
        tools=({"type": "code_interpreter"},),
        acts=(
            CodeInterpreter(
                code=_CODE,
                logs=("Traceback: no such file\n",),
                failure=Failure("server_error", "The code could not be run."),
            ),
            _LONG_ANSWER,
        ),
    ),
    "run-failed": Scenario(
        summary="the run fails in the middle of a message",
        acts=(_TIDES, _LONG_ANSWER),
        ending=Ending(
            status="failed", after=12, failure=Failure("rate_limit_exceeded", "You exceeded your current quota.")
        ),
    ),
    "cancelled": Scenario(
        summary="the run is cancelled in the middle of a code step",
        acts=(_TIDES,),
        ending=Ending(status="cancelled", after=20),
    ),
    "expired": Scenario(
        summary="the run expires in the middle of a code step", acts=(_TIDES,), ending=Ending(status="expired", after=9)
    ),
    "incomplete": Scenario(
        summary="the message is cut at the token limit",
        acts=(_LONG_ANSWER,),
        ending=Ending(status="incomplete", after=14, reason="max_completion_tokens"),
    ),
    "two-steps": Scenario(
        summary="code and a message at the same time",
        tools=({"type": "code_interpreter"},),
        acts=(Together((_TIDES, _LONG_ANSWER)), _ANSWER),
    ),
    "many-deltas": Scenario(
        summary="10,000 small deltas of code",
        tools=({"type": "code_interpreter"},),
        acts=(
            CodeInterpreter(code="".join(f"total += {number}\n" for number in range(2_500)), logs=("3123750\n",)),
            _ANSWER,
        ),
    ),
    "big-logs": Scenario(
        summary="4 MB of logs in one step",
        tools=({"type": "code_interpreter"},),
        acts=(CodeInterpreter(code="print_buoys()\n", logs=_Lines(16_384)), _ANSWER),
    ),
    "sse-starlette": Scenario(
        summary="CR LF and pings, as sse-starlette writes them",
        tools=({"type": "code_interpreter"},),
        acts=(_TIDES, _LANDING, _ANSWER),
        line_end="\r\n",
        ping_every=8,
    ),
    "float-times": Scenario(
        summary="timestamps as floats, as open-assistant-api sends them", acts=(_LANDING, _ANSWER), float_times=True
    ),
}
"""What `stepstream simulate --scenario` and the query parameter `scenario` name."""

DEFAULT: Final = "umbrellas"
