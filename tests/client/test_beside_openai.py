"""openai-python, which is asyncio's only, and ours, pointed at the same server: a response came to the same."""

from typing import Any

import openai
import pytest
from openai import AsyncOpenAI

from stepstream import Outcome, Processor, RunStep
from stepstream.simulator.scenarios import SCENARIOS
from tests.support.breaking_simulator import Server, Wire, breaking
from tests.support.drives import harbour
from tests.support.json_values import JSON, plain
from tests.support.simulator_responses import answers
from tests.support.tables import each_row

SHORT = [name for name in SCENARIOS if name not in ("many-deltas", "big-logs")]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def by_openai(server: Server) -> list[JSON]:
    """Return the output of all rounds, as openai's own stream has it at its end."""
    output, given = list[JSON](), {"input": "How deep is it?"}
    http = openai.DefaultAsyncHttpxClient(trust_env=False, verify=False, headers=server.client.headers)
    async with AsyncOpenAI(base_url=f"{server.url}/v1", api_key="any", http_client=http, timeout=60) as client:
        while given:
            last: Any = None
            async with client.responses.stream(model="simulated-1", **given) as stream:
                async for event in stream:
                    last = getattr(event, "response", last)
            told = last.to_dict(warnings=False)
            output += told["output"]
            items = answers(told)
            given = {"input": items, "previous_response_id": told["id"]} if items else {}
    return output


def said_by_openai(item: JSON) -> list[Any]:
    """Return what an item says, without ids."""
    parts = item.get("content") or item.get("summary") or []
    results = [one["text"] for one in item.get("results") or []]
    printed = [one["logs"] for one in item.get("outputs") or [] if one["type"] == "logs"]
    call = [item.get(key) for key in ("name", "arguments", "code") if item.get(key)]
    given = [item["output"]] if item["type"] == "mcp_call" else []
    return [part["text"] for part in parts] + call + results + printed + given


def said_by_us(outcome: Outcome, step: RunStep) -> list[Any]:
    """Return what a step says, without ids."""
    if step.type == "message_creation":
        return [outcome.messages[step.id].text]
    details = plain(step.step_details)
    if step.type == "reasoning":
        return [part["text"] for part in details["reasoning"]["summary"]]
    if step.type == "mcp_approval_request":
        return [details[step.type][key] for key in ("name", "arguments")]
    if step.type != "tool_calls":
        return [details[step.type]["name"]] if "name" in details.get(step.type, {}) else []
    [call] = details["tool_calls"]
    own = call if call["type"] == "mcp" else call[call["type"]]
    found = [own[key] for key in ("name", "arguments", "input") if own.get(key)]
    found += [part["text"] for one in own.get("results") or [] for part in one["content"]]
    found += [one["logs"] for one in own.get("outputs") or [] if one["type"] == "logs"]
    return [*found, own["output"]] if call["type"] == "mcp" else found


@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings:UserWarning")  # of items that are Azure's alone
@each_row("name", SHORT)
async def test_response_came_to_the_same(name: str):
    async with breaking(name) as server, Processor() as processor:
        output = await by_openai(server)
        client, given = server.wired_responses(Wire()), {"input": "How deep is it?", "tools": []}
        outcome = await client.drive(processor, harbour([]), **given)
    steps = outcome.final_steps
    assert [said_by_us(outcome, step) for step in steps] == [said_by_openai(item) for item in output]
    assert [step.status for step in steps] == [item.get("status", "completed") for item in output]
