"""The dashboard under real servers: uvicorn on asyncio, hypercorn on trio."""

from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import anyio
import httpx
import msgspec
import pytest

from stepstream import FrameDecoder, MemoryJournal
from stepstream.dashboard import Dashboard
from tests.dashboard.test_ingest import BODY, SHORT
from tests.relay.test_servers import hypercorn_on_trio, uvicorn_on_asyncio
from tests.support.delta_streams import run, written
from tests.support.relay_requests import asked
from tests.support.uploads import sent

HEADERS = {"content-type": "text/event-stream"}
TOKEN = "a-token-of-the-tests"


@pytest.mark.parametrize("served", [uvicorn_on_asyncio, hypercorn_on_trio])
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_run_is_sent_seen_and_listed_while_it_goes_on(served: Any, anyio_backend: str):
    seen = anyio.Event()

    async def body() -> AsyncIterator[bytes]:
        yield b"".join(SHORT[:3])
        await seen.wait()
        yield b"".join(SHORT[3:])

    async with (
        served(Dashboard(MemoryJournal(), TOKEN)) as url,
        httpx.AsyncClient(base_url=url, timeout=10) as page,
        httpx.AsyncClient(base_url=url, timeout=10, headers={"authorization": f"Bearer {TOKEN}"}) as program,
        anyio.create_task_group() as tasks,
    ):
        answers: list[httpx.Response] = []

        async def send() -> None:
            answers.append(await program.post("/ingest", content=body(), headers=HEADERS))

        refused = await page.get("/list")
        logged_in = await page.post("/login", json={"token": TOKEN})
        tasks.start_soon(send)
        with anyio.fail_after(10):
            while (await page.get("/runs/run_1")).status_code != 200:
                pass
        told = b""
        async with page.stream("GET", "/runs/run_1/events?as=view") as viewer:
            async for chunk in viewer.aiter_raw():
                told += chunk
                seen.set()
        listed = (await page.get("/list")).json()
    assert (refused.status_code, logged_in.status_code) == (401, 204)
    assert answers[0].json()["position"] == 6
    assert [frame.event for frame in FrameDecoder().feed(told)][-1] == "done"
    assert [(one["id"], one["status"], one["text"]) for one in listed] == [("run_1", "completed", "Fog")]


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_refusal_reaches_a_client_that_goes_on_sending(anyio_backend: str):
    """As uvicorn has it: hypercorn closes a connection whose body was not read."""

    async def body() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b"x" * 2**16

    async with (
        uvicorn_on_asyncio(Dashboard(MemoryJournal())) as url,
        httpx.AsyncClient(base_url=url, timeout=10) as client,
    ):
        answer = await client.post("/ingest", content=body(), headers={"content-type": "text/plain"})
        again = await client.post("/ingest", content=BODY, headers=HEADERS)
    assert (answer.status_code, again.status_code) == (415, 200)


@pytest.mark.parametrize(
    "run_id",
    [
        "<script>alert(1)</script>",
        '"><img src=x onerror=alert(1)>',
        "javascript:alert(1)",
        "../../etc/passwd",
        "a/b?c#d",
        "%2e%2e%2f",
        "run 1\n\r\t",
        "__proto__",
        "\u202egnp.exe",
        "\U0001f9ed",
    ],
)
async def test_run_of_an_odd_id_is_found_under_it(run_id: str):
    dashboard = Dashboard(MemoryJournal())
    answer = await sent(dashboard, [written("thread.run.completed", run("completed", run_id))])
    place = f"/runs/{quote(run_id, safe='')}"
    one, view = await asked(dashboard, place), await asked(dashboard, f"{place}/events?as=view")
    listed = await asked(dashboard, "/list")
    assert answer.json["run_ids"] == [run_id]
    assert (one.status, msgspec.json.decode(one.body)["run"]["id"]) == (200, run_id)
    assert view.events == ["stepstream.view", "done"]
    assert [each["id"] for each in msgspec.json.decode(listed.body)] == [run_id]
    assert listed.headers["content-type"] == "application/json"
