"""One message a run, edited at most once a second.

All texts of a stream count as one (`coalesce_by`): the newest state is sent when the second is over, and again where it
was refused. A call takes its time on the way, hence the tenth. The end is posted whatever becomes of the stream.
"""

import os
from contextlib import suppress

import anyio
import httpx

from stepstream import MessageProgress, Processor, StepStreamError, connect


async def main() -> None:
    async with httpx.AsyncClient(base_url=os.environ["CHAT_URL"]) as chat, Processor() as processor:

        async def edit(channel: str, text: str) -> None:
            (await chat.put(f"/channels/{channel}/messages/1", json={"text": text})).raise_for_status()

        @processor.on(MessageProgress, min_interval=1.1, coalesce_by="context", concurrency=20, attempts=5)
        async def show(change: MessageProgress) -> None:
            await edit(change.context, f"[…] {change.message.text}")

        async def answer(channel: str) -> None:
            body = {"model": "gpt-5", "input": "How high is the tide?", "stream": True}
            try:
                stream = connect(f"{os.environ['STEPSTREAM_URL']}/v1/responses", json=body)
                outcome = await processor.run(stream, context=channel)
                end = f"[{outcome.status}] {outcome.text}"
            except StepStreamError as broken:
                end = f"[broken: {type(broken).__name__}] "
            for _ in range(60):  # a platform that is down is given up
                await anyio.sleep(1.1)
                with suppress(httpx.HTTPError):
                    await edit(channel, end)
                    break

        async with anyio.create_task_group() as tasks:
            for channel in ("harbour", "ferry"):
                tasks.start_soon(answer, channel)


anyio.run(main)
