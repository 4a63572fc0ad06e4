"""The clients that programs really use, against the simulator, over real sockets.

Both are asyncio's only. What a client cannot do is a fact in here, too: then the simulator does as the servers do.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any

import anyio
import openai
import pytest
from azure.ai.agents.aio import AgentsClient
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError
from openai import AsyncOpenAI
from openai.types.beta.threads.runs import RunStep

from stepstream.simulator.application import app
from stepstream.simulator.scenario import FunctionCalls, McpCall, Scenario
from stepstream.simulator.scenarios import SCENARIOS
from stepstream.simulator.serving import serve
from tests.support import azure_reader, openai_reader

pytestmark = pytest.mark.filterwarnings("ignore:The Assistants API is deprecated:DeprecationWarning")

KEY = "key-of-the-harbour"
REFUSED = "expected the API key, as a bearer token or in the header api-key"

LATE = frozenset({"mcp"})
"""Here a step's output comes in a delta after its end. The clients' handlers show the step as it was at its end."""

UNTOLD = {"sse-starlette": {"function"}}
"""Types of tool calls that openai's handler tells nobody about: it knows a new call by an index other than that of the
call before, even where that belonged to the step before."""

TOO_BIG = frozenset({"many-deltas", "big-logs"})
"""One client has to do for these: thousands of deltas take it seconds."""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def openai_client(url: str, key: str = "any", **options: Any) -> AsyncOpenAI:
    http = openai.DefaultAsyncHttpxClient(trust_env=False, verify=False, **options)
    return AsyncOpenAI(base_url=f"{url}/v1", api_key=key, http_client=http, timeout=60)


@pytest.fixture
async def by_openai(base_url: str) -> AsyncIterator[AsyncOpenAI]:
    async with openai_client(base_url) as client:
        yield client


@pytest.fixture
async def by_azure(base_url: str) -> AsyncIterator[AgentsClient]:
    async with azure_reader.agents_client(base_url) as client:
        yield client


def stream_of(client: AsyncOpenAI, thread_id: str, **query: str) -> openai_reader.Opening:
    """Return what opens the stream of a new run."""
    runs = client.beta.threads.runs
    return partial(runs.stream, thread_id=thread_id, assistant_id=openai_reader.ASSISTANT, extra_query=query)


async def steps_of(client: AsyncOpenAI, run_id: str, thread_id: str) -> list[RunStep]:
    """Return the steps that `GET …/steps` lists, page by page."""
    pages = client.beta.threads.runs.steps.list(run_id, thread_id=thread_id, order="asc", limit=2)
    return [step async for step in pages]


def calls_of(steps: list[RunStep]) -> dict[str, str]:
    """Return the types of the tool calls of steps, by call id."""
    details = [step.to_dict(warnings=False)["step_details"] for step in steps]
    return {call["id"]: call["type"] for one in details for call in one.get("tool_calls", [])}


def rounds_of(scenario: Scenario) -> int:
    """Return how often a scenario waits for the client."""
    return sum(isinstance(act, FunctionCalls | McpCall) for act in scenario.acts)


BIG = {"big-logs", "many-deltas"}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name in BIG else ()) for name in SCENARIOS]
)
async def test_openai_client_completes_every_scenario(by_openai: AsyncOpenAI, name: str):
    thread = await by_openai.beta.threads.create()
    told = await openai_reader.complete(by_openai, stream_of(by_openai, thread.id, scenario=name))
    run = await by_openai.beta.threads.runs.retrieve(told.run.id, thread_id=thread.id)
    steps = await steps_of(by_openai, run.id, thread.id)
    messages = [message async for message in by_openai.beta.threads.messages.list(thread.id, order="asc", limit=1)]

    assert told.run == run
    assert run.status == SCENARIOS[name].ending.status
    assert len(told.runs) == 1 + rounds_of(SCENARIOS[name])
    assert list(told.created.items()) == [(step.id, step.type) for step in steps]
    assert {step.id: step.status for step in steps} == {step.id: step.status for step in told.done.values()}
    assert name in LATE or [told.done[step.id] for step in steps] == steps
    assert told.texts == told.written == [message.content[0].text.value for message in messages]
    assert told.messages == [message.id for message in messages]
    untold = UNTOLD.get(name, set())
    assert told.calls == {call: type_ for call, type_ in calls_of(steps).items() if type_ not in untold}

    called = told.callbacks
    assert called["on_end"] == len(told.runs)
    assert called["on_exception"] == 0
    assert called["on_run_step_created"] == told.events.count("thread.run.step.created")
    assert called["on_run_step_done"] == len(steps)
    assert called["on_tool_call_created"] >= len(told.calls)
    assert called["on_tool_call_done"] >= called["on_tool_call_created"]
    assert called["on_text_created"] == called["on_text_done"] == called["on_message_done"] == len(messages)
    assert called["on_text_delta"] == told.events.count("thread.message.delta")


async def test_openai_handler_tells_a_function_call_from_its_first_delta_on(by_openai: AsyncOpenAI):
    told = await openai_reader.complete(by_openai, stream_of(by_openai, "thread_landing", scenario="function"))
    assert list(told.calls.values()) == ["function"]
    assert told.callbacks["on_tool_call_created"] == told.callbacks["on_tool_call_done"] == 1
    assert told.callbacks["on_tool_call_delta"] == told.events.count("thread.run.step.delta") - 1
    # the stream after the outputs begins with the end of the step before
    assert told.events[told.events.index("thread.run.requires_action") + 1] == "thread.run.step.completed"


async def test_mcp_output_that_comes_late_is_in_the_step_afterwards(by_openai: AsyncOpenAI):
    told = await openai_reader.complete(by_openai, stream_of(by_openai, "thread_berth", scenario="mcp"))
    listing, calling, answering = await steps_of(by_openai, told.run.id, "thread_berth")
    (call,) = calling.to_dict(warnings=False)["step_details"]["tool_calls"]
    (before,) = told.done[calling.id].to_dict(warnings=False)["step_details"]["tool_calls"]
    assert before == {**call, "output": None}
    assert call["output"] == '{"berth": "N4", "free_until": "Sunday"}'
    assert (told.done[listing.id], told.done[answering.id]) == (listing, answering)


async def test_openai_client_creates_and_lists_threads_and_messages(by_openai: AsyncOpenAI):
    threads = by_openai.beta.threads
    thread = await threads.create(messages=[{"role": "user", "content": "0"}], metadata={"harbour": "north"})
    for number in range(1, 5):
        message = await threads.messages.create(thread.id, role="user", content=str(number))
    assert await threads.retrieve(thread.id) == thread
    assert thread.metadata == {"harbour": "north"}
    assert await threads.messages.retrieve(message.id, thread_id=thread.id) == message
    newest_first = [one.content[0].text.value async for one in threads.messages.list(thread.id, limit=2)]
    assert newest_first == ["4", "3", "2", "1", "0"]


async def test_openai_client_creates_a_thread_and_streams_its_run(by_openai: AsyncOpenAI):
    open_stream = partial(
        by_openai.beta.threads.create_and_run_stream,
        assistant_id=openai_reader.ASSISTANT,
        thread={"messages": [{"role": "user", "content": "How deep is it?"}]},
        extra_query={"scenario": "function"},
    )
    told = await openai_reader.complete(by_openai, open_stream)
    assert told.events[:2] == ["thread.created", "thread.run.created"]
    assert told.run.status == "completed"
    messages = [one async for one in by_openai.beta.threads.messages.list(told.run.thread_id, order="asc")]
    assert [one.content[0].text.value for one in messages] == ["How deep is it?", *told.texts]
    of_run = [one async for one in by_openai.beta.threads.messages.list(told.run.thread_id, run_id=told.run.id)]
    assert of_run == messages[1:]


async def test_openai_client_polls_a_run_and_its_tool_round(by_openai: AsyncOpenAI):
    threads = by_openai.beta.threads
    thread = await threads.create()
    run = await threads.runs.create_and_poll(
        thread_id=thread.id,
        assistant_id=openai_reader.ASSISTANT,
        poll_interval_ms=1,
        extra_query={"scenario": "function"},
    )
    assert run.status == "requires_action"
    ended = await threads.runs.submit_tool_outputs_and_poll(
        run_id=run.id, thread_id=thread.id, tool_outputs=openai_reader.tool_outputs(run), poll_interval_ms=1
    )
    assert (ended.id, ended.status) == (run.id, "completed")
    assert [one async for one in threads.runs.list(thread.id)] == [ended]
    first, last = await steps_of(by_openai, run.id, thread.id)
    assert first.step_details.tool_calls[0].function.output == "get_depth: 7 m"
    assert await threads.runs.steps.retrieve(last.id, run_id=run.id, thread_id=thread.id) == last


async def test_openai_client_cancels_a_run_that_waits(by_openai: AsyncOpenAI):
    runs = by_openai.beta.threads.runs
    run = await runs.create_and_poll(
        thread_id="thread_left",
        assistant_id=openai_reader.ASSISTANT,
        poll_interval_ms=1,
        extra_query={"scenario": "function"},
    )
    assert (await runs.cancel(run.id, thread_id="thread_left")).status == "cancelling"
    assert (await runs.poll(run.id, "thread_left", poll_interval_ms=1)).status == "cancelled"
    assert [step.status for step in await steps_of(by_openai, run.id, "thread_left")] == ["cancelled"]
    with pytest.raises(openai.BadRequestError, match="expected a run that can be cancelled, got one that is cancelled"):
        await runs.cancel(run.id, thread_id="thread_left")


async def test_openai_client_cancels_a_run_while_it_reads_its_stream(by_openai: AsyncOpenAI):
    told = openai_reader.Told()
    query = {"scenario": "many-deltas", "pace": "500"}
    opened = stream_of(by_openai, "thread_recalled", **query)(event_handler=openai_reader.Reader(told))
    with anyio.fail_after(60):
        async with opened as stream:
            async for event in stream:
                if event.event == "thread.run.step.created":
                    await by_openai.beta.threads.runs.cancel(event.data.run_id, thread_id="thread_recalled")
            run = await stream.get_final_run()
    assert run.status == "cancelled"
    assert told.events[-3:] == ["thread.run.cancelling", "thread.run.step.cancelled", "thread.run.cancelled"]
    assert await by_openai.beta.threads.runs.retrieve(run.id, thread_id="thread_recalled") == run


async def test_openai_client_is_told_what_is_not_there(by_openai: AsyncOpenAI):
    with pytest.raises(openai.NotFoundError, match="no run found with id 'run_none' on thread 'thread_none'") as caught:
        await by_openai.beta.threads.runs.retrieve("run_none", thread_id="thread_none")
    assert (caught.value.param, caught.value.type) == ("run_id", "invalid_request_error")


@pytest.mark.parametrize(("fault", "status"), [("server-error", 500), ("rate-limit=0", 429)])
async def test_openai_client_tries_again_by_itself(base_url: str, fault: str, status: int):
    statuses: list[int] = []

    async def note(response: Any) -> None:
        statuses.append(response.status_code)

    async with openai_client(base_url, event_hooks={"response": [note]}) as client:
        open_stream = stream_of(client, f"thread_{status}", scenario="message", fault=fault)
        told = await openai_reader.complete(client, open_stream)
    assert statuses == [status, 200]
    assert told.run.status == "completed"


@pytest.mark.parametrize("name", sorted(SCENARIOS.keys() - TOO_BIG - {"sse-starlette"}))
async def test_azure_client_completes_the_scenarios(by_azure: AgentsClient, name: str):
    thread = await by_azure.threads.create()
    told = await azure_reader.complete(by_azure, thread.id, scenario=name)
    run = await by_azure.runs.get(thread.id, told.runs[-1].id)
    steps = [step async for step in by_azure.run_steps.list(thread.id, run.id, order="asc", limit=2)]
    messages = [message async for message in by_azure.messages.list(thread.id, order="asc", limit=1)]

    assert run.status == told.runs[-1].status == SCENARIOS[name].ending.status
    assert (run.usage, run.created_at) == (told.runs[-1].usage, told.runs[-1].created_at)
    assert told.done == 1 + rounds_of(SCENARIOS[name])
    assert told.events.count("done") == told.done
    assert told.strange == []
    facts = [(step.id, step.type, step.status, step.created_at, step.usage) for step in steps]
    assert [(one.id, one.type, one.status, one.created_at, one.usage) for one in told.steps.values()] == facts
    assert name in LATE or [one.step_details for one in told.steps.values()] == [step.step_details for step in steps]
    assert len(told.grown) == told.events.count("thread.run.step.delta")
    assert set(told.grown) == {step.id for step in steps if step.type == "tool_calls"}
    texts = {message.id: "".join(part.text.value for part in message.text_messages) for message in messages}
    assert told.written == texts
    assert {one.id: one.status for one in told.messages.values()} == {one.id: one.status for one in messages}


async def test_azure_client_reads_nothing_but_done_where_lines_end_in_cr_lf(by_azure: AgentsClient):
    """It splits at LF LF only: the whole stream is one event to it, that of its last lines."""
    told = await azure_reader.complete(by_azure, "thread_crlf", scenario="sse-starlette")
    assert told == azure_reader.Told(events=["done"], done=1)
    (run,) = [run async for run in by_azure.runs.list("thread_crlf")]
    assert run.status == "requires_action"


async def test_azure_client_cancels_a_run_that_waits(by_azure: AgentsClient):
    run = await by_azure.runs.create(
        "thread_off", agent_id=azure_reader.AGENT, params={"scenario": "parallel-functions"}
    )
    assert (await by_azure.runs.get("thread_off", run.id)).status == "requires_action"
    assert (await by_azure.runs.cancel("thread_off", run.id)).status == "cancelling"
    assert (await by_azure.runs.get("thread_off", run.id)).status == "cancelled"
    assert [step.status async for step in by_azure.run_steps.list("thread_off", run.id)] == ["cancelled"]


async def test_azure_client_finds_the_last_answer_on_a_new_thread(by_azure: AgentsClient):
    run = await by_azure.create_thread_and_run(agent_id=azure_reader.AGENT, params={"scenario": "message"})
    asked = await by_azure.messages.create(run.thread_id, role="user", content="And at high tide?")
    answer = await by_azure.messages.get_last_message_text_by_role(run.thread_id, role="assistant")
    assert answer is not None
    assert answer.text.value.startswith("The harbour is deepest at the north pier")
    assert (await by_azure.messages.get(run.thread_id, asked.id)).text_messages[0].text.value == "And at high tide?"


async def test_azure_client_tries_again_by_itself(base_url: str, by_azure: AgentsClient):
    query = {"scenario": "message", "fault": "server-error"}
    told = await azure_reader.complete(by_azure, "thread_broken", **query)
    assert told.runs[-1].status == "completed"
    async with azure_reader.agents_client(base_url, retry_total=0) as client:
        with pytest.raises(HttpResponseError, match="the server had an error while processing your request"):
            await azure_reader.complete(client, "thread_broken", **query)


Connect = Callable[[str, str], AbstractAsyncContextManager[Any]]


async def _create_thread(client: AsyncOpenAI | AgentsClient) -> str:
    threads = client.threads if isinstance(client, AgentsClient) else client.beta.threads
    return (await threads.create()).id


@pytest.mark.parametrize(
    ("connect", "refusal"),
    [
        pytest.param(openai_client, openai.AuthenticationError, id="openai"),
        pytest.param(azure_reader.agents_client, ClientAuthenticationError, id="azure"),
    ],
)
async def test_api_key_is_required(connect: Connect, refusal: type[Exception]):
    async with serve(app(pace="fast", api_key=KEY)) as url:
        async with connect(url, KEY) as client:
            assert await _create_thread(client) == "thread_sim1"
        async with connect(url, "another-key") as client:
            with pytest.raises(refusal, match=REFUSED) as caught:
                await _create_thread(client)
    assert caught.value.status_code == 401
