"""A reference fold: the rules for deltas, written once more with dicts, against random deltas of every kind."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepstream.wire.events import Event
from tests.support.json_values import JSON, plain
from tests.support.server_events import (
    CODE,
    MESSAGE,
    ROD,
    SEARCH,
    created,
    delta,
    fold,
    message,
    message_delta,
    step_of,
)

some = settings(deadline=None)
many = settings(max_examples=1_000, deadline=None)


# The reference: what deltas make of a step's tool calls

STEP_TEXTS = {"arguments", "input", "logs", "output"}
MESSAGE_TEXTS = STEP_TEXTS | {"value", "refusal"}
ONCE = {"id", "type", "name"}


class RefusedError(Exception):
    """The delta applies not at all."""


class Places(dict[int, JSON]):
    """A list that goes by index."""


def with_more(have: JSON, more: JSON, texts: set[str]) -> JSON:
    """Return a new object: `have` with what a delta adds."""
    result = dict(have)
    for key, value in more.items():
        old = result.get(key)
        if value is None:
            result.setdefault(key, None)
        elif key in ONCE and old is not None:
            if value != old:
                raise RefusedError
        elif key in texts and isinstance(value, str):
            result[key] = (old or "") + value
        elif isinstance(value, dict):
            result[key] = with_more(old or {}, value, texts)
        elif isinstance(value, list) and all(isinstance(entry, dict) and "index" in entry for entry in value):
            result[key] = with_entries(old or Places(), value, texts)
        else:
            result[key] = value
    return result


def with_entries(have: Places, entries: list[JSON], texts: set[str]) -> Places:
    result = Places(have)
    for entry in entries:
        more = {key: value for key, value in entry.items() if key != "index"}
        result[entry["index"]] = with_more(result.get(entry["index"], {}), more, texts)
    return result


def as_lists(value: Any) -> Any:
    """Return the snapshot of the reference's own objects."""
    if isinstance(value, Places):
        return [as_lists(value[index]) for index in sorted(value)]
    return {key: as_lists(found) for key, found in value.items()} if isinstance(value, dict) else value


# Deltas of every kind, some of which contradict those before

WORDS = st.sampled_from(["", "a", "b\r\n", "{", '"fog"', "\u00e5"])
SELDOM = st.integers(0, 19).map(lambda number: number == 0)


def optional(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[JSON]:
    return st.fixed_dictionaries({}, optional=fields)


OUTPUTS = st.lists(
    st.builds(
        lambda index, content: {"index": index, **content},
        st.integers(0, 3),
        optional(type=st.just("logs"), logs=WORDS) | optional(type=st.just("image"), image=optional(file_id=WORDS)),
    ),
    min_size=1,
    max_size=3,
)
HITS = st.lists(
    optional(file_id=WORDS, score=st.integers(0, 3) | st.just(0.5), attributes=st.just({"k": [1]})), min_size=1
)

PIECES: dict[str, st.SearchStrategy[JSON]] = {
    "function": optional(function=optional(name=st.just("sail"), arguments=WORDS, output=st.none() | WORDS)),
    CODE: optional(code_interpreter=optional(input=WORDS, outputs=OUTPUTS)),
    SEARCH: optional(
        file_search=optional(
            ranking_options=optional(ranker=st.just("auto"), score_threshold=st.integers(0, 2)), results=HITS
        )
    ),
    "mcp": optional(name=st.just("find"), arguments=WORDS, output=st.none() | WORDS, server_label=WORDS),
    ROD: optional(
        dowsing_rod=optional(
            name=st.just("yew"),
            input=WORDS,
            value=WORDS,
            depth=st.integers(0, 9),
            deep=optional(logs=WORDS, text=WORDS),
        ),
        finds=st.lists(
            st.builds(lambda index, logs: {"index": index, "logs": logs}, st.integers(0, 3), WORDS), min_size=1
        ),
        notes=st.lists(st.integers(0, 9), min_size=1),
        mood=st.none() | WORDS,
    ),
}
INDEXES = {0: "function", 1: CODE, 2: SEARCH, 7: "mcp", 1023: ROD}


@st.composite
def entries(draw: st.DrawFn) -> JSON:
    """Draw an entry of a delta; seldom one with another id or type than the other entries of its index."""
    index = draw(st.sampled_from(sorted(INDEXES)))
    kind = INDEXES[index]
    entry: JSON = {"index": index}
    if draw(st.booleans()):
        entry["id"] = "call_other" if draw(SELDOM) else draw(st.sampled_from([f"call_{index}", None]))
    if draw(st.booleans()):
        entry["type"] = "willow_rod" if draw(SELDOM) else kind
    return {**entry, **draw(PIECES[kind])}


DELTAS = st.lists(entries(), min_size=1, max_size=4)


NOTES = st.lists(
    st.builds(
        lambda index, note: {"index": index, **note},
        st.integers(0, 3),
        optional(
            type=st.just("file_path"), text=WORDS, start_index=st.integers(0, 9), file_path=optional(file_id=WORDS)
        ),
    ),
    min_size=1,
    max_size=3,
)
PARTS: dict[str, st.SearchStrategy[JSON]] = {
    "text": optional(text=st.none() | optional(value=st.none() | WORDS, annotations=NOTES)),
    "refusal": optional(refusal=WORDS),
    "image_url": optional(image_url=optional(url=WORDS, detail=WORDS)),
    "hologram": optional(hologram=optional(name=st.just("h"), logs=WORDS, size=st.integers(0, 9)), mood=WORDS),
}
PLACES = {0: "text", 1: "refusal", 5: "image_url", 6: "text", 1023: "hologram"}


@st.composite
def contents(draw: st.DrawFn) -> JSON:
    """Draw an entry of a message's delta; seldom one of another type than the other entries of its index."""
    index = draw(st.sampled_from(sorted(PLACES)))
    kind = PLACES[index]
    entry: JSON = {"index": index}
    if draw(st.booleans()):
        entry["type"] = "song" if draw(SELDOM) else kind
    return {**entry, **draw(PARTS[kind])}


CONTENT_DELTAS = st.lists(contents(), min_size=1, max_size=4)


def canonical(value: object) -> str:
    return json.dumps(value, sort_keys=True)


def check_steps(first: Event, deltas: list[list[JSON]]) -> None:
    accumulator, expected = fold(first, delta()), Places()
    for calls in deltas:
        refusals = len(accumulator.anomalies)
        accumulator.apply(delta(*calls))
        try:
            expected = with_entries(expected, calls, STEP_TEXTS)
        except RefusedError:
            refusals += 1
        found = step_of(accumulator)["step_details"]["tool_calls"]
        assert canonical(found) == canonical(as_lists(expected))
        assert len(accumulator.anomalies) == refusals


def check_messages(first: Event, deltas: list[list[JSON]]) -> None:
    accumulator, expected = fold(first, message_delta()), Places()
    for content in deltas:
        refusals = len(accumulator.anomalies)
        accumulator.apply(message_delta(*content))
        try:
            expected = with_entries(expected, content, MESSAGE_TEXTS)
        except RefusedError:
            refusals += 1
        found = plain(accumulator.messages[MESSAGE])["content"]
        assert canonical(found) == canonical(as_lists(expected))
        assert len(accumulator.anomalies) == refusals


@some
@given(st.lists(DELTAS, max_size=8))
def test_steps_are_those_of_the_reference(deltas: list[list[JSON]]) -> None:
    check_steps(created(), deltas)


@some
@given(st.lists(DELTAS, max_size=8))
def test_steps_that_opened_without_details_are_those_of_the_reference(deltas: list[list[JSON]]) -> None:
    check_steps(created(step_details=None), deltas)


@pytest.mark.slow
@many
@given(st.lists(DELTAS, max_size=12))
def test_many_steps_are_those_of_the_reference(deltas: list[list[JSON]]) -> None:
    check_steps(created(), deltas)


@some
@given(st.lists(CONTENT_DELTAS, max_size=8))
def test_messages_are_those_of_the_reference(deltas: list[list[JSON]]) -> None:
    check_messages(message(), deltas)


@pytest.mark.slow
@many
@given(st.lists(CONTENT_DELTAS, max_size=12))
def test_many_messages_are_those_of_the_reference(deltas: list[list[JSON]]) -> None:
    check_messages(message(content=None), deltas)
