"""How the vocabulary of a stream is found out, and what the rooms to the right see of it."""

import json
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepstream import Accumulator, DecodeError, Event, Frame, Malformed, RunStep, accumulate
from stepstream.dialects.canonical import frame_of_event
from stepstream.dialects.state import DialectState
from stepstream.dialects.translation import DIALECTS, Translation, run_told, says_end
from stepstream.wire.events import read_again
from tests.support.json_values import JSON
from tests.support.places import ROOT
from tests.support.response_streams import encoded, fold, frames, lifecycle, whole, writing
from tests.support.tables import each_row

CREATED = lifecycle("created")
RUN = whole(writing("abc"))
STEP = Frame("thread.run.step.created", b'{"id": "step_1", "type": "tool_calls"}')


def told(*sent: Frame, dialect: str = "auto") -> str:
    """The dialect that frames tell."""
    translation = Translation(DialectState(), dialect)
    for frame in sent:
        translation.feed(frame)
    return translation.dialect


TELLING: list[tuple[Frame, str]] = [
    (STEP, "assistants"),
    (Frame("thread.brand_new", b"{}"), "assistants"),
    (Frame("response.created", b"{}"), "responses"),
    (Frame("response.brand_new", b"not JSON"), "responses"),
    (Frame("message", b'{"type": "response.in_progress"}'), "responses"),
    (Frame("message", b'{"type": "thread.run.created"}'), "assistants"),
    (Frame("error", b'{"type": "error", "message": "no"}'), "responses"),
    (Frame("message", b'{"type": "error", "error": {"message": "no"}}'), "responses"),
    (Frame("error", b'{"type": "server_error", "message": "no"}'), "auto"),
    (Frame("error", b"no"), "auto"),
    (Frame("ping", b"now"), "auto"),
    (Frame("message", b'{"type": 5}'), "auto"),
    (Frame("message", b"[1]"), "auto"),
    (Frame("message", b"\xff"), "auto"),
    (Frame("done", b"[DONE]"), "auto"),
]


@each_row(("frame", "dialect"), TELLING)
def test_first_telling_event_tells_the_dialect(frame: Frame, dialect: str):
    assert told(Frame("ping", b"now"), frame) == dialect


def test_dialect_once_told_stays():
    assert told(STEP, frames([CREATED])[0]) == "assistants"
    assert told(frames([CREATED])[0], STEP) == "responses"


@pytest.mark.parametrize(
    ("dialect", "last_event"), [("auto", "done"), ("assistants", "done"), ("responses", "response.completed")]
)
def test_last_event_has_the_name_that_its_dialect_has_for_it(dialect: str, last_event: str):
    assert Translation(DialectState(), dialect).last_event == last_event


@pytest.mark.parametrize("name", DIALECTS)
def test_name_forces_a_dialect(name: str):
    assert told(STEP, frames([CREATED])[0], dialect=name) == name
    assert repr(Translation(DialectState(), name)) == f"<Translation {name}>"


def test_forced_dialect_of_the_fold_leaves_responses_unknown():
    assert accumulate([encoded(RUN)], dialect="assistants").runs == {}
    assert list(accumulate([encoded(RUN)], dialect="responses").runs) == ["resp_1"]


@pytest.mark.parametrize("make", [lambda name: Accumulator(dialect=name), lambda name: accumulate([], dialect=name)])
def test_dialect_that_is_not_known_is_a_value_error(make: Any):
    with pytest.raises(ValueError, match="expected dialect as one of 'auto', 'assistants', 'responses', got 'chat'"):
        make("chat")


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("size", [1, 7, 4096])
def test_chunks_of_any_size_fold_to_the_same(named: bool, size: int):
    data = encoded(RUN, named=named)
    accumulator = accumulate(data[start : start + size] for start in range(0, len(data), size))
    assert [message.text for message in accumulator.messages.values()] == ["abc"]
    assert accumulator.anomalies == []


@pytest.mark.parametrize("last", [b"data: [DONE]", b"event: done\ndata: {}", None])
def test_block_that_lacks_its_blank_line_counts_where_it_ends_the_stream(last: bytes | None):
    data = encoded(RUN)
    cut = data[:-2] if last is None else data + last
    assert accumulate([cut]).runs["resp_1"].status == "completed"


NO_END = [
    {"type": "response.output_text.delta"},
    {"type": "response.created", "response": {}},
    {"type": "response.completed"},
    {"type": "response.completed", "response": 5},
    5,
]


@pytest.mark.parametrize("event", NO_END)
def test_any_other_block_that_lacks_its_blank_line_is_no_event(event: object):
    assert not says_end(Frame("message", json.dumps(event).encode()))
    assert not says_end(Frame("response.completed", json.dumps(event).encode()[:-1]))


RUNS_TOLD: list[tuple[JSON, tuple[str, str]]] = [
    (lifecycle("created"), ("resp_1", "in_progress")),
    (lifecycle("queued"), ("resp_1", "queued")),
    (lifecycle("completed"), ("resp_1", "completed")),
    (lifecycle("failed", status="cancelled"), ("resp_1", "cancelled")),
    ({"type": "response.done", "response": {}}, ("", "completed")),
]


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize(("event", "told"), RUNS_TOLD)
def test_run_of_an_event_is_told_without_a_translation(event: JSON, told: tuple[str, str], named: bool):
    (frame,) = frames([event], named=named)
    assert run_told(frame) == told
    assert says_end(frame) is (told[1] in ("completed", "cancelled"))


@pytest.mark.parametrize("frame", [STEP, Frame("ping", b"now"), Frame("message", b"[DONE]"), Frame("done", b"")])
def test_other_frames_tell_of_no_run_in_a_dialect(frame: Frame):
    assert run_told(frame) is None
    assert says_end(frame) is (frame not in (STEP, Frame("ping", b"now")))


def test_stream_of_the_fold_itself_is_decoded_and_raises():
    translation = Translation(DialectState())
    (event,) = translation.feed(STEP)
    assert isinstance(event.data, RunStep)
    assert translation.is_plain
    assert translation.held is None
    assert translation.finish() == []
    translation.reconnect()
    translation.continue_run("run_1")
    with pytest.raises(DecodeError):
        translation.feed(Frame("thread.run.created", b"{"))


# What cannot be read


@each_row(
    ("data", "code"),
    [
        (b"{", "undecodable_event"),
        (b"[1]", "undecodable_event"),
        (b"5", "undecodable_event"),
        (b'"\xff"', "undecodable_event"),
        (b"[" * 99 + b"]" * 99, "too_deep"),
    ],
)
@each_row("name", ["response.output_text.delta", "error", "message"])
def test_data_that_cannot_be_read_is_an_anomaly(name: str, data: bytes, code: str):
    accumulator = fold([CREATED]).accumulator
    accumulator.apply_frame(Frame(name, data))
    assert [one.code for one in accumulator.anomalies] == [code]


def test_depth_of_a_stream_is_bounded_as_the_accumulator_says():
    accumulator = Accumulator(max_depth=3)
    accumulator.apply_frame(frames([CREATED])[0])
    accumulator.apply_frame(Frame("response.in_progress", b'{"response": {"id": "r", "metadata": {"a": {}}}}'))
    assert [one.code for one in accumulator.anomalies] == ["too_deep"]


KEYS = {
    "type", "id", "item", "response", "delta", "text", "part", "output", "status", "call_id", "content", "summary",
    "annotations", "arguments", "action", "commands", "operation", "results", "outputs", "error", "usage", "tools",
}  # fmt: skip
words = st.sampled_from(["message", "function_call", "resp_1", "message_1", "completed", "a", ""])
values = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.floats(allow_nan=False) | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(sorted(KEYS)), inner, max_size=4),
    max_leaves=8,
)
NAMES = sorted(
    {event["type"] for event in RUN}
    | {
        "error",
        "response.content_part.done",
        "response.function_call_arguments.done",
        "response.mcp_call.failed",
        "response.output_text.annotation.added",
        "response.reasoning_summary_part.added",
        "response.shell_call_command.added",
        "response.shell_call_output_content.delta",
        "response.shell_call_output_content.done",
        "response.failed",
    }
)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(NAMES),
            st.dictionaries(
                st.sampled_from(
                    [*sorted(KEYS), "item_id", "output_index", "content_index", "sequence_number", "annotation"]
                ),
                values,
                max_size=6,
            ),
        ),
        max_size=12,
    )
)
def test_no_event_whatever_makes_the_translation_or_the_fold_raise(sent: list[tuple[str, JSON]]):
    accumulator = Accumulator()
    for frame in frames([CREATED]):
        accumulator.apply_frame(frame)
    for name, body in sent:
        accumulator.apply_frame(Frame(name, json.dumps(body).encode()))
    for event in accumulator.translation.finish():
        accumulator.apply(event)
    restored = Accumulator.restore(accumulator.export())
    assert dict(restored.steps) == dict(accumulator.steps)


# Events as frames


def test_translated_event_is_a_frame_in_the_words_of_the_fold():
    accumulator, translation = Accumulator(dialect="assistants"), Translation(DialectState())
    for frame in frames(RUN):
        for event in translation.feed(frame):
            accumulator.apply_frame(frame_of_event(event))
    expected = fold(RUN).accumulator
    assert dict(accumulator.steps) == dict(expected.steps)
    assert dict(accumulator.messages) == dict(expected.messages)
    assert dict(accumulator.runs) == dict(expected.runs)


def test_event_that_was_not_translated_is_the_frame_that_it_came_as():
    (event,) = Translation(DialectState()).feed(STEP)
    assert frame_of_event(event) == STEP


def test_anomaly_of_a_dialect_is_an_event_of_ours():
    data = Malformed(b"{}", "a thing", "another", "bad_index", "item_1")
    frame = frame_of_event(Event("response.created", data, b"{}", "7", is_translated=True))
    assert (frame.event, frame.id) == ("stepstream.anomaly", "7")
    assert msgspec.json.decode(frame.data) == {
        "code": "bad_index",
        "event": "response.created",
        "id": "item_1",
        "expected": "a thing",
        "got": "another",
    }


def test_events_have_the_id_of_their_frame():
    translation = Translation(DialectState())
    (frame,) = frames([CREATED])
    sent = [Frame(frame.event, frame.data, "7"), Frame("keepalive", b"{}", "8"), Frame("done", b"", "9")]
    assert [event.id for one in sent for event in translation.feed(one)] == ["7", "8", "9"]


# Saved and loaded


def test_translation_that_has_not_been_told_is_restored_so():
    restored = Accumulator.restore(Accumulator().export())
    assert restored.translation.dialect == "auto"
    assert Accumulator.restore(Accumulator().export(), dialect="responses").translation.dialect == "responses"


@pytest.mark.parametrize("saved", [["chat", None], ["responses", {"highest": "x"}]])
def test_export_with_a_translation_that_is_none_is_a_value_error(saved: list[Any]):
    exported = msgspec.json.decode(fold(RUN).accumulator.export())
    with pytest.raises(ValueError, match="expected"):
        Accumulator.restore(msgspec.json.encode(exported | {"translation": saved}))


def test_delta_that_waits_for_its_step_is_exported_in_the_words_of_the_fold():
    accumulator = Accumulator()
    fold([CREATED, *writing("abc")[:2]], accumulator)
    accumulator.state.messages.clear()
    fold(writing("abc")[2:3], accumulator)
    restored = Accumulator.restore(accumulator.export())
    assert [ref.event.data for ref in restored.stream.orphans.everything()] == [
        ref.event.data for ref in accumulator.stream.orphans.everything()
    ]


# A whole run


@pytest.mark.parametrize("size", [1, 7, 4096, 10**6])
def test_whole_run_of_many_kinds_of_items_is_as_its_end_says(size: int):
    data = (ROOT / "tests" / "streams" / "harbour.sse").read_bytes()
    accumulator = accumulate(data[start : start + size] for start in range(0, len(data), size))
    assert accumulator.anomalies == []
    assert [(step.id, step.type, step.status) for step in accumulator.steps.values()] == [
        ("rs_1", "reasoning", "completed"),
        ("mcpl_1", "activities", "completed"),
        ("mcp_1", "tool_calls", "completed"),
        ("ci_1", "tool_calls", "completed"),
        ("msg_1", "message_creation", "completed"),
        ("fc_1", "tool_calls", "completed"),
    ]
    calls: list[Any] = [call for step in accumulator.steps.values() for call in step.tool_calls]
    assert [call.type for call in calls] == ["mcp", "code_interpreter", "function"]
    assert calls[0].output == '{"metres":4.1}'
    assert calls[1].code_interpreter.outputs[0].logs == "7.2\n"
    assert accumulator.messages["msg_1"].text == "The harbour is deepest at high tide: 7.2 m."
    run: Any = accumulator.runs["resp_harbour"]
    assert (run.status, run.thread_id, run.usage.total_tokens) == ("requires_action", "conv_harbour", 200)
    assert [call.function.arguments for call in run.required_action.tool_calls] == ['{"place":"quay"}']


# What the fast path asks


def test_translator_names_the_keys_that_differ_from_delta_to_delta():
    translation = Translation(DialectState(), "responses")
    assert translation.counter is None
    assert translation.fast_keys == ("delta", "", frozenset({"obfuscation"}))
    for frame in frames(RUN[:5]):
        translation.feed(frame)
    assert translation.fast_keys == ("delta", "sequence_number", frozenset({"obfuscation"}))
    constant = [{**event, "sequence_number": 0} for event in RUN[:3]]
    for frame in frames(constant):
        translation.feed(frame)
    assert translation.fast_keys.number == ""
    plain = Translation(DialectState(), "assistants")
    assert (plain.counter, plain.fast_keys.piece) == (None, "")


class Counted(NamedTuple):
    """A delta that was folded without the translator."""

    number: int
    piece: str


def test_deltas_that_were_folded_without_the_translator_are_counted():
    translation = Translation(DialectState(), "responses")
    for frame in frames(RUN[:5]):
        translation.feed(frame)
    counter = translation.counter
    assert counter is not None
    assert counter.count([Counted(5, RUN[5]["delta"]), Counted(6, RUN[6]["delta"])])
    repeated, following = (frame for frame in frames(RUN[6:8]))
    assert [event.data.code for event in translation.feed(repeated) if isinstance(event.data, Malformed)] == [
        "replayed_event"
    ]
    assert len(translation.feed(following)) == 1


@pytest.mark.parametrize(
    ("numbers", "is_counted"),
    [
        ([5], True),
        ([4], False),
        ([5, 6, 7], True),
        ([5, 7, 20], True),
        ([4, 5, 6], False),
        ([5, 6, 6], False),
        ([5, 7, 6], False),
    ],
)
def test_deltas_are_counted_only_if_all_their_numbers_rise(numbers: list[int], is_counted: bool):
    translation = Translation(DialectState(), "responses")
    for frame in frames(RUN[:5]):
        translation.feed(frame)
    counter = translation.counter
    assert counter is not None
    assert counter.count([Counted(number, "a") for number in numbers]) is is_counted
    highest = numbers[-1] if is_counted else 4
    assert not counter.count([Counted(highest, "b")])
    assert counter.count([Counted(highest + 1, "b")])


def test_error_that_explains_nothing_is_the_last_event_of_what_is_accumulated():
    error = {"type": "error", "code": "busy", "message": "Later."}
    whole_stream = accumulate([encoded([lifecycle("created"), error])])
    assert whole_stream.stream.sequence == accumulate([encoded([lifecycle("created")])]).stream.sequence + 1


def test_event_of_a_dialect_is_not_read_again():
    translated = Event("thread.run.step.created", RunStep("step_1"), b"{}", is_translated=True)
    assert read_again(translated) is translated
