"""The Responses API of the simulator: the scenarios as it tells them, and what each call answers, in memory."""

from itertools import groupby
from typing import Any

import httpx
import pytest

from stepstream.simulator.application import app
from stepstream.simulator.scenario import FunctionCalls, McpCall
from stepstream.simulator.scenarios import SCENARIOS
from tests.support.json_values import JSON, plain
from tests.support.simulator_responses import BODY, RESPONSES, Round, answers, folded, rounds, streamed
from tests.support.simulator_runs import calling, events_of
from tests.support.tables import each_row

BIG = ("many-deltas", "big-logs")
SHORT = [name for name in SCENARIOS if name not in BIG]

STATUSES = {
    "run-failed": ("failed", ["completed", "incomplete"]),
    "cancelled": ("cancelled", ["incomplete"]),
    "expired": ("failed", ["incomplete"]),
    "incomplete": ("incomplete", ["incomplete"]),
    "step-failed": ("completed", ["failed", "completed"]),
}
"""How the run and its steps end, where not all are completed."""


@pytest.fixture
async def client():
    async with calling(app(scenario="message", pace="fast")) as client:
        yield client


async def told(name: str, **options: Any) -> list[Round]:
    async with calling(app(scenario=name, pace="fast", **options)) as client:
        return await rounds(client)


def story(one: Round) -> list[str]:
    return [name for name, _ in groupby(one.names)]


BEGIN = ["created", "in_progress"]
SAYING = ["output_item.added", "content_part.added", "output_text.delta"]
SAY = [*SAYING, "output_text.done", "content_part.done", "output_item.done"]
CODING = ["output_item.added", "code_interpreter_call.in_progress", "code_interpreter_call_code.delta"]
RUNNING = [*CODING, "code_interpreter_call_code.done", "code_interpreter_call.interpreting"]
CODE = [*RUNNING, "code_interpreter_call.completed", "output_item.done"]
CALL = ["output_item.added", "function_call_arguments.delta", "function_call_arguments.done", "output_item.done"]
WHOLE = ["output_item.added", "output_item.done"]
SEARCH = ["file_search_call.in_progress", "file_search_call.searching", "file_search_call.completed"]
MCP = ["output_item.added", "mcp_call.in_progress", "mcp_call_arguments.delta", "mcp_call_arguments.done"]
THINKING = ["reasoning_summary_part.added", "reasoning_summary_text.delta", "reasoning_summary_text.done"]
THINK = ["output_item.added", *THINKING, "reasoning_summary_part.done", "output_item.done"]
LISTED = ["output_item.added", "mcp_list_tools.in_progress", "mcp_list_tools.completed", "output_item.done"]
END = ["completed"]

STORIES: dict[str, list[list[str]]] = {
    "message": [[*BEGIN, *SAY, *END]],
    "code": [[*BEGIN, *CODE, *SAY, *END]],
    "search": [
        [
            *BEGIN, "output_item.added", *SEARCH, "output_item.done", *SAYING, "output_text.annotation.added",
            "output_text.delta", "output_text.done", "content_part.done", "output_item.done", *END,
        ]
    ],
    "function": [[*BEGIN, *CALL, *END], [*BEGIN, *SAY, *END]],
    "mcp": [
        [*BEGIN, *LISTED, *WHOLE, *END],
        [*BEGIN, *MCP, "mcp_call.completed", "output_item.done", *SAY, *END],
    ],
    "reasoning": [[*BEGIN, *THINK, *SAY, *END]],
    "connected-agent": [[*BEGIN, *WHOLE, *WHOLE, *SAY, *END]],
    "step-failed": [[*BEGIN, *RUNNING, "output_item.done", *SAY, *END]],
    "run-failed": [[*BEGIN, *CODE, *SAYING, "failed"]],
    "cancelled": [[*BEGIN, *CODING, "failed"]],
    "expired": [[*BEGIN, *CODING, "failed"]],
    "incomplete": [[*BEGIN, *SAY, "incomplete"]],
}  # fmt: skip


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@each_row("name", STORIES)
async def test_events_come_in_the_order_of_the_story(name: str):
    assert [story(one) for one in await told(name)] == STORIES[name]


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@each_row("name", SHORT)
async def test_folding_a_scenario_gives_one_run_with_the_items_that_the_server_lists(name: str):
    responses = await told(name)
    state = folded(responses)
    listed = [item for one in responses for item in one.response["output"]]
    [run] = state.runs.values()
    status, steps = STATUSES.get(name, ("completed", ["completed"] * len(listed)))
    assert (run.status, [step.status for step in state.steps.values()]) == (status, steps)
    assert list(state.steps) == [item["id"] for item in listed]
    assert state.anomalies == []
    texts = [part["text"] for item in listed if item["type"] == "message" for part in item["content"]]
    assert [message.text for message in state.messages.values()] == texts
    assert len(responses) == 1 + sum(isinstance(act, FunctionCalls | McpCall) for act in SCENARIOS[name].acts)
    assert run.usage.total_tokens == sum(one.response["usage"]["total_tokens"] for one in responses)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@each_row("name", SHORT)
async def test_end_of_a_stream_is_what_the_server_says_afterwards(name: str):
    for one in await told(name):
        assert one.events[-1][1]["response"] == one.response
        assert [data["sequence_number"] for _, data in one.events] == list(range(len(one.events)))


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_end_alone_brings_what_all_events_brought():
    for name in SHORT:
        whole = await told(name)
        ends = folded([one._replace(frames=one.frames[-1:]) for one in whole])
        steps = folded(whole).steps
        assert {key: plain(step) for key, step in ends.steps.items()} == {key: plain(one) for key, one in steps.items()}


async def test_same_seed_gives_the_same_bytes():
    first, second = [await told("parallel-functions", seed=7) for _ in range(2)]
    assert first == second
    assert first[0].response["id"] == "resp_sim7x1"
    assert [one.frames for one in first] != [one.frames for one in await told("parallel-functions", seed=8)]


@pytest.mark.slow
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("name", BIG)
async def test_folding_a_big_scenario_gives_what_the_server_lists(name: str):
    [one] = await told(name)
    steps = folded([one]).steps
    assert {key: plain(step) for key, step in folded([one._replace(frames=one.frames[-1:])]).steps.items()} == {
        key: plain(step) for key, step in steps.items()
    }
    assert [step.status for step in steps.values()] == ["completed", "completed"]


# Calls


async def test_response_without_stream_is_whole(client: httpx.AsyncClient):
    got = (await client.post(RESPONSES, json={"input": "Ahoy"})).json()
    assert (got["status"], got["output"][0]["status"]) == ("completed", "completed")
    assert (await client.get(f"{RESPONSES}/{got['id']}")).json() == got


async def test_response_in_the_background_goes_on_alone(client: httpx.AsyncClient):
    got = (await client.post(RESPONSES, json={"input": "Ahoy", "background": True})).json()
    assert (got["status"], got["output"], got["usage"]) == ("queued", [], None)
    assert (await client.get(f"{RESPONSES}/{got['id']}")).json()["status"] == "completed"


async def test_stream_in_the_background_is_queued_first(client: httpx.AsyncClient):
    assert (await streamed(client, background=True)).names[:4] == [
        "created",
        "queued",
        "in_progress",
        "output_item.added",
    ]


async def resumed(client: httpx.AsyncClient, identifier: str, query: str = "") -> httpx.Response:
    return await client.get(f"{RESPONSES}/{identifier}?stream=true{query}")


async def test_stream_in_the_background_goes_on_after_any_number(client: httpx.AsyncClient):
    one = await streamed(client, background=True)
    for after in range(-1, len(one.frames)):
        again = await resumed(client, one.response["id"], f"&starting_after={after}")
        assert events_of(again.content) == one.events[after + 1 :]
    assert events_of((await resumed(client, one.response["id"])).content) == one.events


async def test_stream_is_not_given_again_without_background(client: httpx.AsyncClient):
    one = await streamed(client)
    assert (await resumed(client, one.response["id"])).status_code == 400
    in_background = (await client.post(RESPONSES, json={"background": True})).json()
    assert (await resumed(client, in_background["id"])).status_code == 400
    assert (await resumed(client, "resp_none")).status_code == 404


async def test_stream_is_not_given_again_long_after_its_end(client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch):
    one = await streamed(client, background=True)
    monkeypatch.setattr("stepstream.simulator.responses.response.RESUMABLE_FOR", -1.0)
    assert (await resumed(client, one.response["id"])).status_code == 400


async def test_number_to_start_after_is_a_number(client: httpx.AsyncClient):
    one = await streamed(client, background=True)
    assert (await resumed(client, one.response["id"], "&starting_after=soon")).status_code == 400


async def test_response_that_is_not_stored_cannot_be_asked_for(client: httpx.AsyncClient):
    answer = await client.post(RESPONSES, json={**BODY, "store": False})
    identifier = events_of(answer.content)[0][1]["response"]["id"]
    for path in ("", "/input_items"):
        assert (await client.get(f"{RESPONSES}/{identifier}{path}")).status_code == 404
    following = await client.post(RESPONSES, json={"previous_response_id": identifier})
    assert (following.status_code, following.json()["error"]["code"]) == (400, "previous_response_not_found")


async def test_response_is_cancelled_once():
    async with calling(app(scenario="message")) as client:
        got = (await client.post(RESPONSES, json={"background": True})).json()
        for _ in range(2):
            cancelled = await client.post(f"{RESPONSES}/{got['id']}/cancel")
            assert (cancelled.status_code, cancelled.json()["status"]) == (200, "cancelled")


async def test_response_that_has_ended_or_is_not_in_the_background_is_not_cancelled(client: httpx.AsyncClient):
    ended = (await client.post(RESPONSES, json={"background": True})).json()
    plain_one = (await client.post(RESPONSES, json={})).json()
    for one in (ended, plain_one):
        assert (await client.post(f"{RESPONSES}/{one['id']}/cancel")).status_code == 400


async def test_input_items_are_what_was_sent(client: httpx.AsyncClient):
    one = await streamed(client, input=[{"role": "user", "content": "Ahoy"}, {"type": "reasoning", "id": "rs_own"}])
    listed = (await client.get(f"{RESPONSES}/{one.response['id']}/input_items?order=asc")).json()
    message, reasoning = listed["data"]
    assert (message["role"], message["content"]) == ("user", [{"type": "input_text", "text": "Ahoy"}])
    assert reasoning == {"type": "reasoning", "id": "rs_own"}
    assert listed["first_id"] == message["id"]


async def test_request_is_seen_in_its_response(client: httpx.AsyncClient):
    given = {"model": "gpt-own", "metadata": {"a": "b"}, "temperature": 0.5, "instructions": "Be brief.", "tools": []}
    one = await streamed(client, **given, agent_reference={"type": "agent_reference", "name": "harbour"})
    assert {name: one.response[name] for name in given} == given
    assert one.response["agent_reference"]["name"] == "harbour"


# Rounds


@pytest.mark.parametrize("named_by", ["previous", "conversation", "input"])
async def test_rounds_go_on_however_the_one_before_is_named(named_by: str):
    async with calling(app(scenario="tool-rounds", pace="fast")) as client:
        kept: JSON = {"conversation": "conv_own"} if named_by == "conversation" else {}
        kept |= {"store": False} if named_by == "input" else {}
        items: list[JSON] = []
        names = []
        while True:
            answer = await client.post(RESPONSES, json={**BODY, **kept, "input": items})
            response = events_of(answer.content)[-1][1]["response"]
            names.append([item.get("name", item["type"]) for item in response["output"]])
            answered = answers(response)
            if not answered:
                break
            kept |= {"previous_response_id": response["id"]} if named_by == "previous" else {}
            items = [*items, *response["output"], *answered] if named_by == "input" else answered
    assert names == [
        ["get_depth"],
        ["code_interpreter_call", "get_tide", "get_wind"],
        ["book_berth"],
        ["message"],
    ]


async def test_calls_are_answered_all_together():
    async with calling(app(scenario="parallel-functions", pace="fast")) as client:
        one = await streamed(client)
        items = answers(one.response)
        for given in ([], items[1:], [{**items[0], "call_id": "call_strange"}]):
            body = {"input": given, "previous_response_id": one.response["id"]}
            assert (await client.post(RESPONSES, json=body)).status_code == 400
        strange = await client.post(RESPONSES, json={"input": items[:1]})
        assert "No tool call found" in strange.json()["error"]["message"]


async def test_response_is_continued_more_than_once():
    async with calling(app(scenario="function", pace="fast")) as client:
        one = await streamed(client)
        body = {"input": answers(one.response), "previous_response_id": one.response["id"]}
        first, second = [await streamed(client, **body) for _ in range(2)]
    assert first.names == second.names
    assert first.response["id"] != second.response["id"]


async def test_call_that_is_not_approved_is_not_made():
    async with calling(app(scenario="mcp", pace="fast")) as client:
        one = await streamed(client)
        items = answers(one.response, approve=False)
        after = await streamed(client, input=items, previous_response_id=one.response["id"])
    assert [item["type"] for item in after.response["output"]] == ["message"]


async def test_response_that_goes_on_is_not_continued():
    async with calling(app(scenario="message")) as client:
        got = (await client.post(RESPONSES, json={"background": True})).json()
        refused = await client.post(RESPONSES, json={"previous_response_id": got["id"]})
    assert "expected a previous response that has ended" in refused.json()["error"]["message"]


async def test_conversation_holds_what_was_said(client: httpx.AsyncClient):
    begun = (await client.post("/v1/conversations", json={"items": [{"type": "x", "id": "own"}]})).json()
    path = f"/v1/conversations/{begun['id']}"
    one = await streamed(client, conversation={"id": begun["id"]})
    assert one.response["conversation"] == {"id": begun["id"]}
    await client.post(f"{path}/items", json={"items": [{"type": "y", "id": "more"}]})
    listed = (await client.get(f"{path}/items?order=asc")).json()["data"]
    assert [item["type"] for item in listed] == ["x", "y", "message", "message"]
    assert listed[-1] == one.response["output"][0]
    assert (await client.get(path)).json() == begun
    assert (await client.get("/v1/conversations/conv_none")).status_code == 404


async def test_conversation_and_previous_response_exclude_each_other(client: httpx.AsyncClient):
    body = {"conversation": "conv_own", "previous_response_id": "resp_sim1"}
    assert (await client.post(RESPONSES, json=body)).status_code == 400


async def test_newest_responses_are_remembered(client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("stepstream.simulator.responses.store.MAX_RUNS", 2)
    made = [(await streamed(client, conversation="conv_own")).response["id"] for _ in range(3)]
    statuses = [(await client.get(f"{RESPONSES}/{one}")).status_code for one in made]
    assert statuses == [404, 200, 200]
    listed = (await client.get("/v1/conversations/conv_own/items")).json()["data"]
    assert len(listed) == 4


@each_row("path", ["/responses", "/openai/responses", "/openai/v1/responses", "/api/projects/p/openai/v1/responses"])
async def test_path_works_behind_every_prefix(path: str):
    async with calling(app(scenario="message", pace="fast")) as client:
        answer = await client.post(f"{path}?api-version=v1", json=BODY)
        assert events_of(answer.content)[-1][0] == "response.completed"
