from contextlib import nullcontext
from functools import partial
from typing import Any, Union, cast

import anyio
import pytest

from stepstream import (
    Anomaly,
    Change,
    MessageProgress,
    MessageTransition,
    Processor,
    RunStep,
    RunTransition,
    StepProgress,
    StepTransition,
    ToolCallFinished,
    ToolCallStarted,
)
from stepstream.live.filters import STATUSES
from stepstream.live.registration import CLASSES
from tests.support.run_streams import Audience, frames, grows, opens, play, played, run, source, step, told, told_of
from tests.support.suspensions import quiet
from tests.support.tables import each_row


async def note(change: Any) -> None:
    """A callback for what is not called."""


async def test_callback_gets_the_changes_of_its_class():
    audience = Audience()
    async with Processor() as processor:
        processor.add(StepTransition, audience)
        await processor.run(played(play()))
    statuses = [(change.step_id, change.previous, change.status) for change in audience]
    assert statuses == [
        ("step_1", None, "in_progress"),
        ("step_1", "in_progress", "completed"),
        ("writing_1", None, "in_progress"),
        ("writing_1", "in_progress", "completed"),
    ]


async def test_subscription_to_all_classes_gets_every_change_in_the_order_of_the_stream():
    assert await told_of(play()) == [
        ("RunTransition", 1),
        ("RunTransition", 2),
        ("StepTransition", 3),
        ("ToolCallStarted", 4),
        ("StepProgress", 4),
        ("StepProgress", 5),
        ("StepProgress", 6),
        ("ToolCallFinished", 7),
        ("StepTransition", 7),
        ("StepTransition", 8),
        ("MessageTransition", 9),
        ("MessageProgress", 10),
        ("MessageProgress", 11),
        ("MessageTransition", 12),
        ("StepTransition", 13),
        ("RunTransition", 14),
    ]


async def test_one_subscription_to_two_classes_gets_one_order():
    audience = Audience()
    async with Processor() as processor:
        processor.add((StepTransition, StepProgress), audience)
        await processor.run(played(play()))
    sequences = [change.sequence for change in audience]
    assert sequences == [3, 4, 5, 6, 7, 8, 13]


async def test_order_of_the_classes_does_not_matter():
    one, other = Audience(), Audience()
    async with Processor() as processor:
        processor.add((StepTransition, StepProgress), one)
        processor.add((StepProgress, StepTransition), other)
        await processor.run(played(play()))
    assert one == other


async def test_class_named_twice_gives_one_copy():
    audience = Audience()
    async with Processor() as processor:
        processor.add((RunTransition, RunTransition), audience)
        await processor.run(played(play()))
    assert [change.status for change in audience] == ["queued", "in_progress", "completed"]


TWO: list[Any] = [
    [StepTransition, RunTransition],
    {StepTransition, RunTransition},
    StepTransition | RunTransition,
    Union[StepTransition, RunTransition],  # noqa: UP007 - what older code has
    [StepTransition | RunTransition],
    [[StepTransition], RunTransition | StepTransition],
]


@each_row("classes", TWO, ids=["list", "set", "union", "Union", "union in a list", "nested"])
async def test_classes_may_be_a_list_or_a_union(classes: Any):
    by_add, by_on = Audience(), Audience()
    async with Processor() as processor:
        processor.add(classes, by_add)
        processor.on(classes, terminal=True)(by_on)
        async with processor.subscribe(classes, status="completed") as changes:
            assert {*changes.subscription._mailbox.classes} == {StepTransition, RunTransition}
        await processor.run(played(play()))
    assert [type(change) for change in by_add] == [RunTransition] * 2 + [StepTransition] * 4 + [RunTransition]
    assert [type(change) for change in by_on] == [StepTransition, StepTransition, RunTransition]


async def test_change_is_the_union_of_all_classes():
    audience = Audience()
    async with Processor() as processor:
        subscription = processor.add(Change, audience)
        await processor.run(played(play()))
    assert (subscription._mailbox.classes, len(audience)) == (CLASSES, 16)


async def test_callback_added_twice_gets_two_copies():
    audience = Audience()
    async with Processor() as processor:
        processor.add(RunTransition, audience)
        processor.add(RunTransition, audience)
        await processor.run(played(play()))
    assert sorted(change.sequence for change in audience) == [1, 1, 2, 2, 14, 14]


async def test_several_subscribers_each_get_everything_in_order():
    audiences = [Audience() for _ in range(5)]
    async with Processor() as processor:
        for audience in audiences:
            processor.add(CLASSES, audience)
        await processor.run(played(play()))
    expected = await told_of(play())
    assert [told(audience) for audience in audiences] == [expected] * 5


async def test_on_gives_the_decorated_function_back():
    processor = Processor()
    assert processor.on(StepTransition)(note) is note


async def test_on_filters_like_add():
    seen = []
    async with Processor() as processor:

        @processor.on(StepTransition, ToolCallStarted, run_id="run_1")
        async def look(change: StepTransition | ToolCallStarted) -> None:
            seen.append(change)

        await processor.run(played(play(1)))
        await processor.run(played(play(2)))
    assert [change.sequence for change in seen] == [3, 4, 7, 8, 13]


async def test_bound_method_partial_and_callable_object_are_callbacks():
    class Bot:
        def __init__(self) -> None:
            self.seen: list[Any] = []

        async def look(self, change: Any) -> None:
            self.seen.append(change)

    async def look(seen: list[Any], change: Any) -> None:
        seen.append(change)

    bot, seen, audience = Bot(), [], Audience()
    async with Processor() as processor:
        processor.add(RunTransition, bot.look)
        processor.add(RunTransition, partial(look, seen))
        processor.add(RunTransition, audience)
        await processor.run(played(play()))
    assert len(bot.seen) == len(seen) == len(audience) == 3


FILTERED = [
    ((StepTransition,), {"status": "completed"}, [7, 13]),
    ((StepTransition,), {"status": ["completed", "failed"]}, [7, 13]),
    ((StepTransition,), {"status": {"failed"}}, []),
    ((RunTransition,), {"status": ("queued", "completed")}, [1, 14]),
    ((MessageTransition,), {"status": "in_progress"}, [9]),
    ((StepTransition,), {"step_type": "tool_calls"}, [3, 7]),
    ((StepProgress,), {"step_type": frozenset({"tool_calls"})}, [4, 5, 6]),
    ((StepProgress,), {"step_type": "message_creation"}, []),
    ((ToolCallStarted,), {"tool_type": "function"}, [4]),
    ((ToolCallStarted,), {"tool_type": "code_interpreter"}, []),
    ((ToolCallFinished,), {"tool_name": "add"}, [7]),
    ((ToolCallFinished,), {"tool_name": ["subtract"]}, []),
    ((ToolCallStarted, ToolCallFinished), {"tool_name": "add", "tool_type": "function"}, [4, 7]),
    ((MessageProgress,), {"run_id": "run_1"}, [10, 11]),
    ((MessageProgress,), {"run_id": "run_2"}, []),
    ((RunTransition,), {"thread_id": {"thread_1": 1, "thread_2": 2}}, [1, 2, 14]),
    ((StepTransition,), {"thread_id": "thread_2"}, []),
    ((StepTransition, RunTransition, MessageTransition), {"terminal": True}, [7, 12, 13, 14]),
    ((StepTransition, RunTransition), {"terminal": False}, [1, 2, 3, 8]),
    ((StepTransition,), {"status": "completed", "step_type": "message_creation"}, [13]),
    ((StepTransition,), {"status": []}, []),
    ((StepTransition,), {"where": lambda change: change.sequence > 7}, [8, 13]),
    ((StepTransition,), {"where": lambda change: "truthy", "terminal": True}, [7, 13]),
    ((StepTransition,), {"where": lambda change: None}, []),
    (CLASSES, {"where": lambda change: change.sequence == 4}, [4, 4]),
]


@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # what a filter lets through is no matter of the event loop
@each_row(("classes", "filters", "expected"), FILTERED)
async def test_filters_let_through_what_they_name(
    classes: tuple[type, ...], filters: dict[str, Any], expected: list[int]
):
    audience = Audience()
    async with Processor() as processor:
        processor.add(classes, audience, **filters)
        await processor.run(played(play()))
    assert [change.sequence for change in audience] == expected


async def test_filters_of_an_iterator_let_through_what_they_name():
    async with Processor() as processor, processor.subscribe(StepTransition, status="completed") as changes:
        await processor.run(played(play()))
        assert [(await anext(changes)).sequence, (await anext(changes)).sequence] == [7, 13]


async def test_change_that_a_filter_stops_is_not_counted_as_offered():
    async with Processor() as processor:
        subscription = processor.add(StepTransition, note, status="completed")
        await processor.run(played(play()))
    assert (subscription.offered, subscription.delivered) == (2, 2)


LACKING = [
    (Anomaly, "status"),
    (Anomaly, "terminal"),
    (StepProgress, "status"),
    (MessageProgress, "status"),
    (ToolCallStarted, "status"),
    (RunTransition, "step_type"),
    (MessageTransition, "step_type"),
    (ToolCallFinished, "step_type"),
    (StepTransition, "tool_type"),
    (StepProgress, "tool_name"),
    (ToolCallFinished, "terminal"),
]


@each_row(("one", "name"), LACKING)
def test_filter_that_a_class_has_no_field_for_is_a_type_error(one: type, name: str):
    value: Any = True if name == "terminal" else "x"
    with pytest.raises(TypeError, match=f"^{one.__name__} has no {name}: "):
        Processor().add(one, note, **{name: value})


def test_filter_that_one_of_several_classes_has_no_field_for_is_a_type_error():
    with pytest.raises(TypeError, match="StepProgress has no status"):
        Processor().on(StepTransition, StepProgress, status="completed")


@each_row("register", ["on", "add", "subscribe"])
def test_unknown_filter_is_a_type_error(register: str):
    arguments = (StepTransition, note) if register == "add" else (StepTransition,)
    with pytest.raises(TypeError, match="got colour"):
        getattr(Processor(), register)(*arguments, colour="red")


@each_row(
    "filters",
    [
        {"status": 3},
        {"status": [1, 2]},
        {"status": b"completed"},
        {"status": None},
        {"status": (word for word in ["completed"])},
        {"terminal": "yes"},
        {"terminal": 1},
        {"where": "completed"},
        {"where": note},
    ],
    ids=lambda filters: " ".join(f"{name}-{type(value).__name__}" for name, value in filters.items()),
)
def test_filter_of_a_wrong_type_is_a_type_error(filters: dict[str, Any]):
    with pytest.raises(TypeError, match=f"expected {next(iter(filters))} as "):
        Processor().add(StepTransition, note, **filters)


class Silent:
    def __call__(self, change: Any) -> None:
        """Not async."""


@each_row("callback", [lambda change: None, print, Silent(), partial(print, 1), None, "note", Silent])
def test_callback_that_is_not_async_is_a_type_error(callback: Any):
    with pytest.raises(TypeError, match="declare it with async def"):
        Processor().add(StepTransition, callback)


class Room:
    async def nothing(self) -> None: ...

    async def one(self, change: Any) -> None: ...

    async def more(self, *changes: Any) -> None: ...


async def nothing() -> None: ...


async def two(change: Any, channel: Any) -> None: ...


async def spare(change: Any, channel: Any = None) -> None: ...


@each_row(
    ("callback", "is_fit"),
    [
        (nothing, False),
        (two, False),
        (spare, True),
        (partial(two, channel=1), True),
        (Room().nothing, False),
        (Room().one, True),
        (Room().more, True),
    ],
)
def test_callback_takes_one_change(callback: Any, is_fit: bool):
    with nullcontext() if is_fit else pytest.raises(TypeError, match="expected a callback that takes one argument"):
        Processor().add(StepTransition, callback)


def test_refused_function_does_not_show_its_arguments():
    with pytest.raises(TypeError, match="got print: declare it") as callback:
        Processor().add(StepTransition, cast(Any, partial(print, "sk-of-mine")))
    with pytest.raises(TypeError, match=r"got partial$") as predicate:
        Processor().add(StepTransition, note, where=partial(note, "sk-of-mine"))
    assert "sk-of-mine" not in f"{callback.value} {predicate.value}"


def test_callback_that_is_not_async_is_refused_by_on_too():
    with pytest.raises(TypeError, match="declare it with async def"):
        Processor().on(StepTransition)(lambda change: None)


def test_refused_callback_is_not_registered():
    processor = Processor()
    with pytest.raises(TypeError):
        processor.add(StepTransition, print)
    assert repr(processor) == "<Processor 0 subscribers, 0 events, 0 anomalies>"


@each_row("register", [Processor.on, Processor.subscribe])
def test_no_class_is_a_type_error(register: Any):
    with pytest.raises(TypeError, match="at least one class of change"):
        register(Processor())


def test_no_class_in_add_is_a_type_error():
    with pytest.raises(TypeError, match="at least one class of change"):
        Processor().add((), note)


@each_row("one", [RunStep, object, note, "StepTransition", StepTransition | RunStep, [None]])
def test_what_is_no_class_of_change_is_a_type_error(one: Any):
    with pytest.raises(TypeError, match=r"^expected classes of change \(StepTransition, "):
        Processor().on(StepTransition, one)


async def test_subscriber_added_before_the_block_gets_everything():
    processor, audience = Processor(), Audience()
    processor.add(RunTransition, audience)
    async with processor:
        await processor.run(played(play()))
    assert len(audience) == 3


async def test_subscriber_added_during_a_stream_gets_what_comes_from_then_on():
    go_on, audience = anyio.Event(), Audience()
    sent = frames(play())
    async with Processor() as processor:
        processor.start(source(*sent[:7], go_on, *sent[7:]))
        await quiet()
        processor.add(StepTransition, audience)
        go_on.set()
    assert [change.sequence for change in audience] == [8, 13]


async def test_subscriber_added_while_a_step_grows_gets_the_progress_from_then_on():
    """Another one asks for that step by its id, so it is known who wants its progress."""
    go_on, early, late = anyio.Event(), Audience(), Audience()
    sent = frames(play())
    async with Processor() as processor:
        processor.add(StepProgress, early, step_id="step_1")
        processor.start(source(*sent[:5], go_on, *sent[5:]))
        await quiet()
        processor.add(StepProgress, late)
        go_on.set()
    assert ([change.sequence for change in early], [change.sequence for change in late]) == ([4, 5, 6], [6])


async def test_subscriber_added_after_many_were_closed_gets_what_comes_from_then_on():
    go_on, audience = anyio.Event(), Audience()
    sent = frames(play())
    async with Processor() as processor:
        processor.start(source(*sent[:7], go_on, *sent[7:]))
        await quiet()
        for _ in range(9):
            processor.add(StepTransition, note).close()
        processor.add(StepTransition, audience)
        go_on.set()
    assert [change.sequence for change in audience] == [8, 13]


async def test_subscriber_added_by_a_callback_gets_what_comes_from_then_on():
    late, go_on = Audience(), anyio.Event()
    sent = frames(play())
    async with Processor() as processor:

        @processor.on(ToolCallFinished)
        async def register(change: ToolCallFinished) -> None:
            processor.add(MessageTransition, late)
            go_on.set()

        await processor.run(source(*sent[:7], go_on, *sent[7:]))
    assert [change.sequence for change in late] == [9, 12]


async def test_subscriber_added_by_a_predicate_harms_nobody():
    late, audience = Audience(), Audience()
    async with Processor() as processor:

        def register(change: StepTransition) -> bool:
            if change.sequence == 3:
                processor.add(StepTransition, late)
            return True

        processor.add(StepTransition, audience, where=register)
        await processor.run(played(play()))
    assert ([change.sequence for change in audience], [change.sequence for change in late]) == (
        [3, 7, 8, 13],
        [7, 8, 13],
    )


async def test_iterating_after_the_block_is_a_runtime_error():
    async with Processor() as processor:
        iterating = processor.subscribe(StepTransition)
    with pytest.raises(RuntimeError, match="the Processor is closed"):
        await iterating.__aenter__()


async def test_closed_subscription_gets_nothing_any_more():
    audience = Audience()
    async with Processor() as processor:
        subscription = processor.add(RunTransition, audience)
        await processor.run(played([run("queued"), run("requires_action")]))
        subscription.close()
        await processor.run(played([run("completed")]))
    assert [change.status for change in audience] == ["queued", "requires_action"]


async def test_closing_drops_what_waits():
    gate = anyio.Event()
    audience = Audience(gate)
    async with Processor() as processor:
        subscription = processor.add(RunTransition, audience)
        processor.start(played(play()))
        await quiet()
        subscription.close()
        gate.set()
    assert [change.status for change in audience] == ["queued"]  # it was in the callback's hands


async def test_subscription_closed_before_the_block_gets_nothing():
    processor, audience = Processor(), Audience()
    processor.add(RunTransition, audience).close()
    async with processor:
        await processor.run(played(play()))
    assert audience == []


async def test_closing_one_subscription_leaves_the_others():
    audience = Audience()
    async with Processor() as processor:
        one = processor.add(RunTransition, note)
        processor.add(RunTransition, audience)
        one.close()
        await processor.run(played(play()))
    assert len(audience) == 3


async def test_closing_twice_is_closing_once():
    async with Processor() as processor:
        subscription = processor.add(RunTransition, note)
        subscription.close()
        subscription.close()
        assert subscription.is_closed


async def test_callback_that_closes_its_subscription_is_called_once_and_finishes():
    finished = []
    async with Processor() as processor:

        async def once(change: RunTransition) -> None:
            subscription.close()
            await anyio.lowlevel.checkpoint()
            finished.append(change.status)

        subscription = processor.add(RunTransition, once)
        await processor.run(played(play()))
    assert finished == ["queued"]


async def test_counters_tell_what_was_offered_delivered_and_failed():
    async with Processor() as processor:

        async def refuse(change: StepTransition) -> None:
            if change.status == "completed":
                raise ValueError

        subscription = processor.add(StepTransition, refuse)
        await processor.run(played(play()))
        assert (subscription.offered, subscription.delivered, subscription.failed) == (4, 4, 2)


async def test_subscription_shows_its_state():
    gate = anyio.Event()
    async with Processor() as processor:
        subscription = processor.add((RunTransition, StepTransition), Audience(gate))
        processor.start(played(play()))
        await quiet()
        assert repr(subscription) == "<Subscription RunTransition|StepTransition 0 delivered, 6 waiting, 0 failed>"
        gate.set()
    assert repr(subscription) == "<Subscription RunTransition|StepTransition closed 7 delivered, 0 waiting, 0 failed>"


async def test_processor_shows_its_state():
    async with Processor() as processor:
        processor.add(RunTransition, note)
        processor.add(StepTransition, note).close()
        await processor.run(played([step("created"), step("created"), run("completed")]))
        assert repr(processor) == "<Processor 1 subscribers, 3 events, 1 anomalies>"


async def test_iterator_gets_the_changes_until_the_processor_is_left():
    seen = []

    async def consume() -> None:
        async with processor.subscribe(RunTransition) as changes:
            seen.extend([change.status async for change in changes])

    async with anyio.create_task_group() as tasks, Processor() as processor:
        tasks.start_soon(consume)
        await quiet()
        await processor.run(played(play()))
    assert seen == ["queued", "in_progress", "completed"]


async def test_iterator_holds_what_came_since_its_block_was_entered():
    async with Processor() as processor:
        iterating = processor.subscribe(RunTransition)
        await processor.run(played([run("queued"), run("requires_action")]))
        async with iterating as changes:
            await processor.run(played([run("completed")]))
            assert (await anext(changes)).status == "completed"


async def test_iterator_ends_after_close():
    async with Processor() as processor, processor.subscribe(RunTransition) as changes:
        await processor.run(played(play()))
        changes.subscription.close()
        assert [change async for change in changes] == []


async def test_waiting_iterator_ends_at_close():
    seen = []

    async def consume(changes: Any) -> None:
        seen.append([change async for change in changes])

    async with (
        Processor() as processor,
        processor.subscribe(RunTransition) as changes,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(consume, changes)
        await quiet()
        changes.subscription.close()
    assert seen == [[]]


async def test_leaving_the_block_of_an_iterator_closes_its_subscription():
    async with Processor() as processor:
        async with processor.subscribe(RunTransition) as changes:
            pass
        assert changes.subscription.is_closed
        assert [change async for change in changes] == []


async def test_iterator_entered_before_the_processor_gets_everything():
    processor = Processor()
    async with processor.subscribe(RunTransition) as changes:
        async with processor:
            await processor.run(played(play()))
        assert [change.status async for change in changes] == ["queued", "in_progress", "completed"]


async def test_progress_gives_a_snapshot_at_least_as_new_as_its_delta():
    snapshots = []
    async with Processor() as processor:

        @processor.on(StepProgress)
        async def look(change: StepProgress) -> None:
            snapshots.append(change.step.tool_calls[0].function.arguments)

        await processor.run(played([step("created"), opens(), grows("1"), grows("2"), run("completed")]))
    assert all(len(got) >= least for got, least in zip(snapshots, (0, 1, 2), strict=True))


NEVER = [
    (
        (StepTransition,),
        "complete",
        "expired, incomplete; others by where=), got 'complete': did you mean 'completed'?",
    ),
    ((StepTransition,), "requires_action", "got 'requires_action'"),
    ((MessageTransition,), ["completed", "failed"], "got 'failed'"),
    ((RunTransition, StepTransition), {"canceled"}, "got 'canceled': did you mean 'cancelled'?"),
    ((RunTransition,), "", "got ''"),
    ((RunTransition,), "s" * 999, "got 's" + "s" * 78),
]


@each_row(("classes", "status", "text"), NEVER)
@each_row("way", ["add", "on", "subscribe"])
def test_status_that_none_of_the_classes_has_is_a_value_error(classes: Any, status: Any, text: str, way: str):
    given = (classes, Audience()) if way == "add" else classes
    with pytest.raises(ValueError, match=r"^expected a status of ") as caught:
        getattr(Processor(), way)(*given, status=status)
    assert str(caught.value).endswith(text)


@each_row(("classes", "table"), [(one, table) for one, table in STATUSES.items()])
def test_every_status_of_a_class_can_be_named(classes: Any, table: Any):
    assert not Processor().add(classes, Audience(), status=set(table)).is_closed


def test_classes_together_can_have_the_statuses_of_each():
    Processor().add((RunTransition, StepTransition), Audience(), status=["requires_action", "incomplete"])


async def test_status_that_no_step_has_is_not_waited_for():
    async with Processor() as processor:
        with pytest.raises(ValueError, match="did you mean 'completed'"):
            await processor.wait_for_step("step_1", status="complete")
