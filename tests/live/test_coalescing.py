"""What newer progress replaces the progress of: a step or message, a run, a context. And filters by context."""

from typing import Any

import anyio
import pytest

from stepstream import MessageProgress, Processor, RunTransition, StepProgress, StepTransition
from stepstream.live.registration import CLASSES
from tests.support.run_streams import DONE, Audience, Sent, grows, opens, play, played, run, source, sse, step
from tests.support.suspensions import quiet
from tests.support.virtual_time import in_virtual_time


class Clocked(list[tuple[float, Any]]):
    def __init__(self) -> None:
        super().__init__()
        self.start = anyio.current_time()

    async def __call__(self, change: Any) -> None:
        self.append((round(anyio.current_time() - self.start, 6), change))

    def short(self) -> list[tuple[float, str, str]]:
        return [(time, type(change).__name__, getattr(change, "step_id", change.run_id)) for time, change in self]


def two_steps(number: int = 1, count: int = 20) -> list[Sent]:
    """Two steps of a run that grow in turn."""
    one, two = f"step_{number}a", f"step_{number}b"
    deltas = [grows("x", step_id=step_id) for _ in range(count) for step_id in (one, two)]
    begins = [
        event for step_id in (one, two) for event in (step("created", number, step_id=step_id), opens(step_id=step_id))
    ]
    return [*begins, *deltas, run("completed", number), DONE]


async def tenths(sent: list[Sent]) -> Any:
    for one in sent:
        yield sse([one])
        await anyio.sleep(0.1)


@in_virtual_time
async def test_calls_for_all_steps_of_a_run_are_paced_together():
    seen = Clocked()
    async with Processor() as processor:
        processor.add((StepProgress, RunTransition), seen, min_interval=1, coalesce_by="run")
        await processor.run(tenths(two_steps()))
    times = [time for time, change in seen if isinstance(change, StepProgress)]
    assert times == [round(0.1 + number, 6) for number in range(5)]
    assert [kind for _, kind, _ in seen.short()] == ["StepProgress"] * 5 + [
        "RunTransition"
    ]  # its end replaced the last


@in_virtual_time
async def test_end_of_a_step_replaces_only_its_own_progress():
    seen = Clocked()
    begins = [step("created"), opens(), step("created", step_id="other"), opens(step_id="other")]
    async with Processor() as processor:
        processor.add((StepProgress, StepTransition), seen, min_interval=1, coalesce_by="run")
        held_of_other = [*begins, grows("x"), grows("x", step_id="other"), step("completed")]
        held_of_it = [grows("x", step_id="other"), step("completed", step_id="other"), run("completed"), DONE]
        await processor.run(played([*held_of_other, *held_of_it]))
    assert seen.short() == [
        (0, "StepTransition", "step_1"),
        (0, "StepTransition", "other"),
        (0, "StepTransition", "step_1"),
        (0, "StepTransition", "other"),
    ]


async def test_latest_keeps_one_progress_of_a_run():
    gate, audience = anyio.Event(), []
    processor = Processor()

    @processor.on(StepProgress, RunTransition, overflow="latest", coalesce_by="run")
    async def take(change: Any) -> None:
        audience.append((type(change).__name__, change.run_id))
        await gate.wait()

    async with processor:
        for number in (1, 2):
            processor.start(played(two_steps(number)))
        await anyio.wait_all_tasks_blocked()
        gate.set()
    progress = [run_id for kind, run_id in audience if kind == "StepProgress"]
    assert sorted(progress) in (["run_1", "run_2"], ["run_1", "run_1", "run_2"], ["run_1", "run_2", "run_2"])
    assert len(audience) == len(progress) + 2


@in_virtual_time
async def test_runs_of_equal_contexts_are_paced_together_and_those_of_none_each_by_itself():
    by_context: dict[Any, list[float]] = {"channel": [], None: []}

    async def take(change: Any) -> None:
        by_context[change.context].append(anyio.current_time())

    async with Processor() as processor:
        processor.add(StepProgress, take, min_interval=1, coalesce_by="context", concurrency=4)
        async with anyio.create_task_group() as tasks:
            for number, context in enumerate(["channel", "chan" + "nel", None, None]):
                tasks.start_soon(processor.run, tenths(two_steps(number)), context)
    start = min(map(min, by_context.values()))
    counts = {context: sum(time < start + 3.5 for time in times) for context, times in by_context.items()}
    assert counts == {"channel": 4, None: 8}


@in_virtual_time
async def test_end_of_another_run_of_the_context_does_not_replace_what_waits():
    seen, context = Clocked(), ["a list, which has no hash"]
    async with Processor() as processor:
        processor.add(
            (StepProgress, RunTransition), seen, min_interval=1, coalesce_by="context", run_id=["run_1", "run_2"]
        )
        growing = source(sse([step("created"), opens()]), quiet, sse([grows("x")]), anyio.Event())
        handle = processor.start(growing, context)
        await quiet()
        await processor.run(played([run("queued", 2), run("completed", 2), DONE]), context)
        await anyio.sleep(2)
        await handle.cancel()
    assert seen.short() == [
        (0, "StepProgress", "step_1"),
        (0, "RunTransition", "run_2"),
        (0, "RunTransition", "run_2"),
        (1, "StepProgress", "step_1"),
    ]


async def test_filter_lets_pass_what_belongs_to_a_context():
    channel, got = object(), {}
    async with Processor() as processor:
        for name, wanted in {"object": channel, "equal": ("c", 1), "none": None}.items():
            got[name] = Audience()
            processor.add(CLASSES, got[name], context=wanted)
        iterated = processor.subscribe(MessageProgress, context=channel)
        async with iterated as changes:
            for number, context in enumerate([channel, ("c", 1), None], 1):
                await processor.run(played(play(number)), context)
            texts = [await anext(changes) for _ in range(changes.subscription.offered)]
    found = {name: {change.run_id for change in changes} for name, changes in got.items()}
    assert found == {"object": {"run_1"}, "equal": {"run_2"}, "none": {"run_3"}}
    assert {change.run_id for change in texts} == {"run_1"}


async def test_filter_by_context_goes_with_all_other_filters_and_with_replay():
    async with Processor() as processor:
        audience, replayed = Audience(), Audience()
        processor.add(RunTransition, audience, context="a", status="completed", run_id=["run_1", "run_2"])
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(processor.run, played(play(1)), "a")
            tasks.start_soon(processor.run, played(play(2)), "b")
        waiting = [*play(3)[:2], run("requires_action", 3)]
        await processor.run(played([*waiting, DONE]), "c")
        processor.add(RunTransition, replayed, context="c", replay=True)
    assert [(change.run_id, change.status) for change in audience] == [("run_1", "completed")]
    assert [(change.run_id, change.event) for change in replayed] == [("run_3", "replay")]


@pytest.mark.parametrize("where", ["on", "add", "subscribe"])
def test_filter_by_context_takes_any_object(where: str):
    processor = Processor()
    given = (RunTransition, Audience()) if where == "add" else (RunTransition,)
    for context in (None, 0, "channel", ["list"], {"a": 1}):
        getattr(processor, where)(*given, context=context)


class Moody:
    """A context that cannot be compared, and of which others say that they have its hash."""

    def __hash__(self) -> int:
        return 1

    def __eq__(self, other: object) -> bool:
        raise ValueError("no")


async def test_context_that_cannot_be_compared_harms_nobody(caplog: pytest.LogCaptureFixture):
    everything, own = Audience(), Audience()
    async with Processor() as processor:
        processor.add(RunTransition, everything)
        processor.add(RunTransition, own, context=Moody())
        await processor.run(played(play()), Moody())
    assert (len(everything), own) == (3, [])
    assert {record.message for record in caplog.records} == {"a context cannot be compared"}


async def test_subscribers_of_other_contexts_cost_a_change_nothing():
    offered: list[int] = []
    async with Processor() as processor:
        subscriptions = [processor.add(CLASSES, Audience(), context=number) for number in range(300)]
        unhashable: list[Any] = [[], []]
        subscriptions += [processor.add(CLASSES, Audience(), context=one) for one in unhashable]
        for context in (7, unhashable[1]):
            outcome = await processor.run(played(play()), context)
            offered += [place for place, one in enumerate(subscriptions) if one.offered]
            change = RunTransition("", 1, context, "", None, None, "queued", False, "", outcome.run)
            assert len(processor._routes.mailboxes_of(change)) == 1
    assert offered == [7, 7, 301]


async def test_subscriber_of_a_context_may_come_and_go_while_its_stream_is_read():
    audience, early = Audience(), anyio.Event()
    async with Processor() as processor:
        handle = processor.start(source(sse([step("created"), opens(), grows("x")]), early, sse([grows("y")] * 5)), "c")
        await quiet()
        subscription = processor.add(StepProgress, audience, context="c")
        early.set()
        await handle.ended()
        subscription.close()
    assert [change.sequence for change in audience] == [4, 5, 6, 7, 8]
