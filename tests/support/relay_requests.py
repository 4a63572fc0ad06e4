"""Requests to a relay without a server: what is sent is collected, and the client may stop reading, or leave."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

import anyio

from stepstream import FrameDecoder
from stepstream.wire.sse import Frame

LOCAL = {"host": "localhost:8000"}


class Answer:
    """An answer, as far as it has come."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = b""
        self.is_whole = False
        self.reads = anyio.Event()
        """Without it, nothing more is taken."""
        self.reads.set()
        self.left = anyio.Event()

    @property
    def frames(self) -> list[Frame]:
        return FrameDecoder().feed(self.body)

    @property
    def events(self) -> list[str]:
        return [frame.event for frame in self.frames]

    async def send(self, message: Any) -> None:
        await self.reads.wait()
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode(): value.decode() for name, value in message["headers"]}
            assert len(self.headers) == len(message["headers"])
        else:
            self.body += message["body"]
            self.is_whole = not message.get("more_body", False)

    async def receive(self) -> Any:
        await self.left.wait()
        return {"type": "http.disconnect"}


def scope_of(path: str, *, method: str = "GET", client: Any = ("127.0.0.1", 5000), **headers: str) -> Any:
    path, _, query = path.partition("?")
    named = {**LOCAL, **{name.replace("_", "-"): value for name, value in headers.items()}}
    return {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode() if "%" in path else quote(path).encode(),
        "root_path": "",
        "query_string": query.encode(),
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in named.items()],
        "client": client,
    }


async def asked(application: Any, path: str, **given: Any) -> Answer:
    """Return the whole answer."""
    answer = Answer()
    with anyio.fail_after(100):
        await application(scope_of(path, **given), answer.receive, answer.send)
    return answer


@asynccontextmanager
async def watching(application: Any, path: str, **given: Any) -> AsyncIterator[Answer]:
    """Give an answer that comes, as far as it has come when nothing more happens. At the end the client leaves."""
    answer = Answer()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(application, scope_of(path, **given), answer.receive, answer.send)
        await anyio.wait_all_tasks_blocked()
        yield answer
        answer.left.set()
        answer.reads.set()
