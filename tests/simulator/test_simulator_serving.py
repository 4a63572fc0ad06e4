"""The simulator on a real port: how it starts, ends, and breaks its connections."""

import logging
import signal
import socket
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager

import anyio
import httpx
import pytest
from anyio.abc import SocketStream

from stepstream.asgi.http import Receive, Scope, Send
from stepstream.simulator.application import app
from stepstream.simulator.serving import serve
from tests.support.simulator_runs import RUN_BODY, RUN_BYTES, RUNS, events_of

WITHIN = 60


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """The server has a thread and a loop of its own: two kinds of client are enough."""
    backend: str = request.param
    return backend


def servers() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name.startswith("simulator-")}


@pytest.fixture(autouse=True)
def _no_server_is_left() -> Iterator[None]:
    """Each test ends with the server threads it began with (one, where the session's simulator is running)."""
    before = servers()
    yield
    assert servers() == before


def new_client(url: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=url, trust_env=False, verify=False)


def port_of(url: str) -> int:
    return int(url.rpartition(":")[2])


async def test_server_answers_inside_the_block_and_is_gone_after_it():
    async with serve(app(pace="fast")) as url:
        assert url.startswith("http://127.0.0.1:")
        async with new_client(url) as client:
            assert (await client.post(RUNS, json=RUN_BODY)).status_code == 200
    async with new_client(url) as client:
        with pytest.raises(httpx.ConnectError):
            await client.post(RUNS, json=RUN_BODY)


async def test_port_is_the_one_asked_for_again_and_again():
    async with serve(app(pace="fast")) as url:
        pass
    for _ in range(2):
        async with serve(app(pace="fast"), port=port_of(url)) as again, new_client(again) as client:
            assert again == url
            assert (await client.post(RUNS, json=RUN_BODY)).status_code == 200


async def test_port_that_is_taken_is_an_error():
    async with serve(app()) as url:
        with pytest.raises(OSError, match=f"cannot listen on port {port_of(url)} of 127.0.0.1: Address already in use"):
            await serve(app(), port=port_of(url)).__aenter__()


async def test_two_servers_have_runs_of_their_own():
    async with serve(app(pace="fast")) as first, serve(app(pace="fast")) as second:
        for url in (first, second):
            async with new_client(url) as client:
                assert (await client.post(RUNS, json={})).json()["id"] == "run_sim1"


async def test_cancelled_block_stops_its_server():
    before = servers()
    with anyio.CancelScope() as scope:
        async with serve(app(pace="fast")):
            assert len(servers() - before) == 1
            scope.cancel()
            await anyio.sleep_forever()
    assert servers() == before


async def rest(chunks: AsyncIterator[bytes]) -> None:
    async for _ in chunks:
        pass


@pytest.mark.parametrize(("pace", "fault"), [(1e-6, "none"), ("fast", "stall=1"), ("fast", "drip=1,stall=1")])
async def test_leaving_the_block_drops_a_running_stream_in_silence(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture, pace: float | str, fault: str
):
    async with AsyncExitStack() as client_side:
        with anyio.fail_after(WITHIN):
            async with serve(app(pace=pace, fault=fault)) as url:
                client = await client_side.enter_async_context(new_client(url))
                response = await client_side.enter_async_context(client.stream("POST", RUNS, json=RUN_BODY))
                chunks = await client_side.enter_async_context(aclosing(response.aiter_bytes()))
                if pace == "fast":
                    assert (await anext(chunks)).startswith(b"e")
            with pytest.raises(httpx.TransportError):
                await rest(chunks)
    assert capfd.readouterr() == ("", "")
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_logging_and_signals_stay_as_they_are():
    def settings() -> list[object]:
        loggers = [logging.getLogger(name) for name in (None, "uvicorn", "uvicorn.access", "uvicorn.error")]
        logs = [(logger.level, logger.propagate, list(logger.handlers)) for logger in loggers]
        return [*logs, signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)]

    async def watch() -> list[list[object]]:
        seen = [settings()]
        async with serve(app(pace="fast")):
            seen.append(settings())
        return [*seen, settings()]

    before, inside, after = anyio.run(watch)
    assert before == inside == after


async def test_missing_uvicorn_is_named_with_the_remedy(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(ImportError) as caught:
        await serve(app()).__aenter__()
    assert str(caught.value) == "the simulator needs uvicorn: pip install 'stepstream[cli]'"


async def test_application_that_refuses_to_start_is_an_error():
    async def refusing(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no"})

    with pytest.raises(RuntimeError, match="ended before it had started"):
        await serve(refusing).__aenter__()


# what is on the wire


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[SocketStream]:
    async with await anyio.connect_tcp("127.0.0.1", port_of(url)) as connection:
        with anyio.fail_after(WITHIN):
            yield connection


def request(query: str) -> bytes:
    head = f"POST {RUNS}?{query} HTTP/1.1\r\nhost: simulator\r\ncontent-length: {len(RUN_BYTES)}\r\n\r\n"
    return head.encode() + RUN_BYTES


async def rest_of(connection: SocketStream) -> tuple[bytes, type[Exception]]:
    """Return the bytes to the end of a connection, and how it ends."""
    data = b""
    while True:
        try:
            data += await connection.receive()
        except (anyio.EndOfStream, anyio.BrokenResourceError) as end:
            return data, type(end)


RESETS = ["reset-event=5", "reset-bytes=2000", "gzip,reset-event=5", "one-byte,reset-bytes=99"]


@pytest.mark.parametrize("fault", RESETS)
def test_reset_connection_is_reset(base_url: str, fault: str):
    with socket.create_connection(("127.0.0.1", port_of(base_url)), timeout=WITHIN) as connection:
        connection.sendall(request(f"fault={fault}"))
        with pytest.raises(ConnectionResetError):
            read_to_the_end(connection)


def read_to_the_end(connection: socket.socket) -> None:
    while connection.recv(2**16):
        pass


def chunks(data: bytes) -> tuple[list[bytes], bytes]:
    """Return the whole chunks of a body, and what follows the last of them."""
    found = []
    while (head := data.partition(b"\r\n"))[1]:
        size = int(head[0], 16)
        if len(head[2]) < size + 2:
            break
        found.append(head[2][:size])
        data = head[2][size + 2 :]
    return found, data


@pytest.mark.parametrize(
    ("fault", "events"), [("break-event=5", 5), ("break-event=0", 0), ("unknown=1,break-event=4", 4)]
)
async def test_broken_connection_closes_inside_a_chunk(base_url: str, fault: str, events: int):
    async with connected(base_url) as connection:
        await connection.send(request(f"scenario=message&fault={fault}"))
        data, _ = await rest_of(connection)
    found, rest = chunks(data.partition(b"\r\n\r\n")[2])
    size, _, begun = rest.partition(b"\r\n")
    assert len(events_of(b"".join(found))) == len(found) == events
    assert begun.startswith(b"event: ")
    assert int(size, 16) > len(begun) > 10


@pytest.mark.parametrize("number", [0, 1, 700])
async def test_connection_broken_after_so_many_bytes_sent_them(base_url: str, number: int):
    async with connected(base_url) as connection:
        await connection.send(request(f"scenario=message&fault=break-bytes={number}"))
        data, _ = await rest_of(connection)
    found, rest = chunks(data.partition(b"\r\n\r\n")[2])
    assert len(b"".join(found) + rest.partition(b"\r\n")[2]) == number


async def test_cut_response_ends_in_order(base_url: str):
    async with connected(base_url) as connection:
        await connection.send(request("scenario=message&fault=cut-event=5"))
        data = b""
        while not data.endswith(b"\r\n0\r\n\r\n"):
            data += await connection.receive()
    found, rest = chunks(data.partition(b"\r\n\r\n")[2])
    assert (len(events_of(b"".join(found))), found[-1], rest) == (5, b"", b"")


async def test_every_byte_is_a_chunk_of_its_own(base_url: str):
    async with connected(base_url) as connection:
        await connection.send(request("scenario=message&fault=one-byte,cut-bytes=400"))
        data = b""
        while not data.endswith(b"\r\n0\r\n\r\n"):
            data += await connection.receive()
    found, _ = chunks(data.partition(b"\r\n\r\n")[2])
    assert {len(chunk) for chunk in found[:-1]} == {1}


async def test_connection_that_was_broken_leaves_the_others_alone(base_url: str):
    async with connected(base_url) as one, connected(base_url) as other:
        await other.send(request("scenario=message&fault=stall=3"))
        await one.send(request("scenario=message&fault=break-event=3"))
        await rest_of(one)
        data = b""
        while data.count(b"\n\n") < 3:
            data += await other.receive()


async def test_faults_are_silent(capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture):
    async with serve(app(scenario="message", pace="fast")) as url:
        for fault in ("reset-event=3", "break-event=3", "stall=3", "cut-event=3", "giant=1", "error-flat=1", "html"):
            async with connected(url) as connection:
                await connection.send(request(f"fault={fault}"))
                await connection.receive()
    assert capfd.readouterr() == ("", "")
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_client_that_leaves_at_once_is_nothing_to_speak_of(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
):
    async with serve(app(scenario="message", pace="fast")) as url:
        for _ in range(20):
            async with connected(url) as connection:
                await connection.send(request(""))
        async with new_client(url) as client:
            assert (await client.post(RUNS, json=RUN_BODY)).status_code == 200
    assert capfd.readouterr() == ("", "")
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
