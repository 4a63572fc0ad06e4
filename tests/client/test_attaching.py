"""Going on with a run that another process opened or lost: told, answered, followed to its end."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from stepstream import (
    APIError,
    MemoryJournal,
    Outcome,
    Processor,
    RunNotFound,
    RunsClient,
    RunTransition,
    Toolbox,
    ToolFailed,
    TransportError,
)
from stepstream.client import polling
from tests.support.breaking_simulator import Asked, Server, Trouble, Wire, breaking
from tests.support.drives import SEEN, harbour, illegal, is_over, same, told
from tests.support.scripted_server import CREATED, DONE, Exchange, serving
from tests.support.stored_runs import stored_run


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polling, "FIRST_DELAY", 0.001)


@asynccontextmanager
async def watched(processor: Processor) -> AsyncIterator[list[Any]]:
    """Give what is told in a processor's block."""
    changes: list[Any] = []

    @processor.on(*SEEN)
    async def see(change: Any) -> None:
        changes.append(change)

    async with processor:
        yield changes


async def opened(server: Server, processor: Processor, **options: Any) -> tuple[Outcome, RunsClient, list[Any]]:
    """Drive a run as far as it goes without tools."""
    client = server.wired(Wire())
    async with watched(processor) as changes:
        outcome = await client.drive(processor, None, assistant_id="asst_own", **options)
    return outcome, client, changes


async def checked(server: Server, outcome: Outcome) -> None:
    """Check that an outcome is that of a run that is over, as the server says it."""
    [run] = outcome.runs.values()
    truth = await stored_run(server.client, run.id, f"{server.url}/threads/{run.thread_id}")
    assert same(told(outcome), truth)
    assert is_over(truth.run)


async def test_run_that_waits_in_another_process_is_answered_and_driven_to_its_end():
    made: list[str] = []
    async with breaking("tool-rounds") as server:
        first, client, before = await opened(server, Processor())
        run, processor = first.run, Processor()
        assert run is not None
        assert run.status == "requires_action"
        async with watched(processor) as changes:
            outcome = await client.attach(processor, run.thread_id, run.id, harbour(made), context="mine")
        await checked(server, outcome)
    assert (illegal(changes), {change.context for change in changes}, len(made)) == ([], {"mine"}, 4)
    ends = {change.key for change in before if getattr(change, "terminal", False)}
    assert ends <= {change.key for change in changes}


async def test_what_was_exported_is_not_told_again():
    made: list[str] = []
    async with breaking("tool-rounds") as server:
        first = Processor()
        opening, client, before = await opened(server, first)
        run = opening.run
        assert run is not None
        processor = Processor.restore(first.export(), max_streams=1)
        async with watched(processor) as after:
            await client.attach(processor, run.thread_id, run.id, harbour(made))
            assert processor.runs[run.id].status == "completed"
    keys = [change.key for change in (*before, *after)]
    assert (len(set(keys)), illegal([*before, *after]), len(made)) == (len(keys), [], 4)


async def test_what_another_process_has_written_to_the_journal_is_not_told_again():
    made: list[str] = []
    journal = MemoryJournal()
    async with breaking("tool-rounds") as server:
        opening, client, before = await opened(server, Processor(journal=journal))
        run, processor = opening.run, Processor(journal=journal)
        assert run is not None
        async with watched(processor) as after:
            await client.attach(processor, run.thread_id, run.id, harbour(made))
    keys = [change.key for change in (*before, *after)]
    assert (len(set(keys)), illegal([*before, *after]), len(made)) == (len(keys), [], 4)
    follower = Processor()
    async with watched(follower) as followed:
        outcome = await follower.run(journal.follow(run.id))
    assert (outcome.status, [change.key for change in followed]) == ("completed", keys)


async def test_run_that_has_ended_in_the_journal_is_whole_to_who_attaches_to_it():
    journal = MemoryJournal()
    async with breaking("code") as server:
        opening, client, _ = await opened(server, Processor(journal=journal))
        run, processor = opening.run, Processor(journal=journal)
        assert run is not None
        async with watched(processor) as changes:
            outcome = await client.attach(processor, run.thread_id, run.id)
        await checked(server, outcome)
    [info] = [info async for info in journal.runs()]
    assert (changes, outcome.steps, info.status, info.position) == ([], opening.steps, "ended", opening.events - 1)


async def test_run_that_has_ended_is_told_as_far_as_it_is_not_known():
    async with breaking("message") as server:
        first = Processor()
        opening, client, before = await opened(server, first)
        run = opening.run
        assert run is not None
        for processor, expected in ((Processor(), True), (Processor.restore(first.export()), False)):
            async with watched(processor) as changes:
                outcome = await client.attach(processor, run.thread_id, run.id)
            assert (outcome.status, outcome.reconciled) == ("completed", True)
            assert bool(changes) is expected
            assert {change.key for change in changes} <= {change.key for change in before}


async def test_without_a_toolbox_the_outcome_says_what_the_run_waits_for():
    async with breaking("tool-rounds") as server:
        opening, client, _ = await opened(server, Processor())
        run = opening.run
        assert run is not None
        async with Processor() as processor:
            outcome = await client.attach(processor, run.thread_id, run.id)
    assert outcome.required_action == opening.required_action


async def test_tool_that_fails_cancels_an_attached_run():
    tools = Toolbox(on_error="cancel")

    @tools.function
    async def get_depth(place: str, tide: str) -> float:
        raise ValueError("no lead")

    async with breaking("tool-rounds") as server:
        opening, client, _ = await opened(server, Processor())
        run = opening.run
        assert run is not None
        async with Processor() as processor:
            with pytest.raises(ToolFailed):
                await client.attach(processor, run.thread_id, run.id, tools)
            assert processor.runs[run.id].status == "cancelled"


async def test_run_whose_id_never_came_is_found_by_its_token():
    def lose_the_answer(asked: Asked, before: int) -> Trouble | None:
        return Trouble(is_got=True) if asked.path.endswith("/runs") and asked.method == "POST" and not before else None

    async with breaking("message") as server:
        client, thread = server.wired(Wire(trouble=lose_the_answer)), await new_thread(server)
        async with Processor() as processor:
            with pytest.raises(TransportError, match="the connection failed"):
                await client.drive(processor, thread, assistant_id="asst_own", token="job-7")
        processor = Processor()
        async with watched(processor) as changes:
            outcome = await client.attach(processor, thread, token="job-7")
            with pytest.raises(RunNotFound, match="did not arrive"):
                await client.attach(processor, thread, token="job-8")
            with pytest.raises(RunNotFound):
                await client.attach(processor, "thread_unknown", token="job-7")
        await checked(server, outcome)
        (run,) = await client.list_runs(thread)
    assert list(outcome.runs) == [run.id]
    assert (run.metadata, illegal(changes)) == ({"stepstream_token": "job-7"}, [])


async def new_thread(server: Server) -> str:
    response = await server.client.post(f"{server.url}/v1/threads", json={})
    return str(response.json()["id"])


async def test_runs_of_a_thread_are_listed_oldest_first():
    async with breaking("message") as server:
        client, thread = server.wired(Wire()), await new_thread(server)
        async with Processor() as processor:
            runs = [await client.drive(processor, thread, assistant_id="asst_own") for _ in range(3)]
        listed = await client.list_runs(thread)
    assert [run.id for run in listed] == [outcome.run.id for outcome in runs if outcome.run is not None]


async def test_run_that_the_server_does_not_know_is_an_api_error():
    async with breaking("message") as server:
        client, thread = server.wired(Wire()), await new_thread(server)
        async with Processor() as processor:
            with pytest.raises(APIError) as caught:
                await client.attach(processor, thread, "run_unknown")
    assert caught.value.status_code == 404


async def test_run_that_goes_on_for_too_long_is_a_transport_error_that_names_the_limit():
    async def queued(exchange: Exchange) -> None:
        lists = "/steps" in exchange.target or "/messages" in exchange.target
        await exchange.answer("200 OK", {"data": []} if lists else {"id": "run_1", "status": "queued"})

    async with serving(queued) as url, Processor() as processor:
        with pytest.raises(TransportError, match=r"^for 0\.5 s \(reconcile_timeout\) the server did not say"):
            await RunsClient(url, reconcile_timeout=0.5).attach(processor, "thread_1", "run_1")


# What the opening request carries


async def test_opening_requests_carry_a_key_and_a_token_only_where_they_are_given():
    asked: list[tuple[list[str], Any]] = []

    async def script(exchange: Exchange) -> None:
        asked.append((exchange.values("idempotency-key"), json.loads(exchange.body).get("metadata")))
        await exchange.stream(CREATED + DONE)

    given: dict[str, Any] = {"idempotency_key": "key-1", "token": "job-7"}
    async with serving(script) as url, Processor() as processor, RunsClient(url) as client:
        for options in ({}, given, {**given, "metadata": {"channel": "harbour"}}):
            await client.drive(processor, "thread_1", assistant_id="a", **options)
            await processor.run(client.stream_thread_and_run(assistant_id="a", **options))
    named = {"stepstream_token": "job-7"}
    expected = [([], None), (["key-1"], named), (["key-1"], {"channel": "harbour", **named})]
    assert asked == [one for one in expected for _ in range(2)]


@pytest.mark.parametrize("ids", [{}, {"run_id": "run_1", "token": "job-7"}])
async def test_run_is_named_by_its_id_or_its_token(ids: dict[str, str]):
    async with Processor() as processor:
        with pytest.raises(TypeError, match="run_id or token"):
            await RunsClient("http://127.0.0.1:9").attach(processor, "thread_1", **ids)


async def test_transitions_of_an_attached_run_come_once_however_often_it_is_attached():
    async with breaking("tool-rounds") as server:
        opening, client, _ = await opened(server, Processor())
        run, processor, made = opening.run, Processor(), list[str]()
        assert run is not None
        async with watched(processor) as changes:
            for tools in (None, None, harbour(made), None):
                await client.attach(processor, run.thread_id, run.id, tools)
    keys = [change.key for change in changes]
    assert (len(set(keys)), len(made)) == (len(keys), 4)
    assert [change.status for change in changes if isinstance(change, RunTransition)][-1] == "completed"
