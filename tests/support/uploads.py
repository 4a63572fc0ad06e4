"""Requests with a body that comes in chunks, and may stop coming, or break off."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import msgspec

from tests.support.relay_requests import Answer, scope_of

EVENT_STREAM = "text/event-stream"


class Upload(Answer):
    """A body, and the answer to it as far as it has come. After the chunks it ends, unless it `stays` or `leaves`."""

    def __init__(self, chunks: Iterable[bytes], *, stays: bool = False, leaves: bool = False) -> None:
        super().__init__()
        self.taken = 0
        """How many chunks were asked for."""
        self._chunks = iter(chunks)
        self._stays, self._leaves = stays, leaves
        self._has_ended = False

    async def receive(self) -> Any:
        await anyio.lowlevel.checkpoint()
        chunk = next(self._chunks, None)
        self.taken += 1
        if chunk is not None:
            return {"type": "http.request", "body": chunk, "more_body": True}
        if self._leaves:
            return {"type": "http.disconnect"}
        if self._stays or self._has_ended:
            await self.left.wait()
            return {"type": "http.disconnect"}
        self._has_ended = True
        return {"type": "http.request", "body": b"", "more_body": False}

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)

    @property
    def code(self) -> str:
        """What the answer says is wrong."""
        return str(self.json.get("error", {}).get("code", ""))


async def sent(application: Any, chunks: Iterable[bytes], path: str = "/ingest", **given: Any) -> Upload:
    """Send a body and return the answer."""
    upload = Upload(chunks, leaves=given.pop("leaves", False))
    named = {"method": "POST", "content_type": EVENT_STREAM, **given}
    with anyio.fail_after(100):
        await application(scope_of(path, **named), upload.receive, upload.send)
    return upload


@asynccontextmanager
async def sending(
    application: Any, chunks: Iterable[bytes], path: str = "/ingest", **given: Any
) -> AsyncIterator[Upload]:
    """Give an upload that stays open, when nothing more happens. At the end its client leaves."""
    upload = Upload(chunks, stays=True)
    named = {"method": "POST", "content_type": EVENT_STREAM, **given}
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(application, scope_of(path, **named), upload.receive, upload.send)
        await anyio.wait_all_tasks_blocked()
        yield upload
        upload.left.set()
