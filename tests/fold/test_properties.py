"""What holds for all streams of servers, whatever is duplicated, lost or out of order."""

import json
import random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from stepstream.fold.accumulator import Accumulator
from stepstream.wire.events import Event
from tests.support import server_events
from tests.support.json_values import JSON
from tests.support.server_events import (
    CODE,
    ROD,
    SEARCH,
    asking,
    call,
    check_that_everything_comes_once,
    codes,
    created,
    delta,
    ended,
    fold,
    lines,
    moved,
    piece,
    run,
    step_of,
)

some = settings(deadline=None)


WORDS = st.sampled_from(["", "a", "b\r\n", "{", '"fog"', "\u00e5"])

# Whole lives of steps, as servers send them

TEXTS = st.lists(WORDS, min_size=1, max_size=4)


@st.composite
def told_calls(draw: st.DrawFn, index: int, identifier: str) -> tuple[JSON, list[JSON]]:
    """Draw a call as the terminal object lists it, and the pieces that deltas tell it in."""
    texts = draw(TEXTS)
    whole = "".join(texts)
    match draw(st.sampled_from(["function", CODE, SEARCH, "mcp", ROD])):
        case "function":
            full = call(identifier, name="sail", arguments=whole, output=draw(st.none() | WORDS))
            pieces = [piece(index, id=identifier, name="sail", arguments="", output=None)]
            pieces += [piece(index, arguments=some_text) for some_text in texts]
        case server_events.CODE:
            logs = draw(TEXTS)
            outputs = [{"type": "logs", "logs": "".join(logs)}, {"type": "image", "image": {"file_id": "file_1"}}]
            full = call(identifier, CODE, input=whole, outputs=outputs)
            pieces = [piece(index, CODE, id=identifier, input="", outputs=[])]
            pieces += [piece(index, CODE, input=some_text) for some_text in texts]
            pieces += [piece(index, CODE, outputs=[{"index": 1, **outputs[1]}])]
            pieces += [
                piece(index, CODE, outputs=[{"index": 0, "type": "logs", "logs": some_text}]) for some_text in logs
            ]
        case server_events.SEARCH:
            full = call(identifier, SEARCH, ranking_options={"ranker": "auto"}, results=[{"file_id": whole}])
            pieces = [piece(index, SEARCH, id=identifier, ranking_options={"ranker": "auto"})] * len(texts)
        case "mcp":
            mcp = {"id": identifier, "type": "mcp", "name": "find"}
            full = {**mcp, "arguments": whole, "output": None}
            pieces = [{"index": index, **mcp}]
            pieces += [{"index": index, "type": "mcp", "arguments": some_text} for some_text in texts]
        case kind:
            full = call(identifier, kind, input=whole, depth=len(texts))
            pieces = [piece(index, kind, id=identifier)]
            pieces += [piece(index, kind, input=some_text, depth=depth) for depth, some_text in enumerate(texts, 1)]
    return full, pieces


@st.composite
def lives(draw: st.DrawFn, name: str) -> list[Event]:
    """Draw the events of one step: it opens, grows, and ends."""
    indexes = sorted(draw(st.sets(st.integers(0, 9), max_size=3)))
    told = [draw(told_calls(index, f"call_{name}_{index}")) for index in indexes]
    pieces = [one for _, pieces in told for one in pieces]
    if draw(st.booleans()):
        pieces = [one for _, one in sorted(enumerate(pieces), key=lambda pair: pair[0] % 3)]
    events = [created(id=name), *(delta(one, id=name) for one in pieces)]
    if draw(st.booleans()):
        events.insert(1, moved(id=name))
    end = draw(st.sampled_from(["completed", "failed", "cancelled", "expired", "incomplete"]))
    return [*events, ended(*(full for full, _ in told), as_=end, id=name, completed_at=1790000009)]


HANDFUL = st.tuples(lives("step_oak"), lives("step_elm"), lives("step_yew"))


def interleaved(streams: tuple[list[Event], ...], seed: int) -> list[Event]:
    """Return the events of several streams as one, each in its own order."""
    order = [number for number, stream in enumerate(streams) for _ in stream]
    random.Random(seed).shuffle(order)
    each = [iter(stream) for stream in streams]
    return [next(each[number]) for number in order]


def snapshots(accumulator: Accumulator) -> dict[str, JSON]:
    return {identifier: step_of(accumulator, identifier) for identifier in accumulator.steps}


SEEDS = st.integers(0, 2**32)


@some
@given(HANDFUL, SEEDS)
def test_server_that_keeps_to_the_protocol_makes_no_anomaly(streams: tuple[list[Event], ...], seed: int) -> None:
    assert codes(fold(*interleaved(streams, seed))) == []


@some
@given(HANDFUL, SEEDS)
def test_interleaving_of_steps_commutes(streams: tuple[list[Event], ...], seed: int) -> None:
    one_after_the_other = [event for stream in streams for event in stream]
    assert snapshots(fold(*interleaved(streams, seed))) == snapshots(fold(*one_after_the_other))


@some
@given(HANDFUL, SEEDS, st.data())
def test_interleaving_of_open_steps_commutes(streams: tuple[list[Event], ...], seed: int, data: st.DataObject) -> None:
    cut = tuple(stream[: data.draw(st.integers(1, len(stream)))] for stream in streams)
    one_after_the_other = [event for stream in cut for event in stream]
    assert snapshots(fold(*interleaved(cut, seed))) == snapshots(fold(*one_after_the_other))


@some
@given(HANDFUL, SEEDS, st.data())
def test_duplicated_events_change_no_snapshot_of_an_ended_step(
    streams: tuple[list[Event], ...], seed: int, data: st.DataObject
) -> None:
    events = interleaved(streams, seed)
    expected = snapshots(fold(*events))
    for _ in range(data.draw(st.integers(1, 8))):
        source = data.draw(st.integers(0, len(events) - 1))
        events.insert(data.draw(st.integers(source, len(events))), events[source])
    assert snapshots(fold(*events)) == expected


@some
@given(lives("step_oak"), st.data())
def test_terminal_object_always_wins(stream: list[Event], data: st.DataObject) -> None:
    end = stream[-1]
    before = data.draw(st.permutations(stream[:-1]))
    after = data.draw(st.lists(st.sampled_from(stream), max_size=5))
    assert fold(*before, end, *after).steps["step_oak"] == end.data


def keeps(found: Any, said: Any) -> bool:
    """Tell whether `found` says all that `said` does, nulls aside."""
    if isinstance(said, dict):
        return isinstance(found, dict) and all(keeps(found.get(key), value) for key, value in said.items())
    if isinstance(said, list):
        return isinstance(found, list) and len(found) == len(said) and all(map(keeps, found, said))
    return said is None or found == said


@some
@given(lives("step_oak"), lives("step_oak"), SEEDS)
def test_terminal_object_wins_against_another_life_of_its_step(
    stream: list[Event], other: list[Event], seed: int
) -> None:
    found = step_of(fold(*other[:-1], stream[-1], *interleaved((stream, other), seed)), "step_oak")
    assert keeps(found, json.loads(stream[-1].payload))


# Every step and every call once


def disturbed(events: list[Event], data: st.DataObject) -> list[Event]:
    """Return the events with some missing, some twice, and some out of order."""
    chosen = data.draw(st.lists(st.sampled_from(events), max_size=2 * len(events)))
    kept = [event for event in events if data.draw(st.booleans())]
    return [*kept, *chosen] if data.draw(st.booleans()) else data.draw(st.permutations([*kept, *chosen]))


ASKS = [
    asking({"id": "call_step_oak_0", "type": "function"}, {"id": "call_step_elm_1", "type": "function"}),
    asking({"id": "call_step_yew_2", "type": "mcp"}, kind="submit_tool_approval"),
    run("in_progress"),
]


@some
@given(HANDFUL, SEEDS, st.data())
def test_every_step_ends_once_and_every_call_starts_and_finishes_once(
    streams: tuple[list[Event], ...], seed: int, data: st.DataObject
) -> None:
    events = disturbed([*interleaved(streams, seed), *ASKS], data)
    accumulator = Accumulator()
    check_that_everything_comes_once([change for event in events for change in accumulator.apply(event)])


@some
@given(HANDFUL, SEEDS, st.data())
def test_export_and_restore_at_any_cut_change_nothing(
    streams: tuple[list[Event], ...], seed: int, data: st.DataObject
) -> None:
    events = disturbed([*interleaved(streams, seed), *ASKS], data)
    whole = fold(*events)
    cut = data.draw(st.integers(0, len(events)))
    before = fold(*events[:cut])
    after = Accumulator.restore(before.export())
    expected = [lines(before.apply(event)) for event in events[cut:]]
    assert [lines(after.apply(event)) for event in events[cut:]] == expected
    assert snapshots(after) == snapshots(whole)
