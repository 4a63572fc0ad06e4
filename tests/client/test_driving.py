"""A run to its end in one call: rounds of tools, answers that get lost, tools that fail, callers that are cancelled."""

import json
from collections import Counter
from typing import Any

import anyio
import pytest

from stepstream import (
    APIError,
    Outcome,
    Processor,
    RunsClient,
    RunTransition,
    StepTransition,
    Toolbox,
    ToolFailed,
    TransportError,
)
from stepstream.client.driving import RESUBMISSIONS
from stepstream.client.driving import join_outcomes as merge
from stepstream.simulator.scenario import Answer, CodeInterpreter, FunctionCall, FunctionCalls, McpCall, Scenario
from stepstream.sources import backoff
from tests.support.breaking_simulator import Asked, Break, Server, Trouble, Wire, breaking
from tests.support.drives import Drive, driven, harbour, illegal, is_over, same, told
from tests.support.json_values import plain
from tests.support.stored_runs import stored_run

ROUNDS = 6
PARTS = Answer(parts=("All six are done.",))
SIX_ROUNDS = Scenario(
    summary="six rounds of three parallel calls",
    acts=(
        *(
            FunctionCalls(
                calls=(
                    FunctionCall("slow", f'{{"number": {number}}}'),
                    FunctionCall("raising", "{}"),
                    FunctionCall("number", f'{{"of": {number}}}'),
                )
            )
            for number in range(ROUNDS)
        ),
        PARTS,
    ),
)
MCP = McpCall(server_label="harbour", name="find_berth", arguments="{}", output="N4")
APPROVAL = Scenario(summary="an MCP call", acts=(MCP, PARTS))


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refusals that pass are tried again at once."""
    monkeypatch.setattr(backoff, "FIRST", 0.001)


def six_tools(made: Counter[str]) -> Toolbox:
    tools = Toolbox()

    @tools.function
    async def slow(number: int) -> dict[str, int]:
        made["slow"] += 1
        await anyio.sleep(0.02)
        return {"slept": number}

    @tools.function
    def raising() -> None:
        made["raising"] += 1
        raise LookupError("no such buoy")

    @tools.function
    def number(of: int) -> float:
        made["number"] += 1
        return of / 2

    return tools


async def settled(server: Server, drive: Drive) -> Outcome:
    """Return the outcome of a drive whose run is over, as the server says it."""
    assert drive.failure is None
    assert drive.outcome is not None
    [run] = drive.outcome.runs.values()
    truth = await stored_run(server.client, run.id, f"{server.url}/threads/{run.thread_id}")
    assert same(told(drive.outcome), truth)
    assert (is_over(truth.run), illegal(drive.changes)) == (True, [])
    return drive.outcome


def given(wire: Wire) -> list[dict[str, Any]]:
    """Return the outputs that were submitted, in order of the rounds, by call id."""
    return [{one["tool_call_id"]: one["output"] for one in post["tool_outputs"]} for post in wire.posts()]


async def test_six_rounds_of_parallel_tools_complete_in_one_drive():
    made = Counter[str]()
    async with breaking(SIX_ROUNDS) as server:
        drive = await driven(server, Wire(), tools=six_tools(made))
        outcome = await settled(server, drive)
    assert made == {"slow": ROUNDS, "raising": ROUNDS, "number": ROUNDS}
    outputs = [list(some.values()) for some in given(drive.wire)]
    error = {"error": "LookupError: no such buoy"}
    assert [[json.loads(one) for one in some] for some in outputs] == [
        [{"slept": number}, error, number / 2] for number in range(ROUNDS)
    ]
    assert (outcome.reason, outcome.reconciled, len(outcome.steps), outcome.anomaly_count) == ("done", False, 7, 0)
    assert len(drive.wire.streams) == 1 + ROUNDS


async def test_outcome_is_that_of_all_streams():
    async with breaking("tool-rounds") as server:
        drive = await driven(server, Wire())
        outcome = await settled(server, drive)
    events = sum(stream.count(b"\n\n") for stream in drive.wire.streams)
    [run] = outcome.runs.values()
    assert (len(drive.wire.streams), outcome.events) == (4, events)
    assert (outcome.required_action, plain(outcome.usage)["total_tokens"]) == (None, run.usage.total_tokens)
    assert [step.type for step in outcome.steps.values()] == ["tool_calls"] * 4 + ["message_creation"]


async def test_outcomes_of_runs_without_usage_add_up_their_steps():
    code = CodeInterpreter(code="x", logs=("1",))
    calls = FunctionCalls(calls=(FunctionCall("get_tide", "{}"),))
    async with breaking(Scenario(summary="waits twice", acts=(code, calls, code, calls))) as server:
        drive = await driven(server, Wire(), max_rounds=1)
    assert drive.outcome is not None
    ended = [step.usage.total_tokens for step in drive.outcome.steps.values() if step.usage]
    assert (len(ended), drive.outcome.usage.total_tokens) == (3, sum(ended))


async def test_anomalies_of_both_streams_are_in_the_outcome_up_to_a_thousand():
    async with breaking("mcp") as server:
        drive = await driven(server, Wire(), thread_id="thread_own")
    outcome = drive.outcome
    assert outcome is not None
    for _ in range(11):
        outcome = merge(outcome, outcome)
    assert (len(outcome.anomalies), outcome.anomaly_count) == (1_000, 2_048)


async def test_every_change_carries_the_context():
    channel = object()
    async with breaking("tool-rounds") as server:
        drive = await driven(server, Wire(Break("cut", 3, "event", 4)), context=channel)
        assert (await settled(server, drive)).reconciled
    assert {id(change.context) for change in drive.changes} == {id(channel)}


async def test_run_on_a_thread_stays_there_and_another_opens_one():
    async with breaking("function") as server:
        there = await settled(server, await driven(server, Wire(), thread_id="thread_own"))
        new = await settled(server, await driven(server, Wire()))
    threads = [run.thread_id for outcome in (there, new) for run in outcome.runs.values()]
    assert (threads[0], threads[1] == "thread_own") == ("thread_own", False)


@pytest.mark.parametrize("max_rounds", [0, 1, 2])
async def test_drive_stops_after_max_rounds_and_says_what_is_waited_for(max_rounds: int):
    async with breaking("tool-rounds") as server:
        drive = await driven(server, Wire(), max_rounds=max_rounds)
    assert drive.outcome is not None
    [run] = drive.outcome.runs.values()
    assert (run.status, drive.outcome.required_action) == ("requires_action", run.required_action)
    assert (len(drive.wire.posts()), len(drive.wire.streams)) == (max_rounds, max_rounds + 1)


async def test_drive_without_a_toolbox_stops_where_the_run_waits():
    async with breaking("function") as server, Processor() as processor:
        wire = Wire()
        outcome = await server.wired(wire).drive(processor, None, assistant_id="asst_own")
    assert (outcome.reason, outcome.required_action is not None, wire.posts()) == ("done", True, [])


@pytest.mark.parametrize("approved", [True, False])
async def test_mcp_calls_are_approved_or_not(approved: bool):
    tools = Toolbox()
    tools.approve(lambda call: approved)
    async with breaking(APPROVAL) as server:
        drive = await driven(server, Wire(), tools=tools)
        outcome = await settled(server, drive)
    [post] = drive.wire.posts()
    assert [one["approve"] for one in post["tool_approvals"]] == [approved]
    [step, _] = map(plain, outcome.steps.values())
    [call] = step["step_details"]["tool_calls"]
    assert call.get("output") == ("N4" if approved else None)


def failing(*, on_error: str = "cancel") -> Toolbox:
    tools = Toolbox(on_error=on_error)

    @tools.function
    async def slow(number: int) -> None:
        await anyio.sleep_forever()

    @tools.function
    async def raising() -> None:
        raise LookupError("no such buoy")

    @tools.function
    async def number(of: int) -> int:
        return of

    return tools


async def test_tool_that_fails_cancels_the_run_where_the_toolbox_says_so():
    async with breaking(SIX_ROUNDS) as server:
        drive = await driven(server, Wire(), tools=failing())
        failure = drive.failure
        assert type(failure) is ToolFailed
        assert type(failure.__cause__) is LookupError
        assert failure.outcome is not None
        [run] = failure.outcome.runs.values()
        truth = await stored_run(server.client, run.id, f"{server.url}/threads/{run.thread_id}")
    assert (truth.run["status"], same(told(failure.outcome), truth), illegal(drive.changes)) == ("cancelled", True, [])
    statuses = [change.status for change in drive.changes if isinstance(change, RunTransition)]
    assert statuses[-2:] == ["requires_action", "cancelled"] or statuses[-2:] == ["cancelling", "cancelled"]
    assert [type(change).__name__ for change in drive.ends] == ["StepTransition", "RunTransition"]
    assert (drive.wire.posts(), failure.outcome.reconciled) == ([], False)


async def test_tool_that_fails_is_told_even_where_the_run_cannot_be_cancelled(caplog: pytest.LogCaptureFixture):
    wire = Wire(trouble=lambda asked, _: Trouble(403) if asked.path.endswith("cancel") else None)
    async with breaking(SIX_ROUNDS) as server:
        drive = await driven(server, wire, tools=failing())
    assert type(drive.failure) is ToolFailed
    outcome = drive.failure.outcome
    assert outcome is not None
    assert (outcome.events, [run.status for run in outcome.runs.values()]) == (
        sum(stream.count(b"\n\n") for stream in wire.streams),
        ["requires_action"],
    )
    assert "could not be cancelled" in caplog.text


class Once:
    """Spoils the first requests to a path: the first by the first trouble, and so on."""

    def __init__(self, end: str, *troubles: Trouble, method: str = "POST") -> None:
        self._end = end
        self._method = method
        self._troubles = troubles

    def __call__(self, asked: Asked, before: int) -> Trouble | None:
        is_meant = asked.method == self._method and asked.path.endswith(self._end)
        return self._troubles[before] if is_meant and before < len(self._troubles) else None


SUBMIT = "submit_tool_outputs"
LOST = Trouble()
UNANSWERED = Trouble(is_got=True)

LOSSES: dict[str, tuple[Trouble, ...]] = {
    "lost": (LOST,),
    "lost three times": (LOST,) * RESUBMISSIONS,
    "got, not answered": (UNANSWERED,),
    "lost, then got, not answered": (LOST, UNANSWERED),
    "refused for now, more often than it is tried": (Trouble(503),) * 4,
    "got, but 504": (Trouble(504, is_got=True),),
    "got, but 502 as often as it is tried": (Trouble(502, is_got=True), Trouble(502), Trouble(502)),
    "got, but 409 when it is tried again": (Trouble(500, is_got=True), Trouble(409)),
}


@pytest.mark.parametrize(
    ("scenario", "troubles"),
    [*(("parallel-functions", troubles) for troubles in LOSSES.values()), ("mcp", LOSSES["lost"])],
    ids=[*LOSSES, "approvals lost"],
)
async def test_answers_that_get_lost_are_given_again_and_their_tools_run_once(
    scenario: str, troubles: tuple[Trouble, ...]
):
    async with breaking(scenario) as server:
        whole = await driven(server, Wire(), thread_id="thread_own")
        drive = await driven(server, Wire(trouble=Once(SUBMIT, *troubles)), thread_id="thread_own")
        outcome = await settled(server, drive)
    assert (Counter(drive.made), [run.status for run in outcome.runs.values()]) == (Counter(whole.made), ["completed"])
    key = "tool_outputs" if scenario != "mcp" else "tool_approvals"
    posts = [post[key] for post in drive.wire.posts()]
    assert posts == [posts[0]] * len(posts)


async def test_answers_whose_stream_has_no_event_are_given_again():
    """The server answers 200 and ends, but has not got them."""

    async with breaking("function") as server:
        wire = Wire(trouble=Once(SUBMIT, Trouble(200)))  # an empty stream
        drive = await driven(server, wire)
        outcome = await settled(server, drive)
    assert (outcome.reconciled, len(wire.posts()), len(drive.made)) == (True, 2, 1)


async def test_answers_that_always_get_lost_are_given_up_with_the_outcome():
    wire = Wire(trouble=Once(SUBMIT, *[LOST] * 100))
    async with breaking("function") as server:
        drive = await driven(server, wire)
    failure = drive.failure
    assert type(failure) is TransportError
    assert str(failure) == f"the run still waits for answers that were given {RESUBMISSIONS + 1} times"
    assert failure.outcome is not None
    assert ([run.status for run in failure.outcome.runs.values()], len(drive.made)) == (["requires_action"], 1)
    assert len(wire.posts()) == RESUBMISSIONS + 1


@pytest.mark.parametrize("status", [400, 401, 404, 409, 413])
async def test_answers_that_are_refused_for_good_are_not_given_again(status: int):
    wire = Wire(trouble=Once(SUBMIT, *[Trouble(status)] * 100))
    async with breaking("function") as server:
        drive = await driven(server, wire)
    failure = drive.failure
    assert isinstance(failure, APIError)
    assert (failure.status_code, failure.message, len(wire.posts())) == (status, "trouble", 1)
    assert failure.outcome is not None
    assert [run.status for run in failure.outcome.runs.values()] == ["requires_action"]


@pytest.mark.parametrize("status", [429, 500])
async def test_run_is_asked_for_until_the_server_answers(status: int):
    wire = Wire(Break("reset", 1, "event", 7), Once("run_sim1", *[Trouble(status)] * 5, method="GET"))
    async with breaking("code") as server:
        drive = await driven(server, wire)
        outcome = await settled(server, drive)
    assert outcome.reconciled


async def test_slow_run_is_followed_until_it_is_over():
    async with breaking("code", pace=400) as server:
        drive = await driven(server, Wire(Break("reset", 1, "event", 3)))
        outcome = await settled(server, drive)
    polls = [asked for asked in drive.wire.asked if asked.path.endswith("run_sim1")]
    assert (outcome.reconciled, len(polls) > 1) == (True, True)


async def test_several_runs_are_driven_at_once_through_one_processor():
    statuses = dict[int, list[str]]()
    outcomes = dict[int, Outcome]()
    async with breaking("tool-rounds") as server, Processor() as processor:

        @processor.on(RunTransition)
        async def note(change: RunTransition) -> None:
            statuses.setdefault(change.context, []).append(change.status)

        async def one(number: int) -> None:
            wire = Wire(Break("cut", 1 + number % 4, "event", 3 + number))
            client = server.wired(wire)
            outcomes[number] = await client.drive(processor, None, harbour([]), context=number, assistant_id="asst_own")

        async with anyio.create_task_group() as tasks:
            for number in range(12):
                tasks.start_soon(one, number)
    ends = [some.count("completed") for some in statuses.values()]
    assert (len(outcomes), ends, {len(outcome.runs) for outcome in outcomes.values()}) == (12, [1] * 12, {1})
    assert len({run for outcome in outcomes.values() for run in outcome.runs}) == 12


async def test_run_whose_action_is_of_an_unknown_type_is_left_to_the_caller():
    action = {"type": "submit_sail_plan", "submit_sail_plan": {}}
    run = {"id": "run_1", "thread_id": "thread_1", "status": "requires_action", "required_action": action}
    sent = f"event: thread.run.requires_action\ndata: {json.dumps(run)}\n\nevent: done\ndata: [DONE]\n\n"

    async def application(scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": sent.encode()})

    async with breaking(application) as server:
        drive = await driven(server, Wire())
    assert drive.outcome is not None
    assert drive.outcome.required_action is not None
    assert (drive.outcome.required_action.type, drive.made) == ("submit_sail_plan", [])


async def test_drive_in_a_callback_is_refused():
    refused = list[str]()
    async with breaking("message") as server, Processor() as processor:

        @processor.on(StepTransition, terminal=True)
        async def again(change: StepTransition) -> None:
            try:
                await server.wired(Wire()).drive(processor, None, assistant_id="asst_own")
            except RuntimeError as exc:
                refused.append(str(exc))

        await server.wired(Wire()).drive(processor, None, assistant_id="asst_own")
    assert refused == ["run() in a callback would wait for that callback: use start(), which returns at once"]


async def test_toolbox_in_place_of_a_thread_is_told_where_it_goes():
    async with Processor() as processor:
        with pytest.raises(
            TypeError, match=r"^expected thread_id as a string, or None .*, got Toolbox: a toolbox is th"
        ):
            await RunsClient("http://peer").drive(processor, Toolbox(), assistant_id="asst_own")  # type: ignore[arg-type]


@pytest.mark.parametrize("thread_id", ["thread_own", None])
async def test_unknown_parameter_is_refused_before_anything_is_sent(thread_id: str | None):
    wire = Wire()
    async with breaking("message") as server, Processor() as processor:
        with pytest.raises(TypeError, match="expected parameters of a run, got temprature"):
            await server.wired(wire).drive(processor, thread_id, assistant_id="asst_own", temprature=1)
    assert wire.asked == []
