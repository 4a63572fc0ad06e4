"""Waiting for one thing: a step, a run, the next piece of text."""

from typing import Any

import anyio
import pytest

from stepstream import Outcome, Processor, WaitAborted
from tests.support.run_streams import (
    DONE,
    Audience,
    as_far_as_it_came,
    call,
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
)
from tests.support.suspensions import quiet

pytestmark = pytest.mark.usefixtures("patient")

HERE = play()


class Watch:
    """What is waited for, in a task."""

    def __init__(self, tasks: anyio.abc.TaskGroup, awaited: Any) -> None:
        self.got: Any = None
        self._awaited = awaited
        tasks.start_soon(self._watch)

    async def _watch(self) -> None:
        try:
            self.got = await self._awaited
        except (WaitAborted, TimeoutError) as exc:
            self.got = exc


@pytest.mark.parametrize(
    ("status", "at"), [(None, 7), ("completed", 7), ("in_progress", 3)], ids=["any end", "completed", "in progress"]
)
async def test_step_is_returned_as_soon_as_it_is_so_far(status: str | None, at: int):
    seen = []

    async def look() -> None:
        await quiet()
        seen.append(watch.got)

    items = [item for one in HERE for item in (sse([one]), look)]
    async with Processor() as processor, anyio.create_task_group() as tasks:
        watch = Watch(tasks, processor.wait_for_step("step_1", status=status))
        await quiet()
        await processor.run(source(*items))
    assert [one is not None for one in seen].index(True) == at - 1
    assert watch.got.status == (status or "completed")


async def test_step_that_is_so_far_already_is_returned_at_once():
    async with Processor() as processor:
        outcome = await processor.run(played(HERE))
        with anyio.fail_after(60):
            assert await processor.wait_for_step("step_1") == outcome.steps["step_1"]
            assert await processor.wait_for_step("step_1", status="completed", timeout=60) == outcome.steps["step_1"]


async def test_step_that_ended_otherwise_never_comes_so_far():
    async with Processor() as processor, anyio.create_task_group() as tasks:
        before = Watch(tasks, processor.wait_for_step("step_1", status="failed"))
        await quiet()
        await processor.run(played(HERE))
        after = Watch(tasks, processor.wait_for_step("step_1", status="failed"))
        await quiet()
    text = "expected step step_1 to be failed, it ended as completed"
    assert (str(before.got), str(after.got)) == (text, text)


async def test_waiting_ends_when_the_processor_is_left():
    async with anyio.create_task_group() as tasks, Processor() as processor:
        watches = [
            Watch(tasks, processor.wait_for_step("step_9")),
            Watch(tasks, processor.wait_for_step("step_9", status="failed", timeout=60)),
            Watch(tasks, processor.wait_for_run("run_9")),
        ]
        await quiet()
        await processor.run(played(HERE))
    assert [str(one.got) for one in watches] == [
        "expected step step_9 to be ended, the processor was left or stopped",
        "expected step step_9 to be failed, the processor was left or stopped",
        "expected run run_9 to end, the processor was left or stopped",
    ]


async def test_waiting_for_longer_than_the_timeout_is_a_timeout_error():
    async with Processor() as processor:
        with pytest.raises(TimeoutError):
            await processor.wait_for_step("step_1", timeout=0.01)
        with pytest.raises(TimeoutError):
            await processor.wait_for_run("run_1", timeout=0.01)
        assert processor.statistics().subscribers == ()


async def test_waiting_after_the_block_is_a_runtime_error():
    async with Processor() as processor:
        pass
    with pytest.raises(RuntimeError, match="closed"):
        await processor.wait_for_step("step_1")


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled", "expired", "incomplete"])
async def test_run_is_returned_when_it_has_ended_in_whatever_way(status: str):
    async with Processor() as processor, anyio.create_task_group() as tasks:
        before = Watch(tasks, processor.wait_for_run("run_1", timeout=5))
        await quiet()
        await processor.run(played([run("queued"), run("in_progress"), run(status), DONE]))
        await quiet()
        assert before.got.status == status
        assert (await processor.wait_for_run("run_1")).status == status


async def test_run_that_waits_for_action_has_not_ended():
    async with Processor() as processor, anyio.create_task_group() as tasks:
        watch = Watch(tasks, processor.wait_for_run("run_1"))
        await processor.run(played([run("queued"), run("requires_action"), DONE]))
        await quiet()
        assert watch.got is None
        await processor.run(played([run("in_progress"), run("completed"), DONE]))
    assert watch.got.status == "completed"


async def test_many_may_wait_and_leave_nothing_behind():
    async with Processor() as processor, anyio.create_task_group() as tasks:
        watches = [Watch(tasks, processor.wait_for_step("step_1")) for _ in range(100)]
        await quiet()
        await processor.run(played(HERE))
        await quiet()
        assert {one.got.status for one in watches} == {"completed"}
        assert processor.statistics().subscribers == ()


async def pieces_of(sent: list[Any], moment: int = 0, **filters: str) -> list[str]:
    """The pieces that somebody gets who comes after so many events."""
    processor, got, texts = Processor(), [], []

    async def join() -> None:
        got.append(await pieces.__aenter__())

    pieces = processor.text_deltas(**filters)
    items: list[Any] = [sse([one]) for one in sent]
    items.insert(moment, join)
    async with processor:
        await as_far_as_it_came(processor.run(source(*items)))
    texts = [piece async for piece in got[0]]
    await pieces.__aexit__(None, None, None)
    return texts


async def test_pieces_are_the_text_piece_by_piece():
    assert await pieces_of(HERE) == ["It is", " 2."]


async def test_pieces_are_had_while_the_stream_is_read():
    got = []
    async with Processor() as processor, processor.text_deltas() as pieces:
        handle = processor.start(played(HERE))
        async for piece in pieces:
            got.append(piece)
            if len(got) == 2:
                break
        await handle.outcome()
    assert got == ["It is", " 2."]


WHOLE = [message("created"), message("completed", text="It is 2."), run("completed"), DONE]
BROKEN = [message("created"), says("It"), message("completed", text="It is 2."), run("completed"), DONE]
OPENED = [message("created", text="It"), says(" is 2."), message("completed", text="It is 2."), run("completed"), DONE]
GROWN_FIELDS = [
    message("created"),
    says("It"),
    message("in_progress", text="It is"),
    says(" 2"),
    says("."),
    message("completed", text="It is 2."),
    run("completed"),
    DONE,
]
CUT = [message("created"), says("It is"), says(" 2."), message("incomplete", text="It is 2."), run("incomplete"), DONE]


@pytest.mark.parametrize(
    ("sent", "pieces"),
    [
        (WHOLE, ["It is 2."]),
        (BROKEN, ["It", " is 2."]),
        (OPENED, ["It", " is 2."]),
        (CUT, ["It is", " 2."]),
        ([message("completed", text="It is 2."), run("completed"), DONE], ["It is 2."]),
        ([message("created"), message("completed"), run("completed"), DONE], []),
    ],
)
async def test_pieces_joined_are_the_text_however_it_came(sent: list[Any], pieces: list[str]):
    assert await pieces_of(sent) == pieces


@pytest.mark.parametrize("sent", [HERE, WHOLE, BROKEN, OPENED, GROWN_FIELDS, CUT])
async def test_pieces_joined_are_the_text_whenever_somebody_comes(sent: list[Any]):
    """Who comes before the end gets all of it, who comes after nothing."""
    end = next(place for place, (name, _) in enumerate(sent) if name in ("thread.message.completed",
                                                                         "thread.message.incomplete"))  # fmt: skip
    for moment in range(len(sent)):
        assert "".join(await pieces_of(sent, moment)) == ("It is 2." if moment <= end else "")


async def test_pieces_of_several_messages_each_joined_are_their_texts():
    sent = [message("created"), says("a"), message("created", 2), says("x", 2), says("b"), says("y", 2),
            message("completed", 2, "xyz"), message("completed", text="abc"), DONE]  # fmt: skip
    assert await pieces_of(sent) == ["a", "x", "b", "y", "z", "c"]


@pytest.mark.parametrize(
    ("filters", "pieces"),
    [
        ({"run_id": "run_2"}, ["x", "yz"]),
        ({"thread_id": "thread_1"}, ["a"]),
        ({"run_id": "run_1", "thread_id": "thread_2"}, []),
        ({"run_id": "run_1", "thread_id": "thread_1"}, ["a"]),
    ],
)
async def test_pieces_are_those_of_one_run_or_thread(filters: dict[str, str], pieces: list[str]):
    sent = [message("created"), says("a"), message("created", 2), says("x", 2),
            message("completed", 2, "xyz"), message("completed", text="a"), DONE]  # fmt: skip
    assert await pieces_of(sent, **filters) == pieces


async def test_pieces_end_when_the_processor_is_left():
    got = Audience()
    async with anyio.create_task_group() as tasks:
        processor = Processor()

        async def read() -> None:
            async with processor.text_deltas() as pieces:
                async for piece in pieces:
                    await got(piece)

        async with processor:
            tasks.start_soon(read)
            await quiet()
            await processor.run(played(HERE))
    assert got == ["It is", " 2."]


async def outcome_of(sent: list[Any]) -> Outcome:
    async with Processor() as processor:
        return await as_far_as_it_came(processor.run(played(sent)))


async def test_final_run_is_the_newest_run():
    sent = [run("queued"), run("queued", 2), run("completed", 2), run("completed"), DONE]
    outcome = await outcome_of(sent)
    assert outcome.final_run == outcome.runs["run_2"]


async def test_final_steps_and_messages_are_in_order_of_first_sight():
    growing = [step("created", step_id="b"), opens(step_id="b"), grows("x", step_id="b")]
    ended = [step("created", step_id="a"), step("completed", step_id="b", calls=[call(1, "x")])]
    sent = [*growing, *ended, message("created", 2), message("created"), DONE]
    outcome = await outcome_of(sent)
    assert [one.id for one in outcome.final_steps] == ["b", "a"]
    assert [one.status for one in outcome.final_steps] == ["completed", "in_progress"]
    assert [one.id for one in outcome.final_messages] == ["msg_2", "msg_1"]


async def test_finals_of_an_empty_stream_are_empty():
    outcome = await outcome_of([DONE])
    assert (outcome.final_run, outcome.final_steps, outcome.final_messages) == (None, [], [])
