"""Servers that mean no good, each against a process of its own: it ends in its declared error, and stays small."""

import zlib
from collections.abc import Awaitable, Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import anyio.to_thread
import pytest

from tests.support.process_host import Host, host, lines_of
from tests.support.scripted_server import Exchange, answering, serving
from tests.support.stream_reads import WITHIN

MOST = 23
"""MiB that a hostile server may make a process take, beside what it had."""

MOST_FAST = 39
"""Likewise, where aiohttp is imported on the way."""

MANY = 4_096


@cache
def bomb() -> bytes:
    """Return 256 MiB of zeros, packed."""
    packer = zlib.compressobj(1, wbits=31)
    zeros = bytes(2**20)
    return b"".join([*(packer.compress(zeros) for _ in range(256)), packer.flush()])


def bombing(status: str, **headers: str) -> Any:
    """Return a script that answers with a bomb."""
    return lambda exchange: exchange.answer(status, bomb(), **headers)


def without_end(head: bytes, piece: bytes) -> Any:
    """Return a script that sends a piece until the client has left."""

    async def script(exchange: Exchange) -> None:
        await exchange.send(b"HTTP/1.1 " + head + b"\r\n\r\n")
        for _ in range(MANY):
            await exchange.send(piece)

    return script


STREAM = b"200 OK\r\ncontent-type: text/event-stream"
X = b"x" * 2**16


async def endless_head(exchange: Exchange) -> None:
    await exchange.send(b"HTTP/1.1 200 OK\r\nx: ")
    for _ in range(MANY):
        await exchange.send(X)


async def one_line(exchange: Exchange) -> None:
    await exchange.send(b"HTTP/1.1 " + STREAM + b"\r\n\r\nevent: thread.run.created\ndata: ")
    for _ in range(MANY):
        await exchange.send(X)


HOSTILE: dict[str, tuple[Any, str, str]] = {
    "gzip bomb as the stream": (
        bombing("200 OK", content_type="text/event-stream", content_encoding="gzip"),
        "APIError",
        ": expected no content encoding, got gzip",
    ),
    "gzip bomb as the refusal": (
        bombing("400 Bad", content_type="application/json", content_encoding="gzip"),
        "APIError",
        " answered 400 Bad",
    ),
    "gzip bomb that hides its encoding": (
        bombing("400 Bad", content_encoding="identity, gzip"),
        "APIError",
        " answered 400 Bad",
    ),
    "endless line": (one_line, "FrameTooLarge", "expected an event of at most 16,777,216 bytes"),
    "endless event of short lines": (without_end(STREAM, b"data: xy\n" * 7_000), "FrameTooLarge", "16,777,216 bytes"),
    "endless refusal": (without_end(b"500 Oh No", X), "APIError", " answered 500 Oh No: xxx"),
    "endless head": (endless_head, "TransportError", ": the connection failed (RemoteProtocolError)"),
    "endless page": (without_end(b"200 OK\r\ncontent-type: text/html", X), "APIError", "got text/html"),
    "login page": (
        answering("200 OK", b"<html>Please log in" + b" " * 2**25, content_type="text/html; charset=utf-8"),
        "APIError",
        ": expected text/event-stream, got text/html",
    ),
    "redirect to another origin": (
        answering("302 Found", location="http://example.invalid/login?key=s3cret"),
        "APIError",
        " to http://example.invalid/login",
    ),
}


each_hostile = pytest.mark.parametrize(("script", "error", "text"), HOSTILE.values(), ids=HOSTILE)


@pytest.fixture(scope="module")
def processes() -> Iterator[Host]:
    with host("tests.support.memory_probe") as one:
        yield one


@pytest.fixture
def is_ended_well(processes: Host, tmp_path: Path) -> Callable[..., Awaitable[None]]:
    """What checks how a process ends that connects to a server, and what memory it takes."""

    async def is_ended_well(backend: str, script: Any, error: str, text: str, fast: bool = False) -> None:
        async with serving(script) as url:
            one = processes.start("probe", log=tmp_path / "log", backend=backend, url=url, fast=fast)
            await anyio.to_thread.run_sync(one.wait, WITHIN)
        [got] = lines_of(one.log)
        assert (got["error"], text in got["text"], "s3cret" in got["text"]) == (error, True, False), got
        assert got["peak"] - got["before"] < (MOST_FAST if fast else MOST), got

    return is_ended_well


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@each_hostile
async def test_hostile_server_ends_in_its_error_and_takes_little_memory(
    anyio_backend: Any, is_ended_well: Any, script: Any, error: str, text: str
):
    await is_ended_well("asyncio", script, error, text)


@pytest.mark.slow
@pytest.mark.parametrize("anyio_backend", ["trio"])
@each_hostile
async def test_hostile_server_ends_alike_on_trio(
    anyio_backend: Any, is_ended_well: Any, script: Any, error: str, text: str
):
    await is_ended_well("trio", script, error, text)


@pytest.mark.slow
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@each_hostile
async def test_hostile_server_ends_alike_over_the_fast_transport(
    anyio_backend: Any, is_ended_well: Any, script: Any, error: str, text: str
):
    await is_ended_well("asyncio", script, error, text, fast=True)
