"""The relay under real servers, and what its README shows."""

import os
import re
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.from_thread
import httpx
import msgspec
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from stepstream import FrameDecoder, MemoryJournal, Relay
from stepstream.asgi.server import serve_locally
from stepstream.relay.frames import Frames
from stepstream.simulator import app as simulator_app
from stepstream.simulator import serve
from stepstream.wire.sse import Frame
from tests.support.places import ROOT
from tests.support.published_runs import PublishedRun, events_of
from tests.support.relay_clients import EventsClient

TEXT = (ROOT / "src" / "stepstream" / "relay" / "README.md").read_text(encoding="utf-8")
(EXAMPLE,) = re.findall(r"^```python\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


def parsed(body: bytes) -> list[Frame]:
    return FrameDecoder().feed(body)


class Published:
    """A relay whose run goes on by one event with each request to `/next`, in the loop of the server."""

    def __init__(self) -> None:
        self.journal = MemoryJournal()
        self.run = PublishedRun(self.journal, *events_of("sums"))
        self.mounted = Starlette(routes=[Mount("/deep/runs", app=Relay(self.journal))])

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope.get("path") == "/next":
            await self.run.append(1)
            await send({"type": "http.response.start", "status": 204, "headers": []})
            await send({"type": "http.response.body", "body": b""})
        else:
            await self.mounted(scope, receive, send)


@asynccontextmanager
async def hypercorn_on_trio(application: Any) -> AsyncIterator[str]:
    """Serve by hypercorn on trio, in a thread."""
    config_module = pytest.importorskip("hypercorn.config")
    serving = pytest.importorskip("hypercorn.trio")
    config = config_module.Config()
    config.bind, config.accesslog, config.errorlog = ["127.0.0.1:0"], None, None
    bound: list[str] = []
    ready, stop = threading.Event(), threading.Event()

    async def run() -> None:
        async with anyio.create_task_group() as tasks:

            async def served(*, task_status: Any) -> None:
                await serving.serve(application, config, shutdown_trigger=stopped, task_status=task_status)

            bound.extend(await tasks.start(served))
            ready.set()

    async def stopped() -> None:
        while not stop.is_set():  # noqa: ASYNC110 - set in another thread
            await anyio.sleep(0.01)

    thread = threading.Thread(target=anyio.run, args=(run,), kwargs={"backend": "trio"}, daemon=True)
    thread.start()
    try:
        assert await anyio.to_thread.run_sync(ready.wait, 10)
        yield bound[0]
    finally:
        stop.set()
        await anyio.to_thread.run_sync(thread.join, 10)


@asynccontextmanager
async def uvicorn_on_asyncio(application: Any) -> AsyncIterator[str]:
    async with serve_locally(application, port=0, name="relay") as url:
        yield url


@pytest.mark.parametrize("served", [uvicorn_on_asyncio, hypercorn_on_trio])
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_run_is_watched_cut_and_resumed_under_a_real_server(served: Any, anyio_backend: str):
    published = Published()
    await published.run.append(3)
    client = EventsClient()
    async with served(published) as url, httpx.AsyncClient(base_url=url, timeout=10) as http:
        path = "/deep/runs/run_sums/events"
        while not client.is_done:
            client.connect()
            headers = {"last-event-id": client.last_event_id} if client.last_event_id else {}
            async with http.stream("GET", path, headers=headers) as response:
                assert response.headers["content-type"] == "text/event-stream"
                async for chunk in response.aiter_raw():
                    client.feed(chunk)
                    if not published.run.is_whole:
                        await http.get("/next")
                    if client.position % 4 == 3 and client.last_event_id != headers.get("last-event-id"):
                        break
        again = await http.get(path, headers={"last-event-id": client.last_event_id})
        state = msgspec.json.decode((await http.get("/deep/runs/run_sums")).content)
        listed = await http.get("/deep/runs/")
    assert again.status_code == 204
    assert (client.joined, client.position, client.gaps) == (3, 17, [])
    assert client.positions == list(range(3, 18))
    assert state["run"]["status"] == "completed"
    assert [run["id"] for run in listed.json()] == ["run_sums"]


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_readme_asks_and_watches(anyio_backend: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    assert len([line for line in EXAMPLE.splitlines() if line]) <= 20
    names: dict[str, Any] = {}
    async with serve(simulator_app(scenario="message", pace="fast")) as simulator:
        monkeypatch.setitem(os.environ, "STEPSTREAM_URL", simulator)
        exec(compile(EXAMPLE, "README.md", "exec"), names)
        async with uvicorn_on_asyncio(names["app"]) as url, httpx.AsyncClient(base_url=url, timeout=10) as http:
            asked = await http.post("/ask", params={"question": "When does the ferry leave?"})
            [run_id] = [run["id"] for run in (await http.get("/runs/")).json()]
            watched = await http.get(f"/runs/{run_id}/events?as=changes")
            stopped = await http.post(f"/runs/{run_id}/stop")
    assert stopped.status_code == 204
    first, *rest, done = parsed(asked.content)
    assert msgspec.json.decode(first.data)["run"]["id"] == run_id
    assert done.event == "done"
    assert b'"completed"' in [first, *rest][-1].data  # the run may have ended before it is watched
    assert [frame.event for frame in parsed(watched.content)] == ["stepstream.state", "done"]
    assert issubclass(type(names["relay"].frames(run_id)), Frames)
