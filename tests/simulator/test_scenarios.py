"""Every scenario: what stepstream makes of its streams is what the server says, and it does what its summary says."""

import json
import re
from itertools import groupby
from typing import Any

import anyio
import httpx
import pytest
import trio  # noqa: TID251 - only there a test can own the clock
import trio.testing  # noqa: TID251

from stepstream import accumulate
from stepstream.simulator.application import app
from stepstream.simulator.event_writer import DELAYS
from stepstream.simulator.scenarios import SCENARIOS
from tests.support.json_values import JSON
from tests.support.simulator_runs import (
    RUN_BODY,
    RUNS,
    Events,
    Folded,
    answer,
    calling,
    events_of,
    folded,
    posted,
    whole_bytes,
)
from tests.support.stored_runs import THREAD, stored_run
from tests.support.tables import each_row

BIG = ("many-deltas", "big-logs")
SHORT = [name for name in SCENARIOS if name not in BIG]
WITHIN = 60

ANOMALIES = {"mcp": ["duplicate_created"]}
"""What scenarios do against the protocol, as the servers do that they are after."""

STATUSES = {
    "step-failed": ("completed", ["failed", "completed"]),
    "run-failed": ("failed", ["completed", "failed"]),
    "cancelled": ("cancelled", ["cancelled"]),
    "expired": ("expired", ["expired"]),
    "incomplete": ("incomplete", ["completed"]),
}
"""How the run and its steps end, where not all is completed."""


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """The server has a thread and a loop of its own: two kinds of client are enough."""
    backend: str = request.param
    return backend


async def told(client: httpx.AsyncClient, name: str) -> Folded:
    """Play a scenario over a real socket and check that the server says the same of it."""
    with anyio.fail_after(WITHIN):
        got = await folded(client, f"?scenario={name}")
        said = await stored_run(client, got.run["id"])
    assert got.steps == said.steps
    assert got.run == said.run
    assert got.messages == said.messages
    return got


@pytest.mark.parametrize("name", SHORT)
async def test_folding_its_streams_gives_what_the_server_says(client: httpx.AsyncClient, name: str):
    got = await told(client, name)
    statuses = STATUSES.get(name, ("completed", ["completed"] * len(got.steps)))
    assert (got.run["status"], [step["status"] for step in got.steps]) == statuses
    assert {outcome.reason for outcome in got.outcomes} == {"done"}
    codes = [anomaly.code for outcome in got.outcomes for anomaly in outcome.anomalies]
    assert [code for code, _ in groupby(codes)] == ANOMALIES.get(name, [])


@pytest.mark.parametrize("anyio_backend", ["asyncio", pytest.param("trio", marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", ["many-deltas", pytest.param("big-logs", marks=pytest.mark.slow)])
async def test_folding_big_streams_gives_what_the_server_says(client: httpx.AsyncClient, name: str):
    got = await told(client, name)
    assert (got.run["status"], [step["status"] for step in got.steps]) == ("completed", ["completed"] * 2)
    assert [outcome.anomaly_count for outcome in got.outcomes] == [0]


# what each does, by its bytes


async def bytes_of(name: str, **options: Any) -> list[bytes]:
    async with calling(app(scenario=name, pace="fast", **options)) as client:
        return await whole_bytes(client)


async def streams_of(name: str, **options: Any) -> list[Events]:
    return [events_of(data) for data in await bytes_of(name, **options)]


def story(events: Events) -> list[str]:
    return [name.removeprefix("thread.") for name, _ in groupby(name for name, _ in events)]


def objects(events: Events, name: str) -> list[JSON]:
    return [data for event, data in events if event == name]


def tool_calls(step: JSON) -> list[JSON]:
    calls: list[JSON] = step["step_details"]["tool_calls"]
    return calls


BEGIN = ["run.created", "run.queued", "run.in_progress"]
AGAIN = ["run.queued", "run.in_progress"]
CALLING = ["run.step.created", "run.step.in_progress", "run.step.delta"]
TOOL = [*CALLING, "run.step.completed"]
SAYING = ["run.step.created", "run.step.in_progress", "message.created", "message.in_progress", "message.delta"]
SAY = [*SAYING, "message.completed", "run.step.completed"]
END = ["run.completed", "done"]
ASK = ["run.requires_action", "done"]
CUT = [*SAYING, "message.incomplete"]

STORIES: dict[str, list[list[str]]] = {
    "message": [[*BEGIN, *SAY, *END]],
    "code": [[*BEGIN, *TOOL, *SAY, *END]],
    "search": [[*BEGIN, *TOOL, *SAY, *END]],
    "function": [[*BEGIN, *CALLING, *ASK], ["run.step.completed", *AGAIN, *SAY, *END]],
    "parallel-functions": [[*BEGIN, *CALLING, *ASK], ["run.step.completed", *AGAIN, *SAY, *END]],
    "tool-rounds": [
        [*BEGIN, *CALLING, *ASK],
        ["run.step.completed", *AGAIN, *TOOL, *CALLING, *ASK],
        ["run.step.completed", *AGAIN, *CALLING, *ASK],
        ["run.step.completed", *AGAIN, *SAY, *END],
    ],
    "mcp": [
        [*BEGIN, "run.step.created", "run.step.in_progress", "run.step.completed", *CALLING, *ASK],
        [*BEGIN, "run.step.created", "run.step.in_progress", "run.step.completed", "run.step.delta", *SAY, *END],
    ],
    "reasoning": [[*BEGIN, *SAY, *END]],
    "connected-agent": [[*BEGIN, *TOOL, *SAY, *END]],
    "step-failed": [[*BEGIN, *CALLING, "run.step.failed", *SAY, *END]],
    "run-failed": [[*BEGIN, *TOOL, *CUT, "run.step.failed", "run.failed", "done"]],
    "cancelled": [[*BEGIN, *CALLING, "run.cancelling", "run.step.cancelled", "run.cancelled", "done"]],
    "expired": [[*BEGIN, *CALLING, "run.step.expired", "run.expired", "done"]],
    "incomplete": [[*BEGIN, *CUT, "run.step.completed", "run.incomplete", "done"]],
    "many-deltas": [[*BEGIN, *TOOL, *SAY, *END]],
    "big-logs": [[*BEGIN, *TOOL, *SAY, *END]],
    "sse-starlette": [[*BEGIN, *TOOL, *CALLING, *ASK], ["run.step.completed", *AGAIN, *SAY, *END]],
    "float-times": [[*BEGIN, *CALLING, *ASK], ["run.step.completed", *AGAIN, *SAY, *END]],
}


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@each_row("name", [name for name in STORIES if name not in BIG])
async def test_events_come_in_the_order_of_the_story(name: str):
    assert [story(events) for events in await streams_of(name)] == STORIES[name]


def test_every_scenario_has_its_story():
    assert set(SCENARIOS) == {*STORIES, "umbrellas", "two-steps"}


async def test_code_prints_and_draws():
    [events] = await streams_of("code")
    [call] = tool_calls(objects(events, "thread.run.step.completed")[0])
    logs, image = call["code_interpreter"]["outputs"]
    assert (logs["logs"], image["type"]) == ("706 tides\nhighest: 4.31 m\n", "image")


async def test_search_deltas_repeat_and_results_come_with_the_end():
    [events] = await streams_of("search")
    deltas = [data["delta"] for data in objects(events, "thread.run.step.delta")]
    assert deltas == [deltas[0]] * 3
    assert deltas[0]["step_details"]["tool_calls"][0]["file_search"]["results"] == []
    [call] = tool_calls(objects(events, "thread.run.step.completed")[0])
    assert [result["file_name"] for result in call["file_search"]["results"]] == ["pilot-book.pdf"]


async def test_answer_cites_where_its_indices_say():
    [events] = await streams_of("search")
    [message] = objects(events, "thread.message.completed")
    text = message["content"][0]["text"]
    [citation] = text["annotations"]
    assert text["value"][citation["start_index"] : citation["end_index"]] == citation["text"]


@each_row("seed", [None, 1])
async def test_arguments_of_five_calls_are_interleaved(seed: int | None):
    first, second = await streams_of("parallel-functions", seed=seed)
    pieces = [
        data["delta"]["step_details"]["tool_calls"][0]["index"] for data in objects(first, "thread.run.step.delta")
    ]
    assert pieces[:5] == [0, 1, 2, 3, 4]
    assert len([index for index, _ in groupby(pieces)]) > 25
    assert len({json.dumps(call["function"]["arguments"]) for call in tool_calls(second[0][1])}) == 5


async def test_rounds_ask_three_times():
    streams = await streams_of("tool-rounds")
    asked = [data for events in streams for data in objects(events, "thread.run.requires_action")]
    names = [
        [call["function"]["name"] for call in run["required_action"]["submit_tool_outputs"]["tool_calls"]]
        for run in asked
    ]
    assert names == [["get_depth"], ["get_tide", "get_wind"], ["book_berth"]]


async def test_mcp_step_is_created_twice_and_completed_before_its_output():
    first, second = await streams_of("mcp")
    [asked] = objects(first, "thread.run.requires_action")
    [call] = asked["required_action"]["submit_tool_approval"]["tool_calls"]
    assert set(call) == {"id", "type", "arguments", "name", "server_label"}
    step = objects(first, "thread.run.step.created")[1]
    assert (second[0][1]["id"], second[3][1]) == (asked["id"], step)
    [completed] = tool_calls(second[5][1])
    assert (second[5][1]["id"], completed) == (step["id"], {**call, "output": None})
    late = second[6][1]
    assert (late["id"], tool_calls(late["delta"])) == (
        step["id"],
        [{"index": 0, "id": call["id"], "type": "mcp", "output": '{"berth": "N4", "free_until": "Sunday"}'}],
    )


async def test_mcp_server_lists_its_tools_first():
    first, _ = await streams_of("mcp")
    [step] = objects(first, "thread.run.step.completed")
    [activity] = step["step_details"]["activities"]
    assert (step["type"], activity["type"], list(activity["tools"])) == ("activities", "mcp_list_tools", ["find_berth"])


async def test_connected_agent_answers_under_its_own_key():
    [events] = await streams_of("connected-agent")
    [call] = tool_calls(objects(events, "thread.run.step.completed")[0])
    assert call["connected_agent"] == {
        "name": "weather_desk",
        "arguments": "Is it safe to sail on Saturday?",
        "output": "Yes: south-west 4, no gale warning.",
    }


@each_row("name", ["step-failed", "run-failed"])
async def test_failure_says_why(name: str):
    [events] = await streams_of(name)
    [step] = objects(events, "thread.run.step.failed")
    assert set(step["last_error"]) == {"code", "message"}
    assert (step["failed_at"] is None, step["completed_at"]) == (False, None)


async def test_failed_run_says_why():
    [events] = await streams_of("run-failed")
    [run] = objects(events, "thread.run.failed")
    assert run["last_error"]["code"] == "rate_limit_exceeded"
    assert objects(events, "thread.message.incomplete")[0]["incomplete_details"] == {"reason": "run_failed"}


@each_row("name", ["cancelled", "expired"])
async def test_code_is_cut_in_its_middle(name: str):
    [events] = await streams_of(name)
    [step] = objects(events, f"thread.run.step.{name}")
    [call] = tool_calls(step)
    assert 5 < len(call["code_interpreter"]["input"]) < 150
    assert step["completed_at"] is None
    assert (step["cancelled_at"] is not None) == (name == "cancelled")


async def test_expired_run_ends_at_the_time_it_had():
    [events] = await streams_of("expired")
    [run] = objects(events, "thread.run.expired")
    assert (run["expires_at"], run["completed_at"]) == (run["created_at"] + 600, None)


async def test_incomplete_run_says_why():
    [events] = await streams_of("incomplete")
    [run] = objects(events, "thread.run.incomplete")
    [message] = objects(events, "thread.message.incomplete")
    assert run["incomplete_details"] == {"reason": "max_completion_tokens"}
    assert message["incomplete_details"] == {"reason": "max_tokens"}


@each_row("seed", [None, 1, 2])
async def test_two_steps_are_open_at_once(seed: int | None):
    [events] = await streams_of("two-steps", seed=seed)
    code, message = (data["id"] for data in objects(events, "thread.run.step.created")[:2])
    names = [(name, data["id"]) for name, data in events[:-1]]
    ends = [names.index(("thread.run.step.completed", step)) for step in (code, message)]
    assert names.index(("thread.run.step.created", message)) < min(ends)
    about = [data["id"].partition("_")[0] for name, data in events if name.endswith("delta")]
    assert len(list(groupby(about))) > 20


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_ten_thousand_deltas_are_small():
    [data] = await bytes_of("many-deltas")
    assert [story(events_of(data))] == STORIES["many-deltas"]
    deltas = [line for line in data.split(b"\n\n") if line.startswith(b"event: thread.run.step.delta")]
    assert len(deltas) >= 10_000
    assert max(map(len, deltas)) < 400


@pytest.mark.slow
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_logs_have_four_megabytes():
    [data] = await bytes_of("big-logs")
    assert [story(events_of(data))] == STORIES["big-logs"]
    [step] = [step for step in accumulate([data]).steps.values() if step.type == "tool_calls"]
    assert step.tool_calls[0].code_interpreter.outputs[0].logs.count("\n") == 16_384
    assert len(step.tool_calls[0].code_interpreter.outputs[0].logs) == 4 * 2**20
    assert max(map(len, data.split(b"\n\n"))) > 4 * 2**20


async def test_sse_starlette_ends_lines_with_cr_lf_and_pings():
    for data in await bytes_of("sse-starlette"):
        assert data.count(b"\r\n") == data.count(b"\n") == data.count(b"\r")
        pings = re.findall(rb": ping - \d{4}-\d\d-\d\d \d\d:\d\d:\d\d[^\r]*\r\n\r\n", data)
        assert len(pings) == len(re.findall(rb"^:", data, re.MULTILINE)) == data.count(b"event: ") // 8 > 1


async def test_cr_lf_is_on_the_wire(client: httpx.AsyncClient):
    first, *_ = await whole_bytes(client, "?scenario=sse-starlette")
    assert first.startswith(b"event: thread.run.created\r\ndata: {")


async def test_timestamps_are_floats_in_the_json_text():
    text = b"".join(await bytes_of("float-times")).decode()
    stamps = re.findall(r'"\w+_at":(\d[^,}]*)', text)
    assert len(stamps) > 30
    assert [stamp for stamp in stamps if not re.fullmatch(r"\d{10}\.0", stamp)] == []


async def test_timestamps_are_floats_in_the_answers_too():
    async with calling(app(scenario="float-times", pace="fast")) as client:
        await whole_bytes(client)
        for path in ("", "/steps"):
            text = (await client.get(f"{RUNS}/run_sim1{path}")).text
            assert re.findall(r'"\w+_at":\d+[,}]', text) == []


@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # how JSON is written is no matter of the event loop
@each_row("name", [name for name in SHORT if name != "float-times"])
async def test_timestamps_are_integers_elsewhere(name: str):
    assert re.findall(rb'"\w+_at":\d+\.', b"".join(await bytes_of(name))) == []


# determined by the seed


@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # the bytes of a seed are no matter of the event loop
@each_row("name", SHORT)
async def test_same_seed_gives_the_same_bytes(name: str):
    assert await bytes_of(name, seed=7) == await bytes_of(name, seed=7)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # the bytes of a seed are no matter of the event loop
@each_row("name", SHORT)
async def test_other_seed_gives_other_bytes(name: str):
    assert await bytes_of(name, seed=7) != await bytes_of(name, seed=8)


@each_row("name", ["two-steps", "parallel-functions"])
async def test_seed_determines_the_turns(name: str):
    def turns(data: list[bytes]) -> list[str]:
        return re.findall(r'"index":\d|event: \S+', data[0].decode())

    seen = [turns(await bytes_of(name, seed=seed)) for seed in (7, 7, 8)]
    assert seen[0] == seen[1] != seen[2]


@each_row("name", ["umbrellas", "mcp", "sse-starlette"])
@each_row("path", [RUNS, "/threads/runs"])
async def test_seed_of_a_request_gives_the_same_bytes(name: str, path: str):
    seen = []
    for _ in range(2):
        async with calling(app(pace="fast")) as client:
            seen.append(await whole_bytes(client, f"?scenario={name}&seed=7", path))
    assert seen[0] == seen[1]


async def test_seed_determines_what_is_asked_for_later():
    seen = []
    for _ in range(2):
        async with calling(app(seed=7, pace="fast")) as client:
            thread = (await client.post("/threads")).json()
            message = (await client.post(f"{THREAD}/messages", json={"role": "user", "content": "Ahoy"})).json()
            await whole_bytes(client)
            seen.append((thread, message, await stored_run(client, "run_sim7x1")))
    assert seen[0] == seen[1]


async def test_without_seed_the_wall_clock_shows(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("time.time", lambda: 1_234_567_890.9)
    [events] = await streams_of("message")
    assert events[0][1]["created_at"] == 1_234_567_890


async def test_without_seed_turns_are_plain():
    [events] = await streams_of("two-steps")
    kinds = ["message" if "message" in name else "step" for name, _ in events if name.endswith("delta")]
    assert kinds[8:20] == ["step", "message"] * 6 or kinds[8:20] == ["message", "step"] * 6


# pace, on a clock of the test


def seconds(pace: str, scenario: str = "code") -> float:
    """Return how long a stream takes on trio's virtual clock, on which nobody waits."""

    async def play() -> float:
        start = trio.current_time()
        async with calling(app(scenario=scenario, pace=pace, seed=1)) as client:
            assert (await posted(client, RUNS, RUN_BODY))[-1][0] == "done"
        return trio.current_time() - start

    return trio.run(play, clock=trio.testing.MockClock(autojump_threshold=0))


async def counted() -> tuple[int, float]:
    """Return the events of the stream, and its seconds at real pace."""
    [events] = await streams_of("code", seed=1)
    return len(events), sum(DELAYS.get(name, 0.1) for name, _ in events[:-1])


def test_pace_of_so_many_events_a_second_is_kept():
    events, _ = anyio.run(counted)
    assert seconds("10") == pytest.approx(events / 10)


def test_real_pace_is_that_of_the_story():
    _, real = anyio.run(counted)
    assert seconds("real") == pytest.approx(real + 0.8 - DELAYS["thread.run.step.delta"])


def test_fast_pace_takes_no_time():
    assert seconds("fast") == 0


def test_helper_answers_what_is_asked():
    run = {"required_action": {"type": "submit_tool_outputs", "submit_tool_outputs": {"tool_calls": [{"id": "a"}]}}}
    assert answer(run)["tool_outputs"] == [{"tool_call_id": "a", "output": "the output of a"}]
