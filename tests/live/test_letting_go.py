"""What a caller gives to a run, its context and its contextvars, is kept no longer than the run."""

import gc
import logging
import weakref
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from contextvars import ContextVar
from functools import partial
from typing import Any

import anyio
import pytest

from stepstream import Processor, RunTransition, StepProgress, StepTransition, StreamTruncated
from stepstream.live.registration import CLASSES
from stepstream.live.waits import TextDeltas
from tests.support.run_streams import DONE, Audience, frames, play, played, run, source, step
from tests.support.suspensions import quiet
from tests.support.virtual_time import anyio_backend as anyio_backend


@pytest.fixture(autouse=True)
def _small_heap() -> None:
    """A collection of garbage walks what the test made, and not all that other tests left."""
    gc.freeze()


class Channel:
    """The context of a stream, which nothing else holds."""


WHOLE = play()
BROKEN = play()[:5]
request: ContextVar[Channel | None] = ContextVar("request", default=None)


@pytest.fixture(autouse=True)
def _no_log_records() -> Iterator[None]:
    """Those of failures hold their tracebacks, and pytest keeps them all."""
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


async def at_once(change: Any) -> None: ...


async def fail(change: Any) -> None:
    raise ValueError("no")


async def take(change: Any) -> None:
    await anyio.sleep(0.1)


async def hang(change: Any) -> None:
    await anyio.sleep_forever()


async def finished(processor: Processor, channel: Channel) -> None:
    await processor.run(played(WHOLE), context=channel)


async def broken(processor: Processor, channel: Channel) -> None:
    with suppress(StreamTruncated):
        await processor.run(played(BROKEN), context=channel)


async def cancelled(processor: Processor, channel: Channel) -> None:
    with anyio.move_on_after(1):
        await processor.run(source(*frames(BROKEN), anyio.Event()), context=channel)


async def with_anomalies(processor: Processor, channel: Channel) -> None:
    await processor.run(played([run("queued"), step("created"), step("created"), *WHOLE[2:]]), context=channel)


async def nameless(processor: Processor, channel: Channel) -> None:
    """Steps that name no run, and one that ends."""
    sent = [step("created", run_id=None), step("created", 2, run_id=None), step("completed", run_id=None), DONE]
    await processor.run(played(sent), context=channel)


async def evicted(processor: Processor, channel: Channel) -> None:
    with suppress(StreamTruncated):
        await processor.run(played([run("in_progress", number) for number in range(30)]), context=channel)


async def replayed_meanwhile(processor: Processor, channel: Channel) -> None:
    async def look() -> None:
        processor.add(CLASSES, take, replay=True)

    await processor.run(source(*frames(WHOLE[:9]), look, *frames(WHOLE[9:])), context=channel)


async def started(processor: Processor, channel: Channel, sent: Any = tuple(WHOLE)) -> Any:
    handle = processor.start(played(sent), context=channel)
    del handle.context  # a handle is its caller's, and says what the caller gave: nothing else of it may
    return handle


WAYS: list[Callable[[Processor, Channel], Awaitable[Any]]] = [
    finished,
    broken,
    cancelled,
    with_anomalies,
    nameless,
    evicted,
    replayed_meanwhile,
    started,
    partial(started, sent=BROKEN),
]
SUBSCRIBERS: dict[str, tuple[Any, dict[str, Any]]] = {
    "that-takes-all": (take, {}),
    "at-once": (at_once, {}),
    "side-by-side": (take, {"concurrency": 3}),
    "paced": (take, {"min_interval": 5}),
    "latest": (take, {"overflow": "latest"}),
    "that-fails": (fail, {"attempts": 2, "backoff": 0.1}),
    "closed-for-failing": (fail, {"max_failures": 2}),
    "that-hangs": (hang, {"timeout": 0.5}),
    "closed-for-slowness": (hang, {"overflow": "close", "buffer": 1}),
}


async def let_go(way: Callable[[Processor, Channel], Awaitable[Any]], processor: Processor) -> bool:
    """Return whether nothing holds a context any more after a run. Only what the processor gave out is kept."""

    async def one() -> tuple[weakref.ref[Channel], Any]:
        channel = Channel()
        return weakref.ref(channel), await way(processor, channel)

    reference, _given = await one()
    await anyio.sleep(100)
    gc.collect()
    return reference() is None


@pytest.mark.parametrize("way", WAYS, ids=lambda way: getattr(way, "__name__", "started-and-broken"))
async def test_context_is_let_go_of_when_the_stream_is_over(way: Callable[[Processor, Channel], Awaitable[Any]]):
    async with Processor(max_open_runs=20) as processor:
        processor.add(CLASSES, at_once)
        assert await let_go(way, processor)
        assert processor.statistics().streams == 0


@pytest.mark.parametrize("name", SUBSCRIBERS)
async def test_context_is_let_go_of_by_a_subscriber(name: str):
    callback, options = SUBSCRIBERS[name]
    failures = []
    async with Processor() as processor:

        @processor.on_failure
        async def note(failure: Any) -> None:
            failures.append(failure.attempt)

        subscription = processor.add((StepTransition, StepProgress, RunTransition), callback, **options)
        assert await let_go(finished, processor)
        assert subscription.offered > 0


async def test_context_is_let_go_of_by_iterators_that_have_read():
    texts: list[str] = []
    seen: list[Any] = []

    async def read(changes: Any) -> None:
        async for change in changes:
            seen.append(type(change))
            del change

    async def listen(pieces: TextDeltas) -> None:
        texts.extend([piece async for piece in pieces])

    async with (
        anyio.create_task_group() as tasks,
        Processor() as processor,
        processor.text_deltas() as pieces,
        processor.subscribe(StepTransition) as changes,
    ):
        tasks.start_soon(read, changes)
        tasks.start_soon(listen, pieces)
        await quiet()
        assert await let_go(finished, processor)
    assert ("".join(texts), len(seen)) == ("It is 2.", 4)


async def test_context_of_a_run_that_waits_for_action_is_kept_until_it_goes_on():
    asked, held, after = run("requires_action"), Audience(), Audience()
    async with Processor() as processor:
        channel = Channel()
        reference = weakref.ref(channel)
        await processor.run(played([run("queued"), asked, DONE]), context=channel)
        processor.add(RunTransition, held, replay=True)
        await quiet()
        assert [change.context for change in held] == [channel]
        held.clear()
        del channel
        gc.collect()
        assert reference() is not None
        await processor.run(played([run("in_progress"), run("completed"), DONE]), context="another")
        held.clear()
        await quiet()
        gc.collect()
        assert reference() is None
        processor.add(RunTransition, after, replay=True)
        await quiet()
        assert [change.context for change in after] == [None]


async def test_context_is_there_as_long_as_a_change_waits():
    gate, seen = anyio.Event(), []

    async def look(change: StepTransition) -> None:
        await gate.wait()
        seen.append(type(change.context))

    async with Processor() as processor:
        processor.add(StepTransition, look)
        processor.start(played(WHOLE), context=Channel())
        await quiet()
        gc.collect()
        gate.set()
    assert seen == [Channel] * 4


async def test_contextvars_of_a_callback_are_not_kept_by_the_subscriber_that_it_adds():
    references = []

    async def add_another(change: RunTransition) -> None:
        channel = Channel()
        request.set(channel)
        references.append(weakref.ref(channel))
        processor.add(RunTransition, Audience())

    async with Processor() as processor:
        processor.add(RunTransition, add_another, status="queued")
        await processor.run(played(WHOLE))
        gc.collect()
        assert [reference() for reference in references] == [None]


@pytest.mark.parametrize("sent", [WHOLE, BROKEN], ids=["finished", "broken"])
async def test_contextvars_of_a_stream_are_let_go_of_with_it(sent: list[Any]):
    async def one(processor: Processor) -> weakref.ref[Channel]:
        request.set(Channel())
        with suppress(StreamTruncated):
            await processor.run(played(sent))
        channel = request.get()
        assert channel is not None
        request.set(None)
        return weakref.ref(channel)

    async with Processor() as processor:
        processor.add(CLASSES, at_once)
        processor.add(CLASSES, take)
        processor.add(CLASSES, fail)
        reference = await one(processor)
        await anyio.sleep(100)
        gc.collect()
        assert reference() is None
