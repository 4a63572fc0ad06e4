from stepstream.conformance.checker import Checker
from stepstream.wire.sse import FrameDecoder
from tests.support.conforming_streams import (
    ANSWER,
    CALLING,
    CONTINUED,
    DONE,
    Edit,
    Sent,
    calls,
    check,
    code,
    insert,
    message,
    put,
    put_all,
    remove,
    run,
    step,
    step_delta,
    usage,
    with_edits,
)
from tests.support.places import STREAMS
from tests.support.tables import each_row

ERROR = {"message": "The wheel broke.", "type": "server_error", "param": None, "code": "broken"}
SONAR = {"id": "call_1", "type": "sonar", "sonar": {"beam": 3}}
MCP = {"id": "call_1", "type": "mcp", "arguments": "{}", "name": "grind", "server_label": "mill", "output": "flour"}
LISTING = {"type": "activities", "activities": [{"id": "act_1", "type": "mcp_list_tools", "tools": {}}]}
APPROVAL = {"type": "submit_tool_approval", "submit_tool_approval": {"tool_calls": [{"id": "call_9", "type": "mcp"}]}}
FAILED = {"code": "server_error", "message": "The wheel broke."}

CLEAN: list[tuple[str, list[Sent], list[Edit]]] = [
    ("answer", ANSWER, []),
    ("function calls", CALLING, []),
    ("continuation", CONTINUED, []),
    ("two streams in one", CALLING[:-1] + CONTINUED, []),
    ("error without done", ANSWER, [remove(*range(12, 22)), insert(12, Sent("error", ERROR))]),
    ("error with done", ANSWER, [remove(*range(12, 21)), insert(12, Sent("error", {"error": ERROR}))]),
    ("error with a number as its code", ANSWER, [insert(12, Sent("error", ERROR | {"code": 500}))]),
    ("no in_progress of steps and messages", ANSWER, [remove(6, 13, 15)]),
    ("unknown keys", ANSWER, [put(4, "billing", {"cents": 3}), put(8, "event_id", "evt_1")]),
    ("no parallel_tool_calls, or one", ANSWER, [put(4, "parallel_tool_calls", True)]),
    ("instructions", ANSWER, [put_all("instructions", "Grind.", 2, 3, 4, 20)]),
    ("response format as an object", ANSWER, [put(2, "response_format", {"type": "text"})]),
    ("usage null at the end", ANSWER, [put(20, "usage", None), put(11, "usage", None)]),
    ("expires_at that changes", ANSWER, [put(11, "expires_at", 1700), put(20, "expires_at", None)]),
    ("delta without details", ANSWER, [insert(9, Sent("thread.run.step.delta", {**ANSWER[8].data, "delta": {}}))]),
    (
        "delta with null details",
        ANSWER,
        [insert(9, Sent("thread.run.step.delta", {**ANSWER[8].data, "delta": {"step_details": None}}))],
    ),
    ("unknown tool", ANSWER, [remove(7, 8, 9, 10), put(7, "step_details", calls(SONAR))]),
    (
        "deltas of an unknown tool",
        ANSWER,
        [
            remove(8, 9, 10),
            put(7, "delta.step_details.tool_calls.0", {"index": 0, **SONAR}),
            put(8, "step_details", calls(SONAR)),
        ],
    ),
    (
        "lists inside of an unknown tool",
        ANSWER,
        [
            remove(8, 9, 10),
            put(
                7,
                "delta.step_details.tool_calls.0",
                {"index": 0, **SONAR, "code_interpreter": {"outputs": [{"echo": "mud"}]}},
            ),
            put(8, "step_details", calls({**SONAR, "outputs": ["mud"]})),
        ],
    ),
    ("mcp", ANSWER, [remove(7, 8, 9, 10), put(7, "step_details", calls(MCP))]),
    ("output only at the end", ANSWER, [remove(10)]),
    (
        "code that the end leaves null",
        ANSWER,
        [put(11, "step_details.tool_calls.0.code_interpreter", {"input": "print(1)", "outputs": []}), remove(10)],
    ),
    (
        "calls whose order the end changes",
        ANSWER,
        [
            insert(11, step_delta({"index": 1, "id": "call_2", **code("")})),
            put(12, "step_details", calls(code("", id="call_2"), ANSWER[10].data["step_details"]["tool_calls"][0])),
        ],
    ),
    (
        "activities",
        ANSWER,
        [remove(*range(6, 11)), put_all("step_details", LISTING, 5, 6), put_all("type", "activities", 5, 6)],
    ),
    ("approval", CALLING, [put(10, "required_action", APPROVAL)]),
    ("action of a kind unheard of", CALLING, [put(10, "required_action", {"type": "submit_thoughts"})]),
    (
        "action of a run that began elsewhere",
        CALLING,
        [remove(1), put(9, "required_action.submit_tool_outputs.tool_calls.0.id", "call_9")],
    ),
    (
        "run that fails",
        ANSWER,
        [remove(*range(5, 20)), insert(5, run("failed", failed_at=1005, last_error=FAILED)), remove(6)],
    ),
    (
        "run that is cancelled",
        ANSWER,
        [remove(*range(5, 21)), insert(5, run("cancelling", cancelled_at=1004), run("cancelled", cancelled_at=1005))],
    ),
    ("run that expires", ANSWER, [remove(*range(5, 21)), insert(5, run("expired"))]),
    (
        "step that is cancelled in the middle of a text",
        ANSWER,
        [remove(11), insert(11, step("cancelled", 1, calls(), cancelled_at=1009))],
    ),
    (
        "incomplete",
        ANSWER,
        [
            remove(18, 20),
            insert(
                18, message("incomplete", "One turn.", incomplete_at=1012, incomplete_details={"reason": "max_tokens"})
            ),
            remove(20),
            insert(20, run("incomplete", incomplete_details={"reason": "max_completion_tokens"}, usage=usage()), DONE),
        ],
    ),
    ("run without a status that says queued", ANSWER, [put(2, "status", "in_progress"), remove(3, 4)]),
]


def test_stream_by_the_protocol_has_no_deviations():
    found = {name: check(with_edits(events, *edits)) for name, events, edits in CLEAN}
    assert found == {name: [] for name, *_ in CLEAN}
    assert len(found) == len(CLEAN)


CODES = {
    "archive": {"delta_before_created", "missing_field", "step_left_open", "unknown_event"},
    "crossing": {"fractional_timestamp", "missing_field"},
    "ferry": {"missing_field"},
    "ferry-answer": {"missing_field"},
    "lagoon": {
        "delta_before_created", "double_encoded", "message_left_open", "missing_done", "missing_field", "unknown_event"
    },
    "storm": {"missing_field"},
    "sums": {"id_changed", "missing_field"},
    "tides": {"missing_field"},
}  # fmt: skip
"""What our own streams deviate in. All leave out fields, as compatible servers do; some are storms."""


@each_row("name", sorted(CODES))
def test_own_streams_deviate_only_where_they_mean_to(name: str):
    checker, decoder = Checker(), FrameDecoder()
    found = [one for frame in decoder.feed((STREAMS / f"{name}.sse").read_bytes()) for one in checker.feed(frame)]
    found += checker.finish(decoder.pending())
    assert {one.code for one in found} == CODES[name]
