"""A request to a relay, read, and the answers that are no streams."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import quote, unquote

import msgspec

from stepstream.asgi.http import Scope, Send, headers_of, query_of, send_body

MAX_PARAMETERS: Final = 20

EVENT_STREAM: Final = "text/event-stream"

_TEXT: Final = "text/plain; charset=utf-8"
_ALWAYS: Final = {"cache-control": "no-store", "x-content-type-options": "nosniff"}


class Request(NamedTuple):
    """What was asked for."""

    scope: Scope
    segments: list[str]
    """The path below that of the relay, in its parts, decoded each."""
    headers: Mapping[str, str]
    query: Mapping[str, str]

    @property
    def last_event_id(self) -> str:
        """The id of the last event that the client has had."""
        return self.headers.get("last-event-id") or self.query.get("last_event_id", "")

    @property
    def wants_stream(self) -> bool:
        """Whether an event stream is asked for, by content type."""
        return EVENT_STREAM in self.headers.get("accept", "")


class Refused(Exception):
    """A request is answered with an error. The text says why, and is sent."""

    def __init__(self, status: int, text: str, **headers: str) -> None:
        super().__init__(text)
        self.status = status
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


NOT_FOUND: Final = "There is no such run, or you may not see it."
NO_STEP: Final = "The run has no such step or message."


def read_request(scope: Scope) -> Request:
    """Return the request of a scope.

    Raises:
        Refused: it is too long.
    """
    try:
        query = query_of(scope, MAX_PARAMETERS)
    except ValueError:
        raise Refused(400, f"Expected at most {MAX_PARAMETERS} query parameters.") from None
    return Request(scope, _segments(scope), headers_of(scope), query)


def _segments(scope: Scope) -> list[str]:
    """Return the path below that of the application. It is cut before it is decoded: ids may have slashes in them."""
    raw = scope.get("raw_path")
    path = raw.decode("latin-1").partition("?")[0] if raw else quote(scope["path"])
    segments = [unquote(part) for part in path.split("/")[1:]]
    root = [part for part in scope.get("root_path", "").split("/") if part]
    below = segments[len(root) :] if segments[: len(root)] == root else segments
    return below[:-1] if below and not below[-1] else below


async def send_json(send: Send, value: Any, headers: Mapping[str, str]) -> None:
    """Answer with a value as JSON; with bytes, as they are."""
    body = value if isinstance(value, bytes) else msgspec.json.encode(value)
    await send_body(send, 200, body, "application/json", {**_ALWAYS, **headers})


async def send_refusal(send: Send, refused: Refused, headers: Mapping[str, str]) -> None:
    """Answer with an error."""
    await send_body(send, refused.status, str(refused).encode(), _TEXT, {**_ALWAYS, **headers, **refused.headers})


async def send_nothing(send: Send, headers: Mapping[str, str]) -> None:
    """Answer that there is nothing to come: an `EventSource` gives up then."""
    names = {**_ALWAYS, **headers}
    start = [(name.encode(), value.encode()) for name, value in names.items()]
    await send({"type": "http.response.start", "status": 204, "headers": start})
    await send({"type": "http.response.body", "body": b""})
