"""The list of runs: what it says of each, what changes, and what goes."""

from contextlib import aclosing
from typing import Any

import anyio
import msgspec
import pytest

from stepstream import FrameDecoder, MemoryJournal
from stepstream.dashboard import Dashboard
from stepstream.dashboard.list_stream import news_of_list
from stepstream.dashboard.run_list import RunList
from tests.support.published_runs import PublishedRun, events_of
from tests.support.relay_requests import asked, watching


def decoded(data: bytes) -> Any:
    return msgspec.json.decode(data)


async def settled(runs: RunList) -> Any:
    """Return the list when all is folded that there is."""
    await runs.catch_up()
    return {one["id"]: one for one in decoded(runs.whole())}


async def test_list_says_what_became_of_a_run():
    journal = MemoryJournal()
    run = PublishedRun(journal, *events_of("tides"))
    await run.append(100)
    found = (await settled(RunList(journal)))["run_tides"]
    assert found | {"opened": 0, "ended": 0} == {
        "id": "run_tides",
        "state": "ended",
        "status": "completed",
        "model": "",
        "opened": 0,
        "ended": 0,
        "position": 15,
        "steps": 2,
        "calls": 1,
        "failed_steps": 0,
        "tokens": 215,
        "reason": "",
        "text": "The tide falls 3.2 m \u2013 mind the sill.",
    }


async def test_run_whose_writer_is_silent_is_interrupted_until_it_is_heard_of_again(monkeypatch: pytest.MonkeyPatch):
    journal = MemoryJournal()
    run, runs = PublishedRun(journal, *events_of("sums")), RunList(journal, look_every=0)
    await run.append(5)
    monkeypatch.setattr("stepstream.dashboard.run_list.INTERRUPTED_AFTER", 0)
    first = (await settled(runs))["run_sums"]
    version = runs.version
    again = (await settled(runs))["run_sums"]
    assert (first["state"], first["reason"]) == ("interrupted", "its writer gave no sign for 0 s")
    assert (again, runs.version) == (first, version)
    assert first["ended"] >= first["opened"]
    monkeypatch.setattr("stepstream.dashboard.run_list.INTERRUPTED_AFTER", 1_000)
    await run.append(1)
    alive = (await settled(runs))["run_sums"]
    assert (alive["state"], alive["position"], alive["ended"], alive["reason"]) == ("open", 6, None, "")


async def test_viewer_of_the_list_gets_all_runs_and_then_what_changed():
    journal = MemoryJournal()
    first, second = PublishedRun(journal, *events_of("sums")), PublishedRun(journal, *events_of("tides"))
    await first.append(3)
    body = b""
    with anyio.fail_after(10):
        async with aclosing(news_of_list(RunList(journal, look_every=0.01))) as news:
            async for piece in news:
                body += piece
                if b"stepstream.runs" in piece:
                    await second.append(100)
                if b'"completed"' in piece:
                    break
    frames = FrameDecoder().feed(body)
    assert body.startswith(b"retry: 1000\n\n")
    assert [frame.event for frame in frames][:2] == ["stepstream.runs", "message"]
    assert [one["id"] for one in decoded(frames[0].data)] == ["run_sums"]
    assert {one["id"] for frame in frames[1:] for one in decoded(frame.data)} == {"run_sums", "run_tides"}


async def test_list_is_an_event_stream_where_that_is_accepted():
    async with watching(Dashboard(MemoryJournal()), "/list", accept="text/event-stream") as answer:
        assert (answer.status, answer.headers["content-type"]) == (200, "text/event-stream")
        assert [(frame.event, frame.data) for frame in answer.frames] == [("stepstream.runs", b"[]")]


@pytest.mark.parametrize("host", ["localhost:8700", "127.0.0.1", "[::1]:8700", "stepstream.localhost"])
async def test_list_is_for_this_machine(host: str):
    answer = await asked(Dashboard(MemoryJournal()), "/list", host=host)
    assert (answer.status, answer.body) == (200, b"[]")


@pytest.mark.parametrize(
    "names", [("tides",), ("sums",), ("lagoon",), ("harbour",), ("archive",), ("crossing",), ("ferry", "ferry-answer")]
)
async def test_run_that_is_looked_at_all_the_time_has_the_summary_that_a_late_look_gives(names: tuple[str, ...]):
    journal = MemoryJournal()
    run = PublishedRun(journal, *events_of(*names))
    always = RunList(journal, look_every=0)
    while not run.is_whole:
        await run.append(1)
        assert (await settled(always))[run.run_id] == (await settled(RunList(journal)))[run.run_id], run.position


async def test_only_the_newest_runs_are_listed_and_the_others_are_said_to_be_gone():
    journal = MemoryJournal()
    runs = RunList(journal, max_runs=2, look_every=0)
    versions = []
    for number in range(4):
        opened = await journal.open(f"run_{number}", writer="a")
        await journal.append(opened, status="ended")
        await settled(runs)
        versions.append(runs.version)
    assert [one["id"] for one in decoded(runs.whole())] == ["run_3", "run_2"]
    told = decoded(runs.since(versions[1]) or b"")
    assert {one["id"] for one in told if not one.get("gone")} == {"run_3", "run_2"}
    assert {one["id"] for one in told if one.get("gone")} == {"run_0", "run_1"}


async def test_who_was_away_for_too_long_gets_the_whole_list():
    journal = MemoryJournal(max_runs=2)
    runs = RunList(journal, max_runs=2, look_every=0)
    for number in range(12):
        await journal.append(await journal.open(f"run_{number}", writer="a"), status="ended")
        await settled(runs)
    assert runs.since(0) is None
    assert runs.since(runs.version) == b"[]"


async def test_run_that_has_no_room_is_counted_when_it_has_ended(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("stepstream.dashboard.run_list.MAX_FOLDED", 1_000)
    journal = MemoryJournal()
    run = PublishedRun(journal, *events_of("tides"))
    runs = RunList(journal, look_every=0)
    await run.append(12)
    await settled(runs)
    await run.append(1)
    before = (await settled(runs))["run_tides"]
    await run.append(100)
    after = (await settled(runs))["run_tides"]
    assert (before["position"], before["state"]) == (13, "open")
    assert (after["position"], after["state"], after["steps"], after["status"]) == (15, "ended", 2, "completed")


async def test_many_who_look_cost_one_look(monkeypatch: pytest.MonkeyPatch):
    journal, looks = MemoryJournal(), list[int]()
    run = PublishedRun(journal, *events_of("tides"))
    await run.append(3)
    runs = RunList(journal)
    look = RunList._look

    async def counted(one: RunList) -> None:
        looks.append(1)
        await look(one)

    monkeypatch.setattr(RunList, "_look", counted)
    with anyio.move_on_after(1):
        async with anyio.create_task_group() as tasks:
            for _ in range(50):
                tasks.start_soon(_read_on, runs)
            await run.append(3)
    assert 2 <= len(looks) <= 8


async def _read_on(runs: RunList) -> None:
    async with aclosing(news_of_list(runs)) as news:
        async for _ in news:
            pass


async def test_leader_that_leaves_is_followed_by_another(patient: None):
    journal = MemoryJournal()
    runs, told = RunList(journal, look_every=0.01), list[bytes]()
    run = PublishedRun(journal, *events_of("tides"))

    async def read() -> None:
        await runs.newer(0)
        told.append(runs.whole())

    async with anyio.create_task_group() as tasks:
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as first:
                first.start_soon(read)
                await anyio.wait_all_tasks_blocked()
                tasks.start_soon(read)
                await anyio.wait_all_tasks_blocked()
                scope.cancel()
        with anyio.fail_after(5):
            await run.append(1)
    assert [one["id"] for one in decoded(told[0])] == ["run_tides"]
