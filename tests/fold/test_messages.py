import json
from functools import partial

from stepstream.fold.changes import MessageTransition
from stepstream.wire.base import Unknown
from stepstream.wire.events import Event
from tests.support.json_values import JSON, event, plain
from tests.support.server_events import (
    MESSAGE,
    changes_of,
    codes,
    content_of,
    fold,
    last_changes_of,
    message,
    message_delta,
    names,
    text,
    transitions_of,
)
from tests.support.tables import each_row


def ended(*content: JSON, as_: str = "completed", status: str | None = None, **fields: object) -> Event:
    return message(status or as_, *content, as_=as_, **fields)


transitions = partial(transitions_of, MessageTransition)


# Transitions


def test_created_opens_the_message() -> None:
    first = message()
    assert (transitions(first), fold(first).messages[MESSAGE]) == ([(None, "in_progress", False)], first.data)


def test_same_status_is_no_transition() -> None:
    assert transitions(message(), message(as_="in_progress")) == [(None, "in_progress", False)]


@each_row("end", ["completed", "incomplete"])
def test_end_is_a_terminal_transition(end: str) -> None:
    assert transitions(message(), ended(as_=end))[1:] == [("in_progress", end, True)]


@each_row("end", ["completed", "incomplete"])
def test_status_alone_ends_a_message(end: str) -> None:
    assert transitions(message(), message(end, as_="in_progress"))[1:] == [("in_progress", end, True)]


def test_event_alone_ends_a_message_and_its_status_is_kept_as_sent() -> None:
    assert transitions(message(), ended(status="in_progress"))[1:] == [("in_progress", "in_progress", True)]


def test_end_of_a_message_never_seen_opens_it() -> None:
    end = ended(text("fog"))
    assert (transitions(end), fold(end).messages[MESSAGE]) == ([(None, "completed", True)], end.data)


@each_row("name", ["failed", "cancelled", "expired", "queued", "meditating"])
def test_other_statuses_do_not_end_a_message(name: str) -> None:
    assert transitions(message(), message(name, as_="in_progress"))[1:] == [("in_progress", name, False)]


def test_transition_carries_the_snapshot_right_after_it() -> None:
    end = ended(text("fog"))
    assert changes_of(message(), message_delta(text("f", 0)), end)[-1].message == end.data


def test_later_object_updates_scalar_fields() -> None:
    found = fold(message(metadata={}), message(as_="in_progress", metadata={"k": "v"})).messages[MESSAGE]
    assert found.metadata == {"k": "v"}


def test_later_object_removes_nothing_and_gives_what_is_missing() -> None:
    later = message(
        "in_progress", text("fog and", annotations=[]), {"type": "refusal", "refusal": "no"}, as_="in_progress"
    )
    assert content_of(message(), message_delta(text("fog", 0)), later) == [
        text("fog and", annotations=[]),
        {"type": "refusal", "refusal": "no"},
    ]


def test_later_object_that_adds_nothing_is_no_change() -> None:
    assert last_changes_of(message(), message(as_="in_progress")) == []


def test_later_object_that_adds_to_the_content_is_a_progress() -> None:
    later = message("in_progress", text("fog"), as_="in_progress")
    (change,) = last_changes_of(message(), later)
    assert (change.delta, change.late, change.message) == (None, False, later.data)


# Deltas

NOTE = {"type": "file_citation", "text": "[1]", "file_citation": {"file_id": "file_a"}}

BUILT: dict[str, tuple[list[Event], list[JSON]]] = {
    "text_is_appended": (
        [message_delta(text("fo", 0, annotations=[])), message_delta(text("g", 0)), message_delta(text("!", 0))],
        [text("fog!", annotations=[])],
    ),
    "text_without_type_is_appended": (
        [message_delta(text("fo", 0)), message_delta({"index": 0, "text": {"value": "g"}})],
        [text("fog")],
    ),
    "empty_annotations_after_the_text_are_kept": (
        [message_delta(text("fo", 0)), message_delta(text("g", 0, annotations=[]))],
        [text("fog", annotations=[])],
    ),
    "empty_annotations_again_change_nothing": (
        [message_delta(text("fo", 0, annotations=[{"index": 0, **NOTE}])), message_delta(text("g", 0, annotations=[]))],
        [text("fog", annotations=[NOTE])],
    ),
    "refusal_is_appended": (
        [message_delta({"index": 0, "type": "refusal", "refusal": "n"}), message_delta({"index": 0, "refusal": "o"})],
        [{"type": "refusal", "refusal": "no"}],
    ),
    "content_goes_by_index": (
        [message_delta(text("b", 7)), message_delta(text("a", 2), text("c", 9)), message_delta(text("B", 7))],
        [text("a"), text("bB"), text("c")],
    ),
    "entries_for_one_index_apply_in_order": ([message_delta(text("a", 0), text("b", 0))], [text("ab")]),
    "annotations_go_by_index": (
        [
            message_delta(text("see", 0, annotations=[{"index": 5, **NOTE, "start_index": 1}])),
            message_delta(text(None, 0, annotations=[{"index": 2, "type": "file_path", "text": "p"}])),
            message_delta(text(None, 0, annotations=[{"index": 5, "start_index": 2, "end_index": 3}])),
        ],
        [text("see", annotations=[{"type": "file_path", "text": "p"}, {**NOTE, "start_index": 2, "end_index": 3}])],
    ),
    "text_of_an_annotation_is_replaced": (
        [
            message_delta(text("see", 0, annotations=[{"index": 0, "type": "file_path", "text": "[1"}])),
            message_delta(text(None, 0, annotations=[{"index": 0, "text": "[1]"}])),
        ],
        [text("see", annotations=[{"type": "file_path", "text": "[1]"}])],
    ),
    "image_is_kept": (
        [message_delta({"index": 0, "type": "image_file", "image_file": {"file_id": "f", "detail": "low"}})],
        [{"type": "image_file", "image_file": {"file_id": "f", "detail": "low"}}],
    ),
    "url_is_replaced": (
        [
            message_delta({"index": 0, "type": "image_url", "image_url": {"url": "a"}}),
            message_delta({"index": 0, "type": "image_url", "image_url": {"url": "b"}}),
        ],
        [{"type": "image_url", "image_url": {"url": "b"}}],
    ),
    "parts_of_other_kinds_grow_beside_a_text": (
        [
            message_delta(text("a", 0)),
            message_delta({"index": 0, "type": "text", "text": {"value": "b"}, "refusal": "n"}),
            message_delta({"index": 0, "type": "text", "text": {"value": "c"}, "image_url": {"url": "u"}}),
            message_delta({"index": 0, "type": "text", "text": {"value": "d"}, "image_file": {"file_id": "f"}}),
        ],
        [{**text("abcd"), "refusal": "n", "image_url": {"url": "u"}, "image_file": {"file_id": "f"}}],
    ),
    "unknown_content_is_kept_and_folds_alike": (
        [
            message_delta({"index": 0, "type": "hologram", "hologram": {"logs": "a", "size": 1}}),
            message_delta({"index": 0, "hologram": {"logs": "b", "size": 2}, "mood": "calm"}),
        ],
        [{"type": "hologram", "hologram": {"logs": "ab", "size": 2}, "mood": "calm"}],
    ),
    "unknown_annotation_is_kept": (
        [message_delta(text("a", 0, annotations=[{"index": 0, "type": "doodle", "ink": {"name": "blue"}}]))],
        [text("a", annotations=[{"type": "doodle", "ink": {"name": "blue"}}])],
    ),
    "type_that_comes_later_tells_the_kind": (
        [message_delta({"index": 0, "hologram": {"size": 1}}), message_delta({"index": 0, "type": "hologram"})],
        [{"hologram": {"size": 1}, "type": "hologram"}],
    ),
    "null_changes_nothing": (
        [
            message_delta(text("fog", 0)),
            message_delta({"index": 0, "type": None, "text": None}),
            message_delta(text(None, 0)),
        ],
        [text("fog")],
    ),
    "null_value_changes_nothing": (
        [message_delta(text("fog", 0)), message_delta({"index": 0, "type": "text", "text": {"value": None}})],
        [text("fog")],
    ),
    "null_where_nothing_was_is_kept": (
        [message_delta({"index": 0, "type": "text", "text": {"value": None, "annotations": None}})],
        [{"type": "text", "text": {"value": None, "annotations": None}}],
    ),
    "text_after_a_null_is_taken": (
        [message_delta({"index": 0, "type": "text", "text": None}), message_delta(text("fog", 0))],
        [text("fog")],
    ),
}


@each_row(("deltas", "content"), BUILT.values(), ids=BUILT)
def test_deltas_build_the_content(deltas: list[Event], content: list[JSON]) -> None:
    assert content_of(message(), *deltas) == content


@each_row(("deltas", "content"), BUILT.values(), ids=BUILT)
def test_deltas_that_fit_are_no_anomaly(deltas: list[Event], content: list[JSON]) -> None:
    assert codes(fold(message(), *deltas)) == []


@each_row(("deltas", "content"), BUILT.values(), ids=BUILT)
def test_deltas_build_the_content_of_a_message_that_opened_without(deltas: list[Event], content: list[JSON]) -> None:
    assert content_of(event("thread.message.created", {"id": MESSAGE}), *deltas) == content


@each_row(("deltas", "content"), BUILT.values(), ids=BUILT)
def test_deltas_that_came_first_build_the_same_content(deltas: list[Event], content: list[JSON]) -> None:
    assert content_of(*deltas, message()) == content


def test_every_delta_is_a_progress() -> None:
    assert (
        names(changes_of(message(), message_delta(text("a", 0)), message_delta(text("b", 0)))[1:])
        == ["MessageProgress"] * 2
    )


def test_progress_gives_a_message_at_least_as_new_as_its_delta() -> None:
    accumulator = fold(message())
    (progress,) = accumulator.apply(message_delta(text("a", 0)))
    accumulator.apply(message_delta(text("b", 0)))
    assert progress.message == accumulator.messages[MESSAGE]


def test_deltas_go_on_with_content_that_the_object_listed() -> None:
    assert content_of(message("in_progress", text("fo", annotations=[])), message_delta(text("g", 0))) == [
        text("fog", annotations=[])
    ]


def test_old_name_of_the_delta_folds_alike() -> None:
    chunk = event("thread.message.chunk", {"id": MESSAGE, "delta": {"content": [text("fog", 0)]}})
    assert content_of(message(), chunk) == [text("fog")]


def test_twice_encoded_delta_folds_alike() -> None:
    twice = event("thread.message.delta", json.dumps({"id": MESSAGE, "delta": {"content": [text("fog", 0)]}}))
    assert content_of(message(), twice) == [text("fog")]


def test_role_is_taken_from_a_delta() -> None:
    bare = event("thread.message.created", {"id": MESSAGE})
    assert fold(bare, message_delta(role="assistant")).messages[MESSAGE].role == "assistant"


def test_role_is_taken_beside_a_text() -> None:
    found = fold(message(role=None), message_delta(text("a", 0)), message_delta(text("b", 0), role="user")).messages[
        MESSAGE
    ]
    assert (found.role, found.text) == ("user", "ab")


def test_text_of_the_snapshot_is_joined() -> None:
    found = fold(message(), message_delta(text("low ", 0)), message_delta(text("tide", 1)))
    assert found.messages[MESSAGE].text == "low tide"


def test_unknown_content_keeps_its_place() -> None:
    found = fold(message(), message_delta({"index": 0, "type": "hologram"}, text("a", 1))).messages[MESSAGE]
    assert [type(part) is Unknown for part in found.content] == [True, False]


@each_row("body", [None, {}, {"content": None}, {"role": None, "content": None}, {"mood": "calm"}])
def test_delta_of_nothing_is_no_change(body: object) -> None:
    assert last_changes_of(message(), event("thread.message.delta", {"id": MESSAGE, "delta": body})) == []


def test_empty_content_changes_nothing_known() -> None:
    assert content_of(message(), message_delta(text("a", 0)), message_delta()) == [text("a")]


REFUSED: dict[str, tuple[Event, str]] = {
    "other_type": (message_delta(text("!", 0), {"index": 1, "type": "image_url"}), "type_conflict"),
    "other_type_of_an_annotation": (
        message_delta(text("!", 0, annotations=[{"index": 0, "type": "file_path"}])),
        "type_conflict",
    ),
    "bad_index": (message_delta(text("!", 0), text("!", 1024)), "bad_index"),
    "bad_index_of_an_annotation": (message_delta(text("!", 0, annotations=[{"index": -1}])), "bad_index"),
    "wrong_shape": (message_delta(text("!", 0), {"index": 1, "refusal": 5}), "malformed_delta"),
}

KNOWN = [
    message(),
    message_delta(text("fog", 0, annotations=[{"index": 0, **NOTE}])),
    message_delta({"index": 1, "type": "refusal", "refusal": "no"}),
]


@each_row(("event", "code"), REFUSED.values(), ids=REFUSED)
def test_delta_that_contradicts_is_one_anomaly_and_changes_nothing(event: Event, code: str) -> None:
    assert (names(last_changes_of(*KNOWN, event)), content_of(*KNOWN, event)) == ([code], content_of(*KNOWN))


def test_delta_never_invents_a_message() -> None:
    accumulator = fold(message_delta(text("a", 0)))
    assert (dict(accumulator.messages), codes(accumulator)) == ({}, ["delta_before_created"])


# The terminal object, and after it


def test_terminal_object_is_the_truth() -> None:
    end = ended(text("fog!", annotations=[NOTE]), completed_at=7)
    assert fold(message(), message_delta(text("fo", 0)), end).messages[MESSAGE] == end.data


@each_row(
    ("content", "expected"),
    [
        ([{"type": "text", "text": {"value": None, "annotations": []}}], [text("fog", annotations=[])]),
        ([{"type": "text", "text": None}], [text("fog")]),
        (None, [text("fog")]),
        ([], []),
    ],
    ids=["value", "text", "content", "empty"],
)
def test_nulls_of_the_terminal_object_erase_nothing(content: object, expected: list[JSON]) -> None:
    end = message("completed", as_="completed", content=content)
    assert content_of(message(), message_delta(text("fog", 0)), end) == expected


@each_row(
    ("again", "code"),
    [
        (ended(text("fog")), "duplicate_terminal"),
        (ended(text("rain")), "conflicting_terminal"),
        (ended(text("fog"), as_="incomplete"), "conflicting_terminal"),
        (message(), "status_regression"),
        (message(as_="in_progress"), "status_regression"),
    ],
    ids=["same", "other_text", "other_status", "created", "in_progress"],
)
def test_object_after_the_terminal_one_is_an_anomaly_and_only_that(again: Event, code: str) -> None:
    events = message(), ended(text("fog")), again
    assert (names(last_changes_of(*events)), content_of(*events)) == ([code], [text("fog")])


def test_second_created_is_a_duplicate() -> None:
    assert codes(fold(message(), message())) == ["duplicate_created"]


def test_late_delta_fills_a_null() -> None:
    end = ended({"type": "refusal", "refusal": None})
    (change,) = last_changes_of(message(), end, message_delta({"index": 0, "refusal": "no"}))
    assert (change.late, plain(change.message)["content"]) == (True, [{"type": "refusal", "refusal": "no"}])


def test_late_delta_appends_to_nothing() -> None:
    events = message(), ended(text("fog")), message_delta(text("!", 0))
    assert (codes(fold(*events)), content_of(*events)) == (["delta_after_terminal"], [text("fog")])


def test_second_terminal_object_fills_a_null() -> None:
    null, full = ended({"type": "refusal", "refusal": None}), ended({"type": "refusal", "refusal": "no"})
    assert (names(last_changes_of(null, full)), fold(null, full).messages[MESSAGE]) == (["MessageProgress"], full.data)
