"""What a server of the Responses API may do to a stream, and what is made of it: in memory, and over a real socket."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from stepstream import (
    Accumulator,
    FrameTooLarge,
    IdleTimeout,
    Outcome,
    Processor,
    StepStreamError,
    StreamFailed,
    StreamTruncated,
    connect,
)
from stepstream.simulator.application import app
from stepstream.simulator.responses.item_faults import ITEM_FAULTS
from tests.support.json_values import plain
from tests.support.simulator_responses import BODY, RESPONSES, folded, streamed
from tests.support.simulator_runs import calling
from tests.support.tables import each_row

SCENARIOS = ("reasoning", "parallel-functions", "search", "mcp")

TOLD: dict[str, set[str]] = {
    "no-added": set(),
    "no-done": set(),
    "no-output": set(),
    "ids-rotate": set(),
    "replay": {"replayed_event"},
    "replay=7": {"replayed_event"},
    "shuffle": set(),
    "duplicate": {"replayed_event"},
    "unknown": set(),
    "garbage": {"undecodable_event"},
    "done-mark": set(),
    "unnamed": set(),
    "unnamed,no-added,done-mark": set(),
    "ids-rotate,no-output,unnamed": set(),
}
"""The anomalies of each deviation. All that was told is known in the end."""


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with calling(app(pace="fast")) as client:
        yield client


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("scenario", SCENARIOS)
async def test_deviation_loses_nothing(client: httpx.AsyncClient, scenario: str):
    whole = summary(folded([await streamed(client, f"?scenario={scenario}")]))
    told = {fault: folded([await streamed(client, f"?scenario={scenario}&fault={fault}")]) for fault in TOLD}
    assert {fault: summary(state) for fault, state in told.items()} == dict.fromkeys(TOLD, whole)
    assert {fault: {anomaly.code for anomaly in state.anomalies} for fault, state in told.items()} == TOLD


def summary(state: Accumulator) -> list[Any]:
    """Return what is known of a run, without ids and whatever the order of its steps."""
    calls = [call for step in state.steps.values() for call in step.tool_calls]
    return [
        sorted((step.type, step.status) for step in state.steps.values()),
        [message.text for message in state.messages.values()],
        [run.status for run in state.runs.values()],
        sorted(str({**plain(call), "id": ""}) for call in calls),
    ]


async def test_ids_rotate(client: httpx.AsyncClient):
    one = await streamed(client, "?scenario=message&fault=ids-rotate", store=True)
    ids = [data.get("item_id") or (data.get("item") or data["response"])["id"] for _, data in one.events]
    assert len(set(ids)) == len(ids)


async def test_error_comes_before_the_failure_it_explains(client: httpx.AsyncClient):
    one = await streamed(client, "?scenario=code&fault=error-failed=7")
    assert one.names[7:] == ["error", "failed"]
    [run] = folded([one]).runs.values()
    assert (run.status, run.last_error.code) == ("failed", "server_error")


ENDINGS: dict[str, type[StepStreamError] | str] = {
    "done-mark": "ended",
    "no-terminal": StreamTruncated,
    "error-flat": StreamFailed,
    "error-nested": StreamFailed,
    "error-failed": "ended",
    "cut-event": StreamTruncated,
    "stall": IdleTimeout,
    "giant=2": FrameTooLarge,
    "no-terminal,done-mark": "done",
}
"""How a stream ends with each fault. Those of bytes are the same in both APIs."""


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@each_row("fault", ENDINGS)
async def test_stream_ends_as_its_fault_says(base_url: str, fault: str):
    query = f"?scenario=message&fault={fault}"
    async with Processor(max_event_bytes=10**6) as processor:
        source = connect(f"{base_url}{RESPONSES}{query}", json=BODY, idle_timeout=1)
        try:
            told: Outcome | StepStreamError = await processor.run(source)
        except StepStreamError as failure:
            told = failure
    expected = ENDINGS[fault]
    if isinstance(told, Outcome):
        assert told.reason == expected
    else:
        assert type(told) is expected


@each_row("fault", ["html", "redirect", "rate-limit=9", "server-error=9", "gzip"])
async def test_request_gets_the_faults_of_all_requests(base_url: str, fault: str):
    expected = {"html": 200, "gzip": 200, "redirect": 307, "rate-limit=9": 429, "server-error=9": 500}
    async with httpx.AsyncClient(base_url=base_url, trust_env=False, verify=False) as client:
        answer = await client.post(f"{RESPONSES}?scenario=message&fault={fault}", json=BODY)
    assert answer.status_code == expected[fault]


def test_every_fault_of_items_is_tried():
    tried = {name.partition("=")[0] for row in (*TOLD, *ENDINGS) for name in row.split(",")}
    assert tried >= ITEM_FAULTS.keys()
