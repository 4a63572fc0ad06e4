"""A bot whose framework has a hook to start and one to stop, as discord.py has, and a handler for each message.

An `async with` block must be left by the task that entered it, which two hooks cannot promise. So the processor lives
in a task of its own. It may be opened again: subscribers stay, what was known is forgotten.
"""

import asyncio
import os

from stepstream import Processor, StepTransition, connect


class Bot:
    """What a framework calls: `setup_hook`, `on_message`, `close`."""

    def __init__(self) -> None:
        self.processor = Processor()
        self.processor.add(StepTransition, self.show, status="completed")

    async def setup_hook(self) -> None:
        self.task = asyncio.create_task(self.processor.keep_open())
        await self.processor.ready()

    async def on_message(self, channel: str, text: str) -> None:
        body = {"model": "gpt-5", "input": text, "stream": True}
        stream = connect(f"{os.environ['STEPSTREAM_URL']}/v1/responses", json=body)
        outcome = await self.processor.run(stream, context=channel)
        print(f"{channel}: {outcome.text}")  # a framework has channel.send()

    async def show(self, change: StepTransition) -> None:
        print(f"{change.context}: {change.type} {change.status}")

    async def close(self) -> None:
        await self.processor.stop()
        await self.task


async def main() -> None:
    bot = Bot()
    await bot.setup_hook()
    await bot.on_message("#harbour", "How high is the tide?")
    await bot.close()


asyncio.run(main())
