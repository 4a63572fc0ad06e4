"""Sending one request, over whatever client: what is promised of requests, and the client alone does not keep.

* Query, user and fragment of the URL stay out of logs (`url_redaction`).
* An authorization that was given stays: a client would replace it by the user in the URL, or by an `auth` of its own.
* It is known whether a proxy was asked, which clients do not say: where one cannot be reached, its name has to be told.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from stepstream.sources.url_redaction import unlogged

T = TypeVar("T")


class RequestSender:
    """Sends a request with a client of httpx or httpx2."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._host = ""
        self.proxy = ""
        """Host and port of the proxy that was asked, as far as the client says; empty where there is none."""

    @asynccontextmanager
    async def stream(
        self, method: str, url: str, *, headers: Mapping[str, str], follow_redirects: bool, **options: Any
    ) -> AsyncIterator[Any]:
        """Send the request and give the response to it, as the client's own `stream` does."""
        request = self._client.build_request(method, url, headers=headers, **options)
        self._host = request.url.raw_host.decode("ascii")
        request.url = unlogged(request.url)
        request.extensions["trace"] = self._note
        is_authorized = any(name.lower() == "authorization" for name in headers)
        own: dict[str, Any] = {"auth": _unchanged} if is_authorized else {}
        response = await self._client.send(request, stream=True, follow_redirects=follow_redirects, **own)
        request.url = request.url.copy_with(userinfo=b"", query=None, fragment=None)
        try:
            yield response
        finally:
            await response.aclose()

    async def _note(self, event: str, about: Mapping[str, Any]) -> None:
        """Note to whom a connection is made: httpcore calls this at each of its steps."""
        if event.endswith("connect_tcp.started"):
            host = about["host"]
            self.proxy = "" if host == self._host else f"{host}:{about['port']}"


def _unchanged(request: T) -> T:
    return request
