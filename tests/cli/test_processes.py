"""The command line as users run it: processes, pipes, signals, a terminal."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.process_lines import next_line
from tests.support.terminals import WITHIN

Process = Callable[..., "subprocess.Popen[bytes]"]

SCRIPT = (str(Path(sys.executable).with_name("stepstream")),)
MODULE = (sys.executable, "-m", "stepstream")
FORMS = ("frames", "events", "changes", "steps", "runs", "messages")
SOME_FORMS = [pytest.param(form, marks=[] if form in ("changes", "runs") else [pytest.mark.slow]) for form in FORMS]
"""By default one form that is told as it comes, and one that is told at the end."""

RUN = b'event: thread.run.created\ndata: {"id": "run_%d"}\n\n'
DONE = b"event: done\ndata: [DONE]\n\n"


def write(process: "subprocess.Popen[bytes]", data: bytes) -> None:
    assert process.stdin is not None
    process.stdin.write(data)


@pytest.mark.parametrize("program", [MODULE, SCRIPT], ids=["module", "script"])
def test_program_writes_what_main_writes(
    run: Callable[..., Any], process: Process, streams: Path, program: tuple[str, ...]
):
    one = process("cat", "--as", "changes", streams / "tides.sse", program=program)
    out, err = one.communicate(timeout=WITHIN)
    assert (one.returncode, out, err) == run("cat", "--as", "changes", streams / "tides.sse")


@pytest.mark.parametrize("program", [MODULE, SCRIPT], ids=["module", "script"])
@pytest.mark.parametrize(("name", "status"), [("storm.sse", 4), ("nowhere.sse", 6)])
def test_program_ends_with_the_status(
    process: Process, streams: Path, program: tuple[str, ...], name: str, status: int
):
    one = process("cat", streams / name, program=program)
    _, err = one.communicate(timeout=WITHIN)
    assert (one.returncode, err.count(b"\n"), b"Traceback" in err) == (status, 1, False)


@pytest.mark.parametrize("form", SOME_FORMS)
def test_standard_input_gives_what_its_file_gives(run: Callable[..., Any], process: Process, streams: Path, form: str):
    one = process("cat", "--as", form, "--chunk-size", 3, "-")
    out, _ = one.communicate((streams / "lagoon.sse").read_bytes(), timeout=WITHIN)
    assert (one.returncode, out) == run("cat", "--as", form, streams / "lagoon.sse")[:2]


def test_file_as_standard_input_is_read(run: Callable[..., Any], streams: Path):
    path = streams / "tides.sse"
    with path.open("rb") as file:
        done = subprocess.run([*MODULE, "cat", "-"], stdin=file, capture_output=True, timeout=WITHIN, check=True)
    assert done.stdout == run("cat", path).out


@pytest.mark.parametrize("form", ["frames", "events", "changes"])
def test_lines_come_out_as_events_come_in(process: Process, form: str):
    one = process("cat", "--as", form, "-")
    for number in (1, 2, 3):
        half, rest = (RUN % number)[:20], (RUN % number)[20:]
        write(one, half)
        write(one, rest)
        assert f"run_{number}" in next_line(one.stdout).decode()
    write(one, DONE)
    assert one.wait(WITHIN) == 0


def test_watch_shows_events_as_they_come_in(process: Process):
    one = process("watch", "-")
    for number in (1, 2):
        write(one, RUN % number)
        assert f"run      run_{number}  · → queued" in next_line(one.stdout).decode()
    write(one, DONE)
    assert next_line(one.stdout).startswith(b"done: 3 events, 2 runs")
    assert one.wait(WITHIN) == 0


def test_done_ends_the_program_while_its_input_stays_open(process: Process):
    one = process("cat", "-")
    write(one, DONE)
    assert one.wait(WITHIN) == 0


def test_end_of_input_before_done_is_truncated(process: Process):
    one = process("cat", "--as", "changes", "-")
    out, err = one.communicate(RUN % 1, timeout=WITHIN)
    assert (one.returncode, json.loads(out)["run_id"]) == (3, "run_1")
    assert err.startswith(b"stepstream: -: the stream ended after 1 event")


@pytest.mark.parametrize("command", [("watch",), *(("cat", "--as", form) for form in ("frames", "events", "changes"))])
def test_reader_that_leaves_ends_the_program_in_silence(process: Process, command: tuple[str, ...]):
    one = process(*command, "-")
    write(one, RUN % 1)
    next_line(one.stdout)
    assert one.stdout is not None
    one.stdout.close()
    write(one, RUN % 2)
    assert one.stderr is not None
    assert (one.wait(WITHIN), one.stderr.read()) == (1, b"")


@pytest.mark.parametrize("form", ["", *SOME_FORMS])
def test_reader_that_never_came_is_no_traceback(process: Process, streams: Path, form: str):
    one = process(*(("cat", "--as", form) if form else ("watch",)), "-")
    assert one.stdout is not None
    one.stdout.close()
    _, err = one.communicate((streams / "tides.sse").read_bytes(), timeout=WITHIN)
    assert (one.returncode, err) == (1, b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a disk that is always full")
@pytest.mark.parametrize("command", [("watch",), ("cat",), ("cat", "--as", "changes")])
def test_full_disk_is_one_line(streams: Path, command: tuple[str, ...]):
    path = streams / "tides.sse"
    environment = {**os.environ, "PYTHONUNBUFFERED": ""}
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [*MODULE, *command, path], stdout=full, stderr=subprocess.PIPE, env=environment, timeout=WITHIN, check=False
        )
    text = "stepstream: standard output: No space left on device\n"
    assert (done.returncode, done.stderr.decode()) == (1, text)


def test_demo_without_a_reader_ends_in_silence(process: Process):
    one = process("demo", "--fast")
    assert one.stdout is not None
    one.stdout.close()
    _, err = one.communicate(timeout=WITHIN)
    assert (one.returncode, err) == (1, b"")


@pytest.mark.parametrize("command", [("cat", "--as", "changes", "-"), ("watch", "-"), ("demo",)])
def test_interrupt_ends_a_program_that_waits(process: Process, command: tuple[str, ...]):
    one = process(*command)
    write(one, RUN % 1)
    next_line(one.stdout)
    one.send_signal(signal.SIGINT)
    assert one.stderr is not None
    assert (one.wait(WITHIN), one.stderr.read()) == (130, b"")


DEMO = [
    "simulator at http://127.0.0.1:*",
    "run      resp_sim1  · → in_progress",
    "step     ci_sim1_2  code_interpreter  · → in_progress",
    "call     ci_sim1_2  code_interpreter",
    "step     ci_sim1_2  code_interpreter  in_progress → completed",
    "step     fc_sim1_4  get_weather  · → in_progress",
    "call     call_sim1_3  function get_weather",
    "step     fc_sim1_6  get_weather  · → in_progress",
    "call     call_sim1_5  function get_weather",
    "step     fc_sim1_4  get_weather  in_progress → completed",
    "step     fc_sim1_6  get_weather  in_progress → completed",
    "run      resp_sim1  in_progress → requires_action",
    "run      resp_sim1  requires_action → in_progress",
    "step     fs_sim2_1  file_search  · → in_progress",
    "call     fs_sim2_1  file_search",
    "step     fs_sim2_1  file_search  in_progress → completed",
    "step     msg_sim2_2  message_creation  · → in_progress",
    "message  msg_sim2_2  · → in_progress",
    "message  msg_sim2_2  in_progress → completed",
    "step     msg_sim2_2  message_creation  in_progress → completed",
    "run      resp_sim1  in_progress → completed",
]

ASSISTANTS_DEMO = [
    "simulator at http://127.0.0.1:*",
    "run      run_sim1  · → queued",
    "run      run_sim1  queued → in_progress",
    "step     step_sim1_1  tool_calls  · → in_progress",
    "call     call_sim1_2  code_interpreter",
    "step     step_sim1_1  code_interpreter  in_progress → completed",
    "step     step_sim1_3  tool_calls  · → in_progress",
    "call     call_sim1_4  function get_weather",
    "call     call_sim1_5  function get_weather",
    "run      run_sim1  in_progress → requires_action",
    "step     step_sim1_3  get_weather x2  in_progress → completed",
    "run      run_sim1  requires_action → queued",
    "run      run_sim1  queued → in_progress",
    "step     step_sim1_6  tool_calls  · → in_progress",
    "call     call_sim1_7  file_search",
    "step     step_sim1_6  file_search  in_progress → completed",
    "step     step_sim1_8  message_creation  · → in_progress",
    "message  msg_sim1_9  · → in_progress",
    "message  msg_sim1_9  in_progress → completed",
    "step     step_sim1_8  message_creation  in_progress → completed",
    "run      run_sim1  in_progress → completed",
]


def told(screen: str) -> list[str]:
    """The lines of a demo up to the answer, without their times and without the port."""
    lines = [re.sub(r"^\d\d:\d\d:\d\d\.\d{3}  ", "", line) for line in screen.splitlines()]
    return [re.sub(r"(?<=127\.0\.0\.1:)\d+$", "*", line) for line in lines[: lines.index("")]]


@pytest.mark.parametrize(
    ("options", "shown", "totals"),
    [
        ([], DEMO, r"ended: \d+ events, 5 steps, 4 tool calls, [\d,]+ tokens"),
        (["--assistants"], ASSISTANTS_DEMO, r"done: \d+ events, 4 steps, 4 tool calls, [\d,]+ tokens"),
    ],
)
def test_demo_shows_every_transition_and_the_answer(
    process: Process, options: list[str], shown: list[str], totals: str
):
    one = process("demo", "--fast", *options)
    out, err = one.communicate(timeout=WITHIN)
    lines = out.decode().splitlines()
    assert (one.returncode, err) == (0, b"")
    assert told(out.decode()) == shown
    assert lines[len(shown) + 1].startswith("Restock **Bergen** and **Kraków**")
    assert re.fullmatch(totals, lines[-1])
