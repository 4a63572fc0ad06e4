import contextlib
import json
import socket
import struct
import threading
from base64 import b64encode
from collections.abc import AsyncIterator, Iterator
from typing import Any

import anyio
import httpx
import httpx2
import pytest

from stepstream import IdleTimeout, Processor, RunTransition, StreamTruncated, TransportError, connect
from tests.support.scripted_server import CREATED, DONE, Exchange, InTurn, serving
from tests.support.stream_reads import WITHIN, Clock, both_clients, items, read, refused, run
from tests.support.tables import each_row


async def whole(exchange: Exchange) -> None:
    await exchange.stream(CREATED, DONE)


class Notes:
    """A script that answers with a whole stream and keeps the requests."""

    def __init__(self) -> None:
        self.requests: list[Exchange] = []

    async def __call__(self, exchange: Exchange) -> None:
        self.requests.append(exchange)
        await whole(exchange)


async def test_bytes_of_the_stream_come_as_they_were_sent():
    async with serving(whole) as url:
        assert await read(url) == CREATED + DONE


async def test_open_stream_tells_its_status_headers_and_request_id():
    async with serving(whole) as url, connect(f"{url}/runs?key=s3cret") as stream:
        assert (stream.status_code, stream.reason_phrase, stream.is_success) == (200, "OK", True)
        assert (stream.headers["x-request-id"], stream.request_id) == ("req_1", "req_1")
        assert repr(stream) == f"<EventStream {url}/runs 200>"


async def test_request_without_json_is_a_get():
    notes = Notes()
    async with serving(notes) as url:
        await read(f"{url}/threads/1/runs?a=b")
    [request] = notes.requests
    assert (request.method, request.target, request.body) == ("GET", "/threads/1/runs?a=b", b"")
    assert request.values("content-type") == []


@each_row("payload", [{"assistant_id": "asst_1", "stream": True, "é": [None]}, {}, [], 0, False])
async def test_request_with_json_is_a_post_of_it(payload: Any):
    notes = Notes()
    async with serving(notes) as url:
        await read(url, json=payload)
    [request] = notes.requests
    assert (request.method, json.loads(request.body)) == ("POST", payload)
    assert request.values("content-type") == ["application/json"]


async def test_method_can_be_named():
    notes = Notes()
    async with serving(notes) as url:
        await read(url, method="POST")
        await read(url, method="PUT", json={"a": 1})
    assert [(request.method, request.body) for request in notes.requests] == [("POST", b""), ("PUT", b'{"a":1}')]


async def test_request_asks_for_an_event_stream_as_it_is():
    notes = Notes()
    async with serving(notes) as url:
        await read(url)
    [request] = notes.requests
    asked = {name: request.values(name) for name in ("accept", "cache-control", "accept-encoding")}
    assert asked == {"accept": ["text/event-stream"], "cache-control": ["no-store"], "accept-encoding": ["identity"]}


@both_clients
async def test_headers_of_the_caller_are_sent_and_left_as_they_were(new_client: Any):
    notes = Notes()
    given = {"Authorization": "Bearer s3cret", "api-version": "1", "accept": "text/plain", "ACCEPT-ENCODING": "gzip"}
    before = dict(given)
    async with serving(notes) as url, new_client() as client:
        await read(url, headers=given, client=client)
    [request] = notes.requests
    assert given == before
    assert [request.values(name) for name in ("authorization", "api-version")] == [["Bearer s3cret"], ["1"]]
    assert [request.values(name) for name in ("accept", "accept-encoding")] == [["text/event-stream"], ["identity"]]


async def test_key_is_sent_as_a_bearer_token_unless_an_authorization_is_given():
    script = InTurn(whole)
    async with serving(script) as url:
        await read(url, api_key="k")
        await read(url, api_key="k", headers={"authorization": "Basic x"}, json={})
    assert [request.values("authorization") for request in script.requests] == [["Bearer k"], ["Basic x"]]


@both_clients
async def test_key_and_authorization_win_over_the_user_in_the_url_and_the_auth_of_a_client(new_client: Any):
    script = InTurn(whole)
    async with serving(script) as url, new_client(auth=("client", "word")) as client, new_client() as plain:
        named = url.replace("//", "//user:word@")
        await read(named, api_key="k")
        await read(named, headers={"authorization": "Basic x"})
        await read(url, api_key="k", client=client)
        await read(named, client=plain)
        await read(url, client=client)
    user, own = (f"Basic {b64encode(one).decode()}" for one in (b"user:word", b"client:word"))
    assert [request.values("authorization") for request in script.requests] == [
        ["Bearer k"], ["Basic x"], ["Bearer k"], [user], [own],
    ]  # fmt: skip


async def test_callable_gives_a_fresh_key_for_each_connection(clock: Clock):
    keys = iter("abc")

    async def fetch() -> str:
        return next(keys)

    script = InTurn(lambda exchange: exchange.stream(CREATED), lambda exchange: exchange.reset(), whole)
    async with serving(script) as url:
        await items(url, api_key=fetch)
        assert "key" not in repr(connect(url, api_key="key"))
    assert [request.values("authorization") for request in script.requests] == [
        ["Bearer a"],
        ["Bearer b"],
        ["Bearer c"],
    ]


@both_clients
async def test_client_of_the_caller_is_used_and_stays_open(new_client: Any):
    notes = Notes()
    async with serving(notes) as url, new_client(base_url=url, headers={"x-team": "blue"}) as client:
        assert await read("/runs", client=client) == CREATED + DONE
        assert (await run("/runs", client=client)).reason == "done"
        assert not client.is_closed
        response = await client.get("/after")
        assert response.status_code == 200
    assert [request.target for request in notes.requests] == ["/runs", "/runs", "/after"]
    assert [request.values("x-team") for request in notes.requests] == [["blue"]] * 3


@both_clients
async def test_client_of_the_caller_survives_a_refusal(new_client: Any):
    async def script(exchange: Exchange) -> None:
        if exchange.target == "/runs":
            await exchange.answer("500 Oh No", b"tired")
        else:
            await whole(exchange)

    async with serving(script) as url, new_client(base_url=url) as client:
        error = await refused("/runs", client=client)
        assert str(error) == "/runs answered 500 Oh No: tired"
        assert await read("/again", client=client) == CREATED + DONE


@both_clients
async def test_connection_that_is_refused_is_a_transport_error(closed_url: str, new_client: Any):
    async with new_client() as client:
        with pytest.raises(TransportError) as caught:
            await read(f"{closed_url}/runs?key=s3cret", client=client)
    assert str(caught.value) == f"{closed_url}/runs: the connection was refused (ConnectError)"
    assert type(caught.value.__cause__).__name__ == "ConnectError"


async def test_answer_that_is_no_http_is_a_transport_error():
    async with serving(lambda exchange: exchange.send(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")) as url:
        with pytest.raises(TransportError, match=r": the connection failed \(RemoteProtocolError\)$"):
            await read(url)


@pytest.mark.usefixtures("patient")
async def test_answer_that_never_comes_is_an_idle_timeout():
    async with serving(lambda _: anyio.sleep_forever()) as url:
        with pytest.raises(IdleTimeout) as caught:
            await read(f"{url}/runs?key=s3cret", first_byte_timeout=0.5)
    assert (str(caught.value), caught.value.seconds) == (f"{url}/runs did not answer within 0.5 s", 0.5)


async def test_idle_timeout_does_not_bound_the_answer():
    begun = anyio.Event()

    async def script(exchange: Exchange) -> None:
        begun.set()
        await anyio.sleep_forever()

    async with serving(script) as url, anyio.create_task_group() as tasks:
        with anyio.CancelScope() as scope:

            async def leave() -> None:
                await begun.wait()
                await anyio.wait_all_tasks_blocked()
                scope.cancel()

            tasks.start_soon(leave)
            await read(url, idle_timeout=0)
    assert scope.cancelled_caught


@pytest.mark.usefixtures("patient")
@both_clients
async def test_silence_in_the_stream_is_an_idle_timeout(new_client: Any):
    async def script(exchange: Exchange) -> None:
        await exchange.stream(CREATED, end=False)
        await exchange.hung_up()

    async with serving(script) as url, new_client() as client:
        with pytest.raises(IdleTimeout) as caught:
            await run(f"{url}/runs?key=s3cret", idle_timeout=0.5, client=client)
    assert (str(caught.value), caught.value.seconds) == (f"{url}/runs was silent for 0.5 s", 0.5)
    assert caught.value.outcome is not None
    assert list(caught.value.outcome.runs) == ["run_1"]


@each_row("family", [httpx, httpx2], ids=["httpx", "httpx2"])
@each_row("kind", ["ConnectTimeout", "PoolTimeout"])
async def test_timeouts_of_both_families_are_idle_timeouts(family: Any, kind: str):
    def late(request: Any) -> Any:
        raise getattr(family, kind)("too late for s3cret")

    async with family.AsyncClient(transport=family.MockTransport(late)) as client:
        with pytest.raises(IdleTimeout) as caught:
            await read("http://example.invalid/runs", client=client, connect_timeout=3)
    assert (str(caught.value), caught.value.seconds) == (
        "http://example.invalid/runs: no connection was made within 3 s",
        3,
    )


@both_clients
async def test_body_that_ends_inside_a_chunk_is_a_transport_error_with_its_outcome(new_client: Any):
    async def script(exchange: Exchange) -> None:
        await exchange.stream(CREATED, end=False)
        await exchange.send(b"fff\r\nevent: thr")
        raise anyio.EndOfStream

    async with serving(script) as url, new_client() as client:
        with pytest.raises(TransportError) as caught:
            await run(f"{url}/runs", client=client)
    assert str(caught.value) == f"{url}/runs: the connection failed (RemoteProtocolError)"
    assert not isinstance(caught.value, StreamTruncated)
    assert caught.value.outcome is not None
    assert (caught.value.outcome.events, list(caught.value.outcome.runs)) == (1, ["run_1"])


async def test_whole_body_without_done_is_truncated():
    async with serving(lambda exchange: exchange.stream(CREATED)) as url:
        with pytest.raises(StreamTruncated) as caught:
            await run(url)
    assert caught.value.outcome is not None
    assert caught.value.outcome.events == 1


@pytest.fixture
def resetting() -> Iterator[tuple[str, threading.Event]]:
    """A server in a thread that sends half a stream and resets the connection when it is told to."""
    now = threading.Event()

    def serve(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            while b"\r\n\r\n" not in connection.recv(65_536):
                pass
            connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n" + CREATED)
            now.wait(WITHIN)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", now
        now.set()
        thread.join()


@both_clients
async def test_reset_in_the_middle_is_a_transport_error_with_its_outcome(
    resetting: tuple[str, threading.Event], new_client: Any
):
    url, now = resetting

    async def cut(change: RunTransition) -> None:
        now.set()

    async with new_client() as client, Processor() as processor:
        processor.add(RunTransition, cut)
        with pytest.raises(TransportError) as caught, anyio.fail_after(WITHIN):
            await processor.run(connect(f"{url}/runs?key=s3cret", client=client, reconnect=False))
    assert str(caught.value) == f"{url}/runs: the connection failed (ReadError)"
    assert caught.value.outcome is not None
    assert list(caught.value.outcome.runs) == ["run_1"]


@both_clients
async def test_connection_is_closed_when_reading_stops_at_done(new_client: Any):
    closed = anyio.Event()

    async def script(exchange: Exchange) -> None:
        await exchange.stream(CREATED, DONE, CREATED, end=False)
        await exchange.hung_up()
        closed.set()

    async with serving(script) as url, new_client() as client:
        outcome = await run(url, client=client)
        with anyio.fail_after(WITHIN):
            await closed.wait()
        assert not client.is_closed
    assert (outcome.reason, outcome.events) == ("done", 2)


async def test_connection_is_closed_when_the_block_is_left():
    closed = anyio.Event()

    async def script(exchange: Exchange) -> None:
        await exchange.stream(CREATED, end=False)
        await exchange.hung_up()
        closed.set()

    async with serving(script) as url:
        async with connect(url) as stream, contextlib.aclosing(aiter(stream)) as chunks:
            assert await anext(chunks) == CREATED
            assert not closed.is_set()
        with anyio.fail_after(WITHIN):
            await closed.wait()


async def test_connection_is_closed_when_the_run_is_cancelled():
    closed = anyio.Event()

    async def script(exchange: Exchange) -> None:
        await exchange.stream(CREATED, end=False)
        await exchange.hung_up()
        closed.set()

    async with serving(script) as url:
        with anyio.CancelScope() as scope:
            async with Processor() as processor:

                @processor.on(RunTransition)
                async def leave(change: RunTransition) -> None:
                    scope.cancel()

                await processor.run(connect(url))
        assert scope.cancelled_caught
        with anyio.fail_after(WITHIN):
            await closed.wait()


async def test_exception_in_the_block_leaves_it_as_it_is():
    async with serving(whole) as url:
        with pytest.raises(KeyError, match="mine"):
            async with connect(url):
                raise KeyError("mine")


@pytest.mark.parametrize(
    "value", ["Bearer s3cret\n", "Bearer s3cret\r\nx: y", "Bearer s3crét", "\0", "Bearer s3cret ", " s3cret"]
)
async def test_header_that_cannot_be_sent_is_named_but_not_quoted(closed_url: str, value: str):
    message = r"^expected printable ASCII as the value of the header 'api-key', no space around it$"
    with pytest.raises(ValueError, match=message):
        await read(closed_url, headers={"api-key": value})


@pytest.mark.parametrize("name", ["", "Bearer s3cret", "api-key:", "clé", "api-key\n"])
async def test_name_of_a_header_that_cannot_be_sent_is_not_quoted(closed_url: str, name: str):
    with pytest.raises(ValueError, match=r"^expected letters, digits and hyphens as the name of a header$"):
        await read(closed_url, headers={name: "x"})


@pytest.mark.parametrize(("payload", "error"), [({"a": {1}}, TypeError), ({"a": float("nan")}, ValueError)])
async def test_payload_that_is_no_json_is_a_misuse(closed_url: str, payload: Any, error: type[Exception]):
    with pytest.raises(error, match="JSON"):
        await read(closed_url, json=payload, attempts=3)


@both_clients
@pytest.mark.parametrize("url", ["ftp://example.invalid/runs", "/runs", "http://example.invalid/\x01"])
async def test_url_that_nothing_can_be_sent_to_is_tried_once(clock: Clock, new_client: Any, url: str):
    async with new_client() as client:
        with pytest.raises(
            TransportError, match=r": expected an http or https URL \((UnsupportedProtocol|InvalidURL)\)$"
        ):
            await read(url, client=client, attempts=3)
    assert clock.pauses == []


async def test_attempts_below_one_are_a_misuse(closed_url: str):
    with pytest.raises(ValueError, match=r"^expected at least 1 attempt, got 0$"):
        await read(closed_url, attempts=0)


@pytest.fixture
async def many() -> AsyncIterator[str]:
    """A server that sends each client the run that its path names."""

    async def script(exchange: Exchange) -> None:
        await exchange.stream(CREATED.replace(b"run_1", exchange.target[1:].encode()), DONE)

    async with serving(script) as url:
        yield url


async def test_many_streams_run_at_once_in_one_processor(many: str):
    async with httpx.AsyncClient() as client, Processor() as processor:
        handles = [processor.start(connect(f"{many}/run_{number}", client=client)) for number in range(20)]
        outcomes = [await handle.outcome() for handle in handles]
    assert [list(outcome.runs) for outcome in outcomes] == [[f"run_{number}"] for number in range(20)]


@each_row(
    ("options", "error", "told"),
    [
        ({"json": object()}, TypeError, "not JSON serializable"),
        ({"json": float("nan")}, ValueError, "not JSON compliant"),
        (
            {"json": {"SECRET": "\ud800"}},
            ValueError,
            "^expected text in JSON that UTF-8 can hold, got half of a surrogat",
        ),
        ({"api_key": "SECRET\n"}, ValueError, "as the value of the header 'Authorization', no space around it$"),
        ({"method": 3}, TypeError, "expected method as a string, got int"),
        ({"method": "GE T"}, ValueError, "expected method as a word, such as POST, got 'GE T'"),
        ({"headers": [("a", "b")]}, TypeError, "expected headers as a mapping of names to values, got list"),
        ({"attempts": "3"}, TypeError, "expected attempts as a number, got str"),
        ({"url": httpx.URL("http://peer")}, TypeError, "expected a URL as a string, got URL"),
        ({"headers": {"a": 5}}, TypeError, "expected a string as the value of the header 'a', got int"),
        ({"headers": {"a\n": "b"}}, ValueError, "as the name of a header"),
        ({"idle_timeout": "x"}, TypeError, "expected idle_timeout in seconds, got str"),
        ({"event_timeout": -1}, ValueError, "expected event_timeout of at least 0"),
        ({"connect_timeout": None, "attempts": 0}, ValueError, "at least 1 attempt"),
        ({"client": 3}, TypeError, "as client, got int"),
    ],
)
def test_wrong_option_is_told_when_it_is_given(options: dict[str, Any], error: type[Exception], told: str):
    with pytest.raises(error, match=told):
        connect(**{"url": "http://x", **options})
