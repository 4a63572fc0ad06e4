"""Changes of a processor say which event they come from and when it came, and those of one run keep their order."""

import math
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from stepstream import (
    Anomaly,
    Frame,
    MessageProgress,
    Processor,
    Reconnected,
    RunTransition,
    StepTransition,
    encode_frame,
    record,
    replay,
)
from stepstream.live.registration import CLASSES
from tests.support.delta_streams import chunked
from tests.support.legal_runs import legal_run
from tests.support.run_streams import Audience, frames, message, play, played, run, says, sketch, sse, step

DONE = b"event: done\ndata: [DONE]\n\n"


async def given(*chunks: Any) -> AsyncIterator[Any]:
    for chunk in chunks:
        yield chunk


async def heard(source: Any, **options: Any) -> Audience:
    audience = Audience()
    async with Processor(**options) as processor:
        processor.add(CLASSES, audience)
        await processor.run(source)
    return audience


def block(sent: Any, identifier: str | None) -> bytes:
    line = b"" if identifier is None else b"id: %b\n" % identifier.encode()
    return line + sse([sent])


IDS = ["1", None, None, "2", None, "", None, "x y"]
LAST_IDS = ["1", "1", "1", "2", "2", "", "", "x y"]


@pytest.mark.parametrize("form", ["one chunk", "a chunk each", "a byte each"])
async def test_change_has_the_last_event_id_as_of_its_event(form: str):
    opening = sse([run("queued"), run("in_progress"), message("created")])
    blocks = [block(says(f"{number}."), identifier) for number, identifier in enumerate(IDS)]
    blocks.insert(5, b": still there\n\n")
    data = b"".join([opening, *blocks, sse([run("completed")]), DONE])
    chunks = {
        "one chunk": [data],
        "a chunk each": [opening, *blocks, sse([run("completed")]), DONE],
        "a byte each": [data[at : at + 1] for at in range(len(data))],
    }[form]
    changes = await heard(given(*chunks))
    assert [change.event_id for change in changes if isinstance(change, MessageProgress)] == LAST_IDS
    assert changes[-1].event_id == "x y"


async def test_id_of_a_block_without_data_counts_for_the_events_after_it():
    opening = sse([run("queued"), run("in_progress"), message("created"), says("a"), says("b")])
    changes = await heard(given(opening, b"id: 7\n\n" + sse([says("c")]), sse([says("d"), run("completed")]), DONE))
    pieces = [change.event_id for change in changes if isinstance(change, MessageProgress)]
    assert (pieces, changes[-1].event_id) == (["", "", "7", "7"], "7")


async def test_new_connection_begins_at_the_id_it_was_opened_with():
    opening = block(run("queued"), "1") + sse([run("in_progress"), message("created"), says("a"), says("b")])
    changes = await heard(given(opening, Reconnected("9"), sse([says("c"), says("d"), run("completed")]), DONE))
    assert [change.event_id for change in changes if isinstance(change, MessageProgress)] == ["1", "1", "9", "9"]


async def test_frames_and_messages_give_their_ids():
    sent = [Frame(one.event, one.data, str(number)) for number, one in enumerate(frames(play()))]
    changes = await heard(given(*sent))
    assert {(change.event_id, change.sequence) for change in changes} == {
        (str(change.sequence - 1), change.sequence) for change in changes
    }


async def test_event_came_at_the_time_that_the_clock_says():
    times = iter(range(1_000))
    chunks = [sse([one]) for one in [run("queued"), run("in_progress"), message("created"), says("a"), says("b")]]
    changes = await heard(given(*chunks, sse([says("c"), run("completed")]), DONE), clock=lambda: float(next(times)))
    assert [(change.sequence, change.received_at) for change in changes] == [
        (1, 0.0), (2, 1.0), (3, 2.0), (4, 3.0), (5, 4.0), (6, 5.0), (7, 5.0),
    ]  # fmt: skip


async def test_without_a_clock_no_time_is_told():
    assert {change.received_at for change in await heard(played(play()), clock=None)} == {None}


async def test_delta_that_waited_keeps_the_time_at_which_it_came():
    times = iter(range(1_000))
    chunks = [sse([one]) for one in [run("queued"), says("a"), message("created"), run("completed")]]
    changes = await heard(given(*chunks, DONE), clock=lambda: float(next(times)))
    (progress,) = [change for change in changes if isinstance(change, MessageProgress)]
    assert (progress.sequence, progress.received_at) == (2, 1.0)


async def test_recorded_and_replayed_streams_have_the_same_keys_in_the_same_order(tmp_path: Path):
    for seed in range(8):
        told, keys = legal_run(seed), []
        async with Processor() as direct, Processor() as again:
            for processor in (direct, again):
                audience = Audience()
                processor.add(CLASSES, audience)
                for number, stream in enumerate(told.streams):
                    path = tmp_path / f"{seed}-{number}.sse"
                    chunks = chunked([encode_frame(frame) for frame in stream], seed)
                    if processor is direct:
                        async with record(given(*chunks), path) as recorded:
                            await processor.run(recorded)
                    else:
                        await processor.run(replay(path, speed=math.inf))
                keys.append([change.key for change in audience if change.key])
        assert keys[0] == keys[1]
        assert len(keys[0]) == len(set(keys[0])) > 3


async def test_anomaly_keeps_its_place_among_the_changes_of_its_run():
    """Two runs are served side by side, and the callback of one of them is held."""
    seen: dict[str, list[str]] = {"run_1": [], "run_2": []}
    held = anyio.Event()

    async def note(change: Any) -> None:
        if change.run_id == "run_1" and not seen["run_1"]:
            await held.wait()
        seen[change.run_id].append(type(change).__name__)
        if isinstance(change, RunTransition) and change.run_id == "run_2" and change.terminal:
            held.set()

    sent = [*sketch(1)[:-2], step("created", 1), *sketch(2)[:-2], step("created", 2), run("completed", 1)]
    async with Processor() as processor:
        processor.add((RunTransition, StepTransition, Anomaly), note, concurrency=2, timeout=None)
        await processor.run(played([*sent, run("completed", 2)]))
    assert seen["run_1"] == seen["run_2"]
    assert seen["run_1"][-2:] == ["Anomaly", "RunTransition"]


async def test_anomalies_can_be_filtered_by_run():
    audience = Audience()
    async with Processor() as processor:
        processor.add(Anomaly, audience, run_id="run_2")
        odd = [*sketch(1)[:-1], step("created", 1), *sketch(2)[:-1], step("created", 2)]
        await processor.run(played([*odd, ("done", None)]))
    assert {change.run_id for change in audience} == {"run_2"}


async def test_outcome_says_what_became_of_its_run():
    async with Processor() as processor:
        outcome = await processor.run(played([*play()[:-2], run("failed")]))
    assert (outcome.status, outcome.run, "run failed" in repr(outcome)) == ("failed", outcome.final_run, True)
    assert outcome.text == "".join(one.text for one in outcome.final_messages)
