"""Answers of the simulator: objects, refusals, and streams that break as a fault asks."""

import zlib
from collections.abc import AsyncGenerator, Iterable
from typing import Final

import anyio
import msgspec

from stepstream.asgi.http import Receive, Scope, Send, send_body, send_stream
from stepstream.asgi.server import CONNECTION, Connection
from stepstream.simulator.requests import Refusal
from stepstream.simulator.writes import Stop, Write

REQUEST_ID: Final = "x-request-id"


class BrokenOff(Exception):
    """The simulator was asked to break a connection, on a server that can do it by an exception only."""


async def send_object(send: Send, value: object, request_id: str) -> None:
    """Answer with an object of the API."""
    await send_body(send, 200, msgspec.json.encode(value), "application/json", {REQUEST_ID: request_id})


async def send_html(send: Send, page: bytes, request_id: str) -> None:
    """Answer with a page of HTML, where an object or a stream was asked for."""
    await send_body(send, 200, page, "text/html; charset=utf-8", {REQUEST_ID: request_id})


async def send_refusal(send: Send, refusal: Refusal, request_id: str) -> None:
    """Answer with the refusal's status and the API's error object."""
    body = msgspec.json.encode({"error": refusal.error})
    headers = {**refusal.headers, REQUEST_ID: request_id}
    await send_body(send, refusal.status, body, "application/json", headers)


async def send_writes(
    scope: Scope, receive: Receive, send: Send, writes: Iterable[Write], *, gzipped: bool, request_id: str
) -> None:
    """Answer with an event stream until it is over, a write of it breaks it off, or the client leaves.

    Raises:
        BrokenOff: the stream is to be broken off, and the server cannot do that.
    """
    headers = {"content-encoding": "gzip"} if gzipped else {}
    chunks = _chunks(scope, _gzipped(writes) if gzipped else writes)
    await send_stream(receive, send, chunks, {**headers, REQUEST_ID: request_id})


async def _chunks(scope: Scope, writes: Iterable[Write]) -> AsyncGenerator[bytes]:
    """Yield the bytes of writes, each when it is due, up to where one breaks the connection."""
    for write in writes:
        await anyio.sleep(write.delay)
        if write.data and write.stop is not Stop.BREAK:
            yield write.data
        if write.stop in (None, Stop.CUT):
            continue
        if write.stop is not Stop.STALL:
            _break(scope, write)
        await anyio.sleep_forever()  # until the client has left, which may be at once


def _break(scope: Scope, write: Write) -> None:
    connection: Connection | None = (scope.get("extensions") or {}).get(CONNECTION)
    if connection is None:
        raise BrokenOff("the connection is broken off, as the fault asks")
    if write.stop is Stop.RESET:
        connection.reset()
    else:
        connection.break_off(write.data)


def _gzipped(writes: Iterable[Write]) -> Iterable[Write]:
    packer = zlib.compressobj(wbits=31)
    for write in writes:
        yield write._replace(data=packer.compress(write.data) + packer.flush(zlib.Z_SYNC_FLUSH))
    yield Write(0, packer.flush())
