"""A progress line in a terminal.

Ten times a second is plenty. Who asks for a message's progress and for its transitions gets no progress after its end.
"""

import os

import anyio

from stepstream import MessageProgress, MessageTransition, Processor, RunTransition, StepTransition, connect


async def main() -> None:
    async with Processor() as processor:

        @processor.on(StepTransition, MessageProgress, MessageTransition, RunTransition, min_interval=0.1)
        async def draw(change: StepTransition | MessageProgress | MessageTransition | RunTransition) -> None:
            match change:
                case MessageProgress() | MessageTransition():
                    said = change.message.text[-60:]
                case StepTransition():
                    said = f"{change.type} {change.status}"
                case RunTransition():
                    said = f"run {change.status}"
            said = "".join(one if one.isprintable() else " " for one in said)  # a server may send escape sequences
            is_last = isinstance(change, RunTransition) and change.terminal
            print(f"\r\x1b[K{said}", end="\n" if is_last else "", flush=True)

        body = {"model": "gpt-5", "input": "How high is the tide?", "stream": True}
        await processor.run(connect(f"{os.environ['STEPSTREAM_URL']}/v1/responses", json=body))


anyio.run(main)
