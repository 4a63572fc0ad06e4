"""A run as of a moment: as events that fold to it, and as a checkpoint."""

import random
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from stepstream import Accumulator, Frame, RunState
from stepstream.dialects.canonical import frame_of_event
from stepstream.errors import DecodeError
from stepstream.fold.checkpoint import load_run, save_run
from stepstream.fold.run_state import retold_events, run_state
from stepstream.fold.state import run_key
from stepstream.live.source import ItemDecoder
from stepstream.wire.messages import Message
from stepstream.wire.objects import Run, RunStep
from tests.support import response_streams
from tests.support.delta_streams import STEP_DELTA, Server, grows, run, sail, step, written
from tests.support.places import ROOT
from tests.support.tables import each_row

STREAMS = sorted((ROOT / "tests" / "streams").glob("*.sse"))


def canonical(data: bytes) -> list[Frame]:
    """The frames of a stream in the words of the fold."""
    accumulator, frames = Accumulator(), list[Frame]()
    for frame in ItemDecoder().feed(data):
        try:
            events = accumulator.translation.feed(frame)
        except DecodeError:
            frames.append(frame)
            continue
        frames += [frame_of_event(event) for event in events]
        for event in events:
            accumulator.apply(event)
    return frames


def folded(frames: list[Frame]) -> Accumulator:
    accumulator = Accumulator()
    for frame in frames:
        accumulator.apply_frame(frame)
    return accumulator


def objects(accumulator: Accumulator, run_id: str) -> tuple[Any, ...]:
    state = run_state(accumulator.state, run_id)
    return state.run, dict(state.steps), dict(state.messages)


def own_runs(accumulator: Accumulator) -> list[str]:
    """The runs all of whose steps and messages name them: what contradicts itself is not told again as it came."""
    keys = [key for some in accumulator.state.order for key in some if key.startswith("run:")]
    entries = {key.removeprefix("run:"): accumulator.state.entry(key) for key in keys}
    return [
        run_id
        for run_id, entry in entries.items()
        if all(one.base.run_id == run_id for one in [*entry.steps.values(), *entry.messages.values()])
    ]


def told_again(accumulator: Accumulator, run_id: str, *, as_bytes: bool) -> Accumulator:
    waiting = [ref.event for ref in accumulator.stream.orphans.everything()]
    events = retold_events(run_state(accumulator.state, run_id, waiting))
    again = Accumulator()
    for event in events:
        if as_bytes:
            again.apply_frame(Frame(event.name, event.payload))
        else:
            again.apply(event)
    return again


def restored(accumulator: Accumulator, run_id: str) -> Accumulator:
    again = Accumulator()
    load_run(again.stream, save_run(accumulator.stream, run_id))
    return again


def check_every_prefix(frames: list[Frame], cuts: set[int] | None = None) -> None:
    """What is told again at a moment, and the rest after it, fold to what the whole folds to."""
    whole, before = folded(frames), Accumulator()
    is_alone = len([key for some in whole.state.order for key in some]) == 1
    for place in range(len(frames) + 1):
        for run_id in own_runs(before) if cuts is None or place in cuts else ():
            others = [told_again(before, run_id, as_bytes=as_bytes) for as_bytes in (True, False)]
            for again in [*others, restored(before, run_id)]:
                assert objects(again, run_id) == objects(before, run_id)
                if is_alone:
                    for frame in frames[place:]:
                        again.apply_frame(frame)
                    assert objects(again, run_id) == objects(whole, run_id)
        if place < len(frames):
            before.apply_frame(frames[place])


@each_row("path", STREAMS, ids=lambda path: path.stem)
def test_every_prefix_of_a_stream_is_told_again_and_goes_on(path: Any):
    frames = canonical(path.read_bytes())
    check_every_prefix(frames, set(random.Random(path.stem).sample(range(len(frames) + 1), min(40, len(frames)))))


@pytest.mark.slow
@pytest.mark.parametrize("path", STREAMS, ids=lambda path: path.stem)
def test_each_prefix_of_each_stream_is_told_again_and_goes_on(path: Any):
    check_every_prefix(canonical(path.read_bytes()))


ALWAYS = (*range(6), 132)  # in the last a server gives a step another type


@pytest.mark.parametrize(
    "seed", [*ALWAYS, *[pytest.param(seed, marks=pytest.mark.slow) for seed in range(200) if seed not in ALWAYS]]
)
def test_every_prefix_of_a_random_stream_is_told_again_and_goes_on(seed: int):
    check_every_prefix(canonical(b"".join(Server(seed).stream(25))))


def test_every_prefix_of_a_translated_stream_is_told_again_and_goes_on():
    story = [
        response_streams.lifecycle("created"),
        *response_streams.thinking("Deep.", "How deep?", 1, 0),
        *response_streams.calling('{"at": "bay"}', 2, 1),
        *response_streams.writing("Fog over the bay", 3, 2),
        response_streams.lifecycle("completed"),
    ]
    check_every_prefix(canonical(response_streams.encoded(story)))


def named(events: list[Any]) -> Iterator[tuple[str, Any]]:
    for event in events:
        yield event.name.removeprefix("thread."), getattr(event.data, "status", None)


GAPS = [
    written("thread.run.created", run("queued")),
    written("thread.run.step.in_progress", step("in_progress", step_details={"type": "tool_calls", "tool_calls": []})),
    written(STEP_DELTA, grows(sail(3, id="call_3"))),
]


def test_step_whose_list_lacks_indexes_is_told_with_a_delta_that_has_them():
    accumulator = folded(canonical(b"".join(GAPS)))
    events = retold_events(run_state(accumulator.state, "run_1"))
    assert list(named(events)) == [
        ("run.queued", "queued"), ("run.step.in_progress", "in_progress"), ("run.step.delta", None),
    ]  # fmt: skip
    [entry] = events[-1].data.delta.step_details.tool_calls
    assert (entry.index, entry.id) == (3, "call_3")


@each_row(
    ("state", "told"),
    [
        (RunState(Run("run_1", status="in_progress"), {}, {}, 0), [("run.in_progress", "in_progress")]),
        (RunState(Run("run_1", status="dreaming"), {}, {}, 0), [("run.created", "dreaming")]),
        (
            RunState(
                Run("run_1", status="completed"),
                {"step_1": RunStep("step_1", status="completed")},
                {"msg_1": Message("msg_1", status="in_progress")},
                7,
            ),
            [("run.step.completed", "completed"), ("message.created", "in_progress"), ("run.completed", "completed")],
        ),
        (RunState(None, {"step_1": RunStep("step_1", status="dreaming")}, {}, 0), [("run.step.created", "dreaming")]),
    ],
)
def test_run_that_has_ended_or_waits_is_told_last_and_any_other_first(state: RunState, told: list[Any]):
    assert list(named(retold_events(state))) == told


def test_step_that_an_event_ended_is_told_as_ended_whatever_its_status_says():
    accumulator = folded([Frame("thread.run.step.completed", b'{"id": "step_1", "run_id": "run_1", "status": "odd"}')])
    assert list(named(retold_events(run_state(accumulator.state, "run_1")))) == [("run.step.completed", "odd")]


def test_state_of_a_run_is_json_and_says_what_it_is():
    state = run_state(folded(canonical(b"".join(GAPS[:1]))).state, "run_1")
    assert repr(state) == "<RunState run_1 queued at 0: 0 steps, 0 messages>"
    assert repr(run_state(Accumulator().state, "run_9")) == "<RunState of no run at 0: 0 steps, 0 messages>"
    assert {"run", "steps", "messages", "position"} <= msgspec.json.decode(msgspec.json.encode(state)).keys()


def test_state_of_a_run_that_waits_says_which_calls_are_whole():
    frames = canonical((ROOT / "tests" / "streams" / "ferry.sse").read_bytes())
    names = [frame.event for frame in frames]
    last = len(frames) - 1 - names[::-1].index("thread.run.requires_action")
    before, after = (run_state(folded(frames[:end]).state, "run_ferry") for end in (last, last + 1))
    assert [(call.id, call.place, call.is_finished) for call in before.calls] == [
        ("call_north", 0, False), ("call_south", 1, False),
    ]  # fmt: skip
    assert [call.is_finished for call in after.calls] == [True, True]
    assert (before.asked, after.asked.startswith("/")) == ("", True)


def test_checkpoint_replaces_what_is_known_of_its_run_and_nothing_else():
    source = folded(canonical(b"".join(GAPS)))
    target = folded(canonical(written("thread.run.completed", run("completed")) + written(
        "thread.run.completed", run("completed", "run_2")
    )))  # fmt: skip
    load_run(target.stream, save_run(source.stream, "run_1"))
    assert {identifier: found.status for identifier, found in target.runs.items()} == {
        "run_1": "queued", "run_2": "completed",
    }  # fmt: skip
    assert target.steps == source.steps
    entry = target.state.entry(run_key("run_1", ""))
    assert entry.taken.counts == source.state.entry(run_key("run_1", "")).taken.counts


def test_checkpoint_of_a_run_in_a_dialect_goes_on_with_its_next_response():
    asked = response_streams.calling("{}")
    first = response_streams.encoded([response_streams.lifecycle("created"), *asked, response_streams.lifecycle(
        "completed", asked[-1]["item"]
    )])  # fmt: skip
    source = Accumulator()
    for frame in ItemDecoder().feed(first):
        source.apply_frame(frame)
    target = Accumulator()
    load_run(target.stream, save_run(source.stream, response_streams.RESPONSE))
    following = response_streams.lifecycle("created", id="resp_2", previous_response_id=response_streams.RESPONSE)
    for frame in ItemDecoder().feed(response_streams.encoded([following])):
        target.apply_frame(frame)
    assert list(target.runs) == [response_streams.RESPONSE]


@each_row(
    "data",
    [b"", b"[]", b"{}", b"\xff", save_run(Accumulator().stream, "run_1").replace(b'"checkpoint":1', b'"checkpoint":9')],
)
def test_what_is_no_checkpoint_is_refused(data: bytes):
    with pytest.raises(ValueError, match="expected a checkpoint"):
        load_run(Accumulator().stream, data)
