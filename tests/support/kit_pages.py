"""Pages of user interface kits, as requests: what they post, and what they hold of the answers."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import httpx

from stepstream import Event, FrameDecoder, Processor
from stepstream.relay.chats import Chats
from stepstream.relay.posted import Posted
from stepstream.wire.events import decode_event
from tests.support.json_values import JSON
from tests.support.kit_readers import AgUiReader, AiSdkReader
from tests.support.places import ROOT

DONE = b"[DONE]"


def events_of(stream: str) -> list[Event]:
    return [
        decode_event(one) for one in FrameDecoder().feed((ROOT / "tests" / "streams" / f"{stream}.sse").read_bytes())
    ]


class Script:
    """An `answer` whose run comes when it is let go: up to an event, then to the end."""

    def __init__(self, *streams: str) -> None:
        self.streams = [events_of(one) for one in streams]
        self.posted: list[Posted] = []
        self.go_on = anyio.Event()
        self.pause_at = 10**6

    async def __call__(self, processor: Processor, posted: Posted) -> None:
        self.posted.append(posted)
        await processor.run(self._source(self.streams.pop(0)))

    async def _source(self, events: list[Event]) -> AsyncIterator[Event]:
        for place, event in enumerate(events):
            if place == self.pause_at:
                await self.go_on.wait()
            yield event


def user_says(text: str) -> JSON:
    return {"id": "u1", "role": "user", "content": text, "parts": [{"type": "text", "text": text}]}


def chat_body(*messages: JSON, chat: str = "c1") -> JSON:
    return {"id": chat, "messages": list(messages), "trigger": "submit-message"}


def agent_body(*messages: JSON, run: str = "r1", chat: str = "c1", **more: Any) -> JSON:
    return {"threadId": chat, "runId": run, "messages": list(messages), "tools": [], "context": [], **more}


@asynccontextmanager
async def served(chats: Chats) -> AsyncIterator[httpx.AsyncClient]:
    """Give a client on this machine of an application that is open. It has an answer when that is whole."""
    transport = httpx.ASGITransport(chats, client=("127.0.0.1", 1))
    async with chats, httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        yield client


Reader = AgUiReader | AiSdkReader


def read_on(reader: Reader, answer: httpx.Response) -> Reader:
    """Have a reader read an answer."""
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/event-stream"), answer.text
    for frame in FrameDecoder().feed(answer.content):
        if frame.data != DONE:
            reader.read(frame)
    return reader


def results(reader: Reader) -> dict[str, Any]:
    return {name: call.result for name, call in reader.held.calls.items()}
