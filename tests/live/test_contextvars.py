"""Callbacks see the contextvars of the `run` or `start` whose change they get; what a call sets is gone after it."""

import logging
from collections.abc import AsyncIterator, Callable
from contextvars import Context, ContextVar
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from stepstream import Failure, Processor, RunTransition, StepProgress, StepTransition
from tests.support.run_streams import DONE, frames, play, played, run, sketch, source
from tests.support.suspensions import quiet
from tests.support.virtual_time import anyio_backend as anyio_backend

request: ContextVar[str] = ContextVar("request", default="none")
Seen = list[tuple[str | None, str]]


def interleaved(numbers: int, sent: Callable[[int], Any] = play) -> list[Any]:
    """Sources of so many runs, each of which lets the others go on after every event."""

    async def paced(number: int) -> AsyncIterator[Any]:
        for frame in frames(sent(number)):
            yield frame
            await anyio.sleep(0.01)

    return [paced(number) for number in range(numbers)]


async def run_side_by_side(processor: Processor, sources: list[Any]) -> None:
    async def one(number: int) -> None:
        request.set(f"request {number}")
        await processor.run(sources[number], context=number)

    async with anyio.create_task_group() as tasks:
        for number in range(len(sources)):
            tasks.start_soon(one, number)


@pytest.mark.parametrize(
    "options",
    [{}, {"concurrency": 3}, {"overflow": "latest"}, {"min_interval": 0.1}, {"buffer": 1}, {"attempts": 2}],
    ids=lambda options: "".join(options) or "plain",
)
@pytest.mark.parametrize("seconds", [None, 0.003], ids=["at-once", "waiting"])
async def test_each_call_sees_those_of_its_own_run(options: dict[str, Any], seconds: float | None):
    seen = set()

    async def look(change: Any) -> None:
        before = request.get()
        request.set("set by a call")
        if seconds is not None:
            await anyio.sleep(seconds)
        seen.add((change.context, before, request.get()))
        if change.context == 1 and options.get("attempts"):
            raise ValueError

    async with Processor() as processor:
        processor.add((StepTransition, StepProgress, RunTransition), look, backoff=0, **options)
        await run_side_by_side(processor, interleaved(3))
    assert seen == {(number, f"request {number}", "set by a call") for number in range(3)}


async def test_started_stream_takes_those_of_its_start():
    seen: Seen = []

    async def look(change: RunTransition) -> None:
        seen.append((change.run_id, request.get()))

    async with Processor() as processor:
        processor.add(RunTransition, look, status="completed")
        for number in (1, 2):
            request.set(f"request {number}")
            processor.start(played(sketch(number)))
        request.set("later")
    assert sorted(seen) == [("run_1", "request 1"), ("run_2", "request 2")]


async def test_stream_started_by_a_callback_takes_what_that_call_has_set():
    seen: Seen = []
    async with Processor() as processor:

        @processor.on(RunTransition, status="completed")
        async def look(change: RunTransition) -> None:
            seen.append((change.run_id, request.get()))
            if change.run_id == "run_1":
                request.set(f"after {request.get()}")
                processor.start(played(sketch(2)))

        request.set("request 1")
        await processor.run(played(sketch(1)))
    assert seen == [("run_1", "request 1"), ("run_2", "after request 1")]


async def test_caller_of_run_sees_nothing_that_callbacks_set():
    def where(change: Any) -> bool:
        request.set("set by where")
        return True

    async def look(change: Any) -> None:
        request.set("set by a call")

    async with Processor() as processor:
        processor.add(RunTransition, look, where=where)
        request.set("mine")
        await processor.run(played(play()))
        assert request.get() == "mine"


async def test_where_sees_those_of_the_run_and_nothing_of_its_last_call():
    seen = []

    def where(change: RunTransition) -> bool:
        seen.append((change.context, request.get()))
        request.set("set by where")
        return False

    async def look(change: RunTransition) -> None: ...

    async with Processor() as processor:
        processor.add(RunTransition, look, where=where)
        await run_side_by_side(processor, interleaved(2))
    assert set(seen) == {(number, f"request {number}") for number in range(2)}
    assert len(seen) == 6


async def test_on_failure_and_backoff_and_log_records_have_those_of_the_failed_change():
    seen: dict[str, Any] = {"backoff": [], "on_failure": [], "records": []}

    class Noting(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen["records"].append(request.get())

    def backoff(attempt: int, failure: Exception) -> float:
        seen["backoff"].append(request.get())
        request.set("set by backoff")
        return 0

    async def fail(change: RunTransition) -> None:
        request.set("set by a call")
        raise ValueError

    def where(change: RunTransition) -> bool:
        raise LookupError

    handler, logger = Noting(), logging.getLogger("stepstream.live")
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)  # the second failure of a class is no error
    try:
        async with Processor() as processor:

            @processor.on_failure
            async def note(failure: Failure) -> None:
                await anyio.lowlevel.checkpoint()
                seen["on_failure"].append((type(failure.exception).__name__, request.get()))
                request.set("set by on_failure")

            processor.add(RunTransition, fail, attempts=2, backoff=backoff, status="completed")
            processor.add(RunTransition, fail, where=where, status="queued")
            for number in (1, 2):
                request.set(f"request {number}")
                await processor.run(played(sketch(number)))
            request.set("later")
    finally:
        logger.removeHandler(handler)
        logger.setLevel(logging.NOTSET)
    both = ["request 1", "request 2"]
    assert seen["backoff"] == both
    names = ("LookupError", "ValueError", "ValueError")
    assert seen["on_failure"] == [(name, one) for one in both for name in names]
    assert set(seen["records"]) == {*both, "none"}  # how many there were is said at the end


class Incomparable:
    def __eq__(self, other: object) -> bool:
        raise NotImplementedError

    __hash__ = None  # type: ignore[assignment]


numbers: ContextVar[Any] = ContextVar("numbers", default=None)
FEW = [1, 2]


@pytest.mark.parametrize(
    ("given", "set_by_call"),
    [(None, "another"), (FEW, [1, 2, 3]), (Incomparable(), Incomparable()), (1, Incomparable()), (FEW, FEW)],
    ids=["another", "longer", "incomparable", "incomparable-now", "the-same"],
)
async def test_calls_that_follow_each_other_see_the_value_of_the_run(given: Any, set_by_call: Any):
    """None of them waits, and all changes are there before the first."""
    seen = []

    async def look(change: RunTransition) -> None:
        seen.append(numbers.get())
        numbers.set(set_by_call)

    async with Processor() as processor:
        subscription = processor.add(RunTransition, look)
        numbers.set(given)
        await processor.run(played([run("queued"), run("in_progress"), run("completed"), DONE]))
    assert [one is given for one in seen] == [True] * 3
    assert (subscription.delivered, subscription.failed) == (3, 0)


async def test_value_set_back_by_a_call_leaves_the_next_one_that_of_the_run():
    seen = []

    async def look(change: RunTransition) -> None:
        seen.append(numbers.get())
        numbers.reset(numbers.set("inside"))
        seen.append(numbers.get())

    async with Processor() as processor:
        processor.add(RunTransition, look)
        numbers.set(FEW)
        await processor.run(played([run("queued"), run("in_progress"), run("completed"), DONE]))
    assert all(one is FEW for one in seen)
    assert len(seen) == 6


async def test_another_attempt_sees_nothing_of_the_one_before():
    seen = []

    async def fail_once(change: RunTransition) -> None:
        seen.append(request.get())
        request.set("set by an attempt")
        if len(seen) % 2:
            raise ValueError

    async with Processor() as processor:
        processor.add(RunTransition, fail_once, attempts=2, backoff=0)
        request.set("request 1")
        await processor.run(played([run("completed"), DONE]))
    assert seen == ["request 1", "request 1"]


async def test_call_that_waits_keeps_its_own_from_step_to_step():
    """A token is given back after a wait; a task and an async generator of the call see what it has set."""
    seen = []

    async def told() -> None:
        seen.append(request.get())

    async def generated() -> AsyncIterator[str]:
        for _ in range(2):
            await anyio.lowlevel.checkpoint()
            yield request.get()

    async def look(change: RunTransition) -> None:
        token = request.set("inside")
        await anyio.sleep(1)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(told)
        seen.extend([one async for one in generated()])
        request.reset(token)
        await anyio.sleep(1)
        await told()

    async with Processor() as processor:
        processor.add(RunTransition, look)
        request.set("request 1")
        await processor.run(played([run("completed"), DONE]))
    assert seen == ["inside"] * 3 + ["request 1"]


async def test_cleanup_of_a_call_that_is_cut_off_has_its_own():
    seen = []

    async def hang(change: RunTransition) -> None:
        token = request.set("inside")
        try:
            await anyio.sleep_forever()
        finally:
            seen.append(request.get())
            request.reset(token)
            seen.append(request.get())

    async with Processor() as processor:
        processor.add(RunTransition, hang, timeout=1)
        request.set("request 1")
        await processor.run(played([run("completed"), DONE]))
    assert seen == ["inside", "request 1"]


async def test_replayed_changes_see_those_of_their_stream_while_it_is_read():
    seen: Seen = []

    async def look(change: RunTransition) -> None:
        seen.append((change.run_id, request.get()))

    def where(change: RunTransition) -> bool:
        return request.get() != "none"

    gate = anyio.Event()
    async with Processor() as processor:
        for number, sent in ((1, sketch(1)), (2, [run("queued", 2), run("requires_action", 2), DONE])):
            request.set(f"request {number}")
            await processor.run(played(sent))
        request.set("request 3")
        processor.start(source(*frames(sketch(3)[:2]), gate, *frames(sketch(3)[2:])))
        await quiet()
        request.set("of the late one")
        processor.add(RunTransition, look, replay=True, where=where)
        await quiet()
        gate.set()
    late = [("run_1", "of the late one"), ("run_2", "request 2"), ("run_3", "request 3"), ("run_3", "request 3")]
    assert sorted(seen) == late


@pytest.mark.parametrize("waits", [False, True])
async def test_event_loop_is_known_in_a_call_of_a_stream_that_was_run_without_contextvars(
    waits: bool,
):
    seen = []

    async def look(change: RunTransition) -> None:
        if waits:
            await anyio.sleep(1)
        seen.append((request.get(), anyio.get_current_task().id > 0))

    request.set("not to be seen")
    async with Processor() as processor, anyio.create_task_group() as tasks:
        processor.add(RunTransition, look)
        Context().run(tasks.start_soon, processor.run, played([run("completed"), DONE]))
    assert seen == [("none", True)]
