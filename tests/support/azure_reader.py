"""Runs read by the handler of azure-ai-agents, and what it told about them on the way."""

from typing import Any, Self

import msgspec
from azure.ai.agents.aio import AgentsClient
from azure.ai.agents.models import (
    AsyncAgentEventHandler,
    MessageDeltaChunk,
    RunStep,
    RunStepDeltaChunk,
    SubmitToolOutputsAction,
    ThreadMessage,
    ThreadRun,
    ToolOutput,
)
from azure.core.credentials import AccessToken, AzureKeyCredential
from azure.core.pipeline.policies import AzureKeyCredentialPolicy

AGENT = "asst_harbour"


class _NoToken:
    """The credential that the client insists on. Its tokens go over TLS only, so a key is sent in their place."""

    async def get_token(self, *scopes: str, **_: object) -> AccessToken:
        raise AssertionError("a token was asked for, though the client has a policy for keys")

    async def close(self) -> None:
        """Close nothing."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close nothing."""


def agents_client(url: str, key: str = "any", **options: Any) -> AgentsClient:
    """Return a client that sends its key in the header `api-key`."""
    policy = AzureKeyCredentialPolicy(AzureKeyCredential(key), "api-key")
    return AgentsClient(
        url,
        _NoToken(),
        authentication_policy=policy,
        use_env_settings=False,
        read_timeout=60,
        retry_backoff_factor=0,
        **options,
    )


class Told(msgspec.Struct):
    """What the handler was told, in order."""

    events: list[str] = []
    runs: list[ThreadRun] = []
    steps: dict[str, RunStep] = {}
    """Steps by id, as they were last told whole."""
    messages: dict[str, ThreadMessage] = {}
    """Messages by id, as they were last told."""
    written: dict[str, str] = {}
    """The text of messages by id, as their deltas make it."""
    grown: list[str] = []
    """The step of each delta."""
    done: int = 0
    strange: list[str] = []
    """What the handler had no callback for."""


class Reader(AsyncAgentEventHandler):
    """The handler of all streams of a run: it answers calls by a stream that it goes on to read.

    Whatever is raised in here, the client only logs: nothing is asserted before the end.
    """

    def __init__(self, client: AgentsClient, told: Told) -> None:
        super().__init__()
        self._client = client
        self._told = told

    async def on_thread_run(self, run: ThreadRun) -> None:
        self._told.runs.append(run)
        if run.status == "requires_action":
            await self._answer(run)

    async def _answer(self, run: ThreadRun) -> None:
        """Answer what the run asks for. The client's releases before 1.2 have no words for approvals, but a body."""
        if isinstance(run.required_action, SubmitToolOutputsAction):
            calls = run.required_action.submit_tool_outputs.tool_calls
            outputs = [ToolOutput(tool_call_id=call.id, output="7 m") for call in calls]
            await self._client.runs.submit_tool_outputs_stream(
                run.thread_id, run.id, tool_outputs=outputs, event_handler=self
            )
            return
        asked: Any = run.required_action["submit_tool_approval"]["tool_calls"]
        approvals = [{"tool_call_id": call["id"], "approve": True} for call in asked]
        body = {"tool_approvals": approvals, "stream": True}
        await self._client.runs.submit_tool_outputs_stream(run.thread_id, run.id, body, event_handler=self, stream=True)

    async def on_run_step(self, step: RunStep) -> None:
        self._told.steps[step.id] = step

    async def on_run_step_delta(self, delta: RunStepDeltaChunk) -> None:
        self._told.grown.append(delta.id)

    async def on_thread_message(self, message: ThreadMessage) -> None:
        self._told.messages[message.id] = message

    async def on_message_delta(self, delta: MessageDeltaChunk) -> None:
        self._told.written[delta.id] = self._told.written.get(delta.id, "") + delta.text

    async def on_done(self) -> None:
        self._told.done += 1

    async def on_error(self, data: str) -> None:
        self._told.strange.append(data)

    async def on_unhandled_event(self, event_type: str, event_data: str) -> None:
        self._told.strange.append(event_type)


async def complete(client: AgentsClient, thread_id: str, **params: str) -> Told:
    """Read a run to its end, and answer every call that it makes on the way."""
    told = Told()
    async with await client.runs.stream(
        thread_id, agent_id=AGENT, event_handler=Reader(client, told), params=params
    ) as stream:
        async for event, _, _ in stream:
            told.events.append(event)
    return told
