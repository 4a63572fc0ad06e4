import json
from typing import Any

import pytest

from stepstream.fold.accumulator import Accumulator
from stepstream.fold.changes import (
    Change,
    MessageProgress,
    MessageTransition,
    RunTransition,
    StepProgress,
    StepTransition,
    ToolCallStarted,
)
from stepstream.fold.retelling import Key, retell
from stepstream.wire.objects import Run
from stepstream.wire.sse import Frame
from tests.support.tables import each_row

EVENTS: list[tuple[str, dict[str, Any]]] = [
    ("run.created", {"id": "run_1", "thread_id": "thread_1"}),
    ("run.step.created", {"id": "step_1", "run_id": "run_1", "thread_id": "thread_1", "type": "tool_calls"}),
    ("run.step.completed", {"id": "step_1", "run_id": "run_1", "thread_id": "thread_1", "type": "tool_calls"}),
    ("run.step.created", {"id": "step_2", "run_id": "run_1", "thread_id": "thread_1", "type": "message_creation"}),
    ("message.created", {"id": "msg_1", "run_id": "run_1", "thread_id": "thread_1"}),
    ("message.delta", {"id": "msg_1", "delta": {"content": [{"index": 0, "type": "text", "text": {"value": "a"}}]}}),
    ("run.completed", {"id": "run_2", "thread_id": "thread_2"}),
]


@pytest.fixture
def known() -> Accumulator:
    accumulator = Accumulator()
    for name, data in EVENTS:
        accumulator.apply_frame(Frame(f"thread.{name}", json.dumps(data).encode()))
    return accumulator


ALL = (RunTransition, StepTransition, StepProgress, MessageTransition, MessageProgress)
RUN_1, RUN_2 = "<RunTransition run_1 None → queued>", "<RunTransition run_2 None → completed>"
STEP_1 = "<StepTransition step_1 None → completed>"
STEP_2 = ["<StepTransition step_2 None → in_progress>", "<StepProgress step_2>"]
MESSAGE = ["<MessageTransition msg_1 None → in_progress>", "<MessageProgress msg_1>"]


@pytest.mark.parametrize(
    ("classes", "key", "told"),
    [
        (ALL, None, [RUN_1, STEP_1, *STEP_2, *MESSAGE, RUN_2]),
        ([RunTransition], None, [RUN_1, RUN_2]),
        ([StepTransition], None, [STEP_1, *STEP_2]),
        ([MessageProgress], None, MESSAGE),
        ([ToolCallStarted], None, []),
        (ALL, ("run_id", {"run_2"}), [RUN_2]),
        (ALL, ("thread_id", {"thread_1"}), [RUN_1, STEP_1, *STEP_2, *MESSAGE]),
        ([StepTransition], ("step_id", {"step_1", "step_9"}), [STEP_1]),
        ([StepTransition], ("status", {"completed"}), [STEP_1, *STEP_2]),
    ],
)
def test_what_is_known_is_told_from_nothing(
    known: Accumulator, classes: list[type[Change]], key: Key | None, told: list[str]
):
    assert [repr(change) for change in retell(known.state, classes, key)] == told


STORY = [
    ("run.created", {"id": "run_1"}),
    ("run.step.created", {"id": "step_1", "run_id": "run_1", "type": "tool_calls"}),
    ("run.step.completed", {"id": "step_1", "run_id": "run_1", "type": "tool_calls"}),
    ("run.step.created", {"id": "step_2", "run_id": "run_1", "type": "message_creation", "step_details": {
        "type": "message_creation", "message_creation": {"message_id": "msg_1"}}}),
    ("message.created", {"id": "msg_0", "run_id": "run_1"}),
    ("message.created", {"id": "msg_1", "run_id": "run_1"}),
    ("message.completed", {"id": "msg_1", "run_id": "run_1"}),
    ("run.step.completed", {"id": "step_2", "run_id": "run_1", "type": "message_creation", "step_details": {
        "type": "message_creation", "message_creation": {"message_id": "msg_1"}}}),
    ("run.completed", {"id": "run_1"}),
]  # fmt: skip


@each_row(
    ("seen", "told"),
    [
        (4, ["run_1 queued", "step_1 completed", "step_2 in_progress"]),
        (6, ["run_1 queued", "step_1 completed", "step_2 in_progress", "msg_1 in_progress", "msg_0 in_progress"]),
        (7, ["run_1 queued", "step_1 completed", "step_2 in_progress", "msg_1 completed", "msg_0 in_progress"]),
        (8, ["run_1 queued", "step_1 completed", "msg_1 completed", "step_2 completed", "msg_0 in_progress"]),
        (9, ["step_1 completed", "msg_1 completed", "step_2 completed", "msg_0 in_progress", "run_1 completed"]),
    ],
)
def test_what_is_open_comes_before_what_lies_in_it_and_what_has_ended_after(seen: int, told: list[str]):
    accumulator = Accumulator()
    for name, data in STORY[:seen]:
        accumulator.apply_frame(Frame(f"thread.{name}", json.dumps(data).encode()))
    changes: list[Any] = [one for one in retell(accumulator.state, ALL) if hasattr(one, "status")]
    names = [getattr(one, "step_id", None) or getattr(one, "message_id", None) or one.run_id for one in changes]
    assert [f"{name} {one.status}" for name, one in zip(names, changes, strict=True)] == told


def test_run_without_a_status_is_not_told(known: Accumulator):
    known.state.set_run(Run("run_3"))
    told = [change.run_id for change in retell(known.state, [RunTransition])]
    assert told == ["run_1", "run_2"]


def test_change_that_is_told_again_names_no_event_of_a_server(known: Accumulator):
    assert {(change.event, change.sequence, change.context) for change in retell(known.state, ALL)} == {
        ("replay", 0, None)
    }
