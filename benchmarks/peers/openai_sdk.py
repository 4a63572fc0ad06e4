"""openai-python: `AsyncAssistantEventHandler` behind its real client, whose transport answers from memory.

What it can hold, and what is checked:
- `get_final_run_steps()` gives the snapshot built from the deltas. The terminal object is never folded into it: its
  status stays "in_progress", and the function's output, which only the terminal object carries, is missing.
- The terminal object itself goes to `on_run_step_done` only, so it is kept from there.
So the arguments are compared twice, and the rest of the step on the terminal object alone.
"""

import importlib
import warnings
from collections.abc import AsyncIterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Final

from openai import AsyncAssistantEventHandler, AsyncOpenAI, DefaultAsyncHttpxClient
from openai.types.beta.threads.runs import RunStep

from benchmarks.workloads import Workload


def _http() -> ModuleType:
    """Return the HTTP package this openai-python is built on: httpx, or from some version on httpx2."""
    (client,) = (base for base in DefaultAsyncHttpxClient.__mro__ if base.__name__ == "AsyncClient")
    return importlib.import_module(client.__module__.partition(".")[0])


PACKAGES: Final = ("openai", _http().__name__, "pydantic")


class Listener(AsyncAssistantEventHandler):
    """Listen to the two step transitions that have a hook, as stepstream's subscriber does."""

    def __init__(self) -> None:
        super().__init__()
        self.created: list[str] = []
        self.done: list[RunStep] = []

    async def on_run_step_created(self, run_step: RunStep) -> None:
        self.created.append(run_step.status)

    async def on_run_step_done(self, run_step: RunStep) -> None:
        self.done.append(run_step)


@dataclass
class Result:
    """What the handler holds at the end of the stream."""

    listener: Listener
    steps: list[RunStep]


def prepare(load: Workload) -> AsyncOpenAI:
    """Return a client whose every request is answered with the workload."""
    http = _http()

    def answer(request: Any) -> Any:
        return http.Response(200, headers={"content-type": "text/event-stream"}, content=_body(load.chunks))

    client = http.AsyncClient(transport=http.MockTransport(answer), trust_env=False)
    return AsyncOpenAI(api_key="none", base_url="http://127.0.0.1/v1", max_retries=0, http_client=client)


async def run(client: AsyncOpenAI) -> Result:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the Assistants API is deprecated, which is known here
        manager = client.beta.threads.runs.stream(
            thread_id="thread_bench", assistant_id="asst_bench", event_handler=Listener()
        )
        async with manager as listener:
            steps = await listener.get_final_run_steps()
    await client.close()
    return Result(listener, steps)


def check(load: Workload, result: Result) -> int:
    run = result.listener.current_run
    assert run is not None
    assert run.status == "completed"
    assert result.listener.created == ["in_progress"]
    assert [_arguments(step.to_dict()) for step in result.steps] == [_arguments(step) for step in load.steps]
    assert [step.to_dict() for step in result.listener.done] == list(load.steps)
    return len(load.events)


def _arguments(step: dict[str, Any]) -> list[str]:
    return [call["function"]["arguments"] for call in step["step_details"]["tool_calls"]]


async def _body(chunks: tuple[bytes, ...]) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk
