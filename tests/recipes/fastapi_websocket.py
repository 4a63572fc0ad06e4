"""A FastAPI app that sends each piece of an answer, and each step, to the browser that asked, by a WebSocket.

One processor serves all requests: the app's lifespan opens it. A callback finds its socket in `context`. Where the
stream breaks, `run` raises in the endpoint; where the browser goes, its next call fails, and the run's stream is left.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, WebSocket

from stepstream import MessageProgress, Processor, StepStreamError, StepTransition, connect

processor = Processor()


@processor.on(StepTransition, MessageProgress)
async def send(change: StepTransition | MessageProgress) -> None:
    socket: WebSocket = change.context
    if isinstance(change, StepTransition):
        await socket.send_json({"step": change.step_id, "type": change.type, "status": change.status})
        return
    for part in change.delta.content:
        if part.text:
            await socket.send_json({"text": part.text.value})


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    async with processor:
        yield


api = FastAPI(lifespan=lifespan)


@api.websocket("/ask")
async def ask(socket: WebSocket) -> None:
    await socket.accept()
    body = {"model": "gpt-5", "input": await socket.receive_text(), "stream": True}
    try:
        outcome = await processor.run(connect(f"{os.environ['STEPSTREAM_URL']}/v1/responses", json=body), socket)
        await socket.send_json({"status": outcome.status})
    except StepStreamError as broken:
        await socket.send_json({"error": str(broken)})
    await socket.close()
