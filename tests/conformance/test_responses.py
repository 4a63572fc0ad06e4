import json
import re
from typing import Any, get_args

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.responses import ResponseStreamEvent

from stepstream.conformance.checker import Checker
from stepstream.conformance.deviation import CODES
from stepstream.conformance.responses.checker import ResponsesChecker
from stepstream.conformance.responses.deviations import RESPONSES
from stepstream.conformance.responses.shapes import EVENTS
from stepstream.conformance.stream import MAX_UNDECIDED, StreamChecker
from stepstream.errors import FrameTooLarge
from stepstream.simulator import SCENARIOS, app
from stepstream.wire.sse import Frame, FrameDecoder
from tests.support.conforming_responses import (
    FAILED,
    SEARCHED,
    STREAM,
    USAGE,
    check_response,
    each_event,
    renumber,
)
from tests.support.conforming_streams import (
    ANSWER,
    Edit,
    Sent,
    copy,
    drop,
    frames,
    insert,
    put,
    put_all,
    remove,
    rename,
    replace,
    with_edits,
)
from tests.support.places import ROOT
from tests.support.programs import served
from tests.support.tables import each_row

DONE = Sent("done", b"[DONE]")
KEEPALIVE = Sent("keepalive", {"type": "keepalive"})
ERROR = Sent("error", {"type": "error", "code": "server_error", "message": "It broke.", "param": None})
DEEP = b'{"type": "response.in_progress", "deep": ' + b"[" * 100 + b"]" * 100 + b"}"
NESTED = Sent("error", {"type": "error", "error": {"code": "server_error", "message": "It broke."}})


CLEAN: list[tuple[str, list[Sent], list[Edit]]] = [
    ("answer", STREAM, []),
    ("search", SEARCHED, []),
    ("failure", FAILED, []),
    ("keepalive", STREAM, [insert(5, KEEPALIVE), renumber]),
    ("resumed after the beginning", STREAM, [remove(1)]),
    ("resumed in a text", STREAM, [remove(*range(1, 17))]),
    ("queued first", STREAM, [put(1, "response.status", "queued"), put(2, "response.status", "in_progress")]),
    ("numbered from one", STREAM, [each_event(lambda data: data.update(sequence_number=data["sequence_number"] + 1))]),
    ("error alone", STREAM, [remove(*range(10, 27)), insert(10, ERROR), renumber]),
    ("error, then failure", FAILED, [insert(11, ERROR), put(12, "response.error", None), renumber]),
    ("failure with an open item", FAILED, [remove(8, 9, 10), renumber]),
    (
        "item of a type unheard of",
        SEARCHED,
        [put_all("item.type", "dance", 3, 5), remove(4), put(5, "response.output.0.type", "dance"), renumber],
    ),
    ("keys unheard of", STREAM, [put(1, "response.billing", {}), put(15, "obfuscation", "x")]),
    ("empty text", STREAM, [remove(22, 23), put(22, "arguments", ""), put(23, "item.arguments", ""),
      put(24, "response.output.2.arguments", ""), renumber]),
]  # fmt: skip


def test_nothing_is_found_in_streams_without_a_fault():
    found = {name: check_response(with_edits(events, *edits)) for name, events, edits in CLEAN}
    assert {name: ones for name, ones in found.items() if ones} == {}


PLANTED: list[tuple[str, list[Sent], list[Edit], list[tuple[str, int]]]] = [
    # framing and numbers
    ("no event lines", STREAM, [rename(number, "message") for number in range(1, 27)], [("missing_event_line", 1)]),
    ("type that is not the name", STREAM, [put(15, "type", "response.refusal.delta")], [("wrong_type", 15)]),
    ("no type", STREAM, [drop(2, "type")], [("missing_field", 2)]),
    ("data that is no JSON", STREAM, [replace(15, b"{")], [("undecodable_event", 15), ("sequence_gap", 16)]),
    ("data that is no object", SEARCHED, [replace(6, b"[]")], [("undecodable_event", 6)]),
    ("deep data", SEARCHED, [replace(6, DEEP)], [("too_deep", 6)]),
    ("no numbers", STREAM, [each_event(lambda data: data.pop("sequence_number"))], [("missing_sequence_number", 1)]),
    (
        "numbers all alike",
        STREAM,
        [each_event(lambda data: data.update(sequence_number=0))],
        [("sequence_mismatch", 2)],
    ),
    ("number of another type", STREAM, [put(4, "sequence_number", "three")], [("wrong_type", 4)]),
    ("lost delta", STREAM, [remove(16)], [("sequence_gap", 16)]),
    ("lost beginning of an item", STREAM, [remove(13)], [("sequence_gap", 13)]),
    ("two in disorder", STREAM, [copy(16, 18), remove(16)], [("sequence_gap", 16)]),
    ("every event twice", STREAM, [copy(number, number) for number in range(26, 0, -1)], [("replayed_event", 2)]),
    ("event twice", STREAM, [copy(16, 17)], [("replayed_event", 17)]),
    ("replay of everything", STREAM, [insert(20, *STREAM[:19])], [("replayed_event", 20)]),
    ("DONE", STREAM, [insert(27, DONE)], [("unexpected_done", 27)]),
    ("DONE without a name", STREAM, [insert(27, Sent("message", b"[DONE]"))], [("unexpected_done", 27)]),
    ("event unheard of", STREAM, [insert(5, Sent("response.dance", {"type": "response.dance"})), renumber],
     [("unknown_event", 5)]),
    ("end by another name", STREAM, [rename(26, "response.done"), put(26, "type", "response.done")],
     [("unknown_event", 26)]),
    # the response
    ("no created", STREAM, [remove(1), renumber], [("missing_created", 1)]),
    ("created twice", STREAM, [copy(1, 2), renumber], [("duplicate_created", 2)]),
    ("no end", STREAM, [remove(26)], [("missing_terminal", 25)]),
    ("more after the end", STREAM, [copy(15, 27), copy(16, 28), renumber], [("event_after_end", 27)]),
    ("other id", STREAM, [put(2, "response.id", "resp_2")], [("response_id_changed", 2)]),
    ("no model", STREAM, [drop(1, "response.model")], [("missing_field", 1)]),
    ("output null", STREAM, [put(26, "response.output", None)], [("null_field", 26)]),
    ("created_at as text", STREAM, [put(1, "response.created_at", "now")], [("wrong_type", 1)]),
    ("wrong object", STREAM, [put(1, "response.object", "realtime.response")], [("wrong_object", 1)]),
    ("status unheard of", STREAM, [put(2, "response.status", "thinking")], [("unknown_status", 2)]),
    ("status of another event", STREAM, [put(26, "response.status", "in_progress")], [("status_mismatch", 26)]),
    (
        "queued again",
        SEARCHED,
        [insert(3, Sent("response.queued", {**SEARCHED[1].data, "type": "response.queued"})),
         put(3, "response.status", "queued"), renumber],
        [("illegal_transition", 3)],
    ),
    ("completed_at too early", STREAM, [put(1, "response.completed_at", 1_700_000_001)], [("timestamp_while_open", 1)]),
    ("completed before it began", STREAM, [put(26, "response.completed_at", 1)], [("time_backwards", 26)]),
    ("usage too early", STREAM, [put(1, "response.usage", USAGE)], [("usage_while_open", 1)]),
    ("wrong sum", STREAM, [put(26, "response.usage.total_tokens", 7)], [("wrong_total", 26)]),
    ("failed without error", FAILED, [put(11, "response.error", None)], [("missing_reason", 11)]),
    (
        "incomplete without details",
        STREAM,
        [rename(26, "response.incomplete"), put(26, "type", "response.incomplete"),
         put(26, "response.status", "incomplete")],
        [("missing_reason", 26)],
    ),
    ("output empty", STREAM, [put(26, "response.output", [])], [("output_mismatch", 26)]),
    ("nested error", STREAM, [remove(*range(10, 27)), insert(10, NESTED), renumber], [("nested_error", 10)]),
    ("error without message", STREAM,
     [remove(*range(10, 27)), insert(10, ERROR), drop(10, "message"), renumber], [("missing_field", 10)]),
    # items
    ("no added", STREAM, [remove(13), renumber], [("missing_added", 13)]),
    ("no events but done", STREAM, [remove(*range(13, 20)), renumber], [("missing_added", 13)]),
    ("no item done", STREAM, [remove(20), renumber], [("missing_item_done", 25)]),
    ("added twice", STREAM, [copy(13, 14), renumber], [("duplicate_added", 14)]),
    ("index taken", STREAM, [put(13, "output_index", 0)],
     [("index_reused", 13), ("missing_added", 14)]),
    ("index skipped", SEARCHED, [put_all("output_index", 1, 3, 4, 5)], [("index_gap", 3)]),
    ("no index", STREAM, [drop(15, "output_index")], [("missing_field", 15)]),
    ("item without id", STREAM, [drop(13, "item.id")], [("missing_field", 13)]),
    ("id that rotates", STREAM, [put_all("item_id", "x", 15, 16)], [("item_id_changed", 15)]),
    ("id that is another at the end", STREAM, [put(26, "response.output.1.id", "x")], [("item_id_changed", 26)]),
    ("call_id that is another", STREAM, [put(25, "item.call_id", "x"), put(26, "response.output.2.call_id", "x")],
     [("call_id_changed", 25)]),
    ("type that is another", STREAM, [put(25, "item.type", "mcp_call"), put(25, "item.server_label", "x")],
     [("type_changed", 25)]),
    ("begins completed", STREAM, [put(13, "item.status", "completed")], [("status_mismatch", 13)]),
    ("ends searching", SEARCHED, [put(5, "item.status", "searching")], [("status_mismatch", 5)]),
    ("done twice", STREAM, [copy(20, 21), renumber], [("duplicate_done", 21)]),
    ("piece after the item", STREAM, [copy(15, 21), renumber], [("event_after_item", 21)]),
    ("piece of another type", STREAM, [rename(15, "response.function_call_arguments.delta"),
     put(15, "type", "response.function_call_arguments.delta")], [("type_mismatch", 15)]),
    # parts and texts
    ("no part added", STREAM, [remove(14), renumber], [("missing_part_added", 14)]),
    ("part added twice", STREAM, [copy(14, 15), renumber], [("duplicate_added", 15)]),
    ("part skipped", STREAM, [put_all("content_index", 1, *range(14, 20)),
     *(put(number, path, [{"type": "output_text", "text": one, "annotations": []} for one in ("", "One")])
       for number, path in ((20, "item.content"), (26, "response.output.1.content")))], [("index_gap", 14)]),
    ("piece of a part of another type", STREAM, [rename(15, "response.refusal.delta"),
     put(15, "type", "response.refusal.delta")], [("type_mismatch", 15)]),
    ("no part done", STREAM, [remove(19), renumber], [("missing_part_done", 19)]),
    ("no text done", STREAM, [remove(18), renumber], [("missing_text_done", 18)]),
    ("no arguments done", STREAM, [remove(24), renumber], [("missing_text_done", 24)]),
    ("no deltas", STREAM, [remove(15, 16, 17), renumber], [("missing_delta", 15)]),
    ("arguments only with the item", STREAM, [remove(22, 23, 24), renumber], [("missing_delta", 22)]),
    ("piece after the text", STREAM, [copy(15, 19), renumber], [("event_after_part", 19)]),
    ("piece after the part", STREAM, [copy(15, 20), renumber], [("event_after_part", 20)]),
    ("other delta", STREAM, [put(16, "delta", "N")], [("text_mismatch", 18)]),
    ("other text at the end", STREAM, [put(18, "text", "Two")], [("text_mismatch", 18)]),
    ("other text in the part", STREAM, [put(19, "part.text", "Two")], [("text_mismatch", 19)]),
    ("other text in the item", STREAM, [put(20, "item.content.0.text", "Two")], [("text_mismatch", 20)]),
    ("other text in the output", STREAM, [put(26, "response.output.1.content.0.text", "Two")], [("text_mismatch", 26)]),
    ("other summary", STREAM, [put(12, "item.summary.0.text", "ba")], [("text_mismatch", 12)]),
    ("other arguments", STREAM, [put(25, "item.arguments", "[]")], [("text_mismatch", 25)]),
    ("part that the item lacks", STREAM, [put(20, "item.content", []), put(26, "response.output.1.content", [])],
     [("entry_missing", 20)]),
    ("delta that is no text", STREAM, [put(16, "delta", 5)], [("wrong_type", 16)]),
]  # fmt: skip


def test_one_fault_is_one_deviation():
    found = {name: check_response(with_edits(events, *edits)) for name, events, edits, _ in PLANTED}
    assert len(found) == len(PLANTED)
    got = {name: [(one.code, one.sequence) for one in ones] for name, ones in found.items()}
    assert got == {name: expected for name, *_, expected in PLANTED}


def test_every_code_is_planted_and_in_the_table():
    planted = {code for *_, expected in PLANTED for code, _ in expected}
    assert planted | {"frame_too_large"} == set(RESPONSES)
    assert list(RESPONSES) == sorted(RESPONSES)


def test_simulator_keeps_to_the_protocol_and_each_fault_of_its_own_is_found():
    """Two that know nothing of each other: one writes streams by the protocol, the other checks them."""
    asked = {name: f"scenario={name}" for name in SCENARIOS.keys() - {"many-deltas", "big-logs"}}  # which take long
    asked |= {name: f"scenario=code&fault={name}" for name in OWN_FAULTS}
    found = {}
    with served(app(pace="fast", seed=1)) as url, httpx.Client() as client:
        for name, options in asked.items():
            answer = client.post(f"{url}/v1/responses?{options}", json={"input": "How high?", "stream": True})
            decoder, checker = FrameDecoder(), StreamChecker()
            told = [one.code for frame in decoder.feed(answer.content) for one in checker.feed(frame)]
            found[name] = sorted({*told, *(one.code for one in checker.finish(decoder.pending()))})
    assert {name: codes for name, codes in found.items() if codes} == {"cancelled": ["status_mismatch"], **OWN_FAULTS}


OWN_FAULTS = {
    "no-added": ["sequence_gap"],
    "no-done": ["sequence_gap"],
    "no-output": ["output_mismatch"],
    "no-terminal": ["missing_terminal"],
    "ids-rotate": ["item_id_changed", "response_id_changed"],
    "replay": ["replayed_event"],
    "duplicate": ["replayed_event"],
    "error-failed": ["missing_sequence_number", "nested_error"],
    "unnamed": ["missing_event_line"],
    "done-mark": ["unexpected_done"],
    "garbage": ["undecodable_event"],
    "unknown": ["unknown_event"],
}
"""What the checker says of each fault of the simulator that a Responses stream may have."""


def test_annotations_are_counted():
    note = {
        "type": "response.output_text.annotation.added", "output_index": 1, "item_id": "message_1", "content_index": 0,
        "annotation_index": 1, "annotation": {"type": "url_citation"},
    }  # fmt: skip
    found = check_response(with_edits(STREAM, insert(18, Sent(note["type"], note)), renumber))
    assert [(one.code, one.expected, one.got) for one in found] == [("index_gap", "annotation_index 0", "1")]


def test_deviation_says_where_what_was_expected_and_what_came():
    [found] = check_response(with_edits(STREAM, put(18, "text", "Two!")))
    assert (found.id, found.expected, found.got) == (
        "message_1",
        "content[0] as its deltas gave it, 3 characters",
        "another, a string of 4 characters",
    )


def test_what_comes_with_every_event_is_reported_once():
    found = check_response(with_edits(STREAM, *(drop(number, "content_index") for number in (15, 16, 17))))
    assert [(one.code, one.sequence) for one in found] == [("missing_field", 15)]


def test_event_too_large_is_a_deviation_and_the_end():
    checker = StreamChecker()
    for frame in frames(STREAM[:4]):
        assert checker.feed(frame) == []
    found = checker.reject(FrameTooLarge(16, [])) + checker.finish()
    assert [(one.code, one.sequence) for one in found] == [("frame_too_large", 5)]


@each_row("end", [STREAM[-1], DONE])
def test_block_without_its_blank_line_counts_where_it_says_the_end(end: Sent):
    checker = StreamChecker()
    for frame in frames(STREAM[:-1]):
        checker.feed(frame)
    codes = [one.code for one in checker.finish(frames([end])[0])]
    assert codes == ([] if end is STREAM[-1] else ["unexpected_done", "missing_terminal"])


def test_first_telling_event_chooses_the_protocol():
    for events, kind in ((STREAM, ResponsesChecker), (ANSWER, Checker)):
        checker = StreamChecker()
        told = [one for frame in frames([KEEPALIVE, *events]) for one in checker.feed(frame)]
        assert type(checker.checker) is kind
        assert checker.sequence == len(events) + 1
        assert {one.sequence for one in told} <= {1, 2}


def test_stream_that_tells_nothing_is_checked_as_one_of_assistants():
    checker = StreamChecker()
    found = [one for _ in range(MAX_UNDECIDED) for one in checker.feed(Frame("dance", b"{}"))]
    assert [one.code for one in found] == ["unknown_event"] * MAX_UNDECIDED
    early = StreamChecker()
    assert early.feed(Frame("dance", b"{}")) == []
    assert (early.sequence, early.is_done) == (1, False)
    assert [one.code for one in early.finish()] == ["unknown_event", "missing_done"]


@pytest.mark.parametrize(
    ("events", "message"), [([*STREAM[:5], ERROR], "It broke."), ([*FAILED[:-1], ERROR, FAILED[-1]], None)]
)
def test_error_is_the_failure_of_a_stream_that_ends_with_it(events: list[Sent], message: str | None):
    checker = StreamChecker()
    for frame in frames(with_edits(events, renumber)):
        assert checker.feed(frame) == []
    assert (checker.failure and checker.failure.message) == message


def test_what_is_remembered_is_bounded():
    item = {"type": "dance", "id": "x"}
    checker = ResponsesChecker()
    for index in range(10_100):
        event = {"type": "response.output_item.added", "output_index": index, "item": item, "sequence_number": index}
        checker.feed(Frame(event["type"], json.dumps(event).encode()))
    assert "10,000 items" in repr(checker)


MARK = "se3cret"


def test_deviations_hold_no_payload():
    texts = {"text", "delta", "arguments", "message", "metadata"}

    def marked(value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            return {name: marked(inner, name) for name, inner in value.items()}
        if isinstance(value, list):
            return [marked(inner, key) for inner in value]
        return MARK + value if isinstance(value, str) and key in texts else value

    told = []
    for _, events, edits, _ in PLANTED:
        planted = with_edits(events, *edits)
        told += check_response(Sent(one.event, marked(one.data)) for one in planted)
    assert len(told) > len(PLANTED)
    assert [one for one in told if MARK in str(one)] == []


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2**70) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["type", "id", "text"]), inner),
    max_leaves=8,
)


@given(st.data())
def test_nothing_put_into_a_sound_stream_makes_the_checker_raise(data: st.DataObject):
    events = json.loads(json.dumps(data.draw(st.sampled_from([STREAM, SEARCHED, FAILED]))))
    for _ in range(data.draw(st.integers(1, 4))):
        holder: Any = data.draw(st.sampled_from(events))[1]
        while isinstance(holder, dict | list) and holder:
            key = data.draw(st.sampled_from(sorted(holder) if isinstance(holder, dict) else range(len(holder))))
            if not isinstance(holder[key], dict | list) or data.draw(st.booleans()):
                holder[key] = data.draw(JSON_VALUES)
                break
            holder = holder[key]
    order = data.draw(st.permutations(events) | st.just(events))
    check_response(Sent(name, value) for name, value in order)


NAMES = st.sampled_from([*EVENTS, "response.done", "done", "message", "dance"])


@given(st.lists(st.tuples(NAMES, JSON_VALUES | st.binary(max_size=9)), max_size=6))
def test_no_frames_whatever_make_the_checker_raise(events: list[tuple[str, Any]]):
    check_response(Sent(name, data) for name, data in events)


def test_readme_has_every_code():
    text = (ROOT / "src" / "stepstream" / "conformance" / "README.md").read_text(encoding="utf-8")
    for heading, codes in (("Responses", RESPONSES), ("Assistants", CODES)):
        section = text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
        assert re.findall(r"^\| `(\w+)` \| (.+) \|$", section, re.MULTILINE) == list(codes.items())


def test_fields_that_are_required_are_required_by_the_official_types():
    """A server that keeps to the types of openai-python must not be told that it leaves something out."""
    types = {
        get_args(one.model_fields["type"].annotation)[0]: one for one in get_args(get_args(ResponseStreamEvent)[0])
    }
    required = {name: {key for key, field in shape.fields.items() if field.required} for name, shape in EVENTS.items()}
    found = {
        name: wanted - {key for key, field in types[name].model_fields.items() if field.is_required()}
        for name, wanted in required.items()
        if name in types
    }
    assert {name: keys for name, keys in found.items() if keys} == {}
    assert len(found) > 40
