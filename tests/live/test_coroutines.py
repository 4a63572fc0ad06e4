"""Calling: the first step at once, the rest with a limit to its time."""

from collections.abc import Callable
from contextvars import copy_context
from functools import partial
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from stepstream import Processor, RunTransition
from stepstream.live.coroutines import finish_call, start_call
from tests.support.run_streams import Audience, played, run, step
from tests.support.suspensions import quiet
from tests.support.virtual_time import virtually

RUNS = [run("queued"), run("in_progress"), run("completed")]


async def called(function: Callable[[], Any], limit: float = 5) -> tuple[Exception | None, bool]:
    """How a callback that waits ended, and whether it was cut short."""
    failure = None
    with anyio.CancelScope() as scope:
        started = start_call(copy_context(), lambda _: function(), None)
        assert started is not None
        failure = await finish_call(started, scope, limit)
    return failure, scope.cancelled_caught


async def test_callback_that_waits_goes_on_in_the_same_task():
    tasks = []

    async def look() -> None:
        for _ in range(3):
            tasks.append(anyio.get_current_task().id)
            await anyio.lowlevel.checkpoint()
            await anyio.lowlevel.checkpoint()

    assert await called(look) == (None, False)
    assert set(tasks) == {anyio.get_current_task().id}


async def test_callback_gets_the_answers_to_what_it_awaits():
    send, receive = anyio.create_memory_object_stream[int](3)
    got = []

    async def look() -> None:
        got.append(await receive.receive())
        got.append(await receive.receive())

    for number in (1, 2):
        send.send_nowait(number)
    assert await called(look) == (None, False)
    assert got == [1, 2]
    send.close()
    receive.close()


async def test_exception_of_a_callback_that_waited_is_returned():
    given = ValueError()

    async def fail() -> None:
        await anyio.lowlevel.checkpoint()
        raise given

    assert await called(fail) == (given, False)


def test_callback_that_takes_too_long_is_cut_short_at_its_limit():
    async def check() -> float:
        start = anyio.current_time()
        assert await called(anyio.sleep_forever, 3) == (None, True)
        return anyio.current_time() - start

    assert virtually(check) == 3


async def test_cleanup_of_a_callback_that_is_cut_short_may_wait():
    cleaned = []

    async def look() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.lowlevel.checkpoint()
                cleaned.append(True)

    assert await called(look, 0.01) == (None, True)
    assert cleaned == [True]


async def test_scopes_and_groups_of_a_callback_nest():
    async def look() -> None:
        with anyio.move_on_after(0.01):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(anyio.sleep_forever)
        await anyio.lowlevel.checkpoint()

    assert await called(look) == (None, False)


@pytest.mark.parametrize("count", [0, 2, 3])
async def test_callback_of_another_count_of_parameters_fails_alone(count: int):
    functions: dict[int, Any] = {0: _none, 2: _two, 3: _three}
    other = Audience()
    async with Processor() as processor:
        wrong = processor.add(RunTransition, partial(functions[count]))  # which is not looked into
        processor.add(RunTransition, other)
        await processor.run(played(RUNS))
    assert (wrong.failed, len(other)) == (3, 3)


async def _none() -> None: ...
async def _two(one: Any, two: Any) -> None: ...
async def _three(one: Any, two: Any, three: Any) -> None: ...


def test_callback_that_catches_its_cancellation_does_not_spoil_the_next_call():
    calls = []

    async def look(change: RunTransition) -> None:
        calls.append(change.status)
        if change.status == "queued":
            try:
                await anyio.sleep_forever()
            except anyio.get_cancelled_exc_class():
                return
        await anyio.sleep(0.5)
        calls.append("slept")

    async def check() -> tuple[int, int]:
        async with Processor() as processor:
            subscription = processor.add(RunTransition, look, timeout=1)
            await processor.run(played(RUNS))
        return subscription.delivered, subscription.failed

    assert virtually(check) == (3, 0)
    assert calls == ["queued", "in_progress", "slept", "completed", "slept"]


def test_callback_that_ends_in_the_moment_of_its_limit_does_not_spoil_the_next_call():
    async def look(change: RunTransition) -> None:
        await anyio.sleep(1)

    async def check() -> tuple[int, int]:
        async with Processor() as processor:
            subscription = processor.add(RunTransition, look, timeout=1)
            await processor.run(played(RUNS))
        return subscription.delivered, subscription.delivered - subscription.failed in range(4)

    assert virtually(check) == (3, True)


def test_callback_that_raises_something_else_when_it_is_cut_short_has_its_attempts_and_no_more():
    calls = []

    async def look(change: RunTransition) -> None:
        calls.append(anyio.current_time())
        try:
            await anyio.sleep_forever()
        finally:
            raise ValueError("in the cleanup")

    async def check() -> tuple[int, int]:
        async with Processor() as processor:
            subscription = processor.add(RunTransition, look, timeout=1, attempts=3, backoff=1)
            await processor.run(played([run("completed")]))
        return subscription.failed, subscription.retried

    assert virtually(check) == (1, 2)
    assert [round(time - calls[0], 6) for time in calls] == [0, 2, 5]


async def test_stream_is_not_held_by_a_callback_that_never_waits():
    seen = Audience()
    async with Processor() as processor:
        processor.add(RunTransition, seen)
        processor.start(played([step("created"), *RUNS]))
        await quiet()
    assert len(seen) == 3
