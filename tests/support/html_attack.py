"""Runs that attack a page from every text in them: each string of each object is an attack."""

import json
import time
import types
from collections.abc import Iterator
from typing import Any, Literal, Union, get_args, get_origin

import msgspec

from stepstream.wire.base import Seconds, WireObject
from stepstream.wire.messages import Message
from stepstream.wire.objects import RequiredAction, Run, RunStep, Usage
from stepstream.wire.tool_calls import ToolCall, ToolType
from tests.support.json_values import JSON

ATTACKS = (
    "<img src=x onerror=window.pwned=1>",
    "<script>window.pwned=1</script>",
    "</script></style></textarea></title><svg onload=window.pwned=1>",
    "\"'><iframe src=http://evil.example/ srcdoc='<script>parent.pwned=1</script>'></iframe>",
    "javascript:window.pwned=1",
    "data:text/html,<script>window.pwned=1</script>",
    "![x](http://evil.example/a.png) [x](javascript:window.pwned=1) <http://evil.example/>",
    "http://evil.example/a.png",
    "<a href=http://evil.example/ autofocus onfocus=window.pwned=1>x</a><link rel=stylesheet href=//evil.example/>",
    "<style>@import 'http://evil.example/'</style><base href=http://evil.example/>",
    "{{constructor.constructor('window.pwned=1')()}}${window.pwned=1}",
    "__proto__",
    "../../list?x=#run=y&step=z%00%2f\\..\\",
    "\u202e\u2066evil\u202c\u0000\u001b[2J\u2028\ufffe",
    "a" * 3_000 + "<img src=x onerror=window.pwned=1>",
)


def filled(kind: Any, attack: str, depth: int = 0) -> Any:
    """Return JSON of a kind of field with an attack in each string; None where there is nothing to fill."""
    if isinstance(kind, type) and issubclass(kind, WireObject):
        return {field.encode_name: filled(field.type, attack, depth + 1) for field in msgspec.structs.fields(kind)}
    if kind == Seconds or set(get_args(kind)) >= set(get_args(Seconds)):
        return int(time.time())
    origin, options = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return next((found for one in options if (found := filled(one, attack, depth)) is not None), None)
    if origin is tuple:
        return [filled(options[0], attack, depth)]
    if origin is Literal or kind is str:
        return attack
    return {attack: attack} if origin is dict else 3 if kind in (int, float) or origin is not None else None


def calls(attack: str, number: int) -> list[JSON]:
    """Return a call of each kind, and of one that nobody knows."""
    whole = filled(ToolCall, attack)
    found = []
    for kind in (*get_args(ToolType), attack):
        call = {"id": f"call{number}_{kind}{attack}", "type": kind, "status": attack, kind: whole.get(kind, attack)}
        for field in ("name", "arguments", "output", "server_label"):
            call[field] = attack
        if kind == "openapi":
            call["function"] = whole["function"]
        found.append(call)
    return found


def attacking_events(attack: str, number: int) -> Iterator[tuple[str, JSON]]:
    """Yield the events of a run that fails, its objects full of an attack."""
    run_id = f"run{number}{attack}"[:500]
    whole = filled(Run, attack) | {"id": run_id, "usage": filled(Usage, attack), "required_action": None}
    yield "run.created", whole | {"status": "queued"}
    for at, call in enumerate(calls(attack, number)):
        step = filled(RunStep, attack) | {"id": f"step{at}{attack}", "run_id": run_id, "type": "tool_calls"}
        details = {"type": "tool_calls", "tool_calls": [call, {**call, "id": f"again{call['id']}"}]}
        step |= {"step_details": details, "status": "failed" if at % 2 else "in_progress"}
        yield "run.step.failed" if at % 2 else "run.step.created", step
    for kind in ("reasoning", "activities", attack):
        step = filled(RunStep, attack) | {"id": f"{kind}{attack}", "run_id": run_id, "type": kind, "status": attack}
        step["step_details"] |= {"type": kind, "tool_calls": None, "message_creation": None}
        yield "run.step.created", step
    for role in ("assistant", "user", attack):
        message = filled(Message, attack) | {"id": f"msg{role}{attack}", "run_id": run_id, "role": role}
        yield "message.created", message | {"status": "in_progress"}
        delta = {"content": [{"index": 0, "type": "text", "text": {"value": attack}}]}
        yield "message.delta", {"id": f"msg{role}{attack}", "delta": delta}
    action = filled(RequiredAction, attack) | {"type": "submit_tool_approval"}
    yield "run.requires_action", whole | {"status": "requires_action", "required_action": action}


def as_blocks(events: Iterator[tuple[str, JSON]]) -> list[tuple[str, JSON]]:
    """Return events that can be sent as JSON."""
    return [(name, json.loads(json.dumps(data))) for name, data in events]
