"""Events as servers send them, and what the fold makes of them, as plain JSON."""

import json
from collections import Counter
from collections.abc import Iterable
from typing import Any

from stepstream.fold.accumulator import Accumulator
from stepstream.fold.anomalies import Anomaly
from stepstream.fold.changes import (
    Change,
    MessageTransition,
    RunTransition,
    StepTransition,
    ToolCallFinished,
    ToolCallStarted,
)
from stepstream.fold.encoding import encode_change
from stepstream.wire.events import Event
from stepstream.wire.sse import Frame, FrameDecoder
from tests.support.json_values import JSON, event, plain
from tests.support.places import STREAMS

CODE = "code_interpreter"
SEARCH = "file_search"
ROD = "dowsing_rod"  # a kind of tool that nobody knows

STEP = "step_larch"
RUN = "run_fjord"
MESSAGE = "msg_heron"

Transition = StepTransition | RunTransition | MessageTransition


def frames_of(stream: str) -> list[Frame]:
    """Return the frames of one of our own streams."""
    return FrameDecoder().feed((STREAMS / f"{stream}.sse").read_bytes())


# Steps


def step(status: str = "in_progress", calls: Iterable[JSON] = (), **fields: Any) -> JSON:
    """Return a full step of tool calls; `fields` replace or add any of its fields."""
    return {
        "id": STEP,
        "object": "thread.run.step",
        "created_at": 1790000000,
        "run_id": RUN,
        "thread_id": "thread_moss",
        "type": "tool_calls",
        "status": status,
        "completed_at": None,
        "step_details": {"type": "tool_calls", "tool_calls": list(calls)},
        "usage": None,
        **fields,
    }


def created(*calls: JSON, **fields: Any) -> Event:
    return event("thread.run.step.created", step(fields.pop("status", "in_progress"), calls, **fields))


def moved(*calls: JSON, **fields: Any) -> Event:
    return event("thread.run.step.in_progress", step(fields.pop("status", "in_progress"), calls, **fields))


def ended(*calls: JSON, as_: str = "completed", **fields: Any) -> Event:
    """Return the event that ends a step; `as_` is its name, and its object's status unless `fields` say another."""
    return event(f"thread.run.step.{as_}", step(fields.pop("status", as_), calls, **fields))


def delta(*calls: JSON, id: str = STEP, type: str | None = "tool_calls") -> Event:  # noqa: A002 - the wire's own words
    kind = {} if type is None else {"type": type}
    return details_delta({**kind, "tool_calls": list(calls)}, id=id)


def details_delta(details: object, id: str = STEP) -> Event:  # noqa: A002 - the wire's own word
    return event(
        "thread.run.step.delta", {"id": id, "object": "thread.run.step.delta", "delta": {"step_details": details}}
    )


def piece(index: int, kind: str | None = "function", **content: Any) -> JSON:
    """Return an entry of a delta: `id` lies beside the type, and all else under the key of the kind."""
    found: JSON = {"index": index}
    if "id" in content:
        found["id"] = content.pop("id")
    if kind is not None:
        found["type"] = kind
    if content:
        found[kind or "function"] = content
    return found


def call(id: str, kind: str = "function", **content: Any) -> JSON:  # noqa: A002 - the wire's own word
    """Return a whole call, as full steps list it."""
    return {"id": id, "type": kind, kind: content}


# Runs and messages


def run(status: str, id: str = RUN, as_: str | None = None, **fields: Any) -> Event:  # noqa: A002 - the wire's own word
    data = {"id": id, "object": "thread.run", "thread_id": "thread_moss", "status": status, **fields}
    return event(f"thread.run.{as_ or status}", data)


def asking(*calls: JSON, id: str = RUN, kind: str = "submit_tool_outputs") -> Event:  # noqa: A002 - the wire's own word
    return run("requires_action", id, required_action={"type": kind, kind: {"tool_calls": list(calls)}})


def message(status: str = "in_progress", *content: JSON, as_: str = "created", **fields: Any) -> Event:
    data = {
        "id": MESSAGE,
        "object": "thread.message",
        "run_id": RUN,
        "thread_id": "thread_moss",
        "status": status,
        "role": "assistant",
        "content": list(content),
        **fields,
    }
    return event(f"thread.message.{as_}", data)


def message_delta(*content: JSON, **fields: Any) -> Event:
    data = {"id": MESSAGE, "object": "thread.message.delta", "delta": {"content": list(content), **fields}}
    return event("thread.message.delta", data)


def text(value: str | None = None, index: int | None = None, **fields: Any) -> JSON:
    """Return a text part: of a delta with an `index`, of a full message without."""
    place = {} if index is None else {"index": index}
    return {**place, "type": "text", "text": {"value": value, **fields} if value is not None else fields}


# What the fold made of it


def fold(*events: Event, **options: Any) -> Accumulator:
    accumulator = Accumulator(**options)
    for one in events:
        accumulator.apply(one)
    return accumulator


def changes_of(*events: Event, **options: Any) -> list[Change]:
    accumulator = Accumulator(**options)
    return [change for one in events for change in accumulator.apply(one)]


def last_changes_of(*events: Event, **options: Any) -> list[Change]:
    """Return what the last of `events` did."""
    *before, last = events
    return fold(*before, **options).apply(last)


def names(changes: Iterable[Change]) -> list[str]:
    """Return the class of each change, and the code of an anomaly in its place."""
    return [change.code if isinstance(change, Anomaly) else type(change).__name__ for change in changes]


def transitions_of(kind: type[Transition], *events: Event) -> list[tuple[str | None, str, bool]]:
    """Return the transitions of one class in short: from which status to which, and whether that is terminal."""
    found = [change for change in changes_of(*events) if isinstance(change, kind)]
    return [(change.previous, change.status, change.terminal) for change in found]


def codes(accumulator: Accumulator) -> list[str]:
    return [anomaly.code for anomaly in accumulator.anomalies]


def step_of(accumulator: Accumulator, id: str = STEP) -> JSON:  # noqa: A002 - the wire's own word
    return plain(accumulator.steps[id])


def calls_of(*events: Event, id: str = STEP) -> list[JSON]:  # noqa: A002 - the wire's own word
    """Return the tool calls of the step that `events` build."""
    return step_of(fold(*events), id)["step_details"]["tool_calls"]


def content_of(*events: Event) -> list[JSON]:
    """Return the content of the message that `events` build."""
    return plain(fold(*events).messages[MESSAGE])["content"]


def lines(changes: Iterable[Change]) -> list[JSON]:
    """Return each change as the line that `cat --as changes` writes."""
    return [json.loads(encode_change(change)) for change in changes]


def check_that_everything_comes_once(changes: list[Change]) -> None:
    """Check that every step ends once, and that every call starts and finishes once and in time."""
    ends = [change for change in changes if isinstance(change, StepTransition) and change.terminal]
    started = [(change.step_id, change.id) for change in changes if isinstance(change, ToolCallStarted)]
    finished = [(change.step_id, change.id) for change in changes if isinstance(change, ToolCallFinished)]
    assert max(Counter(change.step_id for change in ends).values(), default=1) == 1
    assert max(Counter(started).values(), default=1) == 1
    assert max(Counter(finished).values(), default=1) == 1
    ended_steps = {change.step_id for change in ends}
    assert {key for key in started if key[0] in ended_steps} == {key for key in finished if key[0] in ended_steps}
    for place, change in enumerate(changes):
        if isinstance(change, ToolCallFinished):
            assert any(
                isinstance(one, ToolCallStarted) and (one.step_id, one.id) == (change.step_id, change.id)
                for one in changes[:place]
            )
        if isinstance(change, StepTransition) and change.terminal:
            late = (ToolCallStarted, ToolCallFinished)
            assert not [one for one in changes[place:] if isinstance(one, late) and one.step_id == change.step_id]
