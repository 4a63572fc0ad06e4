"""How long an open stream may take for what, and that none is left behind whatever ends it."""

from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from stepstream import IdleTimeout, Processor, StreamTruncated, TransportError, connect
from stepstream.live.marks import Reconnected
from stepstream.sources import limits
from tests.support.scripted_server import CREATED, DONE, Exchange, InTurn, answering, hang_up, serving, streaming
from tests.support.stream_reads import WITHIN, Clock, both_clients, items, read, run

pytestmark = pytest.mark.usefixtures("patient")

PING = b": ping\n\n"


def trickling(piece: bytes, pause: float, times: int) -> Callable[[Exchange], Awaitable[None]]:
    """Return a script that sends a piece again and again, and then `done`."""

    async def script(exchange: Exchange) -> None:
        await exchange.stream(CREATED, end=False)
        for _ in range(times):
            await anyio.sleep(pause)
            await exchange.send(b"%x\r\n%b\r\n" % (len(piece), piece))
        await exchange.send(b"%x\r\n%b\r\n0\r\n\r\n" % (len(DONE), DONE))

    return script


@pytest.mark.parametrize("piece", [PING, b":"])
async def test_any_byte_resets_the_idle_timeout(piece: bytes):
    async with serving(trickling(piece, 0.1, 8)) as url:
        ended = await read(url, idle_timeout=0.6)
    assert ended.startswith(CREATED)


@both_clients
@pytest.mark.parametrize("piece", [PING, b":", b"\n"], ids=["comments", "one comment", "blank lines"])
async def test_comments_do_not_reset_the_event_timeout(new_client: Any, piece: bytes):
    async with serving(trickling(piece, 0.05, 100)) as url, new_client() as client:
        with pytest.raises(IdleTimeout) as caught:
            await run(f"{url}/runs?key=s3cret", client=client, json={}, event_timeout=0.5)
    assert (str(caught.value), caught.value.seconds) == (f"{url}/runs sent no event for 0.5 s (event_timeout)", 0.5)
    assert caught.value.outcome is not None
    assert list(caught.value.outcome.runs) == ["run_1"]


async def test_first_event_is_waited_for_no_longer_than_another():
    async def script(exchange: Exchange) -> None:
        await exchange.stream(PING, end=False)
        await exchange.hung_up()

    async with serving(script) as url:
        with pytest.raises(IdleTimeout, match=r"sent no event for 0\.05 s \(event_timeout\)$"):
            await read(url, event_timeout=0.05)


async def test_event_that_has_begun_has_longer_than_the_event_timeout():
    async with serving(trickling(b"data: x\n", 0.1, 8)) as url:
        assert (await read(url, event_timeout=0.6)).count(b"data: x\n") == 8


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """An event that has begun has half a second."""
    monkeypatch.setattr(limits, "BEGUN_EVENT_TIMEOUT", 0.5)


@both_clients
@pytest.mark.usefixtures("short")
async def test_event_that_trickles_is_not_waited_for_though_it_is_never_silent(new_client: Any):
    async with serving(trickling(b"data: x\n", 0.05, 100)) as url, new_client() as client:
        with pytest.raises(IdleTimeout) as caught:
            await run(f"{url}/runs?key=s3cret", client=client, json={})
    assert (str(caught.value), caught.value.seconds) == (f"{url}/runs took longer than 0.5 s for one event", 0.5)


@pytest.mark.usefixtures("short")
async def test_event_that_is_begun_and_pinged_is_not_waited_for():
    async def script(exchange: Exchange) -> None:
        await exchange.stream(b"event: x\n", end=False)
        while True:
            await anyio.sleep(0.05)
            await exchange.send(b"2\r\n:\n\r\n")

    async with serving(script) as url:
        with pytest.raises(IdleTimeout, match=r"took longer than 0\.5 s for one event$"):
            await read(url)


async def test_many_short_events_do_not_break_the_event_timeout():
    async with serving(trickling(CREATED, 0.1, 8)) as url:
        assert (await read(url, event_timeout=0.6)).count(CREATED) == 9


async def test_time_that_the_reader_takes_is_not_the_event_s(clock: Clock):
    async def script(exchange: Exchange) -> None:
        await exchange.stream(b"event: done\n", end=False)
        await asked.wait()
        await exchange.send(b"e\r\ndata: [DONE]\n\n\r\n")

    asked = anyio.Event()
    async with serving(script) as url, connect(url) as stream:
        assert await anext(stream) == b"event: done\n"
        clock.advance(3_600)
        asked.set()
        assert [item async for item in stream] == [b"data: [DONE]\n\n"]


async def test_event_timeout_of_a_get_begins_a_new_connection(clock: Clock):
    script = InTurn(streaming(PING, end=False), streaming(DONE))
    async with serving(script) as url:
        first, mark, last = await items(url, event_timeout=0.5)
    assert (first, type(mark), last) == (PING, Reconnected, DONE)


TOTAL = r"/runs took longer than 0\.5 s in all$"


@pytest.mark.parametrize("options", [{}, {"json": {}}], ids=["get", "post"])
async def test_total_timeout_ends_the_opening(options: Any):
    async with serving(lambda exchange: exchange.hung_up()) as url:
        with pytest.raises(TransportError, match=TOTAL):
            await items(f"{url}/runs?key=s3cret", total_timeout=0.5, **options)


@pytest.mark.parametrize("options", [{}, {"json": {}}], ids=["get", "post"])
async def test_total_timeout_ends_the_pauses_of_the_opening(options: Any):
    async with serving(answering("503 Busy")) as url:
        with pytest.raises(TransportError, match=TOTAL) as caught:
            await items(f"{url}/runs", total_timeout=0.5, **options)
    assert caught.value.__cause__ is not None


@pytest.mark.parametrize("options", [{}, {"json": {}}], ids=["get", "post"])
async def test_total_timeout_ends_the_reading_whatever_comes(options: Any):
    async with serving(trickling(CREATED, 0.05, 100)) as url:
        with pytest.raises(TransportError, match=TOTAL) as caught:
            await items(f"{url}/runs", total_timeout=0.5, **options)
    assert not isinstance(caught.value, IdleTimeout | StreamTruncated)


async def test_total_timeout_ends_the_pauses_of_a_reconnection():
    async with serving(streaming(CREATED)) as url:
        with pytest.raises(TransportError, match=TOTAL):
            await items(f"{url}/runs", total_timeout=0.5)


async def test_total_timeout_ends_a_reconnection_that_is_not_answered():
    script = InTurn(streaming(b"retry: 0\n\n"), lambda exchange: exchange.hung_up())
    async with serving(script) as url:
        with pytest.raises(TransportError, match=r"took longer than 0\.5 s in all$"):
            await items(f"{url}/runs", total_timeout=0.5)
    assert len(script.requests) == 2


@pytest.mark.usefixtures("clock")
async def test_total_timeout_bounds_all_connections_together():
    async with serving(streaming(CREATED)) as url:
        with pytest.raises(TransportError, match=r"took longer than 100 s in all$"):
            await items(url, total_timeout=100)


@both_clients
@pytest.mark.parametrize("options", [{}, {"json": {}}], ids=["get", "post"])
async def test_reading_ends_at_done_though_the_server_goes_on(new_client: Any, options: Any):
    closed = anyio.Event()

    async def script(exchange: Exchange) -> None:
        await exchange.stream(CREATED + DONE + CREATED, CREATED, end=False)
        await exchange.hung_up()
        closed.set()

    async with serving(script) as url, new_client() as client:
        assert await read(url, client=client, **options) == CREATED + DONE
        with anyio.fail_after(WITHIN):
            await closed.wait()


async def test_done_in_pieces_ends_the_reading_too():
    async def script(exchange: Exchange) -> None:
        await exchange.stream(CREATED, *[bytes([byte]) for byte in DONE], end=False)
        await exchange.hung_up()

    async with serving(script) as url, connect(url, idle_timeout=5) as stream:
        assert b"".join([item async for item in stream if isinstance(item, bytes)]) == CREATED + DONE
        assert stream.is_done


async def begin_and_hold(exchange: Exchange) -> None:
    await exchange.stream(CREATED, end=False)
    await exchange.hung_up()


async def half_a_head(exchange: Exchange) -> None:
    await exchange.send(b"HTTP/1.1 200 OK\r\ncontent-ty")
    await exchange.hung_up()


async def half_a_refusal(exchange: Exchange) -> None:
    await exchange.send(b"HTTP/1.1 500 Oh No\r\ncontent-length: 90\r\n\r\nhalf")
    await exchange.hung_up()


async def mute(exchange: Exchange) -> None:
    await exchange.hung_up()


AGAIN = streaming(b"retry: 0\n\n")
POINTS: dict[str, list[Any]] = {
    "opening": [mute],
    "inside the head": [half_a_head],
    "inside a refusal": [half_a_refusal],
    "reading": [begin_and_hold],
    "pause of the opening": [hang_up],
    "pause of a reconnection": [streaming(b"")],
    "reconnecting": [AGAIN, mute],
    "inside the head of a reconnection": [AGAIN, half_a_head],
    "inside a refusal of a reconnection": [AGAIN, half_a_refusal],
    "reading after a reconnection": [AGAIN, begin_and_hold],
}


@both_clients
@pytest.mark.parametrize("scripts", POINTS.values(), ids=POINTS)
async def test_cancellation_at_any_point_leaves_no_connection(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, new_client: Any, scripts: list[Any]
):
    script, is_there, is_gone = InTurn(*scripts), anyio.Event(), anyio.Event()

    async def noted(exchange: Exchange) -> None:
        is_last = len(script.requests) == len(scripts) - 1
        if is_last:
            is_there.set()
        try:
            await script(exchange)  # but in a pause, it returns when the client has hung up
        finally:
            if is_last:
                is_gone.set()

    async def pause(seconds: float) -> None:
        await (anyio.lowlevel.checkpoint() if len(script.requests) < len(scripts) else anyio.sleep_forever())

    monkeypatch.setattr(clock, "sleep", pause)
    async with serving(noted) as url, new_client() as client, anyio.create_task_group() as tasks:
        with anyio.CancelScope() as scope, anyio.fail_after(WITHIN):

            async def cancel() -> None:
                await is_there.wait()
                await anyio.sleep(0.02)  # the answer is under way, which no task tells of
                scope.cancel()

            tasks.start_soon(cancel)
            async with Processor() as processor:
                await processor.run(connect(url, client=client))
        assert scope.cancelled_caught
        with anyio.fail_after(WITHIN):
            await is_gone.wait()
        assert len(script.requests) == len(scripts)
        assert not client.is_closed
