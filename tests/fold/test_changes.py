import json
from typing import Any

import msgspec

from stepstream.fold.changes import NO_DELTA, Change, MessageProgress, StepProgress
from stepstream.fold.encoding import encode_change
from stepstream.wire.events import Event, decode_event
from stepstream.wire.sse import Frame
from tests.support.json_values import JSON, event, plain
from tests.support.server_events import (
    CODE,
    MESSAGE,
    RUN,
    STEP,
    asking,
    call,
    changes_of,
    created,
    delta,
    ended,
    fold,
    last_changes_of,
    message,
    message_delta,
    piece,
    run,
    text,
)
from tests.support.tables import each_row

THREAD = "thread_moss"
SAIL = delta(piece(0, id="call_a", name="sail", arguments="{"))

# The last change of a stream, and the line it is, its keys in the order in which they are written.
TWICE = "expected one created event for the step, got another"

ENCODED: dict[str, tuple[list[Event], JSON]] = {
    "step_transition": (
        [created(), ended()],
        {
            "change": "step_transition",
            "sequence": 2,
            "step_id": STEP,
            "run_id": RUN,
            "thread_id": THREAD,
            "type": "tool_calls",
            "previous": "in_progress",
            "status": "completed",
            "event": "thread.run.step.completed",
        },
    ),
    "first_step_transition": (
        [created()],
        {
            "change": "step_transition",
            "sequence": 1,
            "step_id": STEP,
            "run_id": RUN,
            "thread_id": THREAD,
            "type": "tool_calls",
            "previous": None,
            "status": "in_progress",
            "event": "thread.run.step.created",
        },
    ),
    "transition_of_a_bare_step": (
        [event("thread.run.step.created", {"id": STEP})],
        {
            "change": "step_transition",
            "sequence": 1,
            "step_id": STEP,
            "run_id": None,
            "thread_id": None,
            "type": None,
            "previous": None,
            "status": "in_progress",
            "event": "thread.run.step.created",
        },
    ),
    "step_progress": (
        [created(), SAIL],
        {
            "change": "step_progress",
            "sequence": 2,
            "step_id": STEP,
            "run_id": RUN,
            "late": False,
            "delta": json.loads(SAIL.payload)["delta"],
        },
    ),
    "late_step_progress": (
        [ended(call("call_a", CODE)), delta(piece(0, CODE, input="1"))],
        {
            "change": "step_progress",
            "sequence": 2,
            "step_id": STEP,
            "run_id": RUN,
            "late": True,
            "delta": json.loads(delta(piece(0, CODE, input="1")).payload)["delta"],
        },
    ),
    "step_progress_of_a_full_object": (
        [ended(usage=None), ended(usage={"total_tokens": 3})],
        {
            "change": "step_progress",
            "sequence": 2,
            "step_id": STEP,
            "run_id": RUN,
            "late": True,
            "delta": None,
        },
    ),
    "tool_call_started": (
        [created(call("call_a", name="sail"))],
        {
            "change": "tool_call_started",
            "sequence": 1,
            "step_id": STEP,
            "run_id": RUN,
            "index": 0,
            "id": "call_a",
            "type": "function",
            "name": "sail",
        },
    ),
    "tool_call_finished": (
        [created(), delta(piece(4, CODE, id="call_a")), ended(call("call_a", CODE))],
        {
            "change": "tool_call_finished",
            "sequence": 3,
            "step_id": STEP,
            "run_id": RUN,
            "index": 4,
            "id": "call_a",
            "type": CODE,
            "name": None,
        },
    ),
    "run_transition": (
        [run("queued", as_="created"), run("in_progress")],
        {
            "change": "run_transition",
            "sequence": 2,
            "run_id": RUN,
            "thread_id": THREAD,
            "previous": "queued",
            "status": "in_progress",
            "event": "thread.run.in_progress",
        },
    ),
    "message_transition": (
        [message(), message("completed", as_="completed")],
        {
            "change": "message_transition",
            "sequence": 2,
            "message_id": MESSAGE,
            "run_id": RUN,
            "previous": "in_progress",
            "status": "completed",
            "event": "thread.message.completed",
        },
    ),
    "message_progress": (
        [message(), message_delta(text("fog", 0))],
        {
            "change": "message_progress",
            "sequence": 2,
            "message_id": MESSAGE,
            "run_id": RUN,
            "delta": {"content": [text("fog", 0)]},
        },
    ),
    "anomaly": (
        [created(), created()],
        {
            "change": "anomaly",
            "sequence": 2,
            "code": "duplicate_created",
            "event": "thread.run.step.created",
            "id": STEP,
            "text": TWICE,
            "expected": "one created event for the step",
            "got": "another",
        },
    ),
}


def made(events: list[Event], kind: str) -> Change:
    """Return the change of a kind that the last of `events` made."""
    (change,) = [one for one in last_changes_of(*events) if json.loads(encode_change(one))["change"] == kind]
    return change


each = each_row(("events", "line"), ENCODED.values(), ids=ENCODED)


@each
def test_change_is_encoded_with_its_columns(events: list[Event], line: JSON) -> None:
    encoded = json.loads(encode_change(made(events, line["change"])))
    assert {key: encoded[key] for key in line} == line


@each
def test_keys_come_in_the_order_of_the_design(events: list[Event], line: JSON) -> None:
    assert list(json.loads(encode_change(made(events, line["change"]))))[: len(line)] == list(line)


@each
def test_change_has_its_columns_as_attributes(events: list[Event], line: JSON) -> None:
    change = made(events, line["change"])
    columns = {key: value for key, value in line.items() if key not in ("change", "delta")}
    assert {key: getattr(change, key) for key in columns} == columns


@each
def test_change_has_the_event_that_caused_it(events: list[Event], line: JSON) -> None:
    change = made(events, line["change"])
    assert (change.event, change.sequence) == (events[-1].name, len(events))


@each
def test_encoded_change_is_one_line(events: list[Event], line: JSON) -> None:
    assert len(encode_change(made(events, line["change"])).splitlines()) == 1


@each
def test_change_carries_the_context(events: list[Event], line: JSON) -> None:
    context = object()
    assert all(change.context is context for change in changes_of(*events, context=context))


def test_context_is_none_unless_given() -> None:
    assert changes_of(created())[0].context is None


# The delta, as sent


def progress_of(frame: Frame) -> Change:
    first = message() if "message" in frame.event else created()
    return fold(first).apply(decode_event(frame))[-1]


def raw(body: str) -> Frame:
    return Frame("thread.run.step.delta", f'{{"id": "{STEP}", "delta": {body}}}'.encode())


AS_SENT = {
    "unknown_keys": '{"mood":"calm","step_details":{"x":1,"tool_calls":[{"index":0,"type":"function","x":[1,{}]}]}}',
    "numbers": '{"step_details":{"tool_calls":[{"index":0,"type":"rod","a":1.0,"b":1e2,"c":123456789012345678901}]}}',
    "spaces": '{ "step_details" : {"tool_calls": [ {"index": 0, "id": "call_a"} ] } }',
    "escapes": '{"step_details":{"tool_calls":[{"index":0,"function":{"arguments":"\\u00e5\\n\\/"}}]}}',
    "order_of_keys": '{"step_details":{"tool_calls":[{"function":{"output":"o","name":"n"},"index":0,"id":"c"}]}}',
}


@each_row("body", AS_SENT.values(), ids=AS_SENT)
def test_delta_is_encoded_byte_for_byte_as_sent(body: str) -> None:
    assert b',"delta":' + body.encode() + b',"thread_id"' in encode_change(progress_of(raw(body)))


@each_row("end", ["\n", "\r\n", "\r"])
def test_line_ends_between_the_tokens_of_a_delta_become_spaces(end: str) -> None:
    body = '{\n"step_details":\n{"tool_calls": [{"index": 0, "function": {"arguments": "a\\nb"}}]}\n}'
    line = encode_change(progress_of(raw(body.replace("\n", end))))
    assert (len(line.splitlines()), json.loads(line)["delta"]) == (1, json.loads(body))


def test_delta_of_an_event_made_by_hand_is_encoded() -> None:
    made = Event("thread.run.step.delta", SAIL.data)
    assert json.loads(encode_change(last_changes_of(created(), made)[-1]))["delta"] == json.loads(SAIL.payload)["delta"]


def test_delta_of_a_twice_encoded_event_is_encoded_as_the_object_in_it() -> None:
    once = {"id": MESSAGE, "delta": {"content": [text("fog", 0)]}}
    twice = Frame("thread.message.delta", json.dumps(json.dumps(once)).encode())
    assert json.loads(encode_change(progress_of(twice)))["delta"] == once["delta"]


def test_delta_of_a_twice_encoded_event_keeps_its_unknown_keys() -> None:
    once = {"id": MESSAGE, "delta": {"content": [{**text("fog", 0), "mood": "calm"}], "x": 1}}
    twice = Frame("thread.message.delta", json.dumps(json.dumps(once)).encode())
    assert json.loads(encode_change(progress_of(twice)))["delta"] == once["delta"]


def test_progress_carries_the_delta_that_came() -> None:
    assert last_changes_of(created(), SAIL)[-1].delta == SAIL.data.delta


# What else changes tell


@each_row(
    ("fields", "expected"),
    [
        ({"type": "dream"}, "dream"),
        ({"step_details": {"type": "message_creation"}}, "message_creation"),
        ({"type": None, "step_details": {"type": "dream"}}, "dream"),
        ({"step_details": None}, None),
        ({}, None),
    ],
)
def test_type_of_a_step_is_its_own_or_that_of_its_details(fields: JSON, expected: str | None) -> None:
    (change,) = changes_of(event("thread.run.step.created", {"id": STEP, **fields}))
    assert (change.type, change.step_type) == (expected, expected)


@each_row(
    "change",
    [
        last_changes_of(created())[0],
        last_changes_of(created(), SAIL)[0],
        last_changes_of(created(), SAIL)[1],
        last_changes_of(created(), SAIL, asking({"id": "call_a"}))[0],
        last_changes_of(run("queued"))[0],
        last_changes_of(message())[0],
        last_changes_of(message(), message_delta(text("a", 0)))[0],
    ],
    ids=lambda change: type(change).__name__,
)
def test_change_tells_its_run_and_thread(change: Any) -> None:
    assert (change.run_id, change.thread_id) == (RUN, THREAD)


@each_row("value", [{"run_id": None, "thread_id": None}, {}], ids=["null", "absent"])
@each_row(
    "make",
    [
        lambda value: [event("thread.run.step.created", {"id": STEP, **value})],
        lambda value: [event("thread.run.step.created", {"id": STEP, **value}), delta(piece(0, arguments="{"))],
        lambda value: [event("thread.run.step.created", {"id": STEP, **value}), delta(piece(0, CODE, id="call_a"))],
        lambda value: [event("thread.message.created", {"id": MESSAGE, **value})],
        lambda value: [event("thread.message.created", {"id": MESSAGE, **value}), message_delta(text("a", 0))],
    ],
    ids=["step", "progress", "call", "message", "message_progress"],
)
def test_run_and_thread_that_are_not_known_are_none(make: Any, value: JSON) -> None:
    change = last_changes_of(*make(value))[0]
    assert (change.run_id, change.thread_id) == (None, None)


def test_thread_of_a_run_that_is_not_known_is_none() -> None:
    assert changes_of(event("thread.run.queued", {"id": RUN}))[0].thread_id is None


HUSH = "hush-7c1e"


@each_row(
    ("events", "shown"),
    [
        ([created(metadata={HUSH: HUSH})], ["<StepTransition step_larch None → in_progress>"]),
        (
            [created(), delta(piece(0, id="call_a", name="sail", arguments=HUSH))],
            ["<ToolCallStarted call_a function sail>", "<StepProgress step_larch>"],
        ),
        (
            [ended(call("call_a", name="sail", output=None)), delta(piece(0, output=HUSH))],
            ["<StepProgress step_larch late>"],
        ),
        (
            [created(call("call_a", CODE, input=HUSH)), ended(call("call_a", CODE, input=HUSH))],
            ["<ToolCallFinished call_a code_interpreter None>", "<StepTransition step_larch in_progress → completed>"],
        ),
        ([run("queued", instructions=HUSH)], ["<RunTransition run_fjord None → queued>"]),
        ([message("in_progress", text(HUSH))], ["<MessageTransition msg_heron None → in_progress>"]),
        ([message(), message_delta(text(HUSH, 0))], ["<MessageProgress msg_heron>"]),
        (
            [message("completed", {"type": "refusal"}), message_delta({"index": 0, "refusal": HUSH})],
            ["<MessageProgress msg_heron late>"],
        ),
        (
            [created(), created(metadata={HUSH: HUSH})],
            [f"<Anomaly duplicate_created thread.run.step.created step_larch: {TWICE}>"],
        ),
    ],
)
def test_repr_tells_state_but_no_content(events: list[Event], shown: list[str]) -> None:
    assert [repr(change) for change in last_changes_of(*events)] == shown


# Progress that holds the bytes of its event


@each_row(
    ("kind", "sent", "table"),
    [
        (StepProgress, {"id": STEP, "delta": {"step_details": {"type": "tool_calls", "tool_calls": []}}}, "steps"),
        (MessageProgress, {"id": MESSAGE, "delta": {"content": []}}, "messages"),
    ],
)
def test_delta_is_decoded_from_where_the_data_begins(kind: Any, sent: JSON, table: str) -> None:
    known = getattr(fold(created(), message()).state, table)
    raw = b"event: x\ndata: " + msgspec.json.encode(sent)
    progress = kind("x", 1, None, "", None, False, known[sent["id"]], raw, len(b"event: x\ndata: "))
    assert plain(progress.delta) == sent["delta"]
    assert json.loads(encode_change(progress))["delta"] == sent["delta"]


def test_progress_of_a_full_object_has_no_delta() -> None:
    known = fold(created()).state.steps[STEP]
    assert StepProgress("x", 1, None, "", None, False, known, b"", NO_DELTA).delta is None
