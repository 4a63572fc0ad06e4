"""The fast transport, on the loops it runs on: what is different about it, and the core of what must not be.

The slow form of the other modules' tests holds it to everything that the default transport is held to.
"""

import logging
import sys
import traceback
from typing import Any

import anyio
import httpx
import pytest

from stepstream import IdleTimeout, Processor, RunsClient, StreamTruncated, TransportError, connect
from stepstream.live.marks import Reconnected
from stepstream.sources.fast_transport import FastClient, FastTransport
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
from tests.support.stream_reads import WITHIN, Clock, items, read, refused, run

LOOPS = [
    pytest.param(("asyncio", {"use_uvloop": False}), id="asyncio"),
    pytest.param(("asyncio", {"use_uvloop": True}), id="uvloop"),
]
on_asyncio = pytest.mark.parametrize("anyio_backend", LOOPS)
HELLO = b"id: abc\ndata: Hello\n\n"


@on_asyncio
@pytest.mark.parametrize("size", [1, 2, 7, 64, 10_000])
async def test_bytes_are_the_same_at_any_chunking(size: int):
    stream = CREATED * 20 + DONE
    chunks = [stream[start : start + size] for start in range(0, len(stream), size)]
    async with serving(streaming(*chunks)) as url:
        assert await read(url, fast=True) == await read(url) == stream


@on_asyncio
async def test_each_event_comes_before_the_next_is_sent():
    told = anyio.Semaphore(0)

    async def script(exchange: Exchange) -> None:
        await exchange.stream(end=False)
        for event in (CREATED, HELLO, DONE):
            await told.acquire()
            await exchange.send(b"%x\r\n%b\r\n" % (len(event), event))

    async with serving(script) as url, connect(url, fast=True) as stream:
        for event in (CREATED, HELLO, DONE):
            told.release()
            with anyio.fail_after(WITHIN):
                assert await anext(stream) == event


@on_asyncio
async def test_request_is_as_over_the_default_transport():
    script = InTurn(streaming(DONE))
    async with serving(script) as url:
        place = f"{url.replace('//', '//user:word@')}/a%2Fb%7E/c?sig=%2B%3A+x%20&e=#part"
        for options in ({}, {"json": {"é": 1}}, {"method": "POST"}, {"json": {"long": "x" * 2**21}}):
            for is_fast in (False, True):
                await read(place, fast=is_fast, headers={"api-key": "k"}, **options)
            usual, fast = script.requests[-2:]
            assert (fast.method, fast.target, fast.body) == (usual.method, usual.target, usual.body)
            assert sorted(fast.headers) == sorted(usual.headers)


@on_asyncio
async def test_event_that_came_together_with_the_cut_is_not_lost():
    async def script(exchange: Exchange) -> None:
        await exchange.stream(end=False)
        await exchange.send(b"%x\r\n%b\r\nff\r\nevent: thr" % (len(CREATED), CREATED))
        raise anyio.EndOfStream

    async with serving(script) as url:
        with pytest.raises(TransportError) as caught:
            await run(url, fast=True)
    assert str(caught.value) == f"{url}: the connection failed (RemoteProtocolError)"
    assert not isinstance(caught.value, StreamTruncated)
    assert caught.value.outcome is not None
    assert list(caught.value.outcome.runs) == ["run_1"]


@on_asyncio
async def test_whole_body_without_done_is_truncated():
    async with serving(streaming(CREATED)) as url:
        with pytest.raises(StreamTruncated):
            await run(url, fast=True)


@on_asyncio
async def test_reset_of_a_body_without_a_length_is_no_end():
    async def script(exchange: Exchange) -> None:
        await exchange.send(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n" + CREATED)
        await begun.wait()
        await exchange.reset()

    begun = anyio.Event()
    async with serving(script) as url, connect(url, fast=True, reconnect=False) as stream:
        assert await anext(stream) == CREATED
        begun.set()
        with pytest.raises(TransportError, match=r": the connection failed \(ReadError\)$"), anyio.fail_after(WITHIN):
            await anext(stream)


@on_asyncio
async def test_body_without_a_length_ends_with_its_connection():
    async def script(exchange: Exchange) -> None:
        await exchange.send(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n" + CREATED)
        raise anyio.EndOfStream

    async with serving(script) as url:
        assert await read(url, fast=True) == CREATED


@on_asyncio
async def test_silence_is_an_idle_timeout():
    async with serving(streaming(CREATED, end=False)) as url:
        with pytest.raises(IdleTimeout, match=r" was silent for 0\.05 s$"):
            await run(url, fast=True, idle_timeout=0.05)


@on_asyncio
async def test_event_that_hangs_and_everything_together_have_their_limits():
    async with serving(streaming(b": ping\n\n", end=False)) as url:
        with pytest.raises(IdleTimeout, match=r"sent no event for 0\.05 s \(event_timeout\)$"):
            await read(url, fast=True, event_timeout=0.05)
        with pytest.raises(TransportError, match=r"took longer than 0\.05 s in all$"):
            await read(url, fast=True, total_timeout=0.05)


@on_asyncio
@pytest.mark.parametrize("broken", [streaming(HELLO), resetting(HELLO), streaming(HELLO, end=False)])
async def test_get_is_resumed_after_any_break(clock: Clock, broken: Any):
    script = InTurn(broken, streaming(DONE))
    async with serving(script) as url:
        found = await items(url, fast=True, idle_timeout=0.5)
    assert [item for item in found if not isinstance(item, Reconnected)] == [HELLO, DONE]
    assert (script.ids, clock.pauses) == ([[], ["abc"]], [1])


@on_asyncio
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
async def test_nothing_is_sent_again_below_us(method: str):
    script = InTurn(hang_up)
    async with serving(script) as url:
        with pytest.raises(TransportError, match=r": the connection failed \(RemoteProtocolError\)$"):
            await read(url, fast=True, method=method)
    assert len(script.requests) == 1


@on_asyncio
async def test_post_whose_connection_is_refused_is_tried_again(clock: Clock, closed_url: str):
    with pytest.raises(TransportError, match=r": the connection was refused \(ConnectError\)$"):
        await items(closed_url, json={}, fast=True)
    assert clock.pauses == [1, 2]


@on_asyncio
async def test_redirect_out_of_its_origin_is_refused():
    async with serving(answering("302 Found", location="http://example.invalid/login?key=s3cret")) as url:
        error = await refused(url, fast=True, headers={"api-key": "s3cret"})
    text = "expected a redirect within its origin, got one to http://example.invalid/login"
    assert str(error) == f"{url} answered 302: {text}"


@on_asyncio
async def test_redirect_within_its_origin_is_followed_on_the_same_connection():
    sockets = []

    async def script(exchange: Exchange) -> None:
        sockets.append(exchange._stream)
        await (exchange.answer("302 Found", location="/b") if exchange.target == "/a" else exchange.stream(DONE))

    async with serving(script) as url:
        assert await read(f"{url}/a", fast=True) == DONE
    assert len(sockets) == 2
    assert len(set(sockets)) == 1


@on_asyncio
async def test_cookie_is_not_sent_back_twice():
    script = InTurn(answering("302 Found", location="/b", set_cookie="a=1"), streaming(DONE))
    async with serving(script) as url:
        await read(url, fast=True)
    assert script.requests[1].values("cookie") == ["a=1"]


SECRET = "c4n4ry"
FAILURES: dict[str, Any] = {
    "hung up": hang_up,
    "no HTTP": lambda exchange: exchange.send(b"SSH-2.0-OpenSSH_9.6\r\n\r\n"),
    "endless name": lambda exchange: exchange.send(b"HTTP/1.1 200 OK\r\n" + b"x" * 10_000 + b"\r\n\r\n"),
    "page": answering("200 OK", b"<html>", content_type="text/html"),
    "cut": resetting(CREATED),
    "whole": streaming(CREATED, DONE),
}


@on_asyncio
@pytest.mark.parametrize("script", FAILURES.values(), ids=FAILURES)
async def test_secrets_are_told_to_nobody(caplog: pytest.LogCaptureFixture, script: Any):
    caplog.set_level(logging.DEBUG)
    told = ""
    async with serving(script) as url:
        place = url.replace("//", f"//user:{SECRET}@") + f"/runs?key={SECRET}#{SECRET}"
        try:
            await read(place, fast=True, json={"a": SECRET}, headers={"api-key": SECRET})
        except Exception as failure:  # noqa: BLE001 - whatever it is
            told = "".join(traceback.format_exception(failure))
    records = [f"{one.getMessage()} {one.args!r}" for one in caplog.records if one.name.partition(".")[0] != "asyncio"]
    assert SECRET not in told
    assert [one for one in records if SECRET in one] == []


@on_asyncio
@pytest.mark.parametrize("url", ["http://example.invalid:port/?key=s3cret", "http:///x?key=s3cret", "ftp://h/?s3cret"])
async def test_url_that_is_none_is_not_quoted(url: str):
    with pytest.raises(TransportError, match=": expected an http or https URL ") as caught:
        await read(url, fast=True)
    assert "s3cret" not in "".join(traceback.format_exception(caught.value)).replace(repr(url), "")


@on_asyncio
async def test_cancellation_closes_the_connection():
    gone = anyio.Event()

    async def script(exchange: Exchange) -> None:
        await exchange.stream(CREATED, end=False)
        await exchange.hung_up()
        gone.set()

    async with serving(script) as url:
        with anyio.CancelScope() as scope:
            async with connect(url, fast=True) as stream:
                async for _ in stream:
                    scope.cancel()
        assert scope.cancelled_caught
        with anyio.fail_after(WITHIN):
            await gone.wait()


@on_asyncio
async def test_runs_client_makes_its_calls_over_it_too(monkeypatch: pytest.MonkeyPatch):
    sent, handle = [], FastTransport.handle_async_request

    async def note(self: FastTransport, request: httpx.Request) -> httpx.Response:
        sent.append(request.method)
        return await handle(self, request)

    monkeypatch.setattr(FastTransport, "handle_async_request", note)
    script = InTurn(streaming(CREATED, DONE), answering("200 OK", {"id": "run_1"}))
    async with serving(script) as url, RunsClient(url, fast=True) as runs, Processor() as processor:
        await processor.run(runs.stream_run("thread_1", assistant_id="asst_1"))
        assert (await runs.retrieve_run("thread_1", "run_1")).id == "run_1"
    assert sent == ["POST", "GET"]


@on_asyncio
async def test_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch):
    script = InTurn(streaming(DONE))
    async with serving(script) as url:
        monkeypatch.delenv("NO_PROXY")
        monkeypatch.setenv("HTTP_PROXY", url)
        assert await read("http://example.invalid/runs", fast=True) == DONE
    assert [request.target for request in script.requests] == ["http://example.invalid/runs"]


@pytest.mark.parametrize("anyio_backend", ["trio"])
async def test_trio_is_told_before_anything_is_sent():
    script = InTurn(streaming(DONE))
    async with serving(script) as url:
        for attempt in (read, run):
            with pytest.raises(RuntimeError, match=r"^expected asyncio for fast=True, got trio: leave fast out there$"):
                await attempt(url, fast=True)
        with pytest.raises(RuntimeError, match="got trio"):
            await RunsClient(url, fast=True).retrieve_run("thread_1", "run_1")
    assert script.requests == []


@on_asyncio
async def test_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch, closed_url: str):
    monkeypatch.setitem(sys.modules, "httpx_aiohttp", None)
    monkeypatch.delitem(sys.modules, "stepstream.sources.fast_transport")
    with pytest.raises(RuntimeError, match=r"pip install 'stepstream\[fast\]'$"):
        await run(closed_url, fast=True)


@on_asyncio
async def test_client_of_the_caller_and_fast_exclude_each_other(closed_url: str):
    async with FastClient(verify=False) as client:
        with pytest.raises(TypeError, match=r"^expected client or fast=True, got both"):
            await read(closed_url, client=client, fast=True)
        with pytest.raises(TypeError, match=r"^expected client or fast=True, got both"):
            RunsClient(closed_url, client=client, fast=True)
