"""Writing a run: rounds of tools in several processes, fences, how a run is left, what its journal has of it."""

from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from typing import Any

import anyio
import pytest

from stepstream import (
    JournalConflict,
    JournalError,
    MemoryJournal,
    Processor,
    StreamFailed,
    StreamStopped,
    StreamTruncated,
    ToolCallFinished,
    ToolCallStarted,
    TransportError,
    publish,
)
from stepstream.fold.run_state import run_state
from stepstream.live import early_events, run_tap
from stepstream.live.journal import BLANK, MAX_FRAMES, Checkpoint, Held, Opened, Pack, RunStatus, packs_of
from stepstream.live.marks import ContinuedRun
from tests.support import response_streams
from tests.support.delta_streams import STEP_DELTA, grows, opening, run, sail, step, written
from tests.support.journal_contract import BLOCKS, DONE, SOON, everything, pack, stream, told_of
from tests.support.journals import alike, chunks_of, run_ids
from tests.support.journals import told_of as told_by
from tests.support.published_runs import PublishedRun, events_of
from tests.support.suspensions import observed, quiet

CALLING = step("in_progress", step_details={"type": "tool_calls", "tool_calls": []})
ASKED = {
    "type": "submit_tool_outputs",
    "submit_tool_outputs": {"tool_calls": [{"id": "call_1", "type": "function", "function": {"name": "sail"}}]},
}
FIRST = [
    written("thread.run.created", run("queued")),
    written("thread.run.step.created", CALLING),
    written(STEP_DELTA, grows(sail(id="call_1"))),
    written("thread.run.requires_action", run("requires_action", required_action=ASKED)),
    DONE,
]
FULL = {"id": "call_1", "type": "function", "function": {"name": "sail", "arguments": "", "output": "7"}}
SECOND = [
    written("thread.run.queued", run("queued")),
    written("thread.run.step.completed", step("completed", step_details={"type": "tool_calls", "tool_calls": [FULL]})),
    written("thread.run.completed", run("completed")),
    DONE,
]


def keys(changes: Sequence[Any]) -> list[str]:
    return [change.key for change in changes if not change.key.rpartition("/")[2].isdigit()]


async def test_two_processes_that_take_turns_write_one_run():
    journal = MemoryJournal()
    first = await told_by(chunks_of(FIRST), Processor(journal=journal))
    assert (await told_of(journal)).status == "waiting"
    second = await told_by(chunks_of(SECOND), Processor(journal=journal))
    whole = await told_by(chunks_of([*FIRST[:-1], *SECOND]))
    assert alike([*first.changes, *second.changes]) == alike(whole.changes)  # what was silent was not told again
    follower = await told_by(journal.follow("run_1"))
    assert alike(follower.changes) == alike(whole.changes)
    assert (await told_of(journal)).status == "ended"


async def test_third_round_comes_back_to_the_first_process():
    journal, again = MemoryJournal(), [*SECOND[:1], *FIRST[3:]]
    told: list[Any] = []
    async with Processor(journal=journal) as one, Processor(journal=journal) as other:
        for processor in (one, other):

            @processor.on(ToolCallStarted, ToolCallFinished)
            async def note(change: ToolCallStarted | ToolCallFinished) -> None:
                told.append(change.key)

        await one.run(chunks_of(FIRST))
        await other.run(chunks_of(again))
        outcome = await one.run(chunks_of(SECOND))
    assert outcome.status == "completed"
    assert told == ["run_1/call/step_1/call_1/started", "run_1/call/step_1/call_1/finished"]
    follower = await told_by(journal.follow("run_1"))
    assert [one.key for one in follower.changes if type(one).__name__ == "RunTransition"][-1] == "run_1/run/completed"


async def test_follower_sees_one_run_through_rounds_that_end_with_done():
    journal, told = MemoryJournal(), list[Any]()

    async def follow() -> None:
        told.append(await told_by(journal.follow("run_1")))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(follow)
        await publish(chunks_of(FIRST), journal)
        await quiet()
        assert told == []
        await publish(chunks_of(SECOND), journal)
    whole = await told_by(chunks_of([*FIRST[:-1], *SECOND]))
    assert alike(told[0].changes) == alike(whole.changes)


async def test_older_of_two_publishers_is_refused_and_keeps_what_it_folded():
    journal = MemoryJournal()
    send, receive = anyio.create_memory_object_stream[bytes](9)
    async with send, receive, Processor(journal=journal) as one:
        handle = one.start(receive)
        for block in BLOCKS[:4]:
            await send.send(block)
        await quiet()
        await publish(chunks_of([BLOCKS[0], *BLOCKS[7:], DONE]), journal)
        with suppress(anyio.BrokenResourceError):  # it may have learned that already
            await send.send(BLOCKS[4])
        with pytest.raises(JournalConflict) as caught, anyio.fail_after(SOON):
            await handle.outcome()  # though its source never ends
    assert caught.value.outcome is not None
    assert list(caught.value.outcome.runs) == ["run_1"]
    assert (await told_of(journal)).status == "ended"


async def failing(blocks: Sequence[bytes], error: Exception | None = None) -> AsyncIterator[bytes]:
    for block in blocks:
        yield block
    if error is not None:
        raise error


@pytest.mark.parametrize(
    ("source", "raised", "error"),
    [
        (lambda: failing(BLOCKS[:5]), StreamTruncated, "the stream ended after 5 events"),
        (lambda: failing(BLOCKS[:5], OSError("no route")), TransportError, "the source failed"),
        (lambda: failing([*BLOCKS[:5], b"event: error\ndata: {}\n\n"]), StreamFailed, "an error event"),
    ],
)
async def test_run_whose_stream_breaks_is_interrupted_with_the_reason(source: Any, raised: Any, error: str):
    journal = MemoryJournal()
    with pytest.raises(raised):
        await publish(source(), journal)
    info = await told_of(journal)
    assert (info.status, info.position) == ("interrupted", 5)
    assert error in info.error


async def test_cancelled_or_stopped_publisher_leaves_its_runs_interrupted():
    for is_cancelled in (True, False):
        journal = MemoryJournal()
        send, receive = anyio.create_memory_object_stream[bytes](9)
        async with send, receive, Processor(journal=journal) as processor, anyio.create_task_group() as tasks:

            async def read(processor: Processor = processor, receive: Any = receive) -> None:
                with pytest.raises(StreamStopped):
                    await processor.run(receive)

            tasks.start_soon(read)
            await send.send(BLOCKS[0])
            await quiet()
            if is_cancelled:
                tasks.cancel_scope.cancel()
            else:
                await processor.stop()
        assert (await told_of(journal)).status == "interrupted"


async def test_run_that_is_known_here_only_is_told_to_its_journal_first():
    journal = MemoryJournal()
    async with Processor() as processor:
        await processor.run(chunks_of(FIRST))
        await processor.run(chunks_of(SECOND), journal=journal)
    follower = await told_by(journal.follow("run_1"))
    assert follower.outcome is not None
    assert follower.outcome.steps["step_1"].tool_calls[0].id == "call_1"
    assert (await told_of(journal)).position == 2 + 3


async def test_what_comes_before_any_run_waits_for_it_up_to_a_bound(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(early_events, "MAX_EARLY", 100)
    journal = MemoryJournal()
    early = [b'event: thread.created\ndata: {"id": "thread_1"}\n\n', b"event: ping\ndata: %b\n\n" % (b"x" * 99)]
    await publish(chunks_of([*early, *BLOCKS, DONE]), journal)
    [first, *_] = [held for held in await everything(journal) if isinstance(held, Pack)]
    assert first.data.startswith(early[0] + BLOCKS[0])
    assert (await told_of(journal)).position == 1 + len(BLOCKS)
    assert [record.getMessage() for record in caplog.records] == [
        "1 events are in no journal: they came before any run that has an id"
    ]


async def test_run_whose_id_is_empty_is_in_no_journal_and_that_is_logged(caplog: pytest.LogCaptureFixture):
    journal = MemoryJournal()
    nameless = [block.replace(b'"run_1"', b'""') for block in BLOCKS]
    outcome = await publish(chunks_of([*nameless, DONE]), journal)
    assert (outcome.events, await run_ids(journal)) == (len(BLOCKS) + 1, [])
    assert [record.getMessage() for record in caplog.records] == [
        f"{len(BLOCKS)} events are in no journal: they came before any run that has an id"
    ]


async def test_event_without_data_and_the_end_of_the_stream_have_no_position():
    journal = MemoryJournal()

    async def frames() -> AsyncIterator[Any]:
        from stepstream import Frame

        yield BLOCKS[0]
        yield Frame("ping", b"")
        yield Frame("pi\nng", b'{"a":\n1}')
        yield b"data: [DONE]\n\n"

    async with Processor(journal=journal) as processor:
        await processor.run(frames())
    assert (await told_of(journal)).position == 2


@pytest.mark.parametrize("size", [3, 64, 65, 200])
async def test_like_deltas_of_one_chunk_are_written_as_they_came(size: int):
    delta = written(STEP_DELTA, grows(sail(arguments="fog")))
    chunks = [b"".join(FIRST[:3]), delta * 2, delta * 2, delta * size, delta + delta * size]
    journal = MemoryJournal()
    await publish(chunks_of([*chunks, *FIRST[3:]]), journal)
    packs = [one async for one in journal.read("run_1") if isinstance(one, Pack)]
    assert b"".join(one.data for one in packs) == b"".join([*chunks, FIRST[3]])
    assert all(one.count == one.data.count(b"\n\n") <= MAX_FRAMES for one in packs)
    assert [one.first for one in packs[1:]] == [one.last + 1 for one in packs[:-1]]


async def test_several_runs_of_one_stream_have_a_journal_each():
    journal = MemoryJournal()
    blocks = [
        block
        for number in range(5)
        for block in [
            written("thread.run.created", run("queued", f"run_{number}")),
            written("thread.run.completed", run("completed", f"run_{number}")),
        ]
    ]
    await publish(chunks_of([*blocks, DONE]), journal)
    infos = [(info.id, info.status, info.position) async for info in journal.runs()]
    assert infos == [(f"run_{number}", "ended", 2) for number in range(5)]


@pytest.mark.parametrize("is_one_chunk", [False, True])
@pytest.mark.parametrize("others", [[2], [2, 3]])
async def test_deltas_of_a_run_that_waits_are_in_its_journal_while_others_go_on(others: list[int], is_one_chunk: bool):
    def delta(number: int) -> bytes:
        return written(STEP_DELTA, grows(sail(arguments=f"{number} "), f"step_{number}"))

    waits = written("thread.run.requires_action", run("requires_action", required_action=ASKED))
    blocks = [written("thread.run.created", run("queued")), *opening(), *[delta(1)] * 3, waits]
    for one in others:
        blocks += [written("thread.run.created", run("queued", f"run_{one}")), *opening(f"step_{one}", f"run_{one}")]
    blocks += [delta(1), *[delta(one) for one in (*others, 1)] * 4]
    blocks += [written("thread.run.completed", run("completed", f"run_{one}")) for one in others]
    journal, counts = MemoryJournal(), {}
    await publish(chunks_of([b"".join([*blocks, DONE])] if is_one_chunk else [*blocks, DONE]), journal)
    for one in (1, *others):
        data = b"".join([held.data for held in await everything(journal, f"run_{one}")])
        counts[one] = [data.count(delta(number)) for number in (1, *others)]
    expected = {1: [8, *[0] * len(others)]} | {one: [4 * (one == number) for number in (1, *others)] for one in others}
    assert counts == expected


async def test_what_comes_while_it_is_written_that_a_run_waits_is_not_lost():
    class SlowJournal(MemoryJournal):
        """One that takes its time when it is told again that the run waits, which is when the run would be left."""

        said = 0

        async def append(
            self, opened: Opened, held: Sequence[Held] = (), *, status: RunStatus = "open", error: str = ""
        ) -> None:
            await super().append(opened, held, status=status, error=error)
            self.said += status == "waiting"
            if self.said == 2:
                is_leaving.set()
                await goes_on.wait()

    async def source() -> AsyncIterator[bytes]:
        yield b"".join(FIRST[:-1])
        await is_leaving.wait()
        yield SECOND[0]
        await anyio.wait_all_tasks_blocked()
        goes_on.set()
        await anyio.wait_all_tasks_blocked()
        for block in SECOND[1:]:
            yield block

    is_leaving, goes_on, journal = anyio.Event(), anyio.Event(), SlowJournal()
    with anyio.fail_after(SOON):
        await publish(source(), journal)
    held = await everything(journal)
    data = b"".join(one.data for one in held if isinstance(one, Pack))
    assert data == b"".join([*FIRST[:-1], *SECOND[:-1]])
    assert (await told_of(journal)).status == "ended"


@pytest.fixture
def small_checkpoints(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_tap, "MIN_CHECKPOINT", 2_000)


async def words(count: int) -> AsyncIterator[bytes]:
    for block in FIRST[:2]:
        yield block
    yield FIRST[2]
    for _ in range(count):
        yield written(STEP_DELTA, grows({"index": 0, "type": "function", "function": {"arguments": "fog "}}))
    for block in SECOND[1:]:
        yield block


@pytest.mark.usefixtures("small_checkpoints")
async def test_checkpoint_stands_for_what_was_trimmed():
    journal = MemoryJournal(max_run_bytes=20_000)
    whole = await told_by(words(2_000), Processor(journal=journal))
    held = await everything(journal)
    assert isinstance(held[0], Checkpoint)
    assert sum(len(one.data) for one in held[1:]) <= 20_000
    follower = await told_by(journal.follow("run_1"))
    assert follower.error is None
    assert (follower.outcome.steps, follower.outcome.runs) == (whole.outcome.steps, whole.outcome.runs)  # type: ignore[union-attr]
    told = alike(follower.changes)
    assert told == alike(whole.changes)[len(whole.changes) - len(told) :]


@pytest.mark.parametrize("cut", [1, 2, 3, 4, 5, 12, 20, 22])
async def test_stream_in_a_dialect_that_broke_is_told_again_from_its_beginning_and_nothing_comes_twice(cut: int):
    events = response_streams.whole(response_streams.writing("Fog over the bay"))
    journal = MemoryJournal()
    with pytest.raises(StreamTruncated):
        await publish(chunks_of([response_streams.encoded(events[:cut])]), journal)
    outcome = await publish(chunks_of([response_streams.encoded(events)]), journal)
    follower, whole = await told_by(journal.follow(response_streams.RESPONSE)), MemoryJournal()
    await publish(chunks_of([response_streams.encoded(events)]), whole)
    assert (outcome.anomalies, outcome.text) == ([], "Fog over the bay")
    assert alike(follower.changes) == alike((await told_by(whole.follow(response_streams.RESPONSE))).changes)


@pytest.mark.parametrize("is_exact", [True, False])
async def test_responses_of_one_stream_are_told_again_wherever_their_process_was_killed(is_exact: bool):
    parts = [(response_streams.RESPONSE, "Fog"), ("resp_2", "Rain")]
    events = [event for number, (one, text) in enumerate(parts, 1) for event in saying(one, text, number)]
    events = [{"type": "keepalive"}, *events]
    again = [event for event in events if is_exact or not event["type"].endswith(".delta")]
    whole = MemoryJournal()
    await publish(chunks_of([response_streams.encoded([event]) for event in events]), whole)
    first, second = [await blocks_of(whole, one) for one, _ in parts]
    places = [(count, 0) for count in range(len(first))] + [(len(first), count) for count in range(len(second) + 1)]
    for place in places:
        journal = MemoryJournal()
        for (one, _), blocks, count in zip(parts, (first, second), place, strict=True):
            opened = await journal.open(one, writer="killed")
            await journal.append(opened, packs_of(opened.fence, 1, blocks[:count]))
        outcome = await publish(chunks_of([response_streams.encoded(again)]), journal)
        assert (outcome.text, outcome.anomalies) == ("FogRain", [])
        assert not is_exact or [await blocks_of(journal, one) for one, _ in parts] == [first, second]
        assert [info.status async for info in journal.runs()] == ["ended", "ended"]
        followers = [await told_by(journal.follow(one)) for one, _ in parts]
        assert [one.outcome.text for one in followers if one.outcome is not None] == ["Fog", "Rain"]


def saying(response: str, text: str, number: int) -> list[Any]:
    """Return the events of a response that is one message."""
    message = response_streams.writing(text, number)
    end = response_streams.lifecycle("completed", message[-1]["item"], id=response)
    return response_streams.numbered([response_streams.lifecycle("created", id=response), *message, end])


async def blocks_of(journal: MemoryJournal, run_id: str) -> list[bytes]:
    """Return the events that a journal has of a run."""
    data = b"".join([held.data async for held in journal.read(run_id) if isinstance(held, Pack)])
    return [block + BLANK for block in data.split(BLANK)[:-1]]


async def test_what_a_follower_knows_is_folded_from_the_newest_checkpoint_and_all_else_is_told():
    journal = MemoryJournal()
    published = PublishedRun(journal, *events_of("archive"))
    await published.append(8)
    await published.checkpoint()
    await published.append(1_000)
    for after in (0, 7, 8, 9, 10):
        async with journal.follow(published.run_id, after=after) as pieces:
            held = [piece.held async for piece in pieces]
        assert isinstance(held[0], Checkpoint) == (after > 8)
        follower = await told_by(journal.follow(published.run_id, after=after))
        assert follower.outcome is not None
        assert follower.outcome.steps == published.server.steps
        assert alike(follower.changes) == alike([change for position, change in published.changes if position > after])


async def test_follower_that_is_behind_a_trimmed_journal_gets_a_gap_where_no_checkpoint_stands():
    journal = MemoryJournal(max_run_bytes=4_000)
    await publish(words(500), journal)
    follower = await told_by(journal.follow("run_1"))
    assert type(follower.error).__name__ == "JournalGap"


async def test_what_a_follower_folds_is_not_published_again():
    journal, other = MemoryJournal(), MemoryJournal()
    await publish(stream(), journal)
    async with Processor(journal=other) as processor:
        await processor.run(journal.follow("run_1"))
        await processor.run(journal.follow("run_1"), journal=journal)
    assert await run_ids(other) == []
    assert (await told_of(journal)).position == len(BLOCKS)


async def test_run_is_folded_once_however_often_it_is_followed_here():
    journal = MemoryJournal()
    await publish(stream(), journal)
    async with Processor() as processor:
        first = await processor.run(journal.follow("run_1"))
        second = await processor.run(journal.follow("run_1"))
        state = run_state(processor.state, "run_1")
    assert (first.text, second.text, second.reason) == ("Fog over the bay", "Fog over the bay", "ended")
    assert state.position == len(BLOCKS)
    assert repr(state) == f"<RunState run_1 completed at {len(BLOCKS)}: 0 steps, 1 messages>"


async def test_follower_with_what_was_exported_elsewhere_tells_what_is_new_only():
    journal = MemoryJournal()
    await publish(stream(), journal)
    async with Processor() as first:
        await first.run(chunks_of([*BLOCKS[:6], written("thread.run.requires_action", run("requires_action"))]))
        exported = first.export()
    told = await told_by(journal.follow("run_1", after=6), Processor.restore(exported))
    assert told.outcome is not None
    assert (told.outcome.text, [change.sequence for change in told.changes]) == ("Fog over the bay", [7, 8, 9])


async def test_what_was_settled_elsewhere_is_delivered_to_nobody():
    journal = MemoryJournal()
    await publish(stream(), journal)
    told = await told_by(journal.follow("run_1"), deliver_after=7)
    assert [change.sequence for change in told.changes] == [8, 9]


async def test_two_followers_in_one_processor_fold_each_event_once():
    journal = MemoryJournal()
    await publish(words(200), journal)
    changes: list[Any] = []
    async with Processor() as processor:

        @processor.on(ToolCallStarted, ToolCallFinished, buffer=1)
        async def note(change: Any) -> None:
            changes.append(change.key)

        handles = [processor.start(journal.follow("run_1")) for _ in range(3)]
        outcomes = [await handle.outcome() for handle in handles]
    whole = await told_by(words(200))
    assert whole.outcome is not None
    assert {outcome.status for outcome in outcomes} == {"completed"}
    assert processor.state.steps["step_1"].snapshot() == whole.outcome.steps["step_1"]
    assert len(changes) == 2


async def test_event_added_at_any_moment_of_a_processor_that_follows_is_folded_once():
    for moment in range(1, 60, 3):
        journal = MemoryJournal()
        opened = await journal.open("run_1", writer="a")
        left = list(range(1, len(BLOCKS) + 1))

        async def add(journal: MemoryJournal = journal, opened: Any = opened, left: Any = left) -> None:
            if left:
                position = left.pop(0)
                status: Any = "ended" if not left else "open"
                await journal.append(opened, [pack(opened, position)], status=status)

        async with anyio.create_task_group() as tasks:

            def suspending(count: int, moment: int = moment, tasks: Any = tasks, add: Any = add) -> None:
                if count >= moment:
                    tasks.start_soon(add)

            async def rest(left: Any = left, add: Any = add) -> None:
                while left:
                    await quiet()
                    await add()

            with anyio.fail_after(SOON):
                tasks.start_soon(rest)
                told = await observed(told_by(journal.follow("run_1")), suspending)
        assert [change.sequence for change in told.changes] == [1, 2, 3, 4, 5, 6, 7, 8, 9]
        assert told.outcome.text == "Fog over the bay"


async def test_response_of_another_process_goes_on_with_the_run_it_answers():
    asked = response_streams.calling("{}")
    item = {**asked[-1]["item"], "status": "completed"}
    first = [response_streams.lifecycle("created"), *asked, response_streams.lifecycle("completed", item)]
    second = [
        response_streams.lifecycle("created", id="resp_2"),
        *response_streams.writing("Deep.", 3, 0),
        response_streams.lifecycle("completed", id="resp_2"),
    ]

    async def answered() -> AsyncIterator[Any]:
        yield ContinuedRun(response_streams.RESPONSE)
        yield response_streams.encoded(second)

    journal = MemoryJournal()
    told = await told_by(chunks_of([response_streams.encoded(first)]), Processor(journal=journal))
    assert (await told_of(journal, response_streams.RESPONSE)).status == "waiting"
    rest = await told_by(answered(), Processor(journal=journal))
    follower = await told_by(journal.follow(response_streams.RESPONSE))
    assert await run_ids(journal) == [response_streams.RESPONSE]
    assert alike(follower.changes) == alike([*told.changes, *rest.changes])
    assert (follower.outcome.status, follower.outcome.text) == ("completed", "Deep.")


@pytest.mark.parametrize("method", ["open", "append"])
async def test_failure_of_a_journal_is_one_of_the_run_and_says_what_failed(method: str):
    class Broken(MemoryJournal):
        async def open(self, *args: Any, **options: Any) -> Any:
            if method == "open":
                raise OSError("secret path")
            return await super().open(*args, **options)

        async def append(self, *args: Any, **options: Any) -> None:
            raise OSError("secret path")

    async with Processor(journal=Broken()) as processor:
        with pytest.raises(JournalError, match=r"^the journal failed: OSError$") as caught:
            await processor.run(stream())
        assert isinstance(caught.value.__cause__, OSError)
        outcome = await processor.run(stream(), journal=MemoryJournal())
    assert outcome.text == "Fog over the bay"


async def test_what_a_journal_refused_is_told_to_it_when_the_run_goes_on():
    class Forgetful(MemoryJournal):
        works = 1

        async def append(self, *args: Any, **options: Any) -> None:
            self.works -= 1
            if self.works == -1:
                raise OSError
            await super().append(*args, **options)

    journal = Forgetful()
    opened = await journal.open("run_1", writer="another")
    await journal.append(opened, [pack(opened, 1)])
    async with Processor(journal=journal) as processor:
        with pytest.raises(JournalError):
            await processor.run(chunks_of(FIRST))
        assert (await told_of(journal)).position == 1
        await processor.run(chunks_of(SECOND))
    follower = await told_by(journal.follow("run_1"))
    assert follower.outcome is not None
    assert follower.outcome.status == "completed"
    assert follower.outcome.steps == {"step_1": processor.state.steps["step_1"].snapshot()}
