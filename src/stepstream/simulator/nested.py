"""What is nested in the JSON objects: details of steps, contents of messages, what a run asks the client for."""

from stepstream.simulator.objects import JSON
from stepstream.simulator.scenario import ListTools, SearchResult


def tool_calls(calls: list[JSON]) -> JSON:
    """Return the `step_details` of a step that calls tools."""
    return {"type": "tool_calls", "tool_calls": calls}


def message_creation(message_id: str) -> JSON:
    """Return the `step_details` of a step that writes a message."""
    return {"type": "message_creation", "message_creation": {"message_id": message_id}}


def activities(activity_id: str, act: ListTools) -> JSON:
    """Return the `step_details` of a step that lists the tools of an MCP server."""
    activity = {"id": activity_id, "type": "mcp_list_tools", "server_label": act.server_label, "tools": act.tools}
    return {"type": "activities", "activities": [activity]}


def text(value: str) -> JSON:
    """Return a content part of plain text."""
    return {"type": "text", "text": {"value": value, "annotations": []}}


def citation(mark: str, file_id: str, start: int) -> JSON:
    """Return the annotation of a citation whose mark begins at the character `start` of the text."""
    return {
        "type": "file_citation",
        "text": mark,
        "start_index": start,
        "end_index": start + len(mark),
        "file_citation": {"file_id": file_id},
    }


def search(results: tuple[SearchResult, ...]) -> JSON:
    """Return the `file_search` of a tool call."""
    return {
        "ranking_options": {"ranker": "default_2024_08_21", "score_threshold": 0.0},
        "results": [
            {
                "file_id": result.file_id,
                "file_name": result.file_name,
                "score": result.score,
                "attributes": {},
                "content": [{"type": "text", "text": result.text}],
            }
            for result in results
        ],
    }


def outputs_action(calls: list[JSON]) -> JSON:
    """Return what a run waits for: the outputs of the function calls of a step, `calls` as in its details."""
    asked = [
        {**call, "function": {"name": call["function"]["name"], "arguments": call["function"]["arguments"]}}
        for call in calls
    ]
    return {"type": "submit_tool_outputs", "submit_tool_outputs": {"tool_calls": asked}}


def approval_action(calls: list[JSON]) -> JSON:
    """Return what a run waits for: approvals of the MCP calls of a step, `calls` as in its details."""
    asked = [{key: value for key, value in call.items() if key != "output"} for call in calls]
    return {"type": "submit_tool_approval", "submit_tool_approval": {"tool_calls": asked}}
