"""The scenario of the demo, `umbrellas`: which shops should reorder umbrellas."""

from typing import Final

from stepstream.simulator.scenario import (
    Answer,
    Citation,
    CodeInterpreter,
    FileSearch,
    FunctionCall,
    FunctionCalls,
    Scenario,
    SearchResult,
)

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
    summary="code, two forecasts from the client, a file search, an answer",
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
        ),
        FunctionCalls(
            calls=(
                FunctionCall("get_weather", '{"city": "Bergen", "day": "Saturday"}'),
                FunctionCall("get_weather", '{"city": "Kraków", "day": "Saturday"}'),
            ),
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
        ),
        Answer(
            parts=(
                _ADVICE,
                Citation(f"【4:0†{_HANDBOOK}】", _HANDBOOK_ID),
                ".",
            ),
        ),
    ),
)
"""Which shops should reorder umbrellas: code, two forecasts from the client, a handbook, an answer."""
