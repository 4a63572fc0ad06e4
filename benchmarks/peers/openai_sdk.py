"""openai-python: `AsyncAssistantEventHandler` behind its real client, over HTTP or with a transport in memory.

What it can hold, and what is checked:
- `get_final_run_steps()` gives the snapshots built from the deltas. A terminal object is never folded into them: their
  status stays "in_progress", and a function's output, which only the terminal object carries, is missing.
- A terminal object itself goes to `on_run_step_done` only, so it is kept from there.
So what deltas build is compared on the snapshots, and the whole step on the terminal object. Of a message the terminal
object replaces the snapshot, so what its deltas build is kept by a second listener, off the clock.
"""

import importlib
import warnings
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Final

from openai import AsyncAssistantEventHandler, AsyncOpenAI, DefaultAsyncHttpxClient
from openai.types.beta.threads import Message, MessageDelta
from openai.types.beta.threads.runs import RunStep, RunStepDelta

from benchmarks.expected import texts
from benchmarks.writer import Workload


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
        self.created.append(run_step.id)

    async def on_run_step_done(self, run_step: RunStep) -> None:
        self.done.append(run_step)


class Keeper(AsyncAssistantEventHandler):
    """Keep the last snapshot of each message before its terminal object."""

    def __init__(self) -> None:
        super().__init__()
        self.built: dict[str, Message] = {}

    async def on_message_delta(self, delta: MessageDelta, snapshot: Message) -> None:
        self.built[snapshot.id] = snapshot.model_copy()


@dataclass
class Result:
    """What the handler holds at the end of the stream."""

    listener: Listener
    steps: list[RunStep]
    messages: list[Message]


def prepare(load: Workload) -> AsyncOpenAI:
    """Return a client whose every request is answered with the workload."""
    http, chunks = _http(), load.chunks

    def answer(request: Any) -> Any:
        return http.Response(200, headers={"content-type": "text/event-stream"}, content=_body(chunks))

    return _client("http://127.0.0.1/v1", http.AsyncClient(transport=http.MockTransport(answer), trust_env=False))


def connect_to(url: str) -> AsyncOpenAI:
    return _client(url, None)


def _client(url: str, http_client: Any) -> AsyncOpenAI:
    return AsyncOpenAI(api_key="none", base_url=url, max_retries=0, http_client=http_client)


async def run(client: AsyncOpenAI) -> Result:
    listener = await read(client, Listener())
    # after the stream these give what is there; where none is, they raise
    steps = await listener.get_final_run_steps()
    messages = await listener.get_final_messages() if _has_messages(listener) else []
    return Result(listener, steps, messages)


async def read(client: AsyncOpenAI, listener: Any) -> Any:
    """Read one stream to its end with the listener, and return it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the Assistants API is deprecated, which is known here
        manager = client.beta.threads.runs.stream(
            thread_id="thread_bench", assistant_id="asst_bench", event_handler=listener
        )
        async with manager as handler:
            await handler.until_done()
    await client.close()
    return listener


async def listen(client: AsyncOpenAI, note: Callable[[str], None]) -> str:
    """Call `note` with what each delta adds to a function's arguments, and return them."""

    class Teller(AsyncAssistantEventHandler):
        async def on_run_step_delta(self, delta: RunStepDelta, snapshot: RunStep) -> None:
            note(delta.step_details.tool_calls[0].function.arguments)

    (step,) = await (await read(client, Teller())).get_final_run_steps()
    return step.step_details.tool_calls[0].function.arguments


def _has_messages(listener: Listener) -> bool:
    return any(step.type == "message_creation" for step in listener.done)


def check(load: Workload, result: Result) -> int:
    run = result.listener.current_run
    assert run is not None
    assert run.status == "completed"
    assert result.listener.created == [step["id"] for step in load.steps]
    assert texts(_as_wire(result.steps)) == texts(load.steps)
    assert sorted(_as_wire(result.listener.done), key=_id) == sorted(load.steps, key=_id)
    assert _as_wire(result.messages) == list(load.messages)
    return len(load.events)


async def verify(load: Workload) -> None:
    """Check what the deltas of messages build: keeping every snapshot would cost the timed pass."""
    keeper = await read(prepare(load), Keeper())
    assert texts(_as_wire(list(keeper.built.values()))) == texts(load.messages)


def _as_wire(models: list[Any]) -> list[dict[str, Any]]:
    return [model.to_dict(mode="json") for model in models]


def _id(step: dict[str, Any]) -> str:
    return step["id"]


async def _body(chunks: tuple[bytes, ...]) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk
