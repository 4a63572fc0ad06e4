"""ASGI plumbing: read a body with a bound, answer with an object, send a stream until nobody reads it."""

import zlib
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from typing import Any, Final, Protocol, TypeAlias

import anyio
import msgspec

from stepstream.simulator.delivery import Stop, Write
from stepstream.simulator.requests import Refusal

Message: TypeAlias = MutableMapping[str, Any]
Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
Application: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

MAX_BODY_BYTES: Final = 2**20
_MAX_DISCARDED_BYTES: Final = 16 * MAX_BODY_BYTES
"""A refused body is read this far: closing on a client that still sends can reset the connection under the answer."""

CONNECTION: Final = "stepstream.connection"
"""The name under which a server that can break its connections gives one among the scope's extensions."""

_DISCONNECT: Final = "http.disconnect"


class Connection(Protocol):
    """A connection that can be broken in ways that ASGI has no words for."""

    def reset(self) -> None:
        """Reset it."""

    def break_off(self, data: bytes) -> None:
        """Send `data` as the beginning of a longer chunk, and close."""


class BrokenOff(Exception):
    """The simulator was asked to break a connection, on a server that can do it by an exception only."""


async def read_body(receive: Receive) -> bytes | None:
    """Return the request's body, or None where the client left before its end.

    Raises:
        Refusal: 413, the body is longer than `MAX_BODY_BYTES`.
    """
    body, size, more = bytearray(), 0, True
    while more and size <= _MAX_DISCARDED_BYTES:
        message = await receive()
        if message["type"] == _DISCONNECT:
            return None
        chunk = message.get("body", b"")
        size += len(chunk)
        if size <= MAX_BODY_BYTES:
            body += chunk
        more = message.get("more_body", False)
    if size > MAX_BODY_BYTES:
        raise Refusal(413, f"expected a body of at most {MAX_BODY_BYTES:,} bytes, got a longer one")
    return bytes(body)


async def send_object(send: Send, value: object, request_id: str) -> None:
    """Answer with an object of the API."""
    await send_whole(send, 200, msgspec.json.encode(value), request_id)


async def send_refusal(send: Send, refusal: Refusal, request_id: str) -> None:
    """Answer with the refusal's status and the API's error object."""
    body = msgspec.json.encode({"error": refusal.error})
    await send_whole(send, refusal.status, body, request_id, headers=refusal.headers)


async def send_whole(
    send: Send,
    status: int,
    body: bytes,
    request_id: str,
    *,
    content_type: str = "application/json",
    headers: Mapping[str, str] | None = None,
) -> None:
    """Answer with a body that is known as a whole."""
    known = {"content-type": content_type, "content-length": str(len(body)), **(headers or {})}
    await send(_start(status, known, request_id))
    await send({"type": "http.response.body", "body": body})


async def send_stream(
    scope: Scope, receive: Receive, send: Send, writes: Iterable[Write], *, gzipped: bool, request_id: str
) -> None:
    """Answer with an event stream until it is over, is told to stop, or the client leaves."""
    headers = {"content-type": "text/event-stream", "cache-control": "no-store"}
    if gzipped:
        headers["content-encoding"] = "gzip"
        writes = _gzipped(writes)
    broken_off: BrokenOff | None = None
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_cancel_on_disconnect, receive, tasks.cancel_scope)
        try:
            await send(_start(200, headers, request_id))
            for write in writes:
                await anyio.sleep(write.delay)
                await _write(scope, send, write)
            await send({"type": "http.response.body", "body": b""})
        except OSError:  # what some servers raise in `send` once the client has left
            pass
        except BrokenOff as exc:
            broken_off = exc  # raised outside of the group, it has no group around it
        tasks.cancel_scope.cancel()
    if broken_off is not None:
        raise broken_off


async def _write(scope: Scope, send: Send, write: Write) -> None:
    if write.data and write.stop is not Stop.BREAK:
        await send({"type": "http.response.body", "body": write.data, "more_body": True})
    if write.stop in (None, Stop.CUT):
        return
    if write.stop is not Stop.STALL:
        connection: Connection | None = (scope.get("extensions") or {}).get(CONNECTION)
        if connection is None:
            raise BrokenOff("the connection is broken off, as the fault asks")
        if write.stop is Stop.RESET:
            connection.reset()
        else:
            connection.break_off(write.data)
    await anyio.sleep_forever()  # until the client has left, which may be at once


def _gzipped(writes: Iterable[Write]) -> Iterable[Write]:
    packer = zlib.compressobj(wbits=31)
    for write in writes:
        yield write._replace(data=packer.compress(write.data) + packer.flush(zlib.Z_SYNC_FLUSH))
    yield Write(0, packer.flush())


async def _cancel_on_disconnect(receive: Receive, scope: anyio.CancelScope) -> None:
    while (await receive())["type"] != _DISCONNECT:
        pass
    scope.cancel()


def _start(status: int, headers: Mapping[str, str], request_id: str) -> Message:
    named = [(name.encode(), value.encode()) for name, value in {**headers, "x-request-id": request_id}.items()]
    return {"type": "http.response.start", "status": status, "headers": named}


async def live(receive: Receive, send: Send) -> None:
    """Answer a server's `lifespan` messages: there is nothing to set up."""
    while True:
        phase = (await receive())["type"]
        await send({"type": f"{phase}.complete"})
        if phase == "lifespan.shutdown":
            return
