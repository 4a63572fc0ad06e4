"""What each kind of item becomes: one item, one step."""

from typing import Any

import msgspec
import pytest

from stepstream import StepProgress, ToolCallFinished, ToolCallStarted, Unknown
from tests.support.json_values import JSON
from tests.support.response_streams import added, done, ended, fold, item, lifecycle, whole

CREATED = lifecycle("created")


def details_of(one: JSON) -> Any:
    """The details of the step of an item, as JSON."""
    (step,) = fold(whole([added(one), done(one)])).accumulator.steps.values()
    return msgspec.to_builtins(step.step_details)


CALLS: list[tuple[JSON, JSON]] = [
    (
        item("function_call", arguments="{}", status="completed"),
        {"id": "call_1", "type": "function", "function": {"name": "add", "arguments": "{}"}},
    ),
    (
        item("custom_tool_call", input="x", status="completed"),
        {"id": "call_1", "type": "custom", "custom": {"name": "sql", "input": "x"}},
    ),
    (
        item("mcp_call", arguments="{}", output="ok", status="completed"),
        {
            "id": "mcp_call_1",
            "type": "mcp",
            "name": "ask",
            "arguments": "{}",
            "output": "ok",
            "server_label": "wiki",
        },
    ),
    (
        item(
            "code_interpreter_call",
            code="1+1",
            status="completed",
            container_id="c",
            outputs=[{"type": "logs", "logs": "2"}, {"type": "image", "url": "u"}, {"type": "sound", "url": "s"}],
        ),
        {
            "id": "code_interpreter_call_1",
            "type": "code_interpreter",
            "code_interpreter": {
                "input": "1+1",
                "outputs": [
                    {"type": "logs", "logs": "2"},
                    {"type": "image", "image": {"url": "u"}},
                    {"type": "sound", "url": "s"},
                ],
            },
        },
    ),
    (
        {"type": "code_interpreter_call", "id": "code_interpreter_call_1", "code": "1+1", "status": "completed"},
        {"id": "code_interpreter_call_1", "type": "code_interpreter", "code_interpreter": {"input": "1+1"}},
    ),
    (
        item("code_interpreter_call", code="1+1", status="completed", outputs=None),
        {
            "id": "code_interpreter_call_1",
            "type": "code_interpreter",
            "code_interpreter": {"input": "1+1", "outputs": None},
        },
    ),
    (
        item(
            "file_search_call",
            status="completed",
            queries=["q"],
            results=[{"file_id": "f", "filename": "a.txt", "score": 0.5, "attributes": {"a": 1}, "text": "t"}, {}],
        ),
        {
            "id": "file_search_call_1",
            "type": "file_search",
            "file_search": {
                "queries": ["q"],
                "results": [
                    {
                        "file_id": "f",
                        "score": 0.5,
                        "attributes": {"a": 1},
                        "file_name": "a.txt",
                        "content": [{"type": "text", "text": "t"}],
                    },
                    {},
                ],
            },
        },
    ),
    (
        item("file_search_call", status="completed", results=None),
        {"id": "file_search_call_1", "type": "file_search", "file_search": {"results": None}},
    ),
    (
        item("web_search_call", status="completed", action={"type": "search", "query": "q"}),
        {
            "id": "web_search_call_1",
            "type": "web_search",
            "web_search": {"action": {"type": "search", "query": "q"}},
        },
    ),
    (
        item("image_generation_call", status="completed", result="AAAA"),
        {"id": "image_generation_call_1", "type": "image_generation", "image_generation": {"result": "AAAA"}},
    ),
    (
        item("computer_call", status="completed", call_id="call_1", action={"type": "click"}),
        {"id": "call_1", "type": "computer", "computer": {"action": {"type": "click"}}},
    ),
    (
        item("local_shell_call", status="completed", call_id="call_1", action={"command": ["ls"]}),
        {"id": "call_1", "type": "local_shell", "local_shell": {"action": {"command": ["ls"]}}},
    ),
    (
        item(
            "shell_call",
            status="completed",
            action={"commands": ["ls", 5], "timeout_ms": 9, "max_output_length": None},
            environment={"type": "local"},
        ),
        {
            "id": "call_1",
            "type": "shell",
            "shell": {
                "commands": [{"command": "ls"}],
                "timeout_ms": 9,
                "max_output_length": None,
                "environment": {"type": "local"},
            },
        },
    ),
    (
        item("shell_call", status="completed", action=None),
        {"id": "call_1", "type": "shell", "shell": {}},
    ),
    (
        item("apply_patch_call", status="completed", operation={"type": "delete_file", "path": "a.py"}),
        {
            "id": "call_1",
            "type": "apply_patch",
            "apply_patch": {"operation": {"type": "delete_file", "path": "a.py"}},
        },
    ),
    (
        item("tool_search_call", status="completed", call_id="call_1", execution="client", arguments={"goal": "g"}),
        {
            "id": "call_1",
            "type": "tool_search",
            "tool_search": {"execution": "client", "arguments": {"goal": "g"}},
        },
    ),
    (
        item("bing_grounding_call", status="completed", requesturl="u"),
        {"id": "bing_grounding_call_1", "type": "bing_grounding", "bing_grounding": {"requesturl": "u"}},
    ),
    (
        item("openapi_call", status="completed", name="get", arguments={"a": 1}),
        {
            "id": "openapi_call_1",
            "type": "openapi",
            "function": {"name": "get", "arguments": '{"a":1}'},
        },
    ),
    (
        item("memory_search_call", status="completed", name="recall", hits=[1]),
        {
            "id": "memory_search_call_1",
            "type": "memory_search",
            "name": "recall",
            "memory_search": {"name": "recall", "hits": [1]},
        },
    ),
]


@pytest.mark.parametrize(("one", "call"), CALLS, ids=lambda one: str(one["type"]))
def test_call_is_a_step_with_one_call(one: JSON, call: JSON):
    details = details_of(one)
    (found,) = details["tool_calls"]
    assert (details["type"], found.pop("status")) == ("tool_calls", "completed")
    assert _lists(found) == call


def _lists(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _lists(one) for key, one in value.items()}
    return [_lists(one) for one in value] if isinstance(value, list | tuple) else value


def test_call_of_a_kind_that_is_not_known_is_told_with_its_name():
    folded = fold(whole([added(CALLS[-1][0]), done(CALLS[-1][0])]))
    assert [(one.id, one.type) for one in folded.kinds(ToolCallStarted)] == [("memory_search_call_1", "memory_search")]
    assert len(folded.kinds(ToolCallFinished)) == 1


def test_tools_of_an_mcp_server_are_an_activity():
    tools = [
        {"name": "ask", "description": "d", "input_schema": {"type": "object"}, "annotations": None},
        {"name": "x"},
    ]
    details = details_of(item("mcp_list_tools", status=None, server_label="wiki", tools=tools))
    assert _lists(details) == {
        "type": "activities",
        "activities": [
            {
                "id": "mcp_list_tools_1",
                "type": "mcp_list_tools",
                "server_label": "wiki",
                "tools": {"ask": {"description": "d", "parameters": {"type": "object"}, "annotations": None}, "x": {}},
            }
        ],
    }


@pytest.mark.parametrize(
    "kind", ["workflow_action", "compaction", "program", "additional_tools", "mcp_approval_response", "brand_new"]
)
def test_any_other_item_is_a_step_of_its_own_type_with_all_that_it_holds(kind: str):
    one = item(kind, status="completed", kind="SetVariable", tools=[{"type": "function"}])
    folded = fold(whole([added(one), done(one)]))
    (step,) = folded.accumulator.steps.values()
    assert isinstance(step.step_details, Unknown)
    assert step.type == step.step_details["type"] == kind
    assert step.step_details[kind] == {"kind": "SetVariable", "tools": [{"type": "function"}]}
    assert folded.codes == []


def test_item_that_encloses_others_ends_after_them():
    outer, inner = item("workflow_action"), item("message")
    folded = fold(whole([added(outer, 0), added(inner, 1), done(ended(inner), 1), done(ended(outer), 0)]))
    assert folded.statuses["workflow_action_1"] == folded.statuses["message_1"] == ["in_progress", "completed"]


STATUSES: list[tuple[JSON, str]] = [
    ({"status": "completed"}, "completed"),
    ({"status": "incomplete"}, "incomplete"),
    ({"status": "failed"}, "failed"),
    ({"status": "cancelled"}, "cancelled"),
    ({"status": "in_progress"}, "completed"),
    ({"status": "searching"}, "completed"),
    ({"status": None}, "completed"),
    ({"status": None, "error": "no"}, "failed"),
    ({"status": "calling", "error": {"type": "http_error", "code": 404, "message": "no"}}, "failed"),
    ({"status": None, "error": {}}, "completed"),
]


@pytest.mark.parametrize(("more", "status"), STATUSES)
def test_item_ends_as_it_says_or_else_by_its_error(more: JSON, status: str):
    one = item("mcp_call") | more
    folded = fold([CREATED, added(item("mcp_call")), done(one)])
    assert folded.statuses["mcp_call_1"] == ["in_progress", status]
    (call,) = folded.accumulator.steps["mcp_call_1"].tool_calls
    assert call.status == status


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        ("no", None, "no"),
        ({"code": 404, "message": "no"}, "404", "no"),
        ({"type": "mcp_protocol_error", "message": None}, "mcp_protocol_error", None),
    ],
)
def test_step_says_why_its_item_failed(error: object, code: str | None, message: str | None):
    folded = fold([CREATED, done(item("mcp_call", error=error, status=None))])
    last_error = folded.accumulator.steps["mcp_call_1"].last_error
    assert last_error
    assert (last_error.code or None, last_error.message or None) == (code, message)


@pytest.mark.parametrize(("status", "of_message"), [("failed", "incomplete"), ("incomplete", "incomplete")])
def test_message_that_did_not_complete_is_incomplete(status: str, of_message: str):
    folded = fold([CREATED, added(item()), done(item(status=status))])
    assert folded.statuses["message_1"][-1] == status
    assert folded.statuses["message_1*"][-1] == of_message


def test_approval_that_is_asked_for_ends_at_once():
    one = item("mcp_approval_request", status=None, name="ask", arguments="{}", server_label="wiki")
    folded = fold([CREATED, added(one), done(one)])
    assert folded.statuses["mcp_approval_request_1"] == ["in_progress", "completed"]
    assert folded.codes == []


OUTPUTS: list[tuple[str, JSON, str, Any]] = [
    ("function_call", {"output": "42"}, "function.output", "42"),
    ("function_call", {"output": [{"type": "input_text", "text": "42"}]}, "function.output", None),
    ("custom_tool_call", {"output": "42"}, "custom.output", "42"),
    ("mcp_call", {"output": "42"}, "output", "42"),
    ("apply_patch_call", {"output": "ok"}, "apply_patch.output", "ok"),
    ("computer_call", {"output": {"image_url": "u"}}, "computer", {"output": {"image_url": "u"}}),
    ("local_shell_call", {"output": "{}"}, "local_shell", {"output": "{}"}),
    ("tool_search_call", {"tools": [{"type": "function"}]}, "tool_search", {"tools": [{"type": "function"}]}),
    ("bing_grounding_call", {"output": "42"}, "bing_grounding", {"output": "42"}),
]


@pytest.mark.parametrize("is_open", [True, False], ids=["open", "ended"])
@pytest.mark.parametrize(("kind", "more", "path", "kept"), OUTPUTS, ids=lambda one: one if isinstance(one, str) else "")
def test_output_of_a_call_is_given_to_it(kind: str, more: JSON, path: str, kept: Any, is_open: bool):
    one = item(kind, call_id="call_7")
    output = {"type": f"{kind}_output", "id": "out_1", "call_id": "call_7", "status": "completed", **more}
    ends = [] if is_open else [done(ended(one))]
    folded = fold([CREATED, added(one, 0), *ends, added(output, 1), done(output, 1), done(output, 1)])
    found: Any = folded.accumulator.steps[one["id"]].tool_calls[0]
    for name in path.split("."):
        found = getattr(found, name)
    wanted = '[{"type":"input_text","text":"42"}]' if kept is None else kept
    assert found == wanted if not isinstance(wanted, dict) else wanted.items() <= found.items()
    late = [change.late for change in folded.kinds(StepProgress)]
    assert late == [not is_open]
    assert folded.accumulator.steps["out_1"].type == f"{kind}_output"
    assert folded.codes == []


def test_output_of_a_shell_call_is_what_its_commands_wrote():
    one = item("shell_call", action={"commands": ["ls"]})
    wrote = [{"stdout": "a", "stderr": "", "outcome": {"type": "exit", "exit_code": 0}}]
    output = {"type": "shell_call_output", "id": "o", "call_id": "call_1", "status": "completed", "output": wrote}
    folded = fold([CREATED, added(one), done(ended(one)), done(output, 1)])
    (call,) = folded.accumulator.steps["shell_call_1"].tool_calls
    assert [output.stdout for output in call.shell.outputs] == ["a"]


@pytest.mark.parametrize("call_id", ["call_9", "", None])
def test_output_of_no_call_that_is_known_is_a_step_alone(call_id: str | None):
    output = {"type": "function_call_output", "id": "o", "call_id": call_id, "output": "42", "status": "completed"}
    folded = fold([CREATED, done(ended(item("function_call"))), done(output, 1)])
    assert not folded.accumulator.steps["function_call_1"].tool_calls[0].function.output
    assert folded.codes == []


def test_output_that_says_nothing_changes_nothing():
    output = {"type": "function_call_output", "id": "o", "call_id": "call_1", "output": None, "status": "completed"}
    folded = fold([CREATED, done(ended(item("function_call"))), done(output, 1)])
    assert folded.kinds(StepProgress) == []


# What does not fit


def test_fields_of_another_type_are_left_out_and_named():
    one = item("function_call", name=5, arguments="{}", status="completed")
    folded = fold([CREATED, done(one)])
    (call,) = folded.accumulator.steps["function_call_1"].tool_calls
    assert (call.function.name, call.function.arguments) == ("5", "{}")
    odd = item("file_search_call", queries=5, results=[{"score": "high"}], status="completed")
    folded = fold([CREATED, added(item("file_search_call")), done(odd)])
    assert folded.codes == ["bad_field"] * 2
    calls = "step_details.tool_calls[0].file_search"
    assert [one.expected for one in folded.accumulator.anomalies] == [
        f"{calls}.queries as a list",
        f"{calls}.results[0].score as a number",
    ]
    assert folded.statuses["file_search_call_1"] == ["in_progress", "completed"]


@pytest.mark.parametrize(
    ("more", "names"),
    [
        ({"metadata": []}, "metadata"),
        ({"temperature": "hot", "top_p": "high"}, "temperature top_p"),
        ({"usage": {"input_tokens": "many", "output_tokens": 2}}, "usage.prompt_tokens"),
    ],
)
def test_response_with_fields_of_another_type_is_still_a_run(more: JSON, names: str):
    folded = fold([lifecycle("created", **more)])
    assert folded.statuses == {"resp_1": ["in_progress"]}
    assert [one.expected.partition(" ")[0] for one in folded.accumulator.anomalies] == names.split()


@pytest.mark.parametrize(
    "event",
    [
        {"type": "response.output_item.added", "output_index": 0},
        {"type": "response.output_item.done", "output_index": 0, "item": {"id": "x"}},
        {"type": "response.output_item.added", "output_index": 0, "item": "message"},
        {"type": "response.output_text.delta", "item_id": "x"},
        {"type": "response.output_text.delta", "item_id": "x", "delta": {"text": "a"}},
        {"type": "response.content_part.added", "item_id": "x"},
        {"type": "response.content_part.done", "item_id": "x", "part": 5},
        {"type": "response.completed"},
        {"type": "response.completed", "response": "resp_1"},
    ],
)
def test_event_without_what_it_is_about_is_an_anomaly(event: JSON):
    folded = fold([CREATED, event])
    assert folded.codes
    assert set(folded.codes) <= {"undecodable_event", "malformed_delta", "bad_field"}
    assert folded.statuses == {"resp_1": ["in_progress"]}


def test_numbers_of_another_type_are_left_out():
    one = item()
    event = {**added(one), "output_index": "0", "sequence_number": 1.5}
    folded = fold([CREATED, event, done(ended(one))])
    assert folded.statuses["message_1"] == ["in_progress", "completed"]
    assert folded.codes == ["bad_field"]
