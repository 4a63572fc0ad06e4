"""Requests whose URL is told to nobody: httpx logs each one, with its query and password, once the answer begins."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

_SENT: Final = "send_request_headers.started"
"""What httpcore reports when it has its own copy of the URL."""


class Discreet:
    """A client of httpx or httpx2 whose `stream` forgets query, user and fragment of a URL as soon as they are used.

    On another transport than httpcore's, which reports nothing, a request is made as usual.
    """

    def __init__(self, client: Any) -> None:
        self._client = client

    @asynccontextmanager
    async def stream(self, method: str, url: str, *, follow_redirects: bool, **options: Any) -> AsyncIterator[Any]:
        """Send a request and give the response to it, as the client's own `stream` does."""

        async def forget(event: str, _: object) -> None:
            if event.endswith(_SENT):
                request.url = request.url.copy_with(userinfo=b"", query=None, fragment=None)

        request = self._client.build_request(method, url, extensions={"trace": forget}, **options)
        response = await self._client.send(request, stream=True, follow_redirects=follow_redirects)
        try:
            yield response
        finally:
            await response.aclose()
