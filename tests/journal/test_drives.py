"""A run that a client drives, through tools and broken streams, is one run to who follows it."""

from typing import Any

import pytest

from stepstream import MemoryJournal, Processor
from tests.support.breaking_simulator import Break, Wire, breaking
from tests.support.breaking_simulator import host as host
from tests.support.drives import SEEN, driven
from tests.support.journals import alike

BREAKS = (None, Break("cut", 1, "event", 7), Break("reset", 1, "bytes", 2_500), Break("cut", 2, "event", 1))


@pytest.mark.parametrize(("scenario", "thread"), [("tool-rounds", "thread_own"), ("parallel-functions", None)])
async def test_follower_of_a_driven_run_sees_the_transitions_that_the_driver_saw(scenario: str, thread: str | None):
    async with breaking(scenario) as server:
        for place in BREAKS:
            journal, told = MemoryJournal(), list[Any]()
            wire = Wire() if place is None else Wire(place)
            drive = await driven(server, wire, thread_id=thread, journal=journal)
            [info] = [info async for info in journal.runs()]
            assert (drive.failure, info.status) == (None, "ended"), place
            async with Processor() as processor:

                @processor.on(*SEEN)
                async def see(change: Any, told: list[Any] = told) -> None:
                    told.append(change)

                outcome = await processor.run(journal.follow(info.id))
            assert drive.outcome is not None
            assert [one.key for one in told] == [one.key for one in drive.changes]
            assert alike(told) == alike(drive.changes)
            assert outcome.steps == drive.outcome.steps
