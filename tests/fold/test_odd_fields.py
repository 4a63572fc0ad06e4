"""An odd field costs no object and no change: in a stream, after a break, and in what is exported."""

from typing import Any

import msgspec
import pytest

from stepstream.fold.accumulator import Accumulator
from stepstream.fold.anomalies import Anomaly
from stepstream.fold.changes import Change, MessageTransition, RunTransition, StepTransition
from stepstream.fold.reconcile import ServerAnswer, missed_events
from stepstream.wire.events import Event, decode_event
from tests.support.json_values import JSON, event, plain
from tests.support.odd_fields import EXTENTS, ROOTS, STATUSES, Oddity, oddities
from tests.support.server_events import (
    MESSAGE,
    RUN,
    STEP,
    asking,
    call,
    created,
    delta,
    ended,
    fold,
    last_changes_of,
    message,
    names,
    piece,
    run,
    step,
    step_of,
)
from tests.support.tables import each_row

FOLDED = [root for root in ROOTS if root != "thread"]


def known(accumulator: Accumulator, root: str) -> JSON:
    """Return what is known of the object of an oddity."""
    found: dict[str, Any] = {"run": accumulator.runs, "step": accumulator.steps, "message": accumulator.messages}
    return plain(found[root][f"{root}_1"])


def told(changes: list[Change]) -> list[str]:
    """Return the paths that anomalies name, which have to come before all else."""
    found = [one for one in changes if isinstance(one, Anomaly) and one.code == "bad_field"]
    assert changes[: len(found)] == found
    return [one.expected.partition(" as ")[0] for one in found]


def with_status(one: Oddity, status: str) -> JSON:
    return one.read if one.read.get("status") else {**one.read, "status": status}


@pytest.mark.parametrize(("root", "every"), EXTENTS)
def test_odd_field_of_the_first_object_is_an_anomaly_before_its_changes(root: str, every: int):
    name = ROOTS[root][1]
    wrong: dict[str, object] = {}
    for one in oddities(root, every):
        accumulator = Accumulator()
        changes = accumulator.apply(event(name, one.sent))
        if (told(changes), known(accumulator, root)) != (one.told, with_status(one, STATUSES[root])):
            wrong[one.name] = told(changes)
        assert f"{root.capitalize()}Transition" in names(changes)
        assert {change.id for change in changes if isinstance(change, Anomaly)} <= {f"{root}_1"}
    assert wrong == {}


@pytest.mark.parametrize("every", [11, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("root", ["step", "message"])
def test_odd_field_of_a_terminal_object_costs_no_transition(root: str, every: int):
    name = ROOTS[root][1].replace("created", "completed")
    for one in oddities(root, every):
        sent = {**one.sent, "status": "completed"} if one.sent["status"] == STATUSES[root] else one.sent
        accumulator = Accumulator()
        changes = accumulator.apply(event(name, sent))
        assert (told(changes), names(changes)[-1]) == (one.told, f"{root.capitalize()}Transition"), one.name
        read = {**one.read, "status": "completed"} if one.sent["status"] == STATUSES[root] else one.read
        assert known(accumulator, root) == {"status": "completed", **read} | (
            {} if read.get("status") else {"status": "completed"}
        ), one.name


def test_odd_field_of_a_thread_is_an_anomaly():
    [anomaly] = last_changes_of(event("thread.created", {"id": "thread_a", "metadata": []}))
    assert (names([anomaly]), anomaly.id, anomaly.text) == (
        ["bad_field"],
        "thread_a",
        "expected metadata as an object, got a list, left out",
    )


def test_anomalies_of_one_object_are_bounded():
    accumulator = fold(run("queued", tools=[5] * 500))
    assert (accumulator.anomaly_count, accumulator.anomalies[-1].text) == (
        11,
        "expected fields that fit their types, got 490 more that do not",
    )


# What the stream built stays


def test_left_out_details_of_a_terminal_object_do_not_erase_what_deltas_built():
    grown = [created(), delta(piece(0, id="call_a", name="sail", arguments="{}"))]
    for details in ("boom", [], {"type": "tool_calls", "tool_calls": "boom"}):
        accumulator = fold(*grown, ended(step_details=details))
        assert step_of(accumulator)["step_details"]["tool_calls"] == [call("call_a", name="sail", arguments="{}")]


def test_call_that_is_no_object_leaves_the_others_theirs():
    grown = [
        created(),
        delta(
            piece(0, id="call_a", name="sail", arguments="{"),
            piece(1, id="call_b", name="moor", arguments="["),
            piece(2, id="call_c", name="drift", arguments="("),
        ),
    ]
    accumulator = fold(*grown, ended(5, call("call_b", name="moor"), call("call_c", arguments={})))  # type: ignore[arg-type]
    assert step_of(accumulator)["step_details"]["tool_calls"] == [
        call("call_b", name="moor", arguments="["),
        {"id": "call_c", "type": "function", "function": {"arguments": "(", "name": "drift"}},
    ]


def test_odd_status_is_the_one_that_the_name_of_the_event_implies():
    accumulator = fold(run("queued"), event("thread.run.failed", {"id": RUN, "status": 5}), created(), ended(status=[]))
    assert (accumulator.runs[RUN].status, accumulator.steps[STEP].status) == ("failed", "completed")


def test_calls_that_a_run_waits_for_finish_though_one_is_odd():
    start = created(), delta(piece(0, id="call_a", name="sail"), piece(1, id="call_b", name="moor"))
    changes = last_changes_of(*start, asking("boom", call("call_a", name=5), call("call_b", name="moor")))  # type: ignore[arg-type]
    assert names(changes) == ["bad_field", "bad_field", "ToolCallFinished", "ToolCallFinished", "RunTransition"]


def test_object_belongs_to_what_it_did_where_that_field_is_odd_in_its_end():
    opened = created(), message(), run("queued")
    ends = [
        ended(run_id=5, thread_id=[], created_at="soon", type={}),
        message("completed", as_="completed", run_id=5, thread_id=[]),
        run("completed", thread_id=5),
    ]
    for end in ends:
        last = last_changes_of(*opened, end)[-1]
        assert isinstance(last, StepTransition | MessageTransition | RunTransition)
        assert (last.run_id, last.thread_id, last.key.split("/")[0]) == (RUN, "thread_moss", RUN)
    assert step_of(fold(*opened, ends[0]))["created_at"] == 1790000000


def test_odd_object_that_comes_again_is_a_duplicate():
    for end in (ended(run_id=5), run("completed", thread_id=5)):
        assert names(last_changes_of(created(), run("queued"), end, end)) == ["bad_field", "duplicate_terminal"]


@each_row(
    ("odd", "run_id"),
    [
        (created(metadata=[]), RUN),
        (message(metadata=[]), RUN),
        (run("queued", metadata=[]), RUN),
        (created(run_id=5), "run_newest"),
        (event("thread.created", {"id": "thread_a", "metadata": []}), "run_newest"),
    ],
    ids=["step", "message", "run", "step of no run", "thread"],
)
def test_anomaly_names_the_run_of_the_object(odd: Event, run_id: str):
    anomaly = last_changes_of(run("queued", "run_newest"), odd)[0]
    assert isinstance(anomaly, Anomaly)
    assert anomaly.run_id == run_id


# After a break


def answer_of(accumulator: Accumulator, answer: ServerAnswer) -> list[Change]:
    changes: list[Change] = []
    for frame in missed_events(accumulator.state, answer):
        changes += accumulator.apply(decode_event(frame))
    return changes


@pytest.mark.parametrize(("root", "every"), EXTENTS)
def test_odd_field_in_an_answer_costs_no_object_and_is_told_once(root: str, every: int):
    for one in oddities(root, every):
        if one.name.endswith(": null"):
            continue  # the object as it was before has more than that
        sent = {**one.sent, "status": "completed"} if one.sent["status"] == STATUSES[root] else one.sent
        parts = {"run": {"id": "run_1", "status": "completed"}, root: sent}
        of_run = {kind: (msgspec.json.encode(parts[kind]),) for kind in ("step", "message") if kind in parts}
        accumulator = Accumulator()
        changes = answer_of(
            accumulator,
            ServerAnswer(msgspec.json.encode(parts["run"]), of_run.get("step", ()), of_run.get("message", ())),
        )
        found = [change.expected.partition(" as ")[0] for change in changes if isinstance(change, Anomaly)]
        implied = {"run": "queued", "step": "in_progress", "message": "completed"}[root]
        read = {**one.read, "status": "completed"} if sent["status"] == "completed" else with_status(one, implied)
        if root != "run":
            read.setdefault("run_id", "run_1")  # the answer says whose it is
        assert (found, known(accumulator, root)) == (one.told, read), one.name


@pytest.mark.parametrize("status", ["queued", "in_progress"])
@pytest.mark.parametrize("field", ["object", "created_at", "assistant_id", "thread_id"])
def test_run_belongs_to_what_it_did_where_an_answer_is_odd_and_comes_twice(field: str, status: str):
    fields = {"object": "thread.run", "created_at": 1, "assistant_id": "asst_1", "thread_id": "thread_1"}
    accumulator = fold(run(status, **fields))
    answer = ServerAnswer(msgspec.json.encode({"id": RUN, "status": "completed", **fields, field: [True]}))
    assert [one.code for one in answer_of(accumulator, answer) if isinstance(one, Anomaly)] == ["bad_field"]
    assert plain(accumulator.runs[RUN]) == {"id": RUN, "status": "completed", **fields}
    assert answer_of(accumulator, answer) == []


# Elsewhere


@pytest.mark.parametrize("root", FOLDED)
def test_what_was_read_is_exported_and_restored(root: str):
    accumulator = Accumulator()
    for number, one in enumerate(list(oddities(root))[::7]):  # in turn, every field and every value
        accumulator.apply(event(ROOTS[root][1], {**one.sent, "id": f"{root}_{number}"}))
    restored = Accumulator.restore(accumulator.export())
    assert dict(restored.runs) == dict(accumulator.runs)
    assert dict(restored.steps) == dict(accumulator.steps)
    assert dict(restored.messages) == dict(accumulator.messages)


def test_message_and_step_with_one_odd_field_each_are_whole_again_with_their_deltas():
    accumulator = fold(
        message(content=[5, {"type": "text", "text": {"value": "The tide", "annotations": "boom"}}]),
        event(
            "thread.message.delta", {"id": MESSAGE, "delta": {"content": [{"index": 0, "text": {"value": " turns"}}]}}
        ),
        event("thread.run.step.created", step(usage="boom")),
        delta(piece(0, id="call_a", name="sail", arguments="{}")),
    )
    assert accumulator.messages[MESSAGE].text == "The tide turns"
    assert step_of(accumulator)["step_details"]["tool_calls"] == [call("call_a", name="sail", arguments="{}")]
