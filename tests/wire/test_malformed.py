import json
from collections.abc import Callable

import pytest

from stepstream.errors import DecodeError
from stepstream.wire.deltas import RunStepDelta
from stepstream.wire.events import Malformed, decode_event
from stepstream.wire.sse import Frame
from tests.support.json_values import JSON, event
from tests.support.tables import each_row
from tests.support.wire_samples import CREATED, DELTA, calls_delta, content_delta

UNDECODABLE = "undecodable_event"
SHAPE = "malformed_delta"
INDEX = "bad_index"

MALFORMED: dict[str, tuple[str, object, str, str | None]] = {
    "list": (CREATED, [], UNDECODABLE, None),
    "number": (CREATED, 5, UNDECODABLE, None),
    "null": (CREATED, None, UNDECODABLE, None),
    "text": (CREATED, "still here", UNDECODABLE, None),
    "text_that_is_almost_json": (CREATED, '{"id": "step_elm"', UNDECODABLE, None),
    "empty_text": (CREATED, "", UNDECODABLE, None),
    "thrice_encoded": (CREATED, json.dumps(json.dumps({"id": "a"})), UNDECODABLE, None),
    "twice_encoded_list": (CREATED, "[]", UNDECODABLE, None),
    "no_id": (CREATED, {"status": "completed"}, UNDECODABLE, None),
    "null_id": (CREATED, {"id": None}, UNDECODABLE, None),
    "number_id": (CREATED, {"id": 5}, UNDECODABLE, None),
    "delta_without_delta": (DELTA, {"id": "a"}, SHAPE, "a"),
    "delta_without_id": (DELTA, {"delta": {}}, SHAPE, None),
    "delta_with_null_id": (DELTA, {"id": None, "delta": {}}, SHAPE, None),
    "delta_that_is_a_list": (DELTA, [], SHAPE, None),
    "delta_that_is_text": (DELTA, "still here", SHAPE, None),
    "text_delta": (DELTA, {"id": "a", "delta": "x"}, SHAPE, "a"),
    "list_delta": (DELTA, {"id": "a", "delta": []}, SHAPE, "a"),
    "delta_of_list_details": (DELTA, {"id": "a", "delta": {"step_details": []}}, SHAPE, "a"),
    "delta_of_object_calls": (DELTA, {"id": "a", "delta": {"step_details": {"tool_calls": {}}}}, SHAPE, "a"),
    "delta_of_a_number_call": (DELTA, calls_delta(5), SHAPE, "step_elm"),
    "delta_of_a_null_call": (DELTA, calls_delta(None), SHAPE, "step_elm"),
    "delta_of_a_text_function": (DELTA, calls_delta({"index": 0, "function": "x"}), SHAPE, "step_elm"),
    "delta_of_number_arguments": (DELTA, calls_delta({"index": 0, "function": {"arguments": 5}}), SHAPE, "step_elm"),
    "delta_of_object_arguments": (DELTA, calls_delta({"index": 0, "function": {"arguments": {}}}), SHAPE, "step_elm"),
    "delta_of_a_number_call_id": (DELTA, calls_delta({"index": 0, "id": 5}), SHAPE, "step_elm"),
    "delta_of_a_number_call_type": (DELTA, calls_delta({"index": 0, "type": 5}), SHAPE, "step_elm"),
    "misfit_beside_a_rod": (DELTA, calls_delta({"index": 0, "type": "rod"}, {"index": 1, "id": 5}), SHAPE, "step_elm"),
    "number_id_of_an_unknown_tool": (DELTA, calls_delta({"index": 0, "type": "rod", "id": 5}), SHAPE, "step_elm"),
    "misfit_in_a_tool_whose_type_may_yet_come": (
        DELTA,
        calls_delta({"index": 0, "mood": "calm", "arguments": 5}),
        SHAPE,
        "step_elm",
    ),
    "message_delta_without_delta": ("thread.message.delta", {"id": "a"}, SHAPE, "a"),
    "message_delta_of_text": ("thread.message.delta", {"id": "a", "delta": {"content": "x"}}, SHAPE, "a"),
    "message_chunk_of_text": ("thread.message.chunk", {"id": "a", "delta": {"content": "x"}}, SHAPE, "a"),
    "call_without_index": (DELTA, calls_delta({"id": "c", "type": "function"}), INDEX, "step_elm"),
    "unknown_tool_without_index": (DELTA, calls_delta({"id": "c", "type": "rod"}), INDEX, "step_elm"),
    "output_without_index": (
        DELTA,
        calls_delta({"index": 0, "code_interpreter": {"outputs": [{"type": "logs", "logs": "x"}]}}),
        INDEX,
        "step_elm",
    ),
    "content_without_index": ("thread.message.delta", content_delta({"type": "text"}), INDEX, "msg_wren"),
    "annotation_without_index": (
        "thread.message.delta",
        content_delta({"index": 0, "text": {"annotations": [{"type": "file_path"}]}}),
        INDEX,
        "msg_wren",
    ),
    "twice_encoded_bad_index": (DELTA, json.dumps(calls_delta({"index": -1})), INDEX, "step_elm"),
}  # fmt: skip


@each_row(("name", "data", "code", "identifier"), MALFORMED.values(), ids=MALFORMED)
def test_json_that_does_not_fit_is_malformed(name: str, data: object, code: str, identifier: str | None) -> None:
    found = event(name, data).data
    assert isinstance(found, Malformed)
    assert (found.code, found.id) == (code, identifier)


def test_malformed_data_keeps_its_payload() -> None:
    payloads = {case: event(name, data).payload for case, (name, data, *_) in MALFORMED.items()}
    assert payloads == {case: json.dumps(data).encode() for case, (_, data, *_) in MALFORMED.items()}


BAD_INDEXES = [-1, 1024, 10**30, 1.0, 0.5, True, False, None, "0", "", [0], {}]


@each_row(
    "place",
    [
        lambda index: (DELTA, calls_delta({"index": index, "id": "c", "type": "function"})),
        lambda index: (DELTA, calls_delta({"index": index, "id": "c", "type": "rod"})),
        lambda index: (DELTA, calls_delta({"index": 0, "code_interpreter": {"outputs": [{"index": index}]}})),
        lambda index: ("thread.message.delta", content_delta({"index": index, "type": "text"})),
        lambda index: (
            "thread.message.delta",
            content_delta({"index": 0, "text": {"annotations": [{"index": index}]}}),
        ),
    ],
    ids=["call", "unknown_tool", "output", "content", "annotation"],
)
def test_index_that_is_no_integer_from_0_to_1023_is_bad(place: Callable[[object], tuple[str, JSON]]) -> None:
    found = [event(*place(index)).data for index in BAD_INDEXES]
    assert [getattr(one, "code", one) for one in found] == [INDEX] * len(BAD_INDEXES)


@each_row("index", [0, 1, 1023])
def test_index_from_0_to_1023_is_good(index: int) -> None:
    assert type(event(DELTA, calls_delta({"index": index})).data) is RunStepDelta


@each_row(
    ("name", "data", "reason"),
    [
        (CREATED, [], "expected an object, got a list"),
        (CREATED, {"status": "x"}, "expected id as a string, got nothing"),
        (CREATED, {"id": None, "usage": 5}, "expected id as a string, got null"),
        (DELTA, {"id": "a"}, "expected delta as an object, got nothing"),
        (
            DELTA,
            calls_delta({"index": 0}, {"index": 1, "function": {"arguments": {}}}),
            "expected delta.step_details.tool_calls[1].function.arguments as a string, got an object",
        ),
    ],
)
def test_reason_says_what_was_expected_and_where(name: str, data: JSON, reason: str) -> None:
    found = event(name, data).data
    assert (found.reason, f"expected {found.expected}, got {found.got}") == (reason, reason)


WRONG = [(None, "nothing"), ("0", "str"), (5000, "a higher one"), (-1, "a negative one"), (True, "bool")]


@each_row(("index", "got"), WRONG)
def test_reason_of_a_bad_index_says_what_came(index: object, got: str) -> None:
    reason = event(DELTA, calls_delta({"index": index})).data.reason
    assert reason == f"expected index as an int from 0 to 1023, got {got}"


# DecodeError

BROKEN = {
    "nothing": b"",
    "space": b" ",
    "word": b"overloaded",
    "done_in_the_wrong_place": b"[DONE]",
    "cut": b'{"id": "step_elm", "type": "tool_ca',
    "cut_text": b'"still he',
    "rest": b'{"id": "step_elm"} {}',
    "closing": b"]]]]",
    "trailing_comma": b'{"id": "step_elm",}',
    "single_quotes": b"{'id': 'step_elm'}",
    "nan": b'{"id": "step_elm", "created_at": NaN}',
    "infinity": b'{"id": "step_elm", "created_at": -Infinity}',
    "number_out_of_range": b'{"id": "step_elm", "created_at": 1e999}',
    "control_character": b'{"id": "step\nelm"}',
    "lone_surrogate": b'{"id": "\\ud800"}',
    "not_utf_8": b'{"id": "\xff"}',
    "mark": b'\xef\xbb\xbf{"id": "step_elm"}',
    "cut_after_an_unknown_kind": b'{"id": "a", "step_details": {"type": "dream"}, "x":',
}


@each_row("payload", BROKEN.values(), ids=BROKEN)
def test_data_that_is_not_json_is_a_decode_error(payload: bytes) -> None:
    for name in (CREATED, DELTA, "thread.run.queued", "thread.message.delta", "thread.created"):
        with pytest.raises(DecodeError) as raised:
            decode_event(Frame(name, payload))
        assert (raised.value.event, raised.value.code) == (name, "undecodable_event")


def test_decode_error_tells_event_size_and_reason() -> None:
    with pytest.raises(
        DecodeError, match=r"expected JSON in the data of 'thread\.created', got 2 bytes: Input data was"
    ):
        decode_event(Frame("thread.created", b'{"'))


def test_decode_error_of_bytes_says_not_utf_8() -> None:
    with pytest.raises(DecodeError, match="UTF-8"):
        decode_event(Frame("thread.created", b'{"id": "\xff"}'))


def test_nesting_beyond_the_decoder_is_a_decode_error() -> None:
    with pytest.raises(DecodeError) as raised:
        decode_event(Frame(CREATED, b'{"id": "a", "x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"), max_depth=10**6)
    assert raised.value.code == "too_deep"


def test_nesting_beyond_the_second_look_is_a_decode_error() -> None:
    with pytest.raises(DecodeError) as raised:
        decode_event(Frame(CREATED, json.dumps("[" * 100_000 + "]" * 100_000).encode()), max_depth=10**6)
    assert raised.value.code == "too_deep"
