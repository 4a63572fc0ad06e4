"""azure-ai-agents: `AsyncAgentEventHandler` in its own stream, on bytes in memory; none of its HTTP pipeline.

It does not fold: it makes an object of each event, calls its hook and forgets it. So what is checked is what its hooks
were given: the terminal objects, the number of deltas, and, off the clock, that the pieces in them add up. A block that
holds a comment only, as servers send to keep a connection alive, ends its stream with a `ValueError`: it cannot read
`keep_alive_comments`.
"""

from collections.abc import AsyncIterator
from typing import Any, Final

from azure.ai.agents.models import (
    AsyncAgentEventHandler,
    AsyncAgentRunStream,
    MessageDeltaChunk,
    RunStep,
    RunStepDeltaChunk,
    ThreadMessage,
    ThreadRun,
)

from benchmarks.expected import Fields, add_pieces, grown, joined, without_nulls
from benchmarks.writer import DELTAS, Workload

PACKAGES: Final = ("azure-ai-agents", "azure-core")


class Listener(AsyncAgentEventHandler):
    """Listen to steps, as stepstream's subscriber does; the rest is for the check."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[RunStep] = []
        self.messages: list[ThreadMessage] = []
        self.deltas = 0
        self.run_status = ""
        self.is_done = False

    async def on_run_step(self, step: RunStep) -> None:
        self.steps.append(step)

    async def on_run_step_delta(self, delta: RunStepDeltaChunk) -> None:
        self.deltas += 1

    async def on_message_delta(self, delta: MessageDeltaChunk) -> None:
        self.deltas += 1

    async def on_thread_message(self, message: ThreadMessage) -> None:
        self.messages.append(message)

    async def on_thread_run(self, run: ThreadRun) -> None:
        self.run_status = str(run.status.value if hasattr(run.status, "value") else run.status)

    async def on_done(self) -> None:
        self.is_done = True


class Keeper(Listener):
    """Keep what the deltas added."""

    def __init__(self) -> None:
        super().__init__()
        self.added: dict[str, Fields] = {}

    async def on_run_step_delta(self, delta: RunStepDeltaChunk) -> None:
        self._keep(delta)

    async def on_message_delta(self, delta: MessageDeltaChunk) -> None:
        self._keep(delta)

    def _keep(self, delta: RunStepDeltaChunk | MessageDeltaChunk) -> None:
        add_pieces(self.added, delta.as_dict())


def prepare(load: Workload) -> tuple[bytes, ...]:
    return load.chunks


async def run(chunks: tuple[bytes, ...]) -> Listener:
    stream = AsyncAgentRunStream(_body(chunks), _submit_nothing, Listener())
    async with stream as listener:
        await listener.until_done()
    return listener


def check(load: Workload, listener: Listener) -> int:
    assert listener.is_done
    assert listener.run_status == "completed"
    assert listener.deltas == sum(name in DELTAS for name in load.events)
    done = [_as_wire(step) for step in listener.steps if step.status == "completed"]
    assert sorted(done, key=_id) == sorted(map(without_nulls, load.steps), key=_id)
    messages = [_as_wire(message) for message in listener.messages if message.status == "completed"]
    assert messages == [without_nulls(message) for message in load.messages]
    return len(load.events)


async def verify(load: Workload) -> None:
    """Check the pieces that the deltas carry: keeping them would cost the timed pass memory."""
    stream = AsyncAgentRunStream(_body(load.chunks), _submit_nothing, Keeper())
    async with stream as listener:
        await listener.until_done()
    assert joined(listener.added) == grown(load)


def _as_wire(model: Any) -> dict[str, Any]:
    """Return a model as it came, but for nulls: azure-ai-agents renames two keys as it reads, and drops nulls."""
    names = {"expired_at": "expires_at", "agent_id": "assistant_id"}
    if isinstance(model, ThreadMessage):
        names.pop("expired_at")
    return {names.get(key, key): value for key, value in model.as_dict().items()}


def _id(step: dict[str, Any]) -> str:
    return step["id"]


async def _submit_nothing(*arguments: Any) -> list[Any]:
    return []


async def _body(chunks: tuple[bytes, ...]) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk
