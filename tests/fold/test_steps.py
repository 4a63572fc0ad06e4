import time
from functools import partial
from typing import Any

import pytest

from stepstream.errors import FrameTooLarge
from stepstream.fold.accumulator import Accumulator, accumulate
from stepstream.fold.changes import StepProgress, StepTransition
from stepstream.wire.events import Event
from stepstream.wire.sse import Frame, encode_frame
from tests.support.json_values import JSON, event, plain
from tests.support.server_events import (
    CODE,
    ROD,
    RUN,
    STEP,
    call,
    calls_of,
    changes_of,
    codes,
    created,
    delta,
    details_delta,
    ended,
    fold,
    last_changes_of,
    moved,
    names,
    piece,
    run,
    step,
    step_of,
    transitions_of,
)
from tests.support.tables import each_row

ENDS = ["completed", "failed", "cancelled", "expired", "incomplete"]


# Opening and moving on


def test_created_opens_the_snapshot() -> None:
    first = created(call("call_a", name="sail", arguments=""), expires_at=5)
    assert fold(first).steps[STEP] == first.data


def test_in_progress_opens_a_step_that_was_never_created() -> None:
    first = moved()
    assert fold(first).steps[STEP] == first.data


def test_later_object_updates_scalar_fields() -> None:
    found = step_of(fold(created(expires_at=5), moved(expires_at=9, usage={"total_tokens": 1})))
    assert (found["expires_at"], found["usage"]) == (9, {"total_tokens": 1})


def test_later_object_leaves_scalar_fields_that_it_lacks() -> None:
    first, bare = created(expires_at=5), event("thread.run.step.in_progress", {"id": STEP})
    assert fold(first, bare).steps[STEP] == first.data


def test_later_object_adds_scalar_fields() -> None:
    bare, full = event("thread.run.step.created", {"id": STEP}), moved(call("call_a", name="sail"))
    assert fold(bare, full).steps[STEP] == full.data


def test_later_object_may_null_a_scalar_field() -> None:
    assert step_of(fold(created(expires_at=5), moved(expires_at=None)))["expires_at"] is None


SAIL = piece(0, id="call_a", name="sail", arguments='{"to":')

SUPPLIED: dict[str, tuple[list[JSON], list[JSON], list[JSON]]] = {
    # what deltas built; what the later object lists; what the snapshot lists then
    "empty_list_removes_nothing": (
        [SAIL],
        [],
        [call("call_a", name="sail", arguments='{"to":')],
    ),
    "longer_text_is_taken": (
        [SAIL],
        [call("call_a", name="sail", arguments='{"to":1}')],
        [call("call_a", name="sail", arguments='{"to":1}')],
    ),
    "same_text_is_nothing_new": (
        [SAIL],
        [call("call_a", name="sail", arguments='{"to":')],
        [call("call_a", name="sail", arguments='{"to":')],
    ),
    "shorter_text_is_not_taken": (
        [SAIL],
        [call("call_a", name="sail", arguments="{")],
        [call("call_a", name="sail", arguments='{"to":')],
    ),
    "other_text_is_not_taken": (
        [SAIL],
        [call("call_a", name="sail", arguments='["never mind"]')],
        [call("call_a", name="sail", arguments='{"to":')],
    ),
    "null_is_filled": (
        [piece(0, id="call_a", name="sail", output=None)],
        [call("call_a", name="sail", output="ok")],
        [call("call_a", name="sail", output="ok")],
    ),
    "absent_field_is_filled": (
        [piece(0, id="call_a", name="sail")],
        [call("call_a", name="sail", output=None)],
        [call("call_a", name="sail", output=None)],
    ),
    "field_is_filled_before_one_that_is_null": (
        [piece(0, id="call_a", name="sail")],
        [call("call_a", name="sail", arguments="{}", output=None)],
        [call("call_a", name="sail", arguments="{}", output=None)],
    ),
    "null_removes_nothing": (
        [SAIL],
        [call("call_a", name="sail", arguments=None)],
        [call("call_a", name="sail", arguments='{"to":')],
    ),
    "missing_call_is_added": (
        [SAIL],
        [call("call_a", name="sail"), call("call_b", ROD, depth=2)],
        [call("call_a", name="sail", arguments='{"to":'), call("call_b", ROD, depth=2)],
    ),
    "missing_call_in_front_is_added_behind": (
        [SAIL],
        [call("call_b", ROD, depth=2), call("call_a", name="sail")],
        [call("call_a", name="sail", arguments='{"to":'), call("call_b", ROD, depth=2)],
    ),
    "call_without_id_gets_it_by_position": (
        [piece(0, name="sail", arguments="{")],
        [call("call_a", name="sail", arguments="{}")],
        [call("call_a", name="sail", arguments="{}")],
    ),
    "output_is_added": (
        [piece(0, CODE, id="call_a", input="1", outputs=[{"index": 0, "type": "logs", "logs": "a"}])],
        [call("call_a", CODE, outputs=[{"type": "logs", "logs": "ab"}, {"type": "logs", "logs": "c"}])],
        [
            call(
                "call_a",
                CODE,
                input="1",
                outputs=[{"type": "logs", "logs": "ab"}, {"type": "logs", "logs": "c"}],
            )
        ],
    ),
    "call_of_another_type_is_not_taken": (
        [SAIL],
        [{"id": "call_a", "type": "mcp", "output": "x", "function": {"output": "x"}}],
        [call("call_a", name="sail", arguments='{"to":')],
    ),
    "known_value_is_kept": (
        [piece(0, ROD, id="call_a", depth=2)],
        [call("call_a", ROD, depth=1, mood="calm")],
        [call("call_a", ROD, depth=2, mood="calm")],
    ),
}


@each_row(("built", "listed", "expected"), SUPPLIED.values(), ids=SUPPLIED)
def test_later_object_gives_what_the_fold_lacks_and_removes_nothing(
    built: list[JSON], listed: list[JSON], expected: list[JSON]
) -> None:
    assert calls_of(created(), delta(*built), moved(*listed)) == expected


def without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_nulls(found) for key, found in value.items() if found is not None}
    return [without_nulls(entry) for entry in value] if isinstance(value, list) else value


@each_row(("built", "listed", "expected"), SUPPLIED.values(), ids=SUPPLIED)
def test_later_object_is_a_progress_where_it_adds_something(
    built: list[JSON], listed: list[JSON], expected: list[JSON]
) -> None:
    known = created(), delta(*built)
    is_progress = "StepProgress" in names(last_changes_of(*known, moved(*listed)))
    assert is_progress == (without_nulls(calls_of(*known)) != without_nulls(expected))


def test_deltas_go_on_after_a_later_object() -> None:
    calls = calls_of(
        created(), delta(SAIL), moved(call("call_a", name="sail", arguments='{"to":1')), delta(piece(0, arguments="}"))
    )
    assert calls == [call("call_a", name="sail", arguments='{"to":1}')]


def test_later_object_that_adds_to_the_details_is_a_progress() -> None:
    change = last_changes_of(created(), moved(call("call_a", ROD)))[-1]
    assert (type(change), change.delta, change.late) == (StepProgress, None, False)


def test_later_object_that_adds_nothing_is_no_change() -> None:
    assert last_changes_of(created(), moved()) == []


def test_later_object_gives_details_to_a_step_without() -> None:
    assert calls_of(created(step_details=None), moved(call("call_a", name="sail"))) == [call("call_a", name="sail")]


def test_second_created_still_updates() -> None:
    assert step_of(fold(created(expires_at=5), created(expires_at=9)))["expires_at"] == 9


def test_created_after_in_progress_is_no_duplicate() -> None:
    assert codes(fold(moved(), created())) == []


# Transitions


transitions = partial(transitions_of, StepTransition)


def test_first_sight_is_a_transition_from_nothing() -> None:
    assert transitions(created()) == [(None, "in_progress", False)]


def test_same_status_is_no_transition() -> None:
    assert transitions(created(), moved(), moved(expires_at=9)) == [(None, "in_progress", False)]


def test_unknown_status_is_a_transition() -> None:
    steps = created(), moved(status="meditating"), moved()
    assert transitions(*steps)[1:] == [("in_progress", "meditating", False), ("meditating", "in_progress", False)]


@each_row("end", ENDS)
def test_end_is_a_terminal_transition(end: str) -> None:
    assert transitions(created(), ended(as_=end))[1:] == [("in_progress", end, True)]


@each_row("end", ENDS)
def test_end_of_a_step_never_seen_opens_it(end: str) -> None:
    only = ended(call("call_a", name="sail"), as_=end)
    assert (transitions(only), fold(only).steps[STEP]) == ([(None, end, True)], only.data)


@each_row("end", ENDS)
def test_status_alone_ends_a_step(end: str) -> None:
    assert transitions(created(), moved(status=end))[1:] == [("in_progress", end, True)]


@each_row("end", ENDS)
def test_status_alone_ends_a_step_never_seen(end: str) -> None:
    assert transitions(created(status=end)) == [(None, end, True)]


@each_row("status", ["in_progress", "meditating", "failed"])
def test_event_alone_ends_a_step_and_its_status_is_kept_as_sent(status: str) -> None:
    events = created(), ended(status=status)
    assert (transitions(*events)[1:], step_of(fold(*events))["status"]) == ([("in_progress", status, True)], status)


def test_missing_status_comes_from_the_event() -> None:
    end = event("thread.run.step.expired", {"id": STEP})
    assert transitions(created(), end)[1:] == [("in_progress", "expired", True)]


def test_transition_carries_the_snapshot_right_after_it() -> None:
    opened, ended_ = [
        change
        for change in changes_of(created(), delta(SAIL), ended(call("call_a", name="sail", arguments="{}")))
        if isinstance(change, StepTransition)
    ]
    assert [plain(change.step)["step_details"]["tool_calls"] for change in (opened, ended_)] == [
        [],
        [call("call_a", name="sail", arguments="{}")],
    ]


# Other kinds of step


def other_step(details: JSON) -> Event:
    return event("thread.run.step.created", step(type=details["type"], step_details=details))


OTHERS: dict[str, tuple[JSON, list[Any], JSON]] = {
    "message_creation": (
        {"type": "message_creation", "message_creation": {"message_id": "m"}},
        [{"type": "message_creation", "message_creation": {"message_id": "m"}}],
        {"type": "message_creation", "message_creation": {"message_id": "m"}},
    ),
    "activities_are_replaced": (
        {"type": "activities", "activities": []},
        [
            {"type": "activities", "activities": [{"id": "a", "type": "mcp_list_tools", "tools": {}}]},
            {"type": "activities", "activities": [{"id": "b", "type": "nap", "long": True}]},
        ],
        {"type": "activities", "activities": [{"id": "b", "type": "nap", "long": True}]},
    ),
    "unknown_step": (
        {"type": "dream", "dream": {"input": "a", "depth": 1, "scenes": [1]}},
        [{"type": "dream", "dream": {"input": "b", "depth": 2, "scenes": [2]}}, {"dream": {"input": "c", "mood": "x"}}],
        {"type": "dream", "dream": {"input": "abc", "depth": 2, "scenes": [2], "mood": "x"}},
    ),
    "calls_of_an_unknown_step_without_index_are_replaced": (
        {"type": "dream", "tool_calls": [{"id": "a"}]},
        [{"type": "dream", "tool_calls": [{"id": "b"}]}, {"type": "dream", "tool_calls": ["c"]}],
        {"type": "dream", "tool_calls": ["c"]},
    ),
    "calls_of_an_unknown_step_go_by_index": (
        {"type": "dream"},
        [
            {"type": "dream", "tool_calls": [{"index": 1, "input": "b"}]},
            {"tool_calls": [{"index": 0}, {"index": 1, "input": "c"}]},
        ],
        {"type": "dream", "tool_calls": [{}, {"input": "bc"}]},
    ),
}


@each_row(("opened", "deltas", "expected"), OTHERS.values(), ids=OTHERS)
def test_deltas_build_other_kinds_of_step(opened: JSON, deltas: list[Any], expected: JSON) -> None:
    accumulator = fold(other_step(opened), *map(details_delta, deltas))
    assert (step_of(accumulator)["step_details"], codes(accumulator)) == (expected, [])


# Many at once


def test_steps_grow_side_by_side() -> None:
    accumulator = fold(
        created(id="step_a"),
        created(id="step_b"),
        delta(piece(0, arguments="a"), id="step_a"),
        delta(piece(0, arguments="b"), id="step_b"),
        delta(piece(0, arguments="a"), id="step_a"),
    )
    found = {
        name: step_of(accumulator, name)["step_details"]["tool_calls"][0]["function"] for name in accumulator.steps
    }
    assert found == {"step_a": {"arguments": "aa"}, "step_b": {"arguments": "b"}}


def test_runs_share_an_accumulator() -> None:
    accumulator = fold(
        created(id="step_a", run_id="run_a"), created(id="step_b", run_id="run_b"), run("completed", "run_a")
    )
    assert [(one.run_id, one.is_terminal) for one in accumulator.steps.values()] == [("run_a", False), ("run_b", False)]


def test_steps_come_in_order_of_first_sight() -> None:
    assert list(fold(created(id="b"), created(id="a"), moved(id="b"), created(id="c")).steps) == ["b", "a", "c"]


@each_row(
    "identifier",
    ["", "__proto__", "__class__", "\0", "a" * 10_000],
    ids=["empty", "proto", "class", "nul", "long"],
)
def test_id_of_a_step_may_be_any_text(identifier: str) -> None:
    accumulator = fold(created(id=identifier), delta(piece(0, arguments="a"), id=identifier))
    assert step_of(accumulator, identifier)["step_details"]["tool_calls"][0]["function"] == {"arguments": "a"}


def test_delta_never_invents_a_step() -> None:
    assert dict(fold(delta(SAIL)).steps) == {}


def test_run_that_ends_leaves_its_open_steps_as_they_are() -> None:
    accumulator = fold(created(), delta(SAIL), run("failed"))
    assert (accumulator.steps[STEP].status, accumulator.runs[RUN].status) == ("in_progress", "failed")


@each_row("name", ["thread.run.step.pondering", "keepalive", "error", "done", "thread.created"])
def test_other_events_change_no_step(name: str) -> None:
    accumulator = fold(created(), delta(SAIL))
    before = accumulator.steps[STEP]
    assert (accumulator.apply(event(name, {"id": STEP, "status": "completed"})), accumulator.steps[STEP]) == (
        [],
        before,
    )


# Snapshots


def test_snapshot_taken_earlier_does_not_change() -> None:
    accumulator = fold(created(), delta(SAIL))
    before = accumulator.steps[STEP]
    text = plain(before)
    accumulator.apply(delta(piece(0, arguments="1}")))
    assert plain(before) == text


def test_snapshot_is_the_same_object_until_the_step_grows() -> None:
    accumulator = fold(created(), delta(SAIL))
    assert accumulator.steps[STEP] is accumulator.steps[STEP]


def test_snapshot_equals_the_object_that_would_have_come_in_one_piece() -> None:
    grown = fold(created(), delta(piece(0, id="call_a", name="sail", arguments="{")), delta(piece(0, arguments="}")))
    assert grown.steps[STEP] == created(call("call_a", name="sail", arguments="{}")).data


def test_progress_gives_a_snapshot_at_least_as_new_as_its_delta() -> None:
    accumulator = fold(created())
    (progress,) = accumulator.apply(delta(piece(0, arguments="a")))
    accumulator.apply(delta(piece(0, arguments="b")))
    assert progress.step == accumulator.steps[STEP]


def test_cost_of_a_delta_does_not_depend_on_what_came_before() -> None:
    def work(count: int, repeats: int) -> float:
        times = []
        for _ in range(repeats):
            accumulator, piece_of_text = fold(created(), delta(SAIL)), delta(piece(0, arguments="x" * 100))
            started = time.process_time()
            for _ in range(count):
                accumulator.apply(piece_of_text)
            times.append(time.process_time() - started)
        return min(times)

    # Eight times the deltas take eight times the time, and would take 64 times if the text were copied for each.
    assert work(24_000, 1) < 28 * work(3_000, 3)


def test_accumulate_folds_chunks_of_any_size() -> None:
    whole = b"".join(encode_frame(Frame(one.name, one.payload)) for one in [created(), delta(SAIL)])
    accumulator = accumulate(whole[start : start + 7] for start in range(0, len(whole), 7))
    assert accumulator.steps[STEP] == fold(created(), delta(SAIL)).steps[STEP]


def test_accumulate_does_not_stop_at_done() -> None:
    whole = [encode_frame(Frame("done", b"[DONE]")), encode_frame(Frame("thread.run.step.created", created().payload))]
    assert list(accumulate(whole).steps) == [STEP]


def test_accumulate_leaves_out_a_block_without_its_end() -> None:
    whole = encode_frame(Frame("thread.run.step.created", created().payload))
    assert dict(accumulate([whole[:-1]]).steps) == {}


def test_accumulate_notes_what_cannot_be_decoded() -> None:
    whole = [encode_frame(Frame("thread.run.step.created", data)) for data in (b"{", b"[" * 65, b"[]")]
    assert codes(accumulate(whole)) == ["undecodable_event", "too_deep", "undecodable_event"]


def test_accumulate_raises_for_an_event_over_the_limit() -> None:
    with pytest.raises(FrameTooLarge):
        accumulate([b"data: ", b"x" * 2**24])


def test_accumulator_repr_tells_counts() -> None:
    accumulator = Accumulator()
    for one in [created(), run("queued"), created()]:
        accumulator.apply(one)
    assert repr(accumulator) == "<Accumulator 3 events, 1 steps, 1 runs, 1 anomalies>"


def test_mapping_repr_tells_its_size() -> None:
    assert repr(fold(created()).steps) == "<1 by id>"
