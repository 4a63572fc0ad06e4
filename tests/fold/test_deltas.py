import json

from stepstream.wire.base import Unknown
from stepstream.wire.events import Event
from tests.support.json_values import JSON, event, plain
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
    details_delta,
    fold,
    last_changes_of,
    moved,
    names,
    piece,
    step_of,
)
from tests.support.tables import each_row

SAIL = piece(0, id="call_a", name="sail", arguments='{"to":')


BUILT: dict[str, tuple[list[Event], list[JSON]]] = {
    "arguments_are_appended": (
        [
            delta(piece(0, id="call_a", name="sail", arguments="")),
            delta(piece(0, arguments="{")),
            delta(piece(0, arguments="}")),
        ],
        [call("call_a", name="sail", arguments="{}")],
    ),
    "function_output_is_appended": (
        [delta(piece(0, output=None)), delta(piece(0, output="o")), delta(piece(0, output="k"))],
        [{"type": "function", "function": {"output": "ok"}}],
    ),
    "input_and_logs_are_appended": (
        [
            delta(piece(0, CODE, id="call_a", input="", outputs=[])),
            delta(piece(0, CODE, input="1\r\n")),
            delta(piece(0, CODE, input="+2")),
            delta(piece(0, CODE, outputs=[{"index": 0, "type": "logs", "logs": "a"}])),
            delta(piece(0, CODE, outputs=[{"index": 0, "type": "logs", "logs": "b"}])),
            delta(piece(0, CODE, outputs=[{"index": 0, "logs": "c"}])),
        ],
        [call("call_a", CODE, input="1\r\n+2", outputs=[{"type": "logs", "logs": "abc"}])],
    ),
    "outputs_go_by_their_index": (
        [
            delta(piece(0, CODE, outputs=[{"index": 7, "type": "image", "image": {"file_id": "f"}}])),
            delta(piece(0, CODE, outputs=[{"index": 2, "type": "logs", "logs": "a"}])),
            delta(piece(0, CODE, outputs=[{"index": 7, "image": {"file_id": "g"}}])),
        ],
        [
            {
                "type": CODE,
                CODE: {"outputs": [{"type": "logs", "logs": "a"}, {"type": "image", "image": {"file_id": "g"}}]},
            }
        ],
    ),
    "empty_outputs_are_kept": (
        [delta(piece(0, CODE, input="", outputs=[]))],
        [{"type": CODE, CODE: {"input": "", "outputs": []}}],
    ),
    "search_values_are_replaced": (
        [
            delta(piece(0, SEARCH, ranking_options={"ranker": "auto", "score_threshold": 0.5}, results=[{"score": 1}])),
            delta(piece(0, SEARCH, ranking_options={"score_threshold": 1}, results=[{"file_id": "f"}, {}])),
        ],
        [
            {
                "type": SEARCH,
                SEARCH: {
                    "ranking_options": {"ranker": "auto", "score_threshold": 1},
                    "results": [{"file_id": "f"}, {}],
                },
            }
        ],
    ),
    "search_results_are_replaced_by_none": (
        [delta(piece(0, SEARCH, results=[{"score": 1}])), delta(piece(0, SEARCH, results=[]))],
        [{"type": SEARCH, SEARCH: {"results": []}}],
    ),
    "mcp_is_flat": (
        [
            delta({"index": 0, "id": "call_a", "type": "mcp", "name": "find", "arguments": "", "server_label": "maps"}),
            delta({"index": 0, "type": "mcp", "arguments": "{"}),
            delta({"index": 0, "arguments": "}", "server_label": "charts"}),
            delta({"index": 0, "type": "mcp", "output": "here"}),
        ],
        [
            {
                "id": "call_a",
                "type": "mcp",
                "name": "find",
                "arguments": "{}",
                "server_label": "charts",
                "output": "here",
            }
        ],
    ),
    "openapi_lies_under_function": (
        [
            delta({"index": 0, "type": "openapi", "function": {"name": "get", "arguments": "{"}}),
            delta({"index": 0, "type": "openapi", "function": {"arguments": "}"}}),
        ],
        [{"type": "openapi", "function": {"name": "get", "arguments": "{}"}}],
    ),
    "azure_maps_of_text_fold_alike": (
        [
            delta(piece(0, "bing_grounding", requesturl="a", input="x")),
            delta(piece(0, "bing_grounding", requesturl="b", input="y", response_metadata="m")),
        ],
        [{"type": "bing_grounding", "bing_grounding": {"requesturl": "b", "input": "xy", "response_metadata": "m"}}],
    ),
    "browser_steps_are_replaced": (
        [
            delta(piece(0, "browser_automation", input="a", steps=[{"n": 1}])),
            delta(piece(0, "browser_automation", input="b", steps=[{"n": 1}, {"n": 2}])),
        ],
        [{"type": "browser_automation", "browser_automation": {"input": "ab", "steps": [{"n": 1}, {"n": 2}]}}],
    ),
    "unknown_tool_folds_alike": (
        [
            delta(piece(0, ROD, id="call_a", input="a", depth=1, tags=["x"], deep={"logs": "a", "n": 1})),
            delta(piece(0, ROD, input="b", depth=2.5, tags=["y", "z"], deep={"logs": "b", "m": 2})),
        ],
        [call("call_a", ROD, input="ab", depth=2.5, tags=["y", "z"], deep={"logs": "ab", "n": 1, "m": 2})],
    ),
    "unknown_tool_appends_no_other_names": (
        [
            delta(piece(0, ROD, value="a", refusal="a", text="a", title="a")),
            delta(piece(0, ROD, value="b", refusal="b", text="b", title="b")),
        ],
        [{"type": ROD, ROD: {"value": "b", "refusal": "b", "text": "b", "title": "b"}}],
    ),
    "azure_maps_append_no_other_names": (
        [delta(piece(0, "azure_ai_search", value="a")), delta(piece(0, "azure_ai_search", value="b"))],
        [{"type": "azure_ai_search", "azure_ai_search": {"value": "b"}}],
    ),
    "lists_of_an_unknown_tool_may_go_by_index": (
        [
            delta(piece(0, ROD, finds=[{"index": 3, "logs": "a", "n": 1}])),
            delta(piece(0, ROD, finds=[{"index": 1, "logs": "c"}, {"index": 3, "logs": "b", "n": 2}])),
        ],
        [{"type": ROD, ROD: {"finds": [{"logs": "c"}, {"logs": "ab", "n": 2}]}}],
    ),
    "list_of_an_unknown_tool_may_go_by_index_later": (
        [
            delta(piece(0, ROD, finds=[{"logs": "a"}, {"logs": "c"}])),
            delta(piece(0, ROD, finds=[{"index": 0, "logs": "b"}, {"index": 7, "logs": "d"}])),
        ],
        [{"type": ROD, ROD: {"finds": [{"logs": "ab"}, {"logs": "c"}, {"logs": "d"}]}}],
    ),
    "list_of_values_of_an_unknown_tool_is_replaced": (
        [delta(piece(0, ROD, finds=[1, "x"])), delta(piece(0, ROD, finds=[{"index": 0, "logs": "b"}]))],
        [{"type": ROD, ROD: {"finds": [{"logs": "b"}]}}],
    ),
    "list_of_objects_and_values_of_an_unknown_tool_is_replaced": (
        [delta(piece(0, ROD, finds=[{"logs": "a"}, 1])), delta(piece(0, ROD, finds=[{"index": 0, "logs": "b"}]))],
        [{"type": ROD, ROD: {"finds": [{"logs": "b"}]}}],
    ),
    "known_struct_within_an_unknown_tool_is_kept": (
        [
            delta(
                {"index": 0, "id": "call_a", "code_interpreter": {"input": "1", "outputs": [{"index": 3, "logs": "a"}]}}
            ),
            delta(
                {"index": 0, "type": ROD, "code_interpreter": {"input": "2", "outputs": [{"index": 3, "logs": "b"}]}}
            ),
        ],
        [{"id": "call_a", CODE: {"input": "12", "outputs": [{"logs": "ab"}]}, "type": ROD}],
    ),
    "known_list_within_an_unknown_tool_is_kept": (
        [
            delta({"index": 0, "id": "call_a", SEARCH: {"results": [{"file_id": "f", "content": [{"x": 1}]}]}}),
            delta({"index": 0, "type": ROD}),
        ],
        [{"id": "call_a", SEARCH: {"results": [{"file_id": "f", "content": [{"x": 1}]}]}, "type": ROD}],
    ),
    "index_that_is_no_place_is_a_value": (
        [delta({"index": 0, "type": ROD, ROD: {"index": 4, "deep": {"index": 5}}})],
        [{"type": ROD, ROD: {"index": 4, "deep": {"index": 5}}}],
    ),
    "value_may_change_its_shape": (
        [
            delta(piece(0, ROD, a=1, b={"x": 1}, output="x", c=[1], d="x")),
            delta(piece(0, ROD, a={"y": 2}, b=2, output=5, c="z", d={"z": 1})),
            delta(piece(0, ROD, output="y")),
        ],
        [{"type": ROD, ROD: {"a": {"y": 2}, "b": 2, "output": "y", "c": "z", "d": {"z": 1}}}],
    ),
    "name_may_become_an_object": (
        [delta(piece(0, ROD, name="Ash")), delta(piece(0, ROD, name={"first": "Yew"}))],
        [{"type": ROD, ROD: {"name": {"first": "Yew"}}}],
    ),
    "type_that_comes_later_tells_the_kind": (
        [
            delta({"index": 0, "id": "call_a", ROD: {"depth": 1}, "mood": "calm"}),
            delta({"index": 0, "type": ROD}),
        ],
        [{"id": "call_a", ROD: {"depth": 1}, "mood": "calm", "type": ROD}],
    ),
    "known_type_that_comes_later_tells_the_kind": (
        [delta({"index": 0, "id": "call_a", "function": {"name": "sail"}}), delta({"index": 0, "type": "function"})],
        [call("call_a", name="sail")],
    ),
    "piece_of_an_unknown_tool_needs_no_type": (
        [delta(piece(0, ROD, depth=1)), delta({"index": 0, ROD: {"width": 2}, "mood": "calm"})],
        [{"type": ROD, ROD: {"depth": 1, "width": 2}, "mood": "calm"}],
    ),
    "output_of_an_unknown_kind_is_kept": (
        [
            delta(piece(0, CODE, outputs=[{"index": 0, "type": "video", "video": {"n": 1}, "logs": "a"}])),
            delta(piece(0, CODE, outputs=[{"index": 0, "type": "video", "video": {"m": 2}, "logs": "b"}])),
        ],
        [
            {
                "type": CODE,
                CODE: {"outputs": [{"type": "video", "video": {"n": 1, "m": 2}, "logs": "ab"}]},
            }
        ],
    ),
    "output_whose_type_comes_later_is_kept": (
        [
            delta(piece(0, CODE, outputs=[{"index": 0, "video": {"n": 1}}])),
            delta(piece(0, CODE, outputs=[{"index": 0, "type": "video"}])),
        ],
        [{"type": CODE, CODE: {"outputs": [{"video": {"n": 1}, "type": "video"}]}}],
    ),
    "calls_come_in_index_order_without_padding": (
        [delta(piece(1023, id="call_c")), delta(piece(5, id="call_b"), piece(0, id="call_a"))],
        [{"id": f"call_{letter}", "type": "function"} for letter in "abc"],
    ),
    "entries_for_one_index_apply_in_order": (
        [delta(piece(0, id="call_a", arguments="{"), piece(0, name="sail", arguments="}"), piece(0, arguments="!"))],
        [call("call_a", arguments="{}!", name="sail")],
    ),
    "content_may_come_after_the_type": (
        [delta(piece(0, id="call_a")), delta(piece(0, name="sail"))],
        [call("call_a", name="sail")],
    ),
    "repeated_id_type_and_name_are_nothing": (
        [delta(piece(0, id="call_a", name="sail", arguments="{"))] * 2,
        [call("call_a", name="sail", arguments="{{")],
    ),
    "null_changes_nothing": (
        [
            delta(piece(0, id="call_a", name="sail", arguments="{")),
            delta({"index": 0, "id": None, "type": None, "function": {"name": None, "arguments": None}}),
            delta({"index": 0, "function": None}),
        ],
        [call("call_a", name="sail", arguments="{")],
    ),
    "null_where_nothing_was_is_kept": (
        [delta(piece(0, name=None, output=None)), delta({"index": 0, CODE: None})],
        [{"type": "function", "function": {"name": None, "output": None}, CODE: None}],
    ),
    "type_of_the_details_may_be_absent": (
        [delta(piece(0, id="call_a"), type=None)],
        [{"id": "call_a", "type": "function"}],
    ),
}


@each_row(("deltas", "calls"), BUILT.values(), ids=BUILT)
def test_deltas_build_the_calls(deltas: list[Event], calls: list[JSON]) -> None:
    assert calls_of(created(), *deltas) == calls


@each_row(("deltas", "calls"), BUILT.values(), ids=BUILT)
def test_deltas_that_fit_are_no_anomaly(deltas: list[Event], calls: list[JSON]) -> None:
    assert codes(fold(created(), *deltas)) == []


@each_row(("deltas", "calls"), BUILT.values(), ids=BUILT)
def test_deltas_build_the_calls_of_a_step_that_opened_without(deltas: list[Event], calls: list[JSON]) -> None:
    for bare in (None, {"type": "tool_calls"}):
        assert calls_of(created(step_details=bare), *deltas) == calls, f"opened with {bare}"


@each_row(("deltas", "calls"), BUILT.values(), ids=BUILT)
def test_deltas_that_came_first_build_the_same_calls(deltas: list[Event], calls: list[JSON]) -> None:
    assert calls_of(*deltas, created()) == calls


@each_row(
    "event",
    [
        event("thread.run.step.delta", {"id": STEP, "delta": None}),
        event("thread.run.step.delta", {"id": STEP, "delta": {}}),
        event("thread.run.step.delta", {"id": STEP, "delta": {"status": "completed", "completed_at": 7}}),
        details_delta(None),
    ],
    ids=["null_delta", "empty_delta", "other_fields", "null_details"],
)
def test_delta_of_nothing_is_no_change(event: Event) -> None:
    first = created()
    accumulator = fold(first)
    assert (accumulator.apply(event), accumulator.steps[STEP]) == ([], first.data)


@each_row("details", [{}, {"type": "tool_calls"}, {"tool_calls": None}, {"tool_calls": []}])
def test_delta_without_calls_leaves_the_calls(details: object) -> None:
    assert calls_of(created(), delta(SAIL), details_delta(details)) == [call("call_a", name="sail", arguments='{"to":')]


@each_row("other", [{"message_creation": {"message_id": "m"}}, {"activities": [{"id": "a"}]}])
def test_delta_may_tell_other_details_beside_a_call(other: JSON) -> None:
    both = details_delta({"type": "tool_calls", "tool_calls": [piece(0, arguments="1}")], **other})
    assert step_of(fold(created(), delta(SAIL), both))["step_details"] == {
        "type": "tool_calls",
        "tool_calls": [call("call_a", name="sail", arguments='{"to":1}')],
        **other,
    }


def test_deltas_go_on_with_calls_that_the_object_listed() -> None:
    opened = created(call("call_a", name="sail", arguments="{"), call("call_b", name="row", arguments="["))
    assert calls_of(opened, delta(piece(1, arguments="]")), delta(piece(0, arguments="}"))) == [
        call("call_a", name="sail", arguments="{}"),
        call("call_b", name="row", arguments="[]"),
    ]


def test_unknown_call_keeps_its_place() -> None:
    found = fold(created(), delta(piece(1, id="call_b")), delta(piece(0, ROD, depth=1))).steps[STEP].tool_calls
    assert [type(one) is Unknown for one in found] == [True, False]


def test_unknown_call_is_plain_json() -> None:
    known = {"index": 0, "id": "call_a", CODE: {"outputs": [{"index": 1, "type": "logs"}]}}
    search = {"index": 0, SEARCH: {"results": [{"file_id": "f"}]}, "type": ROD}
    (found,) = fold(created(), delta(known), delta(search)).steps[STEP].tool_calls
    assert json.loads(json.dumps(found)) == {
        "id": "call_a",
        "type": ROD,
        CODE: {"outputs": [{"type": "logs"}]},
        SEARCH: {"results": [{"file_id": "f"}]},
    }


def test_twice_encoded_delta_folds_alike() -> None:
    once = {"id": STEP, "delta": {"step_details": {"type": "tool_calls", "tool_calls": [SAIL]}}}
    twice = event("thread.run.step.delta", json.dumps(once))
    assert calls_of(created(), twice) == calls_of(created(), delta(SAIL))


def test_unknown_keys_of_an_entry_are_kept_in_its_delta_where_only_the_entry_before_it_has_a_type() -> None:
    entries = [piece(0, id="call_a", name="sail"), {"index": 0, ROD: {"depth": 1}}]
    progress = last_changes_of(created(), delta(*entries))[-1]
    assert plain(progress.delta)["step_details"]["tool_calls"] == entries


# Refusals: a delta applies wholly or not at all

REFUSED: dict[str, tuple[Event, str]] = {
    "other_id": (delta(piece(0, id="call_z", arguments="!")), "id_conflict"),
    "other_name": (delta(piece(0, name="row", arguments="!")), "id_conflict"),
    "other_type": (delta({"index": 0, "type": "mcp", "arguments": "!"}), "type_conflict"),
    "other_unknown_type": (delta(piece(0, ROD, depth=1)), "type_conflict"),
    "other_id_in_the_second_call": (delta(piece(0, arguments="!"), piece(1, id="call_z")), "id_conflict"),
    "other_type_in_the_second_call": (delta(piece(0, arguments="!"), piece(1, ROD)), "type_conflict"),
    "two_ids_for_a_new_call": (delta(piece(0, arguments="!"), piece(2, id="x"), piece(2, id="y")), "id_conflict"),
    "two_types_for_a_new_call": (delta(piece(2, id="x"), piece(2, "mcp")), "type_conflict"),
    "two_names_for_a_new_call": (delta(piece(2, name="x"), piece(2, name="y")), "id_conflict"),
    "two_types_for_a_new_output": (
        delta(piece(2, CODE, outputs=[{"index": 0, "type": "logs"}, {"index": 0, "type": "image"}])),
        "type_conflict",
    ),
    "other_type_of_an_output": (
        delta(piece(0, arguments="!"), piece(1, CODE, outputs=[{"index": 0, "type": "image"}])),
        "type_conflict",
    ),
    "other_name_deep_in_an_unknown_tool": (
        delta(piece(0, arguments="!"), {"index": 3, ROD: {"maker": {"name": "Ash"}}}),
        "id_conflict",
    ),
    "other_number_for_a_name_in_an_unknown_tool": (
        delta(piece(0, arguments="!"), {"index": 3, ROD: {"twig": {"name": 6}}}),
        "id_conflict",
    ),
    "other_type_of_details": (details_delta({"type": "message_creation", "message_creation": {}}), "type_conflict"),
    "unknown_type_of_details": (details_delta({"type": "dream", "dream": 1}), "type_conflict"),
    "bad_index": (delta(piece(0, arguments="!"), piece(-1, arguments="!")), "bad_index"),
    "bad_index_of_an_output": (
        delta(piece(0, arguments="!"), piece(1, CODE, input="!", outputs=[{"index": 1024}])),
        "bad_index",
    ),
    "wrong_shape": (delta(piece(0, arguments="!"), {"index": 1, "id": 5}), "malformed_delta"),
}

KNOWN = [
    created(),
    delta(piece(0, id="call_a", name="sail", arguments="{")),
    delta(piece(1, CODE, id="call_b", input="1", outputs=[{"index": 0, "type": "logs", "logs": "a"}])),
    delta(piece(3, ROD, id="call_c", maker={"name": "Yew"}, twig={"name": 5})),
]


@each_row(("event", "code"), REFUSED.values(), ids=REFUSED)
def test_delta_that_contradicts_is_one_anomaly(event: Event, code: str) -> None:
    assert names(last_changes_of(*KNOWN, event)) == [code]


@each_row("event", [case[0] for case in REFUSED.values()], ids=REFUSED)
def test_refused_delta_changes_nothing(event: Event) -> None:
    assert fold(*KNOWN, event).steps[STEP] == fold(*KNOWN).steps[STEP]


@each_row("event", [case[0] for case in REFUSED.values()], ids=REFUSED)
def test_stream_goes_on_after_a_refused_delta(event: Event) -> None:
    after = delta(piece(0, arguments="}"))
    assert fold(*KNOWN, event, after).steps[STEP] == fold(*KNOWN, after).steps[STEP]


def test_number_for_a_name_that_comes_again_is_the_same() -> None:
    again = delta({"index": 3, ROD: {"twig": {"name": 5}}})
    assert (codes(fold(*KNOWN, again)), calls_of(*KNOWN, again)) == ([], calls_of(*KNOWN))


def test_step_whose_type_changed_takes_deltas_of_its_new_type_only() -> None:
    known = created(), delta(SAIL), delta(piece(0, arguments="1"))
    changed = *known, moved(type="message_creation"), delta(piece(0, arguments="}"))
    assert (codes(fold(*changed)), calls_of(*changed)) == (["type_conflict"], calls_of(*known))


def test_details_of_a_step_without_type_are_told_by_its_details() -> None:
    opened = created(type=None)
    assert codes(fold(opened, details_delta({"type": "message_creation"}))) == ["type_conflict"]


def test_details_of_a_step_without_details_are_told_by_its_type() -> None:
    opened = created(step_details=None)
    assert codes(fold(opened, details_delta({"type": "message_creation"}))) == ["type_conflict"]
