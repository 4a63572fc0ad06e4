# ruff: noqa: PT012 - what leaves the block of a processor is raised by the block as a whole
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest

from stepstream import (
    Frame,
    Processor,
    RunTransition,
    StepTransition,
    StreamFailed,
    StreamTruncated,
    ToolCallFinished,
    TransportError,
)
from stepstream.live.registration import CLASSES
from tests.support.run_streams import (
    DONE,
    Audience,
    Opened,
    Tape,
    call,
    frames,
    play,
    played,
    run,
    source,
    sse,
    step,
    told,
    told_of,
)
from tests.support.suspensions import quiet

pytestmark = pytest.mark.usefixtures("patient")


async def note(change: Any) -> None:
    """A callback for what is not called."""


async def test_processor_is_open_as_long_as_an_application_runs():
    processor = Processor()
    async with processor.lifespan("the application") as state:
        assert state is None
        outcome = await processor.run(played(play()))
    assert outcome.status == "completed"
    with pytest.raises(RuntimeError):
        processor.start(played(play()))


@pytest.mark.parametrize(
    "given", [ValueError("of the block"), SystemExit(3), ExceptionGroup("own", [KeyError()])], ids=repr
)
async def test_exception_of_the_block_leaves_it_as_it_is(given: BaseException):
    with pytest.raises(type(given)) as caught:
        async with Processor() as processor:
            processor.add(RunTransition, note)
            processor.start(source(anyio.Event()))
            raise given
    assert caught.value is given


async def test_exception_of_the_block_leaves_it_after_delivery():
    gate = anyio.Event()
    audience = Audience(gate)
    with pytest.raises(ValueError, match="of the block"):
        async with Processor() as processor:
            processor.add(CLASSES, audience)
            processor.start(source(sse(play()), anyio.Event()))
            await quiet()
            gate.set()
            assert audience == []
            raise ValueError("of the block")
    assert told(audience) == await told_of(play())


async def test_exception_of_the_block_ends_the_streams_and_closes_their_sources():
    tape = Tape(sse(play()[:3]), anyio.Event())
    with pytest.raises(ValueError, match="of the block"):
        async with Processor() as processor:
            processor.start(tape)
            await quiet()
            raise ValueError("of the block")
    assert tape.is_closed


async def test_interruption_of_the_block_leaves_it_as_it_is_and_at_once():
    with anyio.fail_after(5), pytest.raises(KeyboardInterrupt):
        async with Processor() as processor:
            processor.add(RunTransition, Audience(anyio.Event()))
            processor.start(played(play()))
            await quiet()
            raise KeyboardInterrupt


async def test_failure_of_run_leaves_the_block_as_it_is():
    with pytest.raises(StreamTruncated):
        async with Processor() as processor:
            await processor.run(played(play()[:3]))


async def test_leaving_waits_for_started_streams():
    gate, audience = anyio.Event(), Audience()
    async with anyio.create_task_group() as tasks:

        async def open_the_gate() -> None:
            await quiet()
            gate.set()

        async with Processor() as processor:
            processor.add(CLASSES, audience)
            processor.start(source(sse(play()[:3]), gate, sse(play()[3:])))
            tasks.start_soon(open_the_gate)
        assert told(audience) == await told_of(play())


async def test_leaving_waits_for_the_callbacks_of_what_was_folded():
    gate = anyio.Event()
    slow = Audience(gate)
    async with anyio.create_task_group() as tasks:

        async def open_the_gate() -> None:
            await quiet()
            gate.set()

        async with Processor() as processor:
            processor.add(CLASSES, slow)
            with anyio.CancelScope() as scope:
                scope.cancel()
                await processor.run(played(play()))
            tasks.start_soon(open_the_gate)
    assert scope.cancelled_caught
    assert told(slow) == await told_of(play())


async def test_leaving_waits_for_the_call_in_progress_of_a_closed_subscription():
    gate = anyio.Event()
    said = []
    async with anyio.create_task_group() as tasks:

        async def open_the_gate() -> None:
            await quiet()
            gate.set()

        async with Processor() as processor:

            async def once(change: RunTransition) -> None:
                subscription.close()
                await gate.wait()
                said.append(change.status)

            subscription = processor.add(RunTransition, once)
            await processor.run(played(play()))
            tasks.start_soon(open_the_gate)
    assert said == ["queued"]


async def test_leaving_a_processor_that_did_nothing_does_nothing():
    with anyio.fail_after(5):
        async with Processor() as processor:
            processor.add(CLASSES, note)
    assert repr(processor) == "<Processor 0 subscribers, 0 events, 0 anomalies>"


async def test_leaving_leaves_no_task_behind():
    before = len(anyio.get_running_tasks())
    async with Processor() as processor:
        for _ in range(3):
            processor.add(CLASSES, note)
        processor.start(played(play()))
    assert len(anyio.get_running_tasks()) == before


async def test_delivery_on_leaving_is_bounded_by_drain_timeout(caplog: pytest.LogCaptureFixture):
    order = []

    async def stuck(change: RunTransition) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            order.append("the callback was cancelled")

    with pytest.raises(ValueError, match="of the block"):
        async with Processor(drain_timeout=0.05) as processor:
            processor.add(RunTransition, stuck)
            processor.start(source(sse(play()), anyio.Event()))
            await quiet()
            order.append("the block was left")
            raise ValueError("of the block")
    order.append("the processor was left")
    assert order == ["the block was left", "the callback was cancelled", "the processor was left"]
    (message,) = (record.message for record in caplog.records)
    assert (
        message
        == f"gave up the subscriber {stuck.__qualname__} 0.05 s after the last stream with 3 changes undelivered"
    )


async def test_what_others_can_take_is_delivered_before_drain_timeout():
    order = []
    other = Audience()

    async def stuck(change: RunTransition) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            order.append(len(other))

    async with Processor(drain_timeout=0.05) as processor:
        processor.add(RunTransition, stuck)
        processor.add(CLASSES, other)
        with anyio.CancelScope() as scope:
            scope.cancel()
            await processor.run(played(play()))
    assert order == [16]


async def test_callback_that_takes_less_than_drain_timeout_is_not_cancelled(caplog: pytest.LogCaptureFixture):
    audience = Audience()

    async def look(change: RunTransition) -> None:
        await quiet()
        await audience(change)

    async with Processor(drain_timeout=30) as processor:
        processor.add(RunTransition, look)
        with anyio.CancelScope() as scope:
            scope.cancel()
            await processor.run(played(play()))
    assert (len(audience), caplog.records) == (3, [])


async def test_failure_of_a_callback_that_is_cancelled_at_drain_timeout_stays_its_own(caplog: pytest.LogCaptureFixture):
    async def stuck(change: RunTransition) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            raise ValueError("on being cancelled")

    async with Processor(drain_timeout=0.01) as processor:
        processor.add(RunTransition, stuck)
        with anyio.CancelScope() as scope:
            scope.cancel()
            await processor.run(played(play()))
    assert [record.levelno for record in caplog.records] == [logging.ERROR] * 2


async def test_cancellation_cancels_at_once():
    tape, order = Tape(sse(play()), anyio.Event()), []

    async def stuck(change: RunTransition) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            order.append("the callback was cancelled")

    with anyio.fail_after(5), anyio.CancelScope() as scope:
        async with Processor(drain_timeout=1_000) as processor:
            processor.add(RunTransition, stuck)
            processor.start(tape)
            await quiet()
            scope.cancel()
    assert (order, tape.is_closed) == (["the callback was cancelled"], True)


async def test_cancellation_while_leaving_cancels_at_once():
    order = []

    async def stuck(change: RunTransition) -> None:
        scope.cancel()
        try:
            await anyio.sleep_forever()
        finally:
            order.append("the callback was cancelled")

    with anyio.fail_after(5), anyio.CancelScope() as scope:
        async with Processor(drain_timeout=1_000) as processor:
            processor.add(RunTransition, stuck)
            processor.start(played(play()))
    assert (order, scope.cancelled_caught) == (["the callback was cancelled"], True)


async def test_iterator_ends_when_the_processor_is_cancelled():
    processor = Processor()
    async with processor.subscribe(RunTransition) as changes:
        with anyio.CancelScope() as scope:
            async with processor:
                await processor.run(played(play()))
                scope.cancel()
                await anyio.lowlevel.checkpoint()
        with anyio.fail_after(5):
            assert len([change async for change in changes]) == 3


async def test_stream_that_another_task_runs_is_truncated_when_the_processor_is_left():
    gate, audience, errors = anyio.Event(), Audience(), []
    tape = Tape(sse(play()[:3]), gate, sse(play()[3:]))

    async def read(processor: Processor) -> None:
        try:
            await processor.run(tape)
        except StreamTruncated as error:
            errors.append(error)

    async with anyio.create_task_group() as tasks:
        async with Processor() as processor:
            processor.add(CLASSES, audience)
            tasks.start_soon(read, processor)
            await quiet()
        gate.set()
    (error,) = errors
    assert "the Processor was left" in str(error)
    assert (error.outcome.events, [change.sequence for change in audience], tape.is_closed) == (3, [1, 2, 3], True)


async def test_handle_gives_the_outcome():
    async with Processor() as processor:
        expected = await processor.run(played(play()))
    async with Processor() as processor:
        assert await processor.start(played(play())).outcome() == expected


async def test_handle_gives_the_outcome_as_often_as_it_is_asked():
    async with Processor() as processor:
        handle = processor.start(played(play()))
        assert await handle.outcome() is await handle.outcome()


async def test_handle_gives_the_outcome_to_everybody_who_waits():
    outcomes = []

    async def wait() -> None:
        outcomes.append(await handle.outcome())

    gate = anyio.Event()
    async with Processor() as processor, anyio.create_task_group() as tasks:
        handle = processor.start(source(gate, sse(play())))
        for _ in range(3):
            tasks.start_soon(wait)
        await quiet()
        gate.set()
    assert [outcome.reason for outcome in outcomes] == ["done"] * 3


async def test_handle_gives_the_outcome_after_the_block():
    async with Processor() as processor:
        handle = processor.start(played(play()))
    assert (await handle.outcome()).reason == "done"


async def test_handle_raises_the_failure_as_often_as_it_is_asked():
    async with Processor() as processor:
        handle = processor.start(source(Frame("error", b"{}")))
        with pytest.raises(StreamFailed) as first:
            await handle.outcome()
        with pytest.raises(StreamFailed) as second:
            await handle.outcome()
    assert first.value is second.value


async def test_failure_of_a_started_stream_is_logged_where_nobody_waits(caplog: pytest.LogCaptureFixture):
    async with Processor() as processor:
        processor.start(source(OSError(5, "broken")))
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("stepstream.live", logging.ERROR)
    assert record.message == "a started stream failed: the source failed: broken"
    assert "OSError" in (record.exc_text or "")


async def test_failure_of_a_started_stream_is_not_logged_where_somebody_waits(caplog: pytest.LogCaptureFixture):
    async with Processor() as processor:
        with pytest.raises(TransportError):
            await processor.start(source(OSError())).outcome()
    assert caplog.records == []


async def test_failure_of_a_started_stream_does_not_end_the_block():
    async with Processor() as processor:
        broken = processor.start(source(TypeError()))
        await quiet()
        assert broken.is_finished
        assert (await processor.run(played(play()))).reason == "done"


async def test_handle_of_what_is_no_source_raises_a_type_error():
    async with Processor() as processor:
        with pytest.raises(TypeError):
            await processor.start([b"chunk"]).outcome()


async def test_handle_of_a_cancelled_stream_says_so_and_has_what_was_folded():
    with anyio.CancelScope() as scope:
        async with Processor() as processor:
            handle = processor.start(source(sse(play()[:3]), anyio.Event()))
            await quiet()
            scope.cancel()
            await anyio.lowlevel.checkpoint()
    with pytest.raises(StreamTruncated, match="the stream was cancelled before it ended") as caught:
        await handle.outcome()
    assert caught.value.outcome is not None
    assert (caught.value.outcome.events, [*caught.value.outcome.steps]) == (3, ["step_1"])


async def test_who_is_cancelled_together_with_the_stream_hears_only_of_the_cancellation():
    heard = []
    with anyio.CancelScope() as scope:
        async with Processor() as processor:
            handle = processor.start(source(scope_cancelling(scope), anyio.Event()))
            try:
                await handle.outcome()
            except StreamTruncated as error:
                heard.append(error)
    assert (heard, scope.cancelled_caught) == ([], True)


def scope_cancelling(scope: anyio.CancelScope) -> Callable[[], Awaitable[None]]:
    async def cancel() -> None:
        scope.cancel()

    return cancel


async def test_cancelled_wait_for_an_outcome_leaves_the_stream():
    gate = anyio.Event()
    async with Processor() as processor:
        handle = processor.start(source(gate, sse(play())))
        with anyio.CancelScope() as scope:
            scope.cancel()
            await handle.outcome()
        gate.set()
        assert (await handle.outcome()).reason == "done"


async def test_handle_shows_its_state():
    gate = anyio.Event()
    async with Processor() as processor:
        whole, broken = processor.start(source(gate, sse(play()))), processor.start(source())
        await quiet()
        shown = [repr(whole), repr(broken)]
        gate.set()
    assert shown == ["<StreamHandle running>", "<StreamHandle failed>"]
    assert repr(whole) == f"<StreamHandle {await whole.outcome()!r}>"


async def test_start_returns_before_the_source_is_touched():
    tape = Tape(sse(play()))
    async with Processor() as processor:
        processor.start(tape)
        assert tape.read == 0


ASKED = {"type": "submit_tool_outputs", "submit_tool_outputs": {"tool_calls": [call(1, '{"a":1}')]}}


async def test_callback_may_start_the_next_stream_while_the_block_is_left():
    audience = Audience()
    async with Processor() as processor:
        processor.add(StepTransition, audience)

        @processor.on(RunTransition, status="requires_action")
        async def answer(change: RunTransition) -> None:
            processor.start(played(play()[6:]), context="answered")

        processor.start(played([*play()[:6], run("requires_action", required_action=ASKED), DONE]))
    assert [(change.sequence, change.context) for change in audience] == [
        (3, None),
        (1, "answered"),
        (2, "answered"),
        (7, "answered"),
    ]


async def test_callback_may_run_a_stream_on_another_processor():
    reasons = []
    async with Processor() as inner, Processor() as outer:

        @outer.on(ToolCallFinished)
        async def delegate(change: ToolCallFinished) -> None:
            reasons.append((await inner.run(played(play(2)))).reason)

        await outer.run(played(play()))
    assert reasons == ["done"]


async def test_callback_that_closed_its_subscription_may_run_a_stream():
    reasons = []
    async with Processor() as processor:

        async def once(change: RunTransition) -> None:
            subscription.close()
            reasons.append((await processor.run(played(play(2)))).reason)

        subscription = processor.add(RunTransition, once)
        await processor.run(played(play()))
        await quiet()
    assert reasons == ["done"]


async def test_run_returns_where_a_callback_closed_its_subscription():
    async with Processor() as processor:

        async def once(change: RunTransition) -> None:
            subscription.close()

        subscription = processor.add(RunTransition, once)
        with anyio.fail_after(5):
            outcome = await processor.run(source(*frames([run("completed")]), quiet, *frames([DONE])))
    assert outcome.reason == "done"


async def test_run_in_a_callback_is_a_runtime_error_that_names_start():
    errors = []
    async with Processor() as processor:

        @processor.on(ToolCallFinished)
        async def nest(change: ToolCallFinished) -> None:
            with pytest.raises(RuntimeError) as caught:
                await processor.run(played(play(2)))
            errors.append(str(caught.value))

        await processor.run(played(play()))
    assert errors == ["run() in a callback would wait for that callback: use start(), which returns at once"]


async def test_outcome_in_a_callback_is_a_runtime_error_that_names_start():
    errors = []
    async with Processor() as processor:

        @processor.on(ToolCallFinished)
        async def nest(change: ToolCallFinished) -> None:
            handle = processor.start(played(play(2)[:3]))
            with pytest.raises(RuntimeError) as caught:
                await handle.outcome()
            errors.append(str(caught.value))

        await processor.run(played(play()))
    assert [error.partition(":")[0] for error in errors] == ["outcome() in a callback would wait for that callback"]


async def test_outcome_of_a_finished_stream_may_be_had_in_a_callback():
    reasons = []
    async with Processor() as processor:
        first = processor.start(played(play(2)))
        await first.outcome()

        @processor.on(ToolCallFinished)
        async def look(change: ToolCallFinished) -> None:
            reasons.append((await first.outcome()).reason)

        await processor.run(played(play()))
    assert reasons == ["done"]


async def test_leaving_without_entering_is_a_runtime_error():
    with pytest.raises(RuntimeError, match="was not entered"):
        await Processor().__aexit__(None, None, None)


async def test_streams_before_the_block_are_a_runtime_error():
    processor, tape = Processor(), Tape()
    with pytest.raises(RuntimeError, match="expected an open Processor"):
        await processor.run(tape)
    with pytest.raises(RuntimeError, match="expected an open Processor"):
        processor.start(tape)


async def test_streams_after_the_block_are_a_runtime_error():
    async with Processor() as processor:
        pass
    with pytest.raises(RuntimeError, match="the Processor is closed"):
        await processor.run(Tape())
    with pytest.raises(RuntimeError, match="the Processor is closed"):
        processor.start(Tape())


async def test_source_given_as_context_manager_is_left_before_run_returns():
    opened = Opened(sse([step("created"), run("completed"), DONE]))
    async with Processor() as processor:
        await processor.run(opened)
        assert opened.seen == [None]


async def test_source_is_closed_before_its_callbacks_are_waited_for():
    gate, tape = anyio.Event(), Tape(*frames(play()))
    async with Processor() as processor:
        processor.add(RunTransition, Audience(gate))
        handle = processor.start(tape)
        await quiet()
        assert (handle.is_finished, tape.is_closed) == (False, True)
        gate.set()
