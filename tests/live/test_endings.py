"""How a subscriber comes to its end without having asked for it, and what is known of it then."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import anyio
import pytest

from stepstream import (
    Failure,
    MessageProgress,
    Processor,
    RunTransition,
    StepProgress,
    StepTransition,
    SubscriberTooSlow,
)
from stepstream.live.routing import MAX_FAILED
from tests.support.run_streams import DONE, Audience, frames, grows, opens, play, played, run, says, source, step
from tests.support.run_streams import message as message_event
from tests.support.suspensions import quiet
from tests.support.tables import each_row
from tests.support.virtual_time import virtually

MANY = [run("queued"), step("created"), opens(), *[grows("x")] * 400, step("completed"), run("completed"), DONE]


def test_reader_of_an_iterator_that_was_given_up_is_told():
    async def check() -> None:
        got: list[Any] = []

        async def read(processor: Processor) -> None:
            async with processor.subscribe(StepProgress, buffer=2) as changes:
                got.append(await anext(changes))
                await anyio.sleep(10)
                with pytest.raises(SubscriberTooSlow, match=r"kept a stream waiting for 0\.3 s"):
                    await anext(changes)
                got.append("told")

        async with anyio.create_task_group() as tasks, Processor(drain_timeout=0.3) as processor:
            tasks.start_soon(read, processor)
            await quiet()
            processor.start(played(MANY))
        assert [type(one).__name__ for one in got] == ["StepProgress", "str"]

    virtually(check)


def test_reader_of_text_that_was_given_up_is_told():
    async def check() -> None:
        sent = [message_event("created"), *[says("x")] * 400, message_event("completed", text="x" * 400), DONE]
        got: list[str] = []

        async def read(processor: Processor) -> None:
            async with processor.text_deltas() as pieces:
                got.append(await anext(pieces))
                await anyio.sleep(10)
                with pytest.raises(SubscriberTooSlow):
                    await anext(pieces)
                got.append("told")

        async with anyio.create_task_group() as tasks, Processor(drain_timeout=0.3) as processor:
            tasks.start_soon(read, processor)
            await quiet()
            processor.start(played(sent))
        assert got == ["x", "told"]

    virtually(check)


async def test_those_closed_for_what_went_wrong_stay_in_the_statistics():
    gate = anyio.Event()

    async def fail(change: RunTransition) -> None:
        raise ValueError("no")

    async with Processor() as processor:
        processor.add(StepProgress, Audience(gate), overflow="close", buffer=1)
        processor.add(RunTransition, fail, max_failures=1)
        processor.add(StepTransition, Audience()).close()
        await processor.run(source(*frames(play())))
        told = {one.name: one for one in processor.statistics().subscribers}
        assert {name: (one.is_closed, one.dropped > 0, one.failed) for name, one in told.items()} == {
            "Audience": (True, True, 0),
            fail.__qualname__: (True, True, 1),
        }


async def test_so_many_of_those_are_remembered():
    async def fail(change: RunTransition) -> None:
        raise ValueError("no")

    async with Processor() as processor:
        for _ in range(MAX_FAILED + 50):
            processor.add(RunTransition, fail, max_failures=1)
        await processor.run(played(play()))
        assert len(processor.statistics().subscribers) == MAX_FAILED


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_callback_that_cancels_its_own_task_by_hand_ends_nothing(anyio_backend: str):
    import asyncio  # noqa: TID251 - what users do

    audience = Audience()

    async def cancel(change: RunTransition) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()

    async with Processor() as processor:
        subscription = processor.add(RunTransition, cancel)
        processor.add(RunTransition, audience)
        outcome = await processor.run(source(*(one for frame in frames(play()) for one in (frame, quiet))))
    assert outcome.reason == "done"
    assert len(audience) == subscription.offered == 3


@pytest.mark.parametrize("failure", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("anyio_backend", ["trio"])
async def test_what_ends_the_program_leaves_the_block_as_it_is(failure: type[BaseException], anyio_backend: str):
    async def end(change: RunTransition) -> None:
        raise failure(3)

    async def check() -> None:
        async with Processor() as processor:
            processor.add(RunTransition, end)
            await processor.run(played(play()))

    with pytest.raises(failure):
        await check()


class Unusual(BaseException):
    """What is no `Exception` and ends no program, such as what skips a test."""


async def failing() -> Any:
    raise Unusual
    yield b""


@pytest.mark.parametrize("where", ["block", "source"])
async def test_what_is_no_exception_leaves_the_block_as_it_is(where: str):
    async def check() -> None:
        async with Processor() as processor:
            if where == "block":
                raise Unusual
            await processor.run(failing())

    with pytest.raises(Unusual):
        await check()


async def test_predicate_that_closes_its_subscription_lets_nothing_pass():
    audience = Audience()

    def leave(change: object) -> bool:
        subscription.close()
        return True

    async with Processor() as processor:
        subscription = processor.add(RunTransition, audience, where=leave)
        await processor.run(played(play()))
    assert (audience, subscription.offered) == ([], 0)


@pytest.mark.parametrize("overflow", ["block", "latest", "close"])
async def test_what_is_replayed_does_not_count_against_the_buffer(overflow: Any):
    audience = Audience()
    async with Processor() as processor:
        for number in range(20):
            await processor.run(played(play(number)))
        subscription = processor.add(
            (RunTransition, StepTransition), audience, buffer=10, overflow=overflow, replay=True
        )
        await processor.run(played(play(99)))
        assert (len(audience), subscription.dropped, subscription.is_closed) == (20 * 3 + 7, 0, False)


async def test_what_is_replayed_has_the_context_of_its_stream_until_that_is_over():
    gate, audience = anyio.Event(), Audience()
    async with Processor() as processor:
        await processor.run(played(play(1)), context="first")
        processor.start(source(*frames(play(2)[:10]), gate, *frames(play(2)[10:])), context="second")
        await quiet()
        await processor.run(played([run("requires_action", 3), DONE]), context="third")
        processor.add((RunTransition, StepTransition, StepProgress, MessageProgress), audience, replay=True)
        await quiet()
        seen = {(one.run_id, one.context) for one in audience}
        assert seen == {("run_1", None), ("run_2", "second"), ("run_3", "third")}  # the third goes on later
        gate.set()


def test_block_that_drains_for_no_time_tells_of_no_loss_where_there_is_none(caplog: pytest.LogCaptureFixture):
    async def check() -> None:
        async with Processor(drain_timeout=0) as processor:
            processor.add(RunTransition, Audience())
            await processor.run(played(play()))

    anyio.run(check)
    assert caplog.records == []


def test_last_failure_is_told_though_the_block_has_been_left():
    told: list[Any] = []

    async def fails(change: StepTransition) -> None:
        await anyio.sleep(1)
        raise ValueError(change.step_id)

    async def note(failure: Any) -> None:
        told.append((type(failure.change).__name__, type(failure.exception).__name__))

    async def leave() -> None:
        async with Processor() as processor:
            processor.add(StepTransition, fails)
            processor.on_failure(note)
            processor.start(played([run("queued"), step("created")]))
            await quiet()
            raise KeyError

    with pytest.raises(KeyError):
        virtually(leave)
    assert told == [("StepTransition", "ValueError")]


def test_failure_of_a_subscriber_that_closed_itself_is_told():
    told: list[Any] = []

    async def check() -> None:
        async with Processor() as processor:

            async def fails(change: StepTransition) -> None:
                subscription.close()
                await anyio.sleep(1)
                raise ValueError(change.step_id)

            subscription = processor.add(StepTransition, fails)

            @processor.on_failure
            async def note(failure: Any) -> None:
                told.append((failure.attempt, failure.is_final))

            await processor.run(played([run("queued"), step("created"), DONE]))

    virtually(check)
    assert told == [(1, True)]


STEPS = [run("queued"), *[step("created", step_id=f"step_{number}") for number in range(10)]]


class Leaving:
    """A block that is left while its callback has ten changes to go, and what it is told of that."""

    def __init__(self, act: Callable[[], Awaitable[None]], **options: Any) -> None:
        self.act = act
        self.options = options
        self.calls: list[float] = []
        self.told: list[Failure] = []
        self.processor = Processor(drain_timeout=1)
        self.took = 0.0

    async def leave(self, how: str) -> None:
        start = anyio.current_time()
        with anyio.CancelScope() as scope:
            try:
                await self._live(how, scope)
            except RuntimeError:
                assert how == "raise"
        self.took = anyio.current_time() - start

    async def _live(self, how: str, scope: anyio.CancelScope) -> None:
        async with self.processor as processor:
            processor.on_failure(self._note)
            processor.add(StepTransition, self._call, **self.options)
            processor.start(played(STEPS if how == "raise" else [*STEPS, DONE]))
            await quiet()
            if how == "raise":
                raise RuntimeError
            if how == "cancel":
                scope.cancel()

    async def _call(self, change: StepTransition) -> None:
        self.calls.append(anyio.current_time())
        await self.act()

    async def _note(self, failure: Failure) -> None:
        self.told.append(failure)


@each_row(("how", "calls"), [("normally", 2), ("raise", 2), ("cancel", 1)])
def test_no_call_begins_after_the_drain_though_calls_are_shielded(how: str, calls: int):
    async def act() -> None:
        with anyio.CancelScope(shield=True):
            await anyio.sleep(0.8)

    leaving = Leaving(act)
    virtually(partial(leaving.leave, how))
    assert (len(leaving.calls), leaving.took) == (calls, pytest.approx(0.8 * calls))


@each_row("how", ["normally", "raise"])
def test_subscriber_that_the_drain_gives_up_is_told_of(how: str):
    leaving = Leaving(anyio.sleep_forever)
    virtually(partial(leaving.leave, how))
    assert [(type(one.exception), one.change) for one in leaving.told] == [(SubscriberTooSlow, None)]
    (known,) = leaving.processor.statistics().subscribers
    assert (known.offered, known.dropped, known.is_closed) == (10, 10, True)


@each_row("how", ["normally", "raise"])
def test_failure_of_a_call_that_the_drain_cancels_is_told(how: str):
    async def act() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            raise ValueError("of the cleanup")

    leaving = Leaving(act)
    virtually(partial(leaving.leave, how))
    assert [type(one.exception) for one in leaving.told] == [SubscriberTooSlow, ValueError]
    assert leaving.processor.statistics().subscribers[0].failed == 1


def test_failure_near_the_end_of_the_drain_is_told_by_one_who_takes_his_time():
    told: list[Any] = []

    async def fails(change: StepTransition) -> None:
        await anyio.sleep(0.9)
        raise ValueError(change.step_id)

    async def note(failure: Failure) -> None:
        await anyio.sleep(0.5)
        told.append(type(failure.exception))

    async def leave() -> None:
        async with Processor(drain_timeout=1) as processor:
            processor.add(StepTransition, fails)
            processor.on_failure(note)
            processor.start(played([run("queued"), step("created")]))
            await quiet()
            raise KeyError

    with pytest.raises(KeyError):
        virtually(leave)
    assert told == [ValueError]


def test_failures_that_could_not_be_told_are_counted():
    async def check() -> None:
        async with Processor(drain_timeout=1) as processor:

            @processor.on(StepTransition)
            async def fails(change: StepTransition) -> None:
                raise ValueError(change.step_id)

            @processor.on_failure
            async def hang(failure: Failure) -> None:
                await anyio.sleep_forever()

            await processor.run(played([*STEPS, DONE]))
        assert processor.statistics().unreported == 10

    virtually(check)


def test_subscriber_that_is_closed_while_the_block_is_left_is_counted_once():
    async def act() -> None:
        await anyio.sleep(0.1)
        raise ValueError("of the callback")

    leaving = Leaving(act, max_failures=1)
    virtually(partial(leaving.leave, "raise"))
    assert len(leaving.processor.statistics().subscribers) == 1


def test_telling_of_the_last_failures_takes_no_longer_than_the_drain():
    async def check() -> None:
        async with Processor(drain_timeout=2) as processor:

            @processor.on(StepTransition)
            async def fails(change: StepTransition) -> None:
                raise ValueError(change.step_id)

            @processor.on_failure
            async def hang(failure: Any) -> None:
                await anyio.sleep_forever()

            await processor.run(played([run("queued"), step("created"), DONE]))
            start = anyio.current_time()
        assert anyio.current_time() - start == pytest.approx(2)

    virtually(check)
