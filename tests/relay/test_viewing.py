"""What a viewer gets: joined, resumed, behind, interrupted, at the end."""

import re
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import anyio
import msgspec
import pytest

from stepstream import MemoryJournal, Processor, Relay, RunInterrupted, decode_change, encoded
from stepstream.live.journal import Checkpoint, Held
from stepstream.relay import viewer as viewer_module
from stepstream.relay.channel import MAX_RECENT
from stepstream.relay.forms.changes import CHANGES
from stepstream.relay.forms.events import EVENTS
from stepstream.relay.owed import MAX_BEHIND
from tests.support.journals import chunks_of
from tests.support.places import ROOT
from tests.support.published_runs import PublishedRun, events_of
from tests.support.relay_clients import EventsClient, known
from tests.support.relay_requests import Answer, asked, watching
from tests.support.tables import each_row
from tests.support.virtual_time import anyio_backend

__all__ = ["anyio_backend"]

RUN_ID = "run_sums"


class Stage:
    """A run that is published by hand, and a relay."""

    def __init__(self, *names: str, **options: Any) -> None:
        self.journal = MemoryJournal()
        self.run = PublishedRun(self.journal, *events_of(*(names or ("sums",))))
        self.relay = Relay(self.journal, random=lambda: 0.5, **options)

    @property
    def path(self) -> str:
        return f"/{self.run.run_id}/events"

    async def publish(self, count: int = 1000) -> None:
        await self.run.append(count)
        await anyio.wait_all_tasks_blocked()

    def watching(self, form: str = "events", **given: Any) -> Any:
        return watching(self.relay, f"{self.path}?as={form}", **given)

    async def asked(self, form: str = "events", **given: Any) -> Answer:
        return await asked(self.relay, f"{self.path}?as={form}", **given)


@pytest.fixture
def stage() -> Stage:
    return Stage()


async def test_viewer_gets_the_state_then_every_event(stage: Stage):
    await stage.publish(6)
    client = EventsClient()
    async with stage.watching() as answer:
        client.feed(answer.body)
        assert (client.joined, client.known) == (6, known(stage.run.server))
        await stage.publish(1)
        await stage.publish()
        client.connect()
        client.feed(answer.body)
        assert (client.position, client.known) == (17, known(stage.run.server))
        assert client.is_done
        assert answer.is_whole


async def test_prelude_has_its_id_on_its_last_frame_only(stage: Stage):
    await stage.publish(6)
    async with stage.watching() as answer:
        *before, last = answer.frames
        assert len(before) > 0
        assert {frame.id for frame in before} == {""}
        assert last.id == f"{await fence(stage)}.6"


async def fence(stage: Stage) -> int:
    return next(iter([info.fence async for info in stage.journal.runs()]))


async def test_changes_are_a_message_a_position_and_a_line_a_change():
    stage = Stage("archive")
    await stage.publish(3)
    async with stage.watching("changes") as answer:
        await stage.publish(1)
        state, message = answer.frames
        assert state.event == "stepstream.state"
        assert msgspec.json.decode(state.data)["position"] == 3
        told = [decode_change(line) for line in message.data.split(b"\n")]
        assert told == [change for at, change in stage.run.changes if at == 4]
        assert len(told) == 3


@each_row("form", ["events", "changes"])
async def test_resumed_viewer_gets_what_it_missed_and_nothing_twice(form: str):
    for position in range(1, 17):
        stage = Stage(coalesce=0)
        await stage.publish(8)
        async with stage.watching(form):  # a channel that has seen half of the run
            await stage.publish()
        resumed = await stage.asked(form, last_event_id=f"{await fence(stage)}.{position}")
        fresh = Relay(stage.journal, coalesce=0, random=lambda: 0.5)
        elsewhere = await asked(fresh, f"{stage.path}?as={form}", last_event_id=f"{await fence(stage)}.{position}")
        ids = [int(frame.id.partition(".")[2]) for frame in resumed.frames[:-1]]
        assert ids[0] == next(at for at, _ in stage.run.changes if at > position) or form == "events"
        assert resumed.body == elsewhere.body
        if form == "events":
            assert ids == list(range(position + 1, 18))


async def test_header_wins_over_the_query(stage: Stage):
    await stage.publish()
    at = await fence(stage)
    answer = await asked(stage.relay, f"{stage.path}?last_event_id={at}.3", last_event_id=f"{at}.16")
    assert len(answer.frames) == 2
    assert len((await asked(stage.relay, f"{stage.path}?last_event_id={at}.15")).frames) == 3


UNKNOWN = ("garbage", "1.2.3", "{at}.99", "{before}.3", "{after}.3", "0.3", "{at}.-1", "9" * 40 + ".1", "{at}.0", "0.0")


@each_row("cursor", UNKNOWN)
async def test_id_that_means_nothing_here_gives_a_gap_and_the_state(cursor: str):
    stage = Stage()
    await stage.publish(9)
    at = await fence(stage)
    told = cursor.format(at=at, before=at - 1, after=at + 1)
    async with stage.watching(last_event_id=told) as answer:
        gap, *rest = answer.frames
        assert (gap.event, gap.data, gap.id) == ("stepstream.gap", b'{"reason":"unknown"}', "")
        client = EventsClient()
        client.feed(answer.body)
        assert client.known == known(stage.run.server)
        assert rest[-1].id == f"{at}.9"


async def test_id_of_an_overtaken_writer_beyond_what_it_wrote_gives_a_gap(stage: Stage):
    await stage.publish(5)
    old = await fence(stage)
    await stage.run.open("another")
    await stage.publish(5)
    async with stage.watching(last_event_id=f"{old}.6") as answer:
        assert answer.events[0] == "stepstream.gap"
    async with stage.watching(last_event_id=f"{old}.5") as answer:
        assert [frame.id for frame in answer.frames] == [f"{await fence(stage)}.{at}" for at in range(6, 11)]


async def test_evicted_id_gives_a_gap_and_the_state():
    stage = Stage("archive")
    stage.journal = MemoryJournal(max_run_bytes=3_000)
    stage.run.journal, stage.relay = stage.journal, Relay(stage.journal)
    for _ in range(10):
        await stage.publish(2)
        await stage.run.checkpoint()
    async with stage.watching("changes", last_event_id=f"{await fence(stage)}.2") as answer:
        assert answer.events == ["stepstream.gap", "stepstream.state"]
    async with stage.watching("events", last_event_id=f"{await fence(stage)}.20") as answer:
        assert answer.frames == []


class NotedJournal(MemoryJournal):
    """A journal that notes what is read of it."""

    def __init__(self) -> None:
        super().__init__()
        self.read_from: list[int] = []

    async def read(self, run_id: str, *, after: int = 0) -> AsyncIterator[Held]:
        pieces: Any = super().read(run_id, after=after)
        async with aclosing(pieces):
            async for held in pieces:
                self.read_from.append(held.last if isinstance(held, Checkpoint) else held.first)
                yield held


@each_row("form", ["events", "changes", "view", ""])
async def test_who_joins_where_nobody_watches_reads_from_the_newest_checkpoint(form: str):
    stage = Stage("archive")
    stage.journal = stage.run.journal = NotedJournal()
    for count in (4, 3, 2, 1):
        if stage.run.position == 7:
            await stage.run.checkpoint()
        await stage.publish(count)
    path = f"{stage.path}?as={form}" if form else f"/{stage.run.run_id}"
    async with watching(Relay(stage.journal), path) as answer:
        alone = answer.body
    assert stage.journal.read_from == [8, 10]
    stage.run.journal = stage.journal = MemoryJournal()
    fresh = PublishedRun(stage.journal, stage.run.run_id, stage.run.events)
    await fresh.append(10)
    async with watching(Relay(stage.journal), path) as answer:
        assert _without_fences(answer.body) == _without_fences(alone)


def _without_fences(body: bytes) -> bytes:
    return re.sub(rb"\d{13}\.|retry: \d+|[0-9.e+]+(?=,\"ended)", b"", body)


@pytest.mark.parametrize("form", ["events", "changes", "view"])
async def test_id_from_before_the_newest_checkpoint_is_gone_on_with_where_nobody_watches(
    form: str, monkeypatch: pytest.MonkeyPatch
):
    stage = Stage("archive", coalesce=0)
    await stage.publish(8)
    await stage.run.checkpoint()
    await stage.publish(4)
    at = await fence(stage)
    bodies = []
    for kept in (4_096, -10_000):  # far from the end what follows an id is kept for nobody
        monkeypatch.setattr(viewer_module, "MAX_RECENT", kept)
        async with watching(
            Relay(stage.journal, coalesce=0), f"{stage.path}?as={form}", last_event_id=f"{at}.3"
        ) as got:
            bodies.append(re.sub(rb"retry: \d+", b"", got.body))
            assert [frame.event for frame in got.frames if frame.event.startswith("stepstream.gap")] == []
    assert bodies[0] == bodies[1]


async def test_run_whose_beginning_is_gone_without_a_checkpoint_cannot_be_seen():
    stage = Stage("archive")
    stage.journal = MemoryJournal(max_run_bytes=1_000)
    stage.run.journal, stage.relay = stage.journal, Relay(stage.journal)
    await stage.publish(5)
    await stage.publish(5)
    answer = await stage.asked("changes")
    assert [(frame.event, frame.data) for frame in answer.frames] == [("stepstream.interrupted", b'{"reason":"gone"}')]
    assert (await asked(stage.relay, f"/{stage.run.run_id}")).status == 503


async def test_run_ends_with_done_and_who_comes_again_gets_204(stage: Stage):
    await stage.publish()
    answer = await stage.asked()
    *_, terminal, done = answer.frames
    assert (terminal.event, done.event, done.data) == ("thread.run.completed", "done", b"[DONE]")
    assert terminal.id == done.id
    again = await stage.asked(last_event_id=done.id)
    assert (again.status, again.body) == (204, b"")


@each_row("form", ["events", "changes"])
async def test_interrupted_run_does_not_look_as_if_it_had_ended(form: str):
    stage = Stage()
    await stage.publish(5)
    async with stage.watching(form) as answer:
        await stage.run.append(1, status="interrupted", error="it broke")
        await anyio.wait_all_tasks_blocked()
        assert answer.is_whole
        assert answer.events[-1] == "stepstream.interrupted"
        assert answer.frames[-1].data == b'{"reason":"interrupted"}'
        assert "done" not in answer.events


async def test_run_whose_writer_is_silent_is_interrupted(stage: Stage):
    await stage.publish(5)
    async with stage.watching() as answer:
        await anyio.sleep(29)
        assert "stepstream.interrupted" not in answer.events
        await anyio.sleep(2)
        assert answer.events[-1] == "stepstream.interrupted"


@pytest.mark.parametrize("form", ["events", "changes", "view"])
async def test_viewer_of_a_run_that_its_journal_has_lost_comes_back_without_its_id(stage: Stage, form: str):
    stage.relay = Relay(MemoryJournal(), random=lambda: 0.5)
    answer = await stage.asked(form, last_event_id="1.3")
    assert (answer.status, answer.is_whole, answer.body.startswith(b"retry: 7500\n\nid:\n")) == (200, True, True)
    assert [(frame.event, frame.data) for frame in answer.frames] == [("stepstream.gap", b'{"reason":"gone"}')]
    for nowhere in ("", "F.3", "1.0"):
        assert (await stage.asked(form, last_event_id=nowhere)).status == 404


async def test_viewer_of_a_run_whose_writer_is_dead_comes_back_later(stage: Stage):
    await stage.publish(5)
    async with stage.watching() as answer:
        assert answer.body.startswith(b"retry: 1500\n\n")
    await anyio.sleep(31)
    async with stage.watching() as answer:
        assert answer.body.startswith(b"retry: 7500\n\n")
        assert answer.events[-1] == "stepstream.interrupted"


async def test_run_that_waits_is_waited_for():
    stage = Stage("ferry", "ferry-answer")
    await stage.run.append(5, status="waiting")
    async with stage.watching() as answer:
        await anyio.sleep(3_000)
        assert not answer.is_whole
        assert answer.body.count(b":\n\n") >= 199
        await stage.publish()
        assert answer.events[-1] == "done"


async def test_comment_comes_every_fifteen_seconds(stage: Stage):
    stage.relay = Relay(stage.journal, interrupted_after=1_000)
    await stage.publish(3)
    async with stage.watching() as answer:
        size = len(answer.body)
        await anyio.sleep(14)
        assert len(answer.body) == size
        await anyio.sleep(2)
        assert answer.body[size:] == b":\n\n"
        await anyio.sleep(60)
        assert answer.body[size:] == 5 * b":\n\n"


async def test_viewer_who_does_not_read_gets_a_gap_and_holds_up_nobody():
    stage = Stage(coalesce=0)
    stage.run = long_run(stage, MAX_BEHIND + 50)
    await stage.publish(10)
    async with stage.watching() as slow, stage.watching() as other:
        slow.reads = anyio.Event()
        for _ in range(20):
            await stage.publish(MAX_BEHIND // 20 + 2)
        assert len(other.frames) > MAX_BEHIND
        slow.reads.set()
        await anyio.wait_all_tasks_blocked()
        assert slow.events.count("stepstream.gap") == 1
        client = EventsClient()
        client.feed(slow.body)
        assert client.known == known(stage.run.server)
        assert client.gaps == ["slow"]


async def test_viewer_who_is_alone_and_does_not_read_gets_a_gap_too():
    stage = Stage(coalesce=0)
    stage.run = long_run(stage, MAX_BEHIND + 200)
    await stage.publish(10)
    async with stage.watching() as slow:
        slow.reads = anyio.Event()
        for _ in range(20):
            await stage.publish(MAX_BEHIND // 20 + 5)
        await anyio.sleep(1)
        slow.reads.set()
        await anyio.wait_all_tasks_blocked()
        client = EventsClient()
        client.feed(slow.body)
        assert client.known == known(stage.run.server)
        assert client.gaps == ["slow"]


def long_run(stage: Stage, deltas: int) -> PublishedRun:
    """Return a run whose message has so many deltas."""
    run_id, events = events_of("ferry-answer")
    delta = next(event for event in events if event.name == "thread.message.delta")
    at = events.index(delta)
    return PublishedRun(stage.journal, run_id, (*events[:at], *([delta] * deltas), *events[at:]))


async def test_write_that_takes_ten_seconds_ends_the_stream(stage: Stage):
    await stage.publish(3)
    async with stage.watching() as stuck, stage.watching() as other:
        stuck.reads = anyio.Event()
        await stage.publish(1)
        await anyio.sleep(11)
        stuck.reads.set()
        await stage.publish(1)
        assert not stuck.is_whole
        assert stuck.frames[-1].id != other.frames[-1].id
        assert "1 viewers" in repr(stage.relay)


async def test_first_delta_and_transitions_go_at_once_and_deltas_between_are_merged():
    stage = Stage(coalesce=2)
    stage.run = long_run(stage, 30)
    start = next(at for at, event in enumerate(stage.run.events) if event.name == "thread.message.delta")
    await stage.publish(start)
    async with stage.watching("changes") as answer, stage.watching("events") as events:
        before, before_events = len(answer.frames), len(events.frames)
        await stage.publish(1)
        assert len(answer.frames) == before + 1
        await stage.publish(5)
        assert len(answer.frames) == before + 1
        assert len(events.frames) == before_events + 6  # those are never merged
        await anyio.sleep(3)
        (merged,) = answer.frames[before + 1 :]
        assert merged.id.endswith(f".{start + 6}")
        change = decode_change(merged.data)
        piece = decode_change(answer.frames[before].data).delta.content[0].text.value
        assert change.delta.content[0].text.value == 5 * piece
        assert (change.sequence, change.key) == (start + 6, f"{stage.run.run_id}/{start + 6}/0")
        await stage.publish(2)
        await stage.publish()
        assert answer.events[-1] == "done"


async def test_viewers_who_are_level_share_one_bytes_object(stage: Stage):
    await stage.publish(4)
    sent: list[list[bytes]] = [[], [], []]

    async def view(pieces: list[bytes]) -> None:
        pieces.extend([piece async for piece in stage.relay.frames(RUN_ID)])

    async with anyio.create_task_group() as tasks:
        for pieces in sent:
            tasks.start_soon(view, pieces)
        await anyio.wait_all_tasks_blocked()
        await stage.publish(1)
        await stage.publish()
    first, *others = sent
    for pieces in others:
        assert all(one is another for one, another in zip(first[:2], pieces[:2], strict=True))


async def test_shutdown_ends_every_stream_and_lets_nobody_in(stage: Stage):
    await stage.publish(4)
    async with stage.watching() as answer, stage.watching("changes") as other:
        await stage.relay.drain()
        await anyio.wait_all_tasks_blocked()
        for one in (answer, other):
            assert one.is_whole
            assert one.frames[-1].data == b'{"reason":"shutdown"}'
    late = await stage.asked()
    assert (late.status, late.body, late.is_whole) == (200, b"retry: 7500\n\n", True)


async def test_shutdown_ends_the_list_and_lets_nobody_in(stage: Stage):
    await stage.publish(4)
    async with watching(stage.relay, "/", accept="text/event-stream") as answer:
        assert (len(answer.frames), stage.relay.viewers) == (1, 1)
        await stage.relay.drain()
        await anyio.wait_all_tasks_blocked()
        assert (len(answer.frames), answer.is_whole, stage.relay.viewers) == (1, True, 0)
    late = await asked(stage.relay, "/", accept="text/event-stream")
    assert (late.status, late.body) == (200, b"retry: 7500\n\n")


async def test_drain_waits_no_longer_than_told(stage: Stage):
    await stage.publish(4)
    async with stage.watching() as answer:
        answer.reads = anyio.Event()
        await stage.publish(1)
        began = anyio.current_time()
        await stage.relay.drain(3)
        assert anyio.current_time() - began == pytest.approx(3, abs=0.1)


async def test_client_who_leaves_is_forgotten(stage: Stage):
    await stage.publish(4)
    async with stage.watching() as answer:
        assert repr(stage.relay) == "<Relay 1 viewers>"
        answer.left.set()
        await anyio.wait_all_tasks_blocked()
        assert repr(stage.relay) == "<Relay 0 viewers>"


async def test_viewer_goes_on_where_the_one_who_read_for_all_is_cancelled(stage: Stage):
    await stage.publish(4)
    async with stage.watching() as first, stage.watching() as second, stage.watching() as third:
        for answer in (first, second):
            await stage.publish(1)
            answer.left.set()
            await anyio.wait_all_tasks_blocked()
        await stage.publish()
        assert third.events[-1] == "done"


async def test_run_may_be_watched_before_it_begins(stage: Stage):
    pieces: list[bytes] = []

    async def view() -> None:
        pieces.extend([piece async for piece in stage.relay.frames(RUN_ID, form="changes")])

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(view)
        await anyio.sleep(20)
        await stage.publish()
    client = EventsClient()
    assert b"event: done" in pieces[-1]
    assert client.gaps == []


async def test_run_that_never_begins_is_interrupted(stage: Stage):
    with anyio.fail_after(31):
        pieces = [piece async for piece in stage.relay.frames("run_none")]
    assert pieces[-1] == b'event: stepstream.interrupted\ndata: {"reason":"interrupted"}\n\n'


async def test_runs_of_a_processor_are_encoded_without_a_relay():
    journal = MemoryJournal()
    data = (ROOT / "tests" / "streams" / "sums.sse").read_bytes()
    async with Processor(journal=journal) as processor:
        await processor.run(chunks_of([data]))
        async with encoded(processor, "events", run_id=RUN_ID) as frames:
            body = b"".join([piece async for piece in frames])
    assert b"event: thread.run.completed" in body
    assert body.endswith(b"data: [DONE]\n\n")
    async with Processor() as without:
        with pytest.raises(TypeError, match="MemoryJournal"):
            encoded(without, "events", run_id=RUN_ID)


async def test_form_that_does_not_exist_is_named(stage: Stage):
    with pytest.raises(ValueError, match=r"expected form as one of events, changes.*got 'morse'"):
        stage.relay.frames(RUN_ID, form="morse")
    answer = await stage.asked("morse")
    assert (answer.status, answer.body[:28]) == (400, b"Expected `as` as one of even")


class Uncursored:
    """A form that has no cursor, and counts events."""

    def begin(self, state: Any) -> Any:
        return CHANGES.make().begin(state)

    def feed(self, event: Any, changes: Any) -> Any:
        return EVENTS.make().feed(event, changes)

    def interrupt(self, reason: str) -> Any:
        return CHANGES.make().interrupt(reason)


UNCURSORED = msgspec.structs.replace(EVENTS, name="plain", make=Uncursored, has_cursor=False, only_open=True)


async def test_form_without_a_cursor_has_no_ids_and_is_joined_again():
    stage = Stage(forms={"plain": UNCURSORED})
    await stage.publish(4)
    async with stage.watching("plain", last_event_id="1.1") as answer:
        await stage.publish(2)
        assert {frame.id for frame in answer.frames} == {""}
        assert b"retry" not in answer.body
        assert answer.events[0] == "stepstream.state"


async def test_form_for_open_runs_answers_204_where_there_is_nothing_to_resume():
    stage = Stage(forms={"plain": UNCURSORED})
    assert (await stage.asked("plain")).status == 204
    await stage.publish()
    assert (await stage.asked("plain")).status == 204


async def test_slow_viewer_of_a_form_without_a_cursor_is_interrupted_in_its_words():
    stage = Stage(forms={"plain": UNCURSORED}, coalesce=0)
    stage.run = long_run(stage, MAX_BEHIND + 50)
    await stage.publish(10)
    async with stage.watching("plain") as slow, stage.watching("plain"):
        slow.reads = anyio.Event()
        for _ in range(20):
            await stage.publish(MAX_BEHIND // 20 + 2)
        slow.reads.set()
        await anyio.wait_all_tasks_blocked()
        assert slow.frames[-1].data == b'{"reason":"slow"}'
        assert slow.is_whole
        assert len(slow.frames) < MAX_BEHIND + 30


async def test_viewer_without_a_cursor_for_whom_nothing_is_kept_any_more_is_cut():
    stage = Stage(forms={"plain": UNCURSORED}, coalesce=0)
    stage.run = long_run(stage, MAX_RECENT + 50)
    await stage.publish(10)
    async with stage.relay.frames(stage.run.run_id, form="plain") as slow, stage.watching("plain"):
        await anext(slow)
        await stage.publish(MAX_RECENT + 20)
        with pytest.raises(RunInterrupted, match="too far behind"):
            await anext(slow)


async def test_viewer_that_is_not_level_is_cut_where_its_form_has_no_words():
    stage = Stage(forms={"plain": UNCURSORED}, authorize=lambda scope, run_id: allowed[0])
    allowed = [True]
    await stage.publish(4)
    frames = stage.relay.frames(RUN_ID, form="plain")
    async with frames:
        frames.interrupt("revoked", is_silent=True)
        with pytest.raises(RunInterrupted, match="may not see the run any more"):
            [piece async for piece in frames]


async def test_run_of_the_same_name_after_the_first_is_forgotten_is_a_gap():
    stage = Stage()
    stage.journal = MemoryJournal(keep=5)
    stage.run.journal, stage.relay = stage.journal, Relay(stage.journal)
    await stage.publish()
    assert (await stage.asked("changes")).events[-1] == "done"
    await anyio.sleep(6)
    assert (await stage.asked("changes")).status == 404
    stage.run = PublishedRun(stage.journal, *events_of("sums"))
    await stage.publish(4)
    async with stage.watching("changes") as answer:
        assert answer.events[-2:] == ["stepstream.gap", "stepstream.state"]
        assert msgspec.json.decode(answer.frames[-1].data)["position"] == 4
