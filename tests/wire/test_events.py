import json

from stepstream.wire.base import WireObject
from stepstream.wire.deltas import MessageDelta, RunStepDelta
from stepstream.wire.events import Done, ErrorData, Event, Malformed, UnknownData, decode_event
from stepstream.wire.messages import Message
from stepstream.wire.objects import Run, RunStep, Thread
from stepstream.wire.sse import Frame
from tests.support.json_values import event
from tests.support.tables import each_row
from tests.support.wire_samples import CREATED

# Names

NAMES = [
    ("thread.created", Thread, None),
    ("thread.run.created", Run, "queued"),
    ("thread.run.queued", Run, "queued"),
    ("thread.run.in_progress", Run, "in_progress"),
    ("thread.run.requires_action", Run, "requires_action"),
    ("thread.run.completed", Run, "completed"),
    ("thread.run.incomplete", Run, "incomplete"),
    ("thread.run.failed", Run, "failed"),
    ("thread.run.cancelling", Run, "cancelling"),
    ("thread.run.cancelled", Run, "cancelled"),
    ("thread.run.expired", Run, "expired"),
    ("thread.run.step.created", RunStep, "in_progress"),
    ("thread.run.step.in_progress", RunStep, "in_progress"),
    ("thread.run.step.completed", RunStep, "completed"),
    ("thread.run.step.failed", RunStep, "failed"),
    ("thread.run.step.cancelled", RunStep, "cancelled"),
    ("thread.run.step.expired", RunStep, "expired"),
    ("thread.run.step.incomplete", RunStep, "incomplete"),
    ("thread.message.created", Message, "in_progress"),
    ("thread.message.in_progress", Message, "in_progress"),
    ("thread.message.completed", Message, "completed"),
    ("thread.message.incomplete", Message, "incomplete"),
]

WITH_STATUS = [(name, status) for name, _, status in NAMES if status]


@each_row(("name", "struct"), [case[:2] for case in NAMES])
def test_name_leads_to_its_type_and_only_id_is_needed(name: str, struct: type[WireObject]) -> None:
    data = event(name, {"id": "x_1"}).data
    assert (type(data), data.id) == (struct, "x_1")


@each_row(
    ("name", "struct"),
    [
        ("thread.run.step.delta", RunStepDelta),
        ("thread.message.delta", MessageDelta),
        ("thread.message.chunk", MessageDelta),
    ],
)
def test_delta_needs_only_id_and_delta(name: str, struct: type[WireObject]) -> None:
    assert type(event(name, {"id": "x_1", "delta": {}}).data) is struct


def test_missing_status_comes_from_the_name() -> None:
    assert [(name, event(name, {"id": "x_1"}).data.status) for name, _ in WITH_STATUS] == WITH_STATUS


def test_status_is_kept_whatever_the_name() -> None:
    kept = {name: event(name, {"id": "x_1", "status": "meditating"}).data.status for name, _ in WITH_STATUS}
    assert set(kept.values()) == {"meditating"}, kept


def test_status_of_a_twice_encoded_object_comes_from_the_name() -> None:
    assert event("thread.run.failed", json.dumps({"id": "x_1"})).data.status == "failed"


UNKNOWN_NAMES = [
    "message",
    "keepalive",
    "thread.run.step.pondering",
    "thread",
    "thread.run.step",
    "Done",
    "THREAD.CREATED",
]


@each_row("name", UNKNOWN_NAMES)
def test_unknown_name_keeps_its_payload(name: str) -> None:
    assert decode_event(Frame(name, b'{"a": 1}')).data == UnknownData(b'{"a": 1}')


@each_row("payload", [b"", b"plain", b"{", b"\xff", b"[" * 500])
def test_payload_of_an_unknown_name_may_be_anything(payload: bytes) -> None:
    assert decode_event(Frame("keepalive", payload)).payload == payload


@each_row("payload", [b"[DONE]", b"", b"{}", b"bye", b"[" * 500])
def test_done_may_carry_anything(payload: bytes) -> None:
    assert decode_event(Frame("done", payload)).data == Done()


@each_row(
    "frame",
    [
        Frame(CREATED, b'{ "id":"step_elm", "mood" : "calm" }'),
        Frame(CREATED, b'"{\\"id\\": \\"step_elm\\"}"'),
        Frame(CREATED, b"[5]"),
        Frame("error", b"overloaded"),
        Frame("done", b"[DONE]"),
        Frame("keepalive", b"{}"),
    ],
    ids=["object", "twice", "malformed", "error", "done", "unknown"],
)
def test_payload_is_what_came(frame: Frame) -> None:
    assert decode_event(frame).payload == frame.data


@each_row(
    ("event", "payload"),
    [
        (Event(CREATED, RunStep(id="step_elm", usage=None)), b'{"id":"step_elm","usage":null}'),
        (Event("keepalive", UnknownData(b"{ }")), b"{ }"),
        (Event(CREATED, Malformed(b"[ ]", "an object", "a list")), b"[ ]"),
    ],
    ids=["object", "unknown", "malformed"],
)
def test_event_made_by_hand_has_a_payload(event: Event, payload: bytes) -> None:
    assert event.payload == payload


# Errors

ERRORS = [
    ("flat", {"message": "m", "type": "t", "param": "p", "code": "c"}, ErrorData("c", "m", "t", "p")),
    ("nested", {"error": {"message": "m", "type": "t", "param": None, "code": "c"}}, ErrorData("c", "m", "t", None)),
    ("message_only", {"message": "m"}, ErrorData(message="m")),
    ("error_is_text", {"error": "m"}, ErrorData(message="m")),
    ("text", "m", ErrorData(message="m")),
    ("twice_encoded", json.dumps({"error": {"message": "m"}}), ErrorData(message="m")),
    ("numeric_code", {"code": 503, "message": "m"}, ErrorData("503", "m")),
    ("flat_with_null_error", {"error": None, "message": "m"}, ErrorData(message="m")),
    ("odd_values", {"code": {}, "message": [], "type": None}, ErrorData()),
    ("detail", {"detail": [{"loc": ["body"], "msg": "m"}]}, ErrorData(message="m")),
    ("several", {"errors": [{"message": "m", "code": "c"}]}, ErrorData("c", "m")),
    ("in_a_list", [{"error": {"message": "m"}}], ErrorData(message="m")),
    ("code_beside_its_text", {"error": "c", "message": "m", "type": "t"}, ErrorData("c", "m", "t")),
    ("text_outside", {"error": {"code": "c"}, "message": "m"}, ErrorData("c", "m")),
    ("flag_beside_its_text", {"error": True, "message": "m", "code": "c"}, ErrorData("c", "m")),
    ("empty", {}, ErrorData()),
    ("list", [1], ErrorData()),
    ("null", None, ErrorData()),
]


@each_row(("data", "error"), [case[1:] for case in ERRORS], ids=[case[0] for case in ERRORS])
def test_error_is_read_from_any_shape(data: object, error: ErrorData) -> None:
    assert event("error", data).data == error


@each_row(
    ("payload", "message"),
    [
        (b"overloaded, try later", "overloaded, try later"),
        (b"", None),
        (b"{", "{"),
        (b"caf\xe9", "caf\ufffd"),
        (b"<html><title>502 Bad</title>", "502 Bad"),
    ],
)
def test_error_that_is_not_json_is_its_own_message(payload: bytes, message: str | None) -> None:
    assert decode_event(Frame("error", payload)).data == ErrorData(message=message)


def test_error_that_nests_too_deeply_keeps_its_words() -> None:
    deep = b'{"message": "m", "x": ' + b"[" * 64 + b"]" * 64 + b"}"
    assert decode_event(Frame("error", deep)).data == ErrorData(message="m")


# An object that comes again


STEP_AGAIN = b'{"id": "step_a", "status": "in_progress"}'
AGAIN = [
    ("thread.run.step.created", "thread.run.step.in_progress", STEP_AGAIN, True),
    ("thread.run.step.created", "thread.run.step.in_progress", STEP_AGAIN + b" ", False),
    ("thread.run.step.created", "thread.run.step.completed", STEP_AGAIN, False),
    ("thread.run.step.created", "thread.run.in_progress", STEP_AGAIN, False),
    ("thread.run.created", "thread.run.queued", b'{"id": "run_a"}', True),
    ("thread.run.created", "thread.run.in_progress", b'{"id": "run_a"}', False),
    ("thread.message.created", "thread.message.in_progress", b'{"id": "msg_a", "content": 7}', True),
    ("thread.message.created", "thread.message.in_progress", b"[7]", True),
]


@each_row(("before", "name", "data", "is_same"), AGAIN)
def test_object_that_comes_again_byte_for_byte_is_not_decoded_again(
    before: str, name: str, data: bytes, is_same: bool
) -> None:
    first, frame = decode_event(Frame(before, data.strip())), Frame(name, data, "7")
    again = decode_event(frame, before=first)
    assert (again, again.data is first.data) == (decode_event(frame), is_same)
