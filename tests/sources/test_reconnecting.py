"""How a GET goes on where its connection breaks, over real sockets. Pauses are noted, and take no time."""

from email.utils import formatdate
from time import time
from typing import Any

import anyio
import pytest

from stepstream import APIError, Processor, TransportError, connect
from stepstream.live.marks import Reconnected
from stepstream.sources.response import last_event_id_header
from stepstream.wire.sse import FrameDecoder
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
from tests.support.stream_reads import WITHIN, Clock, both_clients, items
from tests.support.tables import each_row

pytestmark = pytest.mark.usefixtures("clock", "patient")

HELLO = b"id: abc\ndata: Hello\n\n"
ENOUGH = answering("204 No Content")


def frames(read: list[Any]) -> list[tuple[str, str]]:
    """Return data and id of each frame, with a new decoder where a connection begins."""
    decoder, found = FrameDecoder(), []
    for item in read:
        if isinstance(item, Reconnected):
            decoder = FrameDecoder(last_event_id=item.last_event_id)
        else:
            found += [(frame.data.decode(), frame.id) for frame in decoder.feed(item)]
    return found


def marks(read: list[Any]) -> list[str]:
    """Return the id that each new connection begins at."""
    return [item.last_event_id for item in read if isinstance(item, Reconnected)]


async def cut_off(exchange: Exchange) -> None:
    """End the connection inside of a chunk."""
    await exchange.stream(HELLO, end=False)
    await exchange.send(b"ff\r\nid: def\ndata: Goodbye")
    raise anyio.EndOfStream


BREAKS = {
    "ended": streaming(HELLO, b"id: def\ndata: Goodbye"),
    "cut off": cut_off,
    "reset": resetting(HELLO, b"id: def\ndata: Goodbye"),
    "silent": streaming(HELLO, b"id: def\ndata: Goodbye", end=False),
}


@both_clients
@pytest.mark.parametrize("broken", BREAKS.values(), ids=BREAKS)
async def test_get_goes_on_after_any_break_and_the_unfinished_event_is_discarded(new_client: Any, broken: Any):
    script = InTurn(broken, streaming(b"data: We meet again\n\n"), ENOUGH)
    async with serving(script) as url, new_client() as client:
        read = await items(f"{url}/runs", client=client, idle_timeout=0.5, headers={"api-key": "k"})
    assert frames(read) == [("Hello", "abc"), ("We meet again", "abc")]
    assert marks(read) == ["abc"]
    assert script.ids == [[], ["abc"], ["abc"]]
    assert [(one.method, one.target, one.values("api-key")) for one in script.requests] == [("GET", "/runs", ["k"])] * 3


@each_row(
    ("stream", "sent", "known"),
    [
        (b"data: x\n\n", [], ""),
        (b"id: abc\ndata: x\n\n", ["abc"], "abc"),
        (b"id: abc\ndata: x\n\nid: \ndata: y\n\n", [], ""),
        (b"id: abc\ndata: x\n\nid\n\n", [], ""),
        (b"id: abc\n\n", ["abc"], "abc"),
        (b"id: a\0b\ndata: x\n\n", [], ""),
        (b"id: a\x0bb\ndata: x\n\n", [], "a\x0bb"),
        (b"id:  abc \ndata: x\n\n", ["abc"], " abc "),
    ],
)
async def test_last_event_id_is_sent_where_there_is_one(stream: bytes, sent: list[str], known: str):
    script = InTurn(streaming(stream), streaming(b"data: z\n\n"), ENOUGH)
    async with serving(script) as url:
        read = await items(url)
    assert (script.ids, marks(read)) == ([[], sent, sent], [known])
    assert frames(read)[-1] == ("z", known)


async def test_id_that_is_not_latin_1_is_sent_in_utf_8():
    script = InTurn(streaming("id: …\ndata: x\n\n".encode()), ENOUGH)
    async with serving(script) as url:
        await items(url)
    assert [value.encode("latin-1") for value in script.ids[1]] == ["…".encode()]


async def test_id_of_a_later_connection_replaces_the_one_before():
    script = InTurn(streaming(b"id: 1\n\n"), streaming(b"id: 2\n\n"), streaming(b""), ENOUGH)
    async with serving(script) as url:
        read = await items(url)
    assert (script.ids, marks(read)) == ([[], ["1"], ["2"], ["2"]], ["1", "2"])


async def test_last_event_id_of_the_caller_is_not_sent():
    script = InTurn(streaming(DONE))
    async with serving(script) as url:
        await items(url, headers={"Last-Event-ID": "mine"})
    assert script.ids == [[]]


@pytest.mark.parametrize(
    ("retry", "pauses"),
    [
        (b"3000", [3, 6, 12]),
        (b"0", [0.1, 0.2, 0.4]),
        (b"99", [0.1, 0.2, 0.4]),
        (b"60000", [30, 30, 30]),
        (b"9" * 5_000, [30, 30, 30]),
    ],
)
async def test_retry_of_the_server_is_honoured_within_bounds(clock: Clock, retry: bytes, pauses: list[float]):
    script = InTurn(streaming(b"retry: " + retry + b"\ndata: x\n\n"), streaming(b""), hang_up, ENOUGH)
    async with serving(script) as url:
        await items(url)
    assert clock.pauses == pauses


async def test_pauses_double_up_to_thirty_seconds_though_each_connection_opens(clock: Clock):
    script = InTurn(*[streaming(b"data: x\n\n")] * 8, ENOUGH)
    async with serving(script) as url:
        read = await items(url)
    assert clock.pauses == [1, 2, 4, 8, 16, 30, 30, 30]
    assert len(frames(read)) == 8


@pytest.mark.parametrize(("lasted", "pauses"), [(59, [1, 2, 4, 8, 16]), (61, [1, 2, 1, 1, 2])])
async def test_pauses_begin_anew_only_after_a_minute_of_health(clock: Clock, lasted: float, pauses: list[float]):
    script = InTurn(hang_up, hang_up, streaming(HELLO), streaming(HELLO), hang_up, ENOUGH)
    async with serving(script) as url, connect(url) as stream:
        async for item in stream:
            clock.advance(lasted if item == HELLO else 0)
    assert clock.pauses == pauses


TRANSIENT = ["408 Late", "429 Busy", "500 Oh No", "502 Bad", "503 Busy", "504 Late"]
FINAL = ["400 Bad", "401 Unauthorized", "403 Forbidden", "404 Not Found", "409 Conflict", "410 Gone", "501 No"]


@pytest.mark.parametrize("status", TRANSIENT)
async def test_get_and_post_are_opened_again_after_a_passing_refusal(clock: Clock, status: str):
    for options in ({}, {"json": {}}):
        script = InTurn(answering(status), answering(status), streaming(DONE))
        clock.pauses.clear()
        async with serving(script) as url:
            assert await items(url, **options) == [DONE]
        assert (len(script.requests), clock.pauses) == (3, [1, 2])


@pytest.mark.parametrize("status", TRANSIENT)
async def test_open_stream_outlasts_any_number_of_passing_refusals(clock: Clock, status: str):
    script = InTurn(streaming(HELLO), *[answering(status)] * 7, streaming(DONE))
    async with serving(script) as url:
        read = await items(url)
    assert (read[0], marks(read), read[-1]) == (HELLO, ["abc"], DONE)
    assert clock.pauses == [1, 2, 4, 8, 16, 30, 30, 30]


@pytest.mark.parametrize(
    ("headers", "pause"),
    [
        ({"retry_after": "7"}, 7),
        ({"retry_after": "0"}, 1),
        ({"retry_after": "3600"}, 120),
        ({"retry_after_ms": "2500", "retry_after": "9"}, 2.5),
        ({"retry_after": formatdate(time() + 3_600, usegmt=True)}, 120),
        ({"retry_after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 1),
        ({"retry_after": "Wed, 21 Oct 99999999999999999999 07:28:00 GMT"}, 1),
    ],
)
@pytest.mark.parametrize("options", [{}, {"json": {}}], ids=["get", "post"])
async def test_pause_is_as_long_as_a_refusal_asks_up_to_two_minutes(
    clock: Clock, options: Any, headers: dict[str, str], pause: float
):
    async with serving(InTurn(answering("429 Busy", **headers), streaming(DONE))) as url:
        await items(url, **options)
    assert clock.pauses == [pause]


@pytest.mark.parametrize("status", FINAL)
async def test_other_refusal_is_final_at_the_opening(clock: Clock, status: str):
    script = InTurn(answering(status))
    async with serving(script) as url:
        with pytest.raises(APIError) as caught:
            await items(url)
    assert (caught.value.status_code, len(script.requests), clock.pauses) == (int(status[:3]), 1, [])


ENDINGS: dict[str, Any] = {
    **{status[:3]: answering(status) for status in FINAL},
    "html": lambda exchange: exchange.stream(b"<html>", kind="text/html"),
    "no content type": answering("200 OK", DONE),
    "gzip": answering("200 OK", DONE, content_type="text/event-stream", content_encoding="gzip"),
    "moved": answering("307 Over There", location="http://example.invalid/"),
    "moved nowhere": answering("301 Moved"),
}


@pytest.mark.parametrize("ending", ENDINGS.values(), ids=ENDINGS)
async def test_final_answer_to_a_reconnection_ends_the_stream_with_its_error(clock: Clock, ending: Any):
    script = InTurn(streaming(HELLO), ending)
    async with serving(script) as url, connect(url) as stream:
        assert await anext(stream) == HELLO
        with pytest.raises(APIError):
            await anext(stream)
        assert [item async for item in stream] == []
    assert (len(script.requests), clock.pauses) == (2, [1])


async def test_204_ends_the_stream_in_order():
    async with serving(InTurn(streaming(HELLO), ENOUGH)) as url, connect(url) as stream:
        assert [item async for item in stream] == [HELLO]
        assert stream.status_code == 204
        assert not stream.is_done


async def test_reconnection_asks_the_first_url_again_and_follows_its_redirect():
    moved = answering("302 Found", location="/there")
    script = InTurn(moved, streaming(HELLO), moved, streaming(DONE))
    async with serving(script) as url:
        read = await items(f"{url}/here")
    assert [one.target for one in script.requests] == ["/here", "/there", "/here", "/there"]
    assert (script.ids, read[-1]) == ([[], [], ["abc"], ["abc"]], DONE)


async def test_reconnection_is_marked_before_its_first_bytes():
    async with serving(InTurn(streaming(HELLO), streaming(DONE))) as url:
        read = await items(url)
    assert [type(item) for item in read] == [bytes, Reconnected, bytes]
    assert repr(read[1]) == "<Reconnected at 'abc'>"


async def test_status_and_headers_are_those_of_the_newest_connection():
    async def answered(exchange: Exchange) -> None:
        await exchange.answer("200 Again", DONE, content_type="text/event-stream", x_request_id="req_2")

    async with serving(InTurn(streaming(HELLO), answered)) as url, connect(url) as stream:
        assert (await anext(stream), stream.request_id, stream.reason_phrase) == (HELLO, "req_1", "OK")
        await anext(stream)
        assert (stream.request_id, stream.reason_phrase) == ("req_2", "Again")


async def test_run_goes_on_over_connections_and_ends_with_done():
    script = InTurn(resetting(CREATED + b"event: thread.run.step.cre"), streaming(DONE))
    async with serving(script) as url, Processor() as processor:
        with anyio.fail_after(WITHIN):
            outcome = await processor.run(connect(url))
    assert (outcome.reason, list(outcome.runs), outcome.anomalies) == ("done", ["run_1"], [])


@pytest.mark.parametrize("end", [DONE, DONE[:-1], DONE.replace(b"\n", b"\r\n")[:-4]])
async def test_get_with_done_is_not_taken_up_again(end: bytes):
    script = InTurn(streaming(CREATED, end))
    async with serving(script) as url:
        assert b"".join(await items(url)) == CREATED + end
    assert len(script.requests) == 1


async def test_without_reconnect_a_get_ends_where_its_connection_does():
    script = InTurn(streaming(HELLO), resetting(HELLO))
    async with serving(script) as url:
        assert await items(url, reconnect=False) == [HELLO]
        with pytest.raises(TransportError, match="the connection failed"):
            await items(url, reconnect=False)
    assert len(script.requests) == 2


@pytest.mark.parametrize("attempts", [1, 2, 5])
async def test_first_connection_is_tried_so_many_times(clock: Clock, attempts: int):
    script = InTurn(hang_up)
    async with serving(script) as url:
        with pytest.raises(TransportError, match="the connection failed"):
            await items(url, attempts=attempts)
    assert len(script.requests) == attempts
    assert clock.pauses == [1, 2, 4, 8, 16][: attempts - 1]


async def test_get_is_opened_again_whatever_failed():
    async def mute(exchange: Exchange) -> None:
        await exchange.hung_up()

    script = InTurn(mute, lambda exchange: exchange.send(b"SSH-2.0-OpenSSH_9.6\r\n\r\n"), hang_up, streaming(DONE))
    async with serving(script) as url:
        assert await items(url, attempts=4, first_byte_timeout=0.5) == [DONE]
    assert len(script.requests) == 4


@each_row(
    ("last_event_id", "value"),
    [
        ("", None),
        ("abc", b"abc"),
        ("a b\tc", b"a b\tc"),
        (" abc \t", b"abc"),
        (" ", None),
        ("\u2026", b"\xe2\x80\xa6"),
        ("é", b"\xc3\xa9"),
        ("a\x0bb", None),
        ("\x01", None),
        ("a\x7f", None),
    ],
)
def test_header_of_an_id_is_absent_where_none_could_carry_it(last_event_id: str, value: bytes | None):
    assert last_event_id_header(last_event_id) == value
