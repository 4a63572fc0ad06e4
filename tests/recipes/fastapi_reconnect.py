"""A FastAPI app whose answers go on when the browser leaves, and are there, whole, when it comes back.

A run belongs to the processor that the lifespan keeps open, not to a request: `start` reads it, whoever watches. A
watcher gets what is known already (`replay`), then what comes, and ends with the run. Each event has the text so far:
a browser that comes back needs to remember nothing, and `EventSource` comes back by itself.
"""

import json
import os
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
from fastapi import FastAPI, HTTPException
from fastapi.responses import StreamingResponse

from stepstream import MessageProgress, MessageTransition, Processor, RunsClient, RunTransition

processor = Processor()


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    async with processor, RunsClient(f"{os.environ['STEPSTREAM_URL']}/v1") as client:
        api.state.client = client
        yield
        await processor.stop()


api = FastAPI(lifespan=lifespan)


@api.post("/questions")
async def ask() -> dict[str, str]:
    question = uuid.uuid4().hex
    source = api.state.client.stream_run(f"thread_{question}", assistant_id="asst_1")
    async with processor.subscribe(RunTransition, context=question) as changes:
        processor.start(source, context=question)
        with anyio.fail_after(30):
            return {"run": (await anext(changes)).run_id}


async def told(run_id: str) -> AsyncIterator[str]:
    classes = MessageProgress, MessageTransition, RunTransition
    async with processor.subscribe(*classes, run_id=run_id, replay=True, overflow="latest") as changes:
        async for change in changes:
            if isinstance(change, RunTransition):
                yield f"event: status\ndata: {json.dumps(change.status)}\n\n"
            else:
                yield f"event: text\ndata: {json.dumps(change.message.text)}\n\n"


@api.get("/runs/{run_id}/events")
async def watch(run_id: str) -> StreamingResponse:
    if run_id not in processor.runs:
        raise HTTPException(404, "no such run, or it ended long ago")
    return StreamingResponse(told(run_id), media_type="text/event-stream")
