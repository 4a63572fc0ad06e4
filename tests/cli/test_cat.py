import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stepstream.fold import stream_state
from tests.support.response_streams import encoded, lifecycle, writing

JSON = dict[str, Any]
FORMS = ("frames", "events", "changes", "steps", "runs", "messages")
STATUSES = {"tides": 0, "crossing": 0, "storm": 4, "lagoon": 0}


def blocks(path: Path) -> list[tuple[str, str]]:
    """Name and data of each event of one of our streams: a reader as simple as they are."""
    found = []
    for block in path.read_bytes().decode().replace("\r\n", "\n").split("\n\n"):
        if block.startswith("event: "):
            name, _, data = block.removeprefix("event: ").partition("\ndata: ")
            found.append((name, data))
    return found


def objects(path: Path, *names: str) -> list[JSON]:
    return [json.loads(data) for name, data in blocks(path) if name in names]


def deltas(path: Path) -> list[JSON]:
    return [one["delta"] for one in objects(path, "thread.run.step.delta")]


@pytest.mark.parametrize("name", STATUSES)
def test_frames_are_what_the_stream_says_up_to_done_or_error(run: Callable[..., Any], streams: Path, name: str):
    path = streams / f"{name}.sse"
    expected = [{"event": event, "data": data, "id": ""} for event, data in blocks(path)]
    if name == "storm":
        assert expected.pop()["event"] == "done"
    got = run("cat", "--as", "frames", path)
    assert (got.status, got.lines) == (STATUSES[name], expected)
    assert [list(line) for line in got.lines] == [["event", "data", "id"]] * len(expected)


@pytest.mark.parametrize("name", STATUSES)
def test_events_are_frames_with_their_data_decoded(run: Callable[..., Any], streams: Path, name: str):
    path = streams / f"{name}.sse"
    frames = run("cat", "--as", "frames", path).lines
    events = run("cat", "--as", "events", path).lines
    for frame in frames:
        del frame["id"]
        if frame["event"] != "done":
            frame["data"] = json.loads(frame["data"])
    assert events == frames


def test_frame_carries_its_last_event_id(run: Callable[..., Any], tmp_path: Path):
    file = tmp_path / "ids.sse"
    file.write_text("id: 7\ndata: 1\n\nevent: done\ndata: [DONE]\n\n")
    got = run("cat", "--as", "frames", file)
    assert got.lines == [
        {"event": "message", "data": "1", "id": "7"},
        {"event": "done", "data": "[DONE]", "id": "7"},
    ]


def test_event_whose_data_is_no_json_is_a_text(run: Callable[..., Any], tmp_path: Path):
    file = tmp_path / "text.sse"
    file.write_text(
        'event: note\ndata: high\ndata: water\n\nevent: note\ndata: {"a":\ndata: 1}\n\nevent: done\ndata: [DONE]\n\n'
    )
    got = run("cat", "--as", "events", file)
    assert got.lines == [
        {"event": "note", "data": "high\nwater"},
        {"event": "note", "data": {"a": 1}},
        {"event": "done", "data": "[DONE]"},
    ]


def beginnings(lines: list[Any], expected: list[Any]) -> list[Any]:
    """The first columns of each line, as many as are expected."""
    return [dict([*line.items()][: len(one)]) for line, one in zip(lines, expected, strict=True)]


def test_changes_of_a_run_that_waits_for_two_calls(run: Callable[..., Any], streams: Path):
    path = streams / "crossing.sse"
    where = {"run_id": "run_crossing", "thread_id": "thread_crossing"}
    step = {"step_id": "step_crossing", "run_id": "run_crossing"}
    first = {**step, "index": 0, "id": "call_crossing_1", "type": "function", "name": "book_berth"}
    second = {**step, "index": 1, "id": "call_crossing_2", "type": "function", "name": "ask_weather"}
    opened = {**step, "thread_id": "thread_crossing", "type": "tool_calls", "previous": None, "status": "in_progress"}
    moves = [
        (None, "queued", "created"),
        ("queued", "in_progress", "in_progress"),
        ("in_progress", *["requires_action"] * 2),
    ]
    created, begun, asked = (
        {**where, "previous": previous, "status": status, "event": f"thread.run.{event}"}
        for previous, status, event in moves
    )
    grown = [{**step, "late": False, "delta": delta} for delta in deltas(path)]
    expected = [
        {"change": "run_transition", "sequence": 1, **created},
        {"change": "run_transition", "sequence": 2, **begun},
        {"change": "step_transition", "sequence": 3, **opened, "event": "thread.run.step.created"},
        {"change": "tool_call_started", "sequence": 4, **first},
        {"change": "step_progress", "sequence": 4, **grown[0]},
        {"change": "tool_call_started", "sequence": 5, **second},
        {"change": "step_progress", "sequence": 5, **grown[1]},
        *({"change": "step_progress", "sequence": 6 + n, **one} for n, one in enumerate(grown[2:])),
        {"change": "tool_call_finished", "sequence": 10, **first},
        {"change": "tool_call_finished", "sequence": 10, **second},
        {"change": "run_transition", "sequence": 10, **asked},
    ]
    got = run("cat", "--as", "changes", path)
    assert (got.status, beginnings(got.lines, expected), got.err) == (0, expected, b"")
    assert [list(line)[: len(one)] for line, one in zip(got.lines, expected, strict=True)] == [*map(list, expected)]


def test_changes_of_a_message_and_the_last_of_a_run(run: Callable[..., Any], streams: Path):
    path = streams / "tides.sse"
    said = {"message_id": "msg_tides", "run_id": "run_tides"}
    where = {"run_id": "run_tides", "thread_id": "thread_tides"}
    step = {"step_id": "step_tides_2", **where, "type": "message_creation"}
    completed = {"previous": "in_progress", "status": "completed"}
    grown = [one["delta"] for one in objects(path, "thread.message.delta")]
    opened = {"previous": None, "status": "in_progress", "event": "thread.message.created"}
    got = run("cat", "--as", "changes", path)
    expected = [
        {"change": "message_transition", "sequence": 11, **said, **opened},
        {"change": "message_progress", "sequence": 12, **said, "delta": grown[0]},
        {"change": "message_progress", "sequence": 13, **said, "delta": grown[1]},
        {"change": "message_transition", "sequence": 14, **said, **completed, "event": "thread.message.completed"},
        {"change": "step_transition", "sequence": 15, **step, **completed, "event": "thread.run.step.completed"},
        {"change": "run_transition", "sequence": 16, **where, **completed, "event": "thread.run.completed"},
    ]  # fmt: skip
    assert beginnings(got.lines[-6:], expected) == expected


def test_changes_of_a_file_are_the_same_each_time(run: Callable[..., Any], streams: Path):
    got = run("cat", "--as", "changes", streams / "tides.sse")
    assert got.lines == run("cat", "--as", "changes", streams / "tides.sse").lines
    assert [line["key"] for line in got.lines if line["change"] == "run_transition"] == [
        f"run_tides/run/{status}" for status in ("queued", "in_progress", "completed")
    ]


def test_anomaly_is_a_change(run: Callable[..., Any], streams: Path):
    got = run("cat", "--as", "changes", streams / "lagoon.sse")
    [anomaly] = [line for line in got.lines if line["change"] == "anomaly"]
    text, expected, instead = (anomaly.pop(column) for column in ("text", "expected", "got"))
    event = {"event": "thread.run.step.delta", "id": "step_nowhere"}
    expected_line = {"change": "anomaly", "sequence": 8, "code": "delta_before_created", **event}
    assert beginnings([anomaly], [expected_line]) == [expected_line]
    assert (got.err, text) == (b"", f"expected {expected}, got {instead}")


def test_anomalies_beside_objects_are_told_on_standard_error(run: Callable[..., Any], streams: Path):
    got = run("cat", streams / "lagoon.sse")
    assert got.status == 0
    assert got.error.startswith("stepstream: event 8 thread.run.step.delta: delta_before_created (step_nowhere): ")


def test_steps_are_the_default_and_are_the_wire_objects(run: Callable[..., Any], streams: Path):
    path = streams / "tides.sse"
    got = run("cat", path)
    assert (got.status, got.lines) == (0, objects(path, "thread.run.step.completed"))
    assert run("cat", "--as", "steps", path) == got


def test_open_step_is_folded_from_its_deltas(run: Callable[..., Any], streams: Path):
    path = streams / "crossing.sse"
    [expected] = objects(path, "thread.run.step.created")
    expected["step_details"]["tool_calls"] = [
        {
            "id": f"call_crossing_{number}",
            "type": "function",
            "function": {"name": name, "arguments": arguments, "output": None},
        }
        for number, name, arguments in ((1, "book_berth", '{"length":12}'), (2, "ask_weather", '{"port":"Tromsø"}'))
    ]
    assert run("cat", path).lines == [expected]


def test_runs_are_the_newest_objects(run: Callable[..., Any], streams: Path):
    path = streams / "tides.sse"
    assert run("cat", "--as", "runs", path).lines == objects(path, "thread.run.completed")


def test_messages_are_the_final_objects(run: Callable[..., Any], streams: Path):
    path = streams / "tides.sse"
    assert run("cat", "--as", "messages", path).lines == objects(path, "thread.message.completed")


def test_unknown_tool_keeps_its_content(run: Callable[..., Any], streams: Path):
    path = streams / "lagoon.sse"
    assert run("cat", path).lines == objects(path, "thread.run.step.completed")
    started = [line for line in run("cat", "--as", "changes", path).lines if line["change"] == "tool_call_started"]
    assert [(line["id"], line["type"], line["name"]) for line in started] == [("call_lagoon", "sonar", None)]


def test_message_encoded_twice_is_folded(run: Callable[..., Any], streams: Path):
    [message] = run("cat", "--as", "messages", streams / "lagoon.sse").lines
    assert message["content"] == [{"type": "text", "text": {"value": "Shallow."}}]


@pytest.mark.parametrize("name", STATUSES)
def test_chunk_size_changes_nothing(run: Callable[..., Any], streams: Path, name: str):
    path = streams / f"{name}.sse"
    for form in FORMS:
        whole = run("cat", "--as", form, path)
        assert whole.status == STATUSES[name], form
        assert [run("cat", "--as", form, "--chunk-size", size, path) for size in (1, 2, 3, 7)] == [whole] * 4, form


@pytest.mark.parametrize("form", FORMS)
def test_url_gives_what_its_file_gives(run: Callable[..., Any], streams: Path, server: str, form: str):
    file = run("cat", "--as", form, streams / "tides.sse")
    assert file.out
    for size in (7, 65_536):
        assert run("cat", "--as", form, "--chunk-size", size, f"{server}/stream?key=abc") == file


@pytest.mark.parametrize("form", FORMS)
def test_what_follows_done_is_not_read(run: Callable[..., Any], streams: Path, tmp_path: Path, form: str):
    path = streams / "crossing.sse"
    longer = tmp_path / "longer.sse"
    longer.write_bytes(path.read_bytes() + (streams / "storm.sse").read_bytes())
    assert run("cat", "--as", form, longer) == run("cat", "--as", form, path)


@pytest.mark.parametrize("form", FORMS)
def test_done_without_its_blank_line_completes_a_stream(run: Callable[..., Any], tmp_path: Path, form: str):
    file = tmp_path / "short.sse"
    file.write_text('event: thread.run.created\ndata: {"id": "run_1"}\n\nevent: done\ndata: [DONE]')
    assert run("cat", "--as", form, file).status == 0


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """More runs than a processor retains, and once more the first step of the first."""
    step = 'event: thread.run.step.completed\ndata: {"id": "step_0", "run_id": "run_0", "status": "completed"}\n\n'
    runs = [f'event: thread.run.completed\ndata: {{"id": "run_{number}"}}\n\n' for number in range(300)]
    file = tmp_path / "many.sse"
    file.write_text("".join([step, *runs, step]))
    return file


def test_every_run_of_a_stream_is_written(run: Callable[..., Any], many: Path):
    assert [line["id"] for line in run("cat", "--as", "runs", many).lines] == [f"run_{n}" for n in range(300)]


def test_every_run_of_a_stream_is_written_though_an_outcome_has_the_newest_only(
    run: Callable[..., Any], many: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(stream_state, "MAX_TOUCHED", 10)
    assert [line["id"] for line in run("cat", "--as", "runs", many).lines] == [f"run_{n}" for n in range(300)]


def test_every_run_of_a_stream_is_remembered(run: Callable[..., Any], many: Path):
    last = run("cat", "--as", "changes", many).lines[-1]
    assert (last["sequence"], last["change"], last.get("code")) == (302, "anomaly", "duplicate_terminal")


RESPONSE = encoded([lifecycle("created"), *writing("Hi"), {"type": "error", "code": "c", "message": "m"}])


def test_frames_of_a_dialect_are_what_came_and_events_what_they_became(run: Callable[..., Any], tmp_path: Path):
    path = tmp_path / "response.sse"
    path.write_bytes(RESPONSE)
    got = {what: run("cat", "--as", what, path) for what in ("frames", "events", "changes", "messages")}
    assert {one.status for one in got.values()} == {4}
    assert [line["event"] for line in got["frames"].lines][:2] == ["response.created", "response.output_item.added"]
    events = [line["event"] for line in got["events"].lines]
    assert events == [
        "thread.run.created",
        "thread.run.step.created",
        "thread.message.created",
        "thread.message.delta",
        "thread.message.delta",
        "thread.message.delta",
        "thread.message.in_progress",
        "thread.message.in_progress",
        "thread.message.completed",
        "thread.run.step.completed",
        "error",
    ]
    assert {line["event"] for line in got["changes"].lines} <= {*events}
    assert [line["content"][0]["text"]["value"] for line in got["messages"].lines] == ["Hi"]
