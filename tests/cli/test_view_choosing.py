"""Whether runs are drawn or told in lines, what a URL is asked with, and what drawing costs."""

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.terminals import RUN, STEP, WITHIN, Pipe, Terminal, grown, opened

LINE = re.compile(rb"\d\d:\d\d:\d\d\.\d{3}  run      run_tides")
NO_RICH = "import sys; sys.modules['rich'] = None; from stepstream.cli import main; sys.exit(main())"


@pytest.mark.parametrize(
    ("options", "environ"), [(("--plain",), {}), ((), {"TERM": "dumb"})], ids=["--plain", "dumb terminal"]
)
def test_terminal_gets_lines(streams: Path, options: tuple[str, ...], environ: dict[str, str]):
    with Terminal("watch", *options, streams / "tides.sse", environ=environ) as terminal:
        assert terminal.wait() == 0
    assert LINE.match(terminal.written)
    assert b"\x1b" not in terminal.written


def test_terminal_is_drawn_on(streams: Path):
    with Terminal("watch", streams / "tides.sse") as terminal:
        assert terminal.wait() == 0
        assert terminal.modes == terminal.before
    assert terminal.written.startswith(b"\x1b[?1049h\x1b[?25l")
    assert b"\x1b[?25h\x1b[?1049l" in terminal.written
    assert b"215 tok" in terminal.written


def test_stream_that_is_typed_gets_lines():
    with Terminal("watch", "-") as terminal:
        terminal.type(b'event: thread.run.created\ndata: {"id": "run_1"}\n\n')
        terminal.until("queued")
        terminal.type(b"event: done\ndata: [DONE]\n\n")
        assert terminal.wait() == 0
    assert b"\x1b" not in terminal.written


@pytest.mark.parametrize("speed", ["200", "max"])
def test_recording_that_is_replayed_fast_tells_its_own_times(tmp_path: Path, speed: str):
    run, step = {"id": "run_1", "created_at": 1_800_000_000}, {**STEP, "created_at": 1_800_000_001}
    ended = {"status": "completed", "completed_at": 1_800_000_020}
    events = [
        (0, "run.created", run), (1, "run.step.created", step), (20, "run.step.completed", {**step, **ended}),
        (20, "run.completed", {**run, **ended}),
    ]  # fmt: skip
    blocks = [f": at {at}\nevent: thread.{name}\ndata: {json.dumps(data)}\n\n" for at, name, data in events]
    path = tmp_path / "run.sse"
    path.write_text("".join([": stepstream recording 1\n", *blocks]))
    with Terminal("watch", "--speed", speed, path, environ={"NO_COLOR": "1"}) as terminal:
        assert terminal.wait() == 0
    table = terminal.written.rpartition(b"\x1b[?1049l")[2].decode().splitlines()
    assert [line.split()[-1] for line in table[:2]] == ["20s", "19s"]


def test_pipe_gets_lines_without_what_draws(process: Callable[..., Any], streams: Path):
    one = process("watch", streams / "tides.sse", program=(sys.executable, "-c", NO_RICH))
    out, err = one.communicate(timeout=WITHIN)
    assert (one.returncode, err) == (0, b"")
    assert LINE.match(out)


@pytest.mark.parametrize("command", [["watch", "x.sse"], ["demo"]])
def test_terminal_without_what_draws_is_told_the_extra(
    run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, command: list[str]
):
    monkeypatch.setitem(sys.modules, "rich", None)
    for module in ("watch", "demo"):
        monkeypatch.setattr(f"stepstream.cli.{module}.is_drawable", lambda: True)
    got = run(*command)
    assert (got.status, got.out) == (1, b"")
    assert got.error.endswith("drawing needs rich: pip install 'stepstream[cli]', or use --plain")


def test_watching_a_pipe_loads_nothing_that_draws(streams: Path):
    program = (
        "import sys; from stepstream.cli import main; main(['watch', sys.argv[1]]);"
        "sys.exit('rich' in sys.modules or 'termios' in sys.modules)"
    )
    command = [sys.executable, "-c", program, streams / "tides.sse"]
    assert subprocess.run(command, stdout=subprocess.DEVNULL, timeout=WITHIN, check=False).returncode == 0


def test_screen_is_drawn_at_most_15_times_a_second(tmp_path: Path):
    with Pipe(tmp_path / "events") as pipe, Terminal("watch", pipe.path) as terminal:
        pipe.send(RUN, opened())
        begin = terminal.until("code_interpreter")
        begun = time.monotonic()
        while time.monotonic() < begun + 0.5:
            pipe.send(*[grown("more\n")] * 100)
            terminal.read(0)
        passed = time.monotonic() - begun
        terminal.type(b"q")
        assert terminal.wait() == 0
    frames = terminal.written[begin:].count(b"\x1b[1;1H")  # the head, which tells the time, is in each
    assert 1 <= frames <= 15 * passed + 2


def test_terminal_that_takes_nothing_does_not_hold_up_the_stream(tmp_path: Path):
    with Pipe(tmp_path / "events") as pipe, Terminal("watch", pipe.path, size=(200, 60)) as terminal:
        terminal.until("waiting for")
        pipe.send(RUN, opened())
        for number in range(4_000):  # far more than the pipe and the terminal hold; nobody reads the terminal
            pipe.send(grown(f"line {number} {'~' * 150}\n"))
        pipe.send(("thread.run.completed", {"id": "run_1", "status": "completed"}), ("done", "[DONE]"))
        assert terminal.wait() == 0
    assert b"done: 4,004 events" in terminal.written


def test_end_of_the_terminal_ends_the_program(tmp_path: Path):
    with Pipe(tmp_path / "events") as pipe:
        terminal = Terminal("watch", pipe.path)
        pipe.send(RUN)
        terminal.until("run_1")
        terminal.hang_up()
        assert terminal.process.wait(WITHIN) != 0


BROKEN = """
import sys
from stepstream.cli import main
from stepstream.cli.screen import driver

def render(*_):
    raise RuntimeError("cannot draw this")

driver.render = render
sys.exit(main())
"""


def test_view_that_breaks_gives_the_terminal_back(streams: Path):
    with Terminal("watch", streams / "tides.sse", program=("-c", BROKEN)) as terminal:
        assert terminal.wait() == 1
        assert terminal.modes == terminal.before
    left, told = terminal.written.split(b"\x1b[?25h\x1b[?1049l")
    assert left.startswith(b"\x1b[?1049h")
    assert told.decode().strip().endswith("cannot draw this")
    assert b"Traceback" not in told


def test_pager_is_ended_with_the_program(tmp_path: Path):
    pager = "sh -c 'cat; stty -echo < /dev/tty; echo READ ON; exec sleep 60'"
    with (
        Pipe(tmp_path / "events") as pipe,
        Terminal("watch", pipe.path, environ={"PAGER": pager}) as terminal,
    ):
        pipe.send(RUN, opened(), grown("tides"))
        terminal.until("tides")
        terminal.type(b"\r")
        at = terminal.until("READ ON")
        assert terminal.modes != terminal.before
        terminal.process.terminate()
        assert terminal.wait() == -15
        assert terminal.modes == terminal.before
    assert b"\x1b[?1049h" not in terminal.written[at:]


def test_redacted_view_tells_no_content(tmp_path: Path):
    failed = {**STEP, "id": "step_2", "status": "failed", "last_error": {"code": "server_error", "message": "SECRET"}}
    content = [{"type": "text", "text": {"value": "SECRET"}}]
    message = {"id": "msg_1", "run_id": "run_1", "role": "user", "status": "completed", "content": content}
    with Pipe(tmp_path / "events") as pipe, Terminal("watch", pipe.path, "--redact", cwd=tmp_path) as terminal:
        pipe.send(RUN, opened(), grown("SECRET"), ("thread.message.completed", message))
        pipe.send(("thread.run.step.failed", failed))
        terminal.until("server_error")
        terminal.type(b"kk")
        terminal.until("hidden")
        terminal.type(b"s")
        terminal.until("not saved")
        terminal.type(b"\r")
        terminal.until("(hidden)")
        terminal.until("\x1b[?1049h", after=terminal.until("\x1b[?1049l"))
        terminal.type(b"q")
        assert terminal.wait() == 0
    assert b"SECRET" not in terminal.written
    assert list(tmp_path.glob("*.json")) == []


@pytest.mark.slow
@pytest.mark.alone
def test_drawing_costs_less_than_a_fifth_of_the_throughput():
    from benchmarks.drawing import measure

    assert measure(300_000, turns=5)["throughput_ratio"] > 0.8
