"""Calls that are answered by an object: retries, refusals, and answers that are none."""

import gzip
import tracemalloc
from collections.abc import Callable
from typing import Any

import anyio
import httpx
import httpx2
import pytest

from stepstream import APIError, IdleTimeout, ProtocolError, Run, RunsClient, StepStreamError, TransportError
from stepstream.client import api_calls
from stepstream.client.api_calls import MAX_BODY_BYTES, ApiCall
from stepstream.live import refusals
from stepstream.sources.backoff import Backoff
from tests.support.scripted_server import Exchange, Script, serving
from tests.support.stream_reads import Clock
from tests.support.tables import each_row

JSON = dict[str, Any]
RUN: JSON = {"id": "run_1", "status": "completed"}


class Peer:
    """A server that answers one request after the other as told, the last one for ever. It notes what was asked."""

    def __init__(self, *scripts: Script) -> None:
        self.scripts = list(scripts)
        self.asked: list[str] = []

    async def __call__(self, exchange: Exchange) -> None:
        self.asked.append(f"{exchange.method} {exchange.target}")
        script = self.scripts.pop(0) if len(self.scripts) > 1 else self.scripts[0]
        await script(exchange)


def says(status: str, body: bytes | JSON = b"", **headers: str) -> Script:
    async def script(exchange: Exchange) -> None:
        await exchange.answer(status, body, **headers)

    return script


async def resets(exchange: Exchange) -> None:
    await exchange._stream.aclose()
    raise anyio.BrokenResourceError


async def is_silent(exchange: Exchange) -> None:
    await exchange.hung_up()


OK = says("200 OK", RUN)


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses between attempts, as long as chance allows. They take no time."""
    clock = Clock()
    monkeypatch.setattr(api_calls, "anyio", clock)
    monkeypatch.setattr(api_calls, "Backoff", lambda: Backoff(lambda: 1.0))
    return clock.pauses


async def retrieved(*scripts: Script, **options: Any) -> tuple[Run, Peer]:
    peer = Peer(*scripts)
    async with serving(peer) as url, RunsClient(url, **options) as client:
        return await client.retrieve_run("t", "run_1"), peer


async def failure(*scripts: Script, ask: Callable[[RunsClient], Any] | None = None, **options: Any) -> Any:
    """Return the error of a call, and what was asked."""
    peer = Peer(*scripts)
    async with serving(peer) as url, RunsClient(url, **options) as client:
        with pytest.raises(StepStreamError) as caught:
            await (ask or (lambda client: client.retrieve_run("t", "run_1")))(client)
    return caught.value, peer


# Retries


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
async def test_get_is_tried_again_after_what_may_pass(status: int, pauses: list[float]):
    run, peer = await retrieved(says(f"{status} Trouble"), says(f"{status} Trouble"), OK)
    assert (run.id, len(peer.asked), pauses) == ("run_1", 3, [1.0, 2.0])


async def test_get_is_tried_again_where_its_connection_breaks(pauses: list[float]):
    async def breaks(exchange: Exchange) -> None:
        await exchange.send(b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\n{")
        await resets(exchange)

    _, peer = await retrieved(resets, breaks, OK)
    assert (len(peer.asked), pauses) == (3, [1.0, 2.0])


async def test_attempts_are_bounded(pauses: list[float]):
    error, peer = await failure(resets, attempts=4)
    assert type(error) is TransportError
    assert (len(peer.asked), len(pauses)) == (4, 3)


async def test_retry_after_is_honoured_up_to_two_minutes(pauses: list[float]):
    short = says("429 Slow", retry_after="7")
    await retrieved(
        short, says("503 Later", retry_after="5000"), says("429 Slow", retry_after_ms="9500"), OK, attempts=4
    )
    assert pauses == [7.0, 120.0, 9.5]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 418, 501, 301, 307])
async def test_refusal_for_good_is_not_tried_again(status: int, pauses: list[float]):
    error, peer = await failure(says(f"{status} No", location="/elsewhere"))
    assert (error.status_code, len(peer.asked), pauses) == (status, 1, [])


async def test_post_that_was_sent_is_not_sent_again(pauses: list[float]):
    error, peer = await failure(resets, ask=lambda client: client.cancel_run("t", "run_1"))
    assert (type(error), peer.asked, pauses) == (TransportError, ["POST /threads/t/runs/run_1/cancel"], [])


async def test_post_that_was_refused_for_now_is_sent_again(pauses: list[float]):
    peer = Peer(says("503 Later"), OK)
    async with serving(peer) as url:
        run = await RunsClient(url).cancel_run("t", "run_1")
    assert (run.status, len(peer.asked)) == ("completed", 2)


async def test_call_that_reached_nobody_is_tried_again(pauses: list[float]):
    async with serving(OK) as url:
        pass
    with pytest.raises(TransportError, match="ConnectError"):
        await RunsClient(url).cancel_run("t", "run_1")
    assert pauses == [1.0, 2.0]


# Timeouts


async def test_silence_is_an_idle_timeout():
    error, _ = await failure(is_silent, timeout=0.5, attempts=1)
    assert isinstance(error, IdleTimeout)
    assert error.seconds == 0.5
    assert "did not answer within 0.5 s" in str(error)


async def test_answer_that_drips_is_an_idle_timeout():
    async def drips(exchange: Exchange) -> None:
        await exchange.send(b"HTTP/1.1 200 OK\r\ncontent-length: 5000\r\n\r\n")
        for _ in range(5_000):
            await exchange.send(b" ")
            await anyio.sleep(0.01)

    error, _ = await failure(drips, timeout=0.1, attempts=1)
    assert isinstance(error, IdleTimeout)


async def test_refusal_whose_body_never_ends_is_told(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(refusals, "ERROR_BODY_TIMEOUT", 0.5)

    async def begins(exchange: Exchange) -> None:
        await exchange.send(b"HTTP/1.1 400 Bad\r\ncontent-length: 5000\r\n\r\nNo su")
        await exchange.hung_up()

    error, _ = await failure(begins)
    assert (error.status_code, error.message) == (400, "No su")


async def test_refusal_whose_body_breaks_is_told_by_its_status():
    async def breaks(exchange: Exchange) -> None:
        await exchange.send(b"HTTP/1.1 400 Bad\r\ncontent-length: 5000\r\n\r\nNo su")
        raise anyio.EndOfStream

    error, _ = await failure(breaks)
    assert (error.status_code, error.message) == (400, "No su")


# Refusals


async def test_refusal_has_all_that_the_response_says():
    body = {"error": {"code": "rate_limit_exceeded", "message": "Slow.", "type": "requests", "param": "n"}}
    error, _ = await failure(says("429 Too Many", body, retry_after="3", x_request_id="req_9"), attempts=1)
    assert isinstance(error, APIError)
    assert (error.status_code, error.reason_phrase, error.request_id, error.retry_after) == (
        429,
        "Too Many",
        "req_9",
        3,
    )
    assert (error.code, error.message, error.type, error.param) == ("rate_limit_exceeded", "Slow.", "requests", "n")
    assert str(error).endswith("/threads/t/runs/run_1 answered 429 Too Many: Slow.")


async def test_refusal_in_plain_text_is_quoted():
    error, _ = await failure(says("403 Forbidden", b"Not\n here."))
    assert (error.message, error.code) == ("Not here.", None)


async def test_refusal_that_is_encoded_is_a_refusal():
    error, _ = await failure(says("404 Not Found", gzip.compress(b"x" * 100), content_encoding="gzip"))
    assert (error.status_code, error.message) == (404, None)


async def test_long_refusal_is_read_in_part():
    error, _ = await failure(says("400 Bad", b"x" * 10_000_000))
    assert (error.status_code, error.message) == (400, "x" * 500)


# Answers


@each_row(
    "body",
    [b"", b"<html>Sign in</html>", b"{", b"[]", b"5", b"null", b'{"status": "completed"}', b'{"id": 5}', b"\xff",
     b'"x"', b'{"id": "\\ud800"}', b"[" * 100_000],
)  # fmt: skip
async def test_answer_that_is_no_run_is_a_protocol_error(body: bytes):
    error, peer = await failure(says("200 OK", body))
    assert isinstance(error, ProtocolError)
    assert len(peer.asked) == 1
    assert "Sign in" not in str(error)


async def test_title_of_a_page_instead_of_an_answer_is_told():
    error, _ = await failure(says("200 OK", b"<title>Log in</title><p>s3cret"))
    assert str(error).endswith("in JSON, got neither (DecodeError): Log in")


async def test_answer_that_is_encoded_is_refused():
    bomb = gzip.compress(b" " * 10_000_000)
    error, _ = await failure(says("200 OK", bomb, content_encoding="gzip", x_request_id="req_9"))
    assert (type(error), error.status_code, error.request_id) == (APIError, 200, "req_9")
    assert "expected no content encoding, got gzip" in str(error)


async def test_answer_that_is_too_long_is_refused_in_time():
    async def endless(exchange: Exchange) -> None:
        await exchange.send(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n")
        for _ in range(1_000):
            await exchange.send(b" " * 2**20)

    tracemalloc.start()
    try:
        error, _ = await failure(endless)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert isinstance(error, ProtocolError)
    assert f"at most {MAX_BODY_BYTES:,} bytes" in str(error)
    assert peak < 64 * 2**20


async def test_answer_is_asked_for_as_it_is():
    heads = list[list[tuple[str, str]]]()

    async def notes(exchange: Exchange) -> None:
        heads.append(exchange.headers)
        await exchange.answer("200 OK", RUN)

    async with serving(notes) as url:
        await RunsClient(url, headers={"accept-encoding": "gzip", "accept": "*/*"}).retrieve_run("t", "run_1")
    [head] = heads
    found = {name: value for name, value in head if name.startswith("accept")}
    assert found == {"accept": "application/json", "accept-encoding": "identity"}
    assert len([name for name, _ in head if name.startswith("accept")]) == 2


# Clients


@pytest.mark.parametrize("family", [httpx, httpx2])
async def test_given_client_is_used_and_stays_open(family: Any):
    peer = Peer(OK)
    async with serving(peer) as url, family.AsyncClient(trust_env=False, headers={"x-own": "yes"}) as http:
        async with RunsClient(url, client=http) as client:
            await client.retrieve_run("t", "run_1")
        assert not http.is_closed
        await client.retrieve_run("t", "run_1")
    assert len(peer.asked) == 2


@pytest.mark.parametrize("family", [httpx, httpx2])
async def test_failures_of_a_given_client_are_translated(family: Any, pauses: list[float]):
    async with serving(resets) as url, family.AsyncClient(trust_env=False) as http:
        with pytest.raises(TransportError, match="the connection failed"):
            await RunsClient(url, client=http).retrieve_run("t", "run_1")
    with pytest.raises(TransportError):
        await RunsClient(url, client=http).retrieve_run("t", "run_1")  # it is closed


async def test_connection_is_kept_for_the_block():
    connections = set[int]()

    async def notes(exchange: Exchange) -> None:
        connections.add(id(exchange._stream))
        await exchange.answer("200 OK", RUN)

    async with serving(notes) as url:
        client = RunsClient(url)
        async with client:
            for _ in range(3):
                await client.retrieve_run("t", "run_1")
        assert len(connections) == 1
        await client.retrieve_run("t", "run_1")
        async with client:
            await client.retrieve_run("t", "run_1")


@pytest.mark.parametrize("url", ["ftp://peer/v1", "peer/v1", ""])
async def test_url_that_nobody_can_be_asked_at_is_a_transport_error(url: str, pauses: list[float]):
    with pytest.raises(TransportError, match="expected an http or https URL"):
        await RunsClient(url).retrieve_run("t", "run_1")
    assert pauses == []


def test_call_shows_neither_key_nor_query():
    call = ApiCall(
        client=None,
        method="GET",
        url="http://u:secret@peer/v1?sig=secret",
        headers={"api-key": "secret"},
        connect_timeout=1,
        timeout=1,
        attempts=1,
    )
    assert repr(call) == "<ApiCall GET http://peer/v1>"


async def test_call_can_be_cancelled():
    async with serving(is_silent) as url:
        with anyio.move_on_after(0.05) as scope:
            await RunsClient(url).retrieve_run("t", "run_1")
    assert scope.cancelled_caught
