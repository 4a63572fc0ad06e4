"""The openai SDK kept for everything but the stream: its client asks and answers, stepstream reads and calls tools.

Keys, retries, proxies and parameters stay the client's. A toolbox gives the definitions, checks the arguments and makes
the calls of a round side by side. What is sent back is one item a call.
"""

import os
from typing import Annotated, Literal

import anyio
from openai import AsyncOpenAI

from stepstream import Processor, StepTransition, Toolbox, ToolContext

tools = Toolbox(timeout=20, strict=True)


@tools.function
async def get_depth(
    place: Annotated[str, "a pier or a buoy"], context: ToolContext, tide: Literal["low", "high"] = "low"
) -> float:
    """The depth of water, in metres."""
    print(f"{context.context} asks for {place}")
    return 7.2 if tide == "high" else 4.1


async def answered(client: AsyncOpenAI, processor: Processor, question: str, user: str) -> str:
    """Return the answer to a question, after as many rounds of tools as it takes."""
    asking = {"model": "gpt-5", "tools": tools.definitions("responses"), "stream": True}
    outcome = await processor.run(await client.responses.create(input=question, **asking), context=user)
    while outcome.required_action:
        calls, run, steps = outcome.required_action.tool_calls, outcome.run, outcome.final_steps
        outputs = await tools.outputs(calls, run_id=run.id, steps=steps, context=user)
        items = [
            {"type": "function_call_output", "call_id": call_id, "output": text} for call_id, text in outputs.items()
        ]
        following = await client.responses.create(input=items, previous_response_id=run.id, **asking)
        outcome = await processor.run(following, context=user)
    return outcome.text


async def main() -> None:
    client = AsyncOpenAI(base_url=f"{os.environ['STEPSTREAM_URL']}/v1", api_key="none")
    async with client, Processor() as processor:

        @processor.on(StepTransition, terminal=True)
        async def tell(change: StepTransition) -> None:
            print(change.context, change.type, change.status)

        print(await answered(client, processor, "How deep is it at the north pier?", "ann"))


anyio.run(main)
