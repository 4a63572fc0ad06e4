"""Runs read by openai-python's own handler, and what it told about them on the way."""

from collections import Counter
from typing import Any, Protocol

import msgspec
from openai import AsyncAssistantEventHandler, AsyncOpenAI
from openai.lib.streaming import AsyncAssistantStreamManager
from openai.types.beta.threads import Message, Run, Text, TextDelta
from openai.types.beta.threads.runs import RunStep, ToolCall, ToolCallDelta

ASSISTANT = "asst_harbour"


class Told(msgspec.Struct):
    """What the handlers of a run's streams were told, in order."""

    events: list[str] = []
    callbacks: Counter[str] = msgspec.field(default_factory=Counter)
    created: dict[str, str] = {}
    """Steps by id: their types."""
    done: dict[str, RunStep] = {}
    """Steps by id, as they were when they ended."""
    calls: dict[str, str] = {}
    """Tool calls by id: their types."""
    written: list[str] = []
    """The text of each message, as its deltas make it."""
    texts: list[str] = []
    """The text of each message, as it was when it ended."""
    messages: list[str] = []
    """The ids of ended messages."""
    runs: list[Run] = []
    """The run at the end of each stream."""

    @property
    def run(self) -> Run:
        """The run as the last stream left it."""
        return self.runs[-1]


class Reader(AsyncAssistantEventHandler):
    """One stream's handler: openai's takes no second one."""

    def __init__(self, told: Told) -> None:
        super().__init__()
        self._told = told

    async def on_event(self, event: Any) -> None:
        self._told.events.append(event.event)

    async def on_run_step_created(self, run_step: RunStep) -> None:
        self._told.callbacks["on_run_step_created"] += 1
        self._told.created[run_step.id] = run_step.type

    async def on_run_step_done(self, run_step: RunStep) -> None:
        self._told.callbacks["on_run_step_done"] += 1
        self._told.done[run_step.id] = run_step

    async def on_tool_call_created(self, tool_call: ToolCall) -> None:
        self._told.callbacks["on_tool_call_created"] += 1
        self._told.calls[tool_call.id] = tool_call.type

    async def on_tool_call_delta(self, delta: ToolCallDelta, snapshot: ToolCall) -> None:
        self._told.callbacks["on_tool_call_delta"] += 1

    async def on_tool_call_done(self, tool_call: ToolCall) -> None:
        self._told.callbacks["on_tool_call_done"] += 1

    async def on_message_created(self, message: Message) -> None:
        self._told.callbacks["on_message_created"] += 1
        self._told.written.append("")

    async def on_text_created(self, text: Text) -> None:
        self._told.callbacks["on_text_created"] += 1

    async def on_text_delta(self, delta: TextDelta, snapshot: Text) -> None:
        self._told.callbacks["on_text_delta"] += 1
        self._told.written[-1] += delta.value or ""

    async def on_text_done(self, text: Text) -> None:
        self._told.callbacks["on_text_done"] += 1
        self._told.texts.append(text.value)

    async def on_message_done(self, message: Message) -> None:
        self._told.callbacks["on_message_done"] += 1
        self._told.messages.append(message.id)

    async def on_exception(self, exception: Exception) -> None:
        self._told.callbacks["on_exception"] += 1

    async def on_end(self) -> None:
        self._told.callbacks["on_end"] += 1


class Opening(Protocol):
    """Opens a stream that the given handler reads."""

    def __call__(self, *, event_handler: Reader) -> AsyncAssistantStreamManager[Reader]: ...


async def complete(client: AsyncOpenAI, open_stream: Opening) -> Told:
    """Read a run to its end, and answer every call that it makes on the way."""
    told = Told()
    async with open_stream(event_handler=Reader(told)) as stream:
        told.runs.append(await stream.get_final_run())
    while told.run.status == "requires_action":
        async with _answered(client, told.run, Reader(told)) as stream:
            told.runs.append(await stream.get_final_run())
    return told


def _answered(client: AsyncOpenAI, run: Run, reader: Reader) -> AsyncAssistantStreamManager[Reader]:
    """Answer what the run asks for. Approvals are Azure's: openai's client sends them as fields it does not know."""
    assert run.required_action is not None
    action = run.required_action.to_dict(warnings=False)
    body: dict[str, Any] | None = None
    outputs = []
    if action["type"] == "submit_tool_approval":
        asked = action["submit_tool_approval"]["tool_calls"]
        body = {"tool_outputs": None, "tool_approvals": [{"tool_call_id": one["id"], "approve": True} for one in asked]}
    else:
        outputs = tool_outputs(run)
    return client.beta.threads.runs.submit_tool_outputs_stream(
        thread_id=run.thread_id, run_id=run.id, tool_outputs=outputs, event_handler=reader, extra_body=body
    )


def tool_outputs(run: Run) -> list[Any]:
    """Return an output for every function call that the run waits for."""
    assert run.required_action is not None
    calls = run.required_action.submit_tool_outputs.tool_calls
    return [{"tool_call_id": call.id, "output": f"{call.function.name}: 7 m"} for call in calls]
