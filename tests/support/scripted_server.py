"""An HTTP/1.1 server on a real port that does to each request what a test says, on whatever event loop."""

import json
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
from anyio.abc import SocketAttribute, SocketStream
from anyio.streams.buffered import BufferedByteReceiveStream

LONGEST_HEAD = 64 * 2**10

CREATED = b'event: thread.run.created\ndata: {"id": "run_1"}\n\n'
DONE = b"event: done\ndata: [DONE]\n\n"


class Exchange:
    """One request, read as a whole, and the means to answer it."""

    def __init__(self, stream: SocketStream, head: bytes, body: bytes) -> None:
        request, *lines = head.decode("latin-1").split("\r\n")
        self.method, self.target, _ = request.split(" ")
        self.headers = [(name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]
        self.body = body
        self._stream = stream

    def values(self, name: str) -> list[str]:
        """The values of every header of that name."""
        return [value for known, value in self.headers if known == name]

    async def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        await self._stream.send(data)

    async def answer(self, status: str, body: bytes | dict[str, Any] = b"", **headers: str) -> None:
        """Send a whole response. An underscore in the name of a header stands for a hyphen."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        named = {"content-length": str(len(data)), **{name.replace("_", "-"): value for name, value in headers.items()}}
        lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in named.items()), "", ""]
        await self.send("\r\n".join(lines).encode("latin-1") + data)

    async def stream(self, *chunks: bytes, kind: str = "text/event-stream", end: bool = True) -> None:
        """Send a response in chunks. Without `end`, it goes on."""
        head = f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\nx-request-id: req_1\r\ntransfer-encoding: chunked\r\n\r\n"
        await self.send(head.encode())
        for chunk in filter(None, chunks):  # an empty one would be the end
            await self.send(b"%x\r\n%b\r\n" % (len(chunk), chunk))
        if end:
            await self.send(b"0\r\n\r\n")

    async def reset(self) -> None:
        """Break the connection, so that the client's system tells of it at once."""
        self._stream.extra(SocketAttribute.raw_socket).setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
        )
        transport = getattr(self._stream, "_transport", None)
        if transport is not None:
            transport.abort()  # on asyncio, closing would end the stream in order before it breaks it
        raise anyio.EndOfStream

    async def hung_up(self) -> None:
        """Return when the client has closed the connection."""
        try:
            while True:
                await self._stream.receive()
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            return


Script = Callable[[Exchange], Awaitable[object]]


class InTurn:
    """A script that does one of `scripts` to each request, the last to all that follow, and keeps the requests."""

    def __init__(self, *scripts: Script) -> None:
        self._scripts = scripts
        self.requests: list[Exchange] = []

    async def __call__(self, exchange: Exchange) -> None:
        self.requests.append(exchange)
        await self._scripts[min(len(self.requests), len(self._scripts)) - 1](exchange)

    @property
    def ids(self) -> list[list[str]]:
        """The values of `Last-Event-ID` in each request."""
        return [request.values("last-event-id") for request in self.requests]


def streaming(*chunks: bytes, end: bool = True) -> Script:
    """Return a script that answers with a stream. Without `end`, it goes on until the client has left."""

    async def script(exchange: Exchange) -> None:
        await exchange.stream(*chunks, end=end)
        if not end:
            await exchange.hung_up()

    return script


def answering(status: str, body: bytes | dict[str, Any] = b"", **headers: str) -> Script:
    """Return a script that answers with a whole response."""
    return lambda exchange: exchange.answer(status, body, **headers)


def resetting(*chunks: bytes) -> Script:
    """Return a script that sends the beginning of a stream, and breaks the connection."""

    async def script(exchange: Exchange) -> None:
        await exchange.stream(*chunks, end=False)
        await exchange.reset()

    return script


async def hang_up(exchange: Exchange) -> None:
    """Close the connection instead of an answer."""
    raise anyio.EndOfStream


@asynccontextmanager
async def serving(script: Script, port: int = 0) -> AsyncIterator[str]:
    """Do `script` to every request. Yields the base URL, without a final slash."""

    async def serve(stream: SocketStream) -> None:
        async with stream:
            incoming = BufferedByteReceiveStream(stream)
            try:
                while True:
                    head = await incoming.receive_until(b"\r\n\r\n", LONGEST_HEAD)
                    exchange = Exchange(stream, head, b"")
                    exchange.body = await incoming.receive_exactly(int((exchange.values("content-length") or ["0"])[0]))
                    await script(exchange)
            except (anyio.EndOfStream, anyio.IncompleteRead, anyio.BrokenResourceError):
                return  # the client has left

    opening = anyio.create_tcp_listener(local_host="127.0.0.1", local_port=port)
    async with await opening as listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, serve)
        yield f"http://127.0.0.1:{listener.extra(SocketAttribute.local_port)}"
        tasks.cancel_scope.cancel()
