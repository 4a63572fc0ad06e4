import json
import math
import threading
from typing import Any

import anyio
import anyio.to_thread
import httpx
import pytest

from stepstream.simulator import app, serve
from stepstream.simulator.asgi import Message, Receive, Scope, Send

RUNS = "/threads/thread_own/runs"
RUN_BODY = b'{"assistant_id": "asst_own", "stream": true}'
REQUEST = f"POST {RUNS} HTTP/1.1\r\nhost: simulator\r\ncontent-length: {len(RUN_BODY)}\r\n\r\n".encode() + RUN_BODY
LIMIT = 2**20

REFUSED = {
    "unknown path": ("POST", "/threads/thread_own/messages", RUN_BODY, 404, "no such path"),
    "unknown prefix": ("POST", "/v2/threads/runs", RUN_BODY, 404, "no such path"),
    "final slash": ("POST", f"{RUNS}/", RUN_BODY, 404, "no such path"),
    "wrong method": ("GET", RUNS, b"", 405, "expected POST"),
    "empty body": ("POST", RUNS, b"", 400, "expected a JSON body"),
    "not JSON": ("POST", RUNS, b"stream=true", 400, "malformed"),
    "not UTF-8": ("POST", RUNS, b'{"assistant_id": "\xff", "stream": true}', 400, "expected a JSON body"),
    "too deep": ("POST", RUNS, b'{"x": ' + b"[" * 200_000, 400, "expected a JSON body"),
    "not an object": ("POST", RUNS, b"[]", 400, "Expected `object`"),
    "wrong type": ("POST", RUNS, b'{"assistant_id": 7, "stream": true}', 400, "$.assistant_id"),
    "no stream": ("POST", RUNS, b"{}", 400, '"stream": true'),
    "no stream on a new thread": ("POST", "/threads/runs", b'{"stream": false}', 400, '"stream": true'),
    "no outputs": ("POST", f"{RUNS}/run_x/submit_tool_outputs", b'{"stream": true}', 400, "tool_outputs"),
    "unknown run": (
        "POST", f"{RUNS}/run_x/submit_tool_outputs", b'{"tool_outputs": [], "stream": true}', 404, "no run 'run_x'"
    ),
    "body just too long": ("POST", RUNS, b" " * (LIMIT + 1), 413, "at most 1,048,576 bytes"),
    "body far too long": ("POST", RUNS, b" " * (20 * LIMIT), 413, "at most 1,048,576 bytes"),
}  # fmt: skip


def message(response: httpx.Response) -> str:
    """The text of an error answer, which has the API's shape and nothing else."""
    body = response.json()
    assert body.keys() == {"error"}
    assert body["error"].keys() == {"message", "type", "param", "code"}
    assert body["error"]["type"] == "invalid_request_error"
    assert response.headers["x-request-id"].startswith("req_sim")
    return body["error"]["message"]


@pytest.mark.parametrize(("method", "path", "body", "status", "text"), REFUSED.values(), ids=REFUSED)
async def test_request_is_refused(
    client: httpx.AsyncClient, method: str, path: str, body: bytes, status: int, text: str
):
    response = await client.request(method, path, content=body)
    assert response.status_code == status
    assert text in message(response)


async def test_wrong_method_is_told_the_right_one(client: httpx.AsyncClient):
    response = await client.delete(RUNS)
    assert (response.status_code, response.headers["allow"]) == (405, "POST")


async def test_longest_body_is_read(client: httpx.AsyncClient):
    response = await client.post(RUNS, content=RUN_BODY.ljust(LIMIT))
    assert response.status_code == 200


@pytest.fixture
async def waiting(client: httpx.AsyncClient) -> tuple[str, list[str]]:
    """A run that waits: the path for its outputs, and the ids of its calls."""
    response = await client.post(RUNS, content=RUN_BODY)
    return waiting_run(response.text)


def waiting_run(text: str) -> tuple[str, list[str]]:
    data = next(block for block in text.split("\n\n") if block.startswith("event: thread.run.requires_action"))
    run: dict[str, Any] = json.loads(data.partition("data: ")[2])
    calls = run["required_action"]["submit_tool_outputs"]["tool_calls"]
    return f"{RUNS}/{run['id']}/submit_tool_outputs", [call["id"] for call in calls]


def outputs(*call_ids: str) -> dict[str, Any]:
    answers = [{"tool_call_id": call_id, "output": "fog"} for call_id in call_ids]
    return {"tool_outputs": answers, "stream": True}


async def test_outputs_of_other_calls_are_refused_and_the_run_still_waits(
    client: httpx.AsyncClient, waiting: tuple[str, list[str]]
):
    path, (first, second) = waiting
    for given in ((), (first,), (first, "call_other"), (first, second, "call_other"), (first, first)):
        response = await client.post(path, json=outputs(*given))
        assert (response.status_code, message(response)[:8]) == (400, "expected")
    assert (await client.post(path, json=outputs(second, first))).status_code == 200


async def test_second_submission_is_refused(client: httpx.AsyncClient, waiting: tuple[str, list[str]]):
    path, calls = waiting
    assert (await client.post(path, json=outputs(*calls))).status_code == 200
    response = await client.post(path, json=outputs(*calls))
    assert response.status_code == 400
    assert message(response) == "expected a run that requires action, got one that is completed"


async def test_run_is_unknown_on_another_thread(client: httpx.AsyncClient, waiting: tuple[str, list[str]]):
    path, calls = waiting
    response = await client.post(path.replace("thread_own", "thread_other"), json=outputs(*calls))
    assert response.status_code == 404


class Caller:
    """A server's side of one request to the application, whose client leaves once it has got `patience` messages."""

    def __init__(self, body: bytes = RUN_BODY, *, path: str = RUNS, patience: float = math.inf) -> None:
        self.scope: Scope = {"type": "http", "method": "POST", "path": path}
        self.sent: list[Message] = []
        self._incoming: list[Message] = [{"type": "http.request", "body": body}]
        self._patience = patience
        self._left = anyio.Event()

    async def receive(self) -> Message:
        if self._incoming:
            return self._incoming.pop()
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        self.sent.append(message)
        if len(self.sent) >= self._patience:
            self._left.set()

    @property
    def text(self) -> str:
        return b"".join(message.get("body", b"") for message in self.sent).decode()


class RaisingCaller(Caller):
    """The same on a server that raises once the client has left."""

    async def send(self, message: Message) -> None:
        await super().send(message)
        if len(self.sent) >= self._patience:
            raise OSError("the client has left")


async def test_stream_ends_where_the_server_says_that_its_client_left():
    caller = Caller(patience=2)
    with anyio.fail_after(5):
        await app(pace=1e6)(caller.scope, caller.receive, caller.send)
    assert [message["type"] for message in caller.sent] == ["http.response.start", "http.response.body"]


async def test_stream_ends_where_sending_fails():
    caller = RaisingCaller(patience=5)
    await app(pace=0)(caller.scope, caller.receive, caller.send)
    assert len(caller.sent) == 5


async def test_client_that_leaves_inside_its_body_gets_nothing():
    caller = Caller()
    caller._incoming = [{"type": "http.disconnect"}, {"type": "http.request", "body": b"{", "more_body": True}]
    await app(pace=0)(caller.scope, caller.receive, caller.send)
    assert caller.sent == []


async def test_run_goes_on_where_its_client_has_left():
    application = app(pace=0)
    staying, leaving = Caller(), RaisingCaller(patience=5)
    for caller in (staying, leaving):
        await application(caller.scope, caller.receive, caller.send)
    path, calls = waiting_run(staying.text.replace("_sim1", "_sim2"))
    submitting = Caller(json.dumps(outputs(*calls)).encode(), path=path)
    await application(submitting.scope, submitting.receive, submitting.send)
    assert submitting.text.endswith("event: done\ndata: [DONE]\n\n")


def test_client_that_hangs_up_ends_its_stream():
    ended = threading.Event()
    simulator = app(pace=1e6)

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


async def test_lifespan_is_answered():
    incoming: list[Message] = [{"type": "lifespan.shutdown"}, {"type": "lifespan.startup"}]
    sent: list[Message] = []

    async def receive() -> Message:
        return incoming.pop()

    async def send(message: Message) -> None:
        sent.append(message)

    await app()({"type": "lifespan"}, receive, send)
    assert sent == [{"type": "lifespan.startup.complete"}, {"type": "lifespan.shutdown.complete"}]


async def test_other_scopes_are_refused():
    caller = Caller()
    with pytest.raises(ValueError, match="expected an http or lifespan scope, got 'websocket'"):
        await app()({"type": "websocket"}, caller.receive, caller.send)


@pytest.mark.parametrize("pace", [-0.1, math.inf, math.nan])
def test_pace_is_a_finite_number_of_at_least_zero(pace: float):
    with pytest.raises(ValueError, match="expected a pace of at least 0"):
        app(pace=pace)
