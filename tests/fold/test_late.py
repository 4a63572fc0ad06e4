from stepstream.fold.accumulator import Accumulator
from stepstream.fold.changes import StepProgress
from stepstream.wire.events import Event
from tests.support.json_values import JSON, event
from tests.support.server_events import (
    CODE,
    ROD,
    SEARCH,
    STEP,
    call,
    calls_of,
    created,
    delta,
    details_delta,
    ended,
    fold,
    last_changes_of,
    names,
    piece,
    step_of,
)
from tests.support.tables import each_row

FILLED = ["StepProgress"]
DROPPED = ["delta_after_terminal"]
BOTH = ["StepProgress", "delta_after_terminal"]

MCP = {"id": "call_a", "type": "mcp", "name": "find", "arguments": "{}"}

LATE: dict[str, tuple[list[JSON], list[JSON], list[JSON], list[str]]] = {
    # what the terminal object lists; what the late delta says; what the snapshot lists then; the changes
    "null_is_filled": (
        [{**MCP, "output": None}],
        [{"index": 0, "id": "call_a", "type": "mcp", "output": "here"}],
        [{**MCP, "output": "here"}],
        FILLED,
    ),
    "absent_is_filled": ([MCP], [{"index": 0, "output": "here"}], [{**MCP, "output": "here"}], FILLED),
    "null_of_a_function_is_filled": (
        [call("call_a", name="sail", output=None)],
        [piece(0, output="ok")],
        [call("call_a", name="sail", output="ok")],
        FILLED,
    ),
    "null_content_is_filled": (
        [{"id": "call_a", "type": "function", "function": None}],
        [piece(0, name="sail", output="ok")],
        [call("call_a", name="sail", output="ok")],
        FILLED,
    ),
    "null_outputs_are_filled": (
        [call("call_a", CODE, input="1", outputs=None)],
        [piece(0, CODE, outputs=[{"index": 3, "type": "logs", "logs": "b"}, {"index": 1, "type": "logs"}])],
        [call("call_a", CODE, input="1", outputs=[{"type": "logs"}, {"type": "logs", "logs": "b"}])],
        FILLED,
    ),
    "null_outputs_are_filled_with_one_of_no_type": (
        [call("call_a", CODE, input="1", outputs=None)],
        [piece(0, CODE, outputs=[{"index": 3, "logs": "b"}])],
        [call("call_a", CODE, input="1", outputs=[{"logs": "b"}])],
        FILLED,
    ),
    "null_logs_are_filled": (
        [call("call_a", CODE, outputs=[{"type": "logs", "logs": "a"}, {"type": "logs", "logs": None}])],
        [piece(0, CODE, outputs=[{"index": 1, "type": "logs", "logs": "b"}])],
        [call("call_a", CODE, outputs=[{"type": "logs", "logs": "a"}, {"type": "logs", "logs": "b"}])],
        FILLED,
    ),
    "absent_results_are_filled": (
        [call("call_a", SEARCH)],
        [piece(0, SEARCH, results=[{"file_id": "f"}])],
        [call("call_a", SEARCH, results=[{"file_id": "f"}])],
        FILLED,
    ),
    "null_of_an_unknown_tool_is_filled": (
        [call("call_a", ROD, depth=None, deep={"logs": None})],
        [piece(0, ROD, depth=2, width=1, deep={"logs": "x"})],
        [call("call_a", ROD, depth=2, deep={"logs": "x"}, width=1)],
        FILLED,
    ),
    "null_id_is_filled": (
        [{"id": None, "type": "function", "function": {"name": None}}],
        [piece(0, id="call_a", name="sail")],
        [call("call_a", name="sail")],
        FILLED,
    ),
    "value_is_not_replaced": (
        [call("call_a", name="sail", output="ok")],
        [piece(0, output="no")],
        [call("call_a", name="sail", output="ok")],
        DROPPED,
    ),
    "text_is_not_appended_to": (
        [call("call_a", name="sail", arguments="{")],
        [piece(0, arguments="}")],
        [call("call_a", name="sail", arguments="{")],
        DROPPED,
    ),
    "empty_text_is_not_appended_to": (
        [call("call_a", name="sail", output="")],
        [piece(0, output="ok")],
        [call("call_a", name="sail", output="")],
        DROPPED,
    ),
    "repeated_value_is_dropped": (
        [call("call_a", name="sail", output="ok")],
        [piece(0, output="ok")],
        [call("call_a", name="sail", output="ok")],
        DROPPED,
    ),
    "repeated_identity_is_nothing": (
        [call("call_a", name="sail")],
        [piece(0, id="call_a", name="sail")],
        [call("call_a", name="sail")],
        [],
    ),
    "null_is_nothing": (
        [call("call_a", name="sail", output=None)],
        [piece(0, id=None, name=None, output=None)],
        [call("call_a", name="sail", output=None)],
        [],
    ),
    "fill_applies_and_the_rest_is_dropped": (
        [call("call_a", name="sail", arguments="{}", output=None)],
        [piece(0, arguments="!", output="ok")],
        [call("call_a", name="sail", arguments="{}", output="ok")],
        BOTH,
    ),
    "much_that_is_dropped_is_one_anomaly": (
        [call("call_a", name="sail", arguments="{}", output="ok"), call("call_b", CODE, input="1")],
        [piece(0, arguments="!", output="!"), piece(1, CODE, input="!"), piece(9, CODE)],
        [call("call_a", name="sail", arguments="{}", output="ok"), call("call_b", CODE, input="1")],
        DROPPED,
    ),
    "value_is_dropped_before_a_repeated_name": (
        [call("call_a", ROD, depth=1, name="twig")],
        [piece(0, ROD, depth=2, name="twig")],
        [call("call_a", ROD, depth=1, name="twig")],
        DROPPED,
    ),
    "second_entry_for_the_same_null_is_dropped": (
        [call("call_a", name="sail", output=None)],
        [piece(0, output="o"), piece(0, output="k")],
        [call("call_a", name="sail", output="o")],
        BOTH,
    ),
    "unknown_place_is_dropped": (
        [call("call_a", name="sail", output=None)],
        [piece(1, output="ok")],
        [call("call_a", name="sail", output=None)],
        DROPPED,
    ),
    "new_call_is_dropped": (
        [call("call_a", name="sail")],
        [piece(1, id="call_b", name="row")],
        [call("call_a", name="sail")],
        DROPPED,
    ),
    "new_output_is_dropped": (
        [call("call_a", CODE, outputs=[])],
        [piece(0, CODE, outputs=[{"index": 0, "type": "logs", "logs": "a"}])],
        [call("call_a", CODE, outputs=[])],
        DROPPED,
    ),
    "call_is_found_by_its_id": (
        [call("call_a", name="sail", output=None), call("call_b", name="row", output=None)],
        [piece(0, id="call_b", output="ok")],
        [call("call_a", name="sail", output=None), call("call_b", name="row", output="ok")],
        FILLED,
    ),
    "other_id_fills_nothing": (
        [call("call_a", name="sail", output=None)],
        [piece(0, id="call_b", output="ok")],
        [call("call_a", name="sail", output=None)],
        DROPPED,
    ),
    "other_type_fills_nothing": (
        [call("call_a", name="sail", output=None)],
        [{"index": 0, "type": "mcp", "output": "ok"}],
        [call("call_a", name="sail", output=None)],
        DROPPED,
    ),
    "other_unknown_type_fills_nothing": (
        [call("call_a", name="sail", output=None)],
        [piece(0, ROD, output="ok")],
        [call("call_a", name="sail", output=None)],
        DROPPED,
    ),
    "other_name_fills_nothing": (
        [call("call_a", name="sail", output=None)],
        [piece(0, name="row", output="ok")],
        [call("call_a", name="sail", output=None)],
        DROPPED,
    ),
    "contradiction_within_a_fill_is_dropped": (
        [call("call_a", CODE, input="1", outputs=None)],
        [piece(0, CODE, outputs=[{"index": 0, "type": "logs"}, {"index": 0, "type": "image"}])],
        [call("call_a", CODE, input="1", outputs=None)],
        DROPPED,
    ),
    "contradiction_deep_within_a_fill_is_dropped": (
        [{"id": "call_a", "type": CODE, CODE: None}],
        [piece(0, CODE, outputs=[{"index": 0, "type": "logs"}, {"index": 0, "type": "image"}])],
        [{"id": "call_a", "type": CODE, CODE: None}],
        DROPPED,
    ),
    "contradiction_in_a_list_of_a_fill_is_dropped": (
        [call("call_a", ROD, finds=None)],
        [piece(0, ROD, finds=[{"index": 0, "by": [{"index": 0, "name": name}]} for name in ("Ash", "Yew")])],
        [call("call_a", ROD, finds=None)],
        DROPPED,
    ),
    "bad_place_in_an_unknown_tool_is_dropped": (
        [call("call_a", ROD, finds=None)],
        [piece(0, ROD, finds=[{"index": -1}])],
        [call("call_a", ROD, finds=None)],
        DROPPED,
    ),
}


@each_row(("listed", "said", "kinds"), [(listed, said, kinds) for listed, said, _, kinds in LATE.values()], ids=LATE)
def test_late_delta_is_a_late_progress_or_one_anomaly(listed: list[JSON], said: list[JSON], kinds: list[str]) -> None:
    assert names(last_changes_of(created(), ended(*listed), delta(*said))) == kinds


@each_row(("listed", "said", "expected"), [case[:3] for case in LATE.values()], ids=LATE)
def test_late_delta_only_fills_what_the_terminal_object_left_null(
    listed: list[JSON], said: list[JSON], expected: list[JSON]
) -> None:
    assert calls_of(created(), ended(*listed), delta(*said)) == expected


@each_row(("listed", "said", "expected"), [case[:3] for case in LATE.values()], ids=LATE)
def test_late_delta_that_comes_twice_changes_nothing_more(
    listed: list[JSON], said: list[JSON], expected: list[JSON]
) -> None:
    assert calls_of(created(), ended(*listed), delta(*said), delta(*said)) == expected


def test_late_progress_says_so() -> None:
    (change,) = last_changes_of(ended({**MCP, "output": None}), delta({"index": 0, "output": "here"}))
    assert (type(change), change.late) == (StepProgress, True)


def test_progress_of_an_open_step_is_not_late() -> None:
    (change,) = last_changes_of(created(), delta(piece(0, output="ok")))
    assert change.late is False


def test_late_fill_adds_no_second_terminal_transition() -> None:
    changes = last_changes_of(ended({**MCP, "output": None}), delta({"index": 0, "output": "here"}))
    assert "StepTransition" not in names(changes)


def test_step_stays_ended_after_a_late_fill() -> None:
    assert fold(ended(MCP), delta({"index": 0, "output": "here"})).steps[STEP].status == "completed"


@each_row("details", [None, {"type": "tool_calls", "tool_calls": None}], ids=["details", "calls"])
def test_late_delta_fills_null_details(details: object) -> None:
    late = delta(piece(0, id="call_a", name="sail", output="ok"))
    assert calls_of(ended(step_details=details), late) == [call("call_a", name="sail", output="ok")]


@each_row(
    "late",
    [
        {"type": "message_creation", "message_creation": {"message_id": "m"}},
        {"type": "dream", "tool_calls": [{"index": 0, "output": "ok"}]},
    ],
    ids=["known", "unknown"],
)
def test_late_delta_of_another_step_type_is_dropped_whole(late: JSON) -> None:
    end = ended(call("call_a", name="sail", output=None))
    changes = last_changes_of(end, details_delta(late))
    assert (names(changes), fold(end, details_delta(late)).steps[STEP]) == (DROPPED, end.data)


@each_row("body", [None, {}, {"step_details": None}, {"status": "failed"}])
def test_late_delta_of_nothing_is_no_change(body: object) -> None:
    assert last_changes_of(ended(MCP), event("thread.run.step.delta", {"id": STEP, "delta": body})) == []


# The index of a late delta is the one that the deltas before it used

GAP = [created(), delta(piece(3, id="call_a", name="sail"), piece(7, id="call_b", name="row"))]


def test_index_of_a_late_delta_is_that_of_the_deltas_before() -> None:
    end = ended(call("call_a", name="sail", output=None), call("call_b", name="row", output=None))
    assert calls_of(*GAP, end, delta(piece(7, output="b")), delta(piece(3, output="a"))) == [
        call("call_a", name="sail", output="a"),
        call("call_b", name="row", output="b"),
    ]


def test_index_of_a_late_delta_follows_its_call_to_another_position() -> None:
    known = delta(piece(0, id="call_a", name="sail"), piece(1, id="call_b", name="row"))
    end = ended(call("call_b", name="row", output=None), call("call_a", name="sail", output=None))
    assert calls_of(created(), known, end, delta(piece(0, output="a"))) == [
        call("call_b", name="row", output=None),
        call("call_a", name="sail", output="a"),
    ]


def test_late_delta_for_a_dropped_call_fills_no_other() -> None:
    known = delta(piece(0, id="call_a", name="sail"), piece(1, id="call_b", name="row"))
    end = ended(call("call_b", name="row", output=None))
    assert calls_of(created(), known, end, delta(piece(0, output="of the dropped one"))) == [
        call("call_b", name="row", output=None)
    ]


def test_index_of_a_late_output_is_that_of_the_deltas_before() -> None:
    known = delta(piece(0, CODE, id="call_a", outputs=[{"index": 4, "type": "logs"}]))
    end = ended(call("call_a", CODE, outputs=[{"type": "logs", "logs": None}]))
    late = delta(piece(0, CODE, outputs=[{"index": 4, "logs": "x"}]))
    assert calls_of(created(), known, end, late) == [call("call_a", CODE, outputs=[{"type": "logs", "logs": "x"}])]


# A second terminal object of the same status fills likewise


def second(first: Event, again: Event) -> tuple[list[str], JSON]:
    return names(last_changes_of(first, again)), step_of(fold(first, again))


def test_second_terminal_object_fills_a_null_output() -> None:
    null, full = ended({**MCP, "output": None}), ended({**MCP, "output": "here"})
    assert second(null, full) == (FILLED, step_of(fold(full)))


def test_second_terminal_object_fills_a_null_time() -> None:
    null, full = ended(MCP, completed_at=None), ended(MCP, completed_at=7)
    assert second(null, full) == (FILLED, step_of(fold(full)))


def test_second_terminal_object_fills_null_details() -> None:
    null, full = ended(step_details=None), ended(MCP)
    assert second(null, full) == (FILLED, step_of(fold(full)))


def test_second_terminal_object_fills_what_was_absent() -> None:
    bare, full = (
        event("thread.run.step.completed", {"id": STEP, "status": "completed"}),
        ended({**MCP, "output": "here"}),
    )
    assert calls_of(bare, full) == [{**MCP, "output": "here"}]


def test_second_terminal_object_fills_what_was_absent_in_a_call() -> None:
    bare, full = ended(MCP), ended({**MCP, "output": "here"})
    assert second(bare, full) == (FILLED, step_of(fold(full)))


def test_fill_of_a_second_terminal_object_is_late_and_without_delta() -> None:
    (change,) = last_changes_of(ended({**MCP, "output": None}), ended({**MCP, "output": "here"}))
    assert (change.late, change.delta) == (True, None)


def test_second_terminal_object_replaces_nothing() -> None:
    first, again = ended({**MCP, "output": None}, completed_at=7), ended({**MCP, "output": "here"}, completed_at=8)
    assert second(first, again) == (
        ["StepProgress", "conflicting_terminal"],
        step_of(fold(ended({**MCP, "output": "here"}, completed_at=7))),
    )


def test_second_terminal_object_of_another_status_fills_nothing() -> None:
    first, again = ended({**MCP, "output": None}), ended({**MCP, "output": "here"}, as_="failed")
    assert second(first, again) == (["conflicting_terminal"], step_of(fold(first)))


def test_third_terminal_object_changes_nothing_more() -> None:
    null, full, other = (ended({**MCP, "output": output}) for output in (None, "here", "there"))
    assert (names(last_changes_of(null, full, other)), calls_of(null, full, other)) == (
        ["conflicting_terminal"],
        [{**MCP, "output": "here"}],
    )


def test_deltas_fill_what_two_terminal_objects_left_null() -> None:
    first, again = ended({**MCP, "output": None}, completed_at=None), ended({**MCP, "output": None}, completed_at=7)
    assert calls_of(first, again, delta({"index": 0, "output": "here"})) == [{**MCP, "output": "here"}]


def test_late_delta_with_a_bad_place_in_what_deltas_built_is_dropped() -> None:
    known = created(), delta(piece(0, ROD, id="call_a", finds=[{"index": 2, "logs": "a"}]))
    late = delta(piece(0, ROD, finds=[{"index": -1, "logs": "b"}]))
    assert names(last_changes_of(*known, ended(call("call_a", ROD, finds=None)), late)) == DROPPED


# What the terminal object left out


def test_late_delta_brings_nothing_back_that_the_terminal_object_left_out() -> None:
    opening = delta(piece(0, id="call_a", name="row", output="wind"))
    listed = call("call_a", name="row")
    assert calls_of(created(), opening, ended(listed), opening) == [listed]
    assert names(last_changes_of(created(), opening, ended(listed), opening)) == DROPPED


def test_what_the_terminal_object_left_out_stays_out_after_a_restore() -> None:
    opening = delta(piece(0, id="call_a", name="row", output="wind"))
    listed = call("call_a", name="row")
    restored = Accumulator.restore(fold(created(), opening, ended(listed)).export())
    restored.apply(opening)
    assert step_of(restored)["step_details"]["tool_calls"] == [listed]
