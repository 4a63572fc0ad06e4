import json

import pytest
from conforming import (
    ANSWER,
    CALLING,
    CONTINUED,
    DONE,
    WRITES,
    Edit,
    Sent,
    calls,
    check,
    code,
    copy,
    drop,
    insert,
    message_delta,
    put,
    put_all,
    remove,
    rename,
    replace,
    step,
    step_delta,
    with_edits,
)

from stepstream.conformance.deviation import CODES

ERROR = Sent("error", {"message": "The wheel broke.", "type": "server_error", "param": None, "code": "broken"})
DEEP = b'{"id": "step_1", "deep": ' + b"[" * 100 + b"]" * 100 + b"}"

PLANTED: list[tuple[str, list[Sent], list[Edit], list[tuple[str, int]]]] = [
    # fields of one object
    ("run without model", ANSWER, [drop(4, "model")], [("missing_field", 4)]),
    ("step without expires_at", ANSWER, [drop(5, "expires_at")], [("missing_field", 5)]),
    ("step without id", ANSWER, [drop(6, "id")], [("missing_field", 6)]),
    ("terminal step without id", ANSWER, [drop(11, "id")], [("missing_field", 11)]),
    ("terminal run without id", ANSWER, [drop(20, "id")], [("missing_field", 20)]),
    ("run without status", ANSWER, [drop(4, "status")], [("missing_field", 4)]),
    ("terminal step without completed_at", ANSWER, [drop(11, "completed_at")], [("missing_field", 11)]),
    (
        "call without type of a terminal step",
        ANSWER,
        [drop(11, "step_details.tool_calls.0.type")],
        [("missing_field", 11)],
    ),
    (
        "function without output",
        CONTINUED,
        [drop(1, "step_details.tool_calls.0.function.output")],
        [("missing_field", 1)],
    ),
    ("delta without object", ANSWER, [drop(8, "object")], [("missing_field", 8)]),
    ("delta entry without type", ANSWER, [drop(8, "delta.step_details.tool_calls.0.type")], [("missing_field", 8)]),
    ("content without annotations", ANSWER, [drop(18, "content.0.text.annotations")], [("missing_field", 18)]),
    ("usage without total", ANSWER, [drop(20, "usage.total_tokens")], [("missing_field", 20)]),
    ("thread without metadata", ANSWER, [drop(1, "metadata")], [("missing_field", 1)]),
    ("null id", ANSWER, [put(14, "id", None)], [("null_field", 14)]),
    ("null model", ANSWER, [put(3, "model", None)], [("null_field", 3)]),
    ("null step_details", ANSWER, [put(6, "step_details", None)], [("null_field", 6)]),
    (
        "null delta",
        ANSWER,
        [put(9, "delta", None), put(11, "step_details.tool_calls.0.code_interpreter.input", "print(")],
        [("null_field", 9)],
    ),
    ("created_at as a text", ANSWER, [put(5, "created_at", "1002")], [("wrong_type", 5)]),
    ("created_at as a boolean", ANSWER, [put(5, "created_at", True)], [("wrong_type", 5)]),
    ("completed_at of the end as a text", ANSWER, [put(11, "completed_at", "1009")], [("wrong_type", 11)]),
    ("status as a number", ANSWER, [put(6, "status", 7)], [("wrong_type", 6)]),
    ("id as a number", ANSWER, [put(12, "id", 7)], [("wrong_type", 12)]),
    ("tool_calls as an object", ANSWER, [put(5, "step_details.tool_calls", {})], [("wrong_type", 5)]),
    ("entry of tools as a text", ANSWER, [put(3, "tools", ["code_interpreter"])], [("wrong_type", 3)]),
    ("entry of content as a text", ANSWER, [put(14, "content", ["One"])], [("wrong_type", 14)]),
    (
        "arguments of a call as an object",
        CONTINUED,
        [put(1, "step_details.tool_calls.0.function.arguments", {"sacks": 3})],
        [("wrong_type", 1)],
    ),
    ("value of metadata as a number", ANSWER, [put(2, "metadata", {"sacks": 3})], [("wrong_type", 2)]),
    ("required_action as a list", CALLING, [put(10, "required_action", [])], [("wrong_type", 10)]),
    ("expires_at as a fraction", ANSWER, [put(4, "expires_at", 1600.5)], [("fractional_timestamp", 4)]),
    ("wrong constant of a run", ANSWER, [put(3, "object", "run")], [("wrong_object", 3)]),
    ("wrong constant of a delta", ANSWER, [put(8, "object", "thread.run.step")], [("wrong_object", 8)]),
    (
        "17 pairs of metadata",
        ANSWER,
        [put(2, "metadata", {str(number): "" for number in range(17)})],
        [("over_limit", 2)],
    ),
    ("long key of metadata", ANSWER, [put(14, "metadata", {"k" * 65: ""})], [("over_limit", 14)]),
    ("long value of metadata", ANSWER, [put(1, "metadata", {"k": "v" * 513})], [("over_limit", 1)]),
    ("129 tools", ANSWER, [put(2, "tools", [{"type": "function"}] * 129)], [("over_limit", 2)]),
    ("total that is no sum", ANSWER, [put(20, "usage.total_tokens", 41)], [("wrong_total", 20)]),
    (
        "details of another type",
        ANSWER,
        [
            put(11, "type", "message_creation"),
            put_all("type", "message_creation", 5, 6),
            put_all("step_details", dict(WRITES), 5, 6),
            remove(7, 8, 9, 10),
        ],
        [("details_mismatch", 7)],
    ),
    (
        "details of another type at first",
        ANSWER,
        [put_all("type", "message_creation", 5)],
        [("details_mismatch", 5), ("id_changed", 6), ("id_changed", 11)],
    ),
    ("end before the beginning", ANSWER, [put(11, "completed_at", 900)], [("time_backwards", 11)]),
    ("start after the end", ANSWER, [put(20, "started_at", 1030)], [("time_backwards", 20)]),
    ("start set back", ANSWER, [put(20, "started_at", 1000)], [("time_backwards", 20)]),
    # what a status asks for
    (
        "usage of an open step",
        ANSWER,
        [put(6, "usage", {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2})],
        [("usage_while_open", 6)],
    ),
    ("end of an open message", ANSWER, [put(15, "completed_at", 1011)], [("timestamp_while_open", 15)]),
    ("completed run without its end", ANSWER, [put(20, "completed_at", None)], [("missing_timestamp", 20)]),
    (
        "failed step without a reason",
        ANSWER,
        [
            put(11, "status", "failed"),
            put(11, "completed_at", None),
            put(11, "failed_at", 1009),
            rename(11, "thread.run.step.failed"),
        ],
        [("missing_reason", 11)],
    ),
    (
        "incomplete message without a reason",
        ANSWER,
        [
            put(18, "status", "incomplete"),
            put(18, "completed_at", None),
            put(18, "incomplete_at", 1012),
            rename(18, "thread.message.incomplete"),
        ],
        [("missing_reason", 18)],
    ),
    (
        "requires_action without an action",
        CALLING,
        [put(10, "required_action", None)],
        [("missing_required_action", 10)],
    ),
    (
        "action of a completed run",
        CONTINUED,
        [put(12, "required_action", {"type": "unheard_of"})],
        [("stale_required_action", 12)],
    ),
    (
        "action that names an unknown call",
        CALLING,
        [put(10, "required_action.submit_tool_outputs.tool_calls.1.id", "call_9")],
        [("unknown_required_call", 10)],
    ),
    (
        "action with other arguments",
        CALLING,
        [put(10, "required_action.submit_tool_outputs.tool_calls.0.function.arguments", "{}")],
        [("text_mismatch", 10)],
    ),
    ("unknown status of a run", ANSWER, [put(4, "status", "running")], [("unknown_status", 4)]),
    ("unknown status of a step", ANSWER, [put(6, "status", "working")], [("unknown_status", 6)]),
    ("run whose name says completed", ANSWER, [put(20, "status", "in_progress")], [("status_mismatch", 20)]),
    ("step whose name says completed", ANSWER, [put(11, "status", "in_progress")], [("status_mismatch", 11)]),
    (
        "message whose name says in_progress",
        ANSWER,
        [put(15, "status", "completed"), remove(16, 17, 18)],
        [("status_mismatch", 15)],
    ),
    # what may follow what
    ("queued to completed", ANSWER, [remove(4)], [("illegal_transition", 19)]),
    ("in_progress to queued", ANSWER, [copy(3, 12), put(12, "started_at", 1001)], [("illegal_transition", 12)]),
    ("step without created", ANSWER, [remove(5)], [("missing_created", 5)]),
    ("message without created", ANSWER, [remove(14)], [("missing_created", 14)]),
    ("step created twice", ANSWER, [copy(5, 6)], [("duplicate_created", 6)]),
    ("run created twice", ANSWER, [copy(2, 3)], [("duplicate_created", 3)]),
    ("step completed twice", ANSWER, [copy(11, 12)], [("duplicate_terminal", 12)]),
    ("run completed twice", ANSWER, [copy(20, 21)], [("duplicate_terminal", 21)]),
    (
        "run completed twice in other words",
        ANSWER,
        [copy(20, 21), put(21, "model", "model-wind")],
        [("duplicate_terminal", 21)],
    ),
    (
        "step completed twice, then with more",
        ANSWER,
        [copy(11, 12), put(11, "usage", None)],
        [("duplicate_terminal", 12)],
    ),
    (
        "step completed, then failed",
        ANSWER,
        [insert(12, step("failed", 1, calls(), failed_at=1010, last_error={"code": "server_error", "message": ""}))],
        [("conflicting_terminal", 12)],
    ),
    ("step in progress after its end", ANSWER, [copy(6, 12)], [("status_regression", 12)]),
    ("delta before its step", ANSWER, [copy(7, 5), remove(8)], [("delta_before_created", 5)]),
    (
        "delta of a step that never comes",
        ANSWER,
        [insert(6, step_delta({"index": 0, "type": "function"}, 9))],
        [("delta_before_created", 6)],
    ),
    ("delta after the end", ANSWER, [copy(9, 12)], [("delta_after_terminal", 12)]),
    ("step after its run", ANSWER, [insert(21, step("created", 3, WRITES))], [("event_after_run", 21)]),
    ("step left open", ANSWER, [remove(11)], [("step_left_open", 19)]),
    ("message left open", ANSWER, [remove(18)], [("message_left_open", 19)]),
    ("open step that ends late", ANSWER, [copy(19, 21), remove(19)], [("step_left_open", 19)]),
    ("done in the middle of a run", ANSWER, [remove(20)], [("run_left_open", 20)]),
    ("event after done", ANSWER, [copy(20, 22)], [("event_after_done", 22)]),
    ("two events after done", ANSWER, [insert(22, DONE, DONE)], [("event_after_done", 22)]),
    ("nothing but done", [DONE], [], [("empty_stream", 1)]),
    ("done twice", ANSWER, [insert(22, DONE)], [("event_after_done", 22)]),
    ("done with JSON", ANSWER, [replace(21, {})], [("bad_done", 21)]),
    ("no done", ANSWER, [remove(21)], [("missing_done", 20)]),
    ("cut", ANSWER, [remove(*range(9, 22))], [("missing_done", 8)]),
    ("nothing at all", [], [], [("missing_done", 0)]),
    # what may not change
    ("run_id changed", ANSWER, [put(11, "run_id", "run_wind")], [("id_changed", 11)]),
    ("created_at changed", ANSWER, [put(18, "created_at", 1011)], [("id_changed", 18)]),
    ("assistant of a run changed", ANSWER, [put(4, "assistant_id", "asst_wind")], [("id_changed", 4)]),
    (
        "thread other than the run's",
        ANSWER,
        [put_all("thread_id", "thread_wind", 14, 15, 18)],
        [("parent_mismatch", 14)],
    ),
    (
        "name of a call changed",
        CALLING,
        [
            put(7, "delta.step_details.tool_calls.0.function.name", "mill"),
            drop(10, "required_action.submit_tool_outputs.tool_calls.0"),
        ],
        [("id_conflict", 7)],
    ),
    ("id of a call changed", CALLING, [put(8, "delta.step_details.tool_calls.0.id", "call_9")], [("id_conflict", 8)]),
    (
        "type of a call changed",
        CALLING,
        [replace(8, step_delta({"index": 0, **code("")}).data)],
        [("type_conflict", 8)],
    ),
    # indexes and texts
    ("index skipped among calls", CALLING, [put(9, "delta.step_details.tool_calls.0.index", 2)], [("index_gap", 9)]),
    (
        "calls counted from 1",
        ANSWER,
        [put_all("delta.step_details.tool_calls.0.index", 1, 7, 8, 9, 10)],
        [("index_gap", 7)],
    ),
    (
        "index skipped among outputs",
        ANSWER,
        [put(10, "delta.step_details.tool_calls.0.code_interpreter.outputs.0.index", 4)],
        [("index_gap", 10)],
    ),
    ("content counted from 1", ANSWER, [put_all("delta.content.0.index", 1, 16, 17)], [("index_gap", 16)]),
    ("no index", ANSWER, [drop(9, "delta.step_details.tool_calls.0.index")], [("bad_index", 9)]),
    ("index as a text", ANSWER, [put(9, "delta.step_details.tool_calls.0.index", "0")], [("bad_index", 9)]),
    (
        "piece of input as a number",
        ANSWER,
        [put(8, "delta.step_details.tool_calls.0.code_interpreter.input", 1)],
        [("malformed_delta", 8)],
    ),
    ("delta as a list", ANSWER, [put(8, "delta", [])], [("malformed_delta", 8)]),
    (
        "input other than its deltas",
        ANSWER,
        [put(11, "step_details.tool_calls.0.code_interpreter.input", "print(2)")],
        [("text_mismatch", 11)],
    ),
    (
        "logs other than their deltas",
        ANSWER,
        [put(11, "step_details.tool_calls.0.code_interpreter.outputs.0.logs", "1")],
        [("text_mismatch", 11)],
    ),
    ("text other than its deltas", ANSWER, [put(18, "content.0.text.value", "One turn")], [("text_mismatch", 18)]),
    ("call lost", ANSWER, [put(11, "step_details.tool_calls", [])], [("entry_missing", 11)]),
    ("call with another id", ANSWER, [put(11, "step_details.tool_calls.0.id", "call_9")], [("entry_missing", 11)]),
    ("content lost", ANSWER, [put(18, "content", [])], [("entry_missing", 18)]),
    # data and events
    ("data that is no JSON", ANSWER, [replace(6, b"{")], [("undecodable_event", 6)]),
    ("data of an end that is no JSON", ANSWER, [replace(11, b"{")], [("undecodable_event", 11)]),
    ("data of the run's end that is a list", ANSWER, [replace(20, [])], [("undecodable_event", 20)]),
    ("data of a created event that is no JSON", ANSWER, [replace(5, b"")], [("undecodable_event", 5)]),
    ("data of a delta that is no JSON", ANSWER, [replace(9, b"?")], [("undecodable_event", 9)]),
    ("data of a delta that is a text", ANSWER, [replace(9, "print")], [("malformed_delta", 9)]),
    ("deep data", ANSWER, [replace(6, DEEP)], [("too_deep", 6)]),
    (
        "field that only the fold reads",
        ANSWER,
        [put(5, "step_details.tool_calls", [{"id": "call_1", "type": "mcp", "output": 5}])],
        [("undecodable_event", 5)],
    ),
    (
        "data encoded twice",
        ANSWER,
        [
            replace(
                17,
                json.dumps(message_delta(" turn.").data),
            )
        ],
        [("double_encoded", 17)],
    ),
    ("keepalive", ANSWER, [insert(9, Sent("keepalive", {}))], [("unknown_event", 9)]),
    ("no event name", ANSWER, [insert(9, Sent("message", b"hello"))], [("unknown_event", 9)]),
    ("misspelt end of a step", ANSWER, [rename(11, "thread.run.step.done")], [("unknown_event", 11)]),
    ("misspelt beginning of a step", ANSWER, [rename(5, "thread.run.step.create")], [("unknown_event", 5)]),
    ("misspelt end of a run", ANSWER, [rename(20, "thread.run.complete")], [("unknown_event", 20)]),
    ("old name of a delta", ANSWER, [rename(17, "thread.message.chunk")], [("unknown_event", 17)]),
    (
        "error without a message",
        ANSWER,
        [insert(12, Sent("error", {"error": {"code": "broken"}}))],
        [("missing_field", 12)],
    ),
    ("error that is no object", ANSWER, [insert(12, Sent("error", b"broken"))], [("undecodable_event", 12)]),
]


@pytest.mark.parametrize(
    ("events", "edits", "expected"),
    [pytest.param(events, edits, expected, id=name) for name, events, edits, expected in PLANTED],
)
def test_one_fault_is_one_deviation(events: list[Sent], edits: list[Edit], expected: list[tuple[str, int]]):
    found = check(with_edits(events, *edits))
    assert [(one.code, one.sequence) for one in found] == expected


ELSEWHERE = {"frame_too_large", "orphan_overflow"}
"""Codes that need a longer stream than fits a table."""


def test_every_code_is_planted():
    assert {code for *_, expected in PLANTED for code, _ in expected} | ELSEWHERE == set(CODES)


def test_codes_are_sorted():
    assert list(CODES) == sorted(CODES)
