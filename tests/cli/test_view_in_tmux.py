"""The live view in a real terminal, driven as people drive it."""

import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.terminals import RUN, STEP, Pipe, Screen, grown, opened

Tmux = Callable[..., str]

COMPLETED = ("thread.run.step.completed", {**STEP, "status": "completed"})
OVER = ("thread.run.completed", {"id": "run_1", "model": "sim-large", "status": "completed"})
DONE = ("done", "[DONE]")


@pytest.fixture
def pipe(tmp_path: Path) -> Iterator[Pipe]:
    with Pipe(tmp_path / "events") as pipe:
        yield pipe


@pytest.fixture
def screen(tmux: Tmux, tmp_path: Path, pipe: Pipe) -> Screen:
    """A run that is watched, its code interpreter at work."""
    pipe.send(RUN, opened(), grown("tides = [4.31, 0.87]\n"))
    screen = Screen(tmux, tmp_path, "watch", pipe.path)
    screen.until(lambda shot: "tides = [4.31" in shot)
    return screen


def test_view_shows_a_run_as_it_grows(screen: Screen, pipe: Pipe):
    shot = screen.shot()
    head, step, *_ = shot.splitlines()
    assert head.split()[1:5] == ["run_1", "sim-large", "in", "progress"]
    assert step.split()[1] == "code_interpreter"
    assert shot.rstrip().splitlines()[-1] == "q quit · space pause · j k select · enter open · s save"
    pipe.send(grown("print(max(tides))"))
    assert "│ print(max(tides))" in screen.until(lambda shot: "print" in shot)


def test_view_reflows_when_the_terminal_is_resized(screen: Screen):
    screen.resize(40, 12)
    narrow = screen.until(lambda shot: "select" in shot and "enter" not in shot)
    assert narrow.rstrip().splitlines()[-1] == "q quit · space pause · j k select"
    screen.resize(120, 30)
    wide = screen.until(lambda shot: "save" in shot)
    assert wide.splitlines()[0].endswith("events/s")
    assert len(wide.splitlines()[0]) == 120


def test_pause_stops_the_drawing_and_not_the_stream(screen: Screen, pipe: Pipe):
    screen.type("Space")
    screen.until(lambda shot: "paused" in shot)
    pipe.send(grown("print(max(tides))"))
    pipe.send(COMPLETED, OVER, DONE)
    shot = screen.until(lambda shot: "the stream has ended" in shot)
    assert "print" not in shot
    screen.type("Space")
    assert "done: 7 events" in screen.over()


def test_selected_step_stays_open_when_it_has_ended(screen: Screen, pipe: Pipe):
    screen.type("j")
    screen.until(lambda shot: "▸" in shot)
    details = {"type": "tool_calls", "tool_calls": []}
    pipe.send(opened(identifier="step_2"), grown("second = 2", "step_2"))
    pipe.send(("thread.run.step.completed", {**STEP, "id": "step_2", "status": "completed", "step_details": details}))
    screen.until(lambda shot: "✓" in shot)
    screen.type("Down")
    screen.until(lambda shot: any(line.startswith("▸ ✓") for line in shot.splitlines()))
    screen.type("Up", "Up")
    screen.until(lambda shot: any(line.startswith("▸") and "✓" not in line for line in shot.splitlines()))


def test_enter_opens_the_step_in_the_pager_and_leaves_it_again(tmux: Tmux, tmp_path: Path, pipe: Pipe):
    pager = tmp_path / "pager"
    pager.write_text("#!/bin/sh\ntrap '' INT\ncat\necho END OF PAGE\nread line < /dev/tty\n")
    pager.chmod(0o755)
    pipe.send(RUN, opened(), grown("first = 1\n"), grown("second = 2"))
    screen = Screen(tmux, tmp_path, "watch", pipe.path, PAGER=str(pager))
    screen.until(lambda shot: "second" in shot)
    screen.type("Enter")
    page = screen.until(lambda shot: "END OF PAGE" in shot)
    assert "id: step_1" in page
    assert "          first = 1\n          second = 2" in page
    screen.type("C-c")  # it is the pager's
    screen.type("Enter")
    screen.until(lambda shot: "q quit" in shot)
    screen.type("q")
    assert screen.over().rstrip().endswith("status 0")


def test_save_writes_the_snapshot_as_json(screen: Screen, tmp_path: Path):
    screen.type("s")
    screen.until(lambda shot: "saved stepstream-" in shot)
    [path] = tmp_path.glob("stepstream-*.json")
    saved = json.loads(path.read_text())
    [call] = saved["steps"][0]["step_details"]["tool_calls"]
    assert call["code_interpreter"]["input"] == "tides = [4.31, 0.87]\n"
    assert [run["id"] for run in saved["runs"]] == ["run_1"]
    assert path.stat().st_mode & 0o077 == 0


def ends(screen: Screen, pipe: Pipe, how: str) -> None:
    match how:
        case "quit":
            screen.type("q")
        case "interrupt":
            screen.type("C-c")
        case "terminate":
            screen.signal(signal.SIGTERM)
        case "crash":
            pipe.close()
        case "error event":
            pipe.send(("error", {"message": "out of order", "code": "server_error"}))


@pytest.mark.parametrize(
    ("how", "status", "told"),
    [
        ("quit", 0, "quit after 3 events"),
        ("interrupt", 130, "quit after 3 events"),
        ("terminate", 143, "status 143"),
        ("crash", 3, "the stream ended after 3 events without done"),
        pytest.param("error event", 4, "out of order", marks=pytest.mark.slow),
    ],
)
def test_terminal_is_restored(screen: Screen, pipe: Pipe, how: str, status: int, told: str):
    ends(screen, pipe, how)
    shot = screen.over()
    assert shot.rstrip().splitlines()[-1] == f"status {status}"
    assert told in shot.replace("\n", "")
    assert "Traceback" not in shot
    assert "q quit" not in shot
    assert screen.is_restored


def test_summary_stays_below_what_was_there_before(screen: Screen, pipe: Pipe):
    name, step = COMPLETED
    pipe.send((name, {**step, "usage": {"total_tokens": 508}}), OVER, DONE)
    lines = screen.over().splitlines()
    assert lines[0].split()[1:4] == ["run_1", "sim-large", "completed"]
    assert lines[1].split()[:2] == ["✓", "code_interpreter"]
    assert lines[1].endswith("508 tok")
    assert lines[3] == "done: 6 events, 1 run, 1 step, 0 messages, 508 tokens"
    assert screen.is_restored


def test_demo_draws_and_leaves_a_table_and_the_answer(tmux: Tmux, tmp_path: Path):
    screen = Screen(tmux, tmp_path, "demo", "--fast", size=(80, 50))
    lines = screen.over().rstrip().splitlines()
    shown = ["code_interpreter", "get_weather", "get_weather", "file_search", "message"]
    assert [line.split()[1] for line in lines[1:6]] == shown
    assert "Restock **Bergen** and **Kraków**; Porto can wait." in lines
    assert lines[-1] == "status 0"
    assert screen.is_restored


@pytest.mark.slow
def test_suspended_view_gives_the_terminal_back_and_takes_it_again(tmux: Tmux, tmp_path: Path, pipe: Pipe):
    pipe.send(RUN, opened(), grown("tides = 2"))
    screen = Screen(tmux, tmp_path, "watch", pipe.path)
    screen.until(lambda shot: "tides" in shot)
    screen.signal(signal.SIGTSTP)
    screen.until(lambda _: tmux("display-message", "-p", "#{alternate_on} #{cursor_flag}").split() == ["0", "1"])
    screen.signal(signal.SIGCONT)
    screen.until(lambda shot: "tides" in shot and "q quit" in shot)
    screen.type("q")
    assert "status 0" in screen.over()
    assert screen.is_restored
