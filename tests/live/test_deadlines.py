"""A subscriber that never comes on, when the processor is left."""

from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest

from stepstream import Frame, Processor, StepTransition, encode_frame
from tests.support.tables import each_row

pytestmark = pytest.mark.usefixtures("patient")


def steps(count: int) -> bytes:
    created = (encode_frame(Frame("thread.run.step.created", b'{"id": "step_%d"}' % one)) for one in range(count))
    return b"".join((*created, encode_frame(Frame("done", b"[DONE]"))))


async def source(count: int) -> AsyncIterator[bytes]:
    yield steps(count)


async def stuck(change: StepTransition) -> None:
    await anyio.sleep_forever()


@pytest.mark.parametrize("count", [1, 1_000])
async def test_stuck_subscriber_does_not_keep_the_block_open(count: int, caplog: pytest.LogCaptureFixture):
    others: list[Any] = []

    async def note(change: StepTransition) -> None:
        others.append(change)

    with anyio.fail_after(5):
        async with Processor(drain_timeout=0.05) as processor:
            subscription = processor.add(StepTransition, stuck)
            processor.add(StepTransition, note)
            handle = processor.start(source(count))
    assert (await handle.outcome()).reason == "done"
    assert (len(others), subscription.is_closed) == (count, True)
    left = min(count, 256)
    assert [record.getMessage() for record in caplog.records] == [
        f"gave up the subscriber stuck after 0.05 s with {left} changes undelivered"
    ]


async def test_stuck_subscriber_is_waited_for_while_the_block_goes_on():
    async with Processor(drain_timeout=0.05) as processor:
        subscription = processor.add(StepTransition, stuck)
        handle = processor.start(source(1))
        await anyio.wait_all_tasks_blocked()
        with anyio.move_on_after(0.2):
            await handle.outcome()
        assert (handle.is_finished, subscription.is_closed) == (False, False)


@each_row(
    "options",
    [
        {"drain_timeout": -1},
        {"drain_timeout": float("nan")},
        {"retain": -1},
        {"max_open_runs": 0},
        {"max_depth": 0},
        {"max_event_bytes": 0},
    ],
)
def test_option_that_makes_no_sense_is_a_value_error(options: dict[str, Any]):
    with pytest.raises(ValueError, match=next(iter(options))):
        Processor(**options)


@each_row("options", [{"drain_timeout": None}, {"retain": 1.5}, {"retain": True}, {"max_depth": "9"}])
def test_option_of_a_wrong_type_is_a_type_error(options: dict[str, Any]):
    with pytest.raises(TypeError, match=next(iter(options))):
        Processor(**options)
