"""The pictures of the dashboard: the real page, in a real browser, of runs that go on.

    python -m tests.support.page_pictures

draws them anew. It needs playwright and a chromium, and takes half a minute.
"""

from typing import Any

import anyio
from playwright.async_api import async_playwright

from tests.support.page_stage import CHROMIUM, JSON, Stage, WrittenRun, function, mcp, staged
from tests.support.places import PICTURES

TIDES = """\
import csv

with open("tides.csv") as file:
    heights = [float(row["metres"]) for row in csv.DictReader(file)]
print(f"{len(heights)} tides, the highest {max(heights):.2f} m")
"""
ANSWER = (
    "At low water the north pier has 7.2 m, the ferry landing 4.1 m. With the wind at 12 m/s from the south-west, "
    "come in by the channel and keep to the buoys: the sill falls dry at 14:20."
)
LATE = {"code": "server_error", "message": "The harbour office does not answer: 504 after 30 s."}


def code(text: str, logs: str | None) -> JSON:
    outputs = [{"type": "logs", "logs": logs}] if logs else []
    return {"id": "call_code", "type": "code_interpreter", "code_interpreter": {"input": text, "outputs": outputs}}


async def past(stage: Stage) -> None:
    """Write the runs that stand around."""
    done = WrittenRun(stage.journal, "run_8c41", model="gpt-5-mini")
    await done.begin()
    await done.write("step_a")
    await done.said("step_a", "On Saturday it is safe to sail.")
    await done.end()
    failed = WrittenRun(stage.journal, "run_8c42")
    await failed.begin()
    await failed.calls("step_a", function("call_a", "book_berth", '{"place": "north pier", "hours": 6}'))
    await failed.finish("step_a", "failed", last_error=LATE)
    await failed.end("failed", last_error=LATE)
    waiting = WrittenRun(stage.journal, "run_8c43", model="gpt-5")
    await waiting.begin()
    await waiting.calls("step_a", mcp("call_a", "find_berth"))
    await waiting.ask_approval(mcp("call_a", "find_berth"))
    other = WrittenRun(stage.journal, "run_8c44", model="gpt-5-mini")
    await other.begin()
    await other.write("step_a")
    await other.say("step_a", "The ferry left the landing with the last of the ebb")


async def now(stage: Stage) -> None:
    """Write the run that is looked at, at the pace of a model, up to the middle of its answer."""
    run = WrittenRun(stage.journal, "run_8c45", model="gpt-5")
    await run.tell(("run.created", {"id": run.id, "status": "queued", **run.fields}))
    await anyio.sleep(0.7)
    await run.tell(run.run_event("in_progress", started_at=run.at))
    await anyio.sleep(0.3)
    await run.calls("step_1", code(TIDES, None))
    await anyio.sleep(1.1)
    await run.finish("step_1", step_details={"type": "tool_calls", "tool_calls": [code(TIDES, "706 tides\n")]})
    places = ("north pier", "ferry landing")
    calls = [function(f"call_{at}", "get_depth", f'{{"place": "{one}"}}') for at, one in enumerate(places)]
    calls.append(function("call_wind", "get_wind"))
    await run.calls("step_2", *calls)
    await anyio.sleep(0.4)
    action = {"type": "submit_tool_outputs", "submit_tool_outputs": {"tool_calls": calls}}
    await run.tell(run.run_event("requires_action", required_action=action), status="waiting")
    await anyio.sleep(1.4)
    await run.tell(run.run_event("in_progress", required_action=None))
    done = [{**call, "function": {**call["function"], "output": "7.2 m"}} for call in calls]
    await run.finish("step_2", step_details={"type": "tool_calls", "tool_calls": done})
    await run.calls("step_3", function("call_late", "ask_harbour_office", '{"question": "Is the sill dry?"}'))
    await anyio.sleep(0.9)
    await run.finish("step_3", "failed", last_error=LATE)
    await run.write("step_4")
    for at in range(0, len(ANSWER) * 3 // 4, 6):
        await run.say("step_4", ANSWER[at : at + 6])
        await anyio.sleep(0.03)


async def draw(browser: Any, stage: Stage, name: str, **options: Any) -> None:
    context = await browser.new_context(**options)
    page = await context.new_page()
    await page.goto(stage.url)
    await page.locator("#runs .row").first.wait_for()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(now, stage)
        await page.locator("#runs .row", has_text="run_8c45").click()
    await page.wait_for_timeout(300)
    await page.screenshot(path=PICTURES / name)
    await context.close()


async def main() -> None:
    async with async_playwright() as started:
        browser = await started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        wide, narrow = {"width": 1280, "height": 720}, {"width": 360, "height": 720}
        for name, scheme, size in (
            ("page-light.png", "light", wide),
            ("page-dark.png", "dark", wide),
            ("page-phone.png", "light", narrow),
        ):
            async with staged() as stage:
                await past(stage)
                await draw(browser, stage, name, color_scheme=scheme, viewport=size)
        await browser.close()


if __name__ == "__main__":
    anyio.run(main)
