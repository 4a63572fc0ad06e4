"""A field of an object that does not fit its type costs that field, and nothing else."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepstream.wire.events import Event, Malformed
from stepstream.wire.loose import MAX_REPORTED, BadField
from tests.support.json_values import JSON, event, plain
from tests.support.odd_fields import EXTENTS, ISO, ROOTS, STATUSES, TIME, Place, at, oddities, put, whole
from tests.support.tables import each_row
from tests.support.wire_samples import CREATED, DELTA, OBJECTS, calls_delta, tool_step


def with_status(root: str, read: JSON) -> JSON:
    """Return what is read with the status of the event's name, where it has none."""
    return read if root == "thread" or read.get("status") else {**read, "status": STATUSES[root]}


@each_row("root", ROOTS)
def test_whole_objects_fit(root: str):
    good, places = whole(root)
    found = event(ROOTS[root][1], good)
    assert (plain(found.data), found.bad_fields, len(places) > 3) == (good, (), True)


@pytest.mark.parametrize(("root", "every"), [("thread", 1), *EXTENTS])
def test_odd_value_in_any_field_costs_that_field_and_the_object_encodes_as_it_was_read(root: str, every: int):
    struct, name = ROOTS[root]
    wrong: dict[str, object] = {}
    for one in oddities(root, every):
        found = event(name, one.sent)
        got = type(found.data), plain(found.data), [bad.path for bad in found.bad_fields]
        if got != (struct, with_status(root, one.read), one.told):
            wrong[one.name] = got[2]
        again = event(name, plain(found.data))
        assert (again.data, again.bad_fields) == (found.data, ()), one.name
    assert wrong == {}


# Times and counts

TIMES: list[tuple[object, object]] = [
    ("2025-01-01T00:00:00Z", TIME),
    ("2025-01-01t00:00:00z", TIME),
    ("2025-01-01 00:00:00", TIME),
    ("2025-01-01T00:00:00", TIME),
    ("2025-01-01T02:00:00+02:00", TIME),
    ("2024-12-31T18:30:00-0530", TIME),
    ("20250101T000000Z", TIME),
    ("2025-01-01T00:00:00.000Z", TIME),
    ("2025-01-01T00:00:00.5Z", TIME + 0.5),
    ("2025-01-01T00:00:00.123456789Z", TIME + 0.123456),
    ("1969-12-31T23:59:59Z", -1),
    ("1969-12-31T23:59:59.5Z", -0.5),
    (1735689600000, TIME),
    (1735689600500, TIME + 0.5),
    (1735689600000.0, float(TIME)),
    (10**11 + 1, 100000000.001),
    (10**14, 10**11),
]
NO_TIMES = [
    "2025-01-01", "20250101", "1735689600", "", "T", " ", "now", "2025-13-01T00:00:00Z", "2025-01-01T25:00:00Z",
    "9999-12-31T23:59:59Z", "0001-01-01T00:00:00+99:99", 10**14 + 1, 10**15, 10**30, 1e300, True, [], {},
]  # fmt: skip
GOOD_TIMES: list[object] = [10**11, 1e11, 0, -1, 0.5, 1790000000.0, None]


@each_row(("sent", "seconds"), TIMES)
def test_time_in_another_form_is_read_in_seconds_and_told(sent: object, seconds: object):
    found = event(CREATED, {"id": "a", "created_at": sent})
    read = found.data.created_at
    assert (read, type(read)) == (pytest.approx(seconds, rel=1e-12), type(seconds))
    assert [bad.path for bad in found.bad_fields] == ["created_at"]


@each_row("sent", NO_TIMES)
def test_what_is_no_time_is_left_out(sent: object):
    found = event(CREATED, {"id": "a", "created_at": sent, "failed_at": 5})
    assert plain(found.data) == {"id": "a", "status": "in_progress", "failed_at": 5}
    assert [bad.path for bad in found.bad_fields] == ["created_at"]


@each_row("sent", GOOD_TIMES)
def test_time_in_seconds_is_as_it_was_sent(sent: object):
    found = event(CREATED, {"id": "a", "created_at": sent, "metadata": []})
    assert (found.data.created_at, type(found.data.created_at)) == (sent, type(sent))
    assert [bad.path for bad in found.bad_fields] == ["metadata"]


@each_row(
    ("sent", "read"),
    [(3.0, 3), (-0.0, 0), (2**63 - 1, 2**63 - 1), (-(2**63), -(2**63)), (1e3, 1000)],
)
def test_whole_count_is_an_integer(sent: object, read: int):
    found = event(CREATED, {"id": "a", "usage": {"total_tokens": sent}})
    assert (found.data.usage.total_tokens, type(found.data.usage.total_tokens)) == (read, int)
    assert len(found.bad_fields) == isinstance(sent, float)


@each_row("sent", [3.5, 1e30, 2**63, -(2**63) - 1, 10**400, "3", True])
def test_what_is_no_count_is_left_out(sent: object):
    found = event(CREATED, {"id": "a", "usage": {"total_tokens": sent, "prompt_tokens": 1}})
    assert plain(found.data)["usage"] == {"prompt_tokens": 1}


# What is told

WORDS = [
    ({"metadata": []}, ("metadata", "metadata as an object", "a list, left out")),
    ({"metadata": 1.5}, ("metadata", "metadata as an object", "a float, left out")),
    ({"status": 5}, ("status", "status as a string", "an integer, left out")),
    ({"created_at": ISO}, ("created_at", "created_at as Unix seconds", "a string, read as Unix seconds")),
    ({"created_at": True}, ("created_at", "created_at as Unix seconds", "a boolean, left out")),
    (
        {"usage": {"total_tokens": 3.0}},
        (
            "usage.total_tokens",
            "usage.total_tokens as an integer of at most 64 bits",
            "a float, read as an integer of at most 64 bits",
        ),
    ),
    (
        {"step_details": {"tool_calls": [{}, {}, {"function": {"arguments": {}}}]}},
        (
            "step_details.tool_calls[2].function.arguments",
            "step_details.tool_calls[2].function.arguments as a string",
            "an object, left out",
        ),
    ),
    (
        {"step_details": {"tool_calls": [None]}},
        ("step_details.tool_calls[0]", "step_details.tool_calls[0] as an object", "null, left out"),
    ),
]


@each_row(("fields", "words"), WORDS, ids=[words[0] for _, words in WORDS])
def test_odd_field_is_told_by_its_path_and_in_words(fields: JSON, words: tuple[str, str, str]):
    assert event(CREATED, {"id": "a", **fields}).bad_fields == (BadField(*words),)


@each_row("count", [MAX_REPORTED - 1, MAX_REPORTED, MAX_REPORTED + 1, 2_000])
def test_first_odd_fields_are_told_and_the_others_counted(count: int):
    found = event("thread.run.queued", {"id": "a", "tools": [5] * count, "file_ids": ["f"]})
    told = [bad.path for bad in found.bad_fields]
    assert told[:MAX_REPORTED] == [f"tools[{position}]" for position in range(min(count, MAX_REPORTED))]
    assert found.data.file_ids == ("f",)
    more = f"{count - MAX_REPORTED:,} more that do not"
    assert found.bad_fields[MAX_REPORTED:] == (
        (BadField("", "fields that fit their types", more),) if count > MAX_REPORTED else ()
    )


def test_odd_fields_of_many_names_are_counted_too():
    good, _ = whole("run")
    names = [name for name in good if name not in ("id", "status", "parallel_tool_calls")]
    found = event("thread.run.queued", {**good, **dict.fromkeys(names, True)})
    assert [bad.path for bad in found.bad_fields] == [*names[:MAX_REPORTED], ""]
    assert found.bad_fields[-1].got == f"{len(names) - MAX_REPORTED} more that do not"


# Kinds that are not known, and objects without a type

UNKNOWN_AND_ODD = {
    "id of an unknown call": ({"type": "rod", "id": 5, "x": 5}, {"type": "rod", "x": 5}, "id"),
    "content of an unknown call": ({"type": "rod", "function": 5}, {"type": "rod", "function": 5}, None),
    "field of a call whose type may come": ({"x": 1, "name": 5}, {"x": 1}, "name"),
    "part of a call whose type may come": (
        {"x": 1, "server_label": "s", "name": []},
        {"x": 1, "server_label": "s"},
        "name",
    ),
    "odd type": ({"type": [], "function": {"name": "f"}}, {"function": {"name": "f"}}, "type"),
}


@each_row(("call", "read", "path"), UNKNOWN_AND_ODD.values(), ids=UNKNOWN_AND_ODD)
def test_object_of_an_unknown_kind_keeps_all_that_fits(call: JSON, read: JSON, path: str | None):
    found = event(CREATED, tool_step(call, {"type": "rod"}))
    assert plain(found.data) == tool_step(read, {"type": "rod"})
    place = "step_details.tool_calls[0]"
    assert [bad.path for bad in found.bad_fields] == ([] if path is None else [f"{place}.{path}"])


def test_odd_part_of_a_message_whose_type_may_come_is_left_out():
    content = {"x": 1, "text": {"value": 5, "annotations": []}}
    found = event("thread.message.created", {"id": "a", "content": [content], "role": 5})
    assert plain(found.data)["content"] == [{"text": {"annotations": []}}]


def test_odd_field_of_an_annotation_whose_type_may_come_is_read_where_that_is_plain():
    text = {"value": "v", "annotations": [{"x": 1, "start_index": 3.0}]}
    found = event("thread.message.created", {"id": "a", "content": [{"type": "text", "text": text}]})
    assert plain(found.data)["content"][0]["text"]["annotations"] == [{"x": 1, "start_index": 3}]


# What is still refused


@each_row("root", ROOTS)
@each_row("data", [{}, {"id": None}, {"id": 5}, {"id": []}, {"id": {}, "metadata": []}, [], 5, None])
def test_object_without_a_usable_id_is_malformed(root: str, data: object):
    found = event(ROOTS[root][1], data)
    assert (type(found.data), found.bad_fields) == (Malformed, ())


@each_row(
    "call",
    [
        {"index": 0, "id": 5},
        {"index": 0, "function": {"arguments": {}}},
        {"index": 0, "type": "rod", "id": 5},
        {"index": 0, "code_interpreter": {"outputs": [5]}},
    ],
)
def test_delta_with_an_odd_field_is_refused_as_a_whole(call: JSON):
    found = event(DELTA, calls_delta({"index": 1, "type": "function"}, call))
    assert (found.data.code, found.bad_fields) == ("malformed_delta", ())


# Whatever comes

ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abid"), inner, max_size=3),
    max_leaves=6,
)
WHOLE = {root: whole(root) for root in ROOTS}


@st.composite
def replaced(draw: st.DrawFn) -> tuple[str, JSON, list[Place]]:
    """Return a whole object some of whose fields hold anything, and the places of those that do not."""
    root = draw(st.sampled_from(list(ROOTS)))
    sent, places = WHOLE[root]
    chosen = draw(st.lists(st.sampled_from(places), min_size=1, max_size=6, unique=True))
    for place in sorted(chosen, key=lambda one: -len(one.path)):  # what is within another goes first
        sent = put(sent, place.path, draw(ANY))
    touched = [place.path for place in chosen]
    rest = [
        one
        for one in places
        if not any(one.path[: len(path)] == path or path[: len(one.path)] == one.path for path in touched)
    ]
    return root, sent, rest


@given(replaced())
def test_whatever_fields_hold_the_object_and_all_its_other_fields_stay(case: tuple[str, JSON, list[Place]]):
    root, sent, rest = case
    struct, name = ROOTS[root]
    found: Event = event(name, sent)
    assert type(found.data) is struct
    read: Any = plain(found.data)
    assert {one.dotted: at(read, one.path) for one in rest} == {one.dotted: at(sent, one.path) for one in rest}
    assert event(name, read).bad_fields == ()
    assert len(found.bad_fields) <= MAX_REPORTED + 1


def test_objects_as_servers_send_them_have_no_odd_fields():
    assert {case: event(name, data).bad_fields for case, (name, data) in OBJECTS.items()} == dict.fromkeys(OBJECTS, ())


def test_millions_of_odd_entries_are_read_in_one_pass():
    payload = {"id": "a", "tools": [0] * 2_000_000, "metadata": {"k": "v"}}
    found = event("thread.run.queued", payload)
    assert (found.data.tools, found.data.metadata, len(found.bad_fields)) == ((), {"k": "v"}, MAX_REPORTED + 1)
    assert msgspec.json.encode(found.data) == b'{"id":"a","status":"queued","tools":[],"metadata":{"k":"v"}}'
