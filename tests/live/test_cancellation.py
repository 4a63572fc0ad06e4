"""Cancelled at every moment: nothing leaks, nothing but the cancellation is raised, nothing that was folded is lost."""

import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import anyio
import pytest

from stepstream import (
    MessageTransition,
    Processor,
    StepProgress,
    StepTransition,
    StreamHandle,
    StreamTruncated,
    ToolCallFinished,
    ToolCallStarted,
)
from stepstream.live.options import BUFFER
from stepstream.live.registration import CLASSES
from tests.support.run_streams import (
    Audience,
    Tape,
    as_far_as_it_came,
    frames,
    grows,
    opens,
    play,
    played,
    run,
    step,
    told,
    told_of,
)
from tests.support.suspensions import cancelling

Pause = Callable[[], Awaitable[object]]

STREAMS = 2


class Scene:
    """Two streams at once, one run and one started, with callbacks and an iterator. Everybody pauses at every turn."""

    def __init__(self, pause: Pause = anyio.lowlevel.checkpoint) -> None:
        self.pause = pause
        self.tapes = [Tape(*self._paused(number)) for number in range(STREAMS)]
        self.fast = Audience()
        self.slow: list[Any] = []
        self.iterated: list[Any] = []
        self.handle: StreamHandle | None = None

    def _paused(self, number: int) -> list[Any]:
        return [item for frame in frames(play(number)) for item in (self.pause, frame)]

    async def play(self) -> None:
        async with Processor() as processor:
            processor.add(CLASSES, self.fast)
            processor.add(CLASSES, self._listen)
            async with processor.subscribe(*CLASSES) as changes, anyio.create_task_group() as tasks:
                tasks.start_soon(self._iterate, changes)
                self.handle = processor.start(self.tapes[0], context=0)
                await processor.run(self.tapes[1], context=1)
                await self.handle.outcome()
            await self.pause()

    async def _listen(self, change: Any) -> None:
        self.slow.append(change)
        await self.pause()

    async def _iterate(self, changes: AsyncIterator[Any]) -> None:
        while len(self.iterated) < STREAMS * 16:
            self.iterated.append(await anext(changes))
            await self.pause()

    def heard(self) -> list[list[tuple[str, int]]]:
        """What each subscriber got of each stream."""
        everybody = (self.fast, self.slow, self.iterated)
        return [told(change for change in one if change.context == number) for one in everybody for number in range(2)]


async def cancel_as_the_host(scope: anyio.CancelScope, moment: int) -> Scene:
    """Cancel right before the task that entered the processor is suspended."""
    scene = Scene()
    with scope:
        await cancelling(scene.play(), scope, moment)
    return scene


async def cancel_as_a_sibling(scope: anyio.CancelScope, moment: int) -> Scene:
    """Cancel after so many turns of the scheduler, wherever everybody is then."""

    async def cancel() -> None:
        for _ in range(moment):
            await anyio.lowlevel.checkpoint()
        scope.cancel()

    scene = Scene()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(cancel)
        with scope:
            await scene.play()
        tasks.cancel_scope.cancel()
    return scene


async def cancel_as_a_source_or_a_subscriber(scope: anyio.CancelScope, moment: int) -> Scene:
    """Cancel within the source, a callback or the iterating task."""
    turns = itertools.count(1)

    async def pause() -> None:
        if next(turns) == moment:
            scope.cancel()
        await anyio.lowlevel.checkpoint()

    scene = Scene(pause)
    with scope:
        await scene.play()
    return scene


WAYS = [cancel_as_the_host, cancel_as_a_sibling, cancel_as_a_source_or_a_subscriber]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
async def test_processor_can_be_cancelled_at_every_moment(way: Callable[[anyio.CancelScope, int], Awaitable[Scene]]):
    before = len(anyio.get_running_tasks())
    whole = await told_of(play())
    for moment in itertools.count(1):
        scope = anyio.CancelScope()
        scene = await way(scope, moment)
        assert len(anyio.get_running_tasks()) == before
        assert [tape.is_closed for tape in scene.tapes if tape.read] == [True] * sum(
            tape.read > 0 for tape in scene.tapes
        )
        assert [part == whole[: len(part)] for part in scene.heard()] == [True] * 6
        assert scene.handle is None or scene.handle.is_finished
        if not scope.cancelled_caught:
            break
    assert scene.heard() == [whole] * 6
    assert moment > 16


LASTING = (StepTransition, MessageTransition, ToolCallStarted, ToolCallFinished)
"""What a stream that is read a second time does not do again."""


async def test_run_that_is_cancelled_at_any_moment_loses_nothing():
    """What it folded is delivered, and the rest comes when the stream is read again: together each change once."""
    whole = Audience()
    async with Processor() as processor:
        processor.add(LASTING, whole)
        await processor.run(played(play()))
    for moment in itertools.count(1):
        fast, slow = Audience(), Audience()
        with anyio.CancelScope() as scope:
            async with Processor() as processor:
                processor.add(LASTING, fast)
                processor.add(LASTING, pausing(slow))
                paused = [item for frame in frames(play()) for item in (anyio.lowlevel.checkpoint, frame)]
                with anyio.CancelScope() as inner:
                    await cancelling(processor.run(Tape(*paused)), inner, moment)
                await processor.run(played(play()))
        assert not scope.cancel_called
        assert told(fast) == told(slow) == told(whole)
        if not inner.cancel_called:
            break
    assert moment > 15


async def test_run_that_is_cancelled_while_it_waits_for_a_subscriber_loses_nothing():
    """A later delta shows how many were folded: so many progresses were delivered."""
    sent = frames([step("created"), opens(), *[grows("x")] * (BUFFER + 10), run("completed")])
    for moment in itertools.count(1):
        fast, slow = Audience(), Audience()
        async with Processor() as processor:
            processor.add(StepProgress, fast)
            processor.add(StepProgress, pausing(slow))
            with anyio.CancelScope() as scope:
                await cancelling(processor.run(Tape(*sent)), scope, moment)
            with pytest.raises(StreamTruncated):
                await processor.run(played([grows("!")]))
        folded = len(fast[-1].step.tool_calls[0].function.arguments)
        assert (len(fast), len(slow)) == (folded + 1, folded + 1)  # the opening delta added nothing
        if not scope.cancel_called:
            break
    assert folded == BUFFER + 10 + 1
    assert moment > 5


def pausing(audience: Audience) -> Callable[[Any], Awaitable[None]]:
    """A callback that takes its time before it notes the change."""

    async def look(change: Any) -> None:
        await anyio.lowlevel.checkpoint()
        await audience(change)

    return look


async def test_started_streams_that_are_cancelled_at_any_moment_deliver_what_they_folded():
    """The block fails at every moment: what the sources gave until then arrives all the same."""
    for moment in itertools.count(1):
        fast, slow = Audience(), Audience()
        paused = [item for frame in frames(play()) for item in (anyio.lowlevel.checkpoint, frame)]
        tape, handle = Tape(*paused), None
        try:
            async with Processor() as processor:
                processor.add(CLASSES, fast)
                processor.add(CLASSES, pausing(slow))
                handle = processor.start(tape)
                for _ in range(moment):
                    await anyio.lowlevel.checkpoint()
                if not handle.is_finished:
                    raise LookupError
        except LookupError:
            assert (await as_far_as_it_came(handle.outcome())).events == tape.read
            assert told(fast) == told(slow) == [one for one in await told_of(play()) if one[1] <= tape.read]
        else:
            break
    assert moment > 15
