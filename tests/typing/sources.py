"""Never run, read by type checkers: which objects are sources, of which libraries, and which are not."""

import asyncio  # noqa: TID251 - its readers are sources
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, BinaryIO

import aiohttp
import anyio.abc
import httpx
import httpx2
import httpx_sse
import openai
from starlette.requests import Request

from stepstream import Event, Frame, Processor, Reconnected, RunsClient, connect, replay


async def chunks() -> AsyncIterator[bytes]:
    yield b""


async def frames() -> AsyncIterator[Frame | Event | Reconnected]:
    yield Frame()


async def lines() -> AsyncIterator[str]:
    yield ""


async def numbers() -> AsyncIterator[int]:
    yield 1


@asynccontextmanager
async def opened() -> AsyncGenerator[AsyncIterator[bytes]]:
    yield chunks()


async def what_is_read(processor: Processor, client: RunsClient) -> None:
    await processor.run(chunks())
    await processor.run(frames())
    await processor.run(lines())
    await processor.run(opened())
    await processor.run(connect("http://x"))
    await processor.run(replay("x.sse"))
    await processor.run(client.stream_run("t", assistant_id="a"))
    processor.start(chunks(), context=1)


async def what_other_libraries_give_is_read(
    processor: Processor, http: httpx.AsyncClient, other: httpx2.AsyncClient, session: aiohttp.ClientSession
) -> None:
    await processor.run(http.stream("GET", "http://x"))
    await processor.run(other.stream("GET", "http://x"))
    await processor.run(session.get("http://x"))
    await processor.run(httpx_sse.aconnect_sse(http, "GET", "http://x"))
    async with http.stream("GET", "http://x") as response:
        await processor.run(response)
        await processor.run(response.aiter_bytes())
        await processor.run(httpx_sse.EventSource(response))
        await processor.run(httpx_sse.EventSource(response).aiter_sse())
    async with other.stream("GET", "http://x") as second:
        await processor.run(second)
    async with session.get("http://x") as third:
        await processor.run(third)
        await processor.run(third.content)


async def what_openai_gives_is_read(processor: Processor, client: openai.AsyncOpenAI) -> None:
    await processor.run(await client.responses.create(input="Hi", model="m", stream=True))
    await processor.run(client.responses.stream(input="Hi", model="m"))
    await processor.run(client.responses.with_streaming_response.create(input="Hi", model="m", stream=True))


async def what_is_received_is_read(
    processor: Processor, reader: asyncio.StreamReader, stream: anyio.abc.ByteReceiveStream, request: Request
) -> None:
    await processor.run(reader)
    await processor.run(stream)
    await processor.run(request)


async def what_is_no_source_is_an_error(
    processor: Processor, client: openai.OpenAI, file: BinaryIO, untyped: Any
) -> None:
    await processor.run(untyped)
    await processor.run(5)  # type: ignore[arg-type]
    await processor.run("http://x")  # type: ignore[arg-type]
    await processor.run(b"data: {}")  # type: ignore[arg-type]
    await processor.run([b"data: {}"])  # type: ignore[arg-type]
    await processor.run(numbers())  # type: ignore[arg-type]
    await processor.run(chunks)  # type: ignore[arg-type]
    await processor.run(opened)  # type: ignore[arg-type]
    await processor.run(file)  # type: ignore[arg-type]
    await processor.run(None)  # type: ignore[arg-type]
    processor.start(httpx.Client().stream("GET", "http://x"))  # type: ignore[arg-type]
    processor.start(client.responses.create(input="Hi", model="m", stream=True))  # type: ignore[arg-type]
