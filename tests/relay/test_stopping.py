"""Runs are stopped by who may see them, once, from pages that may ask."""

from typing import Any

import anyio
import pytest

from stepstream import JournalError, MemoryJournal, Relay
from stepstream.relay import stopping
from tests.support.published_runs import PublishedRun, events_of
from tests.support.relay_requests import Answer, asked, scope_of
from tests.support.tables import each_row
from tests.support.virtual_time import anyio_backend

__all__ = ["anyio_backend"]

APP = "https://app.example"


class Stops:
    """What is called to stop a run, and what came of it."""

    def __init__(self, answer: Any = None, *, waits: bool = False) -> None:
        self.answer = answer
        self.calls: list[str] = []
        self.may_end = anyio.Event()
        if not waits:
            self.may_end.set()

    async def __call__(self, scope: Any, run_id: str) -> Any:
        assert scope["type"] == "http"
        self.calls.append(run_id)
        await self.may_end.wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


async def begun(status: Any = None) -> PublishedRun:
    run = PublishedRun(MemoryJournal(), *events_of("sums"))
    await run.append(6, status=status)
    return run


async def stopped(relay: Relay, run_id: str = "run_sums", **given: Any) -> Answer:
    return await asked(relay, f"/{run_id}/stop", **{"method": "POST", **given})


async def test_run_is_stopped_once_however_often_that_is_asked():
    run, stops = await begun(), Stops()
    relay = Relay(run.journal, stop=stops)
    answers = [await stopped(relay) for _ in range(3)]
    assert [(answer.status, answer.body, stops.calls) for answer in answers] == [(204, b"", ["run_sums"])] * 3
    await run.open("another")
    assert ((await stopped(relay)).status, len(stops.calls)) == (204, 2)  # it goes on with another writer


async def test_many_who_stop_a_run_at_once_wait_for_one_call():
    run, stops = await begun(), Stops(waits=True)
    relay, statuses = Relay(run.journal, stop=stops), list[int]()

    async def ask() -> None:
        statuses.append((await stopped(relay)).status)

    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(ask)
        await anyio.wait_all_tasks_blocked()
        assert (stops.calls, statuses) == (["run_sums"], [])
        stops.may_end.set()
    assert (stops.calls, statuses) == (["run_sums"], [204] * 3)


async def test_who_is_cancelled_while_a_run_is_stopped_leaves_it_to_the_next():
    run, stops = await begun(), Stops(waits=True)
    relay = Relay(run.journal, stop=stops)
    with anyio.move_on_after(1):
        await stopped(relay)
    stops.may_end.set()
    assert ((await stopped(relay)).status, len(stops.calls)) == (204, 2)


async def test_sync_function_stops_too():
    run, calls = await begun(), list[str]()
    assert (await stopped(Relay(run.journal, stop=lambda scope, run_id: calls.append(run_id)))).status == 204
    assert calls == ["run_sums"]


@each_row("status", ["open", "waiting", "interrupted", "ended"])
async def test_run_that_has_ended_is_not_stopped_any_more(status: str):
    run, stops = await begun(status), Stops()
    assert (await stopped(Relay(run.journal, stop=stops))).status == 204
    assert len(stops.calls) == (status != "ended")


async def test_failure_of_a_stop_is_no_matter_where_the_run_has_ended_meanwhile():
    run, stops = await begun(), Stops(OSError("the run has status completed"), waits=True)
    relay, answers = Relay(run.journal, stop=stops), list[Answer]()

    async def ask() -> None:
        answers.append(await stopped(relay))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask)
        await anyio.wait_all_tasks_blocked()
        await run.append(1_000)
        stops.may_end.set()
    assert answers[0].status == 204


@pytest.mark.parametrize(
    ("answer", "waits", "status", "text"),
    [
        (False, False, 409, b"This run cannot be stopped."),
        (OSError("a secret"), False, 503, b"The run cannot be stopped now."),
        (None, True, 503, b"The run cannot be stopped now."),
    ],
    ids=["false", "raises", "hangs"],
)
async def test_stop_that_is_none_is_said_and_may_be_tried_again(answer: Any, waits: bool, status: int, text: bytes):
    run, stops = await begun(), Stops(answer, waits=waits)
    relay = Relay(run.journal, stop=stops)
    began = anyio.current_time()
    found = await stopped(relay)
    assert (found.status, found.body) == (status, text)
    assert anyio.current_time() - began in (0, stopping.STOP_WITHIN)
    await stopped(relay)
    assert len(stops.calls) == 2


class BrokenJournal(MemoryJournal):
    """A journal that cannot be read."""

    async def runs(self, run_id: str | None = None) -> Any:
        raise JournalError("its server is away")
        yield


async def test_run_of_a_journal_that_cannot_be_read_is_not_stopped():
    stops = Stops()
    assert (await stopped(Relay(BrokenJournal(), stop=stops))).status == 503
    assert stops.calls == []


@pytest.mark.parametrize(
    ("given", "status"),
    [
        ({}, 204),
        ({"origin": APP}, 204),
        ({"origin": "http://localhost:8000"}, 204),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"sec_fetch_site": "cross-site"}, 403),
        ({"method": "GET"}, 405),
        ({"method": "DELETE"}, 405),
        ({"client": ("10.0.0.1", 5000)}, 403),
        ({"x_forwarded_for": "10.0.0.1"}, 403),
        ({"run_id": "run_unknown"}, 404),
    ],
    ids=str,
)
async def test_who_may_stop_a_run_of_a_machine_of_its_own(given: dict[str, Any], status: int):
    run, stops = await begun(), Stops()
    answer = await stopped(Relay(run.journal, stop=stops, origins=[APP]), **given)
    assert (answer.status, len(stops.calls)) == (status, status == 204)
    assert answer.headers.get("allow") == ("POST, OPTIONS" if status == 405 else None)


async def test_who_may_not_see_a_run_may_not_stop_it():
    run, stops = await begun(), Stops()

    async def authorize(scope: Any, run_id: str) -> bool:
        return scope["client"][0] == "10.0.0.1"

    relay = Relay(run.journal, stop=stops, authorize=authorize)
    assert (await stopped(relay, client=("10.0.0.2", 1))).status == 404
    assert stops.calls == []
    assert (await stopped(relay, client=("10.0.0.1", 1))).status == 204


async def test_without_stop_there_is_no_such_route():
    run = await begun()
    relay = Relay(run.journal, origins=[APP])
    assert ((await stopped(relay)).status, (await stopped(relay, method="GET")).status) == (405, 404)
    preflights = [
        await asked(one, "/run_sums/stop", method="OPTIONS", origin=APP)
        for one in (relay, Relay(run.journal, origins=[APP], stop=Stops()))
    ]
    assert [one.headers["access-control-allow-methods"] for one in preflights] == ["GET", "GET, POST"]


async def test_of_a_thousand_runs_it_is_known_that_they_were_stopped(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(stopping, "MAX_STOPPED", 2)
    journal, stops = MemoryJournal(), Stops()
    for number in range(3):
        await journal.open(f"run_{number}", writer="a")
    one = stopping.Stopping(journal, stops)
    for number in (0, 1, 2, 2, 0):
        await one.stop(scope_of("/"), f"run_{number}")
    assert stops.calls == ["run_0", "run_1", "run_2", "run_0"]
    assert repr(one) == "<Stopping: 0 now, 2 before>"
