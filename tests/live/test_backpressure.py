import itertools
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest

from stepstream import (
    Processor,
    RunTransition,
    StepProgress,
    StepTransition,
    ToolCallFinished,
    ToolCallStarted,
    TransportError,
)
from stepstream.live.options import BUFFER
from stepstream.live.registration import CLASSES
from tests.support.run_streams import (
    DONE,
    Audience,
    Tape,
    call,
    frames,
    grows,
    opens,
    play,
    played,
    run,
    source,
    sse,
    step,
    told,
    told_of,
)
from tests.support.suspensions import cancelling, quiet

pytestmark = pytest.mark.usefixtures("patient")

LONG = [step("created"), opens(), *[grows("x")] * 3 * BUFFER, step("completed"), run("completed"), DONE]
"""A step that grows three times as often as a buffer is long. The opening delta is a progress, too."""

GROWN_FIELDS = 3 * BUFFER + 1


async def test_nothing_is_lost_where_a_subscriber_is_slower_than_the_stream():
    gate = anyio.Event()
    slow = Audience(gate)
    async with Processor() as processor:
        processor.add(CLASSES, slow)
        handle = processor.start(played(LONG))
        await quiet()
        gate.set()
        await handle.outcome()
    assert told(slow) == await told_of(LONG)


async def test_stream_waits_once_the_buffer_of_a_subscriber_is_full():
    gate = anyio.Event()
    tape = Tape(*frames(LONG))
    async with Processor() as processor:
        subscription = processor.add(StepProgress, Audience(gate))
        handle = processor.start(tape)
        await quiet()
        assert (subscription.offered, subscription.delivered, handle.is_finished) == (BUFFER, 0, False)
        assert tape.read == 1 + BUFFER
        gate.set()
    assert (subscription.offered, subscription.delivered) == (GROWN_FIELDS, GROWN_FIELDS)


async def test_chunk_of_many_events_waits_within_the_chunk():
    gate = anyio.Event()
    async with Processor() as processor:
        subscription = processor.add(StepProgress, Audience(gate))
        processor.start(source(sse(LONG)))
        await quiet()
        assert subscription.offered == BUFFER
        gate.set()
    assert subscription.delivered == GROWN_FIELDS


async def test_stream_goes_on_change_by_change_while_a_subscriber_is_slow():
    send, receive = anyio.create_memory_object_stream[None](0)

    async def look(change: StepProgress) -> None:
        await receive.receive()

    async with Processor() as processor:
        subscription = processor.add(StepProgress, look)
        handle = processor.start(played(LONG))
        waiting = []
        for _ in range(GROWN_FIELDS):
            await send.send(None)
            waiting.append(subscription.offered - subscription.delivered)
        assert max(waiting) <= BUFFER
        await handle.outcome()
    send.close()
    receive.close()


async def test_buffer_is_exceeded_by_the_changes_of_one_event_only():
    calls = [call(number) for number in range(BUFFER)]
    gate = anyio.Event()
    sent = [run("queued"), step("created"), step("completed", calls=calls), run("completed"), DONE]
    async with Processor() as processor:
        subscription = processor.add((StepTransition, ToolCallStarted, ToolCallFinished, RunTransition), Audience(gate))
        processor.start(played(sent))
        await quiet()
        assert subscription.offered == 2 + 2 * BUFFER + 1
        gate.set()
    assert subscription.delivered == 2 + 2 * BUFFER + 1 + 1


async def test_other_subscribers_have_everything_up_to_where_the_stream_waits():
    gate, fast = anyio.Event(), Audience()
    async with Processor() as processor:
        processor.add(StepProgress, Audience(gate))
        processor.add(StepProgress, fast)
        processor.start(played(LONG))
        await quiet()
        assert len(fast) == BUFFER
        gate.set()
    assert len(fast) == GROWN_FIELDS


async def test_change_that_a_filter_stops_takes_no_room():
    gate = anyio.Event()
    async with Processor() as processor:
        subscription = processor.add(StepProgress, Audience(gate), where=lambda change: change.sequence % 2)
        handle = processor.start(played(LONG[: 2 * BUFFER - 2]))
        await quiet()
        assert (subscription.offered, handle.is_finished) == (BUFFER - 2, False)
        gate.set()
        with pytest.raises(TransportError):
            await handle.outcome()


async def test_closing_a_stuck_subscription_releases_the_stream():
    fast = Audience()
    async with Processor(drain_timeout=0.01) as processor:
        stuck = processor.add(StepProgress, Audience(anyio.Event()))
        processor.add(CLASSES, fast)
        handle = processor.start(played(LONG))
        await quiet()
        stuck.close()
        assert (await handle.outcome()).reason == "done"
    assert told(fast) == await told_of(LONG)


async def test_closing_a_subscription_releases_a_stream_that_only_waits_for_delivery():
    async with Processor(drain_timeout=0.01) as processor:
        stuck = processor.add(RunTransition, Audience(anyio.Event()))
        handle = processor.start(played(play()))
        await quiet()
        assert not handle.is_finished
        stuck.close()
        assert (await handle.outcome()).reason == "done"


async def test_run_returns_when_the_callbacks_have_had_everything():
    gates = {number: anyio.Event() for number in (1, 2, 14)}
    seen = []
    async with Processor() as processor:

        @processor.on(RunTransition)
        async def look(change: RunTransition) -> None:
            await gates[change.sequence].wait()
            seen.append(change.sequence)

        handle = processor.start(played(play()))
        states = []
        for gate in gates.values():
            await quiet()
            states.append(handle.is_finished)
            gate.set()
        await handle.outcome()
    assert (states, seen) == ([False, False, False], [1, 2, 14])


async def test_failing_run_raises_when_the_callbacks_have_had_everything():
    gate = anyio.Event()
    audience = Audience(gate)
    async with Processor() as processor:
        processor.add(StepTransition, audience)
        handle = processor.start(source(sse(play()[:8]), OSError()))
        await quiet()
        assert not handle.is_finished
        gate.set()
        with pytest.raises(TransportError):
            await handle.outcome()
        assert len(audience) == 3


async def test_run_waits_for_its_own_changes_only():
    gate = anyio.Event()

    async def look(change: RunTransition) -> None:
        if change.run_id == "run_2":
            await gate.wait()

    async with Processor() as processor:
        processor.add(RunTransition, look)
        await processor.run(played(play(1)))
        later = processor.start(played(play(2)))
        await quiet()
        assert not later.is_finished
        gate.set()


async def test_stream_without_changes_for_a_slow_subscriber_does_not_wait_for_it():
    gate = anyio.Event()
    async with Processor() as processor:
        processor.add(StepProgress, Audience(gate))
        processor.start(played(LONG))
        await quiet()
        later = processor.start(played([run("queued", 2), run("in_progress", 2), run("requires_action", 2)]))
        await quiet()
        assert later.is_finished
        gate.set()


async def test_stream_whose_changes_a_slow_subscriber_filters_out_does_not_wait_for_it():
    gate = anyio.Event()
    async with Processor() as processor:
        processor.add(RunTransition, Audience(gate), run_id="run_1")
        processor.start(played(play(1)))
        await quiet()
        with anyio.fail_after(5):
            assert (await processor.run(played(play(2)))).reason == "done"
        gate.set()


async def test_stream_waits_for_an_iterator_that_is_not_taken_from():
    async with Processor() as processor, processor.subscribe(StepProgress) as changes:
        handle = processor.start(played(LONG))
        await quiet()
        assert (changes.subscription.offered, handle.is_finished) == (BUFFER, False)
        taken = [(await anext(changes)).sequence for _ in range(GROWN_FIELDS)]
        await handle.outcome()
    assert taken == [*range(2, 2 + GROWN_FIELDS)]


async def test_run_does_not_wait_until_an_iterator_has_taken_everything():
    async with Processor() as processor, processor.subscribe(*CLASSES) as changes:
        await processor.run(played(play()))
        assert (changes.subscription.offered, changes.subscription.delivered) == (16, 0)


async def test_leaving_does_not_wait_until_an_iterator_has_taken_everything():
    processor = Processor()
    async with processor.subscribe(*CLASSES) as changes:
        async with processor:
            await processor.run(played(play()))
        assert changes.subscription.delivered == 0


async def test_cancelled_consumer_of_an_iterator_loses_nothing():
    """Whenever it is cancelled, the next consumer goes on with the very next change."""
    expected = await told_of(play())
    for moment in itertools.count(1):
        taken: list[Any] = []
        async with Processor() as processor, processor.subscribe(*CLASSES) as changes:
            processor.start(trickle())
            with anyio.CancelScope() as scope:
                await cancelling(consume(changes, taken), scope, moment)
            await consume(changes, taken)
        assert told(taken) == expected
        if not scope.cancel_called:
            break
    assert moment > len(expected)


async def consume(changes: Any, taken: list[Any]) -> None:
    """Take changes up to the last."""
    while not taken or taken[-1].sequence < 14:
        taken.append(await anext(changes))


async def trickle() -> AsyncIterator[Any]:
    for frame in frames(play()):
        await anyio.lowlevel.checkpoint()
        yield frame


async def test_two_consumers_of_an_iterator_share_the_changes():
    shares: list[list[Any]] = [[], []]

    async def share(number: int, changes: Any) -> None:
        shares[number] += [change async for change in changes]

    async with anyio.create_task_group() as tasks:
        processor = Processor()
        async with processor.subscribe(*CLASSES) as changes:
            async with processor:
                tasks.start_soon(share, 0, changes)
                tasks.start_soon(share, 1, changes)
                await processor.run(trickle())
            await quiet()
    assert sorted(told([*shares[0], *shares[1]])) == sorted(await told_of(play()))


async def test_cancelling_a_stream_that_waits_leaves_the_others():
    gate = anyio.Event()
    slow = Audience(gate)
    async with Processor() as processor:
        processor.add(StepProgress, slow)
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(processor.run, played(LONG))
                await quiet()
                other = processor.start(played([step("created", 2), *[grows("y", 2)] * 9, run("completed", 2), DONE]))
                await quiet()
                scope.cancel()
        gate.set()
        await other.outcome()
    assert [change.step_id for change in slow] == ["step_1"] * BUFFER + ["step_2"] * 9
