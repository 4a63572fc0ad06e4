from typing import Any

from stepstream.fold.accumulator import Accumulator
from stepstream.fold.changes import StepProgress, StepTransition, ToolCallFinished, ToolCallStarted
from stepstream.wire.events import Event
from tests.support.json_values import JSON, event, plain
from tests.support.server_events import (
    CODE,
    ROD,
    SEARCH,
    asking,
    call,
    changes_of,
    created,
    delta,
    ended,
    fold,
    last_changes_of,
    moved,
    names,
    piece,
    run,
)
from tests.support.tables import each_row

STARTED, FINISHED = "ToolCallStarted", "ToolCallFinished"


def told(kind: type[Any], changes: list[Any]) -> list[tuple[int, str, str, str | None]]:
    """Return the identity of each call that `changes` tell of."""
    return [(change.index, change.id, change.type, change.name) for change in changes if isinstance(change, kind)]


# Started

STARTS: dict[str, tuple[JSON, tuple[int, str, str, str | None]]] = {
    "function": (piece(0, id="call_a", name="sail"), (0, "call_a", "function", "sail")),
    "azure_function": (piece(0, "azure_function", id="call_a", name="sail"), (0, "call_a", "azure_function", "sail")),
    "connected_agent": (piece(0, "connected_agent", id="call_a", name="m"), (0, "call_a", "connected_agent", "m")),
    "openapi": (
        {"index": 0, "id": "call_a", "type": "openapi", "function": {"name": "get"}},
        (0, "call_a", "openapi", "get"),
    ),
    "mcp": ({"index": 0, "id": "call_a", "type": "mcp", "name": "find"}, (0, "call_a", "mcp", "find")),
    "code_interpreter": (piece(7, CODE, id="call_a"), (7, "call_a", CODE, None)),
    "file_search": (piece(0, SEARCH, id="call_a"), (0, "call_a", SEARCH, None)),
    "bing_grounding": (piece(0, "bing_grounding", id="call_a"), (0, "call_a", "bing_grounding", None)),
    "unknown": (piece(0, ROD, id="call_a", name="yew"), (0, "call_a", ROD, None)),
    "unknown_with_a_name": ({"index": 0, "id": "call_a", "type": ROD, "name": "yew"}, (0, "call_a", ROD, "yew")),
}


@each_row(("entry", "identity"), STARTS.values(), ids=STARTS)
def test_call_starts_when_it_is_known(entry: JSON, identity: tuple[int, str, str, str | None]) -> None:
    assert told(ToolCallStarted, last_changes_of(created(), delta(entry))) == [identity]


NOT_YET = {
    "no_id": piece(0, name="sail"),
    "null_id": piece(0, id=None, name="sail"),
    "no_type": {"index": 0, "id": "call_a", "function": {"name": "sail"}},
    "no_name": piece(0, id="call_a", arguments="{"),
    "null_name": piece(0, id="call_a", name=None),
    "no_content": piece(0, id="call_a"),
    "mcp_without_name": {"index": 0, "id": "call_a", "type": "mcp", "arguments": "{"},
    "openapi_without_name": {"index": 0, "id": "call_a", "type": "openapi", "function": {"arguments": "{"}},
}


@each_row("entry", NOT_YET.values(), ids=NOT_YET)
def test_call_does_not_start_before_it_is_known(entry: JSON) -> None:
    assert told(ToolCallStarted, last_changes_of(created(), delta(entry))) == []


@each_row(
    ("first", "second"),
    [
        (piece(0, id="call_a"), piece(0, name="sail")),
        (piece(0, name="sail"), piece(0, id="call_a")),
        ({"index": 0, "id": "call_a", "function": {"name": "sail"}}, {"index": 0, "type": "function"}),
        (piece(0, id="call_a", name=None), piece(0, name="sail")),
    ],
    ids=["name", "id", "type", "name_after_null"],
)
def test_call_starts_with_the_piece_that_makes_it_known(first: JSON, second: JSON) -> None:
    changes = last_changes_of(created(), delta(first), delta(second))
    assert told(ToolCallStarted, changes) == [(0, "call_a", "function", "sail")]


def test_call_starts_once() -> None:
    again = delta(piece(0, id="call_a", name="sail", arguments="{"))
    assert told(ToolCallStarted, changes_of(created(), again, again, moved(call("call_a", name="sail")))) == [
        (0, "call_a", "function", "sail")
    ]


def test_calls_of_one_delta_start_in_its_order() -> None:
    changes = last_changes_of(created(), delta(piece(4, CODE, id="call_b"), piece(1, SEARCH, id="call_a")))
    assert [change.id for change in changes if isinstance(change, ToolCallStarted)] == ["call_b", "call_a"]


def test_call_starts_before_the_progress_of_its_delta() -> None:
    assert names(last_changes_of(created(), delta(piece(0, CODE, id="call_a")))) == [STARTED, "StepProgress"]


@each_row("first", [created, moved])
def test_call_that_the_first_object_lists_starts_after_the_transition(first: Any) -> None:
    changes = changes_of(first(call("call_a", name="sail"), call("call_b", CODE)))
    assert names(changes) == ["StepTransition", STARTED, STARTED]


def test_call_that_a_later_object_lists_starts() -> None:
    changes = last_changes_of(created(), moved(call("call_a", name="sail")))
    assert told(ToolCallStarted, changes) == [(0, "call_a", "function", "sail")]


def test_call_carries_its_snapshot_of_that_moment() -> None:
    accumulator = fold(created(), delta(piece(0, id="call_a", arguments="{")))
    started = accumulator.apply(delta(piece(0, name="sail")))[0]
    accumulator.apply(delta(piece(0, arguments="}")))
    assert plain(started.call) == call("call_a", arguments="{", name="sail")


def test_call_of_waiting_deltas_starts_when_the_step_comes() -> None:
    changes = last_changes_of(delta(piece(0, CODE, id="call_a")), created())
    assert names(changes) == ["StepTransition", STARTED, "StepProgress"]


def test_same_id_in_two_steps_is_two_calls() -> None:
    events = (
        created(id="step_a"),
        created(id="step_b"),
        *(delta(piece(0, CODE, id="c"), id=name) for name in ("step_a", "step_b")),
    )
    assert [change.step_id for change in changes_of(*events) if isinstance(change, ToolCallStarted)] == [
        "step_a",
        "step_b",
    ]


# Finished, at the end of the step


def test_call_finishes_before_the_terminal_transition() -> None:
    changes = last_changes_of(created(), delta(piece(0, CODE, id="call_a")), ended(call("call_a", CODE)))
    assert names(changes) == [FINISHED, "StepTransition"]


def test_call_of_a_step_never_seen_starts_and_finishes_before_the_terminal_transition() -> None:
    assert names(changes_of(ended(call("call_a", CODE)))) == [STARTED, FINISHED, "StepTransition"]


def test_call_of_waiting_deltas_starts_and_finishes_with_the_terminal_object() -> None:
    changes = last_changes_of(delta(piece(0, CODE, id="call_a")), ended(call("call_a", CODE)))
    assert names(changes) == [STARTED, FINISHED, "StepTransition"]


def test_finished_call_carries_its_final_snapshot() -> None:
    end = ended(call("call_a", name="sail", arguments="{}", output="ok"))
    finished = last_changes_of(created(), delta(piece(0, id="call_a", name="sail", arguments="{")), end)[0]
    assert plain(finished.call) == call("call_a", name="sail", arguments="{}", output="ok")


def test_finished_call_keeps_the_index_it_had() -> None:
    changes = last_changes_of(created(), delta(piece(5, CODE, id="call_a")), ended(call("call_a", CODE)))
    assert told(ToolCallFinished, changes) == [(5, "call_a", CODE, None)]


def test_call_that_the_terminal_object_dropped_finishes_too() -> None:
    known = delta(piece(0, id="call_a", name="sail"), piece(1, CODE, id="call_b"))
    changes = last_changes_of(created(), known, ended(call("call_b", CODE)))
    assert told(ToolCallFinished, changes) == [(0, "call_a", "function", "sail"), (1, "call_b", CODE, None)]


def test_dropped_call_carries_what_was_known_of_it() -> None:
    finished = last_changes_of(created(), delta(piece(0, id="call_a", name="sail", arguments="{")), ended())[0]
    assert plain(finished.call) == call("call_a", name="sail", arguments="{")


def test_name_is_kept_where_the_terminal_object_lacks_it() -> None:
    changes = last_changes_of(created(), delta(piece(0, id="call_a", name="sail")), ended(call("call_a", output="ok")))
    assert told(ToolCallFinished, changes) == [(0, "call_a", "function", "sail")]


def test_call_that_never_got_a_name_starts_and_finishes_at_the_end() -> None:
    changes = last_changes_of(created(), delta(piece(0, id="call_a")), ended(call("call_a", arguments="{}")))
    assert [told(kind, changes) for kind in (ToolCallStarted, ToolCallFinished)] == [
        [(0, "call_a", "function", None)]
    ] * 2


def test_call_that_was_never_known_and_is_dropped_neither_starts_nor_finishes() -> None:
    assert names(last_changes_of(created(), delta(piece(0, name="sail")), ended())) == ["StepTransition"]


def test_call_that_only_the_terminal_object_lists_starts_and_finishes() -> None:
    assert names(last_changes_of(created(), ended(call("call_a", CODE)))) == [STARTED, FINISHED, "StepTransition"]


def test_call_that_the_terminal_object_lists_in_details_of_an_unknown_kind_starts_and_finishes() -> None:
    calls = {"type": None, "tool_calls": [call("call_a", CODE)]}
    changes = last_changes_of(created(step_details={"type": "dream"}), ended(step_details=calls))
    assert names(changes) == [STARTED, FINISHED, "StepTransition"]
    assert [one.call.id for one in changes if isinstance(one, ToolCallFinished)] == ["call_a"]


@each_row("again", ["completed", "failed"])
def test_second_terminal_object_finishes_nothing_again(again: str) -> None:
    events = (
        created(),
        delta(piece(0, CODE, id="call_a")),
        ended(call("call_a", CODE)),
        ended(call("call_a", CODE), as_=again),
    )
    assert FINISHED not in names(last_changes_of(*events))


@each_row("odd", [{"type": "function"}, {"id": "call_a"}, {"id": "call_a", "type": None}], ids=["id", "type", "null"])
def test_call_without_identity_neither_starts_nor_finishes(odd: JSON) -> None:
    assert names(changes_of(ended(odd))) == ["StepTransition"]


@each_row("name", [5, ["x"], {"x": 1}, None])
def test_name_of_an_unknown_call_that_is_no_text_is_none(name: object) -> None:
    changes = changes_of(ended({"id": "call_a", "type": ROD, "name": name}))
    assert told(ToolCallStarted, changes) == [(0, "call_a", ROD, None)]


def test_calls_with_the_same_id_are_one_call() -> None:
    changes = changes_of(
        created(), delta(piece(0, CODE, id="c"), piece(1, CODE, id="c")), ended(call("c", CODE), call("c", CODE))
    )
    assert [len(told(kind, changes)) for kind in (ToolCallStarted, ToolCallFinished)] == [1, 1]


# Finished, when the run asks for it

SAIL = delta(piece(0, id="call_a", name="sail", arguments="{}"))
ASKED = {"id": "call_a", "type": "function", "function": {"name": "sail", "arguments": "{}"}}


def test_call_that_the_run_asks_for_finishes_before_the_run_transition() -> None:
    assert names(last_changes_of(created(), SAIL, asking(ASKED))) == [FINISHED, "RunTransition"]


def test_call_that_waits_for_approval_finishes() -> None:
    mcp = {"id": "call_a", "type": "mcp", "name": "find", "arguments": "{}"}
    changes = last_changes_of(created(), delta({"index": 2, **mcp}), asking(mcp, kind="submit_tool_approval"))
    assert told(ToolCallFinished, changes) == [(2, "call_a", "mcp", "find")]


def test_only_the_calls_asked_for_finish() -> None:
    other = delta(piece(1, id="call_b", name="row"), piece(2, CODE, id="call_c"))
    assert told(ToolCallFinished, last_changes_of(created(), SAIL, other, asking(ASKED))) == [
        (0, "call_a", "function", "sail")
    ]


def test_asked_call_does_not_finish_again() -> None:
    events = (
        created(),
        SAIL,
        asking(ASKED),
        asking(ASKED, kind="submit_tool_outputs"),
        run("in_progress"),
        asking(ASKED),
    )
    assert len(told(ToolCallFinished, changes_of(*events, ended(call("call_a", name="sail"))))) == 1


def test_asked_call_finishes_where_its_run_was_asked_before() -> None:
    events = asking(), created(), SAIL, asking(ASKED)
    assert names(last_changes_of(*events)) == [FINISHED]


def test_asked_call_without_a_name_starts_first() -> None:
    changes = last_changes_of(created(), delta(piece(0, id="call_a")), asking(ASKED))
    assert names(changes) == [STARTED, FINISHED, "RunTransition"]


def test_asked_call_that_nobody_knows_is_nothing() -> None:
    assert names(last_changes_of(created(), asking(ASKED))) == ["RunTransition"]


@each_row("odd", [{}, {"id": None}, {"id": ""}], ids=["absent", "null", "empty"])
def test_asked_call_without_id_is_nothing(odd: JSON) -> None:
    assert names(last_changes_of(created(), SAIL, delta(piece(1, name="row")), asking(odd))) == ["RunTransition"]


def test_asked_call_of_an_ended_step_is_nothing() -> None:
    assert names(last_changes_of(created(), SAIL, ended(call("call_a", name="sail")), asking(ASKED))) == [
        "RunTransition"
    ]


def test_asked_call_that_got_its_id_after_the_end_is_nothing() -> None:
    end = ended({"id": None, "type": "function", "function": {"name": "sail"}})
    assert names(last_changes_of(created(), end, SAIL, asking(ASKED))) == ["RunTransition"]


def test_unknown_required_action_is_nothing() -> None:
    action = {"type": "submit_poem", "submit_poem": {"tool_calls": [ASKED]}}
    asked = run("requires_action", required_action=action)
    assert names(last_changes_of(created(), SAIL, asked)) == ["RunTransition"]


def test_run_finishes_no_call_of_another_run() -> None:
    opened = created(id="step_a", run_id="run_a"), created(id="step_b", run_id="run_b")
    same_ids = [delta(piece(0, id="call_a", name="sail"), id=name) for name in ("step_a", "step_b")]
    changes = last_changes_of(*opened, *same_ids, asking(ASKED, id="run_a"))
    assert [change.step_id for change in changes if isinstance(change, ToolCallFinished)] == ["step_a"]


def test_call_of_a_step_that_names_no_run_finishes() -> None:
    bare = event("thread.run.step.created", {"id": "step_larch"})
    assert told(ToolCallFinished, last_changes_of(bare, SAIL, asking(ASKED))) == [(0, "call_a", "function", "sail")]


def test_call_of_another_stream_of_the_run_finishes() -> None:
    first = fold(created(), SAIL)
    second = Accumulator(state=first.state)
    assert told(ToolCallFinished, second.apply(asking(ASKED))) == [(0, "call_a", "function", "sail")]


def test_delta_after_the_call_was_asked_for_still_applies() -> None:
    changes = last_changes_of(created(), SAIL, asking(ASKED), delta(piece(0, output="ok")))
    assert names(changes) == ["StepProgress"]


def test_everything_of_a_call_comes_in_order() -> None:
    events: list[Event] = [
        created(),
        delta(piece(0, id="call_a", name="sail", arguments="")),
        delta(piece(0, arguments="{}")),
        asking(ASKED),
        ended(call("call_a", name="sail", arguments="{}", output="ok")),
    ]
    kinds = [type(change) for change in changes_of(*events) if not isinstance(change, StepProgress)]
    assert [kind for kind in kinds if kind.__name__ != "RunTransition"] == [
        StepTransition,
        ToolCallStarted,
        ToolCallFinished,
        StepTransition,
    ]


@each_row("replacement", [[{"id": "call_b"}], 5, "x", {}])
def test_call_whose_list_was_replaced_finishes_all_the_same(replacement: Any) -> None:
    """Details of no type take lists without an index, which are replaced whole: the call is in no list any more."""
    search = {"id": "call_a", "type": "file_search", "file_search": {}}
    begun = event("thread.run.step.created", {"id": "s", "step_details": {"type": None, "tool_calls": [search]}})
    odd = event(
        "thread.run.step.delta", {"id": "s", "delta": {"step_details": {"type": "zz", "tool_calls": replacement}}}
    )
    failed = {"id": "s", "status": "failed", "step_details": {"type": "tool_calls", "tool_calls": []}}
    accumulator = fold(begun, odd)
    changes = accumulator.apply(event("thread.run.step.failed", failed))
    assert [(one.id, one.type) for one in changes if isinstance(one, ToolCallFinished)] == [("call_a", "file_search")]
