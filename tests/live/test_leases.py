"""Streams under a lease: what is delivered until it ends, and nothing after."""

from typing import Any

import anyio
import pytest

from stepstream import Processor, RunTransition, StepTransition
from stepstream.live.batch_queue import Batch, by_lease
from stepstream.live.leases import Lease
from stepstream.live.pending import PendingCount
from tests.support.run_streams import Audience, played, sketch
from tests.support.suspensions import quiet

TRANSITIONS: Any = (StepTransition, RunTransition)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_lease_is_over_by_its_clock_and_stays_so(clock: Clock):
    lease, told = Lease(2.0, clock), []
    for now, until in ((1.0, 3.0), (2.9, 3.0), (3.0, 9.0), (3.1, 9.0)):
        clock.now = now
        told.append(lease.is_over)
        lease.until = until
    assert told == [False, False, True, True]


async def test_lease_that_ends_cancels_what_holds_it_and_nothing_else(clock: Clock):
    lease, before, within = Lease(2.0, clock), anyio.CancelScope(), anyio.CancelScope()
    with lease.holding(before):
        pass
    with lease.holding(within):
        lease.end()
    assert (before.cancel_called, within.cancel_called, lease.is_over) == (False, True, True)


async def test_call_that_waits_is_cut_off_and_no_other_begins(clock: Clock):
    called: list[str] = []
    lease, other = Lease(1.0, clock), Audience()

    async def wait(change: Any) -> None:
        called.append(change.key)
        await anyio.sleep_forever()

    async with Processor() as processor:
        processor.add(TRANSITIONS, wait, attempts=3)
        processor.add(TRANSITIONS, other)
        handle = processor.start(played(sketch()), lease=lease)
        await quiet()
        lease.end()
        with anyio.fail_after(5):
            await handle.outcome()
        assert handle.settled("run_1") == 0
    assert called == ["run_1/run/queued"]
    assert len(other) == 4


async def test_call_that_ends_late_is_the_last_though_no_timer_has_seen_it(clock: Clock):
    """As after a process was stopped: it goes on in the middle of anything."""
    called: list[str] = []
    lease = Lease(1.0, clock)

    async def pass_time(change: Any) -> None:
        called.append(change.key)
        clock.now += 0.6

    async with Processor() as processor:
        subscription = processor.add(TRANSITIONS, pass_time)
        handle = processor.start(played(sketch()), lease=lease)
        await handle.outcome()
        assert handle.settled("run_1") == 2
    assert called == ["run_1/run/queued", "run_1/step/step_1/in_progress"]
    assert (subscription.delivered, subscription.dropped, subscription.failed) == (2, 2, 0)


async def test_pause_between_attempts_is_cut_off(clock: Clock):
    lease = Lease(1.0, clock)

    async def fail(change: Any) -> None:
        raise ValueError

    async with Processor() as processor:
        subscription = processor.add(TRANSITIONS, fail, attempts=2, backoff=3_600)
        handle = processor.start(played(sketch()), lease=lease)
        await quiet()
        lease.end()
        with anyio.fail_after(5):
            await handle.outcome()
    assert (subscription.dropped, subscription.failed) == (4, 0)


async def test_other_streams_of_a_subscriber_go_on(clock: Clock):
    lease, keys = Lease(1.0, clock), []

    async def note(change: Any) -> None:
        keys.append(change.key)

    async with Processor() as processor:
        subscription = processor.add(TRANSITIONS, note)
        lease.end()
        await processor.start(played(sketch(1)), lease=lease).outcome()
        await processor.run(played(sketch(2)))
        assert not subscription.is_closed
    assert [key.partition("/")[0] for key in keys] == ["run_2"] * 4


async def test_list_is_delivered_without_what_lapsed(clock: Clock):
    lists: list[list[str]] = []
    ended, kept = Lease(1.0, clock), Lease(9.0, clock)
    hold = anyio.Event()

    async def note(changes: Any) -> None:
        lists.append([change.run_id for change in changes])
        await hold.wait()

    async with Processor() as processor:
        processor.add(TRANSITIONS, note, batch=16, max_wait=60)
        handles = [
            processor.start(played(sketch(n)), lease=one) for n, one in ((1, ended), (2, kept), (3, ended), (4, kept))
        ]
        await quiet()
        ended.end()  # while the first list, of all four, is in hand
        await quiet()
        hold.set()
        for handle in handles:
            with anyio.fail_after(5):
                await handle.outcome()
        settled = [int(handle.settled(f"run_{n}")) for n, handle in enumerate(handles, 1)]
    assert [sorted(some) for some in lists] == [
        [f"run_{n}" for n in (1, 2, 3, 4) for _ in range(4)],
        [f"run_{n}" for n in (2, 4) for _ in range(4)],
    ]
    assert settled == [0, 5, 0, 5]


async def test_iterator_is_not_given_what_lapsed(clock: Clock):
    lease, keys = Lease(1.0, clock), []
    async with Processor() as processor, processor.subscribe(StepTransition) as changes:
        await processor.start(played(sketch(1)), lease=lease).outcome()
        lease.end()
        await processor.run(played(sketch(2)))
        keys = [(await anext(changes)).run_id for _ in range(2)]
    assert keys == ["run_2", "run_2"]


def test_entry_is_parted_by_lease(clock: Clock):
    over, held = PendingCount(), PendingCount()
    over.lease, held.lease = Lease(0.0, clock), Lease(1.0, clock)
    single, plain = ("a", over), ("b", PendingCount())
    batch = (["a", "b"], Batch([single, ("b", held)]))
    kept, lapsed = by_lease(batch)
    assert by_lease(single) == (None, single)
    assert by_lease(plain) == (plain, None)
    assert (kept is not None and kept[0], lapsed is not None and lapsed[0]) == (["b"], ["a"])
