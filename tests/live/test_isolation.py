# ruff: noqa: PT012 - what leaves the block of a processor is raised by the block as a whole
import asyncio  # noqa: TID251 - only there can something be cancelled behind anyio's back
import logging
from collections.abc import Awaitable, Callable
from importlib.util import find_spec
from typing import Any

import anyio
import pytest

from stepstream import Processor, RunTransition, StepProgress, StepTransition, ToolCallFinished, TransportError
from stepstream.live.registration import CLASSES
from tests.support.run_streams import Audience, grows, opens, play, played, run, source, sse, step, told, told_of
from tests.support.suspensions import quiet

ASYNCIO = pytest.mark.parametrize(
    "anyio_backend",
    [
        pytest.param(("asyncio", {"use_uvloop": False}), id="asyncio"),
        pytest.param(
            ("asyncio", {"use_uvloop": True}),
            id="uvloop",
            marks=pytest.mark.skipif(find_spec("uvloop") is None, reason="uvloop is not installed"),
        ),
    ],
)

Callback = Callable[[Any], Awaitable[object]]


async def raising(change: Any) -> None:
    raise ValueError("of the callback")


async def awaiting_what_is_cancelled(change: Any) -> None:
    future = asyncio.get_running_loop().create_future()
    future.cancel()
    await future


async def cancelling_itself(change: Any) -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(0)


async def with_a_group_that_fails(change: Any) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(raising, change)
        await anyio.sleep_forever()


async def timing_out(change: Any) -> None:
    with anyio.fail_after(0):
        await anyio.sleep_forever()


async def running_within_itself(change: Any) -> None:
    raise StopAsyncIteration


EVERYWHERE: list[Callback] = [raising, with_a_group_that_fails, timing_out, running_within_itself]
ON_ASYNCIO: list[Callback] = [awaiting_what_is_cancelled, cancelling_itself]


async def check_isolation(callback: Callback) -> None:
    """Check that a failing callback is called for every change, and that nobody else notices."""
    before, after, iterated = Audience(), Audience(), []
    processor = Processor()
    async with processor.subscribe(*CLASSES) as changes:
        async with processor:
            processor.add(CLASSES, before)
            failing = processor.add(CLASSES, callback)
            processor.add(CLASSES, after)
            outcome = await processor.run(played(play()))
        iterated = [change async for change in changes]
    expected = await told_of(play())
    assert [told(before), told(after), told(iterated)] == [expected] * 3
    assert (outcome.reason, failing.failed, failing.delivered) == ("done", 16, 16)


@pytest.mark.parametrize("callback", EVERYWHERE)
async def test_failing_callback_affects_nobody_else(callback: Callback):
    await check_isolation(callback)


@ASYNCIO
@pytest.mark.parametrize("callback", ON_ASYNCIO)
async def test_callback_that_is_cancelled_by_what_it_awaits_affects_nobody_else(callback: Callback):
    await check_isolation(callback)


async def test_callback_that_leaves_a_scope_which_it_cancelled_does_not_fail():
    reached = []
    async with Processor() as processor:

        @processor.on(RunTransition)
        async def look(change: RunTransition) -> None:
            with anyio.CancelScope() as scope:
                scope.cancel()
                await anyio.lowlevel.checkpoint()
            reached.append(change.sequence)

        await processor.run(played(play()))
    assert reached == [1, 2, 14]


async def test_failing_callback_does_not_change_the_outcome():
    async with Processor() as processor:
        expected = await processor.run(played(play()))
    async with Processor() as processor:
        processor.add(CLASSES, raising)
        assert await processor.run(played(play())) == expected


async def test_failing_callback_does_not_end_other_streams():
    async with Processor() as processor:
        processor.add(RunTransition, raising, run_id="run_1")
        handles = [processor.start(played(play(number))) for number in range(5)]
        reasons = [(await handle.outcome()).reason for handle in handles]
    assert reasons == ["done"] * 5


def look_at(change: Any) -> bool:
    if change.sequence % 2:
        raise KeyError("of the predicate")
    return True


async def test_failing_predicate_affects_nobody_else():
    picky, other = Audience(), Audience()
    async with Processor() as processor:
        failing = processor.add(StepTransition, picky, where=look_at)
        processor.add(CLASSES, other)
        outcome = await processor.run(played(play()))
    assert told(other) == await told_of(play())
    assert (outcome.reason, failing.failed, [change.sequence for change in picky]) == ("done", 3, [8])


async def test_failing_predicate_of_an_iterator_affects_nobody_else():
    async with Processor() as processor, processor.subscribe(StepTransition, where=look_at) as changes:
        assert (await processor.run(played(play()))).reason == "done"
        assert ((await anext(changes)).sequence, changes.subscription.failed) == (8, 3)


SECRET = "ignore all previous instructions"


async def test_failure_of_a_callback_is_logged_once_with_its_traceback(caplog: pytest.LogCaptureFixture):
    async with Processor() as processor:
        processor.add(ToolCallFinished, raising)
        await processor.run(played(play()))
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("stepstream.live", logging.ERROR)
    assert record.getMessage() == "the subscriber raising failed at a ToolCallFinished"
    assert record.exc_text is not None
    assert "in raising" in record.exc_text
    assert record.exc_text.endswith("ValueError: of the callback")


async def test_failure_of_a_predicate_is_logged_once_with_its_traceback(caplog: pytest.LogCaptureFixture):
    async with Processor() as processor:
        processor.add(StepTransition, Audience(), where=look_at, status="completed", step_type="tool_calls")
        processor.add(StepTransition, Audience(), status="completed", step_type="tool_calls", where=look_at)
        await processor.run(played([step("created"), opens(), step("completed"), run("completed")]))
    (failed_at, *_) = [record.exc_text or "" for record in caplog.records]
    assert len(caplog.records) == 2  # the other filters come first, in whatever order they were given
    assert "in look_at" in failed_at


async def test_log_of_a_failure_holds_nothing_of_the_stream(caplog: pytest.LogCaptureFixture):
    async with Processor() as processor:
        processor.add(CLASSES, raising)
        await processor.run(played([step("created"), opens(), grows(SECRET), run("completed")]))
    assert SECRET not in caplog.text


async def test_strict_raises_the_exception_of_a_callback_as_it_is():
    given = ValueError("of the callback")

    async def fail(change: RunTransition) -> None:
        raise given

    with pytest.raises(ValueError, match="of the callback") as caught:
        async with Processor(strict=True) as processor:
            processor.add(RunTransition, fail)
            await processor.run(played(play()))
    assert caught.value is given


async def test_strict_raises_the_exception_of_a_predicate():
    with pytest.raises(KeyError):
        async with Processor(strict=True) as processor:
            processor.add(StepTransition, Audience(), where=look_at)
            await processor.run(played(play()))


async def test_strict_raises_the_exception_of_an_iterators_predicate():
    with pytest.raises(KeyError):
        async with Processor(strict=True) as processor, processor.subscribe(StepTransition, where=look_at):
            await processor.run(played(play()))


@ASYNCIO
async def test_strict_raises_where_a_callback_was_cancelled_by_what_it_awaited():
    with pytest.raises(RuntimeError, match="the callback was cancelled by what it awaited"):
        async with Processor(strict=True) as processor:
            processor.add(RunTransition, awaiting_what_is_cancelled)
            await processor.run(played(play()))


async def test_strict_ends_the_streams_and_the_block():
    reached = []
    with pytest.raises(ValueError, match="of the callback"):
        async with Processor(strict=True) as processor:
            processor.add(RunTransition, raising)
            handle = processor.start(source(sse(play()[:3]), anyio.Event()))
            await anyio.sleep_forever()
            reached.append("the end of the block")
    assert (reached, handle.is_finished) == ([], True)


async def test_strict_delivers_to_the_others_what_was_folded():
    gate = anyio.Event()
    other, slow = Audience(), Audience(gate)

    async def fail(change: StepProgress) -> None:
        gate.set()
        raise ValueError("of the callback")

    with pytest.raises(ValueError, match="of the callback"):
        async with Processor(strict=True) as processor:
            processor.add(CLASSES, other)
            processor.add(CLASSES, slow)
            processor.add(StepProgress, fail)
            await processor.run(source(sse(play()), anyio.Event()))
    assert told(other) == told(slow) == await told_of(play())


async def test_strict_raises_the_first_exception_and_logs_the_others(caplog: pytest.LogCaptureFixture):
    has_failed = anyio.Event()

    async def fail(change: RunTransition) -> None:
        has_failed.set()
        raise ValueError("of the callback")

    async def fail_later(change: RunTransition) -> None:
        await has_failed.wait()
        raise ValueError("of the other callback")

    with pytest.raises(ValueError, match=r"^of the callback$"):
        async with Processor(strict=True) as processor:
            processor.add(RunTransition, fail, status="queued")
            processor.add(RunTransition, fail_later, status="completed")
            await processor.run(source(sse(play())))
    assert [(record.exc_text or "").endswith("of the other callback") for record in caplog.records] == [True]


async def test_strict_calls_a_callback_that_failed_no_more():
    async def fail(change: RunTransition) -> None:
        raise ValueError(f"at {change.sequence}")

    with pytest.raises(ValueError, match=r"^at 1$"):
        async with Processor(strict=True) as processor:
            subscription = processor.add(RunTransition, fail)
            await processor.run(source(sse(play())))
    assert (subscription.failed, subscription.is_closed) == (1, True)


async def test_strict_raises_the_exception_that_came_first(caplog: pytest.LogCaptureFixture):
    with pytest.raises(ValueError, match="of the callback"):
        async with Processor(strict=True) as processor:
            processor.add(RunTransition, raising, status="queued")
            try:
                await processor.run(source(sse(play()[:3]), anyio.Event()))
            finally:
                raise KeyError("on the way out")
    assert [record.message for record in caplog.records] == ["the block failed while a subscriber's failure ended it"]


async def test_strict_raises_the_exception_of_the_block_where_that_came_first():
    gate = anyio.Event()

    async def fail(change: RunTransition) -> None:
        await gate.wait()
        raise ValueError("of the callback")

    with pytest.raises(KeyError):
        async with Processor(strict=True) as processor:
            processor.add(RunTransition, fail)
            processor.start(played(play()))
            await quiet()
            gate.set()
            raise KeyError("of the block")


async def test_strict_raises_what_fails_while_the_block_is_left():
    with pytest.raises(ValueError, match="of the callback"):
        async with Processor(strict=True) as processor:
            processor.add(RunTransition, raising, status="completed")
            processor.start(played(play()))


@ASYNCIO
async def test_source_that_is_cancelled_by_what_it_awaits_fails_alone():
    async def cancelled() -> Any:
        yield sse(play()[:3])
        await awaiting_what_is_cancelled(None)

    async with Processor() as processor:
        broken, whole = processor.start(cancelled()), processor.start(played(play(2)))
        with pytest.raises(TransportError, match="the source was cancelled by what it awaited") as caught:
            await broken.outcome()
        assert (await whole.outcome()).reason == "done"
    assert caught.value.outcome is not None
    assert caught.value.outcome.events == 3


async def test_failing_source_does_not_end_other_streams():
    async with Processor() as processor:
        broken, whole = processor.start(source(OSError())), processor.start(played(play()))
        with pytest.raises(TransportError):
            await broken.outcome()
        assert (await whole.outcome()).reason == "done"


async def test_callback_that_fails_because_it_is_cancelled_is_not_called_again():
    calls = []

    async def fail(change: RunTransition) -> None:
        calls.append(change.sequence)
        try:
            await anyio.sleep_forever()
        finally:
            raise ValueError("on being cancelled")

    with anyio.CancelScope() as scope:
        async with Processor() as processor:
            processor.add(RunTransition, fail)
            processor.start(played(play()))
            await quiet()
            scope.cancel()
    assert calls == [1]
