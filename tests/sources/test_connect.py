import contextlib
import json
import logging
import socket
import struct
import threading
import traceback
from collections.abc import AsyncIterator, Iterator
from typing import Any

import anyio
import httpx
import httpx2
import pytest
from scripted import CREATED, DONE, Exchange, serving

from stepstream import (
    APIError,
    IdleTimeout,
    Outcome,
    Processor,
    RunTransition,
    StepStreamError,
    StreamTruncated,
    TransportError,
    connect,
)
from stepstream.sources import http

# Where reading stops before the end, httpx and httpcore drop their own generators half-way; trio warns of that
pytestmark = pytest.mark.filterwarnings("ignore:Async generator 'http:ResourceWarning")

CLIENTS = [httpx.AsyncClient, httpx2.AsyncClient]
both_clients = pytest.mark.parametrize("new_client", CLIENTS, ids=["httpx", "httpx2"])

WITHIN = 10
"""Seconds that anything may take. It takes far less; this bounds a failure."""


async def whole(exchange: Exchange) -> None:
    await exchange.stream(CREATED, DONE)


async def read(url: str, **options: Any) -> bytes:
    with anyio.fail_after(WITHIN):
        async with connect(url, **options) as stream:
            return b"".join([chunk async for chunk in stream])


async def run(url: str, **options: Any) -> Outcome:
    with anyio.fail_after(WITHIN):
        async with Processor() as processor:
            return await processor.run(connect(url, **options))


async def refused(url: str, **options: Any) -> APIError:
    """Connect where the server refuses, and return how."""
    with pytest.raises(APIError) as caught:
        async with connect(url, **options):
            raise AssertionError("the stream is open")
    return caught.value


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
        assert (stream.status_code, stream.headers["x-request-id"], stream.request_id) == (200, "req_1", "req_1")
        assert repr(stream) == f"<EventStream {url}/runs 200>"


async def test_request_without_json_is_a_get():
    notes = Notes()
    async with serving(notes) as url:
        await read(f"{url}/threads/1/runs?a=b")
    [request] = notes.requests
    assert (request.method, request.target, request.body) == ("GET", "/threads/1/runs?a=b", b"")
    assert request.values("content-type") == []


@pytest.mark.parametrize("payload", [{"assistant_id": "asst_1", "stream": True, "é": [None]}, {}, [], 0, False])
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


@pytest.mark.parametrize("kind", ["text/event-stream;charset=utf-8", "Text/Event-Stream", "TEXT/EVENT-STREAM ; q=1"])
async def test_content_type_may_have_parameters_and_any_case(kind: str):
    async with serving(lambda exchange: exchange.stream(DONE, kind=kind)) as url:
        assert await read(url) == DONE


@pytest.mark.parametrize("kind", ["text/html", "application/json", "text/event-stream-ish", "x-text/event-stream"])
async def test_other_content_type_is_refused(kind: str):
    async with serving(lambda exchange: exchange.stream(DONE, kind=f"{kind}; charset=utf-8")) as url:
        error = await refused(f"{url}/runs")
    assert str(error) == f"{url}/runs: expected text/event-stream, got {kind}"
    assert (error.status_code, error.request_id, error.code, error.message) == (200, "req_1", None, None)


async def test_missing_content_type_is_refused():
    async with serving(lambda exchange: exchange.answer("200 OK", DONE)) as url:
        assert str(await refused(url)) == f"{url}: expected text/event-stream, got no content type"


@pytest.mark.parametrize("encoding", ["gzip", "br", "Deflate"])
async def test_content_encoding_is_refused(encoding: str):
    async def script(exchange: Exchange) -> None:
        await exchange.answer("200 OK", DONE, content_type="text/event-stream", content_encoding=encoding)

    async with serving(script) as url:
        assert str(await refused(url)) == f"{url}: expected no content encoding, got {encoding.lower()}"


async def test_identity_is_no_encoding():
    async def script(exchange: Exchange) -> None:
        await exchange.answer("200 OK", DONE, content_type="text/event-stream", content_encoding="identity")

    async with serving(script) as url:
        assert await read(url) == DONE


@both_clients
@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"])
async def test_redirect_is_refused_and_not_followed(new_client: Any, status: str):
    notes: list[str] = []

    async def script(exchange: Exchange) -> None:
        notes.append(exchange.target)
        await exchange.answer(status, location="/elsewhere?key=s3cret")

    async with serving(script) as url, new_client(follow_redirects=True) as client:
        error = await refused(f"{url}/runs", client=client, json={})
    assert (error.status_code, str(error), notes) == (int(status[:3]), f"{url}/runs answered {status}", ["/runs"])


OPENAI = {
    "error": {"message": "No such run.", "type": "invalid_request_error", "param": "run_id", "code": "not_found"},
}
AZURE = {"error": {"code": "404", "message": "Resource not found", "innererror": {"code": "Deep"}}}
FLAT = {"message": "Wrong key.", "type": "auth", "code": 401, "param": None, "more": [1]}
ERRORS = {
    "openai": (OPENAI, "not_found", "No such run.", "invalid_request_error", "run_id"),
    "azure": (AZURE, "404", "Resource not found", None, None),
    "flat": (FLAT, "401", "Wrong key.", "auth", None),
    "text in error": ({"error": "over\nquota"}, None, "over quota", None, None),
    "other fields": ({"detail": "Not Found"}, None, None, None, None),
    "odd fields": ({"error": {"message": {"a": 1}, "code": ["b"]}}, None, None, None, None),
    "plain": (b"  upstream is\r\n down \n", None, "upstream is down", None, None),
    "long": (b"x" * 3_000, None, "x" * 500, None, None),
    "a JSON text": (b'"busy"', None, "busy", None, None),
    "a number": (b"17", None, None, None, None),
    "too deep": (b"[" * 100_000, None, "[" * 500, None, None),
    "not UTF-8": (b"\xff\xfe", None, "\ufffd\ufffd", None, None),
    "empty": (b"", None, None, None, None),
}  # fmt: skip


@pytest.mark.parametrize(("body", "code", "message", "type_", "param"), ERRORS.values(), ids=ERRORS)
async def test_error_body_of_every_shape_becomes_fields(
    body: Any, code: str | None, message: str | None, type_: str | None, param: str | None
):
    async with serving(lambda exchange: exchange.answer("404 Not Found", body, content_type="application/json")) as url:
        error = await refused(f"{url}/runs")
    assert (error.status_code, error.code, error.message, error.type, error.param) == (404, code, message, type_, param)
    assert str(error) == f"{url}/runs answered 404 Not Found" + (f": {message}" if message else "")


@pytest.mark.parametrize("name", ["x_request_id", "apim_request_id", "x_ms_request_id"])
async def test_request_id_of_a_refusal_is_known(name: str):
    async with serving(lambda exchange: exchange.answer("429 Slow Down", **{name: "req_7"})) as url:
        assert (await refused(url)).request_id == "req_7"


async def test_refusal_without_a_request_id_has_none():
    async with serving(lambda exchange: exchange.answer("429 Slow Down")) as url:
        assert (await refused(url)).request_id is None


@pytest.mark.parametrize("status", ["201 Created", "206 Partial", "400 Bad", "401 No", "503 Busy"])
async def test_every_status_but_200_is_a_refusal(status: str):
    async with serving(lambda exchange: exchange.answer(status, DONE, content_type="text/event-stream")) as url:
        assert (await refused(url)).status_code == int(status[:3])


async def test_refusal_leaves_an_outcome_without_events():
    async with serving(lambda exchange: exchange.answer("403 No")) as url:
        with pytest.raises(APIError) as caught:
            await run(url)
    assert caught.value.outcome is not None
    assert (caught.value.outcome.reason, caught.value.outcome.events) == (None, 0)


@both_clients
async def test_endless_error_body_is_read_to_its_bound(new_client: Any):
    sent = 0

    async def script(exchange: Exchange) -> None:
        nonlocal sent
        await exchange.send(b"HTTP/1.1 500 Oh No\r\n\r\n")
        while True:
            await exchange.send(b"x" * 2**14)
            sent += 2**14

    with anyio.fail_after(WITHIN):
        async with serving(script) as url, new_client() as client:
            error = await refused(url, client=client)
    assert error.message == "x" * 500
    assert http.MAX_ERROR_BODY < sent < 100 * http.MAX_ERROR_BODY


async def test_error_body_that_stalls_is_told_as_far_as_it_came(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(http, "ERROR_BODY_TIMEOUT", 0.05)

    async def script(exchange: Exchange) -> None:
        await exchange.send(b"HTTP/1.1 500 Oh No\r\ncontent-length: 90\r\n\r\nhalf a word")
        await exchange.hung_up()

    async with serving(script) as url:
        assert (await refused(url)).message == "half a word"


async def test_error_body_that_breaks_is_told_as_far_as_it_came():
    async def script(exchange: Exchange) -> None:
        await exchange.send(b"HTTP/1.1 500 Oh No\r\ncontent-length: 90\r\nconnection: close\r\n\r\nhalf a word")
        raise anyio.EndOfStream

    async with serving(script) as url:
        assert (await refused(url)).message == "half a word"


@pytest.fixture
def closed_url() -> str:
    """A URL of a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


@both_clients
async def test_connection_that_is_refused_is_a_transport_error(closed_url: str, new_client: Any):
    async with new_client() as client:
        with pytest.raises(TransportError) as caught:
            await read(f"{closed_url}/runs?key=s3cret", client=client)
    assert str(caught.value) == f"{closed_url}/runs: the connection failed (ConnectError)"
    assert type(caught.value.__cause__).__name__ == "ConnectError"


async def test_answer_that_is_no_http_is_a_transport_error():
    async with serving(lambda exchange: exchange.send(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")) as url:
        with pytest.raises(TransportError, match=r": the connection failed \(RemoteProtocolError\)$"):
            await read(url)


async def test_answer_that_never_comes_is_an_idle_timeout():
    async with serving(lambda _: anyio.sleep_forever()) as url:
        with pytest.raises(IdleTimeout) as caught:
            await read(f"{url}/runs?key=s3cret", first_byte_timeout=0.05)
    assert (str(caught.value), caught.value.seconds) == (f"{url}/runs did not answer within 0.05 s", 0.05)


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


@both_clients
async def test_silence_in_the_stream_is_an_idle_timeout(new_client: Any):
    async def script(exchange: Exchange) -> None:
        await exchange.stream(CREATED, end=False)
        await exchange.hung_up()

    async with serving(script) as url, new_client() as client:
        with pytest.raises(IdleTimeout) as caught:
            await run(f"{url}/runs?key=s3cret", idle_timeout=0.05, client=client)
    assert (str(caught.value), caught.value.seconds) == (f"{url}/runs was silent for 0.05 s", 0.05)
    assert caught.value.outcome is not None
    assert list(caught.value.outcome.runs) == ["run_1"]


@pytest.mark.parametrize("family", [httpx, httpx2], ids=["httpx", "httpx2"])
@pytest.mark.parametrize("kind", ["ConnectTimeout", "PoolTimeout"])
async def test_timeouts_of_both_families_are_idle_timeouts(family: Any, kind: str):
    def late(request: Any) -> Any:
        raise getattr(family, kind)("too late for s3cret")

    async with family.AsyncClient(transport=family.MockTransport(late)) as client:
        with pytest.raises(IdleTimeout) as caught:
            await read("http://example.invalid/runs", client=client, connect_timeout=3)
    assert (str(caught.value), caught.value.seconds) == ("http://example.invalid/runs was silent for 3 s", 3)


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
            await processor.run(connect(f"{url}/runs?key=s3cret", client=client))
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


@pytest.mark.parametrize("value", ["Bearer s3cret\n", "Bearer s3cret\r\nx: y", "Bearer s3crét", "\0"])
async def test_header_that_cannot_be_sent_is_named_but_not_quoted(closed_url: str, value: str):
    with pytest.raises(ValueError, match=r"^expected printable ASCII as the value of the header 'api-key'$"):
        await read(closed_url, headers={"api-key": value})


SECRETS = QUERY, PASSWORD, HEADER, BODY, FRAGMENT = ("Qu3ry", "P4ssword", "H3ader", "B0dy", "Fr4gment")


async def hang_up(exchange: Exchange) -> None:
    raise anyio.EndOfStream


async def break_off(exchange: Exchange) -> None:
    await exchange.stream(CREATED, end=False)
    await exchange.send(b"fff\r\nx")
    raise anyio.EndOfStream


async def fall_silent(exchange: Exchange) -> None:
    await exchange.stream(CREATED, end=False)
    await exchange.hung_up()


FAILURES: dict[str, Any] = {
    "status": lambda exchange: exchange.answer("401 Unauthorized", b"wrong key"),
    "redirect": lambda exchange: exchange.answer("307 Over There", location=f"/there?{exchange.target}"),
    "content type": lambda exchange: exchange.stream(b"<html>", kind="text/html"),
    "hung up": hang_up,
    "broken": break_off,
    "silent": fall_silent,
    "truncated": lambda exchange: exchange.stream(CREATED),
}


@pytest.mark.parametrize("script", FAILURES.values(), ids=FAILURES)
async def test_no_secret_is_in_an_error_its_causes_or_the_log(script: Any, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG, "stepstream")
    headers = {"Authorization": f"Bearer {HEADER}", "api-key": HEADER}
    async with serving(script) as url, Processor() as processor:
        place = url.replace("http://", f"http://user:{PASSWORD}@") + f"/runs?key={QUERY}#{FRAGMENT}"
        with pytest.raises(StepStreamError) as caught, anyio.fail_after(WITHIN):
            await processor.run(connect(place, headers=headers, json={"key": BODY}, idle_timeout=0.05))
        told = repr((caught.value, caught.value.outcome, processor)) + str(caught.value)
    told += "".join(traceback.format_exception(caught.value))
    told += caplog.text
    assert [secret for secret in SECRETS if secret in told] == []


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
