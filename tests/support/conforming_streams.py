"""Streams without a fault, as lists of events, and the edits that plant one."""

import json
from collections.abc import Callable, Iterable
from copy import deepcopy
from typing import Any, NamedTuple

from stepstream.conformance.checker import Checker
from stepstream.conformance.deviation import Deviation
from stepstream.wire.sse import Frame
from tests.support.json_values import JSON

OF_RUN = {"assistant_id": "asst_mill", "thread_id": "thread_mill"}


class Sent(NamedTuple):
    """One event: its name and its data, JSON or bytes as they are."""

    event: str
    data: Any


Edit = Callable[[list[Sent]], None]


def thread() -> Sent:
    data = {"id": "thread_mill", "object": "thread", "created_at": 1000, "metadata": {}, "tool_resources": {}}
    return Sent("thread.created", data)


def run(status: str, *, event: str | None = None, **fields: Any) -> Sent:
    data = {
        "id": "run_mill", "object": "thread.run", "created_at": 1000, **OF_RUN, "status": status,
        "started_at": None if status == "queued" else 1001, "expires_at": 1600, "cancelled_at": None,
        "failed_at": None, "completed_at": 1020 if status == "completed" else None, "required_action": None,
        "last_error": None, "model": "model-mill", "instructions": None, "tools": [{"type": "code_interpreter"}],
        "tool_resources": {}, "metadata": {"miller": "Ada"}, "temperature": 1.0, "top_p": 1.0,
        "reasoning_effort": None, "max_completion_tokens": None, "max_prompt_tokens": None,
        "truncation_strategy": {"type": "auto", "last_messages": None}, "incomplete_details": None,
        "usage": usage() if status == "completed" else None, "response_format": "auto", "tool_choice": "auto",
    }  # fmt: skip
    return Sent(f"thread.run.{event or status}", data | fields)


def usage() -> JSON:
    return {"prompt_tokens": 30, "completion_tokens": 12, "total_tokens": 42}


def step(event: str, number: int, details: JSON, **fields: Any) -> Sent:
    status = "in_progress" if event == "created" else event
    data = {
        "id": f"step_{number}", "object": "thread.run.step", "created_at": 1002, "run_id": "run_mill", **OF_RUN,
        "type": details["type"], "status": status, "cancelled_at": None,
        "completed_at": 1009 if status == "completed" else None, "expires_at": 1600, "failed_at": None,
        "last_error": None, "step_details": details, "usage": usage() if status == "completed" else None,
    }  # fmt: skip
    return Sent(f"thread.run.step.{event}", data | fields)


def calls(*entries: JSON) -> JSON:
    return {"type": "tool_calls", "tool_calls": list(entries)}


def code(source: str, *outputs: JSON, **fields: Any) -> JSON:
    return {"type": "code_interpreter", "code_interpreter": {"input": source, "outputs": list(outputs)}, **fields}


def function(name: str, arguments: str, **fields: Any) -> JSON:
    content = {"name": name, "arguments": arguments, "output": fields.pop("output", None)}
    return {"type": "function", "function": content, **fields}


def more_arguments(text: str, index: int = 0) -> JSON:
    return {"index": index, "type": "function", "function": {"arguments": text}}


def logs(text: str, **fields: Any) -> JSON:
    return {"type": "logs", "logs": text, **fields}


def step_delta(entry: JSON, number: int = 1) -> Sent:
    data = {"id": f"step_{number}", "object": "thread.run.step.delta", "delta": {"step_details": calls(entry)}}
    return Sent("thread.run.step.delta", data)


def message(event: str, text: str | None = None, **fields: Any) -> Sent:
    status = "in_progress" if event == "created" else event
    data = {
        "id": "msg_mill", "object": "thread.message", "created_at": 1010, **OF_RUN, "run_id": "run_mill",
        "status": status, "incomplete_details": None, "incomplete_at": None,
        "completed_at": 1012 if status == "completed" else None, "role": "assistant",
        "content": [] if text is None else [{"type": "text", "text": {"value": text, "annotations": []}}],
        "attachments": [], "metadata": {},
    }  # fmt: skip
    return Sent(f"thread.message.{event}", data | fields)


def message_delta(text: str, **fields: Any) -> Sent:
    content = {"index": 0, "type": "text", "text": {"value": text, **fields}}
    return Sent(
        "thread.message.delta", {"id": "msg_mill", "object": "thread.message.delta", "delta": {"content": [content]}}
    )


DONE = Sent("done", b"[DONE]")
WRITES = {"type": "message_creation", "message_creation": {"message_id": "msg_mill"}}
WRITING = [
    step("created", 2, WRITES),
    step("in_progress", 2, WRITES),
    message("created"),
    message("in_progress"),
    message_delta("One", annotations=[]),
    message_delta(" turn."),
    message("completed", "One turn."),
    step("completed", 2, WRITES),
    run("completed", started_at=1001),
    DONE,
]

ANSWER = [
    thread(),
    run("queued", event="created"),
    run("queued"),
    run("in_progress"),
    step("created", 1, calls()),
    step("in_progress", 1, calls()),
    step_delta({"index": 0, "id": "call_1", **code("")}),
    step_delta({"index": 0, "type": "code_interpreter", "code_interpreter": {"input": "print("}}),
    step_delta({"index": 0, "type": "code_interpreter", "code_interpreter": {"input": "1)"}}),
    step_delta({"index": 0, "type": "code_interpreter", "code_interpreter": {"outputs": [logs("1\n", index=0)]}}),
    step("completed", 1, calls(code("print(1)", logs("1\n"), id="call_1"))),
    *WRITING,
]
"""A run that computes and answers: 21 events."""

ASKED = [
    {"id": "call_1", "type": "function", "function": {"name": "grind", "arguments": '{"sacks":3}'}},
    {"id": "call_2", "type": "function", "function": {"name": "rest", "arguments": ""}},
]

CALLING = [
    run("queued", event="created"),
    run("queued"),
    run("in_progress"),
    step("created", 1, calls()),
    step("in_progress", 1, calls()),
    step_delta({"index": 0, "id": "call_1", **function("grind", "")}),
    step_delta(more_arguments('{"sacks"')),
    step_delta(more_arguments(":3}")),
    step_delta({"index": 1, "id": "call_2", **function("rest", "")}),
    run(
        "requires_action",
        required_action={"type": "submit_tool_outputs", "submit_tool_outputs": {"tool_calls": ASKED}},
    ),
    DONE,
]
"""A run that stops for the outputs of two function calls: 11 events."""

CONTINUED = [
    step(
        "completed",
        1,
        calls(
            function("grind", '{"sacks":3}', id="call_1", output="flour"),
            function("rest", "", id="call_2", output="rested"),
        ),
    ),
    run("queued", started_at=1001),
    run("in_progress"),
    *WRITING,
]
"""The stream after that: it begins with the end of a step of the stream before. 13 events."""


def frames(events: Iterable[Sent]) -> list[Frame]:
    return [
        Frame(one.event, one.data if isinstance(one.data, bytes) else json.dumps(one.data).encode()) for one in events
    ]


def check(events: Iterable[Sent]) -> list[Deviation]:
    """Return all deviations of a stream."""
    checker = Checker()
    found = [deviation for frame in frames(events) for deviation in checker.feed(frame)]
    return found + checker.finish()


def with_edits(events: Iterable[Sent], *edits: Edit) -> list[Sent]:
    """Return a stream with faults planted in it."""
    edited = deepcopy(list(events))
    for edit in edits:
        edit(edited)
    return edited


def put(number: int, path: str, value: Any) -> Edit:
    """Set the value at a dotted path in the data of an event, counted from 1."""

    def edit(events: list[Sent]) -> None:
        holder, last = _holder(events, number, path)
        holder[last] = value

    return edit


def drop(number: int, path: str) -> Edit:
    """Delete what is at a path in the data of an event."""

    def edit(events: list[Sent]) -> None:
        holder, last = _holder(events, number, path)
        del holder[last]

    return edit


def _holder(events: list[Sent], number: int, path: str) -> tuple[Any, Any]:
    *way, last = (int(part) if part.isdecimal() else part for part in path.split("."))
    holder = events[number - 1].data
    for part in way:
        holder = holder[part]
    return holder, last


def put_all(path: str, value: Any, *numbers: int) -> Edit:
    """Set a value in several events."""

    def edit(events: list[Sent]) -> None:
        for number in numbers:
            put(number, path, value)(events)

    return edit


def rename(number: int, event: str) -> Edit:
    """Give an event another name."""

    def edit(events: list[Sent]) -> None:
        events[number - 1] = Sent(event, events[number - 1].data)

    return edit


def replace(number: int, data: Any) -> Edit:
    """Give an event other data."""

    def edit(events: list[Sent]) -> None:
        events[number - 1] = Sent(events[number - 1].event, data)

    return edit


def remove(*numbers: int) -> Edit:
    """Take events out."""

    def edit(events: list[Sent]) -> None:
        for number in sorted(numbers, reverse=True):
            del events[number - 1]

    return edit


def insert(number: int, *added: Sent) -> Edit:
    """Put events in so that the first of them has that number."""

    def edit(events: list[Sent]) -> None:
        events[number - 1 : number - 1] = deepcopy(list(added))

    return edit


def copy(source: int, number: int) -> Edit:
    """Send an event once more, as the event with that number."""

    def edit(events: list[Sent]) -> None:
        events.insert(number - 1, deepcopy(events[source - 1]))

    return edit
