"""FastAPI with a conversation for each kit, whose runs a simulator tells."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi.responses import FileResponse, HTMLResponse

from stepstream import Processor, RunsClient
from stepstream.relay.kits import AgUiChats, AiSdkChats
from stepstream.relay.posted import Posted
from stepstream.simulator import app as simulator
from stepstream.simulator import serve

PAGE = '<!doctype html><meta charset="utf-8"><div id="root"></div><script src="/page.js"></script>'


@asynccontextmanager
async def kit_server(scenario: str, pace: float | str, script: str = "") -> AsyncIterator[str]:
    """Serve it, and give its address. `script` is the file of a page at `/`."""
    async with serve(simulator(scenario=scenario, pace=pace)) as url:
        client = RunsClient(f"{url}/v1")

        async def answer(processor: Processor, posted: Posted) -> None:
            if posted.run_id is None or posted.thread_id is None:
                thread = {"messages": [{"role": "user", "content": posted.text}]}
                await processor.run(client.stream_thread_and_run(assistant_id="asst_1", thread=thread))
            elif posted.approvals.keys() >= posted.outputs.keys() and scenario == "mcp":
                await processor.run(client.submit_tool_approvals(posted.thread_id, posted.run_id, posted.approvals))
            else:
                outputs = {one: str(output) for one, output in posted.outputs.items()}
                await processor.run(client.submit_tool_outputs(posted.thread_id, posted.run_id, outputs))

        app = FastAPI()
        async with AiSdkChats(answer) as use_chat, AgUiChats(answer) as http_agent:
            app.add_route("/api/chat{rest:path}", use_chat)
            app.add_route("/api/agent{rest:path}", http_agent)
            app.add_api_route("/", lambda: HTMLResponse(PAGE))
            app.add_api_route("/page.js", lambda: FileResponse(script, media_type="text/javascript"))
            async with serve(app) as address:
                yield address
