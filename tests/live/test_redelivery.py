"""One change once more; failures noted at once; runs that are forgotten."""

from typing import Any

import pytest

from stepstream import Failure, Processor, RunTransition, StepTransition
from stepstream.live.leases import Lease
from tests.support.run_streams import Audience, played, sketch


async def test_change_reaches_the_callbacks_of_a_name_that_take_its_class():
    kept: list[Any] = []

    async def first(change: Any) -> None:
        kept.append(("first", change))

    async def second(change: Any) -> None:
        kept.append(("second", change))

    async with Processor() as processor:
        processor.add(StepTransition, first, terminal=True)
        processor.add(RunTransition, first)
        processor.add(StepTransition, second)
        await processor.run(played(sketch()))
        change = next(one for name, one in kept if name == "second")
        kept.clear()
        name = first.__qualname__
        assert await processor.redeliver(change, name) == 1
        assert await processor.redeliver(change, "nobody") == 0
        over = Lease(0.0, lambda: 1.0)
        assert await processor.redeliver(change, name, lease=over) == 1
    assert kept == [("first", change)]


async def test_redelivered_change_is_tried_as_often_as_any():
    audience, changes = Audience(), Audience()

    async def fail(change: Any) -> None:
        audience.append(change)
        raise ValueError

    async with Processor() as processor:
        processor.add(RunTransition, changes)
        await processor.run(played(sketch()))
        subscription = processor.add(RunTransition, fail, attempts=3, backoff=0)
        assert await processor.redeliver(changes[0], fail.__qualname__) == 1
        assert (len(audience), subscription.failed) == (3, 1)


@pytest.mark.parametrize("strict", [False, True])
async def test_failure_is_noted_before_its_change_counts_as_settled(strict: bool):
    noted: list[tuple[int, int]] = []

    async def fail(change: Any) -> None:
        raise ValueError

    async def run() -> None:
        async with Processor(strict=strict) as processor:

            def note(failure: Failure) -> None:
                assert failure.change is not None
                noted.append((failure.change.sequence, int(processor.settled("run_1"))))

            with processor.noting_failures(note):
                processor.add(RunTransition, fail)
                await processor.run(played(sketch()))
            await processor.run(played(sketch(2)))  # nobody notes any more

    if strict:
        with pytest.raises(ValueError, match=r"^$"):
            await run()
        assert noted == []
    else:
        await run()
        assert [sequence for sequence, _ in noted] == [1, 4]
        assert all(settled < sequence for sequence, settled in noted)


async def test_forgotten_run_begins_anew():
    audience = Audience()
    async with Processor() as processor:
        processor.add((RunTransition, StepTransition), audience)
        for _ in range(2):
            await processor.run(played(sketch()))
            processor.forget("run_1")
            processor.forget("run_9")
        assert (dict(processor.runs), dict(processor.steps)) == ({}, {})
    assert [change.key for change in audience] == 2 * [change.key for change in audience[:4]]
