"""The clients of the Responses API that programs really use, against the simulator, over real sockets.

Both are asyncio's only. `tests/client/test_beside_openai` has all scenarios. The Agents SDK is heavy: where it is not
installed, its tests are skipped.
"""

from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI

from tests.support.simulator_responses import answers

CUT = {"run-failed": "failed", "cancelled": "cancelled", "expired": "failed", "incomplete": "incomplete"}
"""The scenarios whose response does not end well: openai's stream has no final response then."""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def by_openai(base_url: str) -> AsyncIterator[AsyncOpenAI]:
    http = openai.DefaultAsyncHttpxClient(trust_env=False, verify=False)
    async with AsyncOpenAI(base_url=f"{base_url}/v1", api_key="any", http_client=http, timeout=60) as client:
        yield client


async def asked(client: AsyncOpenAI, identifier: str) -> dict[str, Any]:
    """Return what the server says of a response."""
    return (await client.responses.retrieve(identifier)).to_dict(warnings=False)


@pytest.mark.parametrize("name", [*CUT, "mcp", "tool-rounds", "search"])
async def test_openai_stream_comes_to_its_end(by_openai: AsyncOpenAI, name: str):
    given: dict[str, Any] = {"input": "How deep is it?"}
    while given:
        options = {"model": "simulated-1", "extra_query": {"scenario": name}, **given}
        async with by_openai.responses.stream(**options) as stream:
            events = [event async for event in stream]
            last = events[-1].response
            if name in CUT:
                with pytest.raises(RuntimeError, match=r"Didn't receive a `response\.completed` event"):
                    await stream.get_final_response()
            else:
                assert (await stream.get_final_response()).id == last.id
        truth = await asked(by_openai, last.id)
        assert truth["status"] == last.status == CUT.get(name, "completed")
        assert [item["id"] for item in truth["output"]] == [item.id for item in last.output]
        text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
        written = [part["text"] for item in truth["output"] for part in item.get("content", [])]
        assert text == "".join(written)
        following = answers(truth)
        given = {"input": following, "previous_response_id": truth["id"]} if following else {}


async def test_openai_create_reads_the_same_stream(by_openai: AsyncOpenAI):
    stream = await by_openai.responses.create(
        model="simulated-1", input="Ahoy", stream=True, extra_query={"scenario": "code"}
    )
    events = [event async for event in stream]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert events[-1].response.output_text == "The highest of 706 tides stood at 4.31 m."


async def test_openai_resumes_a_stream_in_the_background(by_openai: AsyncOpenAI):
    opening = {"model": "simulated-1", "input": "Ahoy", "background": True, "stream": True}
    stream = await by_openai.responses.create(**opening, extra_query={"scenario": "code"})
    begun = [event async for event in stream]
    rest = await by_openai.responses.retrieve(begun[0].response.id, stream=True, starting_after=9)
    assert [event.to_dict() async for event in rest] == [event.to_dict() for event in begun[10:]]


async def test_openai_waits_for_cancels_and_lists(by_openai: AsyncOpenAI):
    responses = by_openai.responses
    query = {"scenario": "code", "pace": "real"}
    made = await responses.create(model="simulated-1", input="Ahoy", background=True, extra_query=query)
    assert made.status == "queued"
    assert (await responses.cancel(made.id)).status == "cancelled"
    listed = [item.to_dict() async for item in responses.input_items.list(made.id)]
    assert [item["role"] for item in listed] == ["user"]


async def test_openai_goes_on_in_a_conversation(by_openai: AsyncOpenAI):
    conversation = await by_openai.conversations.create(metadata={"harbour": "north"})
    options = {"model": "simulated-1", "conversation": conversation.id, "extra_query": {"scenario": "function"}}
    first = await by_openai.responses.create(**options, input="How deep is it?")
    after = await by_openai.responses.create(**options, input=answers(first.to_dict(warnings=False)))
    assert after.output_text.startswith("The harbour is deepest")
    kinds = [item.type async for item in by_openai.conversations.items.list(conversation.id, order="asc")]
    assert kinds == ["message", "function_call", "function_call_output", "message"]


async def test_openai_is_told_what_is_not_there(by_openai: AsyncOpenAI):
    with pytest.raises(openai.NotFoundError, match="Response with id 'resp_none' not found"):
        await by_openai.responses.retrieve("resp_none")


async def test_agents_sdk_runs_its_tools(by_openai: AsyncOpenAI):
    agents = pytest.importorskip("agents", reason="openai-agents is not installed", exc_type=ImportError)
    called = []

    @agents.function_tool
    def get_weather(city: str, day: str) -> str:
        """The forecast for a city on a day."""
        called.append((city, day))
        return "rain"

    agents.set_tracing_disabled(True)
    model = agents.OpenAIResponsesModel(model="simulated-1", openai_client=by_openai)
    agent = agents.Agent(name="harbour", instructions="Be brief.", model=model, tools=[get_weather])
    settings = agents.ModelSettings(extra_query={"scenario": "umbrellas"})
    result = agents.Runner.run_streamed(
        agent, "Which shops need umbrellas?", run_config=agents.RunConfig(model_settings=settings)
    )
    kinds = [event.item.type async for event in result.stream_events() if event.type == "run_item_stream_event"]
    assert sorted(called) == [("Bergen", "Saturday"), ("Kraków", "Saturday")]
    assert kinds[-1] == "message_output_item"
    assert kinds.count("tool_call_output_item") == 2
    assert result.final_output.startswith("Restock **Bergen** and **Kraków**")
