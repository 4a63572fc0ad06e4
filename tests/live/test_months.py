"""The memory of a process that lives for months: broken runs are forgotten, and one run holds only so much."""

import gc
import tracemalloc
from contextlib import suppress
from typing import Any

import anyio
import pytest

from stepstream import Accumulator, Anomaly, Processor, RunTransition, StepProgress, StepTransition, StreamTruncated
from stepstream.fold.sizes import size_of
from stepstream.fold.state import State
from stepstream.live.registration import CLASSES
from tests.support.run_streams import (
    DONE,
    Audience,
    Sent,
    call,
    events,
    frames,
    grows,
    message,
    opens,
    play,
    played,
    run,
    says,
    source,
    sse,
    step,
)
from tests.support.suspensions import quiet
from tests.support.tables import each_row


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


async def broken(processor: Processor, number: int, count: int = 5) -> None:
    with suppress(StreamTruncated):
        await processor.run(played(play(number)[:count]))


# Forgetting


async def test_open_run_is_forgotten_when_nothing_was_heard_of_it_for_so_long():
    clock, audience = Clock(), Audience()
    async with Processor(forget_after=100, clock=clock) as processor:
        processor.add(Anomaly, audience)
        await broken(processor, 1)
        clock.now += 60
        await broken(processor, 2)
        clock.now += 39.9
        await broken(processor, 3)
        assert (list(processor.runs), audience) == (["run_1", "run_2", "run_3"], [])
        clock.now += 0.1
        await processor.run(played(play(4)))
        assert list(processor.runs) == ["run_2", "run_3", "run_4"]
        clock.now += 60
        await processor.run(played(play(5)))
    told = [(one.code, one.id, one.run_id, one.context) for one in audience]
    assert told == [("run_evicted", f"run_{number}", f"run_{number}", None) for number in (1, 2)]
    assert list(processor.steps) == ["step_3", "step_4", "writing_4", "step_5", "writing_5"]


async def test_run_whose_stream_is_still_read_is_never_forgotten():
    clock, go_on = Clock(), anyio.Event()
    async with Processor(forget_after=1, clock=clock) as processor:
        handle = processor.start(source(*frames(play(1)[:4]), go_on, *frames(play(1)[4:])))
        await quiet()
        clock.now += 1_000
        await processor.run(played(play(2)))
        assert "run_1" in processor.runs
        go_on.set()
        assert (await handle.outcome()).status == "completed"
        assert handle.run_id == "run_1"


async def test_run_that_waits_for_action_is_forgotten_too_and_its_context_with_it():
    clock = Clock()
    async with Processor(forget_after=100, clock=clock) as processor:
        await processor.run(played([run("queued"), run("requires_action"), DONE]))
        clock.now += 99
        await processor.run(played(play(2)))
        assert "run_1" in processor.runs
        clock.now += 1
        await processor.run(played(play(3)))
        assert "run_1" not in processor.runs


async def test_run_that_goes_on_in_another_stream_is_heard_of():
    clock = Clock()
    async with Processor(forget_after=100, clock=clock) as processor:
        for count in (3, 6, 9):
            await broken(processor, 1, count)
            clock.now += 90
        await processor.run(played(play(2)))
        assert "run_1" in processor.runs


async def test_finished_runs_are_not_forgotten_this_way():
    clock = Clock()
    async with Processor(forget_after=100, clock=clock) as processor:
        await processor.run(played([run("queued"), run("requires_action"), DONE]))
        await processor.run(played([run("in_progress"), run("completed"), DONE]))
        assert len(processor.state.idle) == 0
        clock.now += 1_000
        await processor.run(played(play(2)))
        assert "run_1" in processor.runs


async def test_step_that_names_no_run_is_forgotten_too():
    clock, audience = Clock(), Audience()
    async with Processor(forget_after=100, clock=clock) as processor:
        processor.add(Anomaly, audience)
        with suppress(StreamTruncated):
            await processor.run(played([step("created", run_id=None)]))
        clock.now += 100
        await processor.run(played(play(2)))
        assert "step_1" not in processor.steps
    assert [(one.code, one.id, one.run_id) for one in audience] == [("run_evicted", "step_1", None)]


async def test_restored_runs_count_from_when_the_next_event_comes():
    clock, first = Clock(), Processor()
    async with first:
        await broken(first, 1)
    processor = Processor.restore(first.export(), forget_after=100, clock=clock)
    async with processor:
        for number, expected in ((2, True), (3, True), (4, False)):
            await processor.run(played(play(number)))
            assert ("run_1" in processor.runs) is expected
            clock.now += 50


async def test_without_a_clock_nothing_is_forgotten():
    async with Processor(forget_after=0, clock=None) as processor:
        await broken(processor, 1)
        await processor.run(played(play(2)))
        assert "run_1" in processor.runs


async def test_bound_of_open_runs_holds_beside_it():
    clock = Clock()
    async with Processor(forget_after=100, max_open_runs=3, clock=clock) as processor:
        for number in range(10):
            await broken(processor, number)
        assert (list(processor.runs), len(processor.state.idle)) == (["run_7", "run_8", "run_9"], 3)


# How much one run holds

LIMIT = 10_000


def long_run(pieces: int, size: int, *, ends: bool = True) -> list[Sent]:
    end = [step("completed", calls=[call(1, "x" * 50_000)]), run("completed"), DONE] if ends else []
    return [run("queued"), step("created"), opens(), *[grows("x" * size)] * pieces, *end]


def held(processor: Processor) -> int:
    return sum(size_of(one.tree) for one in processor.state.steps.values())


@each_row("size", [20, 999, 4_000, 20_000])
@each_row("chunks", ["each-event", "one", "events"])
async def test_deltas_beyond_the_bound_are_dropped_with_one_anomaly(size: int, chunks: str):
    anomalies, progress = Audience(), Audience()
    sent = long_run(24_000 // size, size, ends=False)
    sources = {"each-event": played(sent), "one": source(sse(sent)), "events": source(*frames(sent))}
    async with Processor(max_run_bytes=LIMIT) as processor:
        processor.add(Anomaly, anomalies)
        processor.add(StepProgress, progress)
        with suppress(StreamTruncated):
            await processor.run(sources[chunks])
        assert LIMIT - size - 100 < held(processor) <= LIMIT
    assert [(one.code, one.id, one.run_id) for one in anomalies] == [("run_overflow", "run_1", "run_1")]
    assert len(progress) == 1 + (held(processor) - 27) // size  # the first one brings the names


async def test_terminal_objects_count_nevertheless():
    audience = Audience()
    async with Processor(max_run_bytes=LIMIT) as processor:
        processor.add((StepTransition, RunTransition), audience)
        outcome = await processor.run(played(long_run(30, 1_000)))
    (one,) = outcome.final_steps
    assert len(one.tool_calls[0].function.arguments) == 50_000
    assert (outcome.status, [change.terminal for change in audience]) == ("completed", [False, False, True, True])
    assert [anomaly.code for anomaly in outcome.anomalies] == ["run_overflow"]


async def test_other_runs_of_the_same_stream_are_not_affected():
    other = [run("queued", 2), step("created", 2), opens(2), *[grows("y" * 99, 2)] * 50]
    async with Processor(max_run_bytes=LIMIT) as processor:
        with suppress(StreamTruncated):
            await processor.run(played([*long_run(30, 1_000, ends=False), *other]))
        sizes = {one: size_of(step.tree) for one, step in processor.state.steps.items()}
    assert (sizes["step_1"] <= LIMIT, sizes["step_2"]) == (True, 27 + 50 * 99)


async def test_bound_is_over_all_steps_messages_and_streams_of_a_run():
    said: list[Sent] = [message("in_progress"), *[says("z" * 900)] * 5]
    async with Processor(max_run_bytes=LIMIT) as processor:
        for sent in (long_run(4, 1_000, ends=False), said, [grows("x" * 1_000)] * 9):
            with suppress(StreamTruncated):
                await processor.run(played([run("in_progress"), *sent]))
        total = sum(size_of(one.tree) for one in (*processor.state.steps.values(), *processor.state.messages.values()))
    assert LIMIT - 1_100 < total <= LIMIT


async def test_bound_holds_for_a_run_that_was_restored():
    first = Processor()
    async with first:
        with suppress(StreamTruncated):
            await first.run(played(long_run(9, 1_000, ends=False)))
    async with Processor.restore(first.export(), max_run_bytes=LIMIT) as processor:
        with suppress(StreamTruncated):
            await processor.run(played([run("in_progress"), *[grows("x" * 400)] * 9]))
        assert LIMIT - 400 < held(processor) <= LIMIT


def test_accumulator_bounds_its_runs_too():
    accumulator = Accumulator(state=State(max_run_bytes=LIMIT))
    for event in events(long_run(30, 1_000, ends=False)):
        accumulator.apply(event)
    assert [one.code for one in accumulator.anomalies] == ["run_overflow"]


async def test_progress_is_as_without_a_bound_as_long_as_it_is_not_reached():
    told = []
    for limit in (20_000, 2**28):
        audience = Audience()
        async with Processor(max_run_bytes=limit, clock=None) as processor:
            processor.add(CLASSES, audience)
            await processor.run(source(sse(long_run(150, 100))))
        told.append(audience)
    assert told[0] == told[1]


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"forget_after": -1}, ValueError),
        ({"forget_after": "1 h"}, TypeError),
        ({"max_run_bytes": 0}, ValueError),
        ({"max_run_bytes": 1.5}, TypeError),
        ({"journal": "redis://127.0.0.1"}, TypeError),
    ],
)
def test_bounds_are_checked(options: dict[str, Any], error: type[Exception]):
    with pytest.raises(error, match=next(iter(options))):
        Processor(**options)


# A long life


async def live(processor: Processor, clock: Clock, streams: int) -> None:
    """Broken, abandoned and endless runs beside whole ones, one a second."""
    for number in range(streams):
        clock.now += 1
        match number % 4:
            case 0:
                await broken(processor, number)
            case 1:  # abandoned: nobody sends what it waits for
                await processor.run(played([run("queued", number), run("requires_action", number), DONE]))
            case 2:
                await processor.run(played(play(number)))
            case _:  # endless: it grows until somebody stops it
                endless = [
                    run("queued", number),
                    step("created", number),
                    opens(number),
                    *[grows("x" * 99, number)] * 50,
                ]
                handle = processor.start(source(*frames(endless), anyio.Event()))
                while processor.statistics().events == 0 or not handle.run_id:
                    await anyio.lowlevel.checkpoint()
                await handle.cancel()


@pytest.mark.slow
async def test_memory_is_flat_through_hours_of_broken_endless_and_abandoned_runs():
    clock = Clock()
    async with Processor(forget_after=600, retain=64, max_run_bytes=4_000, clock=clock) as processor:
        await live(processor, clock, 1_500)
        gc.collect()
        tracemalloc.start()
        await live(processor, clock, 300)
        gc.collect()
        before, runs = tracemalloc.get_traced_memory()[0], processor.statistics().open_runs
        await live(processor, clock, 3_000)
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert processor.statistics().open_runs <= runs + 5 <= 600
        assert after < before + 6_000_000  # what was there before the measure, and is replaced by what is counted
