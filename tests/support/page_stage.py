"""The dashboard under a real browser: runs that a test writes event by event, a server that can be killed, a page."""

import json
import shutil
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from stepstream import MemoryJournal
from stepstream.asgi.serving import serve_here
from stepstream.dashboard import Dashboard
from stepstream.live.journal import Opened, packs_of
from stepstream.wire.sse import Frame, encode_frame

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")

JSON = dict[str, Any]

ERROR = {"code": "server_error", "message": "The harbour office does not answer."}


class WrittenRun:
    """A run whose events a test makes, in a journal."""

    def __init__(self, journal: MemoryJournal, run_id: str = "run_1", **fields: Any) -> None:
        self.journal = journal
        self.id = run_id
        self.at = int(time.time())
        self.fields: JSON = {"model": "sim-large", "created_at": self.at, "thread_id": "thread_1", **fields}
        self.objects: dict[str, JSON] = {}
        self.position = 0
        self._opened: Opened | None = None

    async def tell(self, *events: tuple[str, JSON], status: Any = "open", error: str = "") -> None:
        """Append events."""
        if self._opened is None:
            self._opened = await self.journal.open(self.id, writer="test", after=self.position)
        blocks = [encode_frame(Frame(f"thread.{name}", json.dumps(data).encode())) for name, data in events]
        held = packs_of(self._opened.fence, self.position + 1, blocks)
        self.position += len(events)
        await self.journal.append(self._opened, held, status=status, error=error)

    def run_event(self, status: str, **more: Any) -> tuple[str, JSON]:
        self.fields |= {"status": status, **more}
        return f"run.{status}", {"id": self.id, **self.fields}

    async def begin(self) -> None:
        await self.tell(("run.created", {"id": self.id, "status": "queued", **self.fields}))
        await self.tell(self.run_event("in_progress", started_at=self.at))

    async def end(self, status: str = "completed", **more: Any) -> None:
        usage = {"prompt_tokens": 1140, "completion_tokens": 60, "total_tokens": 1200}
        stamp = {} if status == "incomplete" else {f"{status}_at": int(time.time())}
        await self.tell(self.run_event(status, usage=usage, **stamp, **more), status="ended")

    def step_event(self, name: str, step_id: str, status: str, **more: Any) -> tuple[str, JSON]:
        known = self.objects.setdefault(step_id, {"id": step_id, "run_id": self.id, "created_at": int(time.time())})
        known |= {"status": status, **more}
        return f"run.step.{name}", dict(known)

    async def calls(self, step_id: str, *calls: JSON) -> None:
        """Open a step with these calls."""
        details = {"type": "tool_calls", "tool_calls": list(calls)}
        await self.tell(self.step_event("created", step_id, "in_progress", type="tool_calls", step_details=details))

    async def grow(self, step_id: str, **call: Any) -> None:
        """Add to the first call of a step."""
        delta = {"step_details": {"type": "tool_calls", "tool_calls": [{"index": 0, **call}]}}
        await self.tell(("run.step.delta", {"id": step_id, "delta": delta}))

    async def finish(self, step_id: str, status: str = "completed", **more: Any) -> None:
        await self.tell(self.step_event(status, step_id, status, **{f"{status}_at": int(time.time())}, **more))

    async def write(self, step_id: str) -> None:
        """Open a step that writes a message."""
        details = {"type": "message_creation", "message_creation": {"message_id": f"msg_{step_id}"}}
        body = {"id": f"msg_{step_id}", "run_id": self.id, "role": "assistant", "created_at": int(time.time())}
        opened = self.step_event("created", step_id, "in_progress", type="message_creation", step_details=details)
        await self.tell(opened, ("message.created", {**body, "status": "in_progress", "content": []}))

    async def say(self, step_id: str, text: str) -> None:
        delta = {"content": [{"index": 0, "type": "text", "text": {"value": text}}]}
        await self.tell(("message.delta", {"id": f"msg_{step_id}", "delta": delta}))

    async def said(self, step_id: str, text: str) -> None:
        content = [{"type": "text", "text": {"value": text, "annotations": []}}]
        body = {"id": f"msg_{step_id}", "run_id": self.id, "role": "assistant", "status": "completed"}
        await self.tell(("message.completed", {**body, "content": content}))
        await self.finish(step_id)

    async def ask_approval(self, *calls: JSON) -> None:
        action = {"type": "submit_tool_approval", "submit_tool_approval": {"tool_calls": list(calls)}}
        await self.tell(self.run_event("requires_action", required_action=action), status="waiting")


def function(call_id: str, name: str, arguments: str = "{}", output: str | None = None) -> JSON:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments, "output": output}}


def mcp(call_id: str, name: str) -> JSON:
    return {"id": call_id, "type": "mcp", "name": name, "arguments": '{"berth": 7}', "server_label": "harbour"}


class Stage:
    """A dashboard, served on a port that stays the same, and what it is asked."""

    def __init__(self, token: str | None = None) -> None:
        self.journal = MemoryJournal()
        self.open: Counter[str] = Counter()
        """How many streams of each path are open."""
        self.url = ""
        self._token = token
        self._stack = AsyncExitStack()
        self._dashboard: Dashboard | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        assert self._dashboard is not None
        is_stream = scope["type"] == "http" and scope["path"].endswith(("/events", "/list"))
        self.open[scope.get("path", "")] += is_stream
        try:
            await self._dashboard(scope, receive, send)
        finally:
            self.open[scope.get("path", "")] -= is_stream

    @property
    def streams(self) -> int:
        return sum(self.open.values())

    async def start(self) -> None:
        port = int(self.url.rpartition(":")[2]) if self.url else 0
        self._dashboard = Dashboard(self.journal, self._token)
        self.url = await self._stack.enter_async_context(
            serve_here(self, host="127.0.0.1", port=port, name="dashboard")
        )

    async def stop(self) -> None:
        assert self._dashboard is not None
        await self._dashboard.drain(0)
        await self._stack.aclose()


@asynccontextmanager
async def staged(token: str | None = None) -> AsyncIterator[Stage]:
    stage = Stage(token)
    await stage.start()
    try:
        yield stage
    finally:
        await stage.stop()


COUNTING = """
(() => {
  const Real = EventSource
  window.sources = []
  window.mostSources = 0
  window.EventSource = class extends Real {
    constructor(...given) {
      super(...given)
      window.sources.push(this)
      window.mostSources = Math.max(window.mostSources, window.openSources())
    }
  }
  window.openSources = () => window.sources.filter((one) => one.readyState !== Real.CLOSED).length
  let hidden = false
  Object.defineProperty(document, "hidden", { get: () => hidden, configurable: true })
  window.setHidden = (is) => { hidden = is; document.dispatchEvent(new Event("visibilitychange")) }
})()
"""


class Watched:
    """A page of a browser, what its console says, and what it asks of others than the server."""

    def __init__(self, page: Any, url: str) -> None:
        self.page = page
        self.url = url
        self.console: list[str] = []
        self.elsewhere: list[str] = []
        page.on("console", lambda message: self.console.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: self.console.append(f"error: {error}"))
        page.on("dialog", self._dialog)
        page.on("request", self._asked)

    async def _dialog(self, dialog: Any) -> None:
        self.console.append(f"dialog: {dialog.message}")
        await dialog.dismiss()

    def _asked(self, request: Any) -> None:
        if not request.url.startswith(self.url):
            self.elsewhere.append(request.url)


@asynccontextmanager
async def page_of(browser: Any, stage: Stage, path: str = "/", **options: Any) -> AsyncIterator[Watched]:
    """Open the dashboard in a context of its own. Nothing may be in its console at the end, unless a test clears it."""
    options = {"viewport": {"width": 1280, "height": 800}, **options}
    context = await browser.new_context(**options)
    context.set_default_timeout(20_000)
    try:
        page = await context.new_page()
        watched = Watched(page, stage.url)
        await page.add_init_script(COUNTING)
        await page.goto(stage.url + path)
        yield watched
        assert (watched.console, watched.elsewhere) == ([], []), watched.console
        assert await page.evaluate("mostSources") <= 2
    finally:
        await context.close()


async def began(stage: Stage, run_id: str = "run_1") -> WrittenRun:
    run = WrittenRun(stage.journal, run_id)
    await run.begin()
    return run


async def answered(stage: Stage, run_id: str = "run_1") -> WrittenRun:
    """Return a run that has two parallel calls behind it, and writes."""
    run = await began(stage, run_id)
    calls = [function("call_a", "get_depth", '{"place": "pier"}'), function("call_b", "get_wind")]
    await run.calls("step_1", *calls)
    done = [{**call, "function": {**call["function"], "output": "7.2 m"}} for call in calls]
    await run.finish("step_1", step_details={"type": "tool_calls", "tool_calls": done})
    await run.write("step_2")
    await run.say("step_2", "The harbour ")
    return run


async def failed(stage: Stage, run_id: str = "run_1") -> None:
    run = await began(stage, run_id)
    for name in ("step_1", "step_2", "step_3"):
        await run.calls(name, function(f"call_{name}", f"try_{name}"))
        await (run.finish(name, "failed", last_error=ERROR) if name == "step_2" else run.finish(name))
    await run.end("failed", last_error={"code": "rate_limit", "message": "Too much."})
