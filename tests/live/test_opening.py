# ruff: noqa: PT012 - what leaves the block of a processor is raised by the block as a whole
"""Opening and closing a processor: blocks one after another, hooks that are tasks of their own, and stopping."""

import asyncio  # noqa: TID251 - hooks of frameworks are its tasks
import gc
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import anyio
import pytest

from stepstream import Processor, RunTransition, StepTransition, StreamStopped, WaitAborted
from stepstream.live.registration import CLASSES
from tests.support.run_streams import Audience, Tape, play, played, run, source, sse, told, told_of
from tests.support.suspensions import quiet

pytestmark = pytest.mark.usefixtures("patient")

Hook = Callable[[], Awaitable[object]]

LEFT_ELSEWHERE = r"the task that entered it.*keep_open\(\).*ready\(\).*stop\(\)"


async def in_a_task(hook: Hook) -> Any:
    """Await `hook` in a task of its own, and return or raise what it does."""
    got: list[Any] = []

    async def call() -> None:
        try:
            got.append(await hook())
        except Exception as exc:  # noqa: BLE001 - raised below
            got.append(exc)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(call)
    if isinstance(got[0], Exception):
        raise got[0]
    return got[0]


# Blocks one after another


async def test_processor_is_entered_again_with_its_subscribers():
    audience, processor = Audience(), Processor()
    processor.add(CLASSES, audience)
    for _ in range(3):
        audience.clear()
        async with processor:
            await processor.run(played(play()))
        assert told(audience) == await told_of(play())


async def test_what_was_known_is_forgotten_when_it_is_entered_again():
    processor = Processor()
    async with processor:
        await processor.run(played(play()))
    assert list(processor.state.runs) == ["run_1"]  # it may be looked at until then
    async with processor:
        assert (list(processor.state.runs), processor.statistics().finished_runs) == ([], 0)
        late = Audience()
        processor.add(CLASSES, late, replay=True)
        await quiet()
        assert late == []


async def test_counts_go_on_when_it_is_entered_again():
    processor, seen = Processor(), Audience()
    subscription = processor.add(CLASSES, seen)
    for block in (1, 2):
        async with processor:
            await processor.run(played(play()))
            (counts,) = processor.statistics().subscribers
            assert (counts.delivered, processor.statistics().events) == (16 * block, 15 * block)
    assert (subscription.delivered, len(processor.statistics().subscribers)) == (32, 1)


async def test_callbacks_may_be_registered_between_two_blocks():
    processor, late, failures = Processor(), Audience(), Audience()
    async with processor:
        await processor.run(played(play()))

    async def failing(change: Any) -> None:
        raise ValueError

    processor.add(RunTransition, late, replay=True)
    processor.add(RunTransition, failing, terminal=True)
    processor.on_failure(failures)
    async with processor:
        await processor.run(played(play(2)))
    assert [change.run_id for change in late] == ["run_2"] * 3
    assert len(failures) == 1


async def test_subscription_that_was_closed_stays_closed():
    processor, audience = Processor(), Audience()
    subscriptions = [processor.add(CLASSES, audience) for _ in range(2)]
    async with processor:
        subscriptions[0].close()
    subscriptions[1].close()
    async with processor:
        await processor.run(played(play()))
    assert (audience, [one.is_closed for one in subscriptions]) == ([], [True, True])


@pytest.mark.parametrize("strict", [False, True])
async def test_subscriber_that_the_end_of_the_block_closed_is_open_again(strict: bool):
    """Too slow for the drain, or with `strict` the one that ended the block: the next block is a new beginning."""
    calls: list[Any] = []

    async def odd(change: RunTransition) -> None:
        calls.append(change)
        if len(calls) == 1 and strict:
            raise ValueError("of the callback")
        if len(calls) == 1:
            await anyio.sleep_forever()

    processor = Processor(drain_timeout=0.01, strict=strict)
    subscription = processor.add(RunTransition, odd)
    with suppress(ValueError):
        async with processor:
            processor.start(played(play()))
    assert (len(calls), subscription.is_closed, subscription.failure is not None) == (1, True, True)
    async with processor:
        await processor.run(played(play()))
        assert (subscription.failure, subscription.is_closed, len(calls)) == (None, False, 4)


async def test_iterator_ends_with_the_block_and_is_not_open_in_the_next():
    processor = Processor()
    async with processor.subscribe(RunTransition) as changes:
        async with processor:
            await processor.run(played(play()))
        async with processor:
            await processor.run(played(play(2)))
        assert [change.run_id async for change in changes] == ["run_1"] * 3


async def test_entering_twice_at_once_is_a_runtime_error_and_harms_nothing():
    async with Processor() as processor:
        with pytest.raises(RuntimeError, match="the Processor is open already"):
            await processor.__aenter__()
        with pytest.raises(RuntimeError, match="the Processor is open already"):
            await processor.keep_open()
        assert (await processor.run(played(play()))).reason == "done"


async def test_stream_that_outlasts_its_block_does_not_go_on_in_the_next():
    gate, audience, errors = anyio.Event(), Audience(), []
    processor = Processor()
    processor.add(CLASSES, audience)

    async def outside() -> None:
        try:
            await processor.run(source(sse(play()[:3]), gate, sse(play()[3:])))
        except Exception as exc:  # noqa: BLE001 - compared below
            errors.append(str(exc))

    async with anyio.create_task_group() as tasks:
        async with processor:
            tasks.start_soon(outside)
            await quiet()
        async with processor:
            gate.set()
            await quiet()
            assert (errors, len(audience)) == (["the Processor was left before the stream ended"], 3)


# Left in another task


async def test_leaving_in_another_task_is_a_runtime_error_that_names_the_way():
    audience, before = Audience(), len(anyio.get_running_tasks())
    async with Processor() as processor:
        processor.add(CLASSES, audience)
        handle = processor.start(source(sse(play()[:-1]), anyio.Event()))
        await quiet()
        with anyio.fail_after(5), pytest.raises(RuntimeError, match=LEFT_ELSEWHERE):
            await in_a_task(lambda: processor.__aexit__(None, None, None))
        assert len(anyio.get_running_tasks()) == before
    assert told(audience) == await told_of(play())
    with pytest.raises(StreamStopped):
        await handle.outcome()
    async with processor:  # and it can be entered again
        assert (await processor.run(played(play()))).reason == "done"


async def test_leaving_in_another_task_cancels_what_takes_longer_than_drain_timeout():
    before = len(anyio.get_running_tasks())
    async with Processor(drain_timeout=0.01) as processor:
        processor.add(RunTransition, Audience(anyio.Event()))
        processor.on_failure(Audience(anyio.Event()))
        processor.start(played(play()))
        await quiet()
        with anyio.fail_after(5), pytest.raises(RuntimeError, match=LEFT_ELSEWHERE):
            await in_a_task(lambda: processor.__aexit__(None, None, None))
        assert len(anyio.get_running_tasks()) == before


def test_hooks_that_enter_and_leave_leave_nothing_behind(caplog: pytest.LogCaptureFixture):
    """The task that entered is gone: nothing hangs, no task is left, and the loop has nothing to complain about."""
    processor, audience = Processor(), Audience()
    processor.add(CLASSES, audience)
    with asyncio.Runner() as runner:
        runner.run(processor.__aenter__())
        runner.run(processor.run(played(play())))
        with pytest.raises(RuntimeError, match=LEFT_ELSEWHERE):
            runner.run(asyncio.wait_for(processor.__aexit__(None, None, None), 60))
        assert asyncio.all_tasks(runner.get_loop()) == set()
        with pytest.raises(RuntimeError, match="closed"):
            runner.run(processor.run(played(play())))
    del processor
    gc.collect()
    assert (len(audience), [one for one in caplog.records if one.levelno > logging.DEBUG]) == (16, [])


# Kept open by a task


async def test_kept_open_by_a_task_group_until_it_is_stopped():
    audience, processor = Audience(), Processor()
    processor.add(CLASSES, audience)
    async with anyio.create_task_group() as tasks:
        await tasks.start(processor.keep_open)
        outcome = await in_a_task(lambda: processor.run(played(play())))
        await in_a_task(processor.stop)
        with pytest.raises(RuntimeError, match="closed"):
            await processor.run(played(play()))
    assert (outcome.reason, told(audience)) == ("done", await told_of(play()))


def test_kept_open_between_hooks_of_a_framework(caplog: pytest.LogCaptureFixture):
    processor, audience, kept = Processor(), Audience(), []
    processor.add(CLASSES, audience)

    async def start_hook() -> None:
        kept.append(asyncio.create_task(processor.keep_open()))
        await processor.ready()

    with asyncio.Runner() as runner:
        for block in (1, 2):
            runner.run(start_hook())
            assert runner.run(processor.run(played(play()))).reason == "done"
            runner.run(asyncio.wait_for(processor.stop(), 60))
            assert (kept[-1].done(), asyncio.all_tasks(runner.get_loop()), len(audience)) == (True, set(), 16 * block)
    assert caplog.records == []


async def test_ready_returns_when_it_is_open():
    processor, order = Processor(), []

    async def wait() -> None:
        await processor.ready()
        order.append("ready")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait)
        await quiet()
        order.append("not yet")
        await tasks.start(processor.keep_open)
        await quiet()
        await processor.ready()
        await processor.stop()
    assert order == ["not yet", "ready"]


async def test_stop_before_the_first_step_of_keep_open_counts(caplog: pytest.LogCaptureFixture):
    processor, order = Processor(), []

    async def wait() -> None:
        with pytest.raises(RuntimeError, match="stopped before it was open"):
            await processor.ready()
        order.append("not ready")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait)
        await quiet()
        keeping = processor.keep_open()
        await processor.stop()
        await keeping
        await quiet()
        order.append("stopped")
        await tasks.start(processor.keep_open)  # a stop counts once
        assert (await processor.run(played(play()))).reason == "done"
        await processor.stop()
    assert (order, caplog.records) == (["not ready", "stopped"], [])


def test_stop_hook_that_follows_the_start_hook_at_once_leaves_no_task():
    processor = Processor()

    async def both() -> set[Any]:
        task = asyncio.create_task(processor.keep_open())
        await processor.stop()
        await asyncio.wait_for(task, 60)
        return asyncio.all_tasks() - {asyncio.current_task()}

    assert asyncio.run(both()) == set()


async def test_keep_open_that_is_cancelled_closes_at_once():
    gate, processor = anyio.Event(), Processor()
    processor.add(RunTransition, Audience(gate))
    async with anyio.create_task_group() as tasks:
        await tasks.start(processor.keep_open)
        tape = Tape(sse(play()), anyio.Event())
        handle = processor.start(tape)
        await quiet()
        tasks.cancel_scope.cancel()
    assert (handle.is_finished, tape.is_closed) == (True, True)
    await processor.stop()  # there is nothing to do


async def test_keep_open_raises_what_a_strict_processor_does():
    async def failing(change: Any) -> None:
        raise ValueError("of the callback")

    processor = Processor(strict=True)
    processor.add(RunTransition, failing)
    with pytest.raises(ExceptionGroup) as caught:
        async with anyio.create_task_group() as tasks:
            await tasks.start(processor.keep_open)
            processor.start(played(play()))
    assert isinstance(caught.value.exceptions[0], ValueError)


async def test_stopping_what_is_not_open_does_nothing():
    processor = Processor()
    await processor.stop()
    async with processor:
        assert (await processor.run(played(play()))).reason == "done"
    await processor.stop()


# Stopped


async def stopped(running: Awaitable[object]) -> StreamStopped:
    with pytest.raises(StreamStopped) as caught:
        await running
    assert caught.value.outcome is not None
    return caught.value


async def test_stop_ends_every_stream_and_delivers_what_was_folded():
    audience, errors = Audience(), []
    tapes = [Tape(sse(play(number)[:5]), anyio.Event()) for number in (1, 2)]

    async def reading() -> None:
        errors.append(await stopped(processor.run(tapes[0])))

    async with Processor() as processor, anyio.create_task_group() as tasks:
        processor.add(CLASSES, audience)
        tasks.start_soon(reading)
        handle = processor.start(tapes[1])
        await quiet()
        await processor.stop()
        errors.append(await stopped(handle.outcome()))
        assert [error.outcome.events for error in errors] == [5, 5]
        assert [tape.is_closed for tape in tapes] == [True, True]
        assert len(audience) == 2 * len([one for one in await told_of(play()) if one[1] <= 5])
        with pytest.raises(RuntimeError, match="the Processor was stopped"):
            await processor.run(played(play()))
        with pytest.raises(RuntimeError, match="the Processor was stopped"):
            processor.start(played(play()))
        processor.add(CLASSES, Audience())  # the block goes on


async def test_stop_waits_for_callbacks_and_for_no_longer_than_drain_timeout():
    order: list[str] = []

    async def slow(change: Any) -> None:
        await quiet()
        order.append("delivered")

    async with Processor(drain_timeout=0.01) as processor:
        processor.add(RunTransition, slow, status="queued")
        stuck = processor.add(RunTransition, Audience(anyio.Event()), timeout=None)
        processor.start(source(sse(play()), anyio.Event()))
        await quiet()
        with anyio.fail_after(5):
            await processor.stop()
        order.append("stopped")
    assert (order, stuck.is_closed) == (["delivered", "stopped"], True)


async def test_stop_that_is_called_again_returns_when_it_is_closed_too():
    """While a delivery goes on, and while its failure is reported."""
    gates, processor, closed = [anyio.Event(), anyio.Event()], Processor(), []

    async def failing(change: RunTransition) -> None:
        await gates[0].wait()
        raise ValueError

    async def stop() -> None:
        await processor.stop()
        closed.append(processor._lifetime.is_left)

    processor.add(RunTransition, failing, status="queued")
    processor.on_failure(Audience(gates[1]))
    async with anyio.create_task_group() as tasks:
        await tasks.start(processor.keep_open)
        processor.start(source(sse(play()[:3]), anyio.Event()))
        for gate in gates:
            await quiet()
            tasks.start_soon(stop)
            await quiet()
            tasks.start_soon(stop)
            await quiet()
            assert closed == []
            gate.set()
        await quiet()
        assert closed == [True] * 4


async def test_stop_does_not_wait_for_pacing():
    seen = Audience()
    async with Processor() as processor:
        processor.add(StepTransition, seen)
        processor.subscribe(StepTransition)
        processor.add(CLASSES, seen, min_interval=1_000)
        processor.start(source(sse(play()[:6]), anyio.Event()))
        await quiet()
        with anyio.fail_after(5):
            await processor.stop()


async def test_iterators_and_waits_end_when_the_block_was_stopped():
    """Nothing comes after it: who reads them in the block would wait for ever, and never leave it."""
    async with Processor() as processor, processor.subscribe(RunTransition) as changes:
        processor.start(source(sse(play()[:3]), anyio.Event()))
        await quiet()
        await processor.stop()
        with anyio.fail_after(5):
            assert [change.status async for change in changes] == ["queued", "in_progress"]
            with pytest.raises(WaitAborted, match="left or stopped"):
                await processor.wait_for_run("run_1")
            with pytest.raises(WaitAborted, match="left or stopped"):
                await processor.wait_for_step("step_9")


async def test_stop_in_a_callback_returns_at_once():
    seen, processor = [], Processor()

    async def stopping(change: RunTransition) -> None:
        await processor.stop()
        seen.append(change.status)

    processor.add(RunTransition, stopping, status="in_progress")
    async with anyio.create_task_group() as tasks:
        await tasks.start(processor.keep_open)
        with anyio.fail_after(5):
            await stopped(processor.run(source(sse(play()[:3]), anyio.Event())))
    assert seen == ["in_progress"]


async def test_block_that_waits_for_a_stream_goes_on_after_stop():
    async with Processor() as processor, anyio.create_task_group() as tasks:

        async def stop_later() -> None:
            await quiet()
            await processor.stop()

        tasks.start_soon(stop_later)
        await stopped(processor.run(source(anyio.Event())))


# One stream cancelled


async def test_cancelled_stream_ends_alone():
    audience = Audience()
    async with Processor() as processor:
        processor.add(CLASSES, audience)
        one = processor.start(Tape(sse(play()[:5]), anyio.Event()))
        gate = anyio.Event()
        other = processor.start(source(gate, sse(play(2))))
        await quiet()
        await one.cancel()
        error = await stopped(one.outcome())
        assert (one.is_finished, error.outcome.events, audience[-1].sequence) == (True, 5, 5)
        gate.set()
        assert (await other.outcome()).reason == "done"


async def test_cancel_may_be_called_again_and_need_not_be_awaited(caplog: pytest.LogCaptureFixture):
    async with Processor() as processor:
        handle = processor.start(Tape(anyio.Event()))
        await quiet()
        handle.cancel()
        handle.cancel()
        await handle.cancel()
        await handle.cancel()
        await stopped(handle.outcome())
    assert caplog.records == []  # it was asked for


async def test_cancel_before_the_source_is_touched():
    tape = Tape(sse(play()))
    async with Processor() as processor:
        handle = processor.start(tape)
        await handle.cancel()
        assert (tape.read, (await stopped(handle.outcome())).outcome.events) == (0, 0)


async def test_cancel_of_a_stream_that_has_ended_changes_nothing():
    async with Processor() as processor:
        handle = processor.start(played(play()))
        expected = await handle.outcome()
        await handle.cancel()
        assert await handle.outcome() is expected


async def test_stream_that_was_read_to_its_end_before_it_was_cancelled_has_its_outcome():
    gate = anyio.Event()
    async with Processor() as processor:
        processor.add(RunTransition, Audience(gate))
        handle = processor.start(played(play()))
        await quiet()
        handle.cancel()
        gate.set()
        assert (await handle.outcome()).reason == "done"


async def test_cancel_in_a_callback_of_the_stream_itself():
    async with Processor() as processor:

        @processor.on(RunTransition, status="in_progress")
        async def enough(change: RunTransition) -> None:
            await change.context[0].cancel()

        cell: list[Any] = []
        cell.append(processor.start(source(sse(play()[:3]), anyio.Event()), context=cell))
        with anyio.fail_after(5):
            await stopped(cell[0].outcome())


async def test_cancelled_stream_that_waits_for_room_ends():
    gate = anyio.Event()
    async with Processor() as processor:
        processor.add(CLASSES, Audience(gate), buffer=1)
        handle = processor.start(played(play()))
        await quiet()
        handle.cancel()
        await quiet()
        gate.set()
        assert (await stopped(handle.outcome())).outcome.events < 15


async def test_source_that_fails_because_it_is_cancelled_was_stopped():
    async def failing() -> Any:
        try:
            yield sse([run("queued")])
            await anyio.sleep_forever()
        finally:
            raise OSError("closed in use")

    async with Processor() as processor:
        handle = processor.start(failing())
        await quiet()
        await handle.cancel()
        error = await stopped(handle.outcome())
        assert "OSError" in repr(error.__cause__.__cause__)
