# ruff: noqa: PT012 - what leaves the block of a processor is raised by the block as a whole
"""Streams that are left early: cancelled, without events, outside of the block; and what is kept of subscribers."""

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any, Self

import anyio
import anyio.lowlevel
import pytest

from stepstream import Processor, RunTransition, StepProgress, StreamTruncated
from stepstream.live.fanout import StreamFanout
from stepstream.live.mailbox import Mailbox
from stepstream.live.options import Delivery, Filter
from stepstream.live.reader import EVENTS_BETWEEN_CHECKPOINTS
from stepstream.live.routing import MAX_FOUND, Routes
from tests.support.run_streams import DONE, events, grows, opens, run, sse, step
from tests.support.suspensions import quiet


class FailsWhenClosed:
    """A source that says nothing, and fails when it is closed."""

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        await anyio.sleep_forever()
        raise StopAsyncIteration

    async def aclose(self) -> None:
        raise OSError("close failed")


async def test_source_that_fails_when_closed_does_not_replace_a_cancellation():
    async with Processor() as processor:
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(processor.run, FailsWhenClosed())
                await quiet()
                scope.cancel()
    assert scope.cancelled_caught


async def test_stream_of_nothing_but_comments_can_be_cancelled():
    taken = 0

    async def comments() -> AsyncIterator[bytes]:
        nonlocal taken
        for _ in range(10 * EVENTS_BETWEEN_CHECKPOINTS):
            taken += 1
            yield b": fog\n\n"

    async with Processor() as processor:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await processor.run(comments())
    assert taken <= EVENTS_BETWEEN_CHECKPOINTS


async def test_stream_outside_of_the_block_that_is_left_ends_as_truncated():
    """Its changes would not be taken any more: that must not look like a good end."""
    sent = [run("in_progress"), step("created"), opens(), *[grows("x")] * 50, DONE]
    ended: list[Any] = []

    async def whole() -> AsyncGenerator[bytes, None]:
        yield sse(sent)

    async def outside(processor: Processor) -> None:
        with pytest.raises(StreamTruncated) as caught:
            await processor.run(whole())
        ended.append(caught.value.outcome)

    async with anyio.create_task_group() as tasks, Processor() as processor:
        go = anyio.Event()

        @processor.on(StepProgress, buffer=1)
        async def slow(change: StepProgress) -> None:
            await go.wait()

        tasks.start_soon(outside, processor)
        await quiet()
        go.set()
    assert len(ended) == 1
    assert ended[0].events < len(sent)


async def test_exception_that_leaves_the_block_keeps_its_cause():
    async def exiting(change: RunTransition) -> None:
        raise SystemExit(3) from ValueError("why")

    async def one() -> AsyncGenerator[bytes, None]:
        yield sse([run("in_progress")])
        await anyio.sleep_forever()

    with pytest.raises(SystemExit) as caught:
        async with Processor() as processor:
            processor.add(RunTransition, exiting)
            await processor.run(one())
    assert isinstance(caught.value.__cause__, ValueError)


def test_stream_does_not_keep_the_subscribers_that_it_has_met():
    routes, begun = Routes(), events([run("in_progress")])[0].data
    fanout = StreamFanout(routes)
    for number in range(5 * MAX_FOUND):
        mailbox = Mailbox((RunTransition,), Filter(), Delivery(), None)
        routes.add(mailbox)
        fanout.dispatch(RunTransition("x", number, None, "", None, None, "in_progress", False, "", begun))
        mailbox.close()
    assert len(fanout.pending) <= MAX_FOUND


async def grouped(failure: Exception | None) -> AsyncIterator[Any]:
    """A source that yields inside a task group."""
    async with anyio.create_task_group():
        try:
            for event in events([run("in_progress"), run("completed"), DONE]):
                yield event
        finally:
            if failure is not None:
                raise failure


@pytest.mark.parametrize("failure", [None, OSError("canary")])
async def test_generator_that_yields_inside_a_task_group_is_left_at_done(
    failure: Exception | None, caplog: pytest.LogCaptureFixture
):
    async with Processor() as processor:
        assert (await processor.run(grouped(failure))).status == "completed"
    assert ("a source failed when it was closed after done" in caplog.text) == (failure is not None)
