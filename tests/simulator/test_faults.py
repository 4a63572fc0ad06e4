"""Every fault, over a real socket: how stepstream's client ends, and that the server tells the truth afterwards."""

import re
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import anyio
import httpx
import pytest
from anyio.abc import ByteReceiveStream

from stepstream import (
    APIError,
    FrameTooLarge,
    IdleTimeout,
    Outcome,
    StepStreamError,
    StreamFailed,
    StreamTruncated,
    TransportError,
)  # fmt: skip
from stepstream.simulator.application import app
from stepstream.simulator.event_faults import EVENT_FAULTS
from stepstream.simulator.faults import FAULTS
from stepstream.simulator.responses.item_faults import ITEM_FAULTS
from stepstream.simulator.scenarios import SCENARIOS
from stepstream.simulator.serving import serve
from tests.support.json_values import JSON
from tests.support.simulator_runs import (
    RUN_BODY,
    RUN_BYTES,
    RUNS,
    Folded,
    answer,
    calling,
    events_of,
    folded,
    whole_bytes,
)
from tests.support.stored_runs import StoredRun, stored_run
from tests.support.tables import each_row

WITHIN = 60
FEW = ["two-steps", "tool-rounds"]

MANY = [name for name in SCENARIOS if name not in ("many-deltas", "big-logs")]


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """The server has a thread and a loop of its own: two kinds of client are enough."""
    backend: str = request.param
    return backend


class Done(NamedTuple):
    """A stream that ends well: with `done` or without, and with these anomalies, each named once."""

    reason: str = "done"
    codes: frozenset[str] = frozenset()


Declared = Done | type[StepStreamError]

DUPLICATES = frozenset({"duplicate_created", "duplicate_terminal"})

DECLARED: dict[str, Declared] = {
    "cut-event": StreamTruncated,
    "cut-event=0": StreamTruncated,
    "cut-bytes": StreamTruncated,
    "cut-bytes=0": StreamTruncated,
    "reset-event": TransportError,
    "reset-event=0": TransportError,
    "reset-bytes": TransportError,
    "break-event": TransportError,
    "break-event=0": TransportError,
    "break-bytes": TransportError,
    "stall": IdleTimeout,
    "stall=0": IdleTimeout,
    "drip=400": Done(),
    "one-byte": Done(),
    "duplicate": Done(codes=DUPLICATES),
    "duplicate=4": Done(codes=DUPLICATES),
    "shuffle": Done(),
    "drop-done": Done("ended"),
    "error-flat": StreamFailed,
    "error-nested": StreamFailed,
    "error-flat=0": StreamFailed,
    "garbage": Done(codes=frozenset({"undecodable_event"})),
    "giant": FrameTooLarge,
    "unknown": Done(),
    "unknown=1": Done(),
    "html": APIError,
    "gzip": APIError,
    "redirect": APIError,
    "shuffle,duplicate": Done(codes=DUPLICATES),
    "shuffle,unknown,one-byte": Done(),
    "duplicate=3,drop-done": Done("ended", DUPLICATES),
    "garbage,unknown,drip=900": Done(codes=frozenset({"undecodable_event"})),
    "drop-done,reset-event=8": TransportError,
    "cut-event=9,stall=4": IdleTimeout,
    "cut-event=4,stall=9": StreamTruncated,
    "one-byte,break-bytes=777": TransportError,
    "one-byte,cut-bytes=777": StreamTruncated,
    "duplicate,error-flat": StreamFailed,
    "error-flat=9,cut-event=3": StreamTruncated,
    "garbage=3,error-nested=6": StreamFailed,
    "gzip,html": APIError,
    "gzip,one-byte": APIError,
    "gzip,duplicate,stall": APIError,
}
"""How a stream ends for stepstream's client, whatever the scenario."""

OF_MCP = {False: {"duplicate_created"}, True: {"duplicate_created", "delta_after_terminal"}}
"""What this scenario adds, without duplicates and with: it creates a step twice, and its late delta is late once."""

LONG = ("giant", "one-byte", "shuffle,unknown,one-byte")

ANSWERED_LATER = {"rate-limit", "server-error"}
"""These end well in the end: they have tests of their own."""

OF_RESPONSES = ITEM_FAULTS.keys() - EVENT_FAULTS.keys()
"""These concern streams of the other API, whose tests are in `test_item_faults`."""


def test_application_may_be_said_to_have_no_fault() -> None:
    assert repr(app(fault=None)) == repr(app(fault="none"))


def test_every_fault_is_declared():
    assert {text.partition("=")[0] for text in DECLARED if "," not in text} | ANSWERED_LATER | OF_RESPONSES == set(
        FAULTS
    )


async def ended(play: Awaitable[Folded]) -> Folded | StepStreamError:
    with anyio.fail_after(WITHIN):
        try:
            return await play
        except StepStreamError as error:
            return error


async def settled(client: httpx.AsyncClient, run_id: str) -> StoredRun:
    """Return what the server says of a run once it has ended, or waits: at once, or when it knows that nobody reads."""
    with anyio.fail_after(WITHIN):
        while True:
            said = await stored_run(client, run_id)
            if said.run["status"] not in ("queued", "in_progress"):
                return said


def by_id(objects: list[JSON]) -> dict[str, JSON]:
    return {one["id"]: one for one in objects}


async def newest_run(client: httpx.AsyncClient) -> str:
    listed: list[JSON] = (await client.get(RUNS, params={"limit": "1"})).json()["data"]
    newest: str = listed[0]["id"]
    return newest


async def check(client: httpx.AsyncClient, scenario: str, fault: str) -> None:
    """Play a scenario with a fault and check that it ends as declared, and what the server says of it."""
    declared = DECLARED[fault]
    patience = 0.2 if declared is IdleTimeout else WITHIN
    got = await ended(folded(client, f"?scenario={scenario}&fault={fault}", idle_timeout=patience))
    if isinstance(declared, Done):
        assert isinstance(got, Folded), got
        said = await settled(client, got.run["id"])
        assert (got.run, by_id(got.steps), got.messages) == (said.run, by_id(said.steps), said.messages)
        assert "shuffle" in fault or got.steps == said.steps
        assert {outcome.reason for outcome in got.outcomes} == {declared.reason}
        codes = {anomaly.code for outcome in got.outcomes for anomaly in outcome.anomalies}
        assert codes == declared.codes | (
            OF_MCP[bool(declared.codes & DUPLICATES)] if scenario == "mcp" else frozenset()
        )
        return
    assert type(got) is declared
    if declared is not APIError:
        await check_truth_of(client, got.outcome, scenario)


async def check_truth_of(client: httpx.AsyncClient, outcome: Outcome | None, scenario: str) -> None:
    """Check that the run went on without its client, and that what the client has of it is right as far as it goes."""
    said = await settled(client, await newest_run(client))
    assert said.run["status"] in ("requires_action", SCENARIOS[scenario].ending.status)
    assert outcome is not None
    ids = [step["id"] for step in said.steps]
    assert list(outcome.steps) == ids[: len(outcome.steps)]
    if said.run["status"] != "requires_action":
        assert {step["status"] for step in said.steps}.isdisjoint({"in_progress"})


@pytest.mark.parametrize("fault", DECLARED)
async def test_fault_ends_as_declared(client: httpx.AsyncClient, fault: str):
    await check(client, "message", fault)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("scenario", FEW)
@pytest.mark.parametrize("fault", [fault for fault in DECLARED if fault not in LONG])
async def test_fault_ends_as_declared_whatever_the_run_does(client: httpx.AsyncClient, scenario: str, fault: str):
    await check(client, scenario, fault)


@pytest.mark.slow
@pytest.mark.parametrize("scenario", MANY)
@pytest.mark.parametrize("fault", DECLARED)
async def test_every_fault_of_every_scenario_ends_as_declared(client: httpx.AsyncClient, scenario: str, fault: str):
    await check(client, scenario, fault)


# what the exceptions say


async def failed(client: httpx.AsyncClient, fault: str, **options: Any) -> Any:
    with anyio.fail_after(WITHIN), pytest.raises(StepStreamError) as caught:
        await folded(client, f"?scenario=code&fault={fault}", **options)
    return caught.value


@pytest.mark.parametrize("fault", ["error-flat", "error-nested"])
async def test_error_event_has_its_fields(client: httpx.AsyncClient, fault: str):
    error = await failed(client, fault)
    message = "The server had an error while processing your request."
    assert (error.code, error.type, error.message, error.param) == ("server_error", "server_error", message, None)
    assert error.outcome.events == 6


@pytest.mark.parametrize("fault", ["cut-event=7", "stall=7", "error-flat=6"])
async def test_what_came_before_the_fault_is_folded(client: httpx.AsyncClient, fault: str):
    error = await failed(client, fault, idle_timeout=1)
    assert (error.outcome.events, len(error.outcome.steps)) == (7, 1)


async def test_giant_event_is_over_the_limit(client: httpx.AsyncClient):
    error = await failed(client, "giant")
    assert error.limit == 16 * 2**20


@pytest.mark.parametrize(
    ("fault", "status", "text"),
    [
        ("html", 200, "expected text/event-stream, got text/html"),
        ("gzip", 200, "expected no content encoding, got gzip"),
        ("redirect", 307, "answered 307: expected no redirect of a POST"),
    ],
)
async def test_refusal_says_what_came(client: httpx.AsyncClient, fault: str, status: int, text: str):
    error = await failed(client, fault)
    assert (error.status_code, error.request_id[:7], text in str(error)) == (status, "req_sim", True)


# the answers themselves


@pytest.mark.parametrize(
    ("fault", "status", "headers", "code"),
    [
        ("rate-limit=0", 429, {"retry-after": "0"}, "rate_limit_exceeded"),
        ("server-error", 500, {}, None),
    ],
)
async def test_trouble_passes(client: httpx.AsyncClient, fault: str, status: int, headers: dict[str, str], code: Any):
    path = f"/threads/thread_{fault}/runs?scenario=message&fault={fault}"
    with anyio.fail_after(WITHIN):
        refused = await client.post(path, json=RUN_BODY)
        answered = await client.post(path, json=RUN_BODY)
        await client.post(path, json=RUN_BODY)
        await client.post(path, json=RUN_BODY)
    assert (refused.status_code, refused.json()["error"]["code"]) == (status, code)
    assert {name: refused.headers[name] for name in headers} == headers
    assert events_of(answered.content)[-1][0] == "done"


async def test_rate_limit_says_how_long_it_lasts(client: httpx.AsyncClient):
    response = await client.post(f"{RUNS}?fault=rate-limit=60", json=RUN_BODY)
    again = await client.post(f"{RUNS}?fault=rate-limit=60", json=RUN_BODY)
    assert (response.status_code, again.status_code, response.headers["retry-after"]) == (429, 429, "60")


async def test_refused_request_opens_no_run(client: httpx.AsyncClient):
    for fault in ("rate-limit=60", "server-error=9", "redirect", "html"):
        await client.post(f"/threads/thread_refused/runs?fault={fault}", json=RUN_BODY)
    assert (await client.get("/threads/thread_refused")).status_code == 404


async def test_redirect_leads_to_the_answer(client: httpx.AsyncClient):
    path = f"{RUNS}?scenario=code&seed=3&fault=redirect"
    response = await client.post(path, json=RUN_BODY, follow_redirects=True)
    assert (response.status_code, response.history[0].status_code) == (200, 307)
    assert events_of(response.content)[-1][0] == "done"
    assert "run_sim3x" in events_of(response.content)[0][1]["id"]


async def test_redirect_of_a_header_leads_to_the_answer(client: httpx.AsyncClient):
    headers = {"x-simulator-fault": "redirect", "x-simulator-scenario": "message"}
    response = await client.post(RUNS, json=RUN_BODY, headers=headers, follow_redirects=True)
    assert events_of(response.content)[-1][0] == "done"


async def test_gzip_is_the_same_stream(client: httpx.AsyncClient):
    path = f"{RUNS}?scenario=code&seed=3"
    plain, packed = [await client.post(path + fault, json=RUN_BODY) for fault in ("", "&fault=gzip")]
    assert packed.headers["content-encoding"] == "gzip"
    names = [[name for name, _ in events_of(response.content)] for response in (plain, packed)]
    assert names[0] == names[1]


async def test_html_is_a_page(client: httpx.AsyncClient):
    response = await client.post(f"{RUNS}?fault=html", json=RUN_BODY)
    assert (response.status_code, response.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert response.text.startswith("<!doctype html>")


@each_row("number", [0, 1, 100, 1_999])
async def test_cut_stream_is_the_beginning_of_the_whole(number: int):
    async with calling(app(scenario="code", pace="fast", seed=1)) as client:
        [whole] = await whole_bytes(client)
        cut = (await client.post(f"{RUNS}?fault=cut-bytes={number}", json=RUN_BODY)).content
    assert len(cut) == number
    assert cut.replace(b"sim1x2", b"sim1x1") == whole[:number]


# the truth


@asynccontextmanager
async def reading(url: str, query: str, path: str = RUNS) -> AsyncIterator[ByteReceiveStream]:
    """Open a run and give the connection. It stays open, read or not."""
    host, port = url.removeprefix("http://").split(":")
    head = f"POST {path}?{query} HTTP/1.1\r\nhost: simulator\r\ncontent-length: {len(RUN_BYTES)}\r\n\r\n"
    async with await anyio.connect_tcp(host, int(port)) as connection:
        await connection.send(head.encode() + RUN_BYTES)
        yield connection


async def read(connection: ByteReceiveStream, events: int) -> None:
    """Read the head of the answer and so many events."""
    data = b""
    with anyio.fail_after(WITHIN):
        while data.count(b"\n\n") < events or b"\r\n\r\n" not in data:
            data += await connection.receive()


@pytest.mark.parametrize("count", [0, 1, 5, 30])
async def test_run_goes_on_where_its_reader_left_after_some_events(
    client: httpx.AsyncClient, base_url: str, count: int
):
    async with reading(base_url, f"scenario=code&fault=stall={count}") as connection:
        await read(connection, count)
        run_id = await newest_run(client)
    said = await settled(client, run_id)
    assert (said.run["status"], [step["status"] for step in said.steps]) == ("completed", ["completed"] * 2)


@pytest.fixture
def _impatient_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock goes on almost at once where a reader does not read."""
    monkeypatch.setattr("stepstream.simulator.course.LAG", 0.05)


@pytest.mark.usefixtures("_impatient_clock")
async def test_run_behind_a_stalled_stream_goes_on_while_its_reader_stays(client: httpx.AsyncClient, base_url: str):
    async with reading(base_url, "scenario=code&fault=stall") as connection:
        await read(connection, 5)
        said = await settled(client, await newest_run(client))
        assert said.run["status"] == "completed"


@pytest.mark.usefixtures("_impatient_clock")
async def test_new_stream_takes_over_from_one_that_stalls(client: httpx.AsyncClient, base_url: str):
    async with reading(base_url, "scenario=function&fault=stall=4") as connection:
        await read(connection, 4)
        said = await settled(client, await newest_run(client))
        assert said.run["status"] == "requires_action"
        path = f"{RUNS}/{said.run['id']}/submit_tool_outputs"
        second = await client.post(path, json=answer(said.run))
        assert events_of(second.content)[-1][0] == "done"


async def test_run_is_cancelled_while_its_stream_is_read(client: httpx.AsyncClient, base_url: str):
    async with reading(base_url, "scenario=message&pace=50") as connection:
        await read(connection, 8)
        run_id = await newest_run(client)
        assert (await client.post(f"{RUNS}/{run_id}/cancel")).json()["status"] == "cancelling"
        data = b""
        with anyio.fail_after(WITHIN):
            while not data.endswith(b"0\r\n\r\n"):
                data += await connection.receive()
    names = re.findall(rb"event: (?:thread\.)?(\S+)", data)
    cut = [b"run.cancelling", b"message.incomplete", b"run.step.cancelled", b"run.cancelled", b"done"]
    assert names[-5:] == cut
    said = await stored_run(client, run_id)
    assert (said.run["status"], said.steps[0]["status"], said.messages[0]["status"]) == (
        "cancelled", "cancelled", "incomplete"
    )  # fmt: skip
    assert (await client.post(f"{RUNS}/{run_id}/cancel")).status_code == 400


async def test_fault_of_the_application_is_for_every_stream():
    async with (
        serve(app(scenario="message", pace="fast", fault=["cut-event=9", "unknown"])) as url,
        httpx.AsyncClient(base_url=url, trust_env=False, verify=False) as client,
    ):
        for _ in range(2):
            assert isinstance(await ended(folded(client)), StreamTruncated)
        assert isinstance(await ended(folded(client, "?fault=none")), Folded)
