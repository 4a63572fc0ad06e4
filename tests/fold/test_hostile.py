"""Streams with damages of every kind: nothing raises but what is declared, and what is refused changes nothing."""

import json
import random
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepstream.errors import FrameTooLarge
from stepstream.fold.accumulator import Accumulator
from stepstream.fold.anomalies import Anomaly
from stepstream.fold.changes import Change
from stepstream.wire.sse import Frame, FrameDecoder
from tests.support.json_values import plain
from tests.support.places import STREAMS
from tests.support.server_events import (
    CODE,
    ROD,
    asking,
    call,
    check_that_everything_comes_once,
    created,
    delta,
    ended,
    frames_of,
    lines,
    message,
    message_delta,
    moved,
    piece,
    text,
)
from tests.support.tables import each_row

some = settings(deadline=None)

SEEDS = st.integers(0, 2**32)

OWN = ["ferry", "ferry-answer", "sums", "archive"]
CORPUS = [
    *map(frames_of, OWN),
    [
        Frame(event.name, event.payload)
        for event in [
            created(call("call_a", name="sail", arguments=""), id="step_oak"),
            delta(piece(0, None, id="call_a"), piece(1, ROD, depth=2), id="step_oak"),
            delta({"index": 1, ROD: {"finds": [{"index": 0, "logs": "x"}], "name": "yew"}}, id="step_oak"),
            delta({"index": 2, "id": "call_c", ROD: {"finds": [{"index": 3, "output": "x"}]}}, id="step_oak"),
            moved(call("call_a", name="sail", arguments="{"), call("call_c", ROD, finds=[]), id="step_oak"),
            delta({"index": 2, "type": ROD}, type=None, id="step_oak"),
            delta(piece(3, CODE, id="call_d", outputs=[{"index": 2, "type": "logs", "logs": "x"}]), id="step_oak"),
            delta(piece(3, CODE, outputs=[{"index": 4, "video": {"n": 1}}]), id="step_oak"),
            asking({"id": "call_a", "type": "function"}, {"id": "call_c", "type": ROD}),
            ended(call("call_a", name="sail", output=None), call("call_c", ROD, finds=None), id="step_oak"),
            delta(piece(0, output="late"), {"index": 2, ROD: {"finds": [{"index": 0}]}}, id="step_oak"),
            ended(call("call_a", name="sail", output="o"), call("call_c", ROD, depth=1), id="step_oak"),
        ]
    ],
    [
        Frame(event.name, event.payload)
        for event in [
            message("in_progress", text("a", annotations=[])),
            message_delta(text("b", 0), {"index": 1, "type": "refusal", "refusal": "no"}),
            message_delta(text("c", 0, annotations=[{"index": 0, "type": "file_path", "file_path": {"file_id": "f"}}])),
            message_delta({"index": 2, "hologram": {"value": "x", "name": "y"}}),
            message_delta({"index": 2, "type": "hologram"}, text("d", 3, annotations=[{"index": 1, "ink": "red"}])),
            message("in_progress", text("abc"), as_="in_progress"),
            message("completed", text("abc", annotations=None), {"type": "refusal", "refusal": None}, as_="completed"),
            message_delta({"index": 1, "refusal": "late"}),
            message("completed", text("abc"), as_="completed"),
        ]
    ],
]
ODD = [
    None,
    True,
    0,
    -1,
    5,
    1.5,
    "",
    "x",
    "dream",
    "function",
    [],
    [None],
    [5],
    {},
    {"index": 0},
    {"id": 5},
    {"type": "x"},
]
KEYS = [
    "id",
    "type",
    "name",
    "index",
    "delta",
    "status",
    "step_details",
    "tool_calls",
    "outputs",
    "output",
    "content",
    "x",
]


def spots(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every container of a JSON value, with each of its keys or positions."""
    for key, inner in list(value.items() if isinstance(value, dict) else enumerate(value)):
        yield value, key
        if isinstance(inner, dict | list):
            yield from spots(inner)


def mutate(value: Any, chance: random.Random) -> None:
    """Change one place of a JSON value: drop it, replace it, move another there, or add something."""
    places = list(spots(value))
    if not places:
        return
    holder, key = chance.choice(places)
    match chance.randrange(6):
        case 0:
            del holder[key]
        case 1:
            holder[key] = deepcopy(chance.choice(ODD))
        case 2:
            other, other_key = chance.choice(places)
            holder[key] = deepcopy(other[other_key])
        case 3 if isinstance(holder, dict):
            holder[chance.choice(KEYS)] = holder.pop(key)
        case 4 if isinstance(holder, dict):
            holder[chance.choice(KEYS)] = deepcopy(chance.choice(ODD))
        case _:
            holder[key] = [holder[key]] if chance.random() < 0.5 else {chance.choice(KEYS): holder[key]}


def garbled(chance: random.Random) -> Iterator[Frame]:
    """Yield a stretch of a stream with small damages to its JSON, some frames twice and some out of order."""
    frames = chance.choice(CORPUS)
    start = chance.randrange(len(frames))
    stretch = frames[start : start + 12] + chance.choices(frames, k=4)
    for _ in range(chance.randrange(3)):
        stretch.insert(chance.randrange(len(stretch)), stretch.pop(chance.randrange(len(stretch))))
    for frame in stretch:
        value = json.loads(frame.data) if frame.data != b"[DONE]" else []
        identifier = value.get("id") if isinstance(value, dict) else None
        for _ in range(chance.choice([0, 0, 1, 2, 6])):
            mutate(value, chance)
        if isinstance(value, dict) and identifier is not None and chance.random() < 0.9:
            value["id"] = identifier  # so that what is damaged meets what is known
        name = chance.choice(frames).event if chance.random() < 0.05 else frame.event
        yield Frame(name, json.dumps(json.dumps(value) if chance.random() < 0.05 else value).encode())


def known(accumulator: Accumulator) -> list[Any]:
    return [
        {identifier: plain(one) for identifier, one in kept.items()}
        for kept in (accumulator.steps, accumulator.messages, accumulator.runs)
    ]


def check_that_everything_can_be_read(accumulator: Accumulator, changes: list[Change]) -> None:
    """Build what is built on reading: lines, snapshots, what each of them shows, the export and what it restores."""
    assert len(lines(changes)) == len(changes)
    assert known(Accumulator.restore(accumulator.export())) == known(accumulator)
    assert all(map(repr, [*changes, accumulator, *accumulator.messages.values(), *accumulator.runs.values()]))


def check_that_nothing_raises(seed: int) -> None:
    chance = random.Random(seed)
    accumulator, restored, changes = Accumulator(), Accumulator(), []
    cut = chance.randrange(16)
    for place, frame in enumerate(garbled(chance)):
        if place == cut:
            restored = Accumulator.restore(accumulator.export())
        before = known(accumulator)
        done = accumulator.apply_frame(frame)
        assert lines(restored.apply_frame(frame)) == lines(done)
        if frame.event.endswith(".delta") and all(isinstance(change, Anomaly) for change in done):
            assert known(accumulator) == before
        changes += done
    check_that_everything_comes_once(changes)
    check_that_everything_can_be_read(accumulator, changes)


@settings(deadline=None)
@given(SEEDS)
def test_damaged_events_raise_nothing_and_are_refused_as_a_whole(seed: int) -> None:
    check_that_nothing_raises(seed)


@pytest.mark.slow
@settings(max_examples=3_000, deadline=None)
@given(SEEDS)
def test_many_damaged_events_raise_nothing_and_are_refused_as_a_whole(seed: int) -> None:
    check_that_nothing_raises(seed)


@some
@given(st.sampled_from(OWN), SEEDS)
def test_damaged_bytes_raise_nothing_but_declared_errors(stream: str, seed: int) -> None:
    chance = random.Random(seed)
    damaged = bytearray((STREAMS / f"{stream}.sse").read_bytes())
    for _ in range(chance.randrange(30)):
        place = chance.randrange(len(damaged))
        damaged[place : place + chance.choice([0, 1, 1, 9])] = chance.randbytes(chance.randrange(3))
    accumulator, decoder, changes = Accumulator(), FrameDecoder(max_event_bytes=4_000), []
    try:
        while damaged:
            size = chance.randrange(1, 2_000)
            for frame in decoder.feed(damaged[:size]):
                changes += accumulator.apply_frame(frame)
            del damaged[:size]
    except FrameTooLarge:
        pass
    check_that_everything_can_be_read(accumulator, changes)


@each_row("depth", [60, 200, 400, 700, 950, 5_000])
def test_deep_json_raises_nothing_however_high_the_limit(depth: int) -> None:
    deep = b'{"x":' * depth + b"1" + b"}" * depth
    accumulator, changes = Accumulator(max_depth=100_000), []
    for body in (deep, b'{"x":2}', deep):
        call_of_it = b'{"index":0,"id":"call_a","type":"dowsing_rod","dowsing_rod":%b}' % body
        data = b'{"id":"step_oak","delta":{"step_details":{"tool_calls":[%b]}}}' % call_of_it
        changes += accumulator.apply_frame(Frame("thread.run.step.delta", data))
    changes += accumulator.apply(created(id="step_oak"))
    check_that_everything_can_be_read(accumulator, changes)
