"""Late subscribers: what is known first, then everything, without gap or duplicate."""

from typing import Any

import anyio
import pytest

from stepstream import (
    MessageProgress,
    MessageTransition,
    Outcome,
    Processor,
    RunTransition,
    StepProgress,
    StepTransition,
    accumulate,
)
from stepstream.live.registration import CLASSES
from tests.support.run_streams import (
    DONE,
    Audience,
    call,
    events,
    grows,
    message,
    opens,
    play,
    played,
    run,
    says,
    source,
    sse,
    step,
    told,
)
from tests.support.suspensions import quiet
from tests.support.tables import each_row

KINDS = (RunTransition, StepTransition, StepProgress, MessageTransition, MessageProgress)

BOTH = [
    run("queued"),
    run("in_progress"),
    step("created"),
    opens(),
    grows('{"a":'),
    message("created"),
    says("It"),
    run("queued", 2),
    step("created", 2),
    opens(2),
    grows("1}"),
    step("completed", calls=[call(1, '{"a":1}', "2")]),
    says(" is 2."),
    message("completed", text="It is 2."),
    grows("x", 2),
    step("failed", 2, calls=[call(2, "x")]),
    run("completed"),
    run("failed", 2),
    DONE,
]


class Late:
    """Folds what a subscriber sees: the status of each object, and what it says."""

    def __init__(self, changes: list[Any]) -> None:
        self.statuses: dict[str, str] = {}
        self.texts: dict[str, str] = {}
        self.ends: list[str] = []
        for change in changes:
            self._see(change)

    def _see(self, change: Any) -> None:
        identifier = name_of(change)
        if isinstance(change, StepProgress | MessageProgress):
            if change.delta is not None and change.event != "replay":
                self.texts[identifier] = self.texts.get(identifier, "") + piece(change)
            return
        assert change.previous == self.statuses.get(identifier)
        self.statuses[identifier] = change.status
        self.ends += [identifier] * change.terminal
        if change.event == "replay":
            self.texts[identifier] = text_of(change)
        elif change.terminal and identifier in self.texts:
            assert self.texts[identifier] == text_of(change)


def name_of(change: Any) -> str:
    return str(getattr(change, "step_id", None) or getattr(change, "message_id", None) or change.run_id)


def text_of(change: Any) -> str:
    if isinstance(change, StepTransition):
        return "".join(one.function.arguments or "" for one in change.step.tool_calls)
    return change.message.text if isinstance(change, MessageTransition) else ""


def piece(change: Any) -> str:
    if isinstance(change, StepProgress):
        return "".join(one.function.arguments or "" for one in change.delta.step_details.tool_calls)
    return "".join(part.text.value for part in change.delta.content)


async def joined_at(moment: int, sent: list[Any], way: str) -> tuple[list[Any], Outcome]:
    """What a subscriber sees that comes right after so many events, and the outcome of the stream."""
    seen, processor = Audience(), Processor()
    iterated: list[Any] = []

    async def join() -> None:
        if way == "subscribe":
            iterated.append(await iterating.__aenter__())
        elif way == "on":
            processor.on(*KINDS, replay=True)(seen)
        else:
            processor.add(KINDS, seen, replay=True)

    items: list[Any] = [sse([one]) for one in sent]
    items.insert(moment, join)
    iterating = processor.subscribe(*KINDS, replay=True)
    async with processor:
        outcome = await processor.run(source(*items))
        if moment == len(sent):
            await join()
    if way == "subscribe":
        seen += [change async for change in iterated[0]]
        await iterating.__aexit__(None, None, None)
    return seen, outcome


@pytest.mark.parametrize("way", ["add", "on", "subscribe"])
@pytest.mark.parametrize("sent", [BOTH, play()], ids=["two runs", "one run"])
async def test_late_subscriber_misses_nothing_and_sees_nothing_twice_whenever_it_comes(sent: list[Any], way: str):
    for moment in range(len(sent) + 1):
        seen, outcome = await joined_at(moment, sent, way)
        late = Late(seen)
        known = {**outcome.runs, **outcome.steps, **outcome.messages}
        assert late.statuses == {identifier: one.status for identifier, one in known.items()}
        assert sorted(late.ends) == sorted(known)


async def test_replay_is_a_transition_each_and_a_progress_of_what_is_partial():
    before = BOTH[:12]
    gate, late = anyio.Event(), Audience()
    async with Processor() as processor:
        processor.start(source(sse(before), gate, sse([DONE])))
        await quiet()
        processor.add(CLASSES, late, replay=True)
        gate.set()
    assert [(type(change).__name__, name_of(change), change.event, change.sequence) for change in late] == [
        ("RunTransition", "run_1", "replay", 0),
        ("RunTransition", "run_2", "replay", 0),
        ("StepTransition", "step_1", "replay", 0),
        ("StepTransition", "step_2", "replay", 0),
        ("StepProgress", "step_2", "replay", 0),
        ("MessageTransition", "msg_1", "replay", 0),
        ("MessageProgress", "msg_1", "replay", 0),
    ]
    assert {change.previous for change in late if hasattr(change, "previous")} == {None}
    assert [change.status for change in late if hasattr(change, "status")] == [
        "in_progress", "queued", "completed", "in_progress", "in_progress"
    ]  # fmt: skip
    assert late[-1].message.text == "It"


@each_row(
    ("classes", "filters", "expected"),
    [
        (CLASSES, {"where": lambda change: "2" in name_of(change)}, ["run_2", "step_2", "step_2"]),
        (KINDS, {"run_id": "run_2"}, ["run_2", "step_2", "step_2"]),
        (KINDS, {"run_id": ["run_1", "run_2"], "thread_id": "thread_1"}, ["run_1", "step_1", "msg_1", "msg_1"]),
        (KINDS, {"thread_id": "thread_1"}, ["run_1", "step_1", "msg_1", "msg_1"]),
        (StepTransition, {"step_id": "step_1"}, ["step_1"]),
        (StepTransition, {"step_id": {"step_1", "step_2", "step_3"}}, ["step_1", "step_2"]),
        (StepTransition, {"status": "completed"}, ["step_1"]),
        (StepTransition, {"terminal": False, "step_type": "tool_calls"}, ["step_2"]),
        (StepProgress, {"step_type": "message_creation"}, []),
        (RunTransition, {"run_id": "run_9"}, []),
        (RunTransition, {"status": "queued"}, ["run_2"]),
    ],
)
async def test_filters_apply_to_what_is_replayed(classes: Any, filters: dict[str, Any], expected: list[str]):
    gate, late = anyio.Event(), Audience()
    async with Processor() as processor:
        processor.start(source(sse(BOTH[:12]), gate, sse([DONE])))
        await quiet()
        processor.add(classes, late, replay=True, **filters)
        await quiet()
        assert [name_of(change) for change in late] == expected
        gate.set()


async def test_replay_before_anything_came_is_nothing():
    late, other = Audience(), Audience()
    processor = Processor()
    processor.add(CLASSES, late, replay=True)
    async with processor:
        processor.add(CLASSES, other)
        await processor.run(played(play()))
    assert told(late) == told(other)


async def test_what_was_forgotten_is_not_replayed():
    late = Audience()
    async with Processor(retain=2) as processor:
        for number in range(5):
            await processor.run(played(play(number)))
        processor.add(RunTransition, late, replay=True)
    assert [change.run_id for change in late] == ["run_3", "run_4"]


async def test_replay_may_be_more_than_the_buffer():
    late = Audience()
    async with Processor() as processor:
        for number in range(20):
            await processor.run(played(play(number)))
        subscription = processor.add(KINDS, late, replay=True, buffer=1)
        assert len(subscription._mailbox.queue) == 60 + 20
    assert len(late) == 80


async def test_other_subscribers_are_not_told_again():
    early = Audience()
    async with Processor() as processor:
        processor.add(CLASSES, early)
        await processor.run(played(play()))
        before = len(early)
        processor.add(CLASSES, Audience(), replay=True)
    assert len(early) == before


async def test_replay_looks_at_what_is_asked_for_only():
    """Waiting for one step of thousands builds one snapshot."""
    sent = [one for number in range(50) for one in (step("created", number), opens(number), grows("x", number))]
    gate, late = anyio.Event(), Audience()
    async with Processor() as processor:
        processor.start(source(sse(sent), gate, sse([DONE])))
        await quiet()
        processor.add(StepProgress, late, replay=True, step_id="step_7")
        await quiet()
        grown = processor.state.steps
        assert [identifier for identifier, one in grown.items() if one.cached is not None] == ["step_7"]
        assert [change.step_id for change in late] == ["step_7"]
        gate.set()


def test_statuses_of_the_play_are_what_the_fold_says():
    known = accumulate([sse(BOTH)])
    assert {one.status for one in known.runs.values()} == {"completed", "failed"}
    assert len(events(BOTH)) == len(BOTH)
