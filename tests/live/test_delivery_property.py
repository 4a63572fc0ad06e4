"""Whatever the subscribers are and do: what each is promised, it gets, and others notice only where that was chosen.

Each example is a script: streams with their pauses, subscribers with their options, manners and moments. It is played
in virtual time, so that a minute of waiting costs nothing and a moment can be compared exactly.
"""

import math
from collections import Counter, defaultdict
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from typing import Any

import anyio
from hypothesis import given, settings
from hypothesis import strategies as st

from stepstream import (
    Change,
    Failure,
    MessageProgress,
    MessageTransition,
    Processor,
    RunTransition,
    StepProgress,
    StepTransition,
    Subscription,
    ToolCallFinished,
    ToolCallStarted,
)
from stepstream.live.paced_queue import PacedQueue
from stepstream.live.registration import CLASSES
from tests.support.run_streams import DONE, Sent, call, grows, message, opens, run, says, sse, step, writing
from tests.support.virtual_time import virtually

PROGRESS = (StepProgress, MessageProgress)
MOST_CHANGES = 8
"""One event of these streams does no more."""

Classes = tuple[type[Any], ...]


@dataclass
class Stream:
    number: int
    sent: list[Sent]
    pauses: list[float]
    starts: float


@dataclass
class Part:
    """A subscriber of a script."""

    classes: Classes
    options: dict[str, Any]
    joins: float
    leaves: float | None
    takes: float
    raises_at: int
    """Every so many calls, 0: never."""
    hangs_at: int
    cancels_at: int
    leaves_at: int
    """It closes its own subscription in this call, 0: never."""


@st.composite
def stories(draw: st.DrawFn, number: int) -> list[Sent]:
    """The events of one run: steps and a message that overlap."""
    told = []
    for place in range(draw(st.integers(1, 2))):
        name, count = f"step_{number}_{place}", draw(st.integers(0, 6))
        deltas = [opens(number, step_id=name), *[grows("x", step_id=name)] * count]
        end = step(draw(st.sampled_from(["completed", "failed"])), number, step_id=name, calls=[call(number, "x")])
        told.append([step("created", number, step_id=name), *deltas, *[end] * draw(st.integers(1, 2))])
    if draw(st.booleans()):
        texts = [says("x", number)] * draw(st.integers(0, 4))
        text = "x" * len(texts)
        ends = [message("completed", number, text), writing("completed", number)]
        told.append([writing("created", number), message("created", number), *texts, *ends])
    turns = draw(st.permutations([place for place, story in enumerate(told) for _ in story]))
    left = [iter(story) for story in told]
    between = [next(left[turn]) for turn in turns]
    return [run("queued", number), run("in_progress", number), *between, run("completed", number), DONE]


@st.composite
def streams(draw: st.DrawFn, number: int) -> Stream:
    sent = draw(stories(number))
    pauses = draw(st.lists(st.sampled_from([0.0, 0.0, 0.1, 1.0]), min_size=len(sent), max_size=len(sent)))
    return Stream(number, sent, pauses, draw(st.sampled_from([0.0, 0.3])))


OPTIONS = st.fixed_dictionaries(
    {"timeout": st.sampled_from([0.5, 3.0])},
    optional={
        "buffer": st.sampled_from([1, 2, 5, 50]),
        "overflow": st.sampled_from(["block", "latest", "close"]),
        "min_interval": st.sampled_from([0.25, 2.0]),
        "attempts": st.integers(1, 3),
        "backoff": st.sampled_from([0, 0.2]),
        "concurrency": st.integers(1, 3),
        "max_failures": st.sampled_from([2, 20]),
        "replay": st.booleans(),
        "run_id": st.sampled_from(["run_0", ["run_0", "run_1"]]),
        "where": st.just(lambda change: change.sequence % 3 != 1),
    },
)

WITH_RUN: Classes = tuple(one for one in CLASSES if one.__name__ != "Anomaly")

PACED = (*PROGRESS, StepTransition, MessageTransition)

parts = st.builds(
    Part,
    classes=st.sampled_from(
        [WITH_RUN, (StepProgress,), (StepTransition,), (StepProgress, StepTransition), (RunTransition, MessageProgress),
         (MessageProgress, MessageTransition), (ToolCallStarted, ToolCallFinished, StepProgress)]
    ),
    options=OPTIONS,
    joins=st.sampled_from([0.0, 0.0, 0.0, 0.7, 2.0]),
    leaves=st.sampled_from([None, None, None, 1.5]),
    takes=st.sampled_from([0.0, 0.0, 0.1, 0.4]),
    raises_at=st.sampled_from([0, 0, 1, 3]),
    hangs_at=st.sampled_from([0, 0, 0, 1, 4]),
    cancels_at=st.sampled_from([0, 0, 2]),
    leaves_at=st.sampled_from([0, 0, 0, 5]),
)  # fmt: skip


@dataclass
class Actor:
    """A subscriber at work, and everything that happened to it."""

    part: Part
    stage: "Stage"
    subscription: Any = None
    begun: int = 0
    """How much had been published when it joined."""
    ended: int | None = None
    """How much had been when it was closed."""
    calls: list[tuple[Any, float]] = field(default_factory=list)
    taken: set[int] = field(default_factory=set)
    finished: Counter[int] = field(default_factory=Counter)
    """How often the callback came to the end of its call, or failed for good, by change."""
    now: Counter[Any] = field(default_factory=Counter)
    in_hand: int = 0

    async def __call__(self, change: Any) -> None:
        assert not self.subscription.is_closed
        self.calls.append((change, anyio.current_time()))
        self.now[change.run_id] += 1
        assert self.now[change.run_id] == 1  # those of one run come one after another
        try:
            await self._act(len(self.calls))
            self.finished[id(change)] += 1
        finally:
            self.now[change.run_id] -= 1

    async def _act(self, number: int) -> None:
        part = self.part
        if number == part.leaves_at:
            self.leave()
        if part.takes:
            await anyio.sleep(part.takes)
        if part.hangs_at and number % part.hangs_at == 0:
            await anyio.sleep_forever()
        if part.cancels_at and number % part.cancels_at == 0:
            with anyio.CancelScope() as scope:
                scope.cancel()
                await anyio.sleep_forever()
        if part.raises_at and number % part.raises_at == 0:
            raise ValueError("of the callback")

    def leave(self) -> None:
        self.subscription.close()

    def watch_closing(self) -> None:
        """Note how much had been published when it was closed, whoever does that."""
        counting = self.subscription._mailbox.on_close

        def closed() -> None:
            self.ended = len(self.stage.published)
            counting()

        self.subscription._mailbox.on_close = closed

    @property
    def is_paced(self) -> bool:
        return "min_interval" in self.part.options

    @property
    def coalesces(self) -> bool:
        return self.is_paced or self.part.options.get("overflow") == "latest"

    @property
    def blocks(self) -> bool:
        return self.part.options.get("overflow", "block") == "block"

    @property
    def offered(self) -> list[Any]:
        """What was published for it."""
        return [one for one in self.stage.published[self.begun : self.ended] if self._wants(one)]

    def _wants(self, change: Any) -> bool:
        options = self.part.options
        runs, where = options.get("run_id", change.run_id), options.get("where", lambda change: True)
        return isinstance(change, self.part.classes) and change.run_id in ([runs], runs)[isinstance(runs, list)] and (
            where(change)
        )  # fmt: skip


class Stage:
    """A script being played."""

    def __init__(self, cast: list[Stream], actors: list[Part]) -> None:
        self.cast = cast
        self.actors = [Actor(part, self) for part in actors]
        self.published: list[Any] = []
        self.times: dict[int, list[float]] = defaultdict(list)
        self.processor = Processor(drain_timeout=1_000_000)

    async def play(self) -> None:
        self.start = anyio.current_time()
        async with self.processor as processor:
            processor.on_failure(self._note)
            processor.add(WITH_RUN, self._never, where=self._look)
            for actor in self.actors:
                if not actor.part.joins:
                    self._join(actor)
            async with anyio.create_task_group() as tasks:
                for actor in self.actors:
                    tasks.start_soon(self._lead, actor)
                for stream in self.cast:
                    tasks.start_soon(self._read, stream)
            self.end = anyio.current_time()
        for actor in self.actors:
            self._check(actor)
        self._check_ends()
        self._check_times()

    async def _never(self, change: Change) -> None:
        raise AssertionError("the predicate lets nothing pass")

    def _look(self, change: Any) -> bool:
        """Note what is published, in the moment in which it is."""
        self.published.append(change)
        self.times[change.context].append(anyio.current_time())
        for actor in self.actors:
            if actor.subscription is not None:
                self._check_counters(actor)
        return False

    async def _note(self, failure: Failure) -> None:
        (actor,) = [one for one in self.actors if one.subscription is failure.subscription]
        assert failure.attempt <= actor.part.options.get("attempts", 1)
        if failure.is_final and failure.change is not None:
            actor.finished[id(failure.change)] += 1

    def _join(self, actor: Actor) -> None:
        actor.begun = len(self.published)
        actor.subscription = self.processor.add(actor.part.classes, actor, **actor.part.options)
        if actor.subscription.is_closed:
            actor.ended = actor.begun
        else:
            actor.watch_closing()

    async def _lead(self, actor: Actor) -> None:
        if actor.subscription is None:
            await anyio.sleep(actor.part.joins)
            self._join(actor)
        if actor.part.leaves is not None:
            await anyio.sleep(actor.part.leaves)
            actor.leave()

    async def _read(self, stream: Stream) -> None:
        await anyio.sleep(stream.starts)
        await self.processor.run(self._source(stream), context=stream.number)
        for actor in self.actors:  # it returns only now that everybody has had everything
            subscription: Subscription | None = actor.subscription
            if subscription is not None and not subscription.is_closed and not actor.coalesces:
                own = [one for one in actor.offered if one.context == stream.number]
                assert len(own) == sum(1 for one in own if id(one) in {id(change) for change, _ in actor.calls})
            if subscription is not None and not subscription.is_closed:
                waiting = {id(entry[0]) for entry in self._waiting(subscription)}
                assert not [one for one in actor.offered if one.context == stream.number and id(one) in waiting]

    async def _source(self, stream: Stream) -> AsyncGenerator[bytes, None]:
        for one, pause in zip(stream.sent, stream.pauses, strict=True):
            await anyio.sleep(pause)
            yield sse([one])

    def _waiting(self, subscription: Subscription) -> list[Any]:
        backlog: Any = subscription._mailbox.queue
        return list(backlog if isinstance(backlog, PacedQueue) else backlog._entries)

    def _check_counters(self, actor: Actor) -> None:
        one = actor.subscription
        known = one.delivered + one.coalesced + one.dropped + len(one._mailbox.queue)
        assert 0 <= one.offered - known <= actor.part.options.get("concurrency", 1)
        if one.is_closed:
            return
        assert one._mailbox.gate.taken == one.offered - one.delivered - one.coalesced
        waiting = self._waiting(one)
        assert len(waiting) == len(one._mailbox.queue)
        progress = Counter(about(entry[0]) for entry in waiting if isinstance(entry[0], PROGRESS))
        if actor.coalesces:
            assert max(progress.values(), default=0) <= 1
        others = len(waiting) - progress.total() if actor.is_paced else len(waiting)
        replayed = sum(entry[0].event == "replay" for entry in waiting)
        if actor.blocks or actor.part.options.get("overflow") == "close":
            assert others <= one._mailbox.delivery.buffer + len(self.cast) * MOST_CHANGES + replayed

    def _check(self, actor: Actor) -> None:
        one = actor.subscription
        if one is None:
            return
        assert one.offered == one.delivered + one.coalesced + one.dropped
        assert (len(one._mailbox.queue), one._mailbox.gate.taken) == (0, 0)
        live = [change for change, _ in actor.calls if change.event != "replay"]
        offered = actor.offered
        places = {id(change): place for place, change in enumerate(offered)}
        assert all(id(change) in places for change in live)  # nothing else, and nothing after the end
        attempts = Counter(map(id, live))
        assert max(attempts.values(), default=0) <= one._mailbox.delivery.attempts
        self._check_order(actor, live, places)
        self._check_pace(actor)
        if actor.ended is None or actor.ended == len(self.published):
            self._check_nothing_is_missing(actor, offered, attempts)

    def _check_order(self, actor: Actor, live: list[Any], places: dict[int, int]) -> None:
        """Check that each run's changes came in order; those of a paced subscriber, but for held progress."""
        by_run: dict[Any, list[int]] = defaultdict(list)
        for change in live:
            if not (actor.is_paced and isinstance(change, PROGRESS)):
                by_run[change.run_id].append(places[id(change)])
        for order in by_run.values():
            assert order == sorted(order)

    def _check_pace(self, actor: Actor) -> None:
        """Check that progress, and each second attempt, came no sooner than `min_interval` after the last call."""
        options = actor.part.options
        if {"replay", "run_id"} <= options.keys():
            return  # it ends with its runs, and then nothing is held back
        last: dict[str, tuple[Any, float]] = {}
        for change, time in actor.calls:
            if not isinstance(change, PACED) or time >= self.end:
                continue
            before, called = last.get(about(change), (None, -math.inf))
            if isinstance(change, PROGRESS) or before is change:
                assert time - called >= options.get("min_interval", 0) - 1e-6
            last[about(change)] = change, time

    def _check_nothing_is_missing(self, actor: Actor, offered: list[Any], attempts: Counter[int]) -> None:
        if actor.subscription.dropped:
            return  # it was closed in the very moment of the end
        newest: dict[str, Any] = {}
        for change in offered:
            if actor.coalesces and isinstance(change, PROGRESS):
                newest[about(change)] = change
            else:
                assert (attempts[id(change)] > 0, actor.finished[id(change)]) == (True, 1)
                if actor.is_paced and getattr(change, "terminal", False):
                    newest.pop(about(change), None)
        assert [one for one in newest.values() if not attempts[id(one)]] == []

    def _check_ends(self) -> None:
        ends = Counter(one.step_id for one in self.published if isinstance(one, StepTransition) and one.terminal)
        steps = {body["id"] for stream in self.cast for name, body in stream.sent if body and ".step.created" in name}
        assert ends == Counter(steps)

    def _check_times(self) -> None:
        """Check when things were published: as if there were no subscribers but those that block."""
        blocking = [actor.part.options for actor in self.actors if actor.blocks]
        longest = sum(_longest(options) for options in blocking) * len(self.cast) * MOST_CHANGES
        for stream in self.cast:
            times = self.times[stream.number]
            ideal, now = [], self.start + stream.starts
            by_event = Counter(one.sequence for one in self.published if one.context == stream.number)
            for sequence, pause in enumerate(stream.pauses, 1):
                now += pause
                ideal += [now] * by_event[sequence]
            late = [came - due for came, due in zip(times, ideal, strict=True)]
            assert min(late) >= -1e-6
            steps = [after - before for before, after in zip([0.0, *late], late, strict=False)]
            assert max(steps) <= longest + 1e-6


def about(change: Any) -> str:
    return str(getattr(change, "step_id", None) or getattr(change, "message_id", None) or change.run_id)


def _longest(options: dict[str, Any]) -> float:
    """How long one change may take a subscriber."""
    attempts = options.get("attempts", 1)
    pace = options.get("min_interval", 0)
    pauses = sum(max(pace, options.get("backoff", 1) * 2**number) for number in range(attempts - 1))
    return float(attempts * options["timeout"] + pauses)


casts = st.integers(1, 3).flatmap(lambda count: st.tuples(*(streams(number) for number in range(count))).map(list))


@settings(deadline=None)
@given(cast=casts, actors=st.lists(parts, max_size=4))
def test_every_subscriber_gets_what_it_is_promised(cast: list[Stream], actors: list[Part]):
    virtually(Stage(cast, actors).play)


@settings(max_examples=40, deadline=None)
@given(cast=casts, actors=st.lists(parts, min_size=1, max_size=4), overflow=st.sampled_from(["latest", "close"]))
def test_nobody_is_delayed_by_a_subscriber_that_does_not_block(cast: list[Stream], actors: list[Part], overflow: str):
    """Whatever it does: everything is published in the moment in which it came."""
    for actor in actors:
        actor.options["overflow"] = overflow
    virtually(Stage(cast, actors).play)


def stuck(timeout: float, **options: Any) -> Callable[[], Any]:
    """How long a stream that grows forty times takes beside one who never returns, and the longest wait of others."""

    async def check() -> tuple[float, float, int]:
        sent = [run("queued"), step("created"), opens(), *[grows("x")] * 40, step("completed"), run("completed"), DONE]
        times: list[float] = []
        everything = anyio.Event()

        async def hang(change: Any) -> None:
            await anyio.sleep_forever()

        async def note(change: Any) -> None:
            times.append(anyio.current_time())
            if len(times) == len(sent):
                everything.set()

        async with Processor() as processor:
            processor.add(StepProgress, hang, timeout=timeout, **options)
            processor.add(WITH_RUN, note)
            start = anyio.current_time()
            handle = processor.start(one_by_one(sent))
            await everything.wait()
            gaps = [after - before for before, after in zip([start, *times], times, strict=False)]
            processor._routes.open[0].close()
            await handle.outcome()
        return round(times[-1] - start, 6), round(max(gaps), 6), len(times)

    return check


async def one_by_one(sent: list[Sent]) -> AsyncGenerator[bytes, None]:
    for one in sent:
        yield sse([one])


def test_stuck_subscriber_delays_others_by_its_timeout_each_time_only_where_it_blocks():
    assert virtually(stuck(2.0, buffer=10)) == (64.0, 2.0, 47)
    assert virtually(stuck(2.0, buffer=10, overflow="latest")) == (0.0, 0.0, 47)
    assert virtually(stuck(2.0, buffer=10, overflow="close")) == (0.0, 0.0, 47)
    assert virtually(stuck(2.0, buffer=10, min_interval=1.0)) == (0.0, 0.0, 47)
    assert virtually(stuck(2.0)) == (0.0, 0.0, 47)
