"""Going on elsewhere: how far a run is settled, and the delivery of only what comes after that."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepstream import (
    Anomaly,
    Failure,
    MessageProgress,
    MessageTransition,
    Processor,
    RunTransition,
    StepProgress,
    StepTransition,
)
from stepstream.journal import MemoryJournal, publish
from stepstream.live.registration import CLASSES
from tests.support.run_streams import DONE, Audience, Sent, frames, grows, opens, play, played, run, source, sse, step
from tests.support.suspensions import quiet
from tests.support.tables import each_row
from tests.support.virtual_time import virtually

GROWING: list[Sent] = [run("queued"), step("created"), opens(), *[grows("x")] * 6, step("completed"), run("completed")]
PROGRESS = (StepProgress, MessageProgress)


# Folding silently up to an event


@each_row(
    ("chunks", "after"),
    [
        ("each-event", 0),
        ("each-event", 1),
        ("each-event", 6),
        ("each-event", 11),
        ("each-event", 50),
        ("one", 6),
        ("one", 11),
        ("events", 6),
    ],
)
async def test_what_the_events_up_to_one_did_is_folded_and_not_delivered(chunks: str, after: int):
    sent = {"each-event": played(GROWING), "one": source(sse(GROWING)), "events": source(*frames(GROWING))}
    audience, everything = Audience(), Audience()
    async with Processor() as processor:
        processor.add(CLASSES, everything)
        whole = await processor.run(played(GROWING))
    async with Processor() as processor:
        processor.add(CLASSES, audience)
        outcome = await processor.run(sent[chunks], deliver_after=after)
    assert [change for change in everything if change.sequence > after] == [
        change if change.received_at is None else _at(change, everything) for change in audience
    ]
    assert (outcome.steps, outcome.events) == (whole.steps, whole.events)


def _at(change: Any, like: list[Any]) -> Any:
    """The change as if it had come when the same one did."""
    (same,) = [one for one in like if (type(one), one.sequence) == (type(change), change.sequence)][:1]
    return same if repr(same) == repr(change) else change


async def test_handle_folds_silently_too():
    audience = Audience()
    async with Processor() as processor:
        processor.add(RunTransition, audience)
        await processor.start(played(play()), deliver_after=2).outcome()
    assert [change.status for change in audience] == ["completed"]


@pytest.mark.parametrize(("given", "error"), [(-1, ValueError), (1.5, TypeError), (None, TypeError)])
async def test_ordinal_is_checked(given: Any, error: type[Exception]):
    async with Processor() as processor:
        with pytest.raises(error, match="deliver_after"):
            await processor.run(played(play()), deliver_after=given)


# How far a run is settled


async def test_run_is_settled_up_to_the_change_that_is_being_delivered():
    go_on = anyio.Semaphore(0)
    processor = Processor()

    @processor.on(CLASSES)
    async def take(change: Any) -> None:
        await go_on.acquire()

    async with processor:
        assert processor.settled("run_1") == 0
        handle = processor.start(played([*GROWING, DONE]))
        await quiet()
        assert processor.settled("run_1") == 0
        seen = []
        for _ in range(13):
            go_on.release()
            await quiet()
            seen.append(int(processor.settled("run_1")))
        await handle.outcome()
        assert seen == [1, 2, 2, 3, 4, 5, 6, 7, 8, 9, 9, 10, 12]  # a call starts and ends in an event of the step's
        assert (processor.settled("run_1"), processor.settled("run_2")) == (12, 0)


async def test_slowest_subscriber_decides_and_each_run_is_settled_for_itself():
    gate = anyio.Event()
    sent = [run("queued", 1), run("queued", 2), run("in_progress", 2), run("in_progress", 1)]
    async with Processor() as processor:
        processor.add(RunTransition, Audience())
        processor.add(RunTransition, Audience(gate), run_id="run_2", status="in_progress")
        handle = processor.start(source(*frames(sent), anyio.Event()))
        await quiet()
        assert (processor.settled("run_1"), processor.settled("run_2")) == (4, 2)
        gate.set()
        await quiet()
        assert processor.settled("run_2") == 4
        await handle.cancel()


async def test_change_that_names_no_run_counts_for_every_run_of_its_stream():
    gate = anyio.Event()
    sent = [("thread.run.step.delta", {"id": "step_9"}), run("queued", 1), run("queued", 2)]
    async with Processor() as processor:
        processor.add(Anomaly, Audience(gate))
        handle = processor.start(source(*frames(sent), anyio.Event()))
        await quiet()
        assert (processor.settled("run_1"), processor.settled("run_2")) == (0, 0)
        gate.set()
        await quiet()
        assert (processor.settled("run_1"), processor.settled("run_2")) == (3, 3)
        await handle.cancel()


async def test_iterator_settles_what_its_reader_took():
    async with Processor() as processor, processor.subscribe(RunTransition) as changes:
        await processor.run(played(play()))
        assert processor.settled("run_1") == 0
        for expected in (1, len(play()) - 2, len(play())):
            await anext(changes)
            assert processor.settled("run_1") == expected


async def test_change_that_failed_for_good_is_settled_and_one_that_is_tried_again_is_not():
    seen = []
    processor = Processor()

    @processor.on(RunTransition, status="queued", attempts=2, backoff=0)
    async def fail(change: RunTransition) -> None:
        seen.append(int(processor.settled("run_1")))
        raise ValueError("no")

    async with processor:
        await processor.run(played(play()))
    assert (seen, processor.settled("run_1")) == ([0, 0], len(play()))


async def test_what_a_subscriber_was_closed_with_is_settled_only_where_its_user_closed_it():
    async with Processor() as processor:
        gate = anyio.Event()
        closed = processor.add(RunTransition, Audience(gate))
        handle = processor.start(played(play()))
        await quiet()
        closed.close()
        await handle.outcome()
        assert processor.settled("run_1") == len(play())
        slow = processor.add(RunTransition, Audience(gate), overflow="close", buffer=1)
        await processor.run(played(play(2)))
        assert (slow.is_closed, processor.settled("run_2")) == (True, 0)
        assert await processor.settled("run_2") == 0
        gate.set()


async def test_what_was_not_delivered_when_the_processor_was_cancelled_stays_unsettled():
    processor = Processor()
    processor.add(RunTransition, Audience(anyio.Event()), status="in_progress")
    with anyio.CancelScope() as scope:
        async with processor:
            processor.start(source(*frames(play()), anyio.Event()))
            await quiet()
            scope.cancel()
    assert processor.settled("run_1") == [name for name, _ in play()].index("thread.run.in_progress")


async def test_position_of_a_run_that_goes_on_is_never_below_what_was_settled_before():
    gate = anyio.Event()
    async with Processor() as processor:
        processor.add(RunTransition, Audience(gate))
        handle = processor.start(source(*frames(play()[:2]), anyio.Event()), deliver_after=5)
        await quiet()
        assert processor.settled("run_1") == 5
        await handle.cancel()


# Waiting for it


async def test_wait_returns_when_what_came_is_settled_though_more_comes():
    gates = [anyio.Event() for _ in range(3)]
    more = anyio.Event()
    got = []
    async with Processor() as processor:

        @processor.on(RunTransition)
        async def take(change: RunTransition) -> None:
            await gates[change.sequence - 1].wait()

        sent = source(*frames([run("queued")]), more, *frames([run("in_progress"), run("completed")]))
        handle = processor.start(sent)
        await quiet()

        async def wait() -> None:
            got.append(await processor.settled("run_1"))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait)
            await quiet()
            more.set()
            await quiet()
            assert got == []
            gates[0].set()
            await quiet()
            assert got == [1]
        gates[1].set()
        gates[2].set()
        await handle.outcome()
        assert await processor.settled("run_1") == 3


async def test_run_still_waits_for_its_changes_after_it_was_asked_how_far_it_is():
    gate, audience = anyio.Event(), []
    async with Processor() as processor:

        @processor.on(RunTransition)
        async def take(change: RunTransition) -> None:
            await gate.wait()
            audience.append(change.status)

        handle = processor.start(played(play()))
        await quiet()
        with anyio.move_on_after(0):
            await processor.settled("run_1")
        await quiet()
        assert not handle.is_finished
        gate.set()
        await handle.outcome()
    assert audience == ["queued", "in_progress", "completed"]


async def test_wait_in_a_callback_is_refused():
    errors = []
    processor = Processor()

    @processor.on(RunTransition, status="queued")
    async def wait(change: RunTransition) -> None:
        try:
            await processor.settled("run_1")
        except RuntimeError as error:
            errors.append(str(error))

    async with processor:
        await processor.run(played(play()))
        assert await processor.settled("unknown") == 0
    assert errors == ["settled() in a callback would wait for that callback: await it in a task of your own"]


# Of a run's journal


async def a_life(journal: MemoryJournal, position: int, most: int, told: list[str]) -> int:
    """Deliver a run from a position on, die in the call after `most` changes, and return what was settled then."""
    processor, left = Processor(), most
    with anyio.CancelScope() as scope:

        @processor.on(RunTransition, StepTransition)
        async def take(change: Any) -> None:
            nonlocal left
            left -= 1
            told.append(change.key)
            if left < 0:
                scope.cancel()
                await anyio.lowlevel.checkpoint()

        async with processor:
            await processor.run(journal.follow("run_1"), deliver_after=position)
    return int(processor.settled("run_1"))


@each_row("most", [1, 2, 3, 5, 50])
async def test_worker_that_goes_on_at_the_position_of_a_journal_delivers_the_rest(most: int):
    journal, told, position, lives = MemoryJournal(), list[str](), 0, 0
    await publish(played(play()), journal)
    last = len(play()) - 1  # done has no position
    while position < last:
        before, position = position, await a_life(journal, position, most, told)
        lives += 1
        assert position > before
    whole = list[str]()
    await a_life(journal, 0, 100, whole)
    assert list(dict.fromkeys(told)) == whole
    assert len(told) == len(whole) + lives - 1  # what was in hand at each death comes again, and nothing else


# Whatever the subscribers are


@dataclass
class Part:
    """A subscriber, which lives twice."""

    classes: tuple[type[Any], ...]
    options: dict[str, Any]
    takes: float
    raises_at: int
    closes_at: int
    """It closes its own subscription after so many calls; 0: never."""
    lives: list["Life"] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.coalesces:  # else a second attempt may be left out for newer progress, which no callback can see
            self.options.pop("attempts", None)

    @property
    def coalesces(self) -> bool:
        return self.options.get("overflow") == "latest" or "min_interval" in self.options


@dataclass
class Life:
    """What happened to a subscriber in one process."""

    part: Part
    subscription: Any = None
    called: list[tuple[str, int]] = field(default_factory=list)
    dealt_with: set[tuple[str, int]] = field(default_factory=set)
    ended: int | None = None
    """How much had been published when it was closed."""

    async def __call__(self, change: Any) -> None:
        self.called.append(name(change))
        number = len(self.called)
        await anyio.sleep(self.part.takes)
        if number == self.part.closes_at:
            self.subscription.close()
        if self.part.raises_at and number % self.part.raises_at == 0:
            raise ValueError("no")
        self.dealt_with.add(name(change))

    def watch_closing(self, published: list[Any]) -> None:
        counting = self.subscription._mailbox.on_close

        def closed() -> None:
            self.ended = len(published)
            counting()

        self.subscription._mailbox.on_close = closed


def name(change: Any) -> tuple[str, int]:
    return repr(change), change.sequence


LIVELY: list[Sent] = [*play()[:-1], *[("thread.run.step.delta", {"id": "step_9"})] * 2, *GROWING[1:-1], DONE]

some = st.builds(
    Part,
    classes=st.sampled_from([CLASSES, (RunTransition,), (StepProgress, StepTransition), (StepTransition, Anomaly)]),
    options=st.fixed_dictionaries(
        {"timeout": st.sampled_from([0.15, 3.0])},
        optional={
            "buffer": st.sampled_from([1, 3, 50]),
            "overflow": st.sampled_from(["block", "latest", "close"]),
            "min_interval": st.sampled_from([0.25]),
            "attempts": st.integers(1, 2),
            "backoff": st.sampled_from([0, 0.2]),
            "concurrency": st.integers(1, 3),
            "max_failures": st.sampled_from([2]),
            "where": st.just(lambda change: change.sequence % 3 != 1),
        },
    ),
    takes=st.sampled_from([0.0, 0.0, 0.1, 0.2]),
    raises_at=st.sampled_from([0, 0, 1, 3]),
    closes_at=st.sampled_from([0, 0, 0, 2]),
)


async def slowly(sent: list[Sent]) -> AsyncGenerator[bytes, None]:
    for one in sent:
        await anyio.sleep(0.1)
        yield sse([one])


async def lived(parts: list[Part], after: int, seconds: float | None) -> tuple[int, list[Any]]:
    """Play the stream to subscribers, as long as their process lives. Return how far it is settled, and what came."""
    published: list[Any] = []
    processor = Processor(drain_timeout=1_000)

    def note(change: Any) -> bool:
        published.append(change)
        return False

    async def note_failure(failure: Failure) -> None:
        if failure.is_final and failure.change is not None:
            life = next(part.lives[-1] for part in parts if part.lives[-1].subscription is failure.subscription)
            life.dealt_with.add(name(failure.change))

    processor.on_failure(note_failure)
    processor.add(CLASSES, Audience(), where=note)
    for part in parts:
        part.lives.append(life := Life(part))
        life.subscription = processor.add(part.classes, life, **part.options)
        life.watch_closing(published)
    at_the_kill = 0
    with anyio.CancelScope() as scope:
        async with processor:
            handle = processor.start(slowly(LIVELY), deliver_after=after)
            if seconds is not None:
                await anyio.sleep(seconds)
                at_the_kill = int(processor.settled("run_1"))
                scope.cancel()
            await handle.ended()
    position = int(processor.settled("run_1"))
    assert position >= at_the_kill
    return position, published


def left(part: Part, published: list[Any]) -> list[Any]:
    """What a subscriber that was not closed by its user had not dealt with."""
    life = part.lives[0]
    if life.subscription._mailbox.is_dismissed:
        return []
    offered = published[: life.ended]
    wanted = [one for one in offered if isinstance(one, part.classes) and part.options.get("where", bool)(one)]
    found = [one for one in wanted if name(one) not in life.dealt_with]
    if not part.coalesces:
        return found
    replacing = [one for one in wanted if isinstance(one, PROGRESS) or ("min_interval" in part.options and is_end(one))]
    newest = {about(one): one.sequence for one in replacing}
    return [
        one
        for one in found
        if not isinstance(one, PROGRESS) or name(one) in life.called or newest[about(one)] == one.sequence
    ]


def is_end(change: Any) -> bool:
    return isinstance(change, (StepTransition, MessageTransition)) and change.terminal


def about(change: Any) -> str:
    return getattr(change, "step_id", None) or change.message_id


async def restarted(parts: list[Part], dies: float | None) -> None:
    for part in parts:
        part.lives.clear()
    position, published = await lived(parts, 0, dies)
    is_open = [not part.lives[0].subscription.is_closed or part.lives[0].subscription.dropped for part in parts]
    for part, counts in zip(parts, is_open, strict=True):
        if counts:
            assert [one for one in left(part, published) if one.sequence <= position] == []
    if position < max((one.sequence for one in published), default=0):
        assert [one for part in parts for one in left(part, published) if one.sequence == position + 1]
    if position == len(LIVELY):
        return
    _, again = await lived(parts, position, None)
    assert all(sequence > position for part in parts for _, sequence in part.lives[1].called)
    for part in parts:
        life = part.lives[1]
        if not part.coalesces:
            wanted = [one for one in again if isinstance(one, part.classes)]
            expected = [one for one in wanted if part.options.get("where", bool)(one)]
            called = list(dict.fromkeys(life.called))
            assert called == list(map(name, expected))[: len(called)]
            assert life.subscription.is_closed or len(called) == len(expected)


lives = st.lists(some, min_size=1, max_size=3), st.sampled_from([0.07, 0.47, 1.02, 1.43, 1.97, 2.52, None])


@given(*lives)
def test_restart_delivers_exactly_what_was_not_settled(parts: list[Part], dies: float | None):
    virtually(restarted, parts, dies)


@pytest.mark.slow
@settings(max_examples=500, deadline=None)
@given(*lives)
def test_thousand_restarts_deliver_exactly_what_was_not_settled(parts: list[Part], dies: float | None):
    virtually(restarted, parts, dies)
