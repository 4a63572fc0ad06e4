"""Who sleeps until a change of a slow stream comes is called before the stream gets ready to wait for the next."""

from collections.abc import AsyncGenerator
from typing import Any

import pytest

from stepstream import Processor
from stepstream.live.fanout import SLOW_STREAM_GAP, StreamFanout
from stepstream.live.registration import CLASSES
from stepstream.live.routing import Routes
from tests.support.run_streams import Audience, play, sse
from tests.support.suspensions import quiet


def test_stream_that_wakes_rarely_lets_them_run():
    listeners = StreamFanout(Routes())
    times = [0.0, SLOW_STREAM_GAP / 2, SLOW_STREAM_GAP, 3 * SLOW_STREAM_GAP, 5 * SLOW_STREAM_GAP, 5 * SLOW_STREAM_GAP]
    assert [listeners.should_yield(time) for time in times] == [True, False, False, True, True, False]


@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # trio runs what is ready in any order
async def test_first_change_is_heard_before_the_source_is_asked_for_more(anyio_backend: str):
    audience, heard = Audience(), list[int]()

    async def source() -> AsyncGenerator[bytes, None]:
        for one in play():
            yield sse([one])
            heard.append(len(audience))

    async with Processor() as processor:
        processor.add(CLASSES, audience)
        await quiet()
        await processor.run(source())
    assert heard[0] == 1


async def test_nobody_is_waited_for_who_was_not_asleep(monkeypatch: pytest.MonkeyPatch):
    """A stream that comes in one go wakes its subscriber once, and fills its buffer before it is read."""
    asked: list[float] = []

    def should_yield(self: StreamFanout, now: float) -> bool:
        self.has_woken = False
        asked.append(now)
        return False

    monkeypatch.setattr(StreamFanout, "should_yield", should_yield)

    async def source() -> AsyncGenerator[Any, None]:
        for one in play():
            yield sse([one])

    async with Processor() as processor:
        processor.add(CLASSES, Audience())
        await quiet()
        await processor.run(source())
    assert len(asked) == 1
