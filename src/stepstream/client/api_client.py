"""What the clients of both APIs have in common: where the API is, over which connections, for how long."""

from collections.abc import Mapping
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, ClassVar, Final, Self

from stepstream.client.api import Api, Timeouts
from stepstream.client.endpoint import Auth, Endpoint
from stepstream.sources.http import ATTEMPTS, CONNECT_TIMEOUT, FIRST_BYTE_TIMEOUT, IDLE_TIMEOUT
from stepstream.sources.options import ApiKey, check_seconds

RECONCILE_TIMEOUT: Final = 600.0
"""As long as OpenAI lets a run live."""
CALL_TIMEOUT: Final = 60.0
EVENT_TIMEOUT: Final = 300.0


class ApiClient:
    """The options of a client, and its connections.

    `api_key` is a key, or a callable that returns a fresh token for each request, or an awaitable of one. It is sent as
    a bearer token, or, where `auth` is "api-key" or a key comes with an `api_version`, as Azure wants it, in the header
    `api-key`. A bearer token wins over `user:password@` in `base_url`. `headers` are sent with every request. `client`
    is an `httpx.AsyncClient` or `httpx2.AsyncClient` to use; it stays open. Without one, a connection lasts for one
    call, or for the block of `async with`; with `fast`, over aiohttp, as in `connect`.

    Timeouts are in seconds: those of `connect` for streams (`total_timeout`: with their polling), `timeout` for any
    other call, `reconcile_timeout` for polling a run whose stream broke. Requests are sent up to `attempts` times.
    """

    _own_headers: ClassVar[Mapping[str, str]] = {}
    """What every request to its API has, unless `headers` say otherwise."""

    def __init__(
        self,
        base_url: str,
        *,
        api_key: ApiKey | None = None,
        auth: Auth | None = None,
        api_version: str | None = None,
        headers: Mapping[str, str] | None = None,
        client: Any = None,
        fast: bool = False,
        attempts: int = ATTEMPTS,
        connect_timeout: float = CONNECT_TIMEOUT,
        first_byte_timeout: float = FIRST_BYTE_TIMEOUT,
        idle_timeout: float = IDLE_TIMEOUT,
        event_timeout: float | None = EVENT_TIMEOUT,
        total_timeout: float | None = None,
        timeout: float = CALL_TIMEOUT,
        reconcile_timeout: float = RECONCILE_TIMEOUT,
    ) -> None:
        check_seconds(reconcile_timeout=reconcile_timeout)
        self._endpoint = Endpoint(
            base_url=base_url,
            api_key=api_key,
            auth=auth or ("api-key" if isinstance(api_key, str) and api_version is not None else "bearer"),
            api_version=api_version,
            default_headers=dict(headers or {}),
            own_headers=self._own_headers,
        )
        self._endpoint.check()
        timeouts = Timeouts(
            connect_timeout=connect_timeout,
            first_byte_timeout=first_byte_timeout,
            idle_timeout=idle_timeout,
            event_timeout=event_timeout,
            total_timeout=total_timeout,
            timeout=timeout,
        )
        self._api = Api(self._endpoint, client, timeouts, attempts, fast=fast)
        self._reconcile_timeout = reconcile_timeout
        self._block = AsyncExitStack()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._endpoint!r}>"

    async def __aenter__(self) -> Self:
        await self._block.enter_async_context(self._api.keep_connections())
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._block.aclose()
