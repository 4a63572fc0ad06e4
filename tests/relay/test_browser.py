"""A browser of its own watches a run, by the page that the README shows."""

import re
import shutil
import subprocess
from typing import Any

import anyio.to_thread
import pytest
from starlette.applications import Starlette
from starlette.responses import HTMLResponse
from starlette.routing import Mount, Route

from stepstream import MemoryJournal, Relay
from stepstream.asgi.server import serve_locally
from tests.support.places import ROOT
from tests.support.published_runs import PublishedRun, events_of

TEXT = (ROOT / "src" / "stepstream" / "relay" / "README.md").read_text(encoding="utf-8")
(PAGE,) = re.findall(r"^```html\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


class Cutting:
    """Breaks the first stream off, and goes on with the run whenever a stream is asked for."""

    def __init__(self) -> None:
        self.journal = MemoryJournal()
        self.run = PublishedRun(self.journal, *events_of("sums"))
        self.relay = Relay(self.journal, random=lambda: 0)
        self.ids: list[bytes] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        sent = dict(scope["headers"])
        self.ids.append(sent.get(b"last-event-id", b""))
        count = 0

        async def counted(message: Any) -> None:
            nonlocal count
            count += 1
            if len(self.ids) == 1 and count == 5:
                raise OSError("broken off")
            await send(message)
            await self.run.append(1)

        await self.relay(scope, receive, counted)


async def seen_at(url: str, profile: Any) -> list[str]:
    """Return the lines that a browser shows of a run, once nothing more comes."""
    command = [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}"]
    command += ["--virtual-time-budget=20000", "--timeout=20000", "--dump-dom", url]
    done = await anyio.to_thread.run_sync(lambda: subprocess.run(command, capture_output=True, timeout=60))
    (log,) = re.findall(r'<pre id="log">(.*?)</pre>', done.stdout.decode(), re.DOTALL)
    return log.splitlines()


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no browser")
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_browser_watches_a_run_and_comes_back_where_it_was_cut(anyio_backend: str, tmp_path: Any):
    cutting = Cutting()
    await cutting.run.append(3)

    async def page(request: Any) -> HTMLResponse:
        return HTMLResponse(PAGE)

    app = Starlette(routes=[Route("/", page), Mount("/runs", cutting)])
    async with serve_locally(app, port=0, name="relay") as url:
        lines = await seen_at(f"{url}/?run=run_sums", tmp_path)
    assert lines[0] == "in_progress"
    assert "tool_call_started" in lines
    assert lines[-1] == "completed"
    assert cutting.ids[0] == b""
    assert len(cutting.ids) == 2
    assert cutting.ids[1].partition(b".")[2].isdigit()


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no browser")
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_browser_stops_a_run(anyio_backend: str, tmp_path: Any):
    run, asked = PublishedRun(MemoryJournal(), *events_of("sums")), list[Any]()
    await run.append(3)

    async def stop(scope: Any, run_id: str) -> None:
        asked.append((run_id, dict(scope["headers"])[b"sec-fetch-site"]))
        await run.append(1_000)

    async def page(request: Any) -> HTMLResponse:
        return HTMLResponse(PAGE.replace("</script>", 'document.getElementById("stop").click()</script>'))

    app = Starlette(routes=[Route("/", page), Mount("/runs", Relay(run.journal, stop=stop))])
    async with serve_locally(app, port=0, name="relay") as url:
        lines = await seen_at(f"{url}/?run=run_sums", tmp_path)
    assert lines[-1] == "completed"
    assert asked == [("run_sums", b"same-origin")]
