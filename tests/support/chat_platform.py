"""A chat platform on a real socket that notes what it was asked, and limits rates."""

import json
import time
from collections.abc import Mapping
from typing import Any, NamedTuple


class Seen(NamedTuple):
    """One request: when it came, where to, what it said and how it was answered."""

    at: float
    method: str
    channel: str
    text: str
    status: int


class Chat:
    """An ASGI application. `refused` says which request of each channel, from 1, is told to come back in a second."""

    def __init__(self, *, refused: int | None = None) -> None:
        self._refused = refused
        self.seen: list[Seen] = []

    async def __call__(self, scope: Mapping[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await answer_lifespan(receive, send)
            return
        at, body, more = time.monotonic(), b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        _, _, channel, *_ = scope["path"].split("/")
        status = 429 if len(self.of(channel)) + 1 == self._refused else 200
        self.seen.append(Seen(at, scope["method"], channel, json.loads(body)["text"], status))
        headers = [(b"retry-after", b"1")] if status == 429 else []
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    def of(self, channel: str) -> list[Seen]:
        """Return the requests for one channel, in order."""
        return [one for one in self.seen if one.channel == channel]

    def shown(self, channel: str) -> list[str]:
        """Return the texts that the channel took, in order."""
        return [one.text for one in self.of(channel) if one.status == 200]


async def answer_lifespan(receive: Any, send: Any) -> None:
    for answer in ("startup", "shutdown"):
        await receive()
        await send({"type": f"lifespan.{answer}.complete"})
