"""Read a request with a bound, answer with a body, send a stream until it ends or its client leaves."""

import math
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Generator,
    Iterable,
    Iterator,
    Mapping,
    MutableMapping,
)
from contextlib import aclosing, nullcontext
from types import CoroutineType
from typing import Any, Final, TypeAlias
from urllib.parse import parse_qsl

import anyio

from stepstream.live.coroutines import rest_of

Message: TypeAlias = MutableMapping[str, Any]
Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
Application: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

MAX_DISCARDED: Final = 16
"""Times the limit that a body which is too long is read and thrown away."""

MAX_WRITE: Final = 256 * 2**10
"""How many bytes of a stream are given to the server at a time."""

_OF_STREAM: Final[Mapping[str, str]] = {"content-type": "text/event-stream", "cache-control": "no-store"}
_DISCONNECT: Final = "http.disconnect"


class BodyTooLong(Exception):
    """A request's body is longer than the application reads."""


async def read_body(receive: Receive, limit: int) -> bytes | None:
    """Return the request's body, or None where the client left before its end.

    Raises:
        BodyTooLong: it has more than `limit` bytes.
    """
    body, size, more = bytearray(), 0, True
    # a body too long is read on: closing on a client that still sends can reset the connection under the answer
    while more and size <= MAX_DISCARDED * limit:
        message = await receive()
        if message["type"] == _DISCONNECT:
            return None
        chunk = message.get("body", b"")
        size += len(chunk)
        if size <= limit:
            body += chunk
        more = message.get("more_body", False)
    if size > limit:
        raise BodyTooLong(f"expected a body of at most {limit:,} bytes, got a longer one")
    return bytes(body)


def headers_of(scope: Scope) -> dict[str, str]:
    """Return the request's headers, their names in lower case."""
    return _joined((name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in scope["headers"])


def query_of(scope: Scope, max_parameters: int) -> dict[str, str]:
    """Return the query parameters of the request, those without a value too.

    Raises:
        ValueError: there are more than `max_parameters`.
    """
    return _joined(parse_qsl(scope["query_string"].decode("latin-1"), True, max_num_fields=max_parameters))


def _joined(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return values by name; where a name is repeated, its values with commas between, as HTTP has it for headers."""
    found: dict[str, str] = {}
    for name, value in pairs:
        found[name] = f"{found[name]},{value}" if name in found else value
    return found


async def send_body(
    send: Send, status: int, body: bytes, content_type: str, headers: Mapping[str, str] | None = None
) -> None:
    """Answer with a body that is known as a whole. `headers` are added to those that describe it."""
    of_body = {"content-type": content_type, "content-length": str(len(body))}
    await send(_start(status, {**of_body, **(headers or {})}))
    await send({"type": "http.response.body", "body": body})


async def send_stream(
    receive: Receive,
    send: Send,
    chunks: AsyncIterator[bytes],
    headers: Mapping[str, str] | None = None,
    *,
    write_timeout: float | None = None,
) -> None:
    """Answer with an event stream until `chunks` end or the client leaves: then they are cancelled.

    A client that does not take a chunk within `write_timeout` seconds has left, too.

    Servers report that a client has left by a message, by an `OSError` in `send`, or by both: either ends the stream
    without an error. What `chunks` raise is raised as it is, with no group around it.
    """
    async with anyio.create_task_group() as tasks:
        sender = _Sender(send, tasks.cancel_scope, write_timeout)
        tasks.start_soon(sender.send_all, chunks, headers or {})
        while (await receive())["type"] != _DISCONNECT:
            pass
        tasks.cancel_scope.cancel()
    if sender.failure is not None:
        raise sender.failure


class _Sender:
    """Sends a stream, and cancels `scope`, which it is called in, at its end, or where `limit` seconds do not suffice.

    It does so in a task of its own: each time that it goes on, the loop goes through all that awaits it. A server
    mostly takes a message without waiting: then no deadline is set, and nothing is awaited.
    """

    __slots__ = ("_limit", "_scope", "_send", "failure")

    def __init__(self, send: Send, scope: anyio.CancelScope, limit: float | None) -> None:
        self._send = send
        self._scope = scope
        self._limit = math.inf if limit is None else limit
        self.failure: Exception | None = None
        """What `chunks` raised."""

    async def send_all(self, chunks: AsyncIterator[bytes], headers: Mapping[str, str]) -> None:
        """Send what there is."""
        try:
            async with aclosing(chunks) if isinstance(chunks, AsyncGenerator) else nullcontext():
                if not await self._is_sent(_start(200, {**_OF_STREAM, **headers})):
                    return
                async for chunk in chunks:
                    for piece in (chunk,) if len(chunk) <= MAX_WRITE else _cut(chunk):
                        rest = self._begin({"type": "http.response.body", "body": piece, "more_body": True})
                        if rest is not None and not await self._finish(rest):
                            return
                await self._is_sent({"type": "http.response.body", "body": b""})
        except Exception as exc:  # noqa: BLE001 - raised outside of the group
            self.failure = exc
        finally:
            self._scope.cancel()

    def _begin(self, message: Message) -> Awaitable[Any] | None:
        """Begin to send a message, and return what is left of it, to be finished at once; None where nothing is."""
        sending = self._send(message)
        if type(sending) is not CoroutineType:
            return sending
        try:
            return rest_of(sending)
        except OSError as exc:
            return _Failed(exc)

    async def _finish(self, sending: Awaitable[Any]) -> bool:
        """Wait for the rest, and return whether the client is still there to take it."""
        self._scope.deadline = anyio.current_time() + self._limit
        try:
            await sending
        except OSError:
            return False
        finally:
            self._scope.deadline = math.inf
        return True

    async def _is_sent(self, message: Message) -> bool:
        """Send a message, and return whether the client is still there to take it."""
        rest = self._begin(message)
        return rest is None or await self._finish(rest)


def _cut(chunk: bytes) -> Iterator[bytes]:
    return (chunk[start : start + MAX_WRITE] for start in range(0, len(chunk), MAX_WRITE))


class _Failed:
    """What failed at its first step, to be raised where it is finished."""

    def __init__(self, failure: OSError) -> None:
        self._failure = failure

    def __await__(self) -> Generator[Any, None, None]:
        raise self._failure
        yield


def _start(status: int, headers: Mapping[str, str]) -> Message:
    encoded = [(name.encode(), value.encode()) for name, value in headers.items()]
    return {"type": "http.response.start", "status": status, "headers": encoded}


async def is_http(scope: Scope, receive: Receive, send: Send) -> bool:
    """Return whether it is an HTTP request that is asked for. What else a server sends an application is answered:
    its lifespan, and WebSockets by a refusal."""
    if scope["type"] == "lifespan":
        await answer_lifespan(receive, send)
    elif scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1003})
    return bool(scope["type"] == "http")


async def answer_lifespan(receive: Receive, send: Send) -> None:
    """Answer a server's `lifespan` messages, for an application that has nothing to set up."""
    while True:
        phase = (await receive())["type"]
        await send({"type": f"{phase}.complete"})
        if phase == "lifespan.shutdown":
            return
