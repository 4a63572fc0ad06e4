"""A POST may open a run, which costs money: once bytes of it went out, nothing whatever sends it again."""

import socket
from typing import Any

import anyio
import httpx
import httpx2
import pytest

from stepstream import IdleTimeout, StreamTruncated, TransportError, connect
from stepstream.sources import event_stream
from tests.support.scripted_server import (
    CREATED,
    DONE,
    Exchange,
    InTurn,
    answering,
    hang_up,
    resetting,
    serving,
    streaming,
)
from tests.support.stream_reads import WITHIN, Clock, both_clients, items, read, run

pytestmark = pytest.mark.usefixtures("clock", "patient")


async def reset(exchange: Exchange) -> None:
    await exchange.reset()


async def half_a_head(exchange: Exchange) -> None:
    await exchange.send(b"HTTP/1.1 200 OK\r\ncontent-ty")
    await exchange.reset()


async def mute(exchange: Exchange) -> None:
    await exchange.hung_up()


FAILURES: dict[str, Any] = {
    "closed before the answer": hang_up,
    "reset before the answer": reset,
    "reset inside the head": half_a_head,
    "silent before the answer": mute,
    "no HTTP": lambda exchange: exchange.send(b"SSH-2.0-OpenSSH_9.6\r\n\r\n"),
    "reset inside the stream": resetting(CREATED),
    "silent inside the stream": streaming(CREATED, end=False),
}


@both_clients
@pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES)
async def test_post_is_never_sent_twice(clock: Clock, new_client: Any, failure: Any):
    script = InTurn(failure, streaming(DONE))
    async with serving(script) as url, new_client() as client:
        with pytest.raises(TransportError):
            await items(url, json={}, client=client, first_byte_timeout=0.5, idle_timeout=0.5)
    assert (len(script.requests), clock.pauses) == (1, [])


@both_clients
async def test_post_on_a_connection_that_the_server_has_just_closed_is_not_sent_twice(new_client: Any):
    script = InTurn(streaming(DONE), hang_up, streaming(DONE))
    async with serving(script) as url, new_client() as client:
        await items(url, client=client, json={})
        with pytest.raises(TransportError):
            await items(url, client=client, json={})
    assert len(script.requests) == 2


async def test_post_that_ends_without_done_is_not_taken_up_again():
    script = InTurn(streaming(CREATED))
    async with serving(script) as url:
        assert await items(url, json={}) == [CREATED]
    assert len(script.requests) == 1


async def test_post_whose_answer_is_a_page_is_not_sent_twice():
    script = InTurn(answering("200 OK", b"<html>", content_type="text/html"))
    async with serving(script) as url:
        with pytest.raises(Exception, match="expected text/event-stream, got text/html"):
            await items(url, json={})
    assert len(script.requests) == 1


class Late(Clock):
    """A clock during whose second pause somebody begins to listen."""

    def __init__(self, listen: Any) -> None:
        super().__init__()
        self._listen = listen

    async def sleep(self, seconds: float) -> None:
        await super().sleep(seconds)
        if len(self.pauses) == 2:
            await self._listen()


@both_clients
async def test_post_whose_connection_is_refused_is_sent_once_somebody_listens(
    monkeypatch: pytest.MonkeyPatch, new_client: Any
):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    script = InTurn(streaming(DONE))
    async with anyio.create_task_group() as tasks:

        async def listen() -> None:
            await tasks.start(serve)

        async def serve(*, task_status: Any) -> None:
            async with serving(script, port):
                task_status.started()
                await anyio.sleep_forever()

        clock = Late(listen)
        monkeypatch.setattr(event_stream, "anyio", clock)
        async with new_client() as client:
            assert await items(f"http://127.0.0.1:{port}", json={"a": 1}, client=client) == [DONE]
        tasks.cancel_scope.cancel()
    assert clock.pauses == [1, 2]
    assert [request.body for request in script.requests] == [b'{"a":1}']


async def test_post_whose_connection_is_refused_again_and_again_fails(clock: Clock, closed_url: str):
    with pytest.raises(TransportError, match=r": the connection was refused \(ConnectError\)$"):
        await items(closed_url, json={})
    assert clock.pauses == [1, 2]


@pytest.mark.parametrize(
    ("kind", "sent"),
    [
        ("ConnectError", 3),
        ("ConnectTimeout", 3),
        ("PoolTimeout", 3),
        ("ReadError", 1),
        ("WriteError", 1),
        ("ReadTimeout", 1),
        ("WriteTimeout", 1),
        ("CloseError", 1),
        ("ProxyError", 1),
        ("LocalProtocolError", 1),
        ("RemoteProtocolError", 1),
        ("DecodingError", 1),
        ("TooManyRedirects", 1),
        ("UnsupportedProtocol", 1),
    ],
)
async def test_only_what_fails_before_the_first_byte_is_sent_again(kind: str, sent: int):
    for family in (httpx, httpx2):
        await is_sent(family, kind, sent)


async def is_sent(family: Any, kind: str, sent: int) -> None:
    requests = []

    def fail(request: Any) -> Any:
        requests.append(request)
        raise getattr(family, kind)("s3cret")

    async with family.AsyncClient(transport=family.MockTransport(fail)) as client:
        with pytest.raises(TransportError) as caught:
            await items("http://example.invalid/", json={}, client=client)
    assert len(requests) == sent, family
    assert isinstance(caught.value, IdleTimeout) is kind.endswith("Timeout")
    assert "s3cret" not in str(caught.value)


async def test_another_method_is_not_sent_twice_either():
    script = InTurn(hang_up)
    async with serving(script) as url:
        for method in ("PUT", "post", "DELETE", "PATCH"):
            with pytest.raises(TransportError):
                await items(url, method=method)
    assert len(script.requests) == 4


async def test_run_of_a_post_that_breaks_tells_what_it_knows():
    async with serving(streaming(CREATED)) as url:
        with pytest.raises(StreamTruncated) as caught:
            await run(url, json={})
    assert caught.value.outcome is not None
    assert list(caught.value.outcome.runs) == ["run_1"]


async def test_open_post_is_read_once_by_whoever_opened_it():
    script = InTurn(streaming(CREATED, DONE))
    async with serving(script) as url:
        with anyio.fail_after(WITHIN):
            async with connect(url, json={}) as stream:
                assert stream.is_success
        assert await read(url, json={}) == CREATED + DONE
    assert len(script.requests) == 2
