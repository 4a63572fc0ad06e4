"""Failures of subscribers: attempts, limits, who is told, and what each odd callback does."""
# ruff: noqa: PT012 - what leaves the block of a processor is raised by the block as a whole

import logging
from functools import partial
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from stepstream import (
    Failure,
    Processor,
    RunTransition,
    StepProgress,
    StepTransition,
    SubscriberStatistics,
    SubscriberTooSlow,
)
from stepstream.live.options import BUFFER
from stepstream.live.registration import CLASSES
from tests.support.run_streams import (
    DONE,
    Audience,
    frames,
    grows,
    opens,
    play,
    played,
    run,
    sketch,
    source,
    sse,
    step,
    told,
    told_of,
)
from tests.support.suspensions import quiet
from tests.support.virtual_time import in_virtual_time

pytestmark = pytest.mark.usefixtures("patient")

RUNS = [run("queued"), run("in_progress"), run("completed"), DONE]
ONCE = [run("completed"), DONE]


class Failing(list[tuple[float, Any]]):
    """A callback that notes its calls, and raises at the first ones, or each; those too late hang."""

    def __init__(self, times: float = float("inf"), exception: Exception | None = None, *, hangs: bool = False) -> None:
        super().__init__()
        self._left = times
        self._exception = exception
        self._hangs = hangs

    async def __call__(self, change: Any) -> None:
        self.append((anyio.current_time(), change))
        self._left -= 1
        if self._left < 0:
            return
        if self._hangs:
            await anyio.sleep_forever()
        raise self._exception or ValueError("of the callback")

    @property
    def times(self) -> list[float]:
        return [round(time - self[0][0], 6) for time, _ in self]


@pytest.mark.parametrize(
    ("backoff", "times"),
    [(1, [0, 1, 3, 7]), (0, [0, 0, 0, 0]), (0.5, [0, 0.5, 1.5, 3.5]), (20, [0, 20, 50, 80])],
)
@in_virtual_time
async def test_call_that_fails_is_made_again_after_pauses_that_double(backoff: float, times: list[float]):
    callback = Failing()
    async with Processor() as processor:
        subscription = processor.add(RunTransition, callback, attempts=4, backoff=backoff)
        await processor.run(played(ONCE))
    assert callback.times == times
    assert (subscription.delivered, subscription.failed, subscription.retried) == (1, 1, 3)


@in_virtual_time
async def test_call_that_succeeds_at_last_has_not_failed():
    callback = Failing(2)
    async with Processor() as processor:
        subscription = processor.add(RunTransition, callback, attempts=5)
        await processor.run(played(RUNS))
    assert [change.status for _, change in callback] == ["queued"] * 3 + ["in_progress", "completed"]
    assert (subscription.delivered, subscription.failed, subscription.retried) == (3, 0, 2)


async def test_each_change_has_all_its_attempts():
    seen = []

    async def moody(change: Any) -> None:
        seen.append(change.status)
        if len(seen) % 2:
            raise ValueError

    async with Processor() as processor:
        subscription = processor.add(RunTransition, moody, attempts=2, backoff=0)
        await processor.run(played(RUNS))
    assert seen == ["queued"] * 2 + ["in_progress"] * 2 + ["completed"] * 2
    assert (subscription.delivered, subscription.failed, subscription.retried) == (3, 0, 3)


class TooManyRequests(Exception):
    def __init__(self, retry_after: float) -> None:
        super().__init__(f"wait {retry_after} s")
        self.retry_after = retry_after


@in_virtual_time
async def test_backoff_may_honour_what_the_exception_says():
    callback, asked = Failing(2, TooManyRequests(7.5)), []

    def honour(attempt: int, failure: Exception) -> float:
        asked.append(attempt)
        return failure.retry_after if isinstance(failure, TooManyRequests) else 1.0

    async with Processor() as processor:
        processor.add(RunTransition, callback, attempts=5, backoff=honour)
        await processor.run(played(ONCE))
    assert (callback.times, asked) == ([0, 7.5, 15], [1, 2])


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), "soon", None, KeyError("of the function")])
@in_virtual_time
async def test_backoff_that_fails_costs_a_second(bad: Any):
    def broken(attempt: int, failure: Exception) -> float:
        if isinstance(bad, Exception):
            raise bad
        return bad

    callback = Failing(1)
    async with Processor() as processor:
        processor.add(RunTransition, callback, attempts=2, backoff=broken)
        await processor.run(played(ONCE))
    assert callback.times == [0, 1]


@in_virtual_time
async def test_call_that_takes_too_long_is_a_timeout_error():
    callback, failures = Failing(hangs=True), []
    async with Processor() as processor:

        @processor.on_failure
        async def note(failure: Failure) -> None:
            failures.append((type(failure.exception), str(failure.exception), failure.attempt, failure.is_final))

        processor.add(RunTransition, callback, timeout=2.5, attempts=2, backoff=1)
        await processor.run(played(ONCE))
    text = "the callback took longer than 2.5 s"
    assert callback.times == [0, 3.5]
    assert failures == [(TimeoutError, text, 1, False), (TimeoutError, text, 2, True)]


@in_virtual_time
async def test_call_is_cut_short_after_half_a_minute_where_nothing_else_was_asked_for():
    callback = Failing(hangs=True)
    async with Processor() as processor:
        processor.add(RunTransition, callback)
        await processor.run(played(RUNS))
    assert callback.times == [0, 30, 60]


@in_virtual_time
async def test_call_without_a_timeout_may_take_for_ever():
    async def patient(change: Any) -> None:
        await anyio.sleep(80_000)

    async with Processor() as processor:
        subscription = processor.add(RunTransition, patient, timeout=None)
        await processor.run(played(ONCE))
        assert (subscription.delivered, subscription.failed) == (1, 0)


@in_virtual_time
async def test_timeout_counts_for_each_call_anew():
    async def slow(change: Any) -> None:
        await anyio.sleep(0.9)

    async with Processor() as processor:
        subscription = processor.add(RunTransition, slow, timeout=1)
        await processor.run(played(RUNS))
    assert (subscription.delivered, subscription.failed) == (3, 0)


def logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The errors in short: a class where there is a traceback, a count where there is none."""
    errors = [record for record in caplog.records if record.levelno == logging.ERROR]
    return [one.exc_info[0].__name__ if one.exc_info else str(one.args[1]) for one in errors]  # type: ignore[index, union-attr]


def growing(count: int) -> list[Any]:
    return [step("created"), opens(), *[grows("x")] * (count - 1), run("completed"), DONE]


@pytest.mark.parametrize(
    ("count", "lines"),
    [
        (1, ["ValueError"]),
        (2, ["ValueError", "2"]),
        (10, ["ValueError", "10"]),
        (500, ["ValueError", "10", "100", "500"]),
        (1000, ["ValueError", "10", "100", "1000"]),
    ],
)
async def test_subscriber_that_fails_at_every_delta_is_logged_at_growing_intervals(
    count: int, lines: list[str], caplog: pytest.LogCaptureFixture
):
    failures = Audience()
    async with Processor() as processor:
        processor.on_failure(failures)
        subscription = processor.add(StepProgress, Failing())
        await processor.run(source(*frames(growing(count))))
        await quiet()
        told_so = len(failures) + processor.statistics().unreported
        assert (subscription.failed, told_so) == (count, count)  # the log is shorter, nothing else is
    assert logged(caplog) == lines


async def test_each_class_of_exception_has_a_traceback_once(caplog: pytest.LogCaptureFixture):
    kinds = [ValueError, KeyError, ValueError, KeyError, OSError]

    async def failing(change: StepProgress) -> None:
        raise kinds.pop()

    async with Processor() as processor:
        processor.add(StepProgress, failing)
        await processor.run(played(growing(5)))
    assert logged(caplog) == ["OSError", "KeyError", "ValueError", "5"]


async def test_failure_long_after_the_last_one_has_a_traceback_again(caplog: pytest.LogCaptureFixture):
    seen = 0

    async def failing_at_times(change: StepProgress) -> None:
        nonlocal seen
        seen += 1
        if seen % 150 == 0:
            raise ValueError("now and then")

    async with Processor() as processor:
        processor.add(StepProgress, failing_at_times)
        await processor.run(played(growing(450)))
    assert logged(caplog) == ["ValueError"] * 3


async def test_what_is_not_logged_as_an_error_is_with_debug(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG, "stepstream.live")
    async with Processor() as processor:
        processor.add(StepProgress, Failing())
        await processor.run(played(growing(20)))
    assert len([record for record in caplog.records if record.exc_info]) == 19  # and the tenth is counted


async def test_predicate_that_fails_at_every_delta_is_logged_at_growing_intervals(caplog: pytest.LogCaptureFixture):
    async with Processor() as processor:
        processor.add(StepProgress, Audience(), where=lambda change: change.nothing_of_that_name)
        await processor.run(played(growing(50)))
    assert logged(caplog) == ["AttributeError", "10", "50"]


@pytest.mark.parametrize("concurrency", [1, 4])
async def test_failures_in_a_row_close_the_subscription(concurrency: int, caplog: pytest.LogCaptureFixture):
    callback, other = Failing(), Audience()
    async with Processor() as processor:
        subscription = processor.add(RunTransition, callback, max_failures=5, concurrency=concurrency)
        processor.add(RunTransition, other)
        for number in range(10):
            await processor.run(played(sketch(number)))
    assert (len(callback), len(other), subscription.is_closed) == (5, 20, True)
    assert caplog.records[-1].getMessage().endswith("after 5 failures in a row")


@pytest.mark.parametrize("waits", [False, True])
async def test_failures_that_are_not_in_a_row_close_nothing(waits: bool):
    seen = []

    async def moody(change: Any) -> None:
        seen.append(change)
        if len(seen) % 3:
            raise ValueError
        if waits:
            await anyio.lowlevel.checkpoint()

    async with Processor() as processor:
        subscription = processor.add(RunTransition, moody, max_failures=3)
        for number in range(10):
            await processor.run(played(sketch(number)))
        assert (subscription.is_closed, subscription.delivered, subscription.failed) == (False, 20, 14)


async def test_on_failure_is_told_everything():
    given, got = ValueError("of the callback"), []
    processor = Processor()

    @processor.on_failure
    async def note(failure: Failure) -> None:
        got.append(failure)

    async with processor:
        subscription = processor.add(RunTransition, Failing(exception=given), attempts=2, backoff=0)
        await processor.run(played(ONCE), context="mine")
    change = got[0].change
    assert got == [Failure(subscription, change, given, 1, False), Failure(subscription, change, given, 2, True)]
    assert (change.status, change.context) == ("completed", "mine")
    assert repr(got[1]) == "<Failure ValueError at attempt 2 of <RunTransition run_1 None → completed>>"


async def test_on_failure_is_told_of_a_predicate():
    got = Audience()

    def look(change: Any) -> bool:
        raise KeyError("of the predicate")

    async with Processor() as processor:
        processor.on_failure(got)
        subscription = processor.add(RunTransition, Audience(), where=look)
        await processor.run(played(ONCE))
    assert [(one.subscription, type(one.exception), one.attempt, one.is_final) for one in got] == [
        (subscription, KeyError, 1, True)
    ]
    assert (subscription.offered, subscription.failed) == (0, 1)


async def test_on_failure_is_told_of_a_subscriber_that_is_closed_because_it_is_too_slow():
    got, gate = Audience(), anyio.Event()
    async with Processor() as processor:
        processor.on_failure(got)
        subscription = processor.add(CLASSES, Audience(gate), overflow="close", buffer=3)
        await processor.run(played(play()))
    (failure,) = got
    assert (failure.subscription, failure.change, type(failure.exception)) == (subscription, None, SubscriberTooSlow)
    assert (subscription.is_closed, subscription.dropped, subscription.offered) == (True, 4, 4)


async def test_subscriber_is_closed_by_one_more_than_its_buffer():
    gate = anyio.Event()
    async with Processor() as processor:
        subscription = processor.add(RunTransition, Audience(gate), overflow="close", buffer=3)
        handle = processor.start(played(play()))
        await quiet()
        assert (subscription.is_closed, handle.is_finished) == (False, False)
        gate.set()
    assert subscription.delivered == 3


async def test_iterator_that_is_too_slow_raises():
    async with Processor() as processor, processor.subscribe(*CLASSES, overflow="close", buffer=3) as changes:
        await processor.run(played(play()))
        with pytest.raises(SubscriberTooSlow, match="4 changes waited"):
            await anext(changes)


async def test_on_failure_may_be_registered_twice():
    first, second = Audience(), Audience()
    async with Processor() as processor:
        processor.on_failure(first)
        processor.on_failure(second)
        processor.add(RunTransition, Failing())
        await processor.run(played(RUNS))
    assert len(first) == len(second) == 3


def test_on_failure_that_is_not_async_is_a_type_error():
    with pytest.raises(TypeError, match="async def"):
        Processor().on_failure(lambda failure: None)  # type: ignore[arg-type, return-value]


async def test_on_failure_that_fails_is_logged_and_told_nobody(caplog: pytest.LogCaptureFixture):
    told_so = Failing(exception=KeyError("of on_failure"))
    async with Processor() as processor:
        processor.on_failure(told_so)
        processor.add(RunTransition, Failing())
        await processor.run(played(RUNS))
    assert len(told_so) == 3
    kinds = [record.exc_info[0] for record in caplog.records if record.exc_info]
    assert (kinds.count(KeyError), kinds.count(ValueError)) == (1, 1)


@in_virtual_time
async def test_on_failure_that_hangs_keeps_no_stream():
    async with Processor() as processor:
        processor.on_failure(Failing(hangs=True))
        subscription = processor.add(RunTransition, Failing())
        start = anyio.current_time()
        await processor.run(played(RUNS))
        assert (anyio.current_time() - start, subscription.failed) == (0, 3)


async def test_failures_that_on_failure_is_too_slow_for_are_counted():
    gate = anyio.Event()
    slow, count = Audience(gate), 2 * BUFFER
    async with Processor() as processor:
        processor.on_failure(slow)
        processor.add(StepProgress, Failing())
        await processor.run(played([step("created"), opens(), *[grows("x")] * (count - 1), run("completed")]))
        assert processor.statistics().unreported == count - BUFFER
        gate.set()
    assert len(slow) == BUFFER


@pytest.mark.parametrize("attempts", [1, 3])
async def test_strict_raises_after_the_last_attempt(attempts: int):
    callback = Failing()
    with pytest.raises(ValueError, match="of the callback"):
        async with Processor(strict=True) as processor:
            processor.add(RunTransition, callback, attempts=attempts, backoff=0)
            await processor.run(played(RUNS))
    assert len(callback) == attempts


@in_virtual_time
async def test_strict_raises_a_timeout():
    with pytest.raises(TimeoutError, match="longer than 1 s"):
        async with Processor(strict=True) as processor:
            processor.add(RunTransition, Failing(hangs=True), timeout=1)
            await processor.run(played(RUNS))


async def test_strict_raises_where_a_subscriber_is_too_slow():
    with pytest.raises(SubscriberTooSlow):
        async with Processor(strict=True) as processor:
            processor.add(CLASSES, Audience(anyio.Event()), overflow="close", buffer=3)
            await processor.run(played(play()))


@pytest.mark.parametrize("options", [{"overflow": "latest"}, {"min_interval": 0.01}])
@in_virtual_time
async def test_attempt_that_newer_progress_makes_needless_is_left_out(options: dict[str, Any]):
    callback = Failing(2)

    async def later() -> None:
        await anyio.sleep(0.1)

    items = [sse([step("created"), opens()]), later, sse([grows("x")]), later, sse([run("completed"), DONE])]
    async with Processor() as processor:
        subscription = processor.add(StepProgress, callback, attempts=5, backoff=1, **options)
        await processor.run(source(*items))
    assert [change.sequence for _, change in callback] == [2, 3, 3]
    assert (subscription.coalesced, subscription.retried, subscription.failed) == (1, 1, 0)
    assert subscription.offered == subscription.delivered + subscription.coalesced


@in_virtual_time
async def test_transition_is_attempted_again_whatever_waits():
    callback = Failing(3)
    async with Processor() as processor:
        processor.add((StepProgress, StepTransition), callback, attempts=5, backoff=1, overflow="latest")
        await processor.run(played([step("created"), opens(), *[grows("x")] * 5, run("completed"), DONE]))
    assert [change.sequence for _, change in callback] == [1, 1, 1, 1, 7]


@pytest.mark.parametrize("ending", ["close", "leave"])
@in_virtual_time
async def test_closed_subscriber_gets_no_further_attempt(ending: str):
    callback = Failing()
    async with Processor(drain_timeout=5) as processor:
        subscription = processor.add(RunTransition, callback, attempts=10, backoff=lambda attempt, failure: 100.0)
        processor.start(played(ONCE))
        await anyio.sleep(50)
        start = anyio.current_time()
        if ending == "close":
            subscription.close()
    assert anyio.current_time() - start == (0 if ending == "close" else 5)
    assert (len(callback), subscription.dropped, subscription.delivered) == (1, 1, 0)


async def test_call_that_fails_after_it_closed_its_subscription_was_the_last_attempt():
    failures = []

    async def leave(change: Any) -> None:
        subscription.close()
        raise ValueError

    async with Processor() as processor:

        @processor.on_failure
        async def note(failure: Failure) -> None:
            failures.append((failure.attempt, failure.is_final))

        subscription = processor.add(RunTransition, leave, attempts=3, backoff=0)
        await processor.run(played(ONCE))
    assert failures == [(1, True)]
    assert (subscription.offered, subscription.failed, subscription.dropped) == (1, 1, 0)


@in_virtual_time
async def test_subscription_that_is_closed_while_its_failure_is_logged_waits_for_no_further_attempt(
    caplog: pytest.LogCaptureFixture,
):
    class Closing(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            subscription.close()

    caplog.set_level(logging.DEBUG, "stepstream.live")
    logger, handler = logging.getLogger("stepstream.live"), Closing()
    logger.addHandler(handler)
    try:
        async with Processor() as processor:
            subscription = processor.add(RunTransition, Failing(), attempts=2, backoff=5)
            await processor.run(played(ONCE))
    finally:
        logger.removeHandler(handler)
    assert (anyio.current_time(), subscription.dropped) == (0, 1)


async def test_statistics_add_up():
    gate, come = anyio.Event(), anyio.Event()

    async def tell() -> None:
        come.set()

    processor = Processor()
    async with processor:
        processor.add(StepProgress, Audience(gate), overflow="latest")
        processor.add(RunTransition, Failing(1), attempts=2, backoff=0)
        closed = processor.add(StepProgress, Audience())
        closed.close()
        sent = [run("queued"), step("created"), opens()]
        rest = [run("completed"), ("bogus", None), DONE]
        processor.start(source(*frames(sent), quiet, *frames([grows("x")] * 4), tell, gate, *frames(rest)))
        await come.wait()
        await quiet()
        now = processor.statistics()
        assert (now.events, now.streams, now.open_runs, now.finished_runs, now.unreported) == (7, 1, 1, 0, 0)
        zero = dict.fromkeys(("coalesced", "dropped", "retried", "failed", "waiting"), 0)
        assert now.subscribers == (
            SubscriberStatistics(name="Audience", is_closed=False, offered=5, delivered=0,
                                 **(zero | {"coalesced": 3, "waiting": 1})),
            SubscriberStatistics(name="Failing", is_closed=False, offered=1, delivered=1,
                                 **(zero | {"retried": 1})),
        )  # fmt: skip
        assert repr(processor) == "<Processor 2 subscribers, 7 events, 0 anomalies>"
        gate.set()
    now = processor.statistics()
    assert (now.streams, now.open_runs, now.finished_runs) == (0, 0, 1)
    assert [(one.offered, one.delivered, one.coalesced, one.waiting) for one in now.subscribers] == [
        (5, 2, 3, 0),
        (2, 2, 0, 0),
    ]


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: Audience(), "Audience"),
        (lambda: partial(told_of), "told_of"),
        (lambda: Audience().__call__, "Audience.__call__"),
        (lambda: told_of, "told_of"),
    ],
)
async def test_subscriber_is_called_by_the_name_of_its_function_or_class(make: Any, name: str):
    async with Processor() as processor:
        processor.add(RunTransition, make())
        assert [one.name for one in processor.statistics().subscribers] == [name]


async def test_subscription_shows_what_waits_and_what_failed():
    async with Processor() as processor:
        subscription = processor.add((RunTransition, StepTransition), Failing())
        await processor.run(played(RUNS))
    text = "<Subscription RunTransition|StepTransition closed 3 delivered, 0 waiting, 3 failed>"
    subscription.close()
    assert repr(subscription) == text


# -- odd subscribers: what each of them does to itself, and that it does nothing to others


class Cast:
    """A processor with a good subscriber before and after the odd one."""

    def __init__(self, processor: Processor, odd: Any, **options: Any) -> None:
        self.before, self.after = Audience(), Audience()
        processor.add(CLASSES, self.before)
        self.odd = processor.add(CLASSES, odd, **options)
        processor.add(CLASSES, self.after)

    async def is_well(self) -> bool:
        expected = await told_of(play())
        return told(self.before) == told(self.after) == expected


async def test_subscriber_that_raises_a_thousand_times():
    callback, other = Failing(), Audience()
    sent = [step("created"), opens(), *[grows("x")] * 999, run("completed")]
    async with Processor() as processor:
        odd = processor.add(StepProgress, callback)
        processor.add(StepProgress, other)
        assert (await processor.run(played(sent))).reason == "ended"
    assert (len(callback), odd.failed, odd.delivered, len(other)) == (1000, 1000, 1000, 1000)


async def test_subscriber_that_never_returns():
    async def stuck(change: Any) -> None:
        await anyio.sleep_forever()

    async with Processor() as processor:
        cast = Cast(processor, stuck, timeout=0.005)
        assert (await processor.run(played(play()))).reason == "done"
        assert (cast.odd.failed, cast.odd.delivered, cast.odd.is_closed) == (16, 16, False)
    assert await cast.is_well()


async def test_subscriber_that_cancels_itself():
    """A scope of its own that it cancels ends its call, and that is no failure."""

    async def cancelling(change: Any) -> None:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await anyio.sleep_forever()

    async with Processor() as processor:
        cast = Cast(processor, cancelling)
        await processor.run(played(play()))
    assert await cast.is_well()
    assert (cast.odd.failed, cast.odd.delivered) == (0, 16)


async def test_subscriber_that_cancels_a_task_of_its_own():
    async def cancelling(change: Any) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(anyio.sleep_forever)
            tasks.cancel_scope.cancel()
        await anyio.lowlevel.checkpoint()

    async with Processor() as processor:
        cast = Cast(processor, cancelling)
        await processor.run(played(play()))
    assert await cast.is_well()
    assert (cast.odd.failed, cast.odd.delivered) == (0, 16)


@pytest.mark.parametrize("waits", [False, True])
async def test_subscriber_that_unsubscribes_inside_its_callback(waits: bool):
    """It is not called again; what waits for it is dropped; its call goes on to its end."""
    seen = []

    async def leaving(change: Any) -> None:
        if waits:
            await anyio.lowlevel.checkpoint()
        cast.odd.close()
        await anyio.lowlevel.checkpoint()
        seen.append(change)

    async with Processor() as processor:
        cast = Cast(processor, leaving)
        await processor.run(source(sse(play())))
        await quiet()
    assert await cast.is_well()
    assert (len(seen), cast.odd.is_closed, cast.odd.delivered) == (1, True, 1)
    assert cast.odd.offered == cast.odd.delivered + cast.odd.dropped


async def test_subscriber_that_subscribes_another_inside_its_callback():
    """The other gets what comes from then on; with replay, what is known before."""
    late, replayed = Audience(), Audience()

    async def inviting(change: Any) -> None:
        if change.status == "in_progress":
            processor.add(RunTransition, late)
            processor.add(RunTransition, replayed, replay=True)

    async with Processor() as processor:
        cast = Cast(processor, Audience())
        processor.add(RunTransition, inviting)
        await processor.run(source(*frames(play()[:2]), quiet, *frames(play()[2:])))
    assert await cast.is_well()
    assert [(one.previous, one.status) for one in late] == [("in_progress", "completed")]
    assert [(one.previous, one.status) for one in replayed] == [(None, "in_progress"), ("in_progress", "completed")]


async def test_subscriber_that_starts_the_next_stream_inside_its_callback():
    """The next stream is read while the call goes on; leaving waits for it."""
    handles = []

    async def going_on(change: Any) -> None:
        if change.terminal and change.run_id == "run_1":
            handles.append(processor.start(played(play(2))))
            await anyio.lowlevel.checkpoint()

    async with Processor() as processor:
        cast = Cast(processor, Audience())
        processor.add(RunTransition, going_on)
        await processor.run(played(play()))
    assert (await handles[0].outcome()).reason == "done"
    assert [told(one for one in cast.before if one.run_id == f"run_{number}") for number in (1, 2)] == [
        await told_of(play())
    ] * 2


async def test_subscriber_that_runs_the_next_stream_inside_its_callback_is_told_how():
    failures = Audience()

    async def waiting(change: Any) -> None:
        await processor.run(played(play(2)))

    async with Processor() as processor:
        processor.on_failure(failures)
        cast = Cast(processor, waiting)
        await processor.run(played(play()))
    assert await cast.is_well()
    assert {str(one.exception).partition(":")[0] for one in failures} == {
        "run() in a callback would wait for that callback"
    }


@pytest.mark.parametrize("options", [{}, {"overflow": "latest"}, {"concurrency": 3}, {"min_interval": 0.001}])
@pytest.mark.parametrize("hangs", [False, True])
async def test_odd_subscriber_harms_nobody_whatever_its_options(options: dict[str, Any], hangs: bool):
    callback = Failing(hangs=hangs)
    async with Processor() as processor:
        cast = Cast(processor, callback, timeout=0.002, attempts=2, backoff=0, **options)
        await processor.run(played(play()))
    assert await cast.is_well()
    odd = cast.odd
    assert odd.offered == odd.delivered + odd.coalesced == 16
    assert odd.failed == odd.delivered


async def test_changes_of_a_step_are_never_transitioned_twice_to_its_end():
    ends = Audience()
    async with Processor() as processor:
        processor.add(StepTransition, ends, terminal=True, overflow="latest", min_interval=0.001)
        await processor.run(played([*play()[:7], play()[6], *play()[7:]]))
    assert [change.step_id for change in ends] == ["step_1", "writing_1"]
