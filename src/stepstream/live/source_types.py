"""What a source looks like to a type checker: the objects of other libraries, by what is read of them.

`source_kinds` decides at run time, and also looks through what only wraps a response. What no protocol here fits is an
error to a checker; what none fits and is read nevertheless can be given by a `cast`.
"""

from collections.abc import AsyncIterable, AsyncIterator
from typing import Any, Protocol


class SSEMessage(Protocol):
    """One message as SSE libraries give it, such as `httpx_sse.ServerSentEvent`, or an event of openai's assistants."""

    @property
    def event(self) -> str | None:
        """The event's name."""

    @property
    def data(self) -> Any:
        """The data: text, or an object that openai made of it."""


class SDKEvent(Protocol):
    """One event as an SDK gives it, such as those of openai's `responses.create(stream=True)`."""

    @property
    def type(self) -> str:
        """The event's name."""


class ByteResponse(Protocol):
    """The response of an async client of httpx or httpx2."""

    def aiter_bytes(self) -> AsyncIterator[bytes]:
        """Yield its body."""

    async def aclose(self) -> None:
        """Close it."""


class RawResponse(Protocol):
    """The response of an async client of azure-core, or openai's `with_streaming_response`."""

    def iter_bytes(self) -> AsyncIterator[bytes]:
        """Yield its body."""


class EventSource(Protocol):
    """`httpx_sse.EventSource`."""

    def aiter_sse(self) -> AsyncIterator[SSEMessage]:
        """Yield its messages."""


class Body(Protocol):
    """The body of a response of aiohttp."""

    def iter_any(self) -> AsyncIterable[bytes]:
        """Yield it as it comes."""


class BodyResponse(Protocol):
    """A response of aiohttp."""

    @property
    def content(self) -> Body:
        """Its body."""


class Request(Protocol):
    """A request of Starlette, whose body is a stream."""

    @property
    def scope(self) -> Any:
        """Its scope."""

    def stream(self) -> AsyncIterable[bytes]:
        """Yield its body."""


class Receiver(Protocol):
    """A receive stream of anyio."""

    async def receive(self) -> Any:
        """Return what comes next."""
