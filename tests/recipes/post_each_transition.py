"""A post for each transition, patient with `429 Retry-After`.

A failed call is made again after `backoff`; meanwhile its run waits, and 19 others do not. The buffer fills in the
end, and then the streams wait: nothing is lost.
"""

import os

import anyio
import httpx

from stepstream import Processor, RunTransition, StepTransition, connect


def as_told(attempt: int, failure: Exception) -> float:
    response = getattr(failure, "response", None)  # of httpx.HTTPStatusError
    return float(response.headers.get("retry-after", attempt)) if response is not None else attempt


async def main() -> None:
    async with httpx.AsyncClient(base_url=os.environ["CHAT_URL"]) as chat, Processor() as processor:

        @processor.on(StepTransition, RunTransition, attempts=5, backoff=as_told, concurrency=20)
        async def post(change: StepTransition | RunTransition) -> None:
            what = change.step_id if isinstance(change, StepTransition) else change.run_id
            body = {"text": f"{what}: {change.status}"}
            (await chat.post(f"/channels/{change.context}/messages", json=body)).raise_for_status()

        body = {"model": "gpt-5", "input": "How high is the tide?", "stream": True}
        async with anyio.create_task_group() as tasks:
            for channel in ("harbour", "ferry"):
                stream = connect(f"{os.environ['STEPSTREAM_URL']}/v1/responses", json=body)
                tasks.start_soon(processor.run, stream, channel)


anyio.run(main)
