import logging
import signal
import sys
import threading
from contextlib import AsyncExitStack, aclosing

import anyio
import httpx
import pytest

from stepstream.simulator import app, serve
from stepstream.simulator.asgi import Receive, Scope, Send

RUNS = "/threads/thread_own/runs"
RUN_BODY = {"assistant_id": "asst_own", "stream": True}


def servers() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name.startswith("simulator-")}


@pytest.fixture(autouse=True)
def _no_server_is_left():
    """Each test ends with the server threads it began with (one, where the session's simulator is running)."""
    before = servers()
    yield
    assert servers() == before


def new_client(url: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=url, trust_env=False, verify=False)


async def test_server_answers_inside_the_block_and_is_gone_after_it():
    async with serve(app(pace=0)) as url:
        assert url.startswith("http://127.0.0.1:")
        async with new_client(url) as client:
            assert (await client.post(RUNS, json=RUN_BODY)).status_code == 200
    async with new_client(url) as client:
        with pytest.raises(httpx.ConnectError):
            await client.post(RUNS, json=RUN_BODY)


async def test_cancelled_block_stops_its_server():
    before = servers()
    with anyio.CancelScope() as scope:
        async with serve(app(pace=0)):
            assert len(servers() - before) == 1
            scope.cancel()
            await anyio.sleep_forever()
    assert servers() == before


async def test_leaving_the_block_drops_a_running_stream_in_silence(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
):
    async with AsyncExitStack() as client_side:
        async with serve(app(pace=1e6)) as url:
            client = await client_side.enter_async_context(new_client(url))
            response = await client_side.enter_async_context(client.stream("POST", RUNS, json=RUN_BODY))
            chunks = await client_side.enter_async_context(aclosing(response.aiter_bytes()))
            assert (await anext(chunks)).startswith(b"event: thread.run.created")
        with pytest.raises(httpx.TransportError):
            await anext(chunks)
    assert capfd.readouterr() == ("", "")
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_logging_and_signals_stay_as_they_are():
    def settings() -> list[object]:
        loggers = [logging.getLogger(name) for name in (None, "uvicorn", "uvicorn.access", "uvicorn.error")]
        logs = [(logger.level, logger.propagate, list(logger.handlers)) for logger in loggers]
        return [*logs, signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)]

    async def watch() -> list[list[object]]:
        seen = [settings()]
        async with serve(app(pace=0)):
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
