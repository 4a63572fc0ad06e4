"""Requests that are refused, clients that leave, and what else can come in by ASGI."""

import math
import threading
from typing import Any

import anyio
import anyio.to_thread
import httpx
import pytest

from stepstream.asgi.http import Message, Receive, Scope, Send
from stepstream.simulator.application import app
from stepstream.simulator.sending import BrokenOff
from stepstream.simulator.serving import serve
from tests.support.simulator_runs import RUN_BODY, RUN_BYTES, RUNS, Caller, RaisingCaller, answer, calling, events_of
from tests.support.stored_runs import THREAD, stored_run
from tests.support.tables import each_row

REQUEST = f"POST {RUNS} HTTP/1.1\r\nhost: simulator\r\ncontent-length: {len(RUN_BYTES)}\r\n\r\n".encode() + RUN_BYTES
LIMIT = 2**20
OUTPUTS = f"{RUNS}/run_x/submit_tool_outputs"

REFUSED: dict[str, tuple[str, str, bytes, int, str, str | None]] = {
    "unknown path": ("POST", "/assistants", b"{}", 404, "no such path: POST /assistants", None),
    "unknown prefix": ("POST", "/v2/threads/runs", RUN_BYTES, 404, "no such path", None),
    "no path": ("GET", "/", b"", 404, "no such path", None),
    "too long a path": ("GET", f"{RUNS}/run_x/steps/step_x/more", b"", 404, "no such path", None),
    "wrong method": ("DELETE", RUNS, b"", 405, f"expected POST, GET {RUNS}, got DELETE", None),
    "empty body": ("POST", f"{THREAD}/messages", b"", 400, "missing required field `role`", None),
    "not JSON": ("POST", RUNS, b"stream=true", 400, "malformed", None),
    "half of it": ("POST", RUNS, b'{"stream": tr', 400, "expected a JSON body", None),
    "not UTF-8": ("POST", RUNS, b'{"assistant_id": "\xff", "stream": true}', 400, "expected a JSON body", None),
    "too deep": ("POST", RUNS, b'{"x": ' + b"[" * 200_000, 400, "expected a JSON body", None),
    "not an object": ("POST", RUNS, b"[]", 400, "Expected `object`", None),
    "wrong type": ("POST", RUNS, b'{"assistant_id": 7, "stream": true}', 400, "Expected `str`", "assistant_id"),
    "wrong stream": ("POST", RUNS, b'{"stream": "yes"}', 400, "Expected `bool | null`", "stream"),
    "wrong tools": ("POST", RUNS, b'{"tools": {}}', 400, "Expected `array | null`", "tools"),
    "wrong message": ("POST", "/threads", b'{"messages": [{"role": "user"}]}', 400, "`content`", "messages[0]"),
    "wrong content": ("POST", f"{THREAD}/messages", b'{"role": "user", "content": 1}', 400, "Expected", "content"),
    "no outputs": ("POST", OUTPUTS, b'{"stream": true}', 404, "no run found with id 'run_x'", "run_id"),
    "wrong outputs": ("POST", OUTPUTS, b'{"tool_outputs": [1]}', 400, "Expected `object`", "tool_outputs[0]"),
    "wrong approval": (
        "POST", OUTPUTS, b'{"tool_approvals": [{"tool_call_id": "c", "approve": "yes"}]}', 400, "Expected `bool`",
        "tool_approvals[0].approve",
    ),
    "unknown run": ("GET", f"{RUNS}/run_x", b"", 404, "no run found with id 'run_x' on thread", "run_id"),
    "unknown run's steps": ("GET", f"{RUNS}/run_x/steps", b"", 404, "no run found", "run_id"),
    "unknown run's step": ("GET", f"{RUNS}/run_x/steps/step_x", b"", 404, "no run found", "run_id"),
    "unknown run cancelled": ("POST", f"{RUNS}/run_x/cancel", b"", 404, "no run found", "run_id"),
    "unknown step": ("GET", f"{RUNS}/run_sim1/steps/step_x", b"", 404, "no run step found", "step_id"),
    "unknown thread": ("GET", "/threads/thread_x", b"", 404, "no thread found with id 'thread_x'", "thread_id"),
    "unknown thread's runs": ("GET", "/threads/thread_x/runs", b"", 404, "no thread found", "thread_id"),
    "unknown thread's messages": ("GET", "/threads/thread_x/messages", b"", 404, "no thread found", "thread_id"),
    "unknown message": ("GET", f"{THREAD}/messages/msg_x", b"", 404, "no message found", "message_id"),
    "wrong limit": ("GET", f"{RUNS}?limit=0", b"", 400, "expected a limit from 1 to 100, got '0'", "limit"),
    "far too long a limit": ("GET", f"{RUNS}?limit={'0' * 9}1{'0' * 5_000}", b"", 400, "expected a limit", "limit"),
    "wrong order": ("GET", f"{RUNS}?order=up", b"", 400, "expected the order asc or desc, got 'up'", "order"),
    "unknown after": ("GET", f"{RUNS}?after=run_x", b"", 404, "no object with id 'run_x' in this list", "after"),
    "unknown before": ("GET", f"{RUNS}?before=run_x", b"", 404, "no object with id 'run_x'", "before"),
    "unknown scenario": ("POST", f"{RUNS}?scenario=x", b"", 400, "expected a scenario out of umbrellas", "scenario"),
    "no scenario": ("POST", f"{RUNS}?scenario=", b"", 400, "got ''", "scenario"),
    "unknown fault": ("POST", f"{RUNS}?fault=x", b"", 400, "expected a fault out of cut-event", "fault"),
    "wrong fault": ("GET", f"{RUNS}?fault=drip=0", b"", 400, "expected for the fault drip a number", "fault"),
    "wrong seed": ("POST", f"{RUNS}?seed=-1", b"", 400, "expected a seed from 0 to 92", "seed"),
    "long seed": ("POST", f"{RUNS}?seed={'9' * 5_000}", b"", 400, "expected a seed from 0 to", "seed"),
    "wrong pace": ("POST", f"{RUNS}?pace=0", b"", 400, "expected as pace real, fast, or events per second", "pace"),
    "many parameters": ("GET", f"{RUNS}?{'a=b&' * 101}", b"", 400, "expected at most 100 query parameters", None),
    "body just too long": ("POST", RUNS, b" " * (LIMIT + 1), 413, "at most 1,048,576 bytes", None),
}  # fmt: skip


def error_of(response: httpx.Response) -> dict[str, Any]:
    """The error of an answer, which has the API's shape and nothing else."""
    body = response.json()
    assert body.keys() == {"error"}
    error: dict[str, Any] = body["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert response.headers["content-type"] == "application/json"
    assert response.headers["x-request-id"].startswith("req_sim")
    return error


@each_row(("method", "path", "body", "status", "text", "param"), REFUSED.values(), ids=REFUSED)
async def test_request_is_refused(method: str, path: str, body: bytes, status: int, text: str, param: str | None):
    async with calling(app(scenario="message", pace="fast")) as client:
        assert (await client.post(RUNS)).status_code == 200
        response = await client.request(method, path, content=body)
        error = error_of(response)
        assert (response.status_code, error["type"], error["param"]) == (status, "invalid_request_error", param)
        assert text in error["message"]
        assert len(error["message"]) < 1_000


@pytest.mark.parametrize("name", ["wrong type", "unknown path", "wrong method", "body just too long"])
async def test_request_is_refused_over_a_real_socket(client: httpx.AsyncClient, name: str):
    method, path, body, status, text, _ = REFUSED[name]
    response = await client.request(method, path, content=body)
    assert response.status_code == status
    assert text in error_of(response)["message"]


async def test_body_far_too_long_is_refused_over_a_real_socket(client: httpx.AsyncClient):
    response = await client.post(RUNS, content=b" " * (20 * LIMIT))
    assert (response.status_code, "at most 1,048,576 bytes" in error_of(response)["message"]) == (413, True)


async def test_wrong_method_is_told_the_right_ones(client: httpx.AsyncClient):
    response = await client.delete(RUNS)
    assert (response.status_code, response.headers["allow"]) == (405, "POST, GET")


async def test_longest_body_is_read(client: httpx.AsyncClient):
    response = await client.post(RUNS, content=RUN_BYTES.ljust(LIMIT))
    assert response.status_code == 200


async def test_every_answer_has_a_request_id_of_its_own():
    async with calling(app(scenario="message", pace="fast")) as client:
        made = [
            await client.post("/threads"),
            await client.post(RUNS, json=RUN_BODY),
            await client.post(f"{RUNS}?fault=html", json=RUN_BODY),
            await client.post(f"{RUNS}?fault=redirect", json=RUN_BODY),
            await client.get("/nowhere"),
        ]
        ids = [response.headers["x-request-id"] for response in made]
        assert ids == [f"req_sim{number}" for number in range(1, 6)]


@pytest.mark.parametrize("thread", ["a%0d%0ab", "a%3Fb", "Krak%C3%B3w", "a%20b", "%00"])
async def test_any_path_can_be_redirected(client: httpx.AsyncClient, thread: str):
    response = await client.post(f"/threads/{thread}/runs?fault=redirect&x=%0d%0ay&pace=fast", json=RUN_BODY)
    assert response.status_code == 307
    target = response.headers["location"]
    assert target.lower() == f"/threads/{thread}/runs?fault=none&x=%0d%0ay&pace=fast".lower()
    assert events_of((await client.post(target, json=RUN_BODY)).content)[-1][0] == "done"


# clients that leave


async def test_stream_ends_where_the_server_says_that_its_client_left():
    caller = Caller(patience=1)
    with anyio.fail_after(60):
        await caller.call(app(pace=1e-6))
    assert [message["type"] for message in caller.sent] == ["http.response.start"]


async def test_stream_that_stalls_ends_where_its_client_left():
    caller = Caller(patience=4, query="fault=stall=3")
    with anyio.fail_after(60):
        await caller.call(app(pace="fast"))
    assert len(events_of(caller.data)) == 3


async def test_stream_ends_where_sending_fails():
    caller = RaisingCaller(patience=5)
    await caller.call(app(pace="fast"))
    assert len(caller.sent) == 5


async def test_client_that_leaves_inside_its_body_gets_nothing():
    caller = Caller()
    caller.incoming = [{"type": "http.disconnect"}, {"type": "http.request", "body": b"{", "more_body": True}]
    await caller.call(app(pace="fast"))
    assert caller.sent == []


@each_row("patience", [1, 2, 5, 20, 60])
async def test_run_goes_on_where_its_client_has_left(patience: int):
    application = app(pace="fast")
    await RaisingCaller(patience=patience).call(application)
    async with calling(application) as client:
        waiting = await stored_run(client, "run_sim1")
        assert [step["status"] for step in waiting.steps] == ["completed", "in_progress"]
        response = await client.post(f"{RUNS}/run_sim1/submit_tool_outputs", json=answer(waiting.run))
        assert events_of(response.content)[-1][0] == "done"
        assert (await stored_run(client, "run_sim1")).run["status"] == "completed"


@each_row("fault", ["reset-event=3", "break-event=3"])
async def test_server_that_cannot_break_its_connections_gets_an_exception(fault: str):
    caller = Caller(query=f"fault={fault}")
    with pytest.raises(BrokenOff):
        await caller.call(app(pace="fast"))
    assert len(events_of(caller.data)) == 3


def test_client_that_hangs_up_ends_its_stream():
    ended = threading.Event()
    simulator = app(pace=1e-6)

    async def watched(scope: Scope, receive: Receive, send: Send) -> None:
        await simulator(scope, receive, send)
        if scope["type"] == "http":
            ended.set()

    async def hang_up() -> bool:
        async with serve(watched) as url:
            host, port = url.removeprefix("http://").split(":")
            async with await anyio.connect_tcp(host, int(port)) as connection:
                await connection.send(REQUEST)
                assert (await connection.receive()).startswith(b"HTTP/1.1 200 OK")
            return await anyio.to_thread.run_sync(ended.wait, 5)

    assert anyio.run(hang_up)


# other scopes


async def test_lifespan_is_answered():
    incoming: list[Message] = [{"type": "lifespan.shutdown"}, {"type": "lifespan.startup"}]
    sent: list[Message] = []

    async def receive() -> Message:
        return incoming.pop()

    async def send(message: Message) -> None:
        sent.append(message)

    await app()({"type": "lifespan"}, receive, send)
    assert sent == [{"type": "lifespan.startup.complete"}, {"type": "lifespan.shutdown.complete"}]


async def test_websockets_are_refused():
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    async def send(message: Message) -> None:
        sent.append(message)

    await app()({"type": "websocket"}, receive, send)
    assert sent == [{"type": "websocket.close", "code": 1003}]


@each_row("pace", [-0.1, 0, math.inf, math.nan, "", "slow", "real ", "-1", "inf"])
def test_pace_is_a_finite_number_above_zero_or_a_name(pace: float | str):
    with pytest.raises(ValueError, match="expected as pace real, fast, or events per second above 0, got"):
        app(pace=pace)
