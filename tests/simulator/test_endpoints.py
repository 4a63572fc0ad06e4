"""What each call of the API answers, in memory."""

from itertools import product
from typing import Any

import httpx
import pytest

from stepstream.simulator import threads
from stepstream.simulator.api import SEEDED_TIME
from stepstream.simulator.application import app
from stepstream.simulator.event_writer import EventWriter
from stepstream.simulator.objects import SETTINGS, Owner
from stepstream.simulator.pace import FAST
from stepstream.simulator.runs import Run
from stepstream.simulator.scenarios import SCENARIOS
from tests.support.json_values import JSON
from tests.support.simulator_runs import AT, RUN_BODY, RUNS, answer, asked_calls, calling, posted, whole_bytes
from tests.support.stored_runs import THREAD, StoredRun, stored_run
from tests.support.tables import each_row

PREFIXES = ["", "/v1", "/openai", "/openai/v1"]
OUTPUTS = "submit_tool_outputs"
KEY = "sk-harbour-9f3a"


@pytest.fixture
async def client():
    async with calling(app(scenario="message", pace="fast")) as client:
        yield client


async def run_of(client: httpx.AsyncClient, query: str = "", body: JSON = RUN_BODY) -> JSON:
    """Open a run, read its stream to the end, and return what the server says of it."""
    events = await posted(client, RUNS + query, body)
    got: JSON = (await client.get(f"{RUNS}/{events[0][1]['id']}")).json()
    return got


@each_row("query", ["", "?api-version=2025-05-01"])
@each_row("prefix", PREFIXES)
async def test_every_path_works_behind_every_prefix(prefix: str, query: str):
    async with calling(app(scenario="function", pace="fast")) as client:
        events = await posted(client, f"{prefix}/threads/runs{query}", RUN_BODY)
        thread, run = f"{prefix}/threads/{events[0][1]['id']}", events[-2][1]
        second = await posted(client, f"{thread}/runs/{run['id']}/{OUTPUTS}{query}", answer(run))
        assert second[-1][0] == "done"
        steps = (await client.get(f"{thread}/runs/{run['id']}/steps{query}")).json()["data"]
        paths = ("", "/messages", "/runs", f"/runs/{run['id']}", f"/runs/{run['id']}/steps/{steps[0]['id']}")
        assert [(await client.get(f"{thread}{path}{query}")).status_code for path in paths] == [200] * len(paths)
        message = await client.post(f"{thread}/messages{query}", json={"role": "user", "content": "Ahoy"})
        assert (await client.get(f"{thread}/messages/{message.json()['id']}{query}")).json() == message.json()
        again = await client.post(f"{thread}/runs{query}", json={"assistant_id": "asst_own"})
        cancelled = await client.post(f"{thread}/runs/{again.json()['id']}/cancel{query}")
        assert (cancelled.json()["id"], cancelled.json()["status"]) == (again.json()["id"], "cancelling")


async def test_final_slash_of_a_path_is_nothing(client: httpx.AsyncClient):
    assert (await posted(client, f"{RUNS}/", RUN_BODY))[-1][0] == "done"


@pytest.mark.parametrize("body", [{}, {"stream": False}, {"stream": None}])
async def test_run_without_stream_is_a_queued_run_that_goes_on_alone(client: httpx.AsyncClient, body: JSON):
    response = await client.post(RUNS, json=body)
    assert response.headers["content-type"] == "application/json"
    run = response.json()
    assert (run["object"], run["status"]) == ("thread.run", "queued")
    got = await stored_run(client, run["id"])
    assert (got.run["status"], [step["status"] for step in got.steps]) == ("completed", ["completed"])


async def test_thread_and_run_without_stream_is_a_run(client: httpx.AsyncClient):
    run = (await client.post("/threads/runs", json={})).json()
    assert (run["object"], run["thread_id"]) == ("thread.run", "thread_sim1")


async def test_rounds_without_streams_come_to_their_end():
    async with calling(app(scenario="tool-rounds", pace="fast")) as client:
        run = (await client.post(RUNS, json={})).json()
        for _ in range(3):
            run = (await client.get(f"{RUNS}/{run['id']}")).json()
            assert run["status"] == "requires_action"
            run = (await client.post(f"{RUNS}/{run['id']}/{OUTPUTS}", json={**answer(run), "stream": False})).json()
            assert (run["status"], run["required_action"]) == ("queued", None)
        assert (await client.get(f"{RUNS}/{run['id']}")).json()["status"] == "completed"


async def test_plain_and_streamed_runs_come_to_the_same():
    answers = []
    for stream in (True, False):
        async with calling(app(scenario="code", pace="fast", seed=4)) as client:
            response = await client.post(RUNS, json={"stream": stream})
            assert response.status_code == 200
            answers.append(await stored_run(client, "run_sim4x1"))
    assert answers[0] == answers[1]


# settings


CHOSEN: JSON = {
    "model": "chosen-1",
    "instructions": "Be brief.",
    "tools": [{"type": "file_search"}],
    "metadata": {"ship": "Astrid"},
    "temperature": 0,
    "top_p": 0.5,
    "reasoning_effort": "low",
    "max_completion_tokens": 900,
    "max_prompt_tokens": 0,
    "truncation_strategy": {"type": "last_messages", "last_messages": 3},
    "response_format": {"type": "json_object"},
    "tool_choice": "required",
    "parallel_tool_calls": False,
}


async def test_run_has_the_setting_that_was_asked_for(client: httpx.AsyncClient):
    for name, chosen in CHOSEN.items():
        events = await posted(client, RUNS, {**RUN_BODY, name: chosen})
        runs = [data[name] for event, data in events if event.startswith("thread.run.") and "tools" in data]
        assert runs == [chosen] * 4, name


@pytest.mark.parametrize("given", [{}, dict.fromkeys(SETTINGS)], ids=["missing", "null"])
async def test_run_has_the_usual_settings_where_nothing_was_asked_for(client: httpx.AsyncClient, given: JSON):
    run = await run_of(client, body={**RUN_BODY, **given})
    assert {name: run[name] for name in SETTINGS} == SETTINGS
    assert (run["model"], run["tools"], run["instructions"]) == ("simulated-1", [], None)


async def test_tools_and_instructions_are_the_scenarios_unless_given():
    async with calling(app(pace="fast")) as client:
        run = await run_of(client, body={**RUN_BODY, "additional_instructions": "Be brief."})
        scenario = SCENARIOS["umbrellas"]
        assert run["instructions"] == f"{scenario.instructions} Be brief."
        assert [tool["type"] for tool in run["tools"]] == ["code_interpreter", "function", "file_search"]


async def test_assistant_and_thread_are_those_of_the_request(client: httpx.AsyncClient):
    run = await run_of(client, body={**RUN_BODY, "assistant_id": "asst_mate"})
    assert (run["assistant_id"], run["thread_id"]) == ("asst_mate", "thread_own")


# threads and messages


async def test_created_thread_is_what_it_was_created_with(client: httpx.AsyncClient):
    given = {"metadata": {"ship": "Astrid"}, "tool_resources": {"file_search": {"vector_store_ids": ["vs_1"]}}}
    thread = (await client.post("/threads", json=given)).json()
    assert {name: thread[name] for name in given} == given
    assert (await client.get(f"/threads/{thread['id']}")).json() == thread


async def test_empty_body_creates_an_empty_thread(client: httpx.AsyncClient):
    thread = (await client.post("/threads")).json()
    assert (thread["object"], thread["metadata"], thread["tool_resources"]) == ("thread", {}, {})
    assert (await client.get(f"/threads/{thread['id']}/messages")).json()["data"] == []


async def test_threads_have_ids_of_their_own(client: httpx.AsyncClient):
    assert (await posted(client, "/threads/thread_sim1/runs", RUN_BODY))[-1][0] == "done"
    made = [(await client.post("/threads")).json()["id"] for _ in range(2)]
    assert made == ["thread_sim2", "thread_sim3"]


async def test_messages_of_a_new_thread_are_there(client: httpx.AsyncClient):
    messages = [{"role": "user", "content": "Ahoy"}, {"role": "assistant", "content": "Aye"}]
    thread = (await client.post("/threads", json={"messages": messages})).json()
    listed = (await client.get(f"/threads/{thread['id']}/messages?order=asc")).json()["data"]
    assert [one["content"][0]["text"]["value"] for one in listed] == ["Ahoy", "Aye"]


async def test_messages_of_a_thread_created_with_its_run_are_there(client: httpx.AsyncClient):
    body = {**RUN_BODY, "thread": {"messages": [{"role": "user", "content": "Ahoy"}], "metadata": {"a": "b"}}}
    events = await posted(client, "/threads/runs", body)
    thread = events[0][1]
    assert thread["metadata"] == {"a": "b"}
    listed = (await client.get(f"/threads/{thread['id']}/messages?order=asc")).json()["data"]
    assert [one["role"] for one in listed] == ["user", "assistant"]


IMAGE = {"type": "image_file", "image_file": {"file_id": "file_1"}}
CONTENTS: dict[str, tuple[Any, Any]] = {
    "a string": ("Ahoy", [{"type": "text", "text": {"value": "Ahoy", "annotations": []}}]),
    "a text part": (
        [{"type": "text", "text": "Ahoy"}],
        [{"type": "text", "text": {"value": "Ahoy", "annotations": []}}],
    ),
    "an image": ([IMAGE], [IMAGE]),
    "nothing": ([], []),
}


@pytest.mark.parametrize(("content", "kept"), CONTENTS.values(), ids=CONTENTS)
async def test_content_of_a_message_is_kept_as_parts(client: httpx.AsyncClient, content: Any, kept: Any):
    given = {"role": "user", "content": content, "metadata": {"a": "b"}, "attachments": [{"file_id": "file_2"}]}
    message = (await client.post(f"{THREAD}/messages", json=given)).json()
    assert message["content"] == kept
    assert (message["role"], message["metadata"], message["attachments"]) == ("user", {"a": "b"}, given["attachments"])
    assert (message["run_id"], message["assistant_id"], message["status"]) == (None, None, "completed")


async def test_additional_messages_come_before_the_answer(client: httpx.AsyncClient):
    body = {**RUN_BODY, "additional_messages": [{"role": "user", "content": f"{number}"} for number in range(2)]}
    await posted(client, RUNS, body)
    listed = (await client.get(f"{THREAD}/messages?order=asc")).json()["data"]
    assert [one["content"][0]["text"]["value"][:1] for one in listed] == ["0", "1", "T"]


async def test_messages_of_one_run_can_be_listed_alone(client: httpx.AsyncClient):
    first, second = await run_of(client), await run_of(client)
    await client.post(f"{THREAD}/messages", json={"role": "user", "content": "Ahoy"})
    for run in (first, second):
        listed = (await client.get(f"{THREAD}/messages", params={"run_id": run["id"]})).json()["data"]
        assert [message["run_id"] for message in listed] == [run["id"]]


async def test_refused_run_leaves_nothing_behind(client: httpx.AsyncClient):
    body = {**RUN_BODY, "additional_messages": [{"role": "user", "content": "Ahoy"}]}
    assert (await client.post(f"{RUNS}?scenario=nowhere", json=body)).status_code == 400
    assert (await client.get(THREAD)).status_code == 404


# lists


async def listing(client: httpx.AsyncClient, what: str) -> tuple[str, list[str]]:
    """Return the path of a list of five objects and their ids, oldest first."""
    if what == "steps":
        runs = await whole_bytes(client, "?scenario=tool-rounds")
        assert len(runs) == 4
        path = f"{RUNS}/run_sim1/steps"
    elif what == "runs":
        for _ in range(5):
            await posted(client, RUNS, RUN_BODY)
        path = RUNS
    else:
        path = f"{THREAD}/messages"
        for number in range(5):
            await client.post(path, json={"role": "user", "content": f"{number}"})
    whole = (await client.get(path, params={"order": "asc"})).json()
    ids = [one["id"] for one in whole["data"]]
    assert (len(ids), whole["has_more"]) == (5, False)
    return path, ids


LISTS = ["steps", "runs", "messages"]


@pytest.mark.parametrize("what", LISTS)
async def test_pages_walked_forwards_give_every_object_once(client: httpx.AsyncClient, what: str):
    path, ids = await listing(client, what)
    for order, limit in product(["asc", "desc"], [1, 2, 3, 5, 100]):
        got, query = list[str](), {"order": order, "limit": str(limit)}
        while True:
            page = (await client.get(path, params=query)).json()
            got += [one["id"] for one in page["data"]]
            assert page["last_id"] == got[-1], query
            if not page["has_more"]:
                break
            query["after"] = page["last_id"]
        assert got == (ids if order == "asc" else ids[::-1]), query


@pytest.mark.parametrize("what", LISTS)
async def test_pages_walked_backwards_give_every_object_once(client: httpx.AsyncClient, what: str):
    path, ids = await listing(client, what)
    for order, limit in product(["asc", "desc"], [1, 2, 3, 100]):
        expected = ids if order == "asc" else ids[::-1]
        got, query = [expected[-1]], {"order": order, "limit": str(limit), "before": expected[-1]}
        while True:
            page = (await client.get(path, params=query)).json()
            got = [*(one["id"] for one in page["data"]), *got]
            assert page["first_id"] == got[0], query
            if not page["has_more"]:
                break
            query["before"] = page["first_id"]
        assert got == expected, query


@pytest.mark.parametrize("what", LISTS)
async def test_newest_comes_first_unless_told(client: httpx.AsyncClient, what: str):
    path, ids = await listing(client, what)
    assert [one["id"] for one in (await client.get(path)).json()["data"]] == ids[::-1]


async def test_page_holds_twenty_unless_told(client: httpx.AsyncClient):
    for number in range(21):
        await client.post(f"{THREAD}/messages", json={"role": "user", "content": f"{number}"})
    page = (await client.get(f"{THREAD}/messages")).json()
    assert (len(page["data"]), page["has_more"]) == (20, True)


@pytest.mark.parametrize("what", LISTS)
async def test_single_objects_are_those_of_the_list(client: httpx.AsyncClient, what: str):
    path, _ = await listing(client, what)
    for one in (await client.get(path)).json()["data"]:
        assert (await client.get(f"{path}/{one['id']}")).json() == one


# what a run waits for


@pytest.fixture
async def waiting(client: httpx.AsyncClient) -> JSON:
    """A run that waits for the outputs of two calls."""
    return await run_of(client, "?scenario=umbrellas")


def outputs(*call_ids: str) -> JSON:
    return {"tool_outputs": [{"tool_call_id": call_id, "output": "fog"} for call_id in call_ids], "stream": True}


async def test_run_that_waits_tells_for_what(waiting: JSON):
    assert waiting["status"] == "requires_action"
    assert [call["function"]["name"] for call in asked_calls(waiting)] == ["get_weather"] * 2


async def refused(client: httpx.AsyncClient, run: JSON, body: JSON) -> str:
    response = await client.post(f"{RUNS}/{run['id']}/{OUTPUTS}", json=body)
    assert response.status_code == 400
    text: str = response.json()["error"]["message"]
    return text


async def test_wrong_outputs_are_refused_and_the_run_still_waits(client: httpx.AsyncClient, waiting: JSON):
    first, second = (call["id"] for call in asked_calls(waiting))
    for given in ((), (first,), (first, "call_other"), (first, second, "call_other"), (first, first)):
        assert (await refused(client, waiting, outputs(*given))).startswith("expected")
    assert (await stored_run(client, waiting["id"])).run == waiting
    assert (await posted(client, f"{RUNS}/{waiting['id']}/{OUTPUTS}", outputs(second, first)))[-1][0] == "done"


@pytest.mark.parametrize(
    "body",
    [{}, {"tool_outputs": [], "tool_approvals": []}, {"tool_outputs": None}],
    ids=["neither", "both", "null"],
)
async def test_answer_of_no_or_both_kinds_is_refused(client: httpx.AsyncClient, waiting: JSON, body: JSON):
    assert await refused(client, waiting, body) == "expected either tool_outputs or tool_approvals"


async def test_approval_of_a_function_call_is_refused(client: httpx.AsyncClient, waiting: JSON):
    approvals = [{"tool_call_id": call["id"], "approve": True} for call in asked_calls(waiting)]
    text = await refused(client, waiting, {"tool_approvals": approvals})
    assert text == "expected an answer to submit_tool_outputs, got one of the other kind"


async def test_output_of_an_mcp_call_is_refused(client: httpx.AsyncClient):
    run = await run_of(client, "?scenario=mcp")
    text = await refused(client, run, outputs(*(call["id"] for call in asked_calls(run))))
    assert text == "expected an answer to submit_tool_approval, got one of the other kind"


async def test_second_answer_is_refused(client: httpx.AsyncClient, waiting: JSON):
    await posted(client, f"{RUNS}/{waiting['id']}/{OUTPUTS}", answer(waiting))
    text = await refused(client, waiting, answer(waiting))
    assert text == "expected a run that requires action, got one that is completed"


async def test_answer_to_a_run_that_waits_for_nothing_is_refused(client: httpx.AsyncClient):
    run = await run_of(client)
    assert await refused(client, run, outputs()) == "expected a run that requires action, got one that is completed"


async def test_run_is_unknown_on_another_thread(client: httpx.AsyncClient, waiting: JSON):
    await posted(client, "/threads/thread_other/runs", RUN_BODY)
    path = f"/threads/thread_other/runs/{waiting['id']}"
    assert (await client.post(f"{path}/{OUTPUTS}", json=answer(waiting))).status_code == 404
    assert (await client.get(path)).status_code == 404


@pytest.mark.parametrize("output", ["", None, "fog", "Kraków\n\x00"])
async def test_output_is_in_the_step(client: httpx.AsyncClient, waiting: JSON, output: str | None):
    given = [{"tool_call_id": call["id"], "output": output} for call in asked_calls(waiting)]
    await posted(client, f"{RUNS}/{waiting['id']}/{OUTPUTS}", {"tool_outputs": given, "stream": True})
    calls = (await stored_run(client, waiting["id"])).steps[1]["step_details"]["tool_calls"]
    assert [call["function"]["output"] for call in calls] == [output, output]


@pytest.mark.parametrize(("approve", "output"), [(True, '{"berth": "N4", "free_until": "Sunday"}'), (False, None)])
async def test_mcp_call_has_an_output_only_if_approved(client: httpx.AsyncClient, approve: bool, output: str | None):
    run = await run_of(client, "?scenario=mcp")
    events = await posted(client, f"{RUNS}/{run['id']}/{OUTPUTS}", answer(run, approve=approve))
    [call] = (await stored_run(client, run["id"])).steps[1]["step_details"]["tool_calls"]
    assert call["output"] == output
    assert [name for name, _ in events].count("thread.run.step.delta") == approve


# cancelling


async def test_waiting_run_is_cancelled_with_its_steps(client: httpx.AsyncClient, waiting: JSON):
    response = await client.post(f"{RUNS}/{waiting['id']}/cancel")
    assert (response.status_code, response.json()["status"], response.json()["required_action"]) == (
        200, "cancelling", None
    )  # fmt: skip
    got: StoredRun = await stored_run(client, waiting["id"])
    assert (got.run["status"], got.run["last_error"]) == ("cancelled", None)
    assert [step["status"] for step in got.steps] == ["completed", "cancelled"]
    assert got.run["cancelled_at"] is not None
    assert got.run["usage"]["total_tokens"] == sum(step["usage"]["total_tokens"] for step in got.steps)


async def test_cancelled_run_takes_no_outputs(client: httpx.AsyncClient, waiting: JSON):
    await client.post(f"{RUNS}/{waiting['id']}/cancel")
    text = await refused(client, waiting, answer(waiting))
    assert text == "expected a run that requires action, got one that is cancelled"


@pytest.mark.parametrize("scenario", ["message", "run-failed", "cancelled", "expired", "incomplete"])
async def test_run_that_has_ended_cannot_be_cancelled(client: httpx.AsyncClient, scenario: str):
    run = await run_of(client, f"?scenario={scenario}")
    response = await client.post(f"{RUNS}/{run['id']}/cancel")
    assert response.status_code == 400
    assert response.json()["error"]["message"].startswith("expected a run that can be cancelled, got one that is")
    assert (await stored_run(client, run["id"])).run == run


async def test_run_is_cancelled_once(client: httpx.AsyncClient, waiting: JSON):
    assert (await client.post(f"{RUNS}/{waiting['id']}/cancel")).status_code == 200
    assert (await client.post(f"{RUNS}/{waiting['id']}/cancel")).status_code == 400


# what a request says


@pytest.mark.parametrize(
    ("query", "headers", "steps"),
    [
        ("", {}, ["message_creation"]),
        ("?scenario=code", {}, ["tool_calls", "message_creation"]),
        ("", {"x-simulator-scenario": "code"}, ["tool_calls", "message_creation"]),
        ("", {"X-Simulator-Scenario": "code"}, ["tool_calls", "message_creation"]),
        ("?scenario=message", {"x-simulator-scenario": "code"}, ["message_creation"]),
    ],
    ids=["application", "query", "header", "header in capitals", "query over header"],
)
async def test_query_wins_over_header_wins_over_application(
    client: httpx.AsyncClient, query: str, headers: dict[str, str], steps: list[str]
):
    await posted(client, RUNS + query, RUN_BODY, **headers)
    assert [step["type"] for step in (await stored_run(client, "run_sim1")).steps] == steps


async def test_seed_of_a_request_is_in_its_ids_and_times(client: httpx.AsyncClient):
    events = await posted(client, f"{RUNS}?seed=7", RUN_BODY)
    assert (events[0][1]["id"], events[0][1]["created_at"]) == ("run_sim7x1", SEEDED_TIME)


async def test_pace_of_a_request_is_that_of_its_run():
    async with calling(app(scenario="message")) as client:
        assert (await posted(client, f"{RUNS}?pace=fast", RUN_BODY))[-1][0] == "done"


@each_row("value", ["none", ""])
async def test_request_can_do_without_the_fault_of_the_application(value: str):
    async with calling(app(scenario="message", pace="fast", fault="drop-done")) as client:
        assert (await posted(client, RUNS, RUN_BODY))[-1][0] == "thread.run.completed"
        assert (await posted(client, f"{RUNS}?fault={value}", RUN_BODY))[-1][0] == "done"


async def test_repeated_faults_are_combined(client: httpx.AsyncClient):
    faults = [("x-simulator-fault", "drop-done"), ("x-simulator-fault", "cut-event=4")]
    for query, headers in (("?fault=drop-done&fault=cut-event=4", []), ("", faults)):
        response = await client.post(RUNS + query, json=RUN_BODY, headers=headers)
        assert response.content.count(b"event: ") == 4
        response = await client.post(RUNS + query.replace("4", "99"), json=RUN_BODY, headers=headers[:1])
        assert b"event: done" not in response.content


async def test_repeated_scenario_is_refused(client: httpx.AsyncClient):
    response = await client.post(f"{RUNS}?scenario=code&scenario=message", json=RUN_BODY)
    assert (response.status_code, "got 'code,message'" in response.text) == (400, True)


async def test_fault_of_the_application_spares_what_is_no_stream():
    async with calling(app(scenario="message", pace="fast", fault="server-error=9")) as client:
        assert (await client.post("/threads")).status_code == 200
        assert (await client.post(RUNS, json={})).status_code == 200
        assert (await client.post(RUNS, json=RUN_BODY)).status_code == 500


async def test_fault_of_a_request_concerns_any_answer(client: httpx.AsyncClient):
    assert (await client.get(f"{THREAD}?fault=server-error")).status_code == 500


# the key


@each_row(
    ("headers", "status"),
    [
        ({}, 401),
        ({"authorization": f"Bearer {KEY}"}, 200),
        ({"authorization": f"bearer {KEY}"}, 200),
        ({"api-key": KEY}, 200),
        ({"authorization": f"Basic {KEY}"}, 401),
        ({"authorization": KEY}, 401),
        ({"authorization": f"Bearer {KEY}x"}, 401),
        ({"authorization": f"Bearer {KEY[:-1]}"}, 401),
        ({"authorization": "Bearer "}, 401),
        ({"api-key": "sk-other"}, 401),
        ({"api-key": ""}, 401),
        ({"api-key": "ключ".encode()}, 401),
    ],
)
async def test_key_is_taken_as_bearer_or_api_key(headers: Any, status: int):
    async with calling(app(scenario="message", pace="fast", api_key=KEY)) as client:
        for method, path in (("POST", "/threads"), ("GET", THREAD), ("POST", RUNS)):
            response = await client.request(method, path, headers=headers, json={} if method == "POST" else None)
            assert response.status_code == (404 if status == 200 and method == "GET" else status)


async def test_refusal_for_want_of_a_key_quotes_nothing():
    async with calling(app(api_key=KEY)) as client:
        response = await client.post("/threads", headers={"authorization": "Bearer sk-guessed"})
        error = response.json()["error"]
        assert (error["code"], error["type"]) == ("invalid_api_key", "invalid_request_error")
        assert not any(key in response.text for key in (KEY, "sk-guessed"))


def test_key_is_not_in_the_repr():
    assert KEY not in repr(app(api_key=KEY))


@each_row(
    ("options", "text"),
    [
        ({"api_key": ""}, "expected an API key, got an empty one"),
        ({"scenario": "nowhere"}, "expected a scenario out of umbrellas, message"),
        ({"pace": "slow"}, "expected as pace real, fast, or events per second above 0, got 'slow'"),
        ({"fault": "flood"}, "expected a fault out of cut-event"),
        ({"fault": ["duplicate", "drip=0"]}, "expected for the fault drip a number from 1"),
    ],
)
def test_application_refuses_options_that_it_does_not_know(options: Any, text: str):
    with pytest.raises(ValueError, match="expected") as caught:
        app(**options)
    assert str(caught.value).startswith(text)


async def test_scenario_of_ones_own_is_played():
    async with calling(app(scenario=SCENARIOS["step-failed"], pace="fast")) as client:
        assert [step["status"] for step in (await stored_run(client, (await run_of(client))["id"])).steps] == [
            "failed", "completed"
        ]  # fmt: skip


def test_seeded_time_is_near_that_of_the_tests():
    assert abs(AT - SEEDED_TIME) < 10**8


async def test_runs_are_forgotten_by_their_size_too(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(threads, "MAX_BYTES", 15_000)
    api = threads.Threads()
    thread = api.create(0)
    for number in range(9):
        owner = Owner(f"run_{number}", thread.id, "asst_1", 0)
        run = Run(SCENARIOS["message"], EventWriter(owner, f"sim{number}", 0, None), {}, FAST)
        api.add_run(thread, run)
        run.begin(0).leave()
        run.catch_up(0)
    assert 0 < len(thread.runs) < 9
    assert list(thread.runs) == [f"run_{number}" for number in range(9)][-len(thread.runs) :]
