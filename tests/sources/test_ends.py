"""That a stream is over by one definition, whatever it comes from: a POST, a GET, a file, or a source of the user's."""

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from stepstream import Processor, StepStreamError, connect, record, replay
from tests.support.response_streams import encoded, lifecycle, whole, writing
from tests.support.run_streams import frames, run, source, sse, step
from tests.support.run_streams import writing as writing_step
from tests.support.scripted_server import Exchange, InTurn, answering, serving, streaming
from tests.support.stream_reads import WITHIN, Clock
from tests.support.tables import each_row

pytestmark = pytest.mark.usefixtures("clock")

BEGUN = sse([run("queued"), run("in_progress"), step("created")])
ENDED = sse([step("completed"), run("completed")])
WAITING = sse([run("requires_action")])
NAMELESS = b"data: [DONE]\n\n"
ERROR = b'data: {"error": {"message": "server overloaded", "code": "busy"}}\n\n'
NAMED = b'event: error\ndata: {"message": "server overloaded", "code": "busy"}\n\n'
CHUNK = b'data: {"object": "chat.completion.chunk", "choices": []}\n\n'
ENOUGH = answering("204 No Content")

FAILING = {"type": "error", "code": "busy", "message": "server overloaded"}

ENDS: dict[str, tuple[bytes, str]] = {
    "an ended run": (BEGUN + ENDED, "ended"),
    "and [DONE]": (BEGUN + ENDED + NAMELESS, "ended"),
    "and [DONE] without its blank line": (BEGUN + ENDED + NAMELESS[:-2], "ended"),
    "a run that waits": (BEGUN + WAITING, "ended"),
    "[DONE], its run open": (BEGUN + NAMELESS, "done"),
    "done": (BEGUN + b"event: done\ndata: [DONE]\n\n", "done"),
    "a response": (encoded(whole(writing("a"))), "ended"),
    "one without names, and [DONE]": (encoded(whole(writing("a")), named=False) + NAMELESS, "ended"),
    "one without its blank line": (encoded(whole(writing("a")))[:-2], "ended"),
    "one that failed beside its error": (encoded([FAILING, lifecycle("failed")]), "ended"),
    "the error of a response": (encoded([lifecycle("created"), FAILING]), "StreamFailed busy server overloaded"),
    "an error without its name": (BEGUN + ERROR, "StreamFailed busy server overloaded"),
    "and [DONE] after it": (BEGUN + ERROR + NAMELESS, "StreamFailed busy server overloaded"),
    "and it lacks its blank line": (BEGUN + ERROR[:-2], "StreamFailed busy server overloaded"),
    "an error": (BEGUN + NAMED, "StreamFailed busy server overloaded"),
    "an error without its blank line": (BEGUN + NAMED[:-2], "StreamFailed busy server overloaded"),
}


@asynccontextmanager
async def posted(data: bytes, path: Path) -> AsyncIterator[Any]:
    async with serving(streaming(data)) as url:
        yield connect(url, json={})


@asynccontextmanager
async def got(data: bytes, path: Path) -> AsyncIterator[Any]:
    script = InTurn(streaming(data))
    async with serving(script) as url:
        yield connect(url)
    assert len(script.requests) == 1


@asynccontextmanager
async def wrapped(data: bytes, path: Path) -> AsyncIterator[Any]:
    async def through(stream: Any) -> AsyncIterator[Any]:
        async with stream as items:
            async for item in items:
                yield item

    async with got(data, path) as stream:
        yield record(through(stream), path)


@asynccontextmanager
async def stored(data: bytes, path: Path) -> AsyncIterator[Any]:
    await anyio.Path(path).write_bytes(data)
    yield replay(path, speed=math.inf)


@asynccontextmanager
async def made(data: bytes, path: Path) -> AsyncIterator[Any]:
    yield source(*[data[place : place + 7] for place in range(0, len(data), 7)])


WAYS = {"a POST": posted, "a GET": got, "a GET through others": wrapped, "a file": stored, "a source": made}


async def how(given: Any) -> str:
    """Return how a stream ended, in a few words."""
    with anyio.fail_after(WITHIN):
        async with Processor() as processor:
            try:
                return str((await processor.run(given)).reason)
            except StepStreamError as error:
                return " ".join([type(error).__name__, *filter(None, map(error.__dict__.get, ("code", "message")))])


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
async def test_stream_ends_alike_whatever_it_comes_from(way: Any, tmp_path: Path):
    for data, expected in ENDS.values():
        async with way(data, tmp_path / "x.sse") as given:
            assert await how(given) == expected


@pytest.mark.parametrize("open_end", [False, True])
async def test_reading_stops_at_done_without_its_name_though_the_server_goes_on(open_end: bool):
    for options in ({}, {"json": {}}):
        async with serving(streaming(BEGUN, NAMELESS, ENDED, end=open_end)) as url:
            with anyio.fail_after(WITHIN):
                async with Processor() as processor:
                    outcome = await processor.run(connect(url, **options))
            assert (outcome.reason, outcome.events, [one.status for one in outcome.runs.values()]) == (
                "done",
                4,
                ["in_progress"],
            )


async def test_get_whose_events_have_ids_goes_on_where_its_run_waits():
    with_id = b"id: 7\n" + WAITING
    script = InTurn(streaming(with_id), streaming(b"id: 8\n" + ENDED))
    async with serving(script) as url:
        assert await how(connect(url)) == "ended"
    assert script.ids == [[], ["7"]]


async def test_get_whose_run_waits_ends_in_order_with_204():
    async with serving(InTurn(streaming(b"id: 7\n" + WAITING), ENOUGH)) as url:
        assert await how(connect(url)) == "ended"


async def test_get_whose_run_goes_on_is_taken_up_again(clock: Clock):
    script = InTurn(streaming(BEGUN), streaming(BEGUN, sse([writing_step("created")])), streaming(ENDED))
    async with serving(script) as url:
        assert await how(connect(url)) == "ended"
    assert (len(script.requests), clock.pauses) == (3, [1, 2])


async def cut_off(exchange: Exchange) -> None:
    await exchange.stream(BEGUN, ENDED, end=False)
    raise anyio.EndOfStream


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("broken", [cut_off, streaming(BEGUN, ENDED, end=False)], ids=["cut off", "silent"])
async def test_get_that_breaks_after_the_end_of_its_run_is_not_taken_up_again(broken: Any):
    script = InTurn(broken)
    async with serving(script) as url:
        assert await how(connect(url, idle_timeout=0.5)) == "ended"
    assert len(script.requests) == 1


async def test_error_that_was_cut_is_asked_for_again():
    script = InTurn(streaming(b"id: 1\n" + BEGUN + NAMED[:-9]), streaming(NAMED))
    async with serving(script) as url:
        assert await how(connect(url)) == "StreamFailed busy server overloaded"
    assert len(script.requests) == 2


async def test_what_the_server_said_is_raised_where_the_source_fails_after_it():
    given = source(BEGUN, ERROR, OSError("reset"))
    assert await how(given) == "StreamFailed busy server overloaded"
    assert await how(source(BEGUN, ERROR, ENDED, OSError("reset"))) == "TransportError"


@each_row(
    ("data", "told"),
    [
        (CHUNK * 18 + NAMELESS, "none of 19 events is of a protocol that stepstream reads (first: without a name, "),
        (b'{"error": {"message": "no\\nquota"}}', "the stream ended without a single event: got JSON: no\\u000aquota"),
        (b'{"id": "run_1", "object": "thread.run"}', "the stream ended without a single event: got JSON"),
        (b"<html><title>502 Bad Gateway</title>", "the stream ended without a single event: got HTML: 502 Bad Gatew"),
        (b"upstream is down", "the stream ended without a single event: got plain text"),
        (b"event: thread.run.created\ndata: {", "the stream ended without a single event"),
        (b"", "the stream ended without a single event"),
    ],
)
async def test_foreign_input_says_what_it_is_at_any_chunking(data: bytes, told: str):
    chunks = [[data[place : place + size] for place in range(0, len(data), size)] for size in (1, 7, 10**6)]
    for given in [source(*one) for one in [*chunks, [data.decode()]]]:
        async with Processor() as processor:
            with pytest.raises(StepStreamError) as caught:
                await processor.run(given)
        assert str(caught.value).startswith(told)
        assert str(caught.value) == told or not told.endswith("event")


async def test_frames_and_events_end_as_their_bytes_do():
    whole = frames([run("queued"), run("completed")])
    assert await how(source(*whole)) == "ended"
    assert await how(source(*frames([run("queued")]), NAMELESS)) == "done"
