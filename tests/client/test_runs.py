"""The calls around runs: what is sent, and what is made of the answers."""

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import anyio
import httpx
import httpx2
import msgspec
import pytest
from anyio.from_thread import start_blocking_portal

from stepstream import APIError, IdleTimeout, Message, Processor, ProtocolError, Run, RunsClient, RunStep, Toolbox
from stepstream.client.api import MAX_PAGES
from stepstream.client.parameters import RunParameters, ThreadAndRunParameters
from stepstream.client.polling import RunKey
from stepstream.simulator.application import app
from stepstream.simulator.serving import serve
from tests.support.scripted_server import CREATED, DONE, Exchange, Script, serving
from tests.support.tables import each_row

JSON = dict[str, Any]

KEY = "sim-key"


@pytest.fixture(scope="module")
def base_url() -> Iterator[str]:
    """One simulator without delays, on a real port, for all tests that ask nothing special of it."""
    application = app(pace="fast", api_key=KEY, scenario="function")
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(serve(application)) as url:
        yield url


class Noted:
    """A server that notes each request and answers with the same."""

    def __init__(self, answer: object = None, *, stream: bytes = CREATED + DONE) -> None:
        self.answer = {"id": "run_1", "status": "queued"} if answer is None else answer
        self.stream = stream
        self.asked: list[Exchange] = []

    async def __call__(self, exchange: Exchange) -> None:
        self.asked.append(exchange)
        if exchange.body and json.loads(exchange.body).get("stream"):
            await exchange.stream(self.stream)
        else:
            await exchange.answer("200 OK", json.dumps(self.answer).encode())

    @property
    def targets(self) -> list[str]:
        return [f"{one.method} {one.target}" for one in self.asked]

    @property
    def body(self) -> JSON:
        [one] = self.asked
        body: JSON = json.loads(one.body)
        return body

    @property
    def query(self) -> list[tuple[str, str]]:
        [one] = self.asked
        return parse_qsl(urlsplit(one.target).query)


@asynccontextmanager
async def noting(noted: Script, path: str = "", **options: Any) -> AsyncIterator[RunsClient]:
    async with serving(noted) as url, RunsClient(f"{url}{path}", **options) as client:
        yield client


async def done(source: Any) -> list[object]:
    """Read a stream to its end."""
    async with source as stream:
        return [item async for item in stream]


# What is sent

PARAMETERS: JSON = {
    "assistant_id": "asst_1",
    "model": "m",
    "instructions": "Be brief.",
    "additional_instructions": "Very.",
    "additional_messages": [{"role": "user", "content": "Hi"}],
    "tools": [{"type": "code_interpreter"}],
    "tool_resources": {"code_interpreter": {"file_ids": []}},
    "tool_choice": {"type": "function", "function": {"name": "f"}},
    "parallel_tool_calls": False,
    "response_format": {"type": "json_object"},
    "truncation_strategy": {"type": "last_messages", "last_messages": 3},
    "temperature": 0.5,
    "top_p": None,
    "max_prompt_tokens": 1000,
    "max_completion_tokens": 500,
    "reasoning_effort": "low",
    "metadata": {"a": "b"},
}
THREAD = {"messages": [{"role": "user", "content": "Hi"}], "metadata": {}}


def test_parameters_are_all_that_are_tested():
    beside = {"include", "extra_body"}
    assert RunParameters.__annotations__.keys() == PARAMETERS.keys() | beside
    assert ThreadAndRunParameters.__annotations__.keys() == PARAMETERS.keys() | beside | {"thread"}


async def test_every_parameter_of_a_run_passes():
    noted = Noted()
    async with noting(noted) as client:
        await done(client.stream_run("thread_1", **PARAMETERS))
    assert noted.targets == ["POST /threads/thread_1/runs"]
    assert noted.body == {**PARAMETERS, "stream": True}


async def test_every_parameter_of_a_thread_and_run_passes():
    noted = Noted()
    async with noting(noted) as client:
        await done(client.stream_thread_and_run(thread=THREAD, **PARAMETERS))
    assert noted.targets == ["POST /threads/runs"]
    assert noted.body == {**PARAMETERS, "thread": THREAD, "stream": True}


@pytest.mark.parametrize("thread_id", ["thread_1", None])
async def test_drive_passes_every_parameter(thread_id: str | None):
    noted = Noted(stream=CREATED.replace(b"created", b"completed") + DONE)
    async with noting(noted) as client, Processor() as processor:
        await client.drive(processor, thread_id, include=["x"], extra_body={"y": 1}, **PARAMETERS)
    assert (noted.body, noted.query) == ({**PARAMETERS, "y": 1, "stream": True}, [("include[]", "x")])


async def test_what_is_left_out_is_not_sent():
    noted = Noted()
    async with noting(noted) as client:
        await done(client.stream_run("thread_1", assistant_id="asst_1", include=(), extra_body={}))
    assert (noted.body, noted.query) == ({"assistant_id": "asst_1", "stream": True}, [])


async def test_extra_body_adds_fields_and_the_stream_stays_one():
    noted = Noted()
    async with noting(noted) as client:
        await done(client.stream_run("thread_1", assistant_id="a", extra_body={"beta": [1], "stream": False}))
    assert noted.body == {"assistant_id": "a", "beta": [1], "stream": True}


async def test_structs_and_tuples_pass_as_json():
    class Tool(msgspec.Struct):
        type: str = "code_interpreter"

    noted = Noted()
    async with noting(noted) as client:
        await done(client.stream_run("thread_1", tools=(Tool(),)))
    assert noted.body == {"tools": [{"type": "code_interpreter"}], "stream": True}


async def test_include_is_asked_for_in_the_query():
    noted = Noted()
    async with noting(noted, "/v1?tenant=a", api_version="v1") as client:
        await done(client.stream_run("thread_1", include=["a.b[*]", "c"]))
    assert noted.query == [("tenant", "a"), ("api-version", "v1"), ("include[]", "a.b[*]"), ("include[]", "c")]
    assert noted.body == {"stream": True}


@each_row(
    ("wrong", "said"),
    [
        ({"temprature": 1}, "expected parameters of a run, got temprature"),
        ({"stream": False}, "got stream; others go into extra_body"),
        ({"include": "a"}, "expected include as a sequence"),
        ({"metadata": {"a": object()}}, "object"),
    ],
)
async def test_wrong_parameter_is_refused_before_anything_is_sent(wrong: JSON, said: str):
    client = RunsClient("http://peer")
    async with Processor() as processor:
        for opening in (
            lambda: client.stream_run("thread_1", **wrong),
            lambda: client.stream_thread_and_run(**wrong),
        ):
            with pytest.raises(TypeError, match=said):
                opening()
        for thread_id in ("thread_1", None):
            with pytest.raises(TypeError, match=said):
                await client.drive(processor, thread_id, **wrong)


async def test_thread_is_described_for_a_new_one_only():
    async with Processor() as processor:
        with pytest.raises(TypeError, match="got thread"):
            RunsClient("http://peer").stream_run("thread_1", thread={})
        with pytest.raises(TypeError, match="got thread"):
            await RunsClient("http://peer").drive(processor, "thread_1", thread={})


@each_row("wrong", ["", ".", ".."])
async def test_what_is_no_id_is_refused_before_anything_is_sent(wrong: str):
    client = RunsClient("http://peer")
    for opening in (
        lambda: client.stream_run(wrong),
        lambda: client.submit_tool_outputs("t", wrong, {}),
        lambda: client.submit_tool_approvals(wrong, "r", {}),
    ):
        with pytest.raises(ValueError, match="expected an id"):
            opening()
    for call in (client.retrieve_run("t", wrong), client.list_steps(wrong, "r"), client.retrieve_step("t", "r", wrong)):
        with pytest.raises(ValueError, match="expected an id"):
            await call


async def test_answers_are_sent_by_call_id():
    noted = Noted()
    async with noting(noted) as client:
        await done(client.submit_tool_outputs("t", "r", {"call_1": "4", "call_2": None}))
        await done(client.submit_tool_approvals("t", "r", {"call_1": True, "call_2": False}))
    assert noted.targets == ["POST /threads/t/runs/r/submit_tool_outputs"] * 2
    assert [json.loads(one.body) for one in noted.asked] == [
        {
            "tool_outputs": [
                {"tool_call_id": "call_1", "output": "4"},
                {"tool_call_id": "call_2", "output": None},
            ],
            "stream": True,
        },
        {
            "tool_approvals": [
                {"tool_call_id": "call_1", "approve": True},
                {"tool_call_id": "call_2", "approve": False},
            ],
            "stream": True,
        },
    ]


async def test_ids_are_quoted_in_every_path():
    noted = Noted({"id": "x", "data": []})
    async with noting(noted, "/v1/") as client:
        await client.retrieve_run("t/1", "r?1")
        await client.cancel_run("t/1", "r?1")
        await client.retrieve_step("t/1", "r?1", "s#1")
        await client.list_steps("t/1", "r?1")
        await client.list_messages("t/1")
    assert [one.partition("?")[0] for one in noted.targets] == [
        "GET /v1/threads/t%2F1/runs/r%3F1",
        "POST /v1/threads/t%2F1/runs/r%3F1/cancel",
        "GET /v1/threads/t%2F1/runs/r%3F1/steps/s%231",
        "GET /v1/threads/t%2F1/runs/r%3F1/steps",
        "GET /v1/threads/t%2F1/messages",
    ]


async def test_each_request_has_a_fresh_key_and_the_headers_of_the_client():
    noted, tokens = Noted(), iter("abc")

    async def token() -> str:
        await anyio.lowlevel.checkpoint()
        return next(tokens)

    async with noting(noted, api_key=token, headers={"x-own": "yes"}) as client:
        await done(client.stream_run("t"))
        await client.retrieve_run("t", "r")
        await client.cancel_run("t", "r")
    assert [one.values("authorization") for one in noted.asked] == [["Bearer a"], ["Bearer b"], ["Bearer c"]]
    assert {tuple(one.values("x-own") + one.values("openai-beta")) for one in noted.asked} == {("yes", "assistants=v2")}


async def test_azures_key_and_version_are_sent_as_azure_wants_them():
    noted = Noted()
    async with noting(noted, api_key="k", api_version="2025-05-01") as client:
        await client.retrieve_run("t", "r")
    [one] = noted.asked
    assert (one.values("api-key"), one.values("authorization"), noted.query) == (
        ["k"], [], [("api-version", "2025-05-01")]
    )  # fmt: skip


# Answers

FULL_RUN: JSON = {
    "id": "run_1",
    "object": "thread.run",
    "created_at": 1,
    "assistant_id": "asst_1",
    "thread_id": "thread_1",
    "status": "requires_action",
    "started_at": 2,
    "expires_at": 3,
    "cancelled_at": None,
    "failed_at": None,
    "completed_at": None,
    "required_action": {
        "type": "submit_tool_outputs",
        "submit_tool_outputs": {
            "tool_calls": [{"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
        },
    },
    "last_error": {"code": "server_error", "message": "no"},
    "model": "m",
    "instructions": "Be brief.",
    "tools": [{"type": "code_interpreter"}],
    "tool_resources": {},
    "metadata": {"a": "b"},
    "temperature": 1,
    "top_p": 0.5,
    "reasoning_effort": "low",
    "max_completion_tokens": 5,
    "max_prompt_tokens": 6,
    "truncation_strategy": {"type": "auto", "last_messages": None},
    "incomplete_details": {"reason": "max_prompt_tokens"},
    "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3},
    "response_format": "auto",
    "tool_choice": {"type": "function", "function": {"name": "f"}},
    "parallel_tool_calls": True,
}


def wire(value: object) -> Any:
    return json.loads(msgspec.json.encode(value))


@each_row(
    "news",
    [
        {},
        {"status": "hibernating"},
        {"required_action": {"type": "submit_a_song", "submit_a_song": {"notes": 7}}},
        {"tool_choice": "required", "response_format": {"type": "json_schema", "json_schema": {}}},
    ],
)
async def test_run_has_every_field_of_the_answer(news: JSON):
    async with noting(Noted({**FULL_RUN, **news})) as client:
        run = await client.retrieve_run("thread_1", "run_1")
    assert isinstance(run, Run)
    assert wire(run) == {**FULL_RUN, **news}


async def test_object_of_a_newer_server_is_kept():
    step = {"id": "step_1", "status": "completed", "step_details": {"type": "seances", "medium": "tea leaves"}}
    async with noting(Noted({**step, "news": 1})) as client:
        assert wire(await client.retrieve_step("t", "r", "step_1")) == step


@each_row("status", [{}, {"status": None}])
async def test_object_without_a_status_is_given_none(status: JSON):
    objects = [{"id": "msg_1", "run_id": "r", **status}]
    async with noting(Noted({"data": objects, "has_more": False})) as client:
        assert [wire(one) for one in await client.list_messages("t")] == objects
    async with noting(Noted({"id": "run_1", **status})) as client:
        assert wire(await client.retrieve_run("t", "run_1")) == {"id": "run_1", **status}


def in_pages(count: int, *, more: object = True) -> Script:
    """Answer with one object a page, each after the one that is asked for."""

    async def script(exchange: Exchange) -> None:
        query = dict(parse_qsl(urlsplit(exchange.target).query))
        number = int(query.get("after", "step_0").removeprefix("step_")) + 1
        page = {"data": [{"id": f"step_{number}"}], "has_more": more if number < count else False}
        await exchange.answer("200 OK", page)

    return script


async def test_pages_are_followed():
    asked = list[dict[str, str]]()

    async def script(exchange: Exchange) -> None:
        asked.append(dict(parse_qsl(urlsplit(exchange.target).query)))
        await in_pages(3)(exchange)

    async with noting(script, "?tenant=a") as client:
        steps = await client.list_steps("t", "r")
    assert [step.id for step in steps] == ["step_1", "step_2", "step_3"]
    first = {"tenant": "a", "limit": "100", "order": "asc"}
    assert asked == [first, {**first, "after": "step_1"}, {**first, "after": "step_2"}]


@each_row(
    "page", [{"data": [], "has_more": True}, {"data": [], "has_more": None}, {"data": []}, {"data": [], "first_id": 0}]
)
async def test_page_without_objects_is_the_last(page: JSON):
    noted = Noted(page)
    async with noting(noted) as client:
        assert await client.list_steps("t", "r") == []
    assert len(noted.asked) == 1


async def test_list_without_an_end_is_given_up(monkeypatch: pytest.MonkeyPatch):
    assert MAX_PAGES == 1_000
    monkeypatch.setattr("stepstream.client.api.MAX_PAGES", 5)
    async with noting(in_pages(10**9)) as client:
        with pytest.raises(ProtocolError, match="expected a list of at most 5 pages"):
            await client.list_steps("t", "r")


@pytest.mark.parametrize("count", [1, 100])
async def test_same_page_again_is_the_end_and_a_warning_where_it_is_full(count: int, caplog: pytest.LogCaptureFixture):
    noted = Noted({"data": [{"id": f"step_{number}"} for number in range(count)], "has_more": True})
    async with noting(noted) as client:
        assert len(await client.list_steps("t", "r")) == count
    assert len(noted.asked) == 2
    assert [record.levelname for record in caplog.records if record.name == "stepstream.client"] == (
        ["WARNING"] if count == 100 else []
    )


async def test_array_without_an_object_around_it_is_a_page():
    async with noting(Noted([{"id": "step_1"}, {"id": "step_2"}])) as client:
        assert [step.id for step in await client.list_steps("t", "r")] == ["step_1", "step_2"]


@each_row(
    "page",
    [{}, 5, {"data": None}, {"data": {}}, {"data": [{}]}, {"data": [5], "has_more": True}, {"data": [{"id": 5}]}],
)
async def test_page_that_is_none_is_a_protocol_error(page: object):
    async with noting(Noted(page)) as client:
        with pytest.raises(ProtocolError):
            await client.list_steps("t", "r")


async def test_messages_of_another_run_are_left_out():
    messages = [{"id": "msg_1", "run_id": "run_1"}, {"id": "msg_2", "run_id": None}, {"id": "msg_3"}]
    async with noting(Noted({"data": messages})) as client:
        assert [one.id for one in await client.list_messages("t")] == ["msg_1", "msg_2", "msg_3"]
        assert [one.id for one in await client.list_messages("t", run_id="run_1")] == ["msg_1"]


async def test_messages_of_a_server_that_names_no_runs_are_those_that_no_user_wrote():
    messages = [{"id": "msg_1", "role": "user"}, {"id": "msg_2", "role": "assistant"}, {"id": "msg_3"}]
    async with noting(Noted({"data": messages})) as client:
        assert [one.id for one in await client.list_messages("t", run_id="run_1")] == ["msg_2", "msg_3"]


# What is asked when a stream broke


def telling(run: object, steps: object = (), messages: object = ()) -> Script:
    async def script(exchange: Exchange) -> None:
        path = urlsplit(exchange.target).path
        found = {"steps": {"data": steps}, "messages": {"data": messages}}.get(path.rpartition("/")[2], run)
        await exchange.answer("200 OK", json.dumps(found).encode())

    return script


async def test_truth_has_what_cannot_be_read_left_to_whoever_folds_it():
    messages = [{"id": 5, "run_id": "r"}, 7, {"id": "msg_1", "run_id": "r", "content": 5}, {"id": "m", "run_id": "q"}]
    async with noting(telling({"id": "r"}, [{"id": 5}], messages)) as client:
        truth = await client._ask(RunKey("t", "r"))
    assert [json.loads(one) for one in truth.messages] == [messages[0], messages[2]]
    assert [json.loads(one) for one in truth.steps] == [{"id": 5}]


@each_row("run", [[], {}, {"id": 5}, "r"])
async def test_truth_needs_a_run(run: object):
    async with noting(telling(run)) as client:
        with pytest.raises(ProtocolError):
            await client._ask(RunKey("t", "r"))


@each_row("status", ["400 Bad", "404 Not Found", "405 No", "501 No"])
async def test_server_without_a_list_of_messages_is_asked_for_the_rest(status: str):
    async def script(exchange: Exchange) -> None:
        if "/messages" in exchange.target:
            await exchange.answer(status)
        else:
            await telling({"id": "r"}, [{"id": "step_1"}])(exchange)

    async with noting(script) as client:
        truth = await client._ask(RunKey("t", "r"))
    assert (len(truth.steps), truth.messages) == (1, ())


async def test_refused_messages_are_a_failure():
    async def script(exchange: Exchange) -> None:
        if "/messages" in exchange.target:
            await exchange.answer("403 Forbidden")
        else:
            await telling({"id": "r"})(exchange)

    async with noting(script) as client:
        with pytest.raises(APIError):
            await client._ask(RunKey("t", "r"))


async def test_steps_are_asked_for_as_the_run_was():
    noted = list[str]()
    created = b'event: thread.run.created\ndata: {"id": "r", "thread_id": "t"}\n\n'

    async def script(exchange: Exchange) -> None:
        noted.append(f"{exchange.method} {exchange.target}")
        if exchange.method == "POST":
            await exchange.stream(created)
        else:
            await telling({"id": "r", "thread_id": "t", "status": "completed"})(exchange)

    async with noting(script) as client, Processor() as processor:
        outcome = await processor.run(client.stream_run("t", include=["x"]))
    assert outcome.reconciled
    [steps] = [one for one in noted if "/steps" in one]
    assert ("include[]", "x") in parse_qsl(urlsplit(steps).query)


# The simulator


async def run_of(client: RunsClient, processor: Processor) -> Run:
    """Open a run that waits for a function."""
    outcome = await processor.run(client.stream_run("thread_own", assistant_id="asst_1"))
    [run] = outcome.runs.values()
    return run


async def test_run_is_opened_answered_and_asked_for(base_url: str):
    async with RunsClient(base_url, api_key=KEY) as client, Processor() as processor:
        run = await run_of(client, processor)
        assert (run.status, run.thread_id) == ("requires_action", "thread_own")
        assert await client.retrieve_run("thread_own", run.id) == run
        [call] = run.required_action.tool_calls
        outcome = await processor.run(client.submit_tool_outputs("thread_own", run.id, {call.id: "7 m"}))
        ended = await client.retrieve_run("thread_own", run.id)
        steps = await client.list_steps("thread_own", run.id)
        messages = await client.list_messages("thread_own", run_id=run.id)
        first = await client.retrieve_step("thread_own", run.id, steps[0].id)
    assert (outcome.reason, outcome.runs[run.id], ended.status) == ("done", ended, "completed")
    assert {step.id: step for step in steps} == dict(outcome.steps)
    assert {message.id: message for message in messages} == dict(outcome.messages)
    assert (first, type(first), type(messages[0])) == (steps[0], RunStep, Message)


async def test_run_is_cancelled(base_url: str):
    async with RunsClient(base_url, api_key=KEY) as client, Processor() as processor:
        run = await run_of(client, processor)
        assert (await client.cancel_run("thread_own", run.id)).status in ("cancelling", "cancelled")
        with pytest.raises(APIError) as caught:
            await client.retrieve_run("thread_own", "run_unheard_of")
    assert (caught.value.status_code, caught.value.request_id is None) == (404, False)


async def test_run_on_a_new_thread_is_driven_to_its_end(base_url: str):
    tools = Toolbox()

    @tools.function
    def get_depth(place: str, tide: str) -> dict[str, float]:
        return {"metres": 7.5}

    async with RunsClient(f"{base_url}/v1/", api_key=KEY) as client, Processor() as processor:
        outcome = await client.drive(processor, None, tools, assistant_id="asst_1")
    [run] = outcome.runs.values()
    assert (outcome.reason, run.status, outcome.required_action) == ("done", "completed", None)
    assert next(iter(outcome.steps.values())).tool_calls[0].function.output == '{"metres":7.5}'


async def test_mcp_calls_are_approved():
    tools, asked = Toolbox(), list[str | None]()

    @tools.approve
    async def may(call: Any) -> bool:
        asked.append(call.tool_name)
        return True

    async with serve(app(pace="fast", scenario="mcp")) as url, Processor() as processor:
        outcome = await RunsClient(url).drive(processor, "thread_own", tools)
    assert ([run.status for run in outcome.runs.values()], asked) == (["completed"], ["find_berth"])


async def test_list_of_many_pages_is_whole():
    async with serve(app(pace="fast", scenario="message")) as url, RunsClient(url) as client:
        async with httpx.AsyncClient(base_url=url, trust_env=False) as http:
            for _ in range(230):
                await http.post("/threads/thread_own/messages", json={"role": "user", "content": "Hi"})
        messages = await client.list_messages("thread_own")
    assert len({message.id for message in messages}) == 230


async def test_wrong_key_is_refused(base_url: str):
    async with Processor() as processor:
        with pytest.raises(APIError) as caught:
            await processor.run(RunsClient(base_url, api_key="another").stream_run("t", assistant_id="a"))
    assert (caught.value.status_code, caught.value.code) == (401, "invalid_api_key")
    assert "another" not in str(caught.value)


@pytest.mark.parametrize("family", [httpx, httpx2])
async def test_given_client_serves_streams_and_calls(family: Any, base_url: str):
    async with family.AsyncClient(trust_env=False) as http, Processor() as processor:
        client = RunsClient(base_url, api_key=KEY, client=http)
        run = await run_of(client, processor)
        assert (await client.retrieve_run("thread_own", run.id)).id == run.id
        assert not http.is_closed


async def test_timeouts_of_streams_are_those_of_the_client():
    async def begins(exchange: Exchange) -> None:
        if exchange.method == "POST":
            await exchange.stream(CREATED, end=False)
        await exchange.hung_up()

    timeouts = {"idle_timeout": 0.05, "timeout": 0.05, "reconcile_timeout": 0.1}
    async with noting(begins, attempts=1, **timeouts) as client, Processor() as processor:
        with pytest.raises(IdleTimeout) as caught:
            await processor.run(client.stream_run("t"))
    assert "for 0.1 s (reconcile_timeout) the server did not say" in str(caught.value)


async def test_stream_shows_its_response(base_url: str):
    client = RunsClient(base_url, api_key=KEY)
    async with client.stream_run("thread_own", assistant_id="asst_1") as stream:
        assert (stream.status_code, stream.headers["content-type"]) == (200, "text/event-stream")
        assert stream.request_id
        assert KEY not in repr(stream)
