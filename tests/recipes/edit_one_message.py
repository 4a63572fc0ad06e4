"""One message a run, edited at most once a second.

The hook only notes what came; the text is made when it is sent. The last state is posted whatever becomes of the
stream, and an edit that was refused is made again.
"""

import os
from contextlib import suppress

import anyio
import httpx

from stepstream import MessageProgress, Processor, RunTransition, StepStreamError, StepTransition, connect


class Post:
    def __init__(self, channel: str) -> None:
        self.path, self.status, self.answer, self.is_final = f"/channels/{channel}/messages/1", "…", None, False

    def text(self) -> str:
        return f"[{self.status}] {self.answer.message.text if self.answer else ''}"

    async def keep(self, chat: httpx.AsyncClient) -> None:
        shown = None
        while True:
            if (text := self.text()) != shown:
                with suppress(httpx.HTTPError):  # the next second brings the next attempt
                    (await chat.put(self.path, json={"text": text})).raise_for_status()
                    shown = text
            if self.is_final and shown == self.text():
                return
            await anyio.sleep(1)


async def answer(processor: Processor, chat: httpx.AsyncClient, channel: str) -> None:
    post, body = Post(channel), {"model": "gpt-5", "input": "How high is the tide?", "stream": True}
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(post.keep, chat)
        try:
            stream = connect(f"{os.environ['STEPSTREAM_URL']}/v1/responses", json=body)
            await processor.run(stream, context=post)
        except StepStreamError as broken:
            post.status = f"broken: {type(broken).__name__}"
        post.is_final = True
        tasks.cancel_scope.deadline = anyio.current_time() + 60  # a platform that is down is given up


async def main() -> None:
    async with httpx.AsyncClient(base_url=os.environ["CHAT_URL"]) as chat, Processor() as processor:

        @processor.on(StepTransition, MessageProgress, RunTransition)
        async def note(change: StepTransition | MessageProgress | RunTransition) -> None:
            if isinstance(change, MessageProgress):
                change.context.answer = change  # its message is read when it is posted
            else:
                change.context.status = change.status

        async with anyio.create_task_group() as tasks:
            for channel in ("harbour", "ferry"):
                tasks.start_soon(answer, processor, chat, channel)


anyio.run(main)
