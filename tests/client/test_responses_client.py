"""The client for responses: its calls, its rounds, and what it does where a stream cannot be resumed."""

import inspect
import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest
from openai.resources.responses import AsyncResponses

from stepstream import (
    APIError,
    Processor,
    ProtocolError,
    ResponsesClient,
    RunTransition,
    Source,
    StreamHandle,
    StreamTruncated,
    Toolbox,
    ToolContext,
    ToolFailed,
    TransportError,
)
from stepstream.asgi.http import Application, Receive, Scope, Send, send_body
from stepstream.client.parameters import ResponseParameters
from stepstream.simulator.application import app
from stepstream.simulator.scenario import Answer, FunctionCall, FunctionCalls, Scenario
from stepstream.sources import backoff
from stepstream.wire.tool_calls import ToolCall
from tests.support.breaking_simulator import WITHIN, Break, Server, Trouble, Wire, breaking
from tests.support.json_values import JSON
from tests.support.response_drives import driven, first_ids, wrong_with
from tests.support.tables import each_row

WAYS: dict[str, JSON] = {
    "previous": {},
    "background": {"background": True},
    "conversation": {"conversation": "conv_own"},
    "whole input": {"store": False},
}
"""How a response may be opened, and so how the one after it names it."""

SIX_ROUNDS = Scenario(
    summary="six rounds of calls",
    acts=(
        *(FunctionCalls(calls=(FunctionCall("book_berth", f'{{"place": "N{n}", "hours": {n}}}'),)) for n in range(6)),
        Answer(parts=("All berths are booked.",)),
    ),
)


BOTH = pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])


@pytest.fixture
def anyio_backend() -> str:
    """One will do for most: `test_response_breaks` has the streams that break on both."""
    return "asyncio"


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backoff, "FIRST", 0.001)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with breaking("code") as server:
        yield server


# Parameters


def test_every_parameter_of_the_api_has_its_name():
    of_others = {"self", "stream", "extra_headers", "extra_query", "timeout"}
    named = set(inspect.signature(AsyncResponses.create).parameters) - of_others
    assert set(ResponseParameters.__annotations__) == named


UNKNOWN = "expected parameters of a response, got temprature; others go into extra_body"


async def test_unknown_parameter_is_refused():
    client: Any = ResponsesClient("http://peer")
    with pytest.raises(TypeError, match=UNKNOWN):
        client.stream(temprature=1)
    async with Processor() as processor:
        with pytest.raises(TypeError, match=UNKNOWN):
            await client.drive(processor, temprature=1)


async def test_parameters_are_sent_and_others_with_them(server: Server):
    wire = Wire()
    given: JSON = {"input": "Ahoy", "temperature": 0.1, "metadata": {"a": "b"}}
    drive = await driven(server, wire, tools=Toolbox(), **given, extra_body={"agent_reference": {"name": "harbour"}})
    assert drive.failure is None
    assert wire.posts("/responses") == [{**given, "agent_reference": {"name": "harbour"}, "stream": True}]


@each_row(
    ("given", "declared"), [({}, ["double", "shout"]), ({"tools": []}, []), ({"tools": [{"name": "other"}]}, ["other"])]
)
async def test_tools_are_those_of_the_toolbox_unless_they_are_given(given: JSON, declared: list[str]):
    wire = Wire()
    async with breaking("message") as server, Processor() as processor:
        await server.wired_responses(wire).drive(processor, doubling([]), input="Ahoy", **given)
    assert [tool["name"] for tool in wire.posts("/responses")[0]["tools"]] == declared


async def test_requests_are_those_that_azure_wants():
    asked = list[Scope]()

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        asked.append(scope)
        await send_body(send, 200, b'{"id": "resp_1"}', "application/json")

    async with breaking(application) as server:
        headers = {"x-app": server.client.headers["x-app"]}
        client = ResponsesClient(
            f"{server.url}/openai/v1", api_key="k", api_version="preview", headers=headers, client=server.client
        )
        assert await client.retrieve("resp_1") == {"id": "resp_1"}
    names = dict(asked[0]["headers"])
    assert (asked[0]["path"], asked[0]["query_string"]) == ("/openai/v1/responses/resp_1", b"api-version=preview")
    assert names[b"api-key"] == b"k"
    assert b"openai-beta" not in names


# Calls


async def started(processor: Processor, source: Source) -> tuple[StreamHandle, str]:
    """Start a stream, and return its handle once its run is in progress, and the id of that."""
    with anyio.fail_after(WITHIN):
        async with processor.subscribe(RunTransition, status="in_progress") as changes:
            handle = processor.start(source)
            return handle, str((await anext(changes)).run_id)


async def test_response_is_retrieved_cancelled_and_its_input_listed():
    async with breaking("code", pace="real") as server:
        client = server.wired_responses(Wire())
        async with Processor() as processor:
            handle, response_id = await started(processor, client.stream(input="Ahoy", background=True))
            assert (await client.retrieve(response_id))["status"] == "in_progress"
            assert (await client.cancel(response_id))["status"] == "cancelled"
            assert (await handle.outcome()).status == "cancelled"
        [item] = await client.input_items(response_id)
        assert item["content"] == [{"type": "input_text", "text": "Ahoy"}]


async def test_response_that_is_not_there_is_an_error_of_the_api(server: Server):
    client = server.wired_responses(Wire())
    with pytest.raises(APIError, match="Response with id 'resp_none' not found"):
        await client.retrieve("resp_none")


@each_row("body", [b"<p>", b"[]", b"7"])
async def test_body_that_is_no_object_is_an_error_of_the_protocol(body: bytes):
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await send_body(send, 200, body, "application/json")

    async with breaking(application) as server:
        with pytest.raises(ProtocolError):
            await server.wired_responses(Wire()).retrieve("resp_1")


@each_row("identifier", ["", "..", "."])
async def test_id_that_leads_elsewhere_is_refused(identifier: str):
    client = ResponsesClient("http://peer")
    with pytest.raises(ValueError, match="expected an id"):
        client.attach(identifier)
    with pytest.raises(ValueError, match="expected an id"):
        await client.retrieve(identifier)


# Rounds


@each_row(("scenario", "way"), [(name, way) for name in ("tool-rounds", "mcp", "incomplete") for way in WAYS])
async def test_scenario_is_one_run_however_its_rounds_are_told(scenario: str, way: str):
    async with breaking(scenario) as server:
        wire = Wire()
        drive = await driven(server, wire, **WAYS[way])
        assert drive.outcome is not None
        if way != "whole input":  # of which the server keeps nothing
            assert await wrong_with(server, drive) == "whole"
        assert drive.outcome.anomaly_count == 0
        assert list(drive.outcome.runs) == first_ids(wire)[:1]
        assert len(wire.asked) == len(wire.streams)


@BOTH
async def test_six_rounds_are_one_run():
    async with breaking(SIX_ROUNDS) as server:
        drive = await driven(server, Wire())
        assert await wrong_with(server, drive) == "whole"
    assert drive.outcome is not None
    assert len(drive.wire.streams) == 7
    assert drive.made == [f"book_berth N{number} {number}" for number in range(6)]
    assert (drive.outcome.text, len(drive.outcome.steps)) == ("All berths are booked.", 7)
    statuses = [change.status for change in drive.changes if isinstance(change, RunTransition)]
    assert statuses == ["in_progress", *["requires_action", "in_progress"] * 6, "completed"]


@each_row("way", WAYS)
async def test_round_names_the_one_before_as_it_was_opened(way: str):
    async with breaking("function") as server:
        drive = await driven(server, Wire(), **WAYS[way])
    [first, second] = drive.wire.posts("/responses")
    [identifier, _] = first_ids(drive.wire)
    answered = second["input"][-1]
    assert (answered["type"], answered["output"]) == ("function_call_output", "7.5")
    assert second.get("previous_response_id") == (identifier if way in ("previous", "background") else None)
    kinds = [item.get("type", "message") for item in second["input"]]
    whole = ["message", "function_call", "function_call_output"]
    assert kinds == (whole if way == "whole input" else ["function_call_output"])
    assert {**first, "input": None, "previous_response_id": None} == {
        **second, "input": None, "previous_response_id": None
    }  # fmt: skip


async def test_reasoning_is_sent_again_only_where_it_is_encrypted():
    thought = {"type": "reasoning", "id": "rs_1", "summary": []}
    items = [thought, {**thought, "encrypted_content": "x"}, {"type": "function_call", "call_id": "a", "name": "f"}]
    sent = list[JSON]()

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        sent.append(json.loads((await receive())["body"]))
        name = f"resp_{len(sent)}"
        output = items if len(sent) == 1 else []
        data = {"type": "response.completed", "response": {"id": name, "status": "completed", "output": output}}
        await send_body(send, 200, f"data: {json.dumps(data)}\n\n".encode(), "text/event-stream")

    tools = Toolbox()
    tools.function(lambda: "done", name="f")
    async with breaking(application) as server:
        drive = await driven(server, Wire(), tools=tools, input=[{"role": "user", "content": "x"}], store=False)
    assert drive.failure is None
    assert [one.get("encrypted_content", one.get("type")) for one in sent[1]["input"]] == [
        None, "x", "function_call", "function_call_output"
    ]  # fmt: skip


@each_row(("rounds", "streams", "status"), [(0, 1, "requires_action"), (1, 2, "requires_action"), (3, 4, "completed")])
async def test_rounds_have_a_limit(rounds: int, streams: int, status: str):
    async with breaking("tool-rounds") as server:
        drive = await driven(server, wire := Wire(), max_rounds=rounds)
    assert drive.outcome is not None
    assert (len(wire.streams), drive.outcome.status) == (streams, status)


@each_row("given", [{}, {"extra_body": {"agent_reference": {"name": "pilot"}}}])
async def test_tools_are_declared_where_neither_they_nor_an_agent_are_given(given: JSON):
    async with breaking("function") as server:
        drive = await driven(server, Wire(), **given)
    assert drive.outcome is not None
    assert drive.outcome.status == "completed"
    declared = ["get_depth", "get_tide", "get_wind", "book_berth"]
    for body in drive.wire.posts("/responses"):
        assert [tool["name"] for tool in body.get("tools", [])] == ([] if given else declared)


async def test_limit_of_rounds_is_no_number_below_zero():
    async with Processor() as processor:
        with pytest.raises(ValueError, match="expected max_rounds of at least 0, got -1"):
            await ResponsesClient("http://peer").drive(processor, max_rounds=-1)


async def test_without_a_toolbox_the_outcome_says_what_waits():
    async with breaking("function") as server, Processor() as processor:
        outcome = await server.wired_responses(Wire()).drive(processor, input="x")
    assert outcome.required_action
    assert [call.tool_name for call in outcome.required_action.tool_calls] == ["get_depth"]


@each_row("approve", [True, False])
async def test_approvals_are_sent(approve: bool):
    tools = Toolbox()
    tools.approve(lambda call: approve)
    async with breaking("mcp") as server:
        drive = await driven(server, Wire(), tools=tools)
    [item] = drive.wire.posts("/responses")[1]["input"]
    assert (item["type"], item["approve"]) == ("mcp_approval_response", approve)
    assert drive.outcome is not None
    assert [step.tool_calls[0].tool_name for step in drive.outcome.steps.values() if step.tool_calls] == (
        ["find_berth"] if approve else []
    )


def answering(items: list[JSON], *, tools: list[JSON] | None = None) -> Application:
    """Return a server whose first response has these items, and whose next ones have none."""
    count = 0

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal count
        count += 1
        response = {
            "id": f"resp_{count}",
            "status": "completed",
            "output": items if count == 1 else [],
            "tools": tools or [],
        }
        data = {"type": "response.completed", "response": response}
        await send_body(send, 200, f"data: {json.dumps(data)}\n\n".encode(), "text/event-stream")

    return application


FUNCTION: JSON = {"type": "function_call", "id": "fc_1", "call_id": "a", "name": "double", "arguments": '{"n": 4}'}
CUSTOM: JSON = {"type": "custom_tool_call", "id": "ctc_1", "call_id": "b", "name": "shout", "input": "ahoy"}
SHELL: JSON = {"type": "local_shell_call", "id": "ls_1", "call_id": "c", "action": {"command": ["ls"]}}
ASKED: JSON = {"type": "mcp_approval_request", "id": "mcpr_1", "name": "find", "arguments": "{}"}


def doubling(context: list[ToolContext]) -> Toolbox:
    tools = Toolbox()

    @tools.function
    async def double(n: int, asked: ToolContext) -> int:
        context.append(asked)
        return 2 * n

    @tools.custom(name="shout", description="Shout")
    async def shout(text: str) -> str:
        return text.upper()

    return tools


async def test_functions_custom_tools_and_approvals_are_answered_together():
    asked = list[ToolContext]()
    async with breaking(answering([FUNCTION, CUSTOM, ASKED])) as server:
        drive = await driven(server, Wire(), tools=doubling(asked), context="channel 7")
    assert drive.wire.posts("/responses")[1]["input"] == [
        {"type": "function_call_output", "call_id": "a", "output": "8"},
        {"type": "custom_tool_call_output", "call_id": "b", "output": "AHOY"},
        {"type": "mcp_approval_response", "approval_request_id": "mcpr_1", "approve": False},
    ]
    [one] = asked
    assert (one.run_id, one.call_id, one.step_id, one.context) == ("resp_1", "a", "fc_1", "channel 7")


async def test_call_that_no_toolbox_can_answer_is_left_to_the_caller():
    async with breaking(answering([FUNCTION, SHELL])) as server:
        drive = await driven(server, Wire(), tools=doubling([]))
    assert drive.outcome is not None
    assert (drive.outcome.status, len(drive.wire.posts("/responses"))) == ("requires_action", 1)


async def test_call_of_a_tool_that_was_not_declared_is_the_servers_own():
    async with breaking(answering([FUNCTION], tools=[{"type": "function", "name": "other"}])) as server:
        drive = await driven(server, Wire(), tools=doubling([]))
    assert drive.outcome is not None
    assert drive.outcome.status == "completed"


async def test_tool_that_fails_ends_the_drive_where_it_is_to():
    tools = Toolbox(on_error="cancel")

    @tools.function
    async def double(n: int) -> int:
        raise LookupError("no")

    async with breaking(answering([FUNCTION])) as server:
        drive = await driven(server, Wire(), tools=tools)
    assert isinstance(drive.failure, ToolFailed)
    assert drive.failure.outcome is not None
    assert (drive.failure.outcome.status, len(drive.wire.posts("/responses"))) == ("requires_action", 1)


async def test_failure_has_the_outcome_of_all_rounds():
    async with breaking("tool-rounds") as server:
        wire = Wire(trouble=lambda asked, before: Trouble(400) if asked.method == "POST" and before == 2 else None)
        drive = await driven(server, wire)
    assert isinstance(drive.failure, APIError)
    assert drive.failure.outcome is not None
    assert [step.tool_calls[0].tool_name for step in drive.failure.outcome.steps.values()] == [
        "get_depth", None, "get_tide", "get_wind"
    ]  # fmt: skip


# Broken streams


async def test_resumed_stream_begins_after_the_newest_event(server: Server):
    wire = Wire(Break("cut", 1, "event", 12))
    queries = list[bytes]()
    application = noting(queries, app(scenario="code", pace="fast"))
    async with breaking(application) as noted:
        drive = await driven(noted, wire, background=True)
        assert await wrong_with(noted, drive) == "whole"
    assert [query for query in queries if b"stream" in query] == [b"stream=true&starting_after=11"]
    assert [one.method for one in wire.asked] == ["POST", "GET"]


def noting(queries: list[bytes], application: Application) -> Application:
    async def noted(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            queries.append(scope["query_string"])
        await application(scope, receive, send)

    return noted


def refusing(status: int, times: float, application: Application, **headers: str) -> tuple[Application, list[int]]:
    """Return an application that refuses to resume streams so many times, and the count of refusals."""
    refused = [0]

    async def refuse(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and b"stream=true" in scope["query_string"] and refused[0] < times:
            refused[0] += 1
            error = b'{"error": {"message": "not now"}}'
            await send_body(send, status, error, "application/json", {k.replace("_", "-"): headers[k] for k in headers})
        else:
            await application(scope, receive, send)

    return refuse, refused


@each_row(
    ("status", "times", "ended"), [(503, 3, "whole"), (429, 1, "whole"), (400, 9, "reconciled"), (404, 9, "reconciled")]
)
async def test_refusal_to_resume_is_waited_out_or_the_response_is_asked_for(status: int, times: int, ended: str):
    application, refused = refusing(status, times, app(scenario="code", pace="fast"))
    async with breaking(application) as server:
        drive = await driven(server, Wire(Break("reset", 1, "event", 9)), background=True)
        assert await wrong_with(server, drive) == ended
    assert refused[0] == (times if ended == "whole" else 1)


async def test_server_says_when_to_try_again(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO, "stepstream.http")
    application, _ = refusing(503, 1, app(scenario="code", pace="fast"), retry_after="0.3")
    async with breaking(application) as server:
        drive = await driven(server, Wire(Break("cut", 1, "event", 9)), background=True)
    assert drive.failure is None
    assert [record.args[2] for record in caplog.records if isinstance(record.args, tuple)][1:] == [0.3]


async def test_stream_that_breaks_again_and_again_is_resumed_again_and_again():
    async with breaking(app(scenario="code", pace="fast", fault="cut-event=20")) as server:
        drive = await driven(server, wire := Wire(), background=True)
        assert await wrong_with(server, drive) == "whole"
    assert len(wire.asked) == 5


async def test_response_whose_resumed_streams_bring_nothing_is_asked_for():
    async def empty(scope: Scope, receive: Receive, send: Send) -> None:
        await send_body(send, 200, b"", "text/event-stream")

    whole = app(scenario="code", pace="fast")

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        is_resumed = scope["type"] == "http" and b"stream=true" in scope["query_string"]
        await (empty if is_resumed else whole)(scope, receive, send)

    async with breaking(application) as server:
        drive = await driven(server, Wire(Break("cut", 1, "event", 9)), background=True)
        assert await wrong_with(server, drive) == "reconciled"
    assert [one.method for one in drive.wire.asked] == ["POST", "GET", "GET"]


async def test_stream_that_is_not_numbered_is_asked_for():
    async with breaking(app(scenario="code", pace="fast")) as server:
        wire = Wire(Break("cut", 1, "event", 9))
        client = server.wired_responses(wire)
        client._endpoint.default_headers["x-simulator-fault"] = "garbage=8"  # type: ignore[index]
        drive = await driven(server, wire, client=client, background=True)
    assert drive.outcome is not None
    assert (drive.outcome.reconciled, drive.outcome.status) == (True, "completed")


async def test_response_that_is_not_stored_cannot_be_asked_for(server: Server):
    drive = await driven(server, Wire(Break("cut", 1, "event", 9)), store=False)
    assert isinstance(drive.failure, StreamTruncated)
    assert str(drive.failure).endswith("and a response with store=False cannot be asked for")
    assert drive.failure.outcome is not None
    assert drive.failure.outcome.events == 9
    assert [one.method for one in drive.wire.asked] == ["POST"]


async def test_response_whose_id_never_came_cannot_be_asked_for(server: Server):
    drive = await driven(server, Wire(Break("reset", 1, "event", 0)), background=True)
    assert isinstance(drive.failure, TransportError)
    assert "before the run's id was known" in str(drive.failure)
    assert [one.method for one in drive.wire.asked] == ["POST"]


async def test_stream_of_another_protocol_is_called_that():
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await send_body(send, 200, b'data: {"object": "chat.completion.chunk"}\n\n', "text/event-stream")

    async with breaking(application) as server:
        drive = await driven(server, Wire())
    assert "none of 1 event is of a protocol that stepstream reads" in str(drive.failure)
    assert "chat.completion.chunk" in str(drive.failure)


async def test_stream_that_was_only_kept_alive_has_named_no_response():
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        kept = b'event: keepalive\ndata: {"type": "keepalive", "sequence_number": 0}\n\n'
        await send_body(send, 200, kept, "text/event-stream")

    async with breaking(application) as server:
        drive = await driven(server, Wire())
    assert "before the run's id was known" in str(drive.failure)


async def test_page_instead_of_a_stream_is_called_that():
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await send_body(send, 200, b'{"error": {"message": "sign in"}}', "text/event-stream")

    async with breaking(application) as server:
        drive = await driven(server, Wire())
    assert "sign in" in str(drive.failure)


async def test_server_that_keeps_no_responses_is_a_stream_that_broke():
    """vLLM and LM Studio answer so: what is to be known is that the stream broke."""
    wire = Wire(Break("cut", 1, "event", 9), lambda asked, _: Trouble(405) if asked.method == "GET" else None)
    async with breaking("code") as server:
        drive = await driven(server, wire)
    assert isinstance(drive.failure, StreamTruncated)
    assert "the server does not say what became of the response" in str(drive.failure)
    assert isinstance(drive.failure.__cause__, APIError)


@each_row("status", [500, 200])
async def test_trouble_that_passes_is_waited_out(status: int):
    def trouble(asked: Any, before: int) -> Trouble | None:
        return Trouble(status) if asked.method == "GET" and before < 2 else None

    async with breaking("code") as server:
        drive = await driven(server, Wire(Break("cut", 1, "event", 9), trouble))
        assert await wrong_with(server, drive) == "reconciled"


async def test_response_that_was_queued_when_its_stream_broke_is_told_in_legal_order():
    async with breaking("code") as server:
        wire = Wire(Break("cut", 1, "event", 2))
        client = server.wired_responses(wire)
        drive = await driven(server, wire, client=client, extra_body={"background": True, "metadata": {}}, store=True)
        assert await wrong_with(server, drive) == "whole"
    statuses = [change.status for change in drive.changes if isinstance(change, RunTransition)]
    assert statuses == ["queued", "in_progress", "completed"]


async def test_response_is_asked_for_no_longer_than_it_is_to():
    async with breaking("code", pace="real") as server:
        options: JSON = {"reconcile_timeout": 0.3}
        drive = await driven(server, Wire(Break("cut", 1, "event", 9)), options=options)
    assert isinstance(drive.failure, StreamTruncated)
    assert "for 0.3 s (reconcile_timeout) the server did not say" in str(drive.failure)


async def test_everything_has_one_deadline():
    async with breaking("code", pace="real") as server:
        options: JSON = {"total_timeout": 0.4}
        with anyio.fail_after(WITHIN):
            drive = await driven(server, Wire(Break("cut", 1, "event", 5)), options=options, background=True)
    assert isinstance(drive.failure, TransportError)


async def test_end_that_came_before_the_break_is_the_end(server: Server):
    whole = await driven(server, Wire())
    events = bytes(whole.wire.streams[0]).count(b"\n\n")
    drive = await driven(server, Wire(Break("stall", 1, "event", events)), options={"idle_timeout": 0.1})
    assert await wrong_with(server, drive) == "whole"
    assert [one.method for one in drive.wire.asked] == ["POST"]


# Attaching, and leaving


@BOTH
@pytest.mark.parametrize("background", [True, False])
async def test_attached_response_is_told_from_its_beginning(server: Server, background: bool):
    first = await driven(server, Wire(), background=background)
    [identifier] = first_ids(first.wire)
    assert first.outcome is not None
    async with Processor() as processor:
        outcome = await processor.run(server.wired_responses(Wire()).attach(str(identifier)))
    assert (outcome.steps, outcome.text) == (first.outcome.steps, first.outcome.text)
    assert outcome.reconciled is not background


async def test_response_that_goes_on_is_attached_to():
    async with breaking("reasoning", pace=200) as server, Processor() as processor:
        client = server.wired_responses(Wire())
        made = await client._api.post("responses", body={"input": "x", "background": True})
        outcome = await processor.run(client.attach(json.loads(bytes(made))["id"]))
    assert (outcome.status, outcome.reconciled) == ("completed", True)
    assert [step.status for step in outcome.steps.values()] == ["completed"] * 2


async def test_response_that_is_not_there_is_not_attached_to(server: Server, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("stepstream.client.polling.FIRST_DELAY", 0.001)
    async with Processor() as processor:
        with pytest.raises(APIError) as caught:
            await processor.run(server.wired_responses(Wire()).attach("resp_none"))
    assert caught.value.status_code == 404


@BOTH
@pytest.mark.parametrize("cancel_on_exit", [True, False])
async def test_response_is_cancelled_with_its_caller_where_that_is_asked_for(cancel_on_exit: bool):
    async with breaking("code", pace="real") as server:
        client = server.wired_responses(Wire())
        async with Processor() as processor, anyio.create_task_group() as tasks:
            tasks.cancel_scope.deadline = anyio.current_time() + WITHIN

            @processor.on(RunTransition, status="in_progress")
            async def leave(change: RunTransition) -> None:
                found.append(str(change.run_id))
                tasks.cancel_scope.cancel()

            found = list[str]()
            options = {"input": "x", "background": True, "cancel_on_exit": cancel_on_exit}
            tasks.start_soon(lambda: client.drive(processor, **options))  # type: ignore[arg-type]
        status = (await client.retrieve(found[0]))["status"]
    assert status == ("cancelled" if cancel_on_exit else "in_progress")


async def test_response_that_has_ended_is_not_cancelled_with_its_caller():
    asked = list[str]()
    async with breaking("message") as server:
        client = server.wired_responses(Wire(trouble=lambda request, _: asked.append(request.path)))
        with anyio.CancelScope() as scope:
            async with client.stream(input="x", background=True, cancel_on_exit=True) as stream:
                async for _ in stream:
                    pass
                scope.cancel()
                await anyio.lowlevel.checkpoint()
    assert scope.cancelled_caught
    assert [path for path in asked if path.endswith("cancel")] == []


async def test_cancelling_that_fails_is_logged(caplog: pytest.LogCaptureFixture):
    async with breaking("code", pace="real") as server:
        wire = Wire(trouble=lambda asked, _: Trouble(400) if asked.path.endswith("cancel") else None)
        client = server.wired_responses(wire)
        async with Processor() as processor:
            handle, _ = await started(processor, client.stream(input="x", background=True, cancel_on_exit=True))
            await handle.cancel()
    assert "could not be cancelled" in caplog.text


def test_repr_has_no_secret():
    client = ResponsesClient("http://peer/v1?sig=c4n4ry", api_key="c4n4ry", headers={"x": "c4n4ry"})
    assert repr(client) == "<ResponsesClient <Endpoint http://peer/v1>>"


async def test_approval_sees_the_call():
    seen = list[ToolCall]()
    tools = Toolbox()
    tools.approve(seen.append)
    async with breaking("mcp") as server:
        await driven(server, Wire(), tools=tools)
    assert [(call.tool_name, call.server_label) for call in seen] == [("find_berth", "harbour")]
