"""A server of Microsoft's own package for the Responses protocol, whose agent does what its input says.

    python -m tests.support.agent_host PORT

It needs azure-ai-agentserver-responses, which brings much with it: whoever runs it has installed that.
"""

import sys
from collections.abc import AsyncIterator, Iterator
from typing import Any

import anyio
from azure.ai.agentserver.responses import ResponseEventStream, ResponsesAgentServerHost

WORDS = 20

app = ResponsesAgentServerHost()


@app.response_handler
async def handler(request: Any, context: Any, cancelled: Any) -> AsyncIterator[Any]:
    stream = ResponseEventStream(response_id=context.response_id, request=request)
    yield stream.emit_created()
    yield stream.emit_in_progress()
    items = await context.get_input_items()
    outputs = [str(one["output"]) for one in items if one.get("type") == "function_call_output"]
    text = "" if outputs else await context.get_input_text()
    if text == "crash":
        raise RuntimeError("the agent has crashed")
    for event in thought(stream, text):
        yield event
    if text != "tools":
        async for event in said(stream, outputs, 0.05 if text == "slowly" else 0.0, cancelled):
            yield event
    if not cancelled.is_set():
        yield stream.emit_incomplete(reason="max_output_tokens") if text == "incomplete" else stream.emit_completed()


def thought(stream: ResponseEventStream, text: str) -> Iterator[Any]:
    """Yield what comes before the message."""
    if text == "tools":
        for number in range(3):
            yield from stream.output_item_function_call("double", f"call_{number}", f'{{"n": {number}}}')
    if text == "reasoning":
        yield from stream.output_item_reasoning_item("Four metres are enough.")


async def said(stream: ResponseEventStream, outputs: list[str], pause: float, cancelled: Any) -> AsyncIterator[Any]:
    """Yield the message, which ends with the outputs of calls."""
    message = stream.add_output_item_message()
    yield message.emit_added()
    part = message.add_text_content()
    yield part.emit_added()
    for number in range(WORDS):
        await anyio.sleep(pause)
        if cancelled.is_set():
            return
        yield part.emit_delta(f"w{number} ")
    if outputs:
        yield part.emit_delta(" ".join(outputs))
    yield part.emit_text_done()
    yield part.emit_done()
    yield message.emit_done()


if __name__ == "__main__":
    app.run(host="127.0.0.1", port=int(sys.argv[1]))
