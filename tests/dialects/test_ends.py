"""How a response ends: what its own list settles, what it waits for, and the errors that explain it."""

from typing import Any
from unittest.mock import ANY

import pytest

from stepstream import (
    Accumulator,
    ErrorData,
    Frame,
    MessageTransition,
    Outcome,
    RunTransition,
    StepProgress,
    StepTransition,
)
from stepstream.fold.outcome import outcome_of
from tests.support.json_values import JSON
from tests.support.response_streams import (
    about,
    added,
    calling,
    done,
    ended,
    fold,
    frames,
    item,
    lifecycle,
    piece,
    text,
    thinking,
    whole,
    writing,
)
from tests.support.tables import each_row

CREATED = lifecycle("created")


def outcome_of_stream(events: list[JSON]) -> Outcome:
    accumulator = Accumulator()
    fold(events, accumulator)
    return outcome_of(accumulator.stream, None)


# Settled by the response's own list


def test_item_that_was_never_done_is_settled_by_the_list():
    one = item()
    folded = fold([CREATED, added(one), piece("a", one), lifecycle("completed", ended(one, content=[text("ab")]))])
    assert folded.statuses["message_1"] == folded.statuses["message_1*"] == ["in_progress", "completed"]
    assert folded.texts == ["ab"]
    assert folded.codes == []


def test_item_that_no_event_announced_is_a_step_all_the_same():
    one = ended(item("function_call"), arguments="{}")
    folded = fold([CREATED, lifecycle("completed", one)])
    assert folded.statuses["function_call_1"] == ["in_progress", "completed"]
    assert folded.statuses["resp_1"] == ["in_progress", "requires_action"]


def test_items_with_other_ids_in_the_list_are_found_by_type_and_order():
    first, second = writing("a", 1, 0), writing("b", 2, 1)
    listed = [{**event["item"], "id": f"other_{event['item']['id']}"} for event in (first[-1], second[-1])]
    folded = fold([CREATED, *first[:-1], *second, lifecycle("completed", *listed)])
    assert folded.texts == ["a", "b"]
    assert folded.statuses["message_1"] == folded.statuses["message_2"] == ["in_progress", "completed"]
    assert len(folded.accumulator.steps) == 2


def test_same_id_twice_in_the_list_is_two_items():
    listed = [ended(item(), content=[text(letter)]) for letter in "ab"]
    folded = fold([CREATED, lifecycle("completed", *listed)])
    assert folded.texts == ["a", "b"]
    assert list(folded.accumulator.steps) == ["message_1", "resp_1:1"]


def test_entry_of_the_list_without_a_type_is_left_out():
    folded = fold([CREATED, *writing("a"), lifecycle("completed", {"id": "x"}, {"type": 5})])
    assert list(folded.accumulator.steps) == ["message_1"]


@each_row("status", ["completed", "incomplete", "failed", "cancelled"])
@each_row("output", [[], None, "absent"])
def test_item_that_is_open_at_the_end_gets_the_status_of_its_response_and_keeps_its_text(status: str, output: Any):
    end = lifecycle("failed" if status == "cancelled" else status, status=status)
    end["response"]["output"] = output
    if output == "absent":
        del end["response"]["output"]
    one, call = item(), item("function_call")
    told = about("function_call_arguments.delta", call, 1, delta="{")
    folded = fold([CREATED, added(one), piece("a", one), added(call, 1), told, end])
    assert folded.statuses["message_1"] == folded.statuses["function_call_1"] == ["in_progress", status]
    assert folded.statuses["message_1*"][-1] == ("completed" if status == "completed" else "incomplete")
    assert folded.texts == ["a"]
    assert folded.accumulator.steps["function_call_1"].tool_calls[0].function.arguments == "{"
    assert folded.codes == []


def test_status_of_an_open_item_in_the_list_is_that_of_the_response():
    folded = fold([CREATED, lifecycle("failed", item(content=[text("a")]))])
    assert folded.statuses["message_1"][-1] == "failed"


def test_stream_that_is_cut_ends_nothing():
    folded = fold([CREATED, *writing("abc")[:4]])
    assert folded.statuses["message_1"] == ["in_progress"]
    assert folded.statuses["resp_1"] == ["in_progress"]


def test_what_the_last_object_of_an_item_lacked_is_filled_by_the_list():
    code = item("code_interpreter_call", code="1+1")
    output = [{"type": "logs", "logs": "2"}]
    thought = item("reasoning", summary=[])
    listed = [ended(code, outputs=output), ended(thought, content=[{"type": "reasoning_text", "text": "t"}])]
    events = [
        CREATED,
        done(ended(code, outputs=None), 0),
        done(ended(thought), 1),
        lifecycle("completed", *listed),
    ]
    folded = fold(events)
    steps = folded.accumulator.steps
    assert [one.logs for one in steps["code_interpreter_call_1"].tool_calls[0].code_interpreter.outputs] == ["2"]
    assert [one.text for one in steps["reasoning_1"].step_details.reasoning.content] == ["t"]
    assert all(change.late for change in folded.kinds(StepProgress))
    assert folded.codes == []


def test_list_that_says_something_else_than_the_last_objects_changes_nothing():
    call = item("function_call", arguments="{}")
    listed = ended(call, arguments="[]", call_id="call_9")
    folded = fold([CREATED, done(ended(call)), lifecycle("completed", listed)])
    (found,) = folded.accumulator.steps["function_call_1"].tool_calls
    assert (found.id, found.function.arguments) == ("call_1", "{}")
    action: Any = folded.accumulator.runs["resp_1"].required_action
    assert [one.id for one in action.tool_calls] == ["call_1"]
    assert folded.codes == []


@pytest.mark.parametrize(
    ("events", "last", "wanted"),
    [
        (writing("abc")[:-1], ended(item(), content=[]), "abc"),
        (writing("abc")[:-1], ended(item(), content=None), "abc"),
        (writing("abc")[:-1], {"type": "message", "id": "message_1", "status": "completed"}, "abc"),
        (writing("abc")[:-1], ended(item(), content=[text("xyz")]), "xyz"),
    ],
)
def test_last_object_without_content_keeps_what_its_pieces_said(events: list[JSON], last: JSON, wanted: str):
    assert fold([CREATED, *events, done(last)]).texts == [wanted]


def test_last_object_of_a_call_without_arguments_keeps_what_its_pieces_said():
    folded = fold([CREATED, *calling("{}")[:-1], done(ended(item("function_call"), arguments=""))])
    assert folded.accumulator.steps["function_call_1"].tool_calls[0].function.arguments == "{}"


def test_last_object_of_reasoning_without_content_keeps_what_its_pieces_said():
    folded = fold([CREATED, *thinking("a", "b")[:-1], done(ended(item("reasoning")))])
    reasoning = folded.accumulator.steps["reasoning_1"].step_details.reasoning
    assert ([one.text for one in reasoning.summary], [one.text for one in reasoning.content]) == (["a"], ["b"])


# What a run waits for

DECLARED = [
    {"type": "function", "name": "add"},
    {"type": "custom", "name": "sql"},
    {"type": "namespace", "name": "crm", "tools": [{"type": "function", "name": "inner"}]},
    {"type": "function", "function": {"name": "nested"}},
    {"type": "computer_use_preview"},
    {"type": "local_shell"},
    {"type": "apply_patch"},
    {"type": "tool_search"},
]
SHELL = {"type": "shell", "environment": {"type": "local"}}
CONTAINER = {"type": "shell", "environment": {"type": "container_auto"}}

WAITING: list[tuple[JSON, list[JSON], bool]] = [
    (item("function_call"), DECLARED, True),
    (item("function_call"), [], True),
    (item("function_call", name="inner"), DECLARED, True),
    (item("function_call", name="nested"), DECLARED, True),
    (item("function_call", name="server_side"), DECLARED, False),
    (item("function_call", status="incomplete"), DECLARED, False),
    (item("custom_tool_call"), DECLARED, True),
    (item("custom_tool_call", name="x_keyword_search"), [{"type": "x_search"}], False),
    (item("computer_call", call_id="call_1"), DECLARED, True),
    (item("local_shell_call", call_id="call_1"), DECLARED, True),
    (item("local_shell_call", call_id="call_1"), [SHELL], False),
    (item("apply_patch_call"), DECLARED, True),
    (item("shell_call"), [SHELL], True),
    (item("shell_call"), [{"type": "shell"}], True),
    (item("shell_call"), [CONTAINER], False),
    (item("shell_call"), [], True),
    (item("shell_call", environment={"type": "local"}), [CONTAINER], True),
    (item("shell_call", environment={"type": "container_reference"}), [SHELL], False),
    (item("tool_search_call", call_id="call_1", execution="client"), DECLARED, True),
    (item("tool_search_call", call_id="call_1", execution="server"), DECLARED, False),
    (item("web_search_call"), DECLARED, False),
    (item("mcp_call"), DECLARED, False),
]


@each_row(("one", "tools", "waits"), WAITING)
def test_run_waits_for_the_calls_that_its_client_runs(one: JSON, tools: list[JSON], waits: bool):
    last = one if one["status"] == "incomplete" else ended(one)
    folded = fold([CREATED, done(last), lifecycle("completed", last, tools=tools)])
    assert folded.statuses["resp_1"][-1] == ("requires_action" if waits else "completed")
    action: Any = folded.accumulator.runs["resp_1"].required_action
    if waits:
        assert action.type == "submit_tool_outputs"
        assert [call.id for call in action.tool_calls] == ["call_1"]
    else:
        assert not action


def test_call_that_is_answered_in_the_stream_is_not_waited_for():
    call = ended(item("function_call"))
    output = {"type": "function_call_output", "id": "o", "call_id": "call_1", "output": "3", "status": "completed"}
    folded = fold([CREATED, done(call), done(output, 1), lifecycle("completed", call, output)])
    assert folded.statuses["resp_1"] == ["in_progress", "completed"]


def test_tools_that_are_found_on_the_way_are_declared():
    found = {
        "type": "tool_search_output",
        "id": "t",
        "status": "completed",
        "tools": [{"type": "function", "name": "new"}],
    }
    call = ended(item("function_call", name="new"))
    folded = fold(
        [lifecycle("created", tools=DECLARED), done(found, 0), done(call, 1), lifecycle("completed", found, call)]
    )
    assert folded.statuses["resp_1"][-1] == "requires_action"


def test_run_waits_for_approval():
    one = item("mcp_approval_request", status=None, name="ask", arguments="{}", server_label="wiki")
    folded = fold([CREATED, added(one), done(one), lifecycle("completed", one)])
    action: Any = folded.accumulator.runs["resp_1"].required_action
    assert action.type == "submit_tool_approval"
    (call,) = action.submit_tool_approval.tool_calls
    assert (call.id, call.type, call.name, call.arguments, call.server_label) == (
        "mcp_approval_request_1", "mcp", "ask", "{}", "wiki",
    )  # fmt: skip


def test_run_may_wait_for_outputs_and_approvals_at_once():
    call = ended(item("function_call"))
    approval = item("mcp_approval_request", status=None, name="ask")
    folded = fold([CREATED, lifecycle("completed", call, approval)])
    action: Any = folded.accumulator.runs["resp_1"].required_action
    assert action.type == "submit_tool_outputs"
    assert [one.id for one in action.tool_calls] == ["call_1", "mcp_approval_request_1"]


@pytest.mark.parametrize("word", ["incomplete", "failed"])
def test_response_that_did_not_complete_waits_for_nothing(word: str):
    folded = fold([CREATED, lifecycle(word, ended(item("function_call")))])
    assert folded.statuses["resp_1"][-1] == word


def test_outcome_has_the_action_and_the_usage_of_the_run():
    usage = {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7}
    outcome = outcome_of_stream([CREATED, *calling("{}"), lifecycle("completed", usage=usage)])
    assert outcome.required_action
    assert outcome.usage.total_tokens == 7
    assert not any(step.usage for step in outcome.steps.values())


# The response that follows


def follow(number: int, previous: str | None, *events: JSON, word: str = "completed", **more: Any) -> list[JSON]:
    names: Any = {"id": f"resp_{number}", "previous_response_id": previous}
    return [lifecycle("created", **names), *events, lifecycle(word, **names, **more)]


FIRST = [
    CREATED,
    *calling("{}"),
    lifecycle("completed", usage={"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}),
]


@pytest.mark.parametrize("is_shared", [True, False], ids=["another stream", "the same stream"])
def test_response_that_answers_a_waiting_run_continues_it(is_shared: bool):
    first = Accumulator()
    fold(FIRST, first)
    began = first.runs["resp_1"].created_at
    second = Accumulator(state=first.state) if is_shared else first
    usage = {"input_tokens": 10, "output_tokens": 20, "total_tokens": 30}
    later: Any = {"usage": usage, "created_at": 1_800_000_000}
    folded = fold(follow(2, "resp_1", *writing("5"), **later), second)
    assert folded.statuses["resp_1"] == ["in_progress", "completed"]
    assert list(folded.accumulator.runs) == ["resp_1"]
    assert folded.accumulator.steps["message_1"].run_id == "resp_1"
    assert folded.accumulator.runs["resp_1"].created_at == began
    total: Any = folded.accumulator.runs["resp_1"].usage
    assert (total.prompt_tokens, total.completion_tokens, total.total_tokens) == (11, 22, 33)
    assert folded.codes == []


@pytest.mark.parametrize(
    ("first", "previous"),
    [(FIRST, None), (FIRST, "resp_9"), (FIRST, 5), ([CREATED, *writing("a"), lifecycle("completed")], "resp_1")],
)
def test_response_that_answers_no_waiting_run_is_a_new_run(first: list[JSON], previous: str | None):
    folded = fold([*first, *follow(2, previous, *writing("b", 2))])
    assert list(folded.accumulator.runs) == ["resp_1", "resp_2"]
    assert folded.statuses["resp_2"] == ["in_progress", "completed"]


def test_response_continues_the_run_that_the_caller_names():
    first = Accumulator()
    fold(FIRST, first)
    known, not_yet = first, Accumulator(state=first.state)  # that is, the dialect of the stream
    for number, accumulator in enumerate((known, not_yet), 2):
        accumulator.translation.continue_run("resp_1")
        folded = fold(follow(number, None, *calling("[]", number)), accumulator)
        assert list(folded.accumulator.runs) == ["resp_1"]
        assert folded.statuses["resp_1"] == ["in_progress", "requires_action"]


def test_run_may_wait_again_and_its_items_are_numbered_on():
    second = follow(2, "resp_1", *calling("[]", 2), word="completed")
    third = follow(3, "resp_2", *writing("5"))
    unnamed = [{**event, "item": {**event["item"], "id": ""}} if "item" in event else event for event in third]
    folded = fold([*FIRST, *second, *unnamed])
    assert folded.statuses["resp_1"] == [
        "in_progress", "requires_action", "in_progress", "requires_action", "in_progress", "completed",
    ]  # fmt: skip
    assert list(folded.accumulator.steps) == ["function_call_1", "function_call_2", "resp_1:2"]
    waits = [change.run.required_action for change in folded.kinds(RunTransition)]
    assert [[call.id for call in one.tool_calls] for one in waits if one] == [["call_1"], ["call_2"]]


# Errors

FLAT = {"type": "error", "code": "rate_limit_exceeded", "message": "slow down", "param": None, "sequence_number": 9}
NESTED = {"type": "error", "error": {"type": "x", "code": "rate_limit_exceeded", "message": "slow down"}}
UNTYPED = {"error": {"code": "rate_limit_exceeded", "message": "slow down"}}


@each_row("error", [FLAT, NESTED, UNTYPED], ids=["flat", "nested", "untyped"])
@each_row("named", [True, False])
@each_row("order", ["before", "after"])
def test_error_beside_the_failure_of_its_response_explains_it(error: JSON, named: bool, order: str):
    failed = lifecycle("failed", error=None, model="m")
    events = [CREATED, error, failed] if order == "before" else [CREATED, failed, error]
    folded = fold(events, named=named)
    assert folded.statuses == {"resp_1": ["in_progress", "failed"]}
    run = folded.accumulator.runs["resp_1"]
    assert (run.last_error.code, run.last_error.message, run.model) == ("rate_limit_exceeded", "slow down", "m")
    assert folded.codes == []


def test_error_of_the_response_itself_counts_more_than_one_beside_it():
    own = {"code": "server_error", "message": "broken"}
    folded = fold([CREATED, NESTED, lifecycle("failed", error=own), NESTED])
    assert folded.accumulator.runs["resp_1"].last_error.code == "server_error"


@pytest.mark.parametrize("rest", [[], [lifecycle("completed")]], ids=["cut", "completed"])
@pytest.mark.parametrize("error", [FLAT, NESTED, UNTYPED], ids=["flat", "nested", "untyped"])
def test_error_that_no_failure_goes_with_is_told_at_the_end(error: JSON, rest: list[JSON]):
    accumulator = Accumulator()
    fold([CREATED], accumulator)
    for frame in frames([error, *rest]):
        assert [event.name for event in accumulator.translation.feed(frame)] in ([], ["thread.run.completed"])
    assert accumulator.translation.held == ErrorData("rate_limit_exceeded", "slow down", ANY)
    (event,) = accumulator.translation.finish()
    assert (event.name, event.data.code, event.data.message) == ("error", "rate_limit_exceeded", "slow down")
    assert accumulator.translation.finish() == []


def test_done_tells_the_error_that_is_held_before_it():
    accumulator = Accumulator()
    fold([CREATED], accumulator)
    assert accumulator.translation.feed(frames([FLAT])[0]) == []
    assert [event.name for event in accumulator.translation.feed(Frame("message", b"[DONE]"))] == ["error", "message"]


# Ends that come again


@pytest.mark.parametrize("word", ["completed", "incomplete", "failed"])
def test_end_that_comes_again_changes_nothing(word: str):
    folded = fold([CREATED, *writing("a"), lifecycle(word), lifecycle(word)])
    assert folded.statuses["resp_1"] == ["in_progress", word]
    assert folded.codes == []


def test_end_of_a_waiting_run_that_comes_again_changes_nothing():
    folded = fold([*FIRST, FIRST[-1]])
    assert folded.statuses["resp_1"] == ["in_progress", "requires_action"]
    assert folded.codes == []


def test_another_end_is_an_anomaly():
    folded = fold([CREATED, lifecycle("completed"), lifecycle("failed")])
    assert folded.statuses["resp_1"] == ["in_progress", "completed"]
    assert folded.codes == ["conflicting_terminal"]


def test_events_after_the_end_are_dropped_with_one_anomaly():
    late = [lifecycle("in_progress"), *writing("late", 2, 1)]
    folded = fold([CREATED, *writing("a"), lifecycle("completed"), *late])
    assert folded.texts == ["a"]
    assert folded.statuses["resp_1"] == ["in_progress", "completed"]
    assert folded.codes == ["event_after_end"]


def test_every_item_of_a_whole_run_ends_once_and_before_it():
    events = whole(thinking("s", "t"), calling("{}", 1, 1), writing("abc", 1, 2))
    folded = fold(events)
    terminal = [one.step_id for one in folded.kinds(StepTransition) if one.terminal]
    assert sorted(terminal) == ["function_call_1", "message_1", "reasoning_1"]
    assert isinstance(folded.changes[-1], RunTransition)
    assert [one.status for one in folded.kinds(MessageTransition)] == ["in_progress", "completed"]
