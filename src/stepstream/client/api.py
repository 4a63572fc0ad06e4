"""Requests to an API: over which connections, for how long, in how many attempts; lists page by page."""

import math
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from types import MappingProxyType
from typing import Any, Final, TypeVar

import msgspec

from stepstream.client.api_calls import ApiCall, send
from stepstream.client.endpoint import Endpoint
from stepstream.client.lists import ANY_PAGE, PAGE_SIZE, ListBuilder
from stepstream.errors import ProtocolError
from stepstream.sources.event_stream import EventStream
from stepstream.sources.http import connect, new_client
from stepstream.sources.options import check_attempts, check_client, check_seconds

MAX_PAGES: Final = 1_000

NO_HEADERS: Final[Mapping[str, str]] = MappingProxyType({})

T = TypeVar("T")


class Timeouts(msgspec.Struct, frozen=True, kw_only=True):
    """Timeouts in seconds: those of `connect` for streams, and `timeout` for any other call."""

    connect_timeout: float
    first_byte_timeout: float
    idle_timeout: float
    event_timeout: float | None
    total_timeout: float | None
    timeout: float

    def __post_init__(self) -> None:
        check_seconds(**msgspec.structs.asdict(self))


class Api:
    """Sends requests to an API. Without a `client`, a connection lasts for one call, or for `keep_connections`."""

    def __init__(self, endpoint: Endpoint, client: Any, timeouts: Timeouts, attempts: int, *, fast: bool) -> None:
        check_attempts(attempts)
        check_client(client, fast=fast)
        self._endpoint = endpoint
        self._client = client
        self._timeouts = timeouts
        self._attempts = attempts
        self._fast = fast

    def __repr__(self) -> str:
        return f"<Api {self._endpoint!r}>"

    @property
    def total_timeout(self) -> float:
        """For how many seconds a stream may go on, with all that follows where it breaks."""
        return math.inf if self._timeouts.total_timeout is None else self._timeouts.total_timeout

    @asynccontextmanager
    async def keep_connections(self) -> AsyncIterator[None]:
        """Keep connections open until the end of the block. A client of the caller's keeps its own."""
        if self._client is not None:
            yield
            return
        async with self._new_client() as self._client:
            try:
                yield
            finally:
                self._client = None

    def _new_client(self) -> AbstractAsyncContextManager[Any]:
        return new_client(self._endpoint.base_url, fast=self._fast)

    async def get(self, *path: str) -> msgspec.Raw:
        """Return an object, undecoded."""
        return await self._call("GET", self._endpoint.url(*path), msgspec.Raw)

    async def post(self, *path: str, body: Any) -> msgspec.Raw:
        """Send an object, and return the one that the response holds, undecoded."""
        return await self._call("POST", self._endpoint.url(*path), msgspec.Raw, body)

    async def list(self, *path: str, query: Iterable[tuple[str, str]] = ()) -> Sequence[msgspec.Raw]:
        """Return the objects of every page of a list, each once, oldest first, undecoded.

        Raises:
            ProtocolError: the list has no end, or there is more and no id to ask after.
        """
        found, same = ListBuilder(), [("limit", str(PAGE_SIZE)), ("order", "asc"), *query]
        for _ in range(MAX_PAGES):
            begin = [("after", found.after)] if found.after else []
            if not found.add(await self._call("GET", self._endpoint.url(*path, query=[*same, *begin]), ANY_PAGE)):
                return found.oldest_first()
        raise ProtocolError(f"expected a list of at most {MAX_PAGES:,} pages")

    @asynccontextmanager
    async def stream(
        self,
        url: str,
        body: Mapping[str, Any] | None,
        *,
        own_headers: Mapping[str, str] = NO_HEADERS,
        total_timeout: float | None = None,
        attempts: int | None = None,
    ) -> AsyncIterator[EventStream]:
        """Send an object, or ask with a GET, and give the stream that the response is: that of one connection.

        `own_headers` are those of this request. `total_timeout` and `attempts` replace the client's own, for a stream
        that goes on with another one.
        """
        timeouts = msgspec.structs.asdict(self._timeouts)
        timeouts["total_timeout"] = total_timeout if total_timeout is not None else timeouts["total_timeout"]
        del timeouts["timeout"]
        headers = {**await self._endpoint.headers(), **own_headers}
        own: dict[str, Any] = {"fast": self._fast} if self._client is None else {"client": self._client}
        options = {**own, **timeouts, "reconnect": False}
        async with connect(url, json=body, headers=headers, attempts=attempts or self._attempts, **options) as stream:
            yield stream

    async def _call(self, method: str, url: str, type_: type[T], json: Any = None) -> T:
        headers = await self._endpoint.headers()
        async with AsyncExitStack() as stack:
            client = self._client or await stack.enter_async_context(self._new_client())
            call = ApiCall(
                client=client,
                method=method,
                url=url,
                headers=headers,
                json=json,
                connect_timeout=self._timeouts.connect_timeout,
                timeout=self._timeouts.timeout,
                attempts=self._attempts,
            )
            return await send(call, type_)
