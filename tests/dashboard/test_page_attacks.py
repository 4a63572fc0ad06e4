"""Whatever is in a run, the page shows it as text: no script runs, nothing is asked of anybody else."""

from typing import Any
from urllib.parse import urlencode

import pytest

from tests.support.html_attack import ATTACKS, as_blocks, attacking_events
from tests.support.page_fixtures import anyio_backend, browser, stage
from tests.support.page_stage import CHROMIUM, Stage, Watched, WrittenRun, page_of

playwright = pytest.importorskip("playwright.async_api", reason="playwright is not installed")

__all__ = ["anyio_backend", "browser", "stage"]

pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="no chromium")]

FOREIGN = "img, iframe, object, embed, video, audio, source, a, base, style, svg, form[action], [onerror], [style*=url]"


async def check(watched: Watched) -> None:
    page = watched.page
    assert await page.evaluate("window.pwned") is None
    assert await page.locator(FOREIGN).count() == 0
    assert await page.locator("script").count() == 1
    assert watched.elsewhere == []


@pytest.mark.parametrize("number", range(len(ATTACKS)))
async def test_attack_in_every_text_is_shown_as_text(browser: Any, stage: Stage, number: int):
    attack = ATTACKS[number]
    events = as_blocks(attacking_events(attack, number))
    run = WrittenRun(stage.journal, events[0][1]["id"])
    await run.tell(*events[:-1])
    async with page_of(browser, stage, "/#" + urlencode({"run": run.id})) as watched:
        page = watched.page
        await page.locator("#run .row:visible").first.wait_for()
        await run.tell(events[-1], status="waiting")
        await page.locator("#run .state", has_text="waiting").wait_for()
        await page.locator("#run .scroller").focus()
        await page.keyboard.press("Home")
        shown = set()
        for _ in range(12):
            for _ in range(7):
                await page.keyboard.press("j")
            shown.add(await page.evaluate("location.hash"))
            if await page.locator("#step details:not([open])").count():
                await page.locator("#step summary").click()
            await check(watched)
        assert len(shown) > 8
        await page.locator("#step details .text").wait_for()
        await check(watched)
        assert attack[:20].strip("\x00") in await page.locator("body").evaluate("(body) => body.textContent")


async def test_attack_in_an_address_is_nothing(browser: Any, stage: Stage):
    for attack in ATTACKS:
        names = ("run", "step", "call", "status", "q")
        async with page_of(browser, stage, "/#" + urlencode(dict.fromkeys(names, attack))) as watched:
            await watched.page.locator("#notice", has_text="There is no such run").wait_for(state="attached")
            await check(watched)
            watched.console[:] = [line for line in watched.console if "404" not in line]
