import json
import re
from copy import deepcopy
from itertools import groupby

import anyio
import httpx
import pytest

from stepstream.simulator.event_writer import EventWriter
from stepstream.simulator.objects import Owner
from stepstream.simulator.scenario import Answer, Citation, Ending, FunctionCall, FunctionCalls, Scenario, Usage
from stepstream.simulator.scenarios import SCENARIOS
from stepstream.simulator.step_events import function_call_events, tokens
from stepstream.simulator.threads import Threads
from tests.support.json_values import JSON
from tests.support.simulator_runs import AT, Events, a_run, asked_calls, beats, decoded, posted
from tests.support.tables import each_row

RUN_BODY = {"assistant_id": "asst_shopkeeper", "stream": True}
OUTPUTS = ("rain all day, 9 °C", "showers, 12 °C")
STEP_KEYS = {
    "id", "object", "created_at", "run_id", "assistant_id", "thread_id", "type", "status", "cancelled_at",
    "completed_at", "expires_at", "failed_at", "last_error", "step_details", "usage",
}  # fmt: skip
USAGE_KEYS = {
    "prompt_tokens", "completion_tokens", "total_tokens", "prompt_token_details", "completion_tokens_details",
}  # fmt: skip
APPENDED = {"input", "logs", "arguments", "value"}


def waiting_run(first: Events) -> JSON:
    name, run = first[-2]
    assert name == "thread.run.requires_action"
    return run


def submission(first: Events) -> JSON:
    calls = asked_calls(waiting_run(first))
    outputs = [{"tool_call_id": call["id"], "output": output} for call, output in zip(calls, OUTPUTS, strict=True)]
    return {"tool_outputs": outputs, "stream": True}


async def whole_run(client: httpx.AsyncClient, thread_id: str = "thread_own") -> tuple[Events, Events]:
    first = await posted(client, f"/threads/{thread_id}/runs", RUN_BODY)
    run_id = first[0][1]["id"]
    second = await posted(client, f"/threads/{thread_id}/runs/{run_id}/submit_tool_outputs", submission(first))
    return first, second


@pytest.fixture(scope="module")
def streams(base_url: str) -> tuple[Events, Events]:
    """Both streams of one run, as they came over the socket. Not to be changed."""

    async def fetch() -> tuple[Events, Events]:
        async with httpx.AsyncClient(base_url=base_url, trust_env=False, verify=False) as client:
            return await whole_run(client)

    return anyio.run(fetch)


def story(events: Events) -> list[str]:
    """The names of the events, neighbours that are alike taken as one, without the prefix `thread.`"""
    return [name.removeprefix("thread.") for name, _ in groupby(name for name, _ in events)]


def objects(events: Events, name: str) -> list[JSON]:
    return [data for event, data in events if event == name]


def add(whole: JSON, part: JSON) -> None:
    """A fold of its own, as simple as the simulator's deltas are."""
    for key, value in part.items():
        if isinstance(value, dict):
            add(whole.setdefault(key, {}), value)
        elif isinstance(value, list):
            entries = whole.setdefault(key, [])
            for entry in value:
                if entry["index"] == len(entries):
                    entries.append({})
                add(entries[entry["index"]], entry)
        elif key in APPENDED:
            whole[key] = whole.get(key, "") + value
        elif key != "index":
            whole[key] = value


def sums(events: Events, name: str) -> list[JSON]:
    """What the deltas of each object add up to, in order of first sight."""
    found: dict[str, JSON] = {}
    for data in objects(events, name):
        add(found.setdefault(data["id"], {}), data["delta"])
    return list(found.values())


def test_first_stream_runs_code_and_stops_at_two_function_calls(streams: tuple[Events, Events]):
    assert story(streams[0]) == [
        "run.created", "run.queued", "run.in_progress",
        "run.step.created", "run.step.in_progress", "run.step.delta", "run.step.completed",
        "run.step.created", "run.step.in_progress", "run.step.delta",
        "run.requires_action", "done",
    ]  # fmt: skip


def test_second_stream_begins_with_the_end_of_the_function_step_and_finishes_the_run(
    streams: tuple[Events, Events],
):
    first, second = streams
    assert story(second) == [
        "run.step.completed", "run.queued", "run.in_progress",
        "run.step.created", "run.step.in_progress", "run.step.delta", "run.step.completed",
        "run.step.created", "run.step.in_progress",
        "message.created", "message.in_progress", "message.delta", "message.completed",
        "run.step.completed", "run.completed", "done",
    ]  # fmt: skip
    assert second[0][1]["id"] == objects(first, "thread.run.step.created")[1]["id"]
    assert second[-1] == ("done", b"[DONE]")


def test_completed_code_step_is_the_sum_of_its_deltas(streams: tuple[Events, Events]):
    [step] = objects(streams[0], "thread.run.step.completed")
    assert sums(streams[0], "thread.run.step.delta")[0]["step_details"] == step["step_details"]
    kinds = [output["type"] for output in step["step_details"]["tool_calls"][0]["code_interpreter"]["outputs"]]
    assert kinds == ["logs", "image"]


def test_completed_function_step_is_the_sum_of_its_deltas_with_the_submitted_outputs(
    streams: tuple[Events, Events],
):
    first, second = streams
    expected = sums(first, "thread.run.step.delta")[1]["step_details"]
    for call, output in zip(expected["tool_calls"], OUTPUTS, strict=True):
        assert call["function"]["output"] is None
        call["function"]["output"] = output
    assert second[0][1]["step_details"] == expected


def test_completed_search_step_is_the_sum_of_its_deltas_and_the_results(streams: tuple[Events, Events]):
    step = deepcopy(objects(streams[1], "thread.run.step.completed")[1])
    found = step["step_details"]["tool_calls"][0]["file_search"]
    assert [result["file_name"] for result in found["results"]] == ["supplier-handbook.pdf"] * 2
    found["results"] = []
    assert sums(streams[1], "thread.run.step.delta") == [{"step_details": step["step_details"]}]


def test_completed_message_is_the_sum_of_its_deltas(streams: tuple[Events, Events]):
    [message] = objects(streams[1], "thread.message.completed")
    assert sums(streams[1], "thread.message.delta") == [{"content": message["content"]}]
    assert message["content"][0]["text"]["value"].startswith("Restock **Bergen** and **Kraków**")


def test_citation_stands_where_its_indices_say(streams: tuple[Events, Events]):
    [message] = objects(streams[1], "thread.message.completed")
    text = message["content"][0]["text"]
    [citation] = text["annotations"]
    assert text["value"][citation["start_index"] : citation["end_index"]] == citation["text"]


def test_required_action_names_both_calls_with_their_full_arguments(streams: tuple[Events, Events]):
    calls = asked_calls(waiting_run(streams[0]))
    assert [json.loads(call["function"]["arguments"])["city"] for call in calls] == ["Bergen", "Kraków"]
    deltas = sums(streams[0], "thread.run.step.delta")[1]["step_details"]["tool_calls"]
    for call in deltas:
        del call["function"]["output"]
    assert calls == deltas


def test_arguments_of_parallel_calls_arrive_interleaved(streams: tuple[Events, Events]):
    step_id = objects(streams[0], "thread.run.step.created")[1]["id"]
    deltas = [data["delta"] for data in objects(streams[0], "thread.run.step.delta") if data["id"] == step_id]
    indices = [delta["step_details"]["tool_calls"][0]["index"] for delta in deltas]
    assert indices == [0, 1] * (len(deltas) // 2)


def test_search_deltas_repeat_the_call(streams: tuple[Events, Events]):
    deltas = [data["delta"] for data in objects(streams[1], "thread.run.step.delta")]
    assert deltas == [deltas[0]] * 2


def test_steps_have_the_keys_of_genuine_servers(streams: tuple[Events, Events]):
    steps = [data for events in streams for _, data in events[:-1] if data["object"] == "thread.run.step"]
    assert [set(step) for step in steps] == [STEP_KEYS] * 12


def test_usage_of_the_run_is_the_sum_of_its_steps(streams: tuple[Events, Events]):
    steps = [step for events in streams for step in objects(events, "thread.run.step.completed")]
    [run] = objects(streams[1], "thread.run.completed")
    assert [set(step["usage"]) for step in steps] == [USAGE_KEYS] * 4
    for key in ("prompt_tokens", "completion_tokens", "total_tokens"):
        assert run["usage"][key] == sum(step["usage"][key] for step in steps)


async def test_thread_and_assistant_are_those_of_the_request(client: httpx.AsyncClient):
    first, second = await whole_run(client, "thread_of_the_caller")
    whole = [data for events in (first, second) for _, data in events[:-1] if "thread_id" in data]
    owners = {(data["thread_id"], data["assistant_id"]) for data in whole}
    assert owners == {("thread_of_the_caller", "asst_shopkeeper")}
    assert story(second)[-2:] == ["run.completed", "done"]


async def test_run_on_a_new_thread_begins_with_the_thread(client: httpx.AsyncClient):
    first = await posted(client, "/threads/runs", RUN_BODY)
    assert story(first)[:2] == ["created", "run.created"]
    assert first[0][1]["id"] == first[1][1]["thread_id"]


async def test_two_runs_at_once_share_no_id(client: httpx.AsyncClient):
    found: list[set[str]] = []

    async def collect() -> None:
        text = json.dumps(await whole_run(client), default=bytes.decode)
        found.append(set(re.findall(r'"(?:run|step|call|msg)_sim[^"]+"', text)))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(collect)
        tasks.start_soon(collect)
    assert [len(ids) for ids in found] == [1 + 4 + 4 + 1] * 2
    assert found[0].isdisjoint(found[1])


def play(seed: int | None = None) -> tuple[float, Events]:
    """A run of the story taken straight from its source: its seconds at real pace, and its events."""
    run = a_run(seed=seed)
    taken = beats(run.begin(0))
    outputs = {call["id"]: "dry" for call in asked_calls(waiting_run(decoded([beat.frame for beat in taken])))}
    taken += beats(run.submit(outputs, 0, 0))
    return sum(beat.delay for beat in taken), decoded([beat.frame for beat in taken])


@each_row("seed", [None, 0, 7])
def test_same_run_of_two_applications_has_the_same_ids(seed: int | None):
    assert play(seed) == play(seed)


def test_both_streams_last_six_to_eight_seconds_at_real_pace():
    assert 6 <= play()[0] <= 8


def test_times_in_the_objects_are_those_of_the_story():
    seconds, events = play()
    [run] = objects(events, "thread.run.completed")
    assert run["completed_at"] - run["created_at"] == int(seconds)
    times = [
        step[key] for step in objects(events, "thread.run.step.completed") for key in ("created_at", "completed_at")
    ]
    assert times == sorted(times)


def test_parallel_calls_of_unequal_length_lose_nothing():
    calls = (FunctionCall("get_weather", "{}"), FunctionCall("get_weather", '{"city": "Porto", "day": "Monday"}'))
    stage = EventWriter(Owner("run_1", "thread_own", "asst_own", AT), "sim1", AT, None)
    taken = function_call_events(stage, FunctionCalls(calls=calls, usage=Usage(1, 1)))
    [step] = sums(decoded([beat.frame for beat in taken]), "thread.run.step.delta")
    got = [call["function"]["arguments"] for call in step["step_details"]["tool_calls"]]
    assert got == [call.arguments for call in calls]


@each_row("text", ["", " ", "a  b\n\n", '{"city": "Kraków"}', "  \n", "x_1 = [2.5]\n", "\x00—🙂"])
def test_tokens_join_to_their_text(text: str):
    assert "".join(tokens(text)) == text


def test_act_that_comes_twice_is_cut_only_where_it_is_the_last():
    answer = Answer(parts=("Low water at noon.",))
    run = a_run(Scenario(summary="", acts=(answer, answer), ending=Ending(status="failed", after=3)))
    beats(run.begin(0))
    assert [step["status"] for step in run.steps()] == ["completed", "failed"]


def test_scenario_without_acts_is_a_run_without_steps():
    run = a_run(Scenario(summary="", acts=()))
    assert story(decoded([beat.frame for beat in beats(run.begin(0))]))[-2:] == ["run.completed", "done"]
    assert run.steps() == []


def test_answer_that_begins_with_a_citation_keeps_it():
    run = a_run(Scenario(summary="", acts=(Answer(parts=(Citation("[1]", "file_1"), " says so")),)))
    events = decoded([beat.frame for beat in beats(run.begin(0))])
    [message] = objects(events, "thread.message.completed")
    assert sums(events, "thread.message.delta") == [{"content": message["content"]}]
    assert message["content"][0]["text"]["annotations"][0]["file_citation"] == {"file_id": "file_1"}


@each_row("name", SCENARIOS)
def test_summary_of_a_scenario_fits_a_line(name: str):
    assert 5 < len(SCENARIOS[name].summary) < 90


def test_newest_runs_are_kept(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("stepstream.simulator.threads.MAX_RUNS", 2)
    threads = Threads()
    thread = threads.create(AT)
    runs = []
    for number in range(3):
        runs.append(a_run("message"))
        runs[-1].owner = Owner(f"run_{number}", thread.id, "asst_own", AT)
        threads.add_run(thread, runs[-1])
        beats(runs[-1].begin(0))
    assert list(thread.runs.values()) == runs[1:]


def test_run_that_is_pushed_out_takes_its_messages_along(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("stepstream.simulator.threads.MAX_RUNS", 0)
    threads = Threads()
    thread, run = threads.create(AT), a_run("message")
    thread.add_run(run)
    beats(run.begin(0))
    assert len(thread.messages) == 1
    threads.add_run(thread, run)
    assert (thread.runs, thread.messages) == ({}, {})


def test_newest_threads_are_kept(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("stepstream.simulator.threads.MAX_THREADS", 2)
    threads = Threads()
    made = [threads.create(AT) for _ in range(3)]
    assert [threads.find(thread.id) for thread in made] == [None, *made[1:]]


def test_newest_messages_are_kept(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("stepstream.simulator.threads.MAX_MESSAGES", 2)
    thread = Threads().create(AT)
    for number in range(3):
        thread.add_message({"id": f"msg_{number}"})
    assert list(thread.messages) == ["msg_1", "msg_2"]


def test_new_thread_does_not_take_the_id_of_one_that_is_used():
    threads = Threads()
    used = threads.use("thread_sim1", AT)
    assert threads.create(AT).id == "thread_sim2"
    assert threads.find("thread_sim1") is used
