"""ASGI plumbing: read a body with a bound, refuse a request in the API's words, send a stream until nobody reads it."""

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from contextlib import suppress
from typing import Any, Final, TypeAlias

import anyio
import msgspec

from stepstream.simulator.stage import Beat
from stepstream.wire.sse import encode_frame

Message: TypeAlias = MutableMapping[str, Any]
Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
Application: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

MAX_BODY_BYTES: Final = 2**20
_MAX_DISCARDED_BYTES: Final = 16 * MAX_BODY_BYTES
"""A refused body is read this far: closing on a client that still sends can reset the connection under the answer."""

_DISCONNECT: Final = "http.disconnect"


class Refusal(Exception):
    """A request that gets an error instead of a stream. `allow` is the method that the path takes, for a 405."""

    def __init__(self, status: int, message: str, *, param: str | None = None, allow: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.param = param
        self.allow = allow


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


async def send_refusal(send: Send, refusal: Refusal, request_id: str) -> None:
    """Answer with the refusal's status and the API's error object."""
    error = {"message": str(refusal), "type": "invalid_request_error", "param": refusal.param, "code": None}
    body = msgspec.json.encode({"error": error})
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    if refusal.allow is not None:
        headers.append((b"allow", refusal.allow.encode()))
    await send(_start(refusal.status, headers, request_id))
    await send({"type": "http.response.body", "body": body})


async def send_stream(receive: Receive, send: Send, beats: Iterable[Beat], *, pace: float, request_id: str) -> None:
    """Answer with `beats` as an event stream, their delays multiplied by `pace`, until the client leaves."""
    headers = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-store")]
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_cancel_on_disconnect, receive, tasks.cancel_scope)
        with suppress(OSError):  # what some servers raise in `send` once the client has left
            await send(_start(200, headers, request_id))
            for beat in beats:
                await anyio.sleep(beat.delay * pace)
                await send({"type": "http.response.body", "body": encode_frame(beat.frame), "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        tasks.cancel_scope.cancel()


async def _cancel_on_disconnect(receive: Receive, scope: anyio.CancelScope) -> None:
    while (await receive())["type"] != _DISCONNECT:
        pass
    scope.cancel()


def _start(status: int, headers: list[tuple[bytes, bytes]], request_id: str) -> Message:
    named = [*headers, (b"x-request-id", request_id.encode())]
    return {"type": "http.response.start", "status": status, "headers": named}


async def live(receive: Receive, send: Send) -> None:
    """Answer a server's `lifespan` messages: there is nothing to set up."""
    while True:
        phase = (await receive())["type"]
        await send({"type": f"{phase}.complete"})
        if phase == "lifespan.shutdown":
            return
