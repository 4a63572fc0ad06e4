"""Each recipe is run as it is, against a simulator and a chat platform that limits rates."""

import json
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from stepstream.simulator.application import app
from tests.support.chat_platform import Chat
from tests.support.places import ROOT
from tests.support.programs import printed_by, served

RECIPES = {
    path.stem: path for path in sorted(Path(__file__).parent.glob("*.py")) if not path.stem.startswith(("test_", "__"))
}
CHANNELS = ("harbour", "ferry")
ANSWER = "The highest of 706 tides stood at 4.31 m."


def cook(recipe: str, cwd: Path, simulated: Any, chat: Chat | None = None) -> str:
    """Run a recipe against a simulator and a platform, and return what it prints."""
    with served(simulated) as url, served(chat or Chat()) as chat_url:
        program = RECIPES[recipe].read_text(encoding="utf-8")
        return printed_by(program, str(RECIPES[recipe]), cwd, {"STEPSTREAM_URL": url, "CHAT_URL": chat_url})


def gaps(chat: Chat, channel: str) -> list[float]:
    """Return the seconds between the requests for a channel."""
    times = [one.at for one in chat.of(channel)]
    return [after - before for before, after in pairwise(times)]


def test_every_recipe_is_linked_and_tested():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    tests = "".join(path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("test_*.py"))
    linked = set(re.findall(r"\(tests/recipes/(\w+)\.py\)", readme))
    assert [name for name in RECIPES if name not in linked] == []
    assert [name for name in RECIPES if f'"{name}"' not in tests and f'"{name}.py"' not in tests] == []


def test_recipe_edits_a_message_at_most_once_a_second_and_posts_the_end(tmp_path: Path):
    chat = Chat()
    cook("edit_one_message", tmp_path, app(scenario="code", pace=60), chat)  # more than a second and a half
    for channel in CHANNELS:
        assert 3 <= len(chat.of(channel)) <= 4
        assert min(gaps(chat, channel)) >= 0.7  # a second between calls: they arrive as the machine lets them
        assert chat.shown(channel)[-1] == f"[completed] {ANSWER}"


def test_recipe_posts_the_end_of_a_run_whose_stream_breaks(tmp_path: Path):
    chat = Chat()
    cook("edit_one_message", tmp_path, app(scenario="code", pace="fast", fault="cut-event=9"), chat)
    for channel in CHANNELS:
        assert chat.shown(channel)[-1] == "[broken: StreamTruncated] "


def test_recipe_makes_the_last_edit_again_that_was_refused(tmp_path: Path):
    chat = Chat(refused=2)
    cook("edit_one_message", tmp_path, app(scenario="code", pace="fast"), chat)
    for channel in CHANNELS:
        first, refused, *again = [one.status for one in chat.of(channel)]
        assert (first, refused, set(again)) == (200, 429, {200})
        assert min(gaps(chat, channel)) >= 0.7  # a second between calls: they arrive as the machine lets them
        assert chat.shown(channel)[-1] == f"[completed] {ANSWER}"


@pytest.fixture(scope="module")
def posted(tmp_path_factory: pytest.TempPathFactory) -> Chat:
    """A platform that has told each channel once to come back in a second."""
    chat = Chat(refused=3)
    cook("post_each_transition", tmp_path_factory.mktemp("posting"), app(scenario="code", pace="fast"), chat)
    return chat


def test_recipe_loses_nothing_to_a_limit(posted: Chat):
    statuses = ["in_progress", "in_progress", "completed", "in_progress", "completed", "completed"]
    for channel in CHANNELS:
        assert [text.partition(": ")[2] for text in posted.shown(channel)] == statuses


def test_recipe_waits_as_long_as_the_platform_says(posted: Chat):
    for channel in CHANNELS:
        refused, again = posted.of(channel)[2:4]
        assert [refused.status, again.status] == [429, 200]
        assert refused.text == again.text
        assert 1 <= again.at - refused.at < 2


def test_recipe_lets_no_run_wait_for_the_pause_of_another(posted: Chat):
    first, second = (posted.of(channel)[2].at for channel in CHANNELS)
    assert abs(first - second) < 1


def test_recipe_draws_one_line_and_ends_it_with_the_run(tmp_path: Path):
    drawn = cook("progress_line", tmp_path, app(scenario="code", pace=200)).split("\r\x1b[K")
    assert drawn[-1] == "run completed\n"
    assert ANSWER in drawn
    assert 9 <= len(drawn) <= 20  # nothing and the transitions, and of twelve pieces of text not all
    assert not any("\n" in line for line in drawn[:-1])


def test_recipe_writes_every_transition_as_a_line_of_json(tmp_path: Path):
    cook("json_lines", tmp_path, app(scenario="code", pace="fast"))
    runs: dict[str, list[tuple[str, str]]] = {}
    for line in (tmp_path / "transitions.jsonl").read_bytes().splitlines():
        change = json.loads(line)
        runs.setdefault(change["run_id"], []).append((change["change"], change["status"]))
    assert len(runs) == 3
    for told in runs.values():
        assert told == [
            ("run_transition", "in_progress"),
            ("step_transition", "in_progress"),
            ("step_transition", "completed"),
            ("step_transition", "in_progress"),
            ("message_transition", "in_progress"),
            ("message_transition", "completed"),
            ("step_transition", "completed"),
            ("run_transition", "completed"),
        ]


def test_recipe_starts_and_stops_with_the_hooks_of_a_bot(tmp_path: Path):
    printed = cook("bot_hooks", tmp_path, app(scenario="code", pace="fast"))
    assert printed.splitlines() == [
        "#harbour: tool_calls completed",
        "#harbour: message_creation completed",
        f"#harbour: {ANSWER}",
    ]


@pytest.mark.parametrize("fault", ["", "cut-event=9"])
def test_recipe_sends_what_happens_by_a_websocket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str):
    names: dict[str, Any] = {}
    exec(RECIPES["fastapi_websocket"].read_text(encoding="utf-8"), names)
    with served(app(scenario="message", pace="fast", fault=fault)) as url, TestClient(names["api"]) as client:
        monkeypatch.setenv("STEPSTREAM_URL", url)
        with client.websocket_connect("/ask") as socket:
            socket.send_text("How high is the tide?")
            told = [socket.receive_json()]
            while told[-1].keys() not in ({"status"}, {"error"}):
                told.append(socket.receive_json())
    assert told[0]["type"] == "message_creation"
    if fault:
        assert "error" in told[-1]
    else:
        text = "".join(one["text"] for one in told if "text" in one)
        assert (told[-1], bool(text)) == ({"status": "completed"}, True)
