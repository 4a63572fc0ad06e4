"""The openai client makes the request, stepstream reads the answer: keys, retries and proxies stay the client's.

A function call is answered by hand: its output goes into the next request, which names the response before it. That
continues the same run, so the second stream is folded into it.
"""

import os

import anyio
from openai import AsyncOpenAI

from stepstream import Processor, ToolCallFinished

TOOL = {
    "type": "function",
    "name": "get_weather",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
}


async def main() -> None:
    client = AsyncOpenAI(base_url=f"{os.environ['STEPSTREAM_URL']}/v1", api_key="none")
    async with client, Processor() as processor:

        @processor.on(ToolCallFinished)
        async def tell(change: ToolCallFinished) -> None:
            print(change.name, change.call.function.arguments)

        asked = {"model": "gpt-5", "tools": [TOOL], "stream": True}
        stream = await client.responses.create(input="Do I need an umbrella?", **asked)
        outcome = await processor.run(stream)
        while outcome.required_action:
            calls = outcome.required_action.submit_tool_outputs.tool_calls
            outputs = [{"type": "function_call_output", "call_id": one.id, "output": '"rain"'} for one in calls]
            stream = await client.responses.create(input=outputs, previous_response_id=outcome.run.id, **asked)
            outcome = await processor.run(stream)
        print(outcome.status, outcome.text)


anyio.run(main)
