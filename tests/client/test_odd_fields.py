"""An odd field of what a server answers costs that field: no run is lost, and no tool call of one."""

import json
import logging
from typing import Any

import msgspec
import pytest

from stepstream import (
    Outcome,
    Processor,
    ProtocolError,
    RunsClient,
    RunTransition,
    Toolbox,
)
from stepstream.client.answers import own_messages
from stepstream.client.api_objects import object_of
from stepstream.wire.base import WireObject
from tests.support.json_values import JSON, plain
from tests.support.odd_fields import EXTENTS, LEFT_OUT, MILLISECONDS, ROOTS, oddities
from tests.support.scripted_server import Exchange, InTurn, Script, answering, resetting, serving, streaming
from tests.support.tables import each_row

HUSH = "hush-7c1e"

DONE = b"event: done\ndata: [DONE]\n\n"
CALL: JSON = {"id": "call_1", "type": "function", "function": {"name": "depth", "arguments": "{}"}}


def sent(name: str, data: object) -> bytes:
    return f"event: {name}\ndata: {json.dumps(data)}\n\n".encode()


def run(status: str, /, **fields: Any) -> JSON:
    made = {"id": "run_1", "thread_id": "thread_1", "status": status, **fields}
    return {key: value for key, value in made.items() if value is not LEFT_OUT}


def waiting(*calls: object, **fields: Any) -> JSON:
    asked = {"type": "submit_tool_outputs", "submit_tool_outputs": {"tool_calls": list(calls or [CALL])}}
    return run("requires_action", **{"required_action": asked, **fields})


COMPLETED = streaming(sent("thread.run.completed", run("completed")), DONE)


async def driven(*scripts: Script, thread_id: str | None = "thread_1") -> tuple[Outcome, int, list[str], list[JSON]]:
    """Return the outcome of a drive, how often its tool was called, the run's statuses, and what was submitted."""
    tools, called, statuses = Toolbox(), list[None](), list[str]()

    @tools.function
    async def depth(tide: str = "low") -> float:
        called.append(None)
        return 7.5

    peer = InTurn(*scripts)
    async with serving(peer) as url, Processor() as processor:

        @processor.on(RunTransition)
        async def tell(change: RunTransition) -> None:
            statuses.append(change.status)

        outcome = await RunsClient(url).drive(processor, thread_id, tools, assistant_id="a")
    bodies = [json.loads(one.body) for one in peer.requests if one.target.endswith("/submit_tool_outputs")]
    return outcome, len(called), statuses, [output for body in bodies for output in body["tool_outputs"]]


ODD_RUNS: dict[str, JSON] = {
    "metadata": {"metadata": []},
    "float count": {"usage": {"total_tokens": 3.0}},
    "ISO time": {"created_at": "2025-01-01T00:00:00Z"},
    "milliseconds": {"expires_at": MILLISECONDS},
    "error": {"last_error": "boom"},
    "tools": {"tools": ["code_interpreter"]},
    "thread": {"thread_id": 5},
    "no thread": {"thread_id": LEFT_OUT},
    "status": {"status": []},
    "everything": dict.fromkeys(
        ["object", "created_at", "model", "tools", "metadata", "usage", "temperature", "file_ids"], True
    ),
}


@each_row("odd", ODD_RUNS.values(), ids=ODD_RUNS)
async def test_run_with_an_odd_field_is_driven_to_its_end(odd: JSON):
    opened = streaming(
        sent("thread.run.created", run("queued", **odd | {"status": "queued"})),
        sent("thread.run.requires_action", waiting(**odd)),
        DONE,
    )
    outcome, called, statuses, outputs = await driven(opened, COMPLETED)
    assert (called, statuses) == (1, ["queued", "requires_action", "completed"])
    assert outputs == [{"tool_call_id": "call_1", "output": "7.5"}]
    assert (outcome.reason, {one.code for one in outcome.anomalies} <= {"bad_field"}) == ("done", True)


@each_row(
    "calls",
    [
        [CALL, 5, None, "boom"],
        [[], CALL],
        [CALL, {"id": 5, "type": "function"}],
        [{**CALL, "type": 5}],
        [{**CALL, "file_search": "boom", "code_interpreter": []}],
    ],
)
async def test_calls_that_can_be_read_are_made_beside_odd_ones(calls: list[object]):
    opened = streaming(sent("thread.run.requires_action", waiting(*calls)), DONE)
    _, called, _, outputs = await driven(opened, COMPLETED)
    assert (called, outputs) == (1, [{"tool_call_id": "call_1", "output": "7.5"}])


async def test_call_whose_arguments_cannot_be_read_is_not_made_with_others():
    odd = {**CALL, "function": {"name": "depth", "arguments": {"tide": "high"}}}
    opened = streaming(sent("thread.run.requires_action", waiting(odd)), DONE)
    _, called, statuses, outputs = await driven(opened, COMPLETED)
    assert (called, statuses[-1]) == (0, "completed")
    assert json.loads(outputs[0]["output"]) == {"error": "ValueError: expected arguments as JSON text, got none"}


@each_row("odd", ODD_RUNS.values(), ids=ODD_RUNS)
async def test_run_with_an_odd_field_is_driven_on_after_a_break(odd: JSON):
    async def asked(exchange: Exchange) -> None:
        if exchange.method == "POST":
            await (COMPLETED if exchange.target.endswith("submit_tool_outputs") else broken)(exchange)
        elif exchange.target.endswith("/runs/run_1"):
            await exchange.answer("200 OK", waiting(**odd | {"status": "requires_action"}))
        else:
            await exchange.answer("200 OK", {"data": [], "has_more": False})

    broken = resetting(sent("thread.run.created", run("queued")))
    outcome, called, statuses, _ = await driven(asked)
    assert (called, statuses) == (1, ["queued", "in_progress", "requires_action", "completed"])
    assert outcome.reconciled


async def test_thread_of_a_new_run_is_taken_from_its_steps():
    step = {"id": "step_1", "run_id": "run_1", "thread_id": "thread_9", "type": "tool_calls"}
    peer = InTurn(
        streaming(
            sent("thread.run.step.created", step), sent("thread.run.requires_action", waiting(thread_id=5)), DONE
        ),
        COMPLETED,
    )
    _, called, _, _ = await driven(peer, thread_id=None)
    assert (called, peer.requests[1].target) == (1, "/threads/thread_9/runs/run_1/submit_tool_outputs")


async def test_run_without_a_thread_is_a_protocol_error_with_the_outcome():
    opened = streaming(sent("thread.run.requires_action", waiting(thread_id=LEFT_OUT)), DONE)
    async with serving(opened) as url, Processor() as processor:
        with pytest.raises(ProtocolError, match="to name its thread") as got:
            await RunsClient(url).drive(processor, None, Toolbox(), assistant_id="a")
    assert got.value.outcome is not None
    assert list(got.value.outcome.runs) == ["run_1"]


# Objects of the API


@pytest.mark.parametrize(("root", "every"), EXTENTS)
def test_object_of_an_answer_is_read_without_its_odd_fields(root: str, every: int):
    struct: type[WireObject] = ROOTS[root][0]
    for one in oddities(root, every):
        found: Any = object_of(msgspec.Raw(json.dumps(one.sent).encode()), struct)  # type: ignore[type-var]
        assert (type(found), plain(found)) == (struct, one.read), one.name


async def test_odd_field_of_an_answer_is_logged_without_its_content(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG, "stepstream.client")
    async with serving(answering("200 OK", run("queued", metadata=[HUSH], usage=HUSH))) as url:
        found = await RunsClient(url).retrieve_run("thread_1", "run_1")
    assert plain(found) == run("queued")
    assert [one.getMessage() for one in caplog.records if one.name == "stepstream.client"] == [
        "a Run has a field that does not fit: expected metadata as an object, got a list, left out",
        "a Run has a field that does not fit: expected usage as an object, got a string, left out",
    ]


def raws(*values: object) -> list[msgspec.Raw]:
    return [msgspec.Raw(json.dumps(value).encode()) for value in values]


def test_message_whose_run_id_is_odd_is_its_runs_where_a_step_of_it_wrote_it():
    messages = raws(
        {"id": "msg_1", "run_id": "run_1"}, {"id": "msg_2", "run_id": 5}, {"id": "msg_3", "run_id": "run_2"},
        {"id": [], "run_id": {}}, {"run_id": None}, 5,
    )  # fmt: skip
    assert own_messages(messages, "run_1", written=["msg_2", None, 5]) == messages[:2]
