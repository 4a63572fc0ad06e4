"""Pacing: how often, how late, and what is never held back. All in virtual time."""

from collections import defaultdict
from collections.abc import AsyncGenerator
from itertools import pairwise
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from stepstream import MessageProgress, MessageTransition, Processor, RunTransition, StepProgress, StepTransition
from tests.support.run_streams import DONE, call, grows, opens, played, run, says, source, sse, step
from tests.support.run_streams import message as message_event
from tests.support.virtual_time import in_virtual_time


class Clocked(list[tuple[float, Any]]):
    """A callback that notes when it got which change, and takes its time."""

    def __init__(self, takes: float = 0) -> None:
        super().__init__()
        self.start = anyio.current_time()
        self._takes = takes

    async def __call__(self, change: Any) -> None:
        self.append((round(anyio.current_time() - self.start, 6), change))
        if self._takes:
            await anyio.sleep(self._takes)

    def times(self, kind: Any = object) -> list[float]:
        return [time for time, change in self if isinstance(change, kind)]


async def spread(parts: list[Any], seconds: float) -> AsyncGenerator[bytes, None]:
    """Events, evenly over so many seconds."""
    for part in parts:
        yield sse([part])
        await anyio.sleep(seconds / len(parts))


def growing(count: int, number: int = 1, *, ends: bool = True) -> list[Any]:
    """A step that grows so often, by one letter each."""
    end = [step("completed", number, calls=[call(number, "x" * count, "out")])] if ends else []
    return [step("created", number), opens(number), *[grows("x", number)] * count, *end, run("completed", number), DONE]


STEP = (StepProgress, StepTransition)


def arguments(change: Any) -> str:
    (one,) = change.step.tool_calls
    return str(one.function.arguments)


@pytest.mark.parametrize("overflow", ["block", "latest", "close"])
@in_virtual_time
async def test_a_thousand_deltas_in_ten_seconds_are_twentyone_calls_and_the_final_state(overflow: Any):
    seen = Clocked()
    async with Processor() as processor:
        subscription = processor.add(STEP, seen, min_interval=0.5, overflow=overflow)
        await processor.run(spread(growing(1000), 10))
    times = seen.times(StepProgress)
    assert 19 <= len(times) <= 21
    assert min(after - before for before, after in pairwise(times)) >= 0.499
    (last,) = [change for _, change in seen if isinstance(change, StepTransition) and change.terminal]
    assert (seen[-1][1], arguments(last)) == (last, "x" * 1000)
    assert subscription.offered == subscription.delivered + subscription.coalesced
    assert subscription.coalesced > 950


@in_virtual_time
async def test_final_state_comes_where_only_progress_is_asked_for():
    seen = Clocked()
    async with Processor() as processor:
        processor.add(StepProgress, seen, min_interval=0.5)
        await processor.run(spread(growing(1000), 10))
    assert len(seen) <= 21
    assert arguments(seen[-1][1]) == "x" * 1000


@in_virtual_time
async def test_run_returns_when_what_was_held_back_has_been_delivered():
    seen = Clocked()
    async with Processor() as processor:
        processor.add(StepProgress, seen, min_interval=5)
        await processor.run(spread(growing(3, ends=False), 0.7))
        assert (seen.times(), arguments(seen[-1][1])) == ([0.1, 5.1], "xxx")


@pytest.mark.parametrize("overflow", ["block", "latest", "close"])
@pytest.mark.parametrize("buffer", [1, 256])
@in_virtual_time
async def test_end_is_never_held_back(overflow: Any, buffer: int):
    """Not by its own step's pace, and not because others' progress, held back, fills the buffer."""
    if overflow == "close" and buffer == 1:
        return  # a run's end waits beside its step's: that is more than one
    seen = Clocked()
    parts = [step("created"), opens(), grows("x"), grows("y"), step("completed"), run("completed"), DONE]
    async with Processor() as processor:
        processor.add((*STEP, RunTransition), seen, min_interval=10, buffer=buffer, overflow=overflow)
        for number in (2, 3, 4):
            processor.start(spread(growing(100, number), 1))
        await processor.run(spread(parts, 0.007))
        ends = [time for time, change in seen if change.run_id == "run_1" and getattr(change, "terminal", False)]
    assert ends == [0.004, 0.005]


@in_virtual_time
async def test_end_takes_the_place_of_what_is_held_back():
    seen = Clocked()
    async with Processor() as processor:
        subscription = processor.add(STEP, seen, min_interval=10)
        await processor.run(spread(growing(10), 1))
    assert [type(change).__name__ for _, change in seen] == ["StepTransition", "StepTransition"]
    assert (subscription.coalesced, subscription.offered) == (11, 13)


@in_virtual_time
async def test_steps_at_once_are_paced_apart():
    seen, steps = Clocked(), 5
    async with Processor() as processor:
        processor.add(StepProgress, seen, min_interval=0.5)
        async with anyio.create_task_group() as tasks:
            for number in range(steps):
                tasks.start_soon(processor.run, spread(growing(200, number), 10))
    by_step = defaultdict(list)
    for time, change in seen:
        by_step[change.step_id].append(time)
    assert len(by_step) == steps
    for times in by_step.values():
        assert 19 <= len(times) <= 21
        assert min(after - before for before, after in pairwise(times)) >= 0.499


@in_virtual_time
async def test_messages_are_paced_too():
    seen = Clocked()
    parts = [
        message_event("created"),
        *[says("x")] * 100,
        message_event("completed", text="x" * 100),
        run("completed"),
        DONE,
    ]
    async with Processor() as processor:
        processor.add((MessageProgress, MessageTransition), seen, min_interval=0.5)
        await processor.run(spread(parts, 10))
    assert len(seen.times(MessageProgress)) <= 21
    assert seen[-1][1].message.text == "x" * 100


@in_virtual_time
async def test_what_is_held_back_keeps_nobody_waiting():
    """Progress of more steps than the buffer is long is held back, and the streams go on."""
    seen, other = Clocked(), Clocked()
    async with Processor() as processor:
        processor.add(StepProgress, seen, min_interval=100, buffer=2)
        processor.add(STEP, other)
        for number in range(20):
            processor.start(spread(growing(10, number), 1))
        await anyio.sleep(2)
        assert len(other) == 20 * 13
        assert len(seen) == 20
        before = anyio.current_time()
    assert anyio.current_time() == before  # leaving the block holds nothing back
    assert len(seen) == 40


@in_virtual_time
async def test_leaving_the_block_holds_nothing_back():
    seen = Clocked()
    async with Processor() as processor:
        processor.add(StepProgress, seen, min_interval=1000)
        processor.start(spread(growing(6, ends=False), 1))
        await anyio.sleep(2)
        assert len(seen) == 1
    assert (seen.times(), arguments(seen[-1][1])) == ([0.1, 2], "x" * 6)


@in_virtual_time
async def test_drain_that_began_while_a_stream_waits_does_not_count_the_time_that_pacing_takes():
    """Another stream is still read, so what is held back stays held back."""
    seen = Clocked()

    async def reads_on() -> None:
        await anyio.sleep(20)

    async with Processor(drain_timeout=1) as processor:
        subscription = processor.add(StepProgress, seen, min_interval=10)
        processor.start(source(reads_on, sse([DONE])))
        processor.start(spread(growing(1, ends=False), 1))
        await anyio.sleep(2)
    assert (seen.times(), subscription.failure) == ([0.2, 10.2], None)


@in_virtual_time
async def test_iterator_is_paced():
    got = []
    async with (
        Processor() as processor,
        anyio.create_task_group() as tasks,
        processor.subscribe(*STEP, min_interval=0.5) as changes,
    ):
        start = anyio.current_time()
        tasks.start_soon(processor.run, spread(growing(1000), 10))
        async for change in changes:
            got.append((anyio.current_time() - start, change))
            if isinstance(change, StepTransition) and change.terminal:
                break
    assert len([one for _, one in got if isinstance(one, StepProgress)]) <= 21
    assert (round(got[-1][0], 2), arguments(got[-1][1])) == (9.97, "x" * 1000)


@in_virtual_time
async def test_iterator_gets_what_is_held_back_when_the_processor_is_left():
    processor = Processor()
    async with processor.subscribe(StepProgress, min_interval=1000) as changes:
        async with processor:
            await processor.run(played(growing(10, ends=False)))
        first = anyio.current_time()
        got = [change async for change in changes]
        assert anyio.current_time() == first
    assert [arguments(change) for change in got] == ["x" * 10]


@in_virtual_time
async def test_pace_of_one_run_holds_for_calls_side_by_side_too():
    seen = Clocked(takes=0.2)
    async with Processor() as processor:
        processor.add(StepProgress, seen, min_interval=0.5, concurrency=4)
        for number in range(4):
            processor.start(spread(growing(100, number), 5))
    by_step = defaultdict(list)
    for time, change in seen:
        by_step[change.step_id].append(time)
    for times in by_step.values():
        assert 9 <= len(times) <= 11 + 1  # the last one at once, as the block is left
        assert all(after - before >= 0.499 for before, after in pairwise(times[:-1]))


@in_virtual_time
async def test_worker_that_is_free_takes_what_is_due_while_another_is_stuck():
    """What one worker held back is not lost with it."""
    times = {}

    async def look(change: Any) -> None:
        times.setdefault((change.step_id, type(change).__name__), []).append(round(anyio.current_time() - start, 6))
        if change.step_id == "step_2":
            await anyio.sleep(60)

    async def late() -> None:
        await anyio.sleep(0.1)

    async with Processor() as processor:
        start = anyio.current_time()
        processor.add(STEP, look, min_interval=1, concurrency=2, timeout=None)
        handle = processor.start(spread(growing(3, 1, ends=False), 0.5))
        processor.start(spread([step("created", 2), opens(2), run("completed", 2), DONE], 0.1))
        await handle.outcome()
        assert times["step_1", "StepProgress"][-1] <= 2


@in_virtual_time
async def test_slow_callback_gets_the_newest_and_no_queue():
    seen = Clocked(takes=1.0)
    async with Processor() as processor:
        subscription = processor.add(StepProgress, seen, overflow="latest")
        most = 0
        handle = processor.start(spread(growing(1000), 10))
        while not handle.is_finished:
            most = max(most, len(subscription._mailbox.queue))
            await anyio.sleep(0.05)
    assert (most, len(seen) <= 12, arguments(seen[-1][1])) == (1, True, "x" * 1000)


class Refused(Clocked):
    """A callback that fails at the calls of these numbers, from 1, after some time."""

    def __init__(self, *numbers: int, takes: float = 0) -> None:
        super().__init__(takes)
        self._numbers = numbers

    async def __call__(self, change: Any) -> None:
        await super().__call__(change)
        if len(self) in self._numbers:
            raise ValueError("429")


@pytest.mark.parametrize(
    ("backoff", "takes", "times"),
    [
        (0.0, 0.0, [0, 1, 2, 3]),  # the second attempt keeps the pace, and what follows keeps the pace of that
        (0.2, 0.5, [0, 1, 2, 3]),
        (1.5, 0.0, [0, 1.5, 2.5]),
        (1.5, 1.0, [0, 2.5, 3.5]),
    ],
)
@in_virtual_time
async def test_second_attempt_is_a_call_of_the_pace(backoff: float, takes: float, times: list[float]):
    seen = Refused(1, takes=takes)
    parts = [step("created"), opens(), run("completed"), DONE]
    later = [grows("x")] * 3
    async with Processor() as processor:
        processor.add(StepProgress, seen, min_interval=1, attempts=2, backoff=backoff)

        async def sent() -> AsyncGenerator[bytes, None]:
            yield sse(parts[:2])
            await anyio.sleep(1.2 + takes)
            for one in later:
                yield sse([one])
                await anyio.sleep(0.6)
            yield sse(parts[2:])

        await processor.run(sent())
    first = seen.times()
    assert min(after - before for before, after in pairwise(first)) >= 0.999
    assert first[: len(times)][:2] == times[:2]


@in_virtual_time
async def test_second_attempt_at_an_end_keeps_the_pace_too():
    """The end itself comes at once; a platform that refused it is not asked again before its time."""
    seen = Refused(2)
    parts = [step("created"), opens(), step("completed"), run("completed"), DONE]
    async with Processor() as processor:
        processor.add((StepProgress, StepTransition), seen, min_interval=1, attempts=2, backoff=0.1)
        await processor.run(spread(parts, 0))
    assert seen.times() == [0, 0, 1]


@in_virtual_time
async def test_attempts_of_two_steps_are_paced_apart():
    seen = Refused(1)
    parts = [step("created"), opens(), step("created", 2), opens(2), run("completed"), DONE]
    async with Processor() as processor:
        processor.add(StepProgress, seen, min_interval=1, attempts=2, backoff=0)
        await processor.run(spread(parts, 0))
    assert [(time, change.step_id) for time, change in seen] == [(0, "step_1"), (1, "step_1"), (1, "step_2")]


@in_virtual_time
async def test_leaving_the_block_does_not_wait_for_the_pace_of_a_second_attempt():
    seen = Refused(1)
    async with Processor() as processor:
        subscription = processor.add(StepProgress, seen, min_interval=1_000, attempts=2, backoff=0.5)
        with anyio.move_on_after(0.1):
            await processor.run(spread([step("created"), opens(), run("completed"), DONE], 0))
    assert (seen.times(), subscription.failed) == ([0, 0.5], 0)


async def unread(caplog: pytest.LogCaptureFixture, *reading_after: float) -> list[str]:
    """What is logged of an iterator that is read after such pauses, and else never."""
    sent = [step("created"), opens(), *[grows("x")] * 20, run("completed"), DONE]
    processor = Processor()
    async with processor.subscribe(StepProgress, StepTransition, buffer=2) as changes, processor:
        processor.start(spread(sent, 1))
        for pause in reading_after:
            await anyio.sleep(pause)
            await anext(changes)
        await anyio.sleep(100)
        changes.subscription.close()
    return [record.getMessage() for record in caplog.records]


UNREAD = (
    "a stream has waited 5 s for the reader of an iterator of StepProgress|StepTransition: read it in a task of its own"
)


@in_virtual_time
async def test_iterator_that_nobody_reads_is_logged_once_it_holds_up_a_stream_for_five_seconds(
    caplog: pytest.LogCaptureFixture,
):
    assert await unread(caplog) == [UNREAD]


@in_virtual_time
async def test_iterator_that_is_read_slowly_is_not_logged(caplog: pytest.LogCaptureFixture):
    assert await unread(caplog, *[4.5] * 22) == []


@in_virtual_time
async def test_iterator_is_logged_once_however_many_streams_it_holds_up(caplog: pytest.LogCaptureFixture):
    processor = Processor()
    async with processor.subscribe(StepProgress, buffer=1) as changes, processor:
        for number in range(3):
            processor.start(spread([step("created", number), opens(number), run("completed", number)], 0))
        await anyio.sleep(7)
        await anext(changes)
        await anyio.sleep(20)
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        changes.subscription.close()
