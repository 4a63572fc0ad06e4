"""Every transition as a JSON line.

`"block"`, the usual overflow, is lossless, and `timeout=None` waits for a slow disk. Leaving the processor's block
waits for the streams and for the last line. `decode_change(line)` reads a line back; with `snapshot=True`,
`encode_change` writes the object too.
"""

import os

import anyio

from stepstream import MessageTransition, Processor, RunTransition, StepTransition, connect, encode_change


async def main() -> None:
    body = {"model": "gpt-5", "input": "How high is the tide?", "stream": True}
    async with await anyio.open_file("transitions.jsonl", "ab", buffering=0) as lines, Processor() as processor:

        @processor.on(RunTransition, StepTransition, MessageTransition, timeout=None)
        async def write(change: RunTransition | StepTransition | MessageTransition) -> None:
            await lines.write(encode_change(change) + b"\n")

        for _ in range(3):
            processor.start(connect(f"{os.environ['STEPSTREAM_URL']}/v1/responses", json=body))


anyio.run(main)
