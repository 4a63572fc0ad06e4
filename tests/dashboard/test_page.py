"""The page of the dashboard in a real browser."""

import re
from contextlib import AsyncExitStack
from typing import Any

import anyio
import msgspec
import pytest

from stepstream import MemoryJournal
from tests.support.page_fixtures import anyio_backend, browser, stage
from tests.support.page_stage import (
    CHROMIUM,
    ERROR,
    Stage,
    WrittenRun,
    answered,
    began,
    failed,
    function,
    mcp,
    page_of,
    staged,
)

playwright = pytest.importorskip("playwright.async_api", reason="playwright is not installed")

__all__ = ["anyio_backend", "browser", "stage"]

pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="no chromium")]

WIDTHS = """
async () => {
  const widths = []
  for (let at = 0; at < 60; at++) {
    widths.push(document.querySelectorAll("#run .row:not([hidden]) .bar")[1].getBoundingClientRect().width)
    await new Promise(requestAnimationFrame)
  }
  return widths
}
"""


def expect(page: Any, selector: str, **options: Any) -> Any:
    return playwright.expect(page.locator(selector, **options))


async def rows(page: Any) -> list[str]:
    found = await page.locator("#run .row:visible").all_inner_texts()
    return [re.sub(r"\s+", " ", re.sub(r"(< )?[\d.]+ m?s", "", text)).strip() for text in found]


async def test_live_run_is_seen_as_it_happens(browser: Any, stage: Stage):
    async with page_of(browser, stage) as watched:
        page = watched.page
        await expect(page, "#runs .empty").to_have_text("No runs yet.")
        run = await began(stage)
        await expect(page, "#runs .row .name").to_have_text("sim-large")
        await expect(page, "#banner").to_have_text("Live")
        await run.calls("step_1", function("call_a", "get_depth", ""))
        await expect(page, "#run .of-step .name", has_text="get_depth").to_be_visible()
        await run.grow("step_1", type="function", function={"arguments": '{"place": '})
        await expect(page, "#step pre").to_have_text('{"place": ')
        await run.grow("step_1", type="function", function={"arguments": '"pier"}'})
        await expect(page, "#step pre").to_have_text('{"place": "pier"}')
        await run.finish("step_1")
        await run.write("step_2")
        for word in ("The ", "harbour ", "is deep."):
            await run.say("step_2", word)
        await expect(page, "#step pre").to_have_text("The harbour is deep.")
        await expect(page, "#now li", has_text="Writing").to_contain_text("The harbour is deep.")
        await run.said("step_2", "The harbour is deep.")
        await run.end()
        await expect(page, "#banner").to_have_text("Ended")
        await expect(page, "#runs .time").to_contain_text("completed")
        await expect(page, "#run .facts").to_contain_text("1,200 tokens")


async def test_bar_of_a_step_that_runs_ticks_by_itself(browser: Any, stage: Stage):
    run = await began(stage)
    async with page_of(browser, stage) as watched:
        await run.calls("step_1", function("call_a", "get_depth"))
        took = watched.page.locator("#run .row", has_text="get_depth").locator(".took")
        await playwright.expect(took).to_have_text(re.compile(r"[1-9]\d\d ms|\d\.\d\d s"))
        widths = await watched.page.evaluate(WIDTHS)
        assert len(set(widths)) > 5, widths
        assert min(widths) > 0


async def test_time_in_the_queue_is_apart(browser: Any, stage: Stage):
    run = WrittenRun(stage.journal)
    await run.tell(("run.created", {"id": run.id, "status": "queued", **run.fields}))
    async with page_of(browser, stage) as watched:
        row, queued = watched.page.locator("#run .row", has_text="Run"), re.compile(r"queued ([\d.]+ m?s)")
        await playwright.expect(row.locator(".kind")).to_have_text(queued)
        await run.tell(run.run_event("in_progress", started_at=run.at))
        await playwright.expect(row).to_contain_text("in progress")
        first = await row.locator(".kind").inner_text()
        for status in ("requires_action", "queued", "in_progress"):  # once more, for the next round of calls
            await run.tell(run.run_event(status))
            await playwright.expect(row).to_contain_text(status.replace("requires_action", "waiting").replace("_", " "))
        await run.calls("step_1", function("call_a", "get_depth"))
        await expect(watched.page, "#run .row", has_text="get_depth").to_be_visible()
        assert await row.locator(".kind").inner_text() == first
        find = "(row, name) => row.querySelector(name).getBoundingClientRect()"  # both at one moment: they move
        left, right = await row.evaluate(f"(row) => [({find})(row, '.wait').right, ({find})(row, '.bar').left]")
        assert left == pytest.approx(right, abs=1)
    await run.tell(run.run_event("queued"))
    async with page_of(browser, stage) as late:  # what the run did before was no queue
        row = late.page.locator("#run .row", has_text="Run")
        await playwright.expect(row).to_contain_text(", queued")
        await playwright.expect(row.locator(".kind")).to_have_text("")


async def test_calm_page_ticks_once_a_second(browser: Any, stage: Stage):
    run = await began(stage)
    async with page_of(browser, stage, reduced_motion="reduce") as watched:
        await run.calls("step_1", function("call_a", "get_depth"))
        await expect(watched.page, "#run .row", has_text="get_depth").to_be_visible()
        widths = await watched.page.evaluate(WIDTHS)
        assert len(set(widths)) <= 4, widths


async def test_late_tab_shows_what_the_early_one_does(browser: Any, stage: Stage):
    async with page_of(browser, stage) as early:
        run = await answered(stage)
        await expect(early.page, "#run .row", has_text="message").to_be_visible()
        async with page_of(browser, stage) as late:
            await run.say("step_2", "is deep.")
            for page in (early.page, late.page):
                await expect(page, "#step pre").to_have_text("The harbour is deep.")
            assert await rows(early.page) == await rows(late.page)
            assert len(await rows(late.page)) == 5


async def test_page_that_is_reloaded_is_where_it_was(browser: Any, stage: Stage):
    run = await answered(stage)
    await (await began(stage, "run_2")).end()
    async with page_of(browser, stage, "/#run=run_1") as watched:
        page = watched.page
        await page.locator("#run .row", has_text="get_wind").last.click()
        await expect(page, "#step .call").to_have_count(1)
        await expect(page, "#step .call strong").to_have_text("get_wind")
        await page.locator("#search").fill("sim")
        before = await page.evaluate("location.hash")
        await page.reload()
        await expect(page, "#step .call").to_have_count(1)
        await expect(page, "#step .call strong").to_have_text("get_wind")
        assert await page.evaluate("location.hash") == before
        assert await page.locator("#search").input_value() == "sim"
        await page.locator("#run .row", has_text="message").click()
        await run.say("step_2", "is deep.")
        await expect(page, "#step .prose pre").to_have_text("The harbour is deep.")
        await page.go_back()
        await expect(page, "#step .call").to_have_count(1)
        await expect(page, "#step .call strong").to_have_text("get_wind")


async def test_two_tabs_have_two_streams_each(browser: Any, stage: Stage):
    run = await answered(stage)
    async with page_of(browser, stage) as one, page_of(browser, stage) as other:
        for page in (one.page, other.page):
            await expect(page, "#banner").to_have_text("Live")
        assert stage.streams == 4
        await run.say("step_2", "is deep.")
        for page in (one.page, other.page):
            await expect(page, "#step pre").to_have_text("The harbour is deep.")


async def test_hidden_tab_has_no_stream_and_goes_on_where_it_was(browser: Any, stage: Stage):
    run = await answered(stage)
    async with page_of(browser, stage) as watched:
        page = watched.page
        await expect(page, "#step pre").to_have_text("The harbour ")
        assert await page.evaluate("openSources()") == 2
        await page.evaluate("setHidden(true)")
        assert await page.evaluate("openSources()") == 0
        with anyio.fail_after(10):
            while stage.streams:
                await anyio.wait_all_tasks_blocked()
        await run.say("step_2", "is ")
        await run.say("step_2", "deep.")
        async with page.expect_request("**/events?as=view&last_event_id=*"):
            await page.evaluate("setHidden(false)")
        await expect(page, "#step pre").to_have_text("The harbour is deep.")
        await run.said("step_2", "The harbour is deep.")
        await page.evaluate("setHidden(true)")
        await run.end()
        await page.evaluate("setHidden(false)")
        await expect(page, "#banner").to_have_text("Ended")


async def test_server_that_is_killed_and_back_loses_nothing(browser: Any, stage: Stage):
    run = await answered(stage)
    async with page_of(browser, stage) as watched:
        page = watched.page
        await expect(page, "#step pre").to_have_text("The harbour ")
        await stage.stop()
        await page.wait_for_event("requestfailed")
        await expect(page, "#banner").to_have_text(re.compile("Reconnecting|Interrupted"))
        await expect(page, "#notice").to_be_visible()
        await expect(page, "#link").to_have_text("Reconnecting")
        await run.say("step_2", "is ")
        await stage.start()
        await expect(page, "#step pre").to_have_text("The harbour is ")
        await expect(page, "#banner").to_have_text("Live")
        await expect(page, "#notice").to_be_hidden()
        await expect(page, "#link").to_have_text("Live")
        await run.say("step_2", "deep.")
        await expect(page, "#step pre").to_have_text("The harbour is deep.")
        assert any("ERR_CONNECTION_REFUSED" in line for line in watched.console)
        watched.console.clear()


async def test_gap_is_said_and_the_run_shown_as_it_is(browser: Any, stage: Stage):
    await answered(stage)
    async with page_of(browser, stage) as watched:
        page = watched.page
        await expect(page, "#step pre").to_have_text("The harbour ")
        await page.evaluate("setHidden(true)")
        await stage.stop()
        stage.journal = MemoryJournal()  # a server that knows another writer of the run
        run = await answered(stage)
        await run.say("step_2", "is deep.")
        await stage.start()
        await page.evaluate("setHidden(false)")
        await expect(page, "#notice").to_contain_text("Some of what happened is left out")
        await expect(page, "#step pre").to_have_text("The harbour is deep.")
        await expect(page, "#banner").to_have_text("Live")
        assert len(await rows(page)) == 5
        await page.locator("#notice button").click()
        await expect(page, "#notice").to_be_hidden()


async def test_interrupted_run_is_no_ended_one(browser: Any, stage: Stage):
    run = await answered(stage)
    async with page_of(browser, stage) as watched:
        page = watched.page
        await expect(page, "#banner").to_have_text("Live")
        await run.tell(status="interrupted", error="broken off")
        await expect(page, "#banner").to_have_text("Interrupted")
        await expect(page, "#notice").to_contain_text("Interrupted (interrupted)")
        await expect(page, "#runs .row").to_contain_text("interrupted")


async def test_failed_run_says_what_failed_and_why(browser: Any, stage: Stage):
    await failed(stage)
    async with page_of(browser, stage) as watched:
        page = watched.page
        await expect(page, "#runs .what").to_have_text("rate_limit: Too much.")
        await expect(page, "#now li", has_text="Failed: try_step_2").to_contain_text(ERROR["message"])
        await expect(page, "#now li", has_text="The run failed").to_contain_text("rate_limit: Too much.")
        await expect(page, "#step .failure").to_contain_text(ERROR["message"])
        await page.locator("#run .row", has_text="try_step_3").click()
        await expect(page, "#step .failure").to_have_count(0)
        await page.keyboard.press("e")
        await expect(page, "#step h2").to_have_text("try_step_2")
        await page.locator("#filters button", has_text="Failed").click()
        await expect(page, "#runs .row:visible").to_have_count(1)
        assert "status=bad" in await page.evaluate("location.hash")
        await page.locator("#filters button", has_text="Done").click()
        await expect(page, "#runs .empty").to_have_text("No run is like that.")


async def test_call_that_waits_for_approval_is_told_everywhere(browser: Any, stage: Stage):
    done = await began(stage, "run_2")
    run = await began(stage)
    await done.end()
    await run.calls("step_1", mcp("call_a", "find_berth"))
    await run.ask_approval(mcp("call_a", "find_berth"))
    async with page_of(browser, stage) as watched:
        page = watched.page
        await expect(page, "#run h2").to_have_text("sim-large")
        assert "run=run_1" in await page.evaluate("location.hash")  # of the two, it wants somebody
        await expect(page, "#runs .what.why").to_have_text("waits for approval: find_berth")
        await expect(page, "#now li").to_have_text("Waits for approvalfind_berth")
        await expect(page, "#run .row[data-style=waiting] .name", has_text="find_berth").to_be_visible()
        await page.locator("#now button").click()
        await expect(page, "#step .awaited").to_contain_text("Waits for approval")
        await run.tell(run.run_event("in_progress", required_action=None))
        await expect(page, "#step .awaited").to_have_count(0)
        await expect(page, "#now li", has_text="Waits").to_have_count(0)


async def test_all_is_done_with_the_keyboard_alone(browser: Any, stage: Stage):
    await failed(stage)
    run = await answered(stage, "run_2")
    async with page_of(browser, stage) as watched:
        page, press = watched.page, watched.page.keyboard.press
        await expect(page, "#runs .row").to_have_count(2)
        await expect(page, "#leave").to_be_hidden()  # there is no token
        while await page.evaluate("document.activeElement.closest('#runs') === null"):
            await press("Tab")
        await press("Home")
        await expect(page, "#runs .row[aria-selected=true] .id").to_have_text("run_2")
        await press("j")
        await expect(page, "#runs .row[aria-selected=true] .id").to_have_text("run_1")
        await press("k")
        await expect(page, "#run .row", has_text="message").to_be_visible()
        await press("Enter")
        await page.wait_for_function("() => document.activeElement.ariaLabel === 'Steps'")
        await press("Home")
        await expect(page, "#step h2").to_have_text("Run")
        visited = await page.evaluate("history.length")
        await press("j")
        await expect(page, "#step h2").to_have_text("get_depth, get_wind")
        await press("ArrowDown")
        await expect(page, "#step .call").to_have_count(1)
        await expect(page, "#step .call strong").to_have_text("get_depth")
        chosen = await page.locator("#run .scroller").get_attribute("aria-activedescendant")
        await expect(page, f"#{chosen}").to_have_attribute("aria-selected", "true")
        assert await page.evaluate("history.length") == visited  # the way back does not go through each row
        await press("Enter")
        await page.wait_for_function("() => document.activeElement.ariaLabel === 'Content'")
        await press("Escape")
        await press("l")
        await run.say("step_2", "is deep.")
        await expect(page, "#step .prose pre").to_have_text("The harbour is deep.")
        await expect(page, "#follow").to_have_attribute("aria-pressed", "true")
        await page.wait_for_function("() => document.activeElement.ariaLabel === 'Steps'")
        await press("Escape")
        await page.wait_for_function("() => document.activeElement.ariaLabel === 'Runs'")
        await press("End")
        await press("e")
        await expect(page, "#step h2").to_have_text("try_step_2")
        await press("?")
        await expect(page, "#help").to_be_visible()
        await press("Escape")
        await expect(page, "#help").to_be_hidden()
        await press("/")
        await page.keyboard.type("run_2")
        await expect(page, "#runs .row:visible").to_have_count(1)
        await press("Escape")
        await page.wait_for_function("() => document.activeElement.id !== 'search'")
        await press("+")
        await expect(page, "#axis span").not_to_have_count(0)


async def test_who_scrolls_up_is_left_there_and_told_what_is_new(browser: Any, stage: Stage):
    run = await began(stage)
    for number in range(60):
        await run.calls(f"step_{number}", function(f"call_{number}", f"name_{number}"))
        await run.finish(f"step_{number}")
    async with page_of(browser, stage) as watched:
        page = watched.page
        await expect(page, "#run .row", has_text="name_59").to_be_visible()
        await page.locator("#run .scroller").hover()
        await page.mouse.wheel(0, -600)
        await expect(page, "#follow").to_have_attribute("aria-pressed", "false")
        await expect(page, "#run .row", has_text="name_59").to_be_hidden()
        top = await page.locator("#run .scroller").evaluate("(node) => node.scrollTop")
        for number in (60, 61):
            await run.calls(f"step_{number}", function(f"call_{number}", f"name_{number}"))
        await expect(page, "#run .new").to_have_text("2 new ↓")
        assert await page.locator("#run .scroller").evaluate("(node) => node.scrollTop") == top
        await page.locator("#run .new").click()
        await expect(page, "#run .row", has_text="name_61").to_be_visible()
        await expect(page, "#run .new").to_be_hidden()


async def test_long_text_is_loaded_when_it_is_asked_for(browser: Any, stage: Stage):
    run = await began(stage)
    code = {"input": "print(1)", "outputs": [{"type": "logs", "logs": "first line\n" + "line\n" * 40_000 + "last"}]}
    await run.calls("step_1", {"id": "call_a", "type": "code_interpreter", "code_interpreter": code})
    async with page_of(browser, stage, "/#run=run_1&step=step_1") as watched:
        page = watched.page
        logs = page.locator("#step .block", has_text="Logs")
        await playwright.expect(logs).to_contain_text("last")
        assert "first line" not in await logs.inner_text()
        await logs.get_by_role("button", name="Load all 195 kB").click()
        await playwright.expect(logs).to_contain_text("first line")
        assert (await logs.locator(".text").evaluate("(node) => node.textContent")) == code["outputs"][0]["logs"]
        await page.locator("summary").click()
        await expect(page, "details .block pre").not_to_have_count(0)
        whole = msgspec.json.decode(await page.locator("details .text").evaluate("(node) => node.textContent"))
        assert whole["step"]["step_details"]["tool_calls"][0]["code_interpreter"] == code


async def test_page_asks_for_the_token_and_goes_on(browser: Any):
    async with staged("a-token-that-is-long") as stage:
        await answered(stage)
        async with page_of(browser, stage) as watched:
            page = watched.page
            await page.locator("#token").fill("another")
            await page.locator("#token").press("Enter")
            await expect(page, ".wrong").to_have_text("This is not the token.")
            await page.locator("#token").fill("a-token-that-is-long")
            await page.locator("#token").press("Enter")
            await expect(page, "#step pre").to_have_text("The harbour ")
            cookies = await page.context.cookies()
            assert [(one["httpOnly"], one["sameSite"]) for one in cookies] == [(True, "Strict")]
            await page.reload()
            await expect(page, "#step pre").to_have_text("The harbour ")
            await page.get_by_role("button", name="Log out").click()
            await expect(page, "#login").to_be_visible()
            await expect(page, "#runs .row").to_have_count(0)
            assert await page.context.cookies() == []
            assert all("401" in line for line in watched.console)
            watched.console.clear()


async def test_narrow_screen_shows_one_pane_after_the_other(browser: Any, stage: Stage):
    await failed(stage)
    size = {"width": 360, "height": 740}
    async with AsyncExitStack() as stack:
        watched = await stack.enter_async_context(page_of(browser, stage, viewport=size, has_touch=True))
        page = watched.page

        async def fits() -> None:
            assert await page.evaluate("document.documentElement.scrollWidth") <= 360
            wide = "[...document.querySelectorAll('section:not([hidden]) *')].filter((node) => node.checkVisibility"
            wide += "({visibilityProperty: true}) && node.getBoundingClientRect().right > 361 && "
            wide += "!node.closest('.row, #filters, #axis')).map((node) => node.outerHTML)"
            assert await page.evaluate(wide) == []

        await expect(page, "#runs .row").to_be_visible()
        await expect(page, "#run h2").to_be_hidden()
        await fits()
        await page.locator("#runs .row").tap()
        await expect(page, "#run .row", has_text="try_step_2").to_be_visible()
        await expect(page, "#runs .row").to_be_hidden()
        await fits()
        await page.locator("#run .row", has_text="try_step_2").tap()
        await expect(page, "#step .failure").to_be_visible()
        await fits()
        await page.locator("#step .back").tap()
        await expect(page, "#run .row", has_text="try_step_2").to_be_visible()
        await page.locator("#run .back").tap()
        await expect(page, "#runs .row").to_be_visible()


async def test_response_that_asks_for_an_approval_waits_and_times_that_nobody_knows_are_not_told(
    browser: Any, stage: Stage
):
    run = await began(stage)
    request = {"type": "mcp_approval_request", "mcp_approval_request": {"name": "find_berth", "arguments": "{}"}}
    asked = {"id": "mcpr_1", "run_id": run.id, "type": "mcp_approval_request", "step_details": request}
    await run.tell(("run.step.completed", {**asked, "status": "completed"}))
    await run.ask_approval(mcp("mcpr_1", "find_berth"))
    async with page_of(browser, stage) as watched:
        row = watched.page.locator("#run .row", has_text="find_berth")
        await playwright.expect(row).to_have_attribute("data-style", "waiting")
        await playwright.expect(row.locator(".took")).to_have_text("—")
        await playwright.expect(row.locator(".bar")).to_be_hidden()
        await expect(watched.page, "#now li").to_have_text("Waits for approvalfind_berth")
        await watched.page.locator("#now button").click()
        await expect(watched.page, "#step .awaited").to_contain_text("Waits for approval")
        await watched.page.keyboard.press("+")
        await expect(watched.page, "#axis span").not_to_have_count(0)


async def test_time_of_what_began_before_the_page_came_is_not_made_up(browser: Any, stage: Stage):
    run = await began(stage)

    async def tell(name: str, status: str) -> None:  # without times, as the items of a response
        details = {"type": "tool_calls", "tool_calls": [function(f"call_{name}", name)]}
        step = {"id": name, "run_id": run.id, "type": "tool_calls", "step_details": details, "status": status}
        await run.tell((f"run.step.{'created' if status == 'in_progress' else status}", step))

    await tell("early", "completed")
    await tell("earlier", "completed")
    async with page_of(browser, stage) as watched:
        page = watched.page
        await expect(page, "#now li", has_text="Slowest").to_have_text(re.compile("^Slowest stepnot known"))
        await page.locator("#run .row", has_text="earlier").click()
        await expect(page, "#step .facts").to_contain_text("not timed")
        await tell("seen", "in_progress")
        await expect(page, "#now li", has_text="Slowest").to_have_text(re.compile(r"^Slowest timed stepseen · \d"))
        async with page_of(browser, stage) as late:
            await expect(late.page, "#run .row", has_text="seen").to_contain_text(re.compile(r"over \d"))
            await tell("seen", "completed")
            await expect(late.page, "#now li", has_text="Slowest").to_contain_text("seen · over ")
        await expect(page, "#run .row", has_text="seen").not_to_contain_text("over")


async def test_list_has_the_newest_words_of_who_writes(browser: Any, stage: Stage):
    run = await answered(stage)
    async with page_of(browser, stage) as watched:
        await run.say("step_2", "so deep that " * 20 + "the line ends.")
        what = watched.page.locator("#runs .what")
        await playwright.expect(what).to_have_text(re.compile(r"^…(so |deep |that ).*the line ends\.$"))
        assert await what.evaluate("(what) => what.scrollWidth <= what.clientWidth")


async def test_calls_that_a_response_wants_the_outputs_of_wait_though_they_are_written(browser: Any, stage: Stage):
    run = await began(stage)
    names = ("get_depth", "get_depth", "get_wind", "get_depth")
    calls = [function(f"call_{at}", name) for at, name in enumerate(names)]
    for call in calls:
        details = {"type": "tool_calls", "tool_calls": [call]}
        step = {"id": f"fc_{call['id']}", "run_id": run.id, "type": "tool_calls", "step_details": details}
        await run.tell(("run.step.completed", {**step, "status": "completed"}))
    action = {"type": "submit_tool_outputs", "submit_tool_outputs": {"tool_calls": calls[1:]}}
    await run.tell(run.run_event("requires_action", required_action=action), status="waiting")
    async with page_of(browser, stage) as watched:
        page, steps = watched.page, watched.page.locator("#run .row:not(.whole)")
        await expect(page, "#now li", has_text="Waits").to_have_text("Waits for outputget_depth, get_wind")
        await expect(page, "#runs .why").to_have_text("waits for outputs: get_depth \N{MULTIPLICATION SIGN}2, get_wind")
        for at, style in enumerate(("good", "waiting", "waiting", "waiting")):
            await playwright.expect(steps.nth(at)).to_have_attribute("data-style", style)
        await steps.nth(1).click()
        await expect(page, "#step .awaited").to_contain_text("Waits for output")
        await run.tell(run.run_event("in_progress", required_action=None))
        await playwright.expect(steps.nth(1)).to_have_attribute("data-style", "good")
