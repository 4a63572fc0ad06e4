"""Subscriptions that name runs end with them: iterators, and callbacks with `replay`."""

from typing import Any

import anyio
import pytest

from stepstream import MessageTransition, Processor, RunTransition, StepTransition
from stepstream.live.registration import CLASSES
from tests.support.run_streams import (
    DONE,
    Audience,
    message,
    play,
    played,
    run,
    sketch,
    source,
    sse,
    step,
    told,
    told_of,
)
from tests.support.suspensions import quiet


async def all_of(processor: Processor, *classes: Any, **options: Any) -> list[Any]:
    """What an iterator gives until it ends."""
    async with processor.subscribe(*(classes or CLASSES[:-1]), **options) as changes:
        with anyio.fail_after(5):
            return [change async for change in changes]


async def in_background(tasks: anyio.abc.TaskGroup, processor: Processor, **options: Any) -> list[Any]:
    """The list that such an iterator fills, in a task; None at its end."""
    got: list[Any] = []

    async def read() -> None:
        async with processor.subscribe(*CLASSES[:-1], **options) as changes:
            async for change in changes:
                got.append(change)  # noqa: PERF401 - one by one: it is looked at meanwhile
        got.append(None)

    tasks.start_soon(read)
    await quiet()
    return got


@pytest.mark.parametrize("ids", ["run_1", ["run_1"]])
@pytest.mark.parametrize("replay", [False, True])
async def test_iterator_ends_when_its_run_has_ended_and_was_delivered(ids: Any, replay: bool):
    gate = anyio.Event()
    async with Processor() as processor, anyio.create_task_group() as tasks:
        got = await in_background(tasks, processor, run_id=ids, replay=replay)
        processor.start(source(sse(play()[:-1]), gate))  # the stream itself goes on
        await quiet()
        assert got[-1] is None
        assert told(got[:-1]) == await told_of(play())
        gate.set()


@pytest.mark.parametrize("replay", [False, True])
async def test_iterator_of_a_run_that_had_ended_before_ends_at_once(replay: bool):
    async with Processor() as processor:
        await processor.run(played(play()))
        got = await all_of(processor, run_id="run_1", replay=replay)
    assert [type(change).__name__ for change in got] == (
        ["StepTransition", "MessageTransition", "StepTransition", "RunTransition"] if replay else []
    )


async def test_iterator_of_several_runs_ends_when_all_have():
    async with Processor() as processor, anyio.create_task_group() as tasks:
        await processor.run(played(play(1)))
        got = await in_background(tasks, processor, run_id={"run_1", "run_2", "run_3"})
        await processor.run(played(play(3)))
        await quiet()
        assert None not in got
        await processor.run(played(play(2)))
        await quiet()
        assert {change.run_id for change in got[:-1]} == {"run_2", "run_3"}
        assert got[-1] is None


async def test_iterator_of_a_run_that_goes_on_in_another_stream_goes_on():
    async with Processor() as processor, anyio.create_task_group() as tasks:
        got = await in_background(tasks, processor, run_id="run_1")
        await processor.run(played([run("queued"), run("requires_action"), DONE]))
        await quiet()
        assert len(got) == 2
        await processor.run(played([run("in_progress"), run("completed"), DONE]))
        await quiet()
        assert [change and change.status for change in got] == [
            "queued", "requires_action", "in_progress", "completed", None,
        ]  # fmt: skip


async def test_what_ends_after_its_run_is_given_too():
    """A stream out of order: the run ends before its step and its message do. The iterator ends with the last."""
    gate = anyio.Event()
    sent = [run("queued"), step("created"), message("created"), run("completed"), step("completed")]
    async with Processor() as processor, anyio.create_task_group() as tasks:
        got = await in_background(tasks, processor, run_id="run_1")
        handle = processor.start(source(sse(sent), gate, sse([message("completed")]), anyio.Event()))
        await quiet()
        late = await in_background(tasks, processor, run_id="run_1", replay=True)
        assert None not in (*got, *late)
        gate.set()
        await quiet()
        assert isinstance(got[-2], MessageTransition)
        assert (got[-1], late[-2:]) == (None, [got[-2], None])
        handle.cancel()


async def test_step_that_begins_after_its_run_ended_goes_to_callbacks_and_no_iterator_of_the_run():
    audience, sent = Audience(), [run("queued"), run("completed"), step("created"), step("completed"), DONE]
    async with Processor() as processor, anyio.create_task_group() as tasks:
        processor.add(CLASSES, audience, run_id="run_1")
        got = await in_background(tasks, processor, run_id="run_1")
        await processor.run(played(sent))
        await quiet()
    assert [getattr(change, "status", None) for change in got] == ["queued", "completed", None]
    assert [change.status for change in audience] == ["queued", "completed", "in_progress", "completed"]


@pytest.mark.parametrize("how", ["done", "broken"])
async def test_steps_that_a_run_left_open_keep_no_iterator_after_its_stream(how: str):
    sent = [run("queued"), step("created"), run("failed"), *([DONE] if how == "done" else [])]
    async with Processor() as processor, anyio.create_task_group() as tasks:
        got = await in_background(tasks, processor, run_id="run_1")
        processor.start(source(sse(sent), *([OSError()] if how == "broken" else [])))
        await quiet()
        assert [getattr(change, "status", None) for change in got] == ["queued", "in_progress", "failed", None]
        assert len(await all_of(processor, run_id="run_1", replay=True)) == 3


async def test_run_that_is_not_remembered_ends_its_iterator_all_the_same():
    async with Processor(retain=0) as processor, anyio.create_task_group() as tasks:
        got = await in_background(tasks, processor, run_id="run_1")
        await processor.run(played(sketch()))
        await quiet()
        assert got[-1] is None


async def test_iterator_of_no_run_ends_at_once():
    async with Processor() as processor:
        assert await all_of(processor, run_id=()) == []


async def test_iterator_that_was_left_early_leaves_nothing_behind():
    async with Processor() as processor:
        async with processor.subscribe(RunTransition, run_id=["run_1", "run_2"]):
            await processor.run(played(sketch()))
        assert not processor._routes.run_ends.by_run
        await processor.run(played(sketch(2)))


async def test_callback_with_replay_is_closed_when_its_run_has_ended_and_was_delivered():
    gate, late = anyio.Event(), Audience()
    async with Processor() as processor:
        handle = processor.start(source(sse(play()[:6]), gate, sse(play()[6:])))
        await quiet()
        subscription = processor.add((StepTransition, RunTransition), late, run_id="run_1", replay=True)
        await quiet()
        assert not subscription.is_closed
        gate.set()
        await handle.outcome()
        await quiet()
        assert (subscription.is_closed, subscription.failure, subscription.dropped) == (True, None, 0)
        assert (late[-1].status, late[-1].run_id) == ("completed", "run_1")
        again = processor.add(RunTransition, late, run_id="run_1", replay=True)
        await quiet()
        assert (again.is_closed, again.delivered) == (True, 1)


async def test_callback_without_replay_stays():
    """It is registered once, and may be for runs to come."""
    async with Processor() as processor:
        subscription = processor.add(RunTransition, Audience(), run_id="run_1")
        await processor.run(played(play()))
        await quiet()
        assert not subscription.is_closed


async def test_callback_of_a_run_waits_for_it_again_in_the_next_block():
    late, processor = Audience(), Processor()
    subscription = processor.add(RunTransition, late, run_id="run_1", replay=True)
    for _ in range(2):
        async with processor:
            await processor.run(played([run("queued"), DONE]))
    assert (len(late), subscription.is_closed) == (2, True)
    async with processor:
        await processor.run(played(sketch()))
        await quiet()
    assert (len(late), subscription.is_closed) == (4, True)
    async with processor:
        await processor.run(played(sketch()))
    assert len(late) == 4
