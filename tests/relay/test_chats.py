"""Conversations: what a page posts becomes a run that it is sent, whoever leaves, comes back, answers or stops it."""

import logging
from collections.abc import Callable
from typing import Any

import anyio
import httpx
import pytest

from stepstream import Processor
from stepstream.relay import chats as chats_module
from stepstream.relay.chats import MAX_BODY, Chats
from stepstream.relay.kits import AgUiChats, AiSdkChats
from stepstream.relay.posted import Posted
from tests.support.json_values import JSON
from tests.support.kit_pages import Script, agent_body, chat_body, read_on, results, served, user_says
from tests.support.kit_readers import AgUiReader, AiSdkReader

HELLO = user_says("When does the ferry leave?")
CALLS = {"call_north": "at nine", "call_south": "at ten"}

BOTH = pytest.mark.parametrize(
    ("make", "body", "reader"),
    [(AiSdkChats, chat_body, AiSdkReader), (AgUiChats, agent_body, AgUiReader)],
    ids=["ai-sdk", "ag-ui"],
)
Make = Callable[..., Chats]
Body = Callable[..., JSON]


def answers(make: Make, given: dict[str, Any]) -> list[JSON]:
    """Return the messages by which a page answers calls."""
    if make is AgUiChats:
        return [{"id": f"t{one}", "role": "tool", "toolCallId": one, "content": given[one]} for one in given]
    parts = [
        {"type": "tool-departures", "toolCallId": one, "state": "output-available", "output": given[one]}
        for one in given
    ]
    return [{"id": "run_ferry", "role": "assistant", "parts": parts}]


@BOTH
async def test_page_is_sent_its_run_and_goes_on_with_it_when_it_answers(make: Make, body: Body, reader: Any):
    script = Script("ferry", "ferry-answer")
    async with served(make(script)) as client:
        page = read_on(reader(), await client.post("/chat", json=body(HELLO)))
        assert page.end == "waits"
        calls = page.held.calls
        assert set(CALLS) <= set(calls)
        got = await client.post("/chat", json=body(HELLO, *answers(make, CALLS)))
        page = read_on(page, got) if make is AiSdkChats else read_agent_on(page, got)
    assert page.end == "success"
    first, second = script.posted
    assert (first.text, first.run_id) == ("When does the ferry leave?", None)
    assert (second.run_id, second.outputs) == ("run_ferry", CALLS)
    assert list(page.held.texts.values())[-1]
    assert len(set(page.held.calls)) == len(calls)


def read_agent_on(page: AgUiReader, answer: httpx.Response) -> AgUiReader:
    """Read the answer to tool messages, which the page has."""
    for one in answers(AgUiChats, CALLS):
        page.messages.append(one)
    assert "call_north/result" not in answer.text
    return read_on(page, answer)  # type: ignore[return-value]


async def test_agent_finds_its_own_names_of_run_and_thread():
    async with served(AgUiChats(Script("ferry", "ferry-answer"))) as client:
        page = read_on(AgUiReader(), await client.post("/", json=agent_body(HELLO, run="mine")))
        body = agent_body(HELLO, *answers(AgUiChats, CALLS), run="mine/2")
        page = read_on(page, await client.post("/", json=body))
    assert isinstance(page, AgUiReader)
    named = [(one["threadId"], one["runId"], one.get("parentRunId")) for one in page.runs]
    assert named == [("c1", "mine", None), ("c1", "mine/2", "run_ferry")]


async def test_agent_answers_interrupts_by_resuming():
    script = Script("ferry", "ferry-answer")
    resume = [{"interruptId": one, "status": "resolved", "payload": CALLS[one]} for one in CALLS]
    async with served(AgUiChats(script)) as client:
        page = read_on(AgUiReader(), await client.post("/", json=agent_body(HELLO)))
        got = read_on(page, await client.post("/", json=agent_body(HELLO, resume=resume)))
    assert got.end == "success"
    assert script.posted[1].outputs == CALLS
    assert results(got) != {}


@pytest.mark.parametrize("approved", [True, False])
async def test_approvals_come_back(approved: bool):
    script = Script("ferry", "ferry-answer")
    parts = [
        {"toolCallId": one, "state": "approval-responded", "approval": {"id": one, "approved": approved}}
        for one in CALLS
    ]
    async with served(AiSdkChats(script)) as client:
        await client.post("/", json=chat_body(HELLO))
        message = {"id": "run_ferry", "role": "assistant", "parts": parts}
        await client.post("/", json=chat_body(HELLO, message))
    status = "resolved" if approved else "cancelled"
    other = Script("ferry", "ferry-answer")
    async with served(AgUiChats(other)) as client:
        await client.post("/", json=agent_body(HELLO))
        resume = [{"interruptId": one, "status": status} for one in CALLS]
        await client.post("/", json=agent_body(HELLO, resume=resume))
    assert script.posted[1].approvals == other.posted[1].approvals == dict.fromkeys(CALLS, approved)


@BOTH
async def test_run_goes_on_without_its_page_which_comes_back_to_the_same_message(make: Make, body: Body, reader: Any):
    script = Script("sums")
    script.pause_at = 12
    async with served(make(script)) as client, anyio.create_task_group() as tasks:
        with anyio.move_on_after(5) as leaving:
            tasks.start_soon(cancel_when_waiting, leaving)
            await client.post("/chat", json=body(HELLO))
        answers = list[httpx.Response]()

        async def come_back() -> None:
            answers.append(await client.get("/chat/c1/stream"))

        tasks.start_soon(come_back)
        await anyio.wait_all_tasks_blocked()
        script.go_on.set()
    page = read_on(reader(), answers[0])
    assert page.end == "success"
    assert page.types[0] in ("start", "RUN_STARTED")
    assert page.types.count(page.types[0]) == 1


async def cancel_when_waiting(scope: anyio.CancelScope) -> None:
    await anyio.wait_all_tasks_blocked()
    scope.cancel()


@BOTH
async def test_nothing_to_resume_is_no_content(make: Make, body: Body, reader: Any):
    async with served(make(Script("ferry"))) as client:
        assert (await client.get("/chat/c1/stream")).status_code == 204
        await client.post("/chat", json=body(HELLO))
        assert (await client.get("/chat/c1/stream")).status_code == 204


@BOTH
async def test_run_that_has_ended_is_over_whatever_the_answer_still_does(make: Make, body: Body, reader: Any):
    script, over = Script("sums", "tides"), anyio.Event()

    async def answer(processor: Processor, posted: Posted) -> None:
        await script(processor, posted)
        await over.wait()

    async with served(make(answer)) as client:
        for _ in range(2):  # a next question is no conflict
            got = await client.post("/chat", json=body(HELLO))
            assert (got.status_code, read_on(reader(), got).end) == (200, "success")
            assert (await client.get("/chat/c1/stream")).status_code == 204
            assert (await client.post("/chat/c1/stop")).status_code == 204
        over.set()


@BOTH
async def test_run_that_is_stopped_ends_for_all_who_see_it_and_not_well(make: Make, body: Body, reader: Any):
    script = Script("sums")
    script.pause_at = 12
    got = list[httpx.Response]()

    async def ask(method: str, path: str, content: JSON | None = None) -> None:
        got.append(await client.request(method, path, json=content))

    async with served(make(script)) as client, anyio.create_task_group() as tasks:
        tasks.start_soon(ask, "POST", "/chat", body(HELLO))
        await anyio.wait_all_tasks_blocked()
        tasks.start_soon(ask, "GET", "/chat/c1/stream")
        await anyio.wait_all_tasks_blocked()
        assert (await client.post("/chat/c1/stop")).status_code == 204
        assert (await client.post("/chat/other/stop")).status_code == 204
    end = "abort" if make is AiSdkChats else "error"
    assert [read_on(reader(), one).end for one in got] == [end, end]


async def test_server_is_asked_to_cancel_the_run_that_is_stopped():
    script, cancelled = Script("sums"), list[str]()
    script.pause_at = 12

    async def cancel(run_id: str) -> None:
        cancelled.append(run_id)
        script.go_on.set()  # a server would tell its end

    async with served(AiSdkChats(script, cancel=cancel)) as client, anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: client.post("/", json=chat_body(HELLO)))
        await anyio.wait_all_tasks_blocked()
        await client.post("/c1/stop")
        await client.post("/c1/stop")
    assert cancelled == ["run_sums"] * len(cancelled) != []


async def test_run_that_cannot_be_cancelled_goes_on_and_the_page_is_told():
    script = Script("sums")
    script.pause_at = 12

    async def cancel(run_id: str) -> None:
        raise OSError("a secret")

    async with served(AiSdkChats(script, cancel=cancel)) as client, anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: client.post("/", json=chat_body(HELLO)))
        await anyio.wait_all_tasks_blocked()
        answer = await client.post("/c1/stop")
        script.go_on.set()
    assert (answer.status_code, answer.text) == (503, "The run cannot be stopped now.")


@BOTH
async def test_answer_that_raises_is_an_error_for_the_page_without_its_words(
    make: Make, body: Body, reader: Any, caplog: pytest.LogCaptureFixture
):
    async def failing(processor: Processor, posted: Posted) -> None:
        raise RuntimeError("the key of the server")

    caplog.set_level(logging.CRITICAL, "stepstream.relay")
    async with served(make(failing)) as client:
        got = await client.post("/chat", json=body(HELLO))
    assert read_on(reader(), got).end == "error"
    assert "key" not in got.text


@BOTH
async def test_answer_that_raises_while_the_run_waits_is_an_error(
    make: Make, body: Body, reader: Any, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.CRITICAL, "stepstream.relay")
    script = Script("ferry")  # and no second stream
    async with served(make(script)) as client:
        await client.post("/chat", json=body(HELLO))
        got = await client.post("/chat", json=body(HELLO, *answers(make, CALLS)))
    assert read_on(reader(), got).end == "error"


@BOTH
async def test_what_no_run_can_answer_is_refused(make: Make, body: Body, reader: Any):
    script = Script("sums")
    script.pause_at = 12
    async with anyio.create_task_group() as tasks, served(make(script)) as client:
        bad: list[tuple[bytes, int]] = [(b"{}", 422), (b"[", 422), (b"[" * 10_000, 422), (b" " * (MAX_BODY + 1), 413)]
        for content, status in bad:
            assert (await client.post("/chat", content=content)).status_code == status
        assert (await client.put("/chat")).status_code == 405
        unasked = await client.post("/chat", json=body(HELLO, *answers(make, CALLS)))
        assert unasked.status_code == 409
        tasks.start_soon(lambda: client.post("/chat", json=body(HELLO)))
        await anyio.wait_all_tasks_blocked()
        assert (await client.post("/chat", json=body(HELLO))).status_code == 409
        script.go_on.set()


async def test_only_who_may_is_served():
    other = {"origin": "https://elsewhere.example"}
    async with served(AiSdkChats(Script("sums"))) as client:
        assert (await client.post("/", json=chat_body(HELLO), headers={"host": "app.example"})).status_code == 403
        assert (await client.post("/", json=chat_body(HELLO), headers=other)).status_code == 403
    app = AiSdkChats(Script("sums"), authorize=lambda scope, chat: chat == "c2", origins=[other["origin"]])
    async with served(app) as client:
        preflight = await client.options("/", headers=other)
        assert (preflight.status_code, preflight.headers["access-control-allow-methods"]) == (204, "GET, POST")
        assert (await client.post("/", json=chat_body(HELLO), headers=other)).status_code == 404
        assert (await client.get("/c1/stream")).status_code == 404
        assert (await client.post("/", json=chat_body(HELLO, chat="c2"))).status_code == 200


async def test_conversations_are_bounded_and_those_that_ended_first_go():
    chats = AiSdkChats(Script(*["sums"] * 4), max_chats=2)
    async with served(chats) as client:
        for chat in "abcd":
            await client.post("/", json=chat_body(HELLO, chat=chat))
        assert repr(chats) == "<AiSdkChats 2 conversations>"


async def test_conversation_for_which_there_is_no_room_is_refused(monkeypatch: pytest.MonkeyPatch):
    script = Script("sums")
    script.pause_at = 12
    async with served(AiSdkChats(script, max_chats=1)) as client, anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: client.post("/", json=chat_body(HELLO)))
        await anyio.wait_all_tasks_blocked()
        assert (await client.post("/", json=chat_body(HELLO, chat="c2"))).status_code == 503
        monkeypatch.setattr(chats_module, "MAX_VIEWERS", 1)
        assert (await client.get("/c1/stream")).status_code == 503
        script.go_on.set()


async def test_run_that_does_not_begin_in_time_is_an_error(monkeypatch: pytest.MonkeyPatch):
    async def sleeping(processor: Processor, posted: Posted) -> None:
        await anyio.sleep_forever()

    monkeypatch.setattr(chats_module, "BEGIN_WITHIN", 0.01)
    chats = AiSdkChats(sleeping)
    async with served(chats) as client:
        assert read_on(AiSdkReader(), await client.post("/", json=chat_body(HELLO))).end == "error"
        assert (await client.get("/c1/stream")).status_code == 204


async def test_conversations_are_open_in_a_block_only():
    chats = AiSdkChats(Script("sums"))
    transport = httpx.ASGITransport(chats, client=("127.0.0.1", 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        with pytest.raises(RuntimeError, match="async with"):
            await client.post("/", json=chat_body(HELLO))
