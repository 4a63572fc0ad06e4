"""Responses as runs: which run a response belongs to, and what of it is the run's object."""

from collections.abc import Mapping
from itertools import zip_longest
from typing import Any, Final

from stepstream.dialects.responses.items import error_of
from stepstream.dialects.responses.payloads import JSON, as_json, objects_of, text_of
from stepstream.dialects.responses.turn import Turn
from stepstream.dialects.state import DialectState, Response
from stepstream.wire.loose import build
from stepstream.wire.objects import LastError, Run
from stepstream.wire.statuses import RUN_TERMINAL

MAX_IDS: Final = 8
"""How many ids of a response are kept. Some servers give another one with every event."""

MAX_RUN_IDS: Final = 1_000
"""How many ids are kept of all responses of a run."""

FIELDS: Final[Mapping[str, str]] = {
    "created_at": "created_at",
    "incomplete_details": "incomplete_details",
    "instructions": "instructions",
    "max_completion_tokens": "max_output_tokens",
    "metadata": "metadata",
    "model": "model",
    "parallel_tool_calls": "parallel_tool_calls",
    "temperature": "temperature",
    "tool_choice": "tool_choice",
    "tools": "tools",
    "top_p": "top_p",
}
"""The fields of a run that a response has, and its own key for each."""

USAGE: Final[Mapping[str, str]] = {
    "prompt_tokens": "input_tokens",
    "completion_tokens": "output_tokens",
    "total_tokens": "total_tokens",
    "prompt_token_details": "input_tokens_details",
    "completion_tokens_details": "output_tokens_details",
}

COUNTS: Final = ("prompt_tokens", "completion_tokens", "total_tokens")

OPEN: Final = frozenset({"queued", "in_progress"})
"""The statuses of a response that goes on."""


UNEXPLAINED: Final = frozenset({"failed", "cancelled", "incomplete"})
"""The ends that an error may explain which comes by itself, before or after."""


def open_run(state: DialectState, raw: JSON, continued: str) -> Response:
    """Return the run that a response seen for the first time belongs to: one that waits for it, else a new one.

    `continued` is the run that the caller says it continues, or empty.
    """
    before = state.runs.get(continued or state.responses.get(text_of(raw, "previous_response_id"), ""))
    if before is not None and before.status == "requires_action":
        before.first, before.is_open, before.earlier = len(before.items), True, list(before.ids)
        before.number, before.rises, before.marks = -1, 0, []
        before.spent, before.usage = _sum(before.spent, before.usage), []
        for item in before.items:
            item.asked = None
        run = before
    else:
        run = Response("")
    adopt(state, run, raw)
    return run


def unnamed_run(state: DialectState) -> Response:
    """Return a run whose id did not come, for it is read from the middle. `adopt` names it as soon as it comes."""
    state.unnamed += 1
    return Response(f"response:{state.unnamed}")


def is_named(state: DialectState, run: Response) -> bool:
    """Return whether the id of a run came."""
    return run.run in state.runs


def adopt(state: DialectState, run: Response, raw: JSON) -> None:
    """Know a run by the id of one more response. The first one names it."""
    identifier = text_of(raw, "id")
    if not is_named(state, run):
        if not identifier or identifier in state.runs:
            identifier = run.run or unnamed_run(state).run
        run.run = identifier
        state.runs[identifier] = run
        state.steps.update((item.id, identifier) for item in run.items)
    if identifier and identifier not in run.ids:
        run.ids.append(identifier)
        state.responses[identifier] = run.run
        earlier = len(run.earlier)
        if len(run.ids) - earlier > MAX_IDS:
            state.responses.pop(run.ids.pop(earlier + 1), None)
        elif len(run.ids) > MAX_RUN_IDS:
            state.responses.pop(run.ids.pop(1), None)
            del run.earlier[1:2]


def learn(run: Response, raw: JSON) -> None:
    """Keep what a response says of its run."""
    conversation, agent = raw.get("conversation"), raw.get("agent_reference") or raw.get("agent")
    if isinstance(conversation, dict):
        conversation = conversation.get("id")
    if isinstance(conversation, str) and conversation:
        run.thread_id = conversation
    if isinstance(agent, dict) and text_of(agent, "name"):
        run.assistant_id = ":".join(filter(None, (text_of(agent, "name"), text_of(agent, "version"))))
    run.tools = tools_of(raw) or run.tools


def tools_of(raw: JSON) -> list[tuple[str, str]]:
    """Return the type and name of each tool, those in namespaces too; of a shell, where it runs."""
    found: list[tuple[str, str]] = []
    for tool in objects_of(raw, "tools"):
        inner, place = tool.get("function"), tool.get("environment")
        name = text_of(tool, "name") or (text_of(inner, "name") if isinstance(inner, dict) else "")
        found += [(text_of(tool, "type"), name or (text_of(place, "type") if isinstance(place, dict) else ""))]
        found += tools_of(tool)
    return found


def tell_run(turn: Turn, raw: JSON, status: str, action: JSON | None = None) -> None:
    """Add the event of a run that has a status. What a response of it said before and this one leaves out is kept."""
    run = turn.response
    name = "created" if not run.status and status in OPEN else status
    fields = {ours: raw[theirs] for ours, theirs in FIELDS.items() if theirs in raw}
    if run.first and run.began is not None:
        fields["created_at"] = run.began
    elif isinstance(raw.get("created_at"), int | float):
        run.began = raw["created_at"]
    if not isinstance(raw.get("instructions"), str | None):  # a list of messages: not what a run has
        del fields["instructions"]
    if status in RUN_TERMINAL and isinstance(raw.get("completed_at"), int | float):  # one server sends it before, too
        fields["completed_at"] = raw["completed_at"]
    error = error_of(raw)
    fields |= {
        "id": run.run,
        "object": "thread.run",
        "status": status,
        "thread_id": run.thread_id or "",
        "assistant_id": run.assistant_id or "",
        "reasoning_effort": _effort(raw),
        "last_error": as_json(error) if error is not None else None if "error" in raw else "",
        "usage": _usage(run, raw),
        "required_action": action or "",
    }
    told = turn.tell_object(f"thread.run.{name}", Run, fields)
    run.status = status
    run.unexplained = as_json(told) if status in UNEXPLAINED and not told.last_error else None


def tell_error(turn: Turn, error: LastError) -> None:
    """Add the event of a run that had failed, and says why only now."""
    run = turn.response
    turn.tell(f"thread.run.{run.status}", build(Run, {**(run.unexplained or {}), "last_error": as_json(error)}))
    run.unexplained = None


def _usage(run: Response, raw: JSON) -> Any:
    """Return the tokens of a run so far: those of its newest response, and of those before."""
    usage = raw.get("usage")
    if not isinstance(usage, dict):
        return None if "usage" in raw else ""
    fields = {ours: usage[theirs] for ours, theirs in USAGE.items() if theirs in usage}
    run.usage = [fields[key] if isinstance(fields.get(key), int) else 0 for key in COUNTS]
    return dict(zip(COUNTS, _sum(run.spent, run.usage), strict=True)) if run.spent else fields


def _sum(spent: list[int], more: list[int]) -> list[int]:
    return [sum(two) for two in zip_longest(spent, more, fillvalue=0)]


def _effort(raw: JSON) -> str:
    reasoning = raw.get("reasoning")
    return text_of(reasoning, "effort") if isinstance(reasoning, dict) else ""
