import json
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepstream.conformance import folded
from stepstream.conformance.checker import Checker
from stepstream.conformance.deviation import MAX_SHOWN, Deviation, described
from stepstream.conformance.shapes import KINDS
from stepstream.conformance.tracks import MAX_KEPT, Tracks
from stepstream.errors import FrameTooLarge
from stepstream.fold.accumulator import Accumulator
from stepstream.wire.deltas import MAX_INDEX
from stepstream.wire.sse import Frame
from tests.support.conforming_streams import (
    ANSWER,
    CALLING,
    CONTINUED,
    DONE,
    Sent,
    check,
    frames,
    put,
    run,
    step,
    step_delta,
    with_edits,
)
from tests.support.planted_faults import PLANTED
from tests.support.tables import each_row


def test_deviation_says_where_what_was_expected_and_what_came():
    [found] = check(with_edits(CALLING, put(9, "delta.step_details.tool_calls.0.index", 2)))
    expected, got = "index 1 or lower in tool_calls", "2"
    assert found == Deviation(9, "thread.run.step.delta", "index_gap", "step_1", expected, got)


def test_wrong_type_is_described_and_not_quoted():
    [found] = check(with_edits(ANSWER, put(5, "created_at", "yesterday")))
    assert (found.expected, found.got) == ("created_at as an integer of Unix seconds", "a string of 9 characters")


@each_row(
    ("sent", "words"),
    [
        (Sent("thread.run.step.created", b"{"), ("JSON", "1 bytes: Input data was truncated")),
        (
            Sent("thread.run.step.created", b"[" * 99),
            ("JSON of at most 64 levels", "99 bytes nested deeper than 64 levels"),
        ),
        (Sent("thread.run.step.delta", []), ("an object", "a list")),
        (
            Sent("thread.run.step.delta", {"object": "thread.run.step.delta", "delta": {}}),
            ("id as a string", "nothing"),
        ),
        (step_delta({"index": 0, "type": "function"}), ("the step before its delta", "the delta first")),
    ],
)
def test_anomalies_say_what_was_expected_and_what_came(sent: Sent, words: tuple[str, str]):
    found = check([sent, DONE])
    assert [(one.expected, one.got) for one in found] == [words]


def test_other_faults_of_an_event_whose_id_is_no_text_are_of_no_id():
    found = check([Sent("thread.run.step.delta", {"id": True, "object": "x", "delta": {}}), DONE])
    assert [(one.code, one.id) for one in found] == [("wrong_object", None), ("malformed_delta", None)]


def test_place_in_a_list_is_named():
    [found] = check(with_edits(ANSWER, put(11, "step_details.tool_calls.0.code_interpreter.outputs.0.logs", 5)))
    assert found.expected == "step_details.tool_calls[0].code_interpreter.outputs[0].logs as a string"


@each_row(
    ("value", "words"),
    [
        (None, "null"),
        (True, "a boolean"),
        (3, "an integer"),
        (3.5, "a float"),
        ("three", "a string of 5 characters"),
        ([1, 2], "a list of 2 entries"),
        ({"a": 1}, "an object"),
    ],
)
def test_values_are_described_by_kind(value: object, words: str):
    assert described(value) == words


def test_type_that_changes_into_no_text_is_described():
    [found] = check(with_edits(ANSWER, put(18, "created_at", 1011)))
    assert (found.expected, found.got) == ("created_at 1010 as before", "1011")


def test_words_of_servers_are_cut():
    long = "s" * 10_000
    found = check(
        [*with_edits(ANSWER, put(6, "status", long), put(11, "thread_id", long)), Sent(long, {}), Sent(long, {})]
    )
    assert len(found) == 3
    assert max(len(word) for one in found for word in (one.event, one.id or "", one.expected, one.got)) < 3 * MAX_SHOWN


def test_long_ids_are_followed_and_cut():
    long = "s" * 10_000
    found = check(
        [
            Sent(one.event, {**one.data, "id": long})
            for one in (step("created", 1, CALLING[3].data["step_details"]),) * 2
        ]
    )
    assert [(one.code, len(one.id or "")) for one in found] == [
        ("duplicate_created", MAX_SHOWN + 1),
        ("missing_done", 0),
    ]


def test_event_too_large_is_a_deviation_and_the_end():
    checker = Checker()
    for frame in frames(ANSWER[:4]):
        assert checker.feed(frame) == []
    found = checker.reject(FrameTooLarge(16, [])) + checker.finish()
    assert found == [Deviation(5, "", "frame_too_large", None, "at most 16 bytes", "a longer event")]


@each_row("last", [DONE, Sent("error", {"message": "The wheel broke."})])
def test_end_that_lacks_its_blank_line_counts(last: Sent):
    checker = Checker()
    for frame in frames(ANSWER[:-1]):
        assert checker.feed(frame) == []
    assert checker.finish(frames([last])[0]) == []
    assert checker.sequence == len(ANSWER)


def test_unfinished_event_is_none():
    checker = Checker()
    for frame in frames(ANSWER[:-2]):
        checker.feed(frame)
    found = checker.finish(frames([ANSWER[-2]])[0])
    assert [(one.code, one.sequence, one.event) for one in found] == [("missing_done", 19, "thread.run.step.completed")]


def test_repr_counts():
    checker = Checker()
    for frame in frames(ANSWER):
        checker.feed(frame)
    assert repr(checker) == "<Checker 21 events, 4 objects done>"


def test_deltas_that_wait_for_ever_overflow():
    waiting = {"id": "step_1", "object": "thread.run.step.delta", "delta": {}}
    found = check([Sent("thread.run.step.delta", waiting)] * 10_009 + [DONE])
    assert [(one.code, one.sequence) for one in found] == [("delta_before_created", 1), ("orphan_overflow", 10_001)]


def test_limit_of_the_fold_is_no_deviation_of_the_server(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(folded, "Accumulator", partial(Accumulator, max_open_runs=3))
    runs = [run("queued", event="created", id=f"run_{number}") for number in range(4)]
    found = check([*runs, Sent("error", {"message": "The wheel broke."})])
    assert found == []


def test_what_is_remembered_is_bounded():
    checker = Checker(max_tracked=2)
    for frame in frames(ANSWER):
        checker.feed(frame)
    assert "2 objects" in repr(checker)


def test_what_needs_a_first_sight_is_not_checked_once_something_is_forgotten():
    checker = Checker(max_tracked=3)
    created = [step("created", number, ANSWER[4].data["step_details"]) for number in (1, 3, 4)]
    late = [run("in_progress"), step("in_progress", 1, ANSWER[4].data["step_details"])]
    events = [run("queued", event="created"), *created, run("queued", event="created"), *late]
    assert [one.code for frame in frames(events) for one in checker.feed(frame)] == []


def test_oldest_object_is_forgotten_first():
    tracks = Tracks(2)
    for identifier in ("a", "b", "a", "c"):
        tracks.follow("step", identifier)
    assert [tracks.get("step", one) is not None for one in "abc"] == [False, True, True]
    assert (len(tracks), tracks.is_complete("step")) == (2, False)


def test_long_values_are_kept_short():
    track = Tracks(2).follow("run", "r" * 10_000)
    assert len(track.id) < MAX_KEPT + 20


def test_counts_of_one_object_are_bounded():
    deltas = [step_delta({"index": index, "id": f"call_{index}", "type": "sonar"}) for index in range(MAX_INDEX + 2)]
    found = check([*ANSWER[1:6], *deltas, DONE])
    assert [(one.code, one.sequence) for one in found] == [
        ("bad_index", 6 + MAX_INDEX + 1),
        ("run_left_open", 6 + MAX_INDEX + 2),
    ]


MARK = "se3cret"
WORDS = {"object", "type", "status", "role", "id", "run_id", "thread_id", "assistant_id", "message_id"}
"""The keys of the protocol's own words, which are shown. All other texts are somebody's."""


def marked(value: Any, key: str = "") -> Any:
    """Return JSON with a mark in every text of somebody, and in the keys of metadata."""
    if isinstance(value, str):
        return value if key in WORDS else MARK + value
    if isinstance(value, list):
        return [marked(entry, key) for entry in value]
    if isinstance(value, dict):
        own = MARK if key == "metadata" else ""
        return {own + name: marked(found, name) for name, found in value.items()}
    return value


def test_deviations_hold_no_payload():
    told = {}
    for name, events, edits, _ in PLANTED:
        planted = with_edits(events, *edits)
        sent = [Sent(one.event, one.data if isinstance(one.data, bytes) else marked(one.data)) for one in planted]
        told[name] = [one for one in check(sent) if MARK in str(one)]
    assert {name: found for name, found in told.items() if found} == {}


@each_row("data", [b'{"id": "step_1", "status": se3cret', b'"se3cret', b"\xff se3cret", b'["se3cret"]'])
def test_broken_data_is_not_quoted(data: bytes):
    for event in ("thread.run.step.completed", "thread.run.step.delta", "thread.message.delta", "error", "done"):
        found = check([Sent(event, data)])
        assert found, event
        assert MARK not in str(found), event


KEYS = st.sampled_from(
    sorted(WORDS | {"index", "delta", "step_details", "tool_calls", "content", "text", "usage", "metadata"})
)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)
NAMES = st.sampled_from([*KINDS, "done", "error", "thread.message.chunk", "keepalive", ""])


@given(st.lists(st.tuples(NAMES, JSON_VALUES | st.binary(max_size=20)), max_size=8))
def test_no_frames_whatever_make_the_checker_raise(events: list[tuple[str, Any]]):
    check(Sent(name, data) for name, data in events)


def paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the way to every value in JSON."""
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(found for key, inner in entries for found in paths(inner, (*path, key)))]


@given(st.data())
def test_nothing_put_into_a_sound_stream_makes_the_checker_raise(data: st.DataObject):
    events = data.draw(st.sampled_from([ANSWER, CALLING, CONTINUED]))
    sent = json.loads(json.dumps([[one.event, "" if isinstance(one.data, bytes) else one.data] for one in events]))
    for _ in range(data.draw(st.integers(1, 4))):
        *way, last = data.draw(st.sampled_from([path for path in paths(sent) if len(path) > 1 and path[1] == 1]))
        holder = sent
        for part in way:
            holder = holder[part]
        holder[last] = data.draw(JSON_VALUES)
    order = data.draw(st.permutations(sent) | st.just(sent))
    checker = Checker()
    for name, value in order:
        checker.feed(Frame(name, json.dumps(value).encode()))
    checker.finish()
