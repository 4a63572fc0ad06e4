"""The JSON objects of the Responses wire: responses, output items, what is nested in them."""

from collections.abc import Sequence
from typing import Any, Final

from stepstream.simulator.objects import JSON
from stepstream.simulator.scenario import Failure, FunctionCalls, Scenario, SearchResult, Usage

SETTINGS: Final[JSON] = {
    "background": False,
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "metadata": {},
    "model": None,
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "prompt_cache_key": None,
    "reasoning": {"effort": None, "summary": None},
    "safety_identifier": None,
    "service_tier": "auto",
    "store": True,
    "temperature": 1.0,
    "text": {"format": {"type": "text"}, "verbosity": "medium"},
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": 0,
    "top_p": 1.0,
    "truncation": "disabled",
    "user": None,
}
"""What a response says of its request, and what holds where that says nothing."""


def response(
    identifier: str,
    created_at: int,
    settings: JSON,
    status: str,
    *,
    output: list[JSON],
    completed_at: int | None = None,
    failure: Failure | None = None,
    incomplete: str | None = None,
    spent: Usage | None = None,
) -> JSON:
    """Return a response as it stands: `spent` once it has ended, `incomplete` the reason why too early."""
    return {
        "id": identifier,
        "object": "response",
        "created_at": created_at,
        "status": status,
        "completed_at": completed_at,
        "error": None if failure is None else {"code": failure.code, "message": failure.message},
        "incomplete_details": None if incomplete is None else {"reason": incomplete},
        "output": output,
        "usage": None if spent is None else usage(spent),
        **settings,
    }


def usage(spent: Usage) -> JSON:
    """Return token counts as responses carry them."""
    return {
        "input_tokens": spent.prompt,
        "input_tokens_details": {"cached_tokens": spent.cached},
        "output_tokens": spent.completion,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": spent.prompt + spent.completion,
    }


def output_text(text: str, annotations: Sequence[JSON] = ()) -> JSON:
    """Return the part of a message that is text."""
    return {"type": "output_text", "annotations": list(annotations), "logprobs": [], "text": text}


def summary_text(text: str) -> JSON:
    """Return the part of a reasoning summary."""
    return {"type": "summary_text", "text": text}


def citation(file_id: str, index: int) -> JSON:
    """Return the annotation of a citation that follows the character `index` of the text."""
    return {"type": "file_citation", "file_id": file_id, "filename": file_id, "index": index}


def search_results(results: Sequence[SearchResult]) -> list[JSON]:
    """Return what a file search found."""
    return [
        {
            "attributes": {},
            "file_id": result.file_id,
            "filename": result.file_name,
            "score": result.score,
            "text": result.text,
        }
        for result in results
    ]


def listed_tools(tools: dict[str, dict[str, Any]]) -> list[JSON]:
    """Return the tools of an MCP server."""
    return [
        {"name": name, "description": one["description"], "input_schema": one["parameters"], "annotations": None}
        for name, one in tools.items()
    ]


def declared_tools(scenario: Scenario) -> list[JSON]:
    """Return the tools of a scenario, those among them that its calls imply."""
    found = [_declared(tool) for tool in scenario.tools]
    known = {tool.get("name") for tool in found}
    called = dict.fromkeys(call.name for act in scenario.acts if isinstance(act, FunctionCalls) for call in act.calls)
    implied = [name for name in called if name not in known]
    return found + [{"type": "function", "name": name, "parameters": None, "strict": None} for name in implied]


def _declared(tool: JSON) -> JSON:
    """Return a tool of a scenario, which is written as the Assistants API has it, as this API has it."""
    kind = tool["type"]
    if kind == "function":
        return {"type": kind, **tool["function"]}
    if kind == "code_interpreter":
        return {"type": kind, "container": {"type": "auto"}}
    if kind == "file_search":
        return {"type": kind, "vector_store_ids": ["vs_sim"]}
    return {**tool, "require_approval": "always"} if kind == "mcp" else tool


def input_items(given: str | Sequence[JSON]) -> list[JSON]:
    """Return the input of a request as items, those without a type as messages."""
    items = [{"role": "user", "content": given}] if isinstance(given, str) else given
    return [_message(item) if item.get("type", "message") == "message" else item for item in items]


def _message(item: JSON) -> JSON:
    content, role = item.get("content"), item.get("role", "user")
    kind = "output_text" if role == "assistant" else "input_text"
    parts = [{"type": kind, "text": content}] if isinstance(content, str) else content
    return {"type": "message", "status": "completed", **item, "role": role, "content": parts}
