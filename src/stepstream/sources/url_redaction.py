"""URLs without their secrets: in texts of ours, and in the log of httpx.

httpx logs each request with its whole URL, query and user included, when the response begins; a signature or a key in
the query would stand in every log. The query cannot be left out of the request, but httpx reads the URL for that log
after it was sent: httpcore gets a copy of the URL first, and reports to the `trace` extension when it begins to write
it. `UrlRedactingClient` takes the secrets out of the request at that moment.

    build_request(url?sig=x) ─ httpcore copies url?sig=x ─ trace: request.url = url ─ bytes of url?sig=x ─ log: url

What would break it: a transport that reads `request.url` again after it reported, or does not report at all. Over the
latter a request is made as usual, and logged as usual.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final
from urllib.parse import urlsplit

_SENDING: Final = "send_request_headers.started"
"""The event that httpcore reports, after the name of its HTTP version, when it has its own copy of the URL."""


def redact_url(url: str) -> str:
    """Return `url` without its query, fragment and user: the part that exceptions and logs may show."""
    try:
        parts = urlsplit(url)
    except ValueError:  # it is no URL: what may be shown is what stands where its host and path would
        return url.partition("?")[0].rpartition("@")[2]
    # A URL without a host is valid where the client has a base URL.
    origin = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}" if parts.netloc else ""
    return f"{origin}{parts.path}"


class UrlRedactingClient:
    """Wraps a client of httpx or httpx2: its `stream` removes query, user and fragment of the URL once it is sent."""

    def __init__(self, client: Any) -> None:
        self._client = client

    @asynccontextmanager
    async def stream(self, method: str, url: str, *, follow_redirects: bool, **options: Any) -> AsyncIterator[Any]:
        """Send a request and give the response to it, as the client's own `stream` does."""

        async def redact(event: str, _: object) -> None:
            if event.endswith(_SENDING):
                request.url = request.url.copy_with(userinfo=b"", query=None, fragment=None)

        request = self._client.build_request(method, url, extensions={"trace": redact}, **options)
        response = await self._client.send(request, stream=True, follow_redirects=follow_redirects)
        try:
            yield response
        finally:
            await response.aclose()
