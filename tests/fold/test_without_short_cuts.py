"""The fold takes short cuts where a full object needs no tree. Without them, everything comes to the same.

The long way has a tree of every object that is known, and settles each terminal object in it.
"""

import json
import random
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepstream.fold import builder
from stepstream.fold.accumulator import Accumulator
from stepstream.fold.anomalies import Anomaly
from stepstream.fold.changes import Change
from stepstream.fold.encoding import encode_change
from stepstream.fold.matching import covers
from stepstream.wire.events import Event
from stepstream.wire.objects import RunStep
from stepstream.wire.sse import Frame, FrameDecoder
from tests.fold.test_hostile import garbled, mutate
from tests.support.delta_streams import Server
from tests.support.legal_runs import legal_run

ALL = frozenset(get_args(Change))
as_json = msgspec.json.Encoder(order="deterministic").encode
STEP = RunStep("step_x", run_id="run_x", type="tool_calls", status="in_progress")
BOUNDS = [{}, {}, {}, {"retain": 0}, {"retain": 1, "max_open_runs": 1}, {"max_open_runs": 2}]


def damaged(frames: list[Frame], chance: random.Random) -> Iterator[Frame]:
    """Yield frames of which some come twice, too late, not at all or with another content."""
    late: list[Frame] = []
    for frame in frames:
        if chance.random() < 0.1 and frame.data.startswith(b"{"):
            value = json.loads(frame.data)
            identifier = value["id"]
            for _ in range(chance.choice([1, 1, 2, 4])):
                mutate(value, chance)
            if isinstance(value, dict) and chance.random() < 0.9:
                value["id"] = identifier
            frame = Frame(frame.event, json.dumps(value).encode())
        held = chance.random()
        if held < 0.06:
            late.append(frame)
        elif held < 0.97:
            yield from [frame] * chance.choice([1, 1, 1, 1, 1, 2])
        if late and chance.random() < 0.2:
            yield late.pop(chance.randrange(len(late)))


def written(seed: int) -> list[Frame]:
    blocks = Server(seed).stream(30)
    return [frame for block in blocks for frame in FrameDecoder().feed(block)]


@lru_cache(maxsize=1)  # each stream is folded twice
def frames_of(seed: int) -> list[Frame]:
    chance = random.Random(seed)
    match chance.randrange(3):
        case 0:
            return list(garbled(chance))
        case 1:
            return list(damaged(legal_run(seed).frames, chance))
        case _:
            return [frame for frame in written(seed) if chance.random() < 0.95]


def told(seed: int, *, by_the_long_way: bool = False, wanted: frozenset[type[Any]] = ALL) -> list[Any]:
    """Return everything that comes of a stream: each change and anomaly, the snapshots, what an export restores.

    Of the changes, only those that are `wanted` are made.
    """
    chance = random.Random(seed)
    accumulator, found = Accumulator(context="tide", **chance.choice(BOUNDS)), list[Any]()
    accumulator.stream.wanted = wanted
    cut = chance.randrange(40)
    for place, frame in enumerate(frames_of(seed)):
        changes = accumulator.apply_frame(frame)
        found.append([(type(change), encode_change(change), repr(change), snapshot_in(change)) for change in changes])
        if place % 7 == 0:
            found.append(known(accumulator))
        if place == cut:
            accumulator = Accumulator.restore(accumulator.export(), context="tide")
            accumulator.stream.wanted = wanted
        if by_the_long_way:
            for growing in (*accumulator.state.steps.values(), *accumulator.state.messages.values()):
                _ = growing.tree
    return [*found, known(accumulator), [repr(one) for one in accumulator.anomalies], accumulator.anomaly_count]


def snapshot_in(change: Any) -> bytes | None:
    names = ("step", "message", "run", "call")
    return next((as_json(getattr(change, name)) for name in names if hasattr(change, name)), None)


def known(accumulator: Accumulator) -> list[list[bytes]]:
    return [
        [as_json(one) for one in table.values()]
        for table in (accumulator.steps, accumulator.messages, accumulator.runs)
    ]


def check(seed: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(builder, "covers", lambda full, known: False)
        expected = told(seed, by_the_long_way=True)
    assert told(seed) == expected, seed


@given(st.integers(0, 2**32), st.frozensets(st.sampled_from(sorted(ALL, key=repr))))
def test_changes_that_nobody_wants_are_not_made_and_all_else_is_the_same(seed: int, wanted: frozenset[type]) -> None:
    kept = wanted | {Anomaly}
    expected = [
        [one for one in some if not isinstance(one, tuple) or one[0] in kept] if isinstance(some, list) else some
        for some in told(seed)
    ]
    assert told(seed, wanted=wanted) == expected


@settings(deadline=None)
@given(st.integers(0, 2**32))
def test_any_stream_is_folded_as_by_the_long_way(seed: int) -> None:
    check(seed)


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, 100_000, 2_500))
def test_each_of_100_000_streams_is_folded_as_by_the_long_way(first: int) -> None:
    for seed in range(first, first + 2_500):
        check(seed)


def test_event_made_by_hand_has_the_status_of_its_name() -> None:
    accumulator = Accumulator()
    accumulator.apply(Event("thread.run.step.created", RunStep("step_x")))
    assert accumulator.steps["step_x"].status == "in_progress"


def test_piece_that_is_appended_is_in_the_next_snapshot_and_the_version_stays() -> None:
    accumulator = Accumulator()
    message = {"id": "msg_x", "content": [{"type": "text", "text": {"value": "fog"}}]}
    accumulator.apply_frame(Frame("thread.message.created", json.dumps(message).encode()))
    growing = accumulator.state.messages["msg_x"]
    before = growing.snapshot(), growing.version
    growing.append(growing.tree["content"][0]["text"]["value"], " bank")
    texts = [one.content[0].text.value for one in (before[0], growing.snapshot())]
    assert (texts, growing.version) == (["fog", "fog bank"], before[1])


def test_full_objects_that_leave_nothing_out_have_no_tree() -> None:
    """Else the comparisons above say nothing of short cuts."""
    accumulator = Accumulator()
    for frame in legal_run(1).frames:
        accumulator.apply_frame(frame)
    ended = [*accumulator.state.steps.values(), *accumulator.state.messages.values()]
    assert [growing.grown is None for growing in ended].count(True) > len(ended) / 2


def test_object_that_comes_again_byte_for_byte_is_folded_once() -> None:
    accumulator = Accumulator()
    message = json.dumps({"id": "msg_x", "content": []}).encode()
    told = [accumulator.apply_frame(Frame(f"thread.message.{name}", message)) for name in ("created", "in_progress")]
    growing = accumulator.state.messages["msg_x"]
    assert ([len(changes) for changes in told], growing.version, accumulator.stream.sequence) == ([1, 0], 0, 2)


def test_event_made_by_hand_that_comes_twice_is_told() -> None:
    accumulator = Accumulator()
    for name in ("created", "created", "completed", "completed"):
        accumulator.apply(Event(f"thread.run.step.{name}", STEP))
    assert [one.code for one in accumulator.anomalies] == ["duplicate_created", "duplicate_terminal"]


def test_text_covers_no_object() -> None:
    assert (covers("moss", {"a": 1}), covers({"a": 1}, {"a": 1}), covers(None, {"a": 1})) == (False, True, False)
