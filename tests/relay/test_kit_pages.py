"""Pages of the kits over HTTP: `useChat`'s own Chat, `HttpAgent`, and a FastAPI application."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from anyio.from_thread import start_blocking_portal

from tests.support import kit_server
from tests.support.json_values import JSON
from tests.support.kit_clients import FOLDER, needs_node

pytestmark = [pytest.mark.slow, needs_node]

SUPPORT = Path(kit_server.__file__).parent


CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
needs_browser = pytest.mark.skipif(
    CHROMIUM is None or not all((FOLDER / "node_modules" / name).is_dir() for name in ("puppeteer-core", "esbuild")),
    reason="needs chromium, and puppeteer-core and esbuild in the folder KIT_CLIENTS",
)


def said_by(program: str, scenario: str, pace: float | str, *arguments: str, page: str = "") -> Any:
    """Return what a program for Node writes that is given the address of a server, and more."""
    script = FOLDER / program
    shutil.copy(SUPPORT / program, script)
    serving = kit_server.kit_server(scenario, pace, page)
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(serving) as address:
        command = ["node", str(script), address, *arguments]
        done = subprocess.run(command, capture_output=True, timeout=100, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def acted(act: str, scenario: str, pace: float | str = "fast") -> Any:
    """Return what the pages of an act hold in the end."""
    return said_by("kit_pages.mjs", scenario, pace, act)


def parts(page: JSON, kind: str) -> list[JSON]:
    return [one for message in page["messages"] for one in message["parts"] if one["type"] == kind]


@pytest.mark.parametrize(("scenario", "rounds"), [("function", 1), ("parallel-functions", 1), ("tool-rounds", 3)])
def test_tools_of_the_page_are_answered_once_and_the_message_goes_on(scenario: str, rounds: int):
    page = acted("tools", scenario)
    assert page["posts"] == ["POST /api/chat"] * (rounds + 1)
    assert [one["role"] for one in page["messages"]] == ["user", "assistant"]
    calls = [one for one in page["messages"][1]["parts"] if one["type"].startswith("tool-")]
    assert {one["output"] for one in calls} == {"7 m"}
    assert len(parts(page, "text")) == 2  # the user's, and one answer
    assert page["error"] is None


def test_approval_of_the_page_goes_back():
    page = acted("approval", "mcp")
    assert page["posts"] == ["POST /api/chat"] * 2
    [call] = parts(page, "dynamic-tool")
    assert call["output"] == '{"berth": "N4", "free_until": "Sunday"}'


def test_page_that_comes_back_has_the_message_once():
    first, again, fresh, late = acted("resume", "message", 40)["pages"]
    assert again == fresh == late == first
    assert [one["role"] for one in first["messages"]] == ["user", "assistant"]
    assert parts(first, "text")[-1]["state"] == "done"


def test_stop_ends_the_run_for_the_page_that_came_back_too():
    got = acted("stop", "message", 40)
    assert got["stopped"] == 204
    for page in got["pages"]:
        assert page["status"] == "ready"
        assert parts(page, "text")[-1]["state"] == "done"
        assert len(parts(page, "text")[-1]["text"]) < 90


def test_agents_answer_interrupts_and_go_on():
    held = acted("agents", "parallel-functions")
    for one in held.values():
        assert one["ends"] == ["interrupt", "success"]
        roles = [message["role"] for message in one["messages"]]
        assert roles == ["user", "assistant", *["tool"] * 5, "assistant"]
        assert {message["content"] for message in one["messages"] if message["role"] == "tool"} == {"7 m"}
        assert one["state"]["run"]["status"] == "completed"


@needs_browser
def test_browser_that_reloads_its_page_has_the_message_again_once():
    shutil.copy(SUPPORT / "kit_page.jsx", FOLDER)
    bundle = FOLDER / "kit_page.js"
    esbuild = [str(FOLDER / "node_modules" / ".bin" / "esbuild"), "kit_page.jsx", "--bundle", f"--outfile={bundle}"]
    options = ["--jsx=automatic", "--log-level=error", '--define:process.env.NODE_ENV="production"']
    subprocess.run([*esbuild, *options], cwd=FOLDER, check=True, timeout=60)
    held = said_by("kit_browser.mjs", "message", 3, str(CHROMIUM), page=str(bundle))
    [message] = held["after"]["messages"]  # the page keeps none of its own
    [text] = parts(held["after"], "text")
    assert (message["role"], text["state"]) == ("assistant", "done")
    assert text["text"].endswith("At low tide, keep to the buoys.")
    assert held["late"] == {"messages": [], "status": "ready", "error": None}
    assert held["after"]["error"] is None
    assert held["failures"] == []
