from stepstream.wire.events import Event
from tests.support.json_values import JSON, event
from tests.support.server_events import (
    CODE,
    ROD,
    SEARCH,
    STEP,
    call,
    calls_of,
    codes,
    created,
    delta,
    ended,
    fold,
    last_changes_of,
    moved,
    names,
    piece,
)
from tests.support.tables import each_row

SAIL = piece(0, id="call_a", name="sail", arguments='{"to":')


SETTLED: dict[str, tuple[list[JSON], list[JSON], list[JSON]]] = {
    # what deltas built; what the terminal object lists; what the snapshot lists then
    "values_are_the_truth": (
        [SAIL],
        [call("call_a", name="sail", arguments="{}", output="ok")],
        [call("call_a", name="sail", arguments="{}", output="ok")],
    ),
    "null_does_not_erase": (
        [piece(0, id="call_a", name="sail", arguments="{}", output="ok")],
        [call("call_a", name="sail", arguments="{}", output=None)],
        [call("call_a", name="sail", arguments="{}", output="ok")],
    ),
    "null_stays_null_where_nothing_came": (
        [SAIL],
        [call("call_a", name="sail", arguments=None, output=None)],
        [call("call_a", name="sail", arguments='{"to":', output=None)],
    ),
    "null_object_does_not_erase": (
        [SAIL],
        [{"id": "call_a", "type": "function", "function": None}],
        [call("call_a", name="sail", arguments='{"to":')],
    ),
    "dropped_call_is_gone": (
        [SAIL, piece(1, id="call_b", name="row")],
        [call("call_b", name="row")],
        [call("call_b", name="row")],
    ),
    "all_calls_dropped": ([SAIL], [], []),
    "calls_are_matched_by_id": (
        [piece(0, id="call_a", name="sail", output="a"), piece(1, id="call_b", name="row", output="b")],
        [call("call_b", name="row", output=None), call("call_a", name="sail", output=None)],
        [call("call_b", name="row", output="b"), call("call_a", name="sail", output="a")],
    ),
    "calls_without_id_are_matched_by_position": (
        [piece(0, name="sail", output="a"), piece(5, name="row", output="b")],
        [call("call_a", name="sail", output=None), call("call_b", name="row", output=None)],
        [call("call_a", name="sail", output="a"), call("call_b", name="row", output="b")],
    ),
    "position_of_a_call_without_id_is_that_of_its_index": (
        [piece(5, name="row", output="b"), piece(0, name="sail", output="a")],
        [call("call_a", name="sail", output=None), call("call_b", name="row", output=None)],
        [call("call_a", name="sail", output="a"), call("call_b", name="row", output="b")],
    ),
    "listed_calls_without_id_are_matched_by_position": (
        [piece(0, id="call_a", name="sail", output="a")],
        [{"type": "function", "function": {"name": "sail", "output": None}}],
        [{"type": "function", "function": {"name": "sail", "output": "a"}}],
    ),
    "position_of_a_call_that_is_matched_by_id_is_taken": (
        [piece(0, id="call_a", name="sail", output="a"), piece(1, id="call_b", name="row", output="b")],
        [{"type": "function", "function": {"name": "sail", "output": None}}, call("call_a", name="sail", output=None)],
        [{"type": "function", "function": {"name": "sail", "output": None}}, call("call_a", name="sail", output="a")],
    ),
    "other_id_in_the_same_place_is_another_call": (
        [piece(0, id="call_a", name="sail", output="a")],
        [call("call_b", name="sail", output=None)],
        [call("call_b", name="sail", output=None)],
    ),
    "other_type_in_the_same_place_is_another_call": (
        [piece(0, name="sail", output="a")],
        [{"type": "mcp", "name": None, "output": None}],
        [{"type": "mcp", "name": None, "output": None}],
    ),
    "gaps_are_closed": (
        [piece(3, id="call_a", name="sail", output="a")],
        [call("call_a", name="sail", output=None)],
        [call("call_a", name="sail", output="a")],
    ),
    "null_outputs_do_not_erase": (
        [piece(0, CODE, id="call_a", outputs=[{"index": 4, "type": "logs", "logs": "x"}])],
        [call("call_a", CODE, input="1", outputs=None)],
        [call("call_a", CODE, input="1", outputs=[{"type": "logs", "logs": "x"}])],
    ),
    "null_logs_do_not_erase": (
        [piece(0, CODE, id="call_a", outputs=[{"index": 4, "type": "logs", "logs": "x"}])],
        [call("call_a", CODE, input="1", outputs=[{"type": "logs", "logs": None}])],
        [call("call_a", CODE, input="1", outputs=[{"type": "logs", "logs": "x"}])],
    ),
    "null_results_do_not_erase": (
        [piece(0, SEARCH, id="call_a", results=[{"file_id": "f"}])],
        [call("call_a", SEARCH, results=None)],
        [call("call_a", SEARCH, results=[{"file_id": "f"}])],
    ),
    "null_of_an_unknown_tool_does_not_erase": (
        [piece(0, ROD, id="call_a", depth=2, deep={"logs": "x"})],
        [call("call_a", ROD, depth=None, deep={"logs": None})],
        [call("call_a", ROD, depth=2, deep={"logs": "x"})],
    ),
}


@each_row(("built", "listed", "expected"), SETTLED.values(), ids=SETTLED)
def test_terminal_object_is_the_truth_but_its_nulls_erase_nothing(
    built: list[JSON], listed: list[JSON], expected: list[JSON]
) -> None:
    assert calls_of(created(), delta(*built), ended(*listed)) == expected


@each_row(("built", "listed", "expected"), SETTLED.values(), ids=SETTLED)
def test_only_object_of_a_step_settles_the_deltas_that_came_before_it(
    built: list[JSON], listed: list[JSON], expected: list[JSON]
) -> None:
    events = delta(*built), ended(*listed)
    assert (calls_of(*events), codes(fold(*events))) == (expected, ["delta_before_created"])


@each_row("details", [None, {"type": "tool_calls", "tool_calls": None}, {"type": "tool_calls"}])
def test_terminal_object_that_lists_no_calls_erases_none(details: object) -> None:
    assert calls_of(created(), delta(SAIL), ended(step_details=details)) == [
        call("call_a", name="sail", arguments='{"to":')
    ]


def test_terminal_object_without_details_erases_none() -> None:
    end = event("thread.run.step.completed", {"id": STEP, "status": "completed"})
    assert calls_of(created(), delta(SAIL), end) == [call("call_a", name="sail", arguments='{"to":')]


def test_terminal_object_replaces_scalar_fields() -> None:
    end = ended(call("call_a", name="sail"), completed_at=7, last_error=None)
    assert fold(created(expires_at=5, usage={"total_tokens": 1}), end).steps[STEP] == end.data


AFTER: dict[str, tuple[Event, str]] = {
    "the_same_event": (ended(call("call_a", name="sail"), completed_at=7), "duplicate_terminal"),
    "the_same_object_by_status": (
        moved(call("call_a", name="sail"), status="completed", completed_at=7),
        "duplicate_terminal",
    ),
    "the_same_object_in_another_event": (
        ended(call("call_a", name="sail"), as_="failed", status="completed", completed_at=7),
        "duplicate_terminal",
    ),
    "less_of_the_same": (ended(call("call_a", name="sail")), "duplicate_terminal"),
    "another_status": (ended(call("call_a", name="sail"), as_="failed", completed_at=7), "conflicting_terminal"),
    "another_time": (ended(call("call_a", name="sail"), completed_at=8), "conflicting_terminal"),
    "another_name": (ended(call("call_a", name="row"), completed_at=7), "conflicting_terminal"),
    "another_call": (ended(call("call_b", name="sail"), completed_at=7), "conflicting_terminal"),
    "one_call_more": (
        ended(call("call_a", name="sail"), call("call_b", name="row"), completed_at=7),
        "conflicting_terminal",
    ),
    "no_call": (ended(completed_at=7), "conflicting_terminal"),
    "other_details": (
        ended(step_details={"type": "message_creation", "message_creation": {}}, completed_at=7),
        "conflicting_terminal",
    ),
    "created": (created(), "status_regression"),
    "in_progress": (moved(call("call_c", name="row"), completed_at=8), "status_regression"),
    "unknown_status": (moved(status="meditating"), "status_regression"),
}


@each_row(("event", "code"), AFTER.values(), ids=AFTER)
def test_object_after_the_terminal_one_is_an_anomaly_and_only_that(event: Event, code: str) -> None:
    assert names(last_changes_of(created(), ended(call("call_a", name="sail"), completed_at=7), event)) == [code]


@each_row("event", [case[0] for case in AFTER.values()], ids=AFTER)
def test_object_after_the_terminal_one_changes_nothing(event: Event) -> None:
    first = ended(call("call_a", name="sail"), completed_at=7)
    assert fold(created(), first, event).steps[STEP] == first.data


def test_terminal_object_equal_to_the_snapshot_is_a_duplicate() -> None:
    built = delta(piece(0, id="call_a", name="sail", output="ok"))
    null, full = ended(call("call_a", name="sail", output=None)), ended(call("call_a", name="sail", output="ok"))
    assert names(last_changes_of(created(), built, null, full)) == ["duplicate_terminal"]


def test_terminal_object_equal_to_a_snapshot_with_a_list_by_index_is_a_duplicate() -> None:
    built = delta(piece(0, ROD, id="call_a", finds=[{"index": 2, "depth": 1}]))
    null, full = ended(call("call_a", ROD, finds=None)), ended(call("call_a", ROD, finds=[{"depth": 1}]))
    assert names(last_changes_of(created(), built, null, full)) == ["duplicate_terminal"]


def test_terminal_object_equal_to_what_was_sent_is_a_duplicate() -> None:
    built = delta(piece(0, id="call_a", name="sail", output="ok"))
    null = ended(call("call_a", name="sail", output=None))
    assert names(last_changes_of(created(), built, null, null)) == ["duplicate_terminal"]


@each_row(("value", "other"), [(1, "1"), ({"x": 1}, [1]), ([1], {"x": 1}), ("a", 1), ({"x": 1}, {"x": 2}), ([1], [2])])
def test_terminal_object_with_another_value_is_a_conflict(value: object, other: object) -> None:
    first, again = (ended(call("call_a", ROD, depth=depth, output=depth)) for depth in (value, other))
    assert names(last_changes_of(first, again)) == ["conflicting_terminal"]


def test_terminal_object_that_adds_an_output_is_a_conflict() -> None:
    first = ended(call("call_a", CODE, outputs=[{"type": "logs", "logs": "a"}]))
    again = ended(call("call_a", CODE, outputs=[{"type": "logs", "logs": "a"}, {"type": "logs", "logs": "b"}]))
    assert names(last_changes_of(first, again)) == ["conflicting_terminal"]


def test_terminal_object_with_a_call_of_another_type_is_a_conflict() -> None:
    first, again = ended({"type": "function", "function": {}}), ended({"type": "mcp"})
    assert names(last_changes_of(first, again)) == ["conflicting_terminal"]
