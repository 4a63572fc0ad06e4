"""The page for those who do not see it, and with more than it can show."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.kit_clients import FOLDER
from tests.support.page_fixtures import anyio_backend, browser, stage
from tests.support.page_stage import CHROMIUM, Stage, WrittenRun, answered, failed, function, mcp, page_of

playwright = pytest.importorskip("playwright.async_api", reason="playwright is not installed")

__all__ = ["anyio_backend", "browser", "stage"]

pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="no chromium")]

AXE = FOLDER / "node_modules" / "axe-core" / "axe.min.js"

STEPS, RUNS = 10_000, 1_000

PLAIN = """
<!doctype html>
<style>div div { height: 28px; border-bottom: 1px solid #ddd } #all { height: 700px; overflow: auto }</style>
<div id="all"></div>
<script>
  const rows = document.createDocumentFragment()
  for (let at = 0; at < COUNT; at++) {
    rows.append(Object.assign(document.createElement("div"), { textContent: `row ${at}` }))
  }
  document.getElementById("all").append(rows)
</script>
"""


async def violations(page: Any) -> list[str]:
    await page.evaluate(AXE.read_text())
    found = await page.evaluate("axe.run()")
    return [
        f"{one['id']}: {node['html']} {node['failureSummary']}" for one in found["violations"] for node in one["nodes"]
    ]


@pytest.mark.skipif(not Path(AXE).exists(), reason="needs axe-core in the folder KIT_CLIENTS")
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 360])
async def test_axe_finds_no_violation(browser: Any, stage: Stage, scheme: str, width: int):
    options = {"color_scheme": scheme, "viewport": {"width": width, "height": 800}}
    async with page_of(browser, stage, **options) as watched:
        page = watched.page
        await page.locator("#runs .empty").wait_for()
        assert await violations(page) == []
        await failed(stage)
        await answered(stage, "run_2")
        waiting = WrittenRun(stage.journal, "run_3")
        await waiting.begin()
        await waiting.calls("step_1", mcp("call_a", "find_berth"))
        await waiting.ask_approval(mcp("call_a", "find_berth"))
        for number in (1, 2, 3):
            await page.evaluate(f"location.hash = 'run=run_{number}'")
            await page.locator("#run .facts", has_text=f"run_{number}").wait_for(state="attached")
            for pane in ("runs", "run", "step"):
                await page.evaluate(f"document.body.dataset.pane = '{pane}'")
                assert await violations(page) == []
        await page.keyboard.press("?")
        assert await violations(page) == []


async def longest_task(browser: Any, page: Any, act: Any) -> float:
    """Return the milliseconds of the longest task of the page's main thread during an act."""
    await browser.start_tracing(page=page, categories=["toplevel"])
    await act(page)
    events = json.loads(await browser.stop_tracing())["traceEvents"]
    names = {(one["pid"], one["tid"]): one["args"]["name"] for one in events if one.get("name") == "thread_name"}
    tasks = [
        one["dur"] / 1000
        for one in events
        if one.get("name", "").endswith("RunTask")
        and "dur" in one
        and names.get((one["pid"], one["tid"])) == "CrRendererMain"
    ]
    return max(tasks)


async def scroll(page: Any, selector: str) -> None:
    await page.locator(selector).hover()
    for at in range(40):
        await page.mouse.wheel(0, 3_000 if at < 30 else -2_000)
        await page.evaluate("new Promise(requestAnimationFrame)")


async def crowd(stage: Stage) -> WrittenRun:
    """Write many runs, and one that has many steps."""
    for number in range(RUNS - 1):
        one = WrittenRun(stage.journal, f"run_{number}")
        await one.begin()
        await one.end()
    run = WrittenRun(stage.journal, "run_long")
    await run.begin()
    for number in range(STEPS):
        call = function(f"call_{number}", f"name_{number}", '{"place": "pier"}', "7.2 m")
        details = {"type": "tool_calls", "tool_calls": [call]}
        stamps = {"completed_at": int(time.time()), "step_details": details}
        await run.tell(run.step_event("completed", f"step_{number}", "completed", type="tool_calls", **stamps))
    return run


@pytest.mark.alone
async def test_no_task_is_twice_as_long_as_those_of_a_page_of_plain_rows(browser: Any, stage: Stage):
    run, last = await crowd(stage), STEPS

    async def plain(page: Any) -> None:
        await page.set_content(PLAIN.replace("COUNT", str(STEPS + RUNS)))
        await scroll(page, "#all")

    async def ours(page: Any) -> None:
        nonlocal last
        await page.goto(f"{stage.url}/#run=run_long")
        await page.locator("#run .row", has_text=f"name_{last - 1}").wait_for(timeout=60_000)
        await scroll(page, "#run .scroller")
        await scroll(page, "#runs .scroller")
        for _ in range(10):
            await run.calls(f"step_{last}", function(f"call_{last}", f"name_{last}"))
            await run.finish(f"step_{last}")
            last += 1
        await page.locator("#filters button").nth(4).click()

    longest: dict[str, list[float]] = {"plain": [], "ours": []}
    for _ in range(3):
        for name, act in (("plain", plain), ("ours", ours)):
            context = await browser.new_context(viewport={"width": 1280, "height": 800})
            longest[name].append(await longest_task(browser, await context.new_page(), act))
            await context.close()
    assert sorted(longest["ours"])[1] < 2 * sorted(longest["plain"])[1], longest
