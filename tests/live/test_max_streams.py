"""At most `max_streams` streams are read at a time: more wait for their turn, in order."""

import anyio
import pytest

from stepstream import Processor, RunTransition, StreamStopped
from tests.support.run_streams import Audience, Opened, Tape, frames, play, played
from tests.support.suspensions import quiet


class Opening:
    """A source that notes when it is opened, and goes on when it is told to."""

    def __init__(self, number: int, opened: list[int]) -> None:
        self.go_on = anyio.Event()
        self._number = number
        self._opened = opened
        self._source = Opened(self.go_on, *frames(play(number)))

    async def __aenter__(self):
        self._opened.append(self._number)
        return await self._source.__aenter__()

    async def __aexit__(self, *failure: object) -> None:
        await self._source.__aexit__(*failure)


async def test_streams_beyond_the_bound_are_opened_in_the_order_in_which_they_were_started():
    opened: list[int] = []
    sources = [Opening(number, opened) for number in range(1, 6)]
    async with Processor(max_streams=2) as processor:
        handles = [processor.start(one) for one in sources]
        await quiet()
        now = processor.statistics()
        assert (sorted(opened), now.streams, now.waiting_streams) == ([1, 2], 2, 3)
        for ended, expected in ((1, [3]), (0, [3, 4]), (3, [3, 4, 5])):
            sources[ended].go_on.set()
            await handles[ended].outcome()
            await quiet()
            assert opened[2:] == expected
        for one in sources:
            one.go_on.set()
    assert (processor.statistics().streams, processor.statistics().waiting_streams) == (0, 0)


async def test_stream_that_waits_for_its_turn_can_be_stopped_and_is_never_opened():
    opened: list[int] = []
    first, second, third = (Opening(number, opened) for number in (1, 2, 3))
    async with Processor(max_streams=1) as processor:
        handles = [processor.start(one) for one in (first, second, third)]
        await quiet()
        await handles[1].cancel()
        with pytest.raises(StreamStopped):
            await handles[1].outcome()
        first.go_on.set()
        third.go_on.set()
        await handles[2].outcome()
    assert opened == [1, 3]


async def test_stream_that_fails_or_is_cancelled_makes_room():
    async with Processor(max_streams=1) as processor:
        for _ in range(2):
            with anyio.move_on_after(0):
                await processor.run(Tape(anyio.Event()))
            failing = processor.start(played(play()[:3]))
            await failing.ended()
        assert (await processor.run(played(play()))).reason == "done"


async def test_next_stream_is_read_while_a_slow_subscriber_still_has_changes_of_the_last():
    gate, audience = anyio.Event(), Audience()
    async with Processor(max_streams=1) as processor:
        processor.add(RunTransition, Audience(gate), run_id="run_1")
        processor.add(RunTransition, audience, run_id="run_2")
        processor.start(played(play(1)))
        await processor.run(played(play(2)))
        assert audience[-1].status == "completed"
        gate.set()


@pytest.mark.parametrize(("given", "error"), [(0, ValueError), (1.5, TypeError), (True, TypeError), ("2", TypeError)])
def test_bound_is_a_whole_number_of_at_least_one(given: object, error: type[Exception]):
    with pytest.raises(error, match="max_streams"):
        Processor(max_streams=given)
