"""Log records carry the ids of the run, step and thread that they are about."""

from typing import Any

import pytest

from stepstream import Processor, RunTransition, StepTransition
from stepstream.live.log_ids import ids_of
from tests.support.run_streams import DONE, played, run, sketch, source, sse
from tests.support.suspensions import quiet

RUN = {"run_id": "run_1", "step_id": None, "thread_id": "thread_1"}
STEP = {**RUN, "step_id": "step_1"}


def carried(log: pytest.LogCaptureFixture, text: str) -> list[dict[str, Any]]:
    """Return the ids of each record that begins so."""
    found = [one for one in log.records if one.name.startswith("stepstream") and one.getMessage().startswith(text)]
    return [{name: one.__dict__[name] for name in RUN} for one in found]


async def fail(change: object) -> None:
    raise ValueError("no")


async def test_failure_of_a_subscriber_carries_the_ids_of_its_change(caplog: pytest.LogCaptureFixture):
    async with Processor() as processor:
        processor.add(StepTransition, fail, terminal=True)
        processor.add(RunTransition, fail, status="queued", max_failures=1)
        await processor.run(played(sketch()))
    assert carried(caplog, "the subscriber fail failed at a StepTransition") == [STEP]
    assert carried(caplog, "the subscriber fail failed at a RunTransition") == [RUN]
    assert carried(caplog, "closed the subscriber fail after 1 failures") == [RUN]


async def test_failure_of_backoff_carries_the_ids_of_the_change(caplog: pytest.LogCaptureFixture, patient: None):
    def broken(attempt: int, failure: Exception) -> float:
        raise KeyError(attempt)

    async with Processor() as processor:
        subscription = processor.add(RunTransition, fail, attempts=2, backoff=broken)
        await processor.run(source(sse(sketch()), quiet))
        subscription.close()
    assert carried(caplog, "the backoff of the subscriber fail failed")[0] == RUN


async def test_failure_of_a_started_stream_carries_the_ids_of_its_run(caplog: pytest.LogCaptureFixture):
    for sent, ids in (([run("queued"), run("in_progress")], RUN), ([], dict.fromkeys(RUN))):
        caplog.clear()
        async with Processor() as processor:
            processor.start(source(sse(sent), OSError("reset")))
        assert carried(caplog, "a started stream failed") == [ids]


async def test_source_that_fails_when_it_is_closed_carries_the_ids_of_its_run(caplog: pytest.LogCaptureFixture):
    async def given() -> Any:
        try:
            yield sse([run("queued"), DONE])
            yield b""
        finally:
            raise OSError("late")

    async with Processor() as processor:
        await processor.run(given())
    assert carried(caplog, "a source failed when it was closed after done") == [RUN]


def test_what_has_no_ids_carries_none():
    assert ids_of(None) == ids_of(object()) == dict.fromkeys(RUN)
