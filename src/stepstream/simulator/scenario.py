"""What a simulated run does, as data: the acts a scenario is made of, and the story that the demo tells."""

from typing import Any, Final, TypeAlias

import msgspec


class Usage(msgspec.Struct, frozen=True):
    """Tokens that a step costs, or a run."""

    prompt: int
    completion: int
    cached: int = 0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(self.prompt + other.prompt, self.completion + other.completion, self.cached + other.cached)


class CodeInterpreter(msgspec.Struct, frozen=True, kw_only=True):
    """A step in which the model writes code, which prints `logs` and draws one image."""

    code: str
    logs: tuple[str, ...]
    """The pieces in which the printed text arrives."""
    image_file_id: str
    seconds: float
    """How long the code runs before it prints."""
    usage: Usage


class FunctionCall(msgspec.Struct, frozen=True):
    """One call of a function that the client runs. `arguments` is JSON text."""

    name: str
    arguments: str


class FunctionCalls(msgspec.Struct, frozen=True, kw_only=True):
    """A step of parallel function calls. The stream ends there, and the next one begins with their outputs."""

    calls: tuple[FunctionCall, ...]
    usage: Usage


class SearchResult(msgspec.Struct, frozen=True, kw_only=True):
    """One passage that a file search found."""

    file_id: str
    file_name: str
    score: float
    text: str


class FileSearch(msgspec.Struct, frozen=True, kw_only=True):
    """A step in which the server searches files. Only the completed step carries the results."""

    results: tuple[SearchResult, ...]
    seconds: float
    """How long the search takes."""
    usage: Usage


class Citation(msgspec.Struct, frozen=True):
    """A mark in an answer's text that points to a file."""

    mark: str
    file_id: str


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """A step that writes a message: its text in order, citations in their places."""

    parts: tuple[str | Citation, ...]
    usage: Usage


Act: TypeAlias = CodeInterpreter | FunctionCalls | FileSearch | Answer


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """A run from its first event to its last. Each act becomes one step."""

    model: str
    instructions: str
    tools: tuple[dict[str, Any], ...]
    """The run's `tools`, as on the wire."""
    acts: tuple[Act, ...]


_HANDBOOK_ID: Final = "file-sim-supplier-handbook"
_HANDBOOK: Final = "supplier-handbook.pdf"

_CODE: Final = """\
import pandas as pd

sales = pd.read_csv("umbrella-sales.csv")

# How many days does each shop's stock last?
shops = sales.groupby("shop")
days = shops["stock"].last() / shops["sold"].mean()
days = days.round(1).sort_values()

print(days.to_string())
days.plot.barh(title="Days of umbrellas left")
"""

_ADVICE: Final = """\
Restock **Bergen** and **Kraków**; Porto can wait.

- Bergen has umbrellas for 1.8 days: order two boxes.
- Kraków has umbrellas for 2.4 days: order one box.
- Porto has enough for nearly three weeks.

Order by Thursday noon, and the boxes arrive on Friday evening"""

_WEATHER_TOOL: Final = {
    "name": "get_weather",
    "description": "The forecast for a city on one day of this week",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}, "day": {"type": "string"}},
        "required": ["city", "day"],
        "additionalProperties": False,
    },
    "strict": True,
}

UMBRELLAS: Final = Scenario(
    model="simulated-1",
    instructions="You look after the stock of three shops. Find out which of them should reorder umbrellas.",
    tools=(
        {"type": "code_interpreter"},
        {"type": "function", "function": _WEATHER_TOOL},
        {
            "type": "file_search",
            "file_search": {"ranking_options": {"ranker": "default_2024_08_21", "score_threshold": 0.0}},
        },
    ),
    acts=(
        CodeInterpreter(
            code=_CODE,
            logs=("shop\n", "Bergen     1.8\n", "Kraków     2.4\n", "Porto     19.5\n"),
            image_file_id="file-sim-days-left-chart",
            seconds=0.8,
            usage=Usage(412, 96),
        ),
        FunctionCalls(
            calls=(
                FunctionCall("get_weather", '{"city": "Bergen", "day": "Saturday"}'),
                FunctionCall("get_weather", '{"city": "Kraków", "day": "Saturday"}'),
            ),
            usage=Usage(587, 44, 384),
        ),
        FileSearch(
            results=(
                SearchResult(
                    file_id=_HANDBOOK_ID,
                    file_name=_HANDBOOK,
                    score=0.8714,
                    text="Orders placed by Thursday noon reach every shop on Friday evening. A box holds 20 umbrellas.",
                ),
                SearchResult(
                    file_id=_HANDBOOK_ID,
                    file_name=_HANDBOOK,
                    score=0.6532,
                    text="Unopened boxes can be returned within 30 days at no cost.",
                ),
            ),
            seconds=0.8,
            usage=Usage(702, 23, 512),
        ),
        Answer(
            parts=(
                _ADVICE,
                Citation(f"【4:0†{_HANDBOOK}】", _HANDBOOK_ID),
                ".",
            ),
            usage=Usage(1_140, 88, 640),
        ),
    ),
)
"""Which shops should reorder umbrellas: code, two forecasts from the client, a handbook, an answer."""
