"""The page and the rest of the application: files, paths, mounts, health."""

import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from stepstream import MemoryJournal
from stepstream.dashboard import Dashboard
from stepstream.journal.run_info import RunInfo
from tests.dashboard.test_ingest import SHORT
from tests.support.places import ROOT
from tests.support.relay_requests import asked, watching
from tests.support.uploads import sending, sent

PAGE = ROOT / "src" / "stepstream" / "dashboard" / "page"
FILES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
}


@pytest.mark.parametrize("path", FILES)
async def test_file_of_the_page_is_sent_and_not_sent_again(path: str):
    name, content_type = FILES[path]
    dashboard = Dashboard(MemoryJournal())
    answer = await asked(dashboard, path)
    assert (answer.status, answer.body) == (200, (PAGE / name).read_bytes())
    assert (answer.headers["content-type"], answer.headers["cache-control"]) == (content_type, "no-cache")
    again = await asked(dashboard, path, if_none_match=answer.headers["etag"])
    other = await asked(dashboard, path, if_none_match='"other"')
    head = await asked(dashboard, path, method="HEAD")
    assert (again.status, again.body, other.status) == (304, b"", 200)
    assert (head.status, head.body, head.headers["content-length"]) == (200, b"", str(len(answer.body)))


def test_page_has_no_script_or_style_in_line():
    text = (PAGE / "index.html").read_text(encoding="utf-8")
    assert re.findall(r"<script(?![^>]* src=)|<style|\sstyle=|\son\w+=|javascript:", text) == []


@pytest.mark.parametrize("root", ["", "/deep/dashboard"])
async def test_dashboard_may_be_mounted(root: str):
    journal = MemoryJournal()
    dashboard = Dashboard(journal)
    mounted: Any = Starlette(routes=[Mount(root, app=dashboard)]) if root else dashboard
    answers = {
        path: await asked(mounted, f"{root}{path}")
        for path in ("/", "/page.js", "/list", "/runs/", "/runs/run_1", "/healthz")
    }
    ingested = await sent(mounted, SHORT, f"{root}/ingest")
    run = await asked(mounted, f"{root}/runs/run_1")
    view = await asked(mounted, f"{root}/runs/run_1/events?as=view")
    assert {path: one.status for path, one in answers.items()} == {
        "/": 200,
        "/page.js": 200,
        "/list": 200,
        "/runs/": 200,
        "/runs/run_1": 404,
        "/healthz": 200,
    }
    assert (ingested.status, msgspec.json.decode(run.body)["run"]["status"]) == (200, "completed")
    assert view.events == ["stepstream.view", "done"]


async def test_mount_without_its_slash_leads_to_the_page():
    scope_path: list[str] = []

    async def mounted(scope: Any, receive: Any, send: Any) -> None:
        scope_path.append(scope["path"])
        await Dashboard(MemoryJournal())({**scope, "root_path": "/dash"}, receive, send)

    answer = await asked(mounted, "/dash")
    assert (answer.status, answer.headers["location"]) == (307, "/dash/")
    assert (await asked(mounted, "/dash/")).status == 200


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [
        ("/nowhere", "GET", 404),
        ("/page.js/x", "GET", 404),
        ("/../pyproject.toml", "GET", 404),
        ("/page/index.html", "GET", 404),
        ("/%2e%2e/page.js", "GET", 404),
        ("/list", "POST", 405),
        ("/", "POST", 405),
        ("/login", "GET", 405),
        ("/healthz", "DELETE", 405),
        ("/runs/run_1", "POST", 405),
        ("/runs/run_1", "GET", 404),
    ],
)
async def test_other_paths_and_methods_are_refused(path: str, method: str, status: int):
    answer = await asked(Dashboard(MemoryJournal()), path, method=method)
    assert answer.status == status


async def test_websocket_is_closed():
    told: list[Any] = []

    async def send(message: Any) -> None:
        told.append(message)

    await Dashboard(MemoryJournal())({"type": "websocket"}, send, send)
    assert told == [{"type": "websocket.close", "code": 1003}]


async def test_health_counts_what_there_is():
    dashboard = Dashboard(MemoryJournal())
    async with (
        sending(dashboard, SHORT[:3]),
        watching(dashboard, "/runs/run_1/events"),
        watching(dashboard, "/list", accept="text/event-stream"),
    ):
        answer = await asked(dashboard, "/healthz")
    assert answer.status == 200
    assert msgspec.json.decode(answer.body) == {"status": "ok", "runs": 1, "viewers": 2, "ingests": 1}


class LostJournal(MemoryJournal):
    """A journal that does not answer any more."""

    async def runs(self, run_id: str | None = None) -> Any:
        await anyio.sleep_forever()
        yield RunInfo


async def test_health_is_bad_where_the_journal_does_not_answer(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("stepstream.dashboard.application.HEALTH_LIMIT", 0.01)
    answer = await asked(Dashboard(LostJournal()), "/healthz")
    assert (answer.status, msgspec.json.decode(answer.body)["status"]) == (503, "journal unreachable")


async def test_drain_ends_every_stream():
    journal = MemoryJournal()
    dashboard = Dashboard(journal)
    with anyio.fail_after(10):
        async with (
            sending(dashboard, SHORT[:3]),
            watching(dashboard, "/runs/run_1/events") as run,
            watching(dashboard, "/list", accept="text/event-stream") as listed,
        ):
            await dashboard.drain(0)
            while not (run.is_whole and listed.is_whole):
                await anyio.lowlevel.checkpoint()
            health = await asked(dashboard, "/healthz")
    assert run.events[-1] == "stepstream.interrupted"
    assert (health.status, msgspec.json.decode(health.body)["status"]) == (503, "draining")


async def test_viewer_of_the_list_who_finds_no_room_is_asked_to_come_back():
    dashboard = Dashboard(MemoryJournal(), random=lambda: 0.5)
    await dashboard.drain(0)
    answer = await asked(dashboard, "/list", accept="text/event-stream")
    assert (answer.status, answer.body, answer.is_whole) == (200, b"retry: 7500\n\n", True)


@pytest.mark.slow
def test_wheel_has_the_page(tmp_path: Path):
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "-q", "-w", str(tmp_path), str(ROOT)]
    subprocess.run(command, check=True, timeout=300)
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {f"stepstream/dashboard/page/{name}" for name, _ in FILES.values()} <= names
    assert "stepstream/dashboard/README.md" in names
