import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from msgspec import UNSET

from stepstream.wire.base import Unknown, WireObject
from stepstream.wire.deltas import RunStepDelta
from stepstream.wire.events import Event, decode_event, read_again
from stepstream.wire.messages import Message
from stepstream.wire.objects import RequiredAction, Run, RunStep, Thread
from stepstream.wire.sse import Frame
from stepstream.wire.tool_calls import ToolCall
from tests.support.json_values import JSON, event
from tests.support.tables import each_row
from tests.support.wire_samples import CALLS, CREATED, DELTA, OBJECTS, calls_delta, canonical, encoded, tool_step

# What encodes back to what came


def offenders(keeps: Callable[[str, JSON], bool]) -> list[str]:
    """Return the objects of which something does not hold."""
    return [case for case, (name, data) in OBJECTS.items() if not keeps(name, data)]


def test_object_encodes_back_to_what_came() -> None:
    assert offenders(lambda name, data: encoded(event(name, data).data) == canonical(data)) == []


def test_twice_encoded_object_is_the_object() -> None:
    assert offenders(lambda name, data: event(name, json.dumps(data)).data == event(name, data).data) == []


def test_equal_json_gives_equal_objects() -> None:
    assert offenders(lambda name, data: event(name, data) == event(name, json.loads(json.dumps(data)))) == []


def test_object_read_again_is_the_same() -> None:
    assert offenders(lambda name, data: encoded(read_again(event(name, data)).data) == canonical(data)) == []


@each_row(
    ("name", "struct"),
    [
        ("thread.created", Thread),
        ("thread.run.queued", Run),
        ("thread.run.step.failed", RunStep),
        ("thread.message.completed", Message),
    ],
)
def test_explicit_nulls_are_kept(name: str, struct: type[WireObject]) -> None:
    data = {**dict.fromkeys(struct.__struct_fields__), "id": "x_1"}
    data |= {"status": "x"} if "status" in data else {}
    assert encoded(event(name, data).data) == canonical(data)


def test_absent_key_is_unset_and_null_is_none() -> None:
    step = event(CREATED, {"id": "step_elm", "usage": None}).data
    assert (step.usage, step.last_error) == (None, UNSET)


@each_row("kind", CALLS)
def test_unknown_key_of_a_known_kind_is_left_to_the_payload(kind: str) -> None:
    call = CALLS[kind]
    decoded = event(CREATED, tool_step({**call, "mood": "calm"}, mood="calm"))
    assert (encoded(decoded.data), decoded.payload.count(b"calm")) == (canonical(tool_step(call)), 2)


def test_unknown_kind_is_a_dict_with_its_id_type_and_name() -> None:
    call = {"id": "call_1", "type": "dowsing_rod", "name": "y", "length": 2}
    (found,) = event(CREATED, tool_step(call)).data.tool_calls
    assert (found, found.id, found.type, found.tool_name) == (Unknown(call), "call_1", "dowsing_rod", "y")


def test_unknown_kind_without_words_has_no_id_type_or_name() -> None:
    odd = Unknown(id=5, type=None, name=["y"])
    assert (odd.id, odd.type, odd.tool_name, odd.tool_calls) == (None, None, None, ())


@each_row(
    ("call", "is_known"),
    [
        ({"index": 0, "id": "c"}, True),
        ({"index": 0, "function": {"name": "f"}, "mood": "calm"}, True),
        ({"index": 0, "id": "c", "mood": "calm"}, False),
        ({"index": 0, "type": "function", "mood": "calm"}, True),
        ({"index": 0, "type": "dowsing_rod", "function": {"name": "f"}}, False),
    ],
    ids=["known_keys", "key_of_a_kind", "unknown_key", "known_type", "unknown_type"],
)
def test_kind_is_told_by_its_type_or_else_by_its_keys(call: JSON, is_known: bool) -> None:
    again = read_again(event(DELTA, calls_delta(call))).data
    assert (type(again.delta.step_details.tool_calls[0]) is not Unknown) == is_known


def test_twice_encoded_event_is_read_again() -> None:
    decoded = event(DELTA, json.dumps(calls_delta({"index": 0, "mood": "calm"})))
    assert encoded(read_again(decoded).data) == canonical(calls_delta({"index": 0, "mood": "calm"}))


@pytest.mark.parametrize("name", ["by.hand", "thread.run.created"])
def test_event_of_another_name_is_read_again_by_its_data(name: str) -> None:
    event = Event(name, RunStepDelta("step_elm", None))
    assert read_again(event) == event


# What objects tell


@each_row("kind", CALLS)
def test_tool_name_is_that_of_a_kind_with_names(kind: str) -> None:
    named = {"function": "sail", "azure_function": "sail", "connected_agent": "mate", "mcp": "find", "openapi": "get"}
    (call,) = event(CREATED, tool_step(CALLS[kind])).data.tool_calls
    assert call.tool_name == named.get(kind)


@each_row(
    "call",
    [{"type": "function"}, {"type": "function", "function": None}, {"type": "mcp", "name": ""}, {"name": "f"}],
    ids=["no_content", "null_content", "empty_name", "no_type"],
)
def test_tool_name_is_none_while_unknown(call: JSON) -> None:
    assert msgspec.convert(call, ToolCall).tool_name is None


@each_row(
    "details",
    [
        None,
        {"type": "tool_calls"},
        {"type": "tool_calls", "tool_calls": None},
        {"type": "message_creation", "message_creation": {}},
        {"type": "dream", "tool_calls": [{}]},
    ],
    ids=["null", "absent", "null_calls", "message", "unknown"],
)
def test_step_without_calls_has_no_tool_calls(details: object) -> None:
    assert event(CREATED, {"id": "a", "step_details": details}).data.tool_calls == ()


@each_row("case", ["run_waiting_for_outputs", "run_waiting_for_approval"])
def test_required_action_tells_the_calls_of_either_kind(case: str) -> None:
    assert [call.id for call in event(*OBJECTS[case]).data.required_action.tool_calls] == ["c"]


def test_required_action_without_calls_has_no_tool_calls() -> None:
    assert RequiredAction(type="submit_tool_outputs").tool_calls == ()


def test_message_text_is_its_text_parts_joined() -> None:
    parts = [
        {"type": "text", "text": {"value": "low "}},
        {"type": "image_file", "image_file": {"file_id": "f"}},
        {"type": "hologram", "text": {"value": "no"}},
        {"type": "text", "text": {"value": None}},
        {"type": "text", "text": {"value": "tide"}},
    ]
    assert event("thread.message.created", {"id": "a", "content": parts}).data.text == "low tide"


@each_row("content", [None, []])
def test_message_without_content_has_no_text(content: object) -> None:
    assert event("thread.message.created", {"id": "a", "content": content}).data.text == ""


STEP_ENDS = ["completed", "failed", "cancelled", "expired", "incomplete"]
RUN_ENDS = STEP_ENDS
MESSAGE_ENDS = ["completed", "incomplete"]
STATUSES = [*STEP_ENDS, "queued", "in_progress", "requires_action", "cancelling", "meditating", ""]


@each_row(("struct", "ends"), [(RunStep, STEP_ENDS), (Run, RUN_ENDS), (Message, MESSAGE_ENDS)])
def test_object_is_terminal_by_its_status(struct: type[Any], ends: list[str]) -> None:
    assert [status for status in STATUSES if struct(id="a", status=status).is_terminal] == ends


# Times


@each_row(
    ("field", "moment"),
    [
        ("created_at", "created"),
        ("completed_at", "completed"),
        ("failed_at", "failed"),
        ("cancelled_at", "cancelled"),
        ("expires_at", "expires"),
    ],
)
def test_time_of_a_step_is_an_aware_utc_datetime(field: str, moment: str) -> None:
    step = event(CREATED, {"id": "a", field: 1790000000}).data
    assert getattr(step, moment) == datetime(2026, 9, 21, 14, 13, 20, tzinfo=UTC)


def test_fractions_of_a_second_are_kept() -> None:
    step = event(CREATED, {"id": "a", "created_at": 1790000000.25}).data
    assert step.created == datetime(2026, 9, 21, 14, 13, 20, 250_000, tzinfo=UTC)


def test_zero_is_a_time() -> None:
    assert event(CREATED, {"id": "a", "created_at": 0}).data.created == datetime(1970, 1, 1, tzinfo=UTC)


@each_row("at", [None, 10**30, -(10**30), 1e300, 10**18])
def test_time_that_no_datetime_can_hold_is_none(at: float | None) -> None:
    assert event(CREATED, {"id": "a", "created_at": at}).data.created is None


def test_absent_time_is_none() -> None:
    step = RunStep(id="a")
    assert [step.created, step.completed, step.failed, step.cancelled, step.expires, step.duration] == [None] * 6


@each_row("end", ["completed_at", "failed_at", "cancelled_at", "expired_at"])
def test_duration_is_from_creation_to_whichever_end(end: str) -> None:
    assert RunStep(id="a", created_at=100, **{end: 102.5}).duration == timedelta(seconds=2.5)


@each_row("times", [{"created_at": 100}, {"completed_at": 100}, {"created_at": 100, "expires_at": 200}])
def test_duration_is_none_without_both_ends(times: dict[str, int]) -> None:
    assert RunStep(id="a", **times).duration is None


# Hostile values


@each_row(
    "identifier",
    ["", "__proto__", "__class__", "a" * 100_000, "\0", "\u202e", "\U0001f6f6", "../x"],
    ids=["empty", "proto", "class", "long", "nul", "bidi", "emoji", "path"],
)
def test_id_may_be_any_text(identifier: str) -> None:
    assert event(CREATED, {"id": identifier}).data.id == identifier


@each_row("key", ["__class__", "__struct_fields__", "self", "is_terminal", "duration", "tool_calls"])
def test_keys_named_like_attributes_are_ignored(key: str) -> None:
    assert event(CREATED, {"id": "a", key: 5}).data == event(CREATED, {"id": "a"}).data


def test_last_of_repeated_keys_wins() -> None:
    assert decode_event(Frame(CREATED, b'{"id": "a", "id": "b"}')).data.id == "b"


@each_row("number", ["0", "-0.0", "1e-7", "123456789012345678901234567890", "1.0", "1e+22", "0.1"])
def test_number_is_kept_as_its_value(number: str) -> None:
    data = decode_event(Frame("thread.run.queued", b'{"id": "a", "temperature": %s}' % number.encode())).data
    assert (data.temperature, type(data.temperature)) == (json.loads(number), type(json.loads(number)))


def test_snapshot_cannot_be_changed() -> None:
    step = event(CREATED, {"id": "a"}).data
    with pytest.raises(AttributeError):
        step.status = "completed"
