"""Lists of changes: how large they are, how long they wait, and that each is delivered or failed as one."""

from collections import Counter
from contextvars import ContextVar
from time import process_time
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepstream import Change, Failure, Processor, RunTransition, StepProgress, StepTransition, SubscriberTooSlow
from stepstream.live.registration import CLASSES
from tests.support.run_streams import DONE, Audience, Sent, frames, grows, opens, play, played, run, source, sse, step
from tests.support.suspensions import quiet
from tests.support.virtual_time import in_virtual_time, virtually

pytestmark = pytest.mark.usefixtures("patient")

WITH_RUN = tuple(one for one in CLASSES if one.__name__ != "Anomaly")


def growing(count: int, number: int = 1) -> list[Sent]:
    deltas = [grows("x", number) for _ in range(count)]
    return [run("queued", number), step("created", number), opens(number), *deltas, run("completed", number), DONE]


class Lists(Audience):
    """A callback that notes lists, and when they came."""

    def __init__(self, seconds: float = 0) -> None:
        super().__init__()
        self.times: list[float] = []
        self._seconds = seconds

    async def __call__(self, changes: Any) -> None:
        self.append(list(changes))
        self.times.append(anyio.current_time())
        if self._seconds:
            await anyio.sleep(self._seconds)


async def test_lists_hold_everything_in_order_and_are_as_long_as_they_may_be():
    lists, singles = Lists(), Audience()
    async with Processor() as processor:
        subscription = processor.add(StepProgress, lists, batch=10)
        processor.add(StepProgress, singles)
        await processor.run(played(growing(34)))
        counts = subscription.offered, subscription.delivered, subscription.failed
    assert [change for some in lists for change in some] == singles
    assert [len(some) for some in lists] == [10, 10, 10, 5]
    assert counts == (35, 35, 0)


@in_virtual_time
async def test_incomplete_list_waits_for_more_no_longer_than_it_may():
    lists, start = Lists(), anyio.current_time()

    async def wait() -> None:
        await anyio.sleep(0.25)

    sent = frames([run("queued"), run("in_progress"), run("cancelling"), run("cancelled")])
    async with Processor() as processor:
        processor.add(RunTransition, lists, batch=3, max_wait=0.5)
        await processor.run(source(sent[0], wait, sent[1], wait, wait, sent[2], sent[3]))
    assert [(len(some), time - start) for some, time in zip(lists, lists.times, strict=True)] == [(2, 0.5), (2, 1.25)]


@in_virtual_time
async def test_waiting_for_more_begins_when_the_subscriber_is_free():
    lists, start = Lists(seconds=2), anyio.current_time()
    async with Processor() as processor:
        processor.add(StepProgress, lists, batch=10, max_wait=0.5)
        await processor.run(played(growing(14)))
    assert [(len(some), time - start) for some, time in zip(lists, lists.times, strict=True)] == [(10, 0), (5, 2.5)]


@in_virtual_time
async def test_nothing_waits_for_more_once_the_block_has_ended():
    lists, start = Lists(), anyio.current_time()
    async with Processor() as processor:
        processor.add(RunTransition, lists, batch=10, max_wait=60)
        processor.start(played(play()))
    assert (len(lists), anyio.current_time() - start) == (1, 0)


@in_virtual_time
async def test_stopping_delivers_the_list_that_waits():
    lists, start = Lists(), anyio.current_time()
    async with Processor() as processor:
        processor.add(RunTransition, lists, batch=10, max_wait=60)
        processor.start(source(*frames(play()[:3]), anyio.Event()))
        await quiet()
        await processor.stop()
    assert ([len(some) for some in lists], anyio.current_time() - start) == ([2], 0)


async def test_iterator_gives_lists():
    async with Processor() as processor, processor.subscribe(RunTransition, batch=2) as lists:
        await processor.run(played([run("queued"), run("in_progress"), run("cancelling"), run("cancelled"), DONE]))
        assert [[change.status for change in await anext(lists)] for _ in range(2)] == [
            ["queued", "in_progress"],
            ["cancelling", "cancelled"],
        ]
        assert (lists.subscription.delivered, processor.settled("run_1")) == (4, 5)


async def test_iterator_that_is_left_open_gives_its_last_list_at_the_end():
    got = []
    async with anyio.create_task_group() as tasks:

        async def read(lists: Any) -> None:
            got.extend([len(some) async for some in lists])

        processor = Processor()
        async with processor, processor.subscribe(RunTransition, batch=2, max_wait=1_000, run_id="run_1") as lists:
            tasks.start_soon(read, lists)
            await processor.run(played(play()))
            await quiet()
    assert got == [2, 1]


async def test_list_fails_as_one_and_is_tried_again_as_one():
    calls, failures = [], []
    processor = Processor()

    @processor.on_failure
    async def note(failure: Failure) -> None:
        failures.append((failure.change, failure.changes, failure.attempt, failure.is_final))

    async def fail(changes: list[RunTransition]) -> None:
        calls.append(tuple(changes))
        raise ValueError("no")

    async with processor:
        subscription = processor.add(RunTransition, fail, batch=2, attempts=2, backoff=0)
        await processor.run(played(play()))
    first, last = calls[0], calls[2]
    assert (calls, len(first), len(last)) == ([first, first, last, last], 2, 1)
    assert failures == [(some[0], some, *end) for some in (first, last) for end in ((1, False), (2, True))]
    counts = subscription.offered, subscription.delivered, subscription.failed, subscription.retried
    assert counts == (3, 3, 3, 2)


@pytest.mark.parametrize("concurrency", [1, 3])
async def test_lists_of_one_run_never_overlap(concurrency: int):
    """Those of different runs may, with `concurrency`."""
    now: Counter[str] = Counter()
    most: list[int] = []
    seen: dict[str, list[int]] = {}

    async def take(changes: list[Any]) -> None:
        own = {change.run_id for change in changes}
        now.update(own)
        assert all(now[one] == 1 for one in own)
        most.append(len(own))
        for change in changes:
            seen.setdefault(change.run_id, []).append(change.sequence)
        await anyio.lowlevel.checkpoint()
        now.subtract(own)

    async with Processor() as processor:
        processor.add(WITH_RUN, take, batch=4, max_wait=0, concurrency=concurrency)
        async with anyio.create_task_group() as tasks:
            for number in range(5):
                tasks.start_soon(processor.run, played(growing(9, number)))
    assert all(order == sorted(order) and len(order) == 14 for order in seen.values())
    assert max(most) > 1


async def test_stream_waits_for_room_as_for_any_subscriber():
    gate = anyio.Event()
    lists: list[int] = []

    async def take(changes: list[Any]) -> None:
        lists.append(len(changes))
        await gate.wait()

    async with Processor() as processor:
        subscription = processor.add(StepProgress, take, batch=4, buffer=8)
        handle = processor.start(played(growing(40)))
        await quiet()
        assert (subscription.offered, lists) == (8, [4])
        gate.set()
        await handle.outcome()
    assert sum(lists) == 41


async def test_closing_drops_the_list_that_is_delivered_and_what_waits():
    entered = anyio.Event()

    async def take(changes: list[Any]) -> None:
        entered.set()
        await anyio.sleep_forever()

    async with Processor(drain_timeout=0.01) as processor:
        subscription = processor.add(StepProgress, take, batch=4, timeout=0.01)
        processor.start(played(growing(9)))
        await entered.wait()
        subscription.close()
    assert (subscription.offered, subscription.delivered + subscription.dropped) == (10, 10)


async def test_slow_reader_of_lists_is_closed_where_that_was_asked_for():
    async with Processor() as processor, processor.subscribe(
        StepProgress, batch=2, buffer=4, overflow="close"
    ) as lists:  # fmt: skip
        await processor.run(played(growing(40)))
        with pytest.raises(SubscriberTooSlow):
            await anext(lists)


async def test_progress_in_lists_is_coalesced_too():
    lists = Lists()
    async with Processor() as processor:
        processor.add((StepProgress, RunTransition), lists, batch=10, overflow="latest")
        await processor.run(played(growing(30)))
    assert [[type(change).__name__ for change in some] for some in lists] == [
        ["RunTransition", "StepProgress", "RunTransition"]
    ]


async def test_callback_sees_the_contextvars_of_the_block():
    """The changes of a list may come from several streams."""
    request: ContextVar[str] = ContextVar("request")
    request.set("block")
    seen = []

    async def take(changes: list[Any]) -> None:
        seen.append(request.get())

    async with Processor() as processor:
        processor.add(RunTransition, take, batch=2)
        request.set("stream")
        await processor.run(played(play()))
    assert seen == ["block", "block"]


def test_room_is_for_two_lists_unless_it_is_given():
    processor = Processor()

    def buffer(**options: Any) -> int:
        return processor.add(StepProgress, Lists(), **options)._mailbox.delivery.buffer

    assert [buffer(batch=size) for size in (500, 10, None)] == [1_000, 256, 256]
    assert buffer(batch=10, buffer=10) == 10
    with pytest.raises(ValueError, match=r"expected buffer of at least batch \(500\), got 499"):
        buffer(batch=500, buffer=499)


@settings(max_examples=40, deadline=None)
@given(
    counts=st.lists(st.integers(0, 12), min_size=1, max_size=4),
    batch=st.integers(1, 7),
    options=st.fixed_dictionaries(
        {"max_wait": st.sampled_from([0, 0.1, 1.0])},
        optional={"concurrency": st.integers(2, 3), "attempts": st.just(2), "timeout": st.just(0.15)},
    ),
    takes=st.sampled_from([0.0, 0.1, 0.3]),
    pauses=st.booleans(),
)
def test_every_change_is_in_one_list(
    counts: list[int], batch: int, options: dict[str, Any], takes: float, pauses: bool
):
    async def check() -> None:
        seen: dict[str, list[int]] = {}
        failed: list[Change] = []

        async def pause() -> None:
            if pauses:
                await anyio.sleep(0.07)

        async def take(changes: list[Any]) -> None:
            assert 1 <= len(changes) <= batch
            await anyio.sleep(takes)
            for change in changes:
                seen.setdefault(change.run_id, []).append(change.sequence)

        async def note(failure: Failure) -> None:
            failed.extend(failure.changes if failure.is_final else ())

        async with Processor() as processor:
            processor.on_failure(note)
            subscription = processor.add(WITH_RUN, take, batch=batch, backoff=0, **options)
            async with anyio.create_task_group() as tasks:
                for number, count in enumerate(counts):
                    sent = [item for frame in frames(growing(count, number)) for item in (frame, pause)]
                    tasks.start_soon(processor.run, source(*sent))
            assert all(processor.settled(f"run_{number}") == len(growing(count)) for number, count in enumerate(counts))
        assert all(order == sorted(order) for order in seen.values())
        came = sum(map(len, seen.values()))
        assert (subscription.offered, subscription.delivered) == (came + len(failed), came + len(failed))
        assert subscription.failed == len(failed)

    virtually(check)


async def test_change_classes_of_a_list_keep_their_order_in_the_stream():
    lists = Lists()
    async with Processor() as processor:
        processor.add((StepTransition, StepProgress, RunTransition), lists, batch=500)
        await processor.run(played(play()))
    (one,) = lists
    assert [change.sequence for change in one] == sorted(change.sequence for change in one)


def cost(waits: bool, **options: Any) -> float:
    """Return the processor time that 10,000 changes take, the least of five times."""
    sent = growing(10_000)
    chunks = [sse(sent[place : place + 50]) for place in range(0, len(sent), 50)]

    async def once() -> float:
        async def take(change: Any) -> None:
            if waits:
                await anyio.lowlevel.checkpoint()

        async with Processor() as processor:
            processor.add(StepProgress, take, **options)
            begin = process_time()
            await processor.run(source(*chunks))
            return process_time() - begin

    return min(anyio.run(once) for _ in range(5))


@pytest.mark.slow
@pytest.mark.alone
def test_ten_thousand_changes_in_lists_cost_less_than_half_of_as_many_calls():
    """Of calls that wait, as a call for a database does, if only once; those that never do cost next to nothing."""
    assert cost(True, batch=500) <= 0.5 * cost(True)
    assert cost(False, batch=500) <= 1.25 * cost(False)
