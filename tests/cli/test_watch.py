import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

TIME = r"\d\d:\d\d:\d\d\.\d{3}  "


def watched(out: bytes) -> list[str]:
    """The lines of `watch`, their times taken off."""
    return [re.sub(f"^{TIME}", "", line) for line in out.decode().splitlines()]


def test_watch_shows_every_transition_and_a_summary(run: Callable[..., Any], streams: Path):
    got = run("watch", streams / "tides.sse")
    assert (got.status, got.err) == (0, b"")
    assert watched(got.out) == [
        "run      run_tides  · → queued",
        "run      run_tides  queued → in_progress",
        "step     step_tides_1  tool_calls  · → in_progress",
        "step     step_tides_1  code_interpreter  in_progress → completed",
        "step     step_tides_2  message_creation  · → in_progress",
        "message  msg_tides  · → in_progress",
        "message  msg_tides  in_progress → completed",
        "step     step_tides_2  message_creation  in_progress → completed",
        "run      run_tides  in_progress → completed",
        "done: 17 events, 1 run, 2 steps, 1 message, 215 tokens",
    ]


def test_every_transition_has_its_time(run: Callable[..., Any], streams: Path):
    lines = run("watch", streams / "tides.sse").out.decode().splitlines()
    assert [bool(re.match(TIME, line)) for line in lines] == [True] * 9 + [False]


def test_stream_that_waits_for_action_is_done(run: Callable[..., Any], streams: Path):
    last = watched(run("watch", streams / "crossing.sse").out)[-2:]
    assert last == [
        "run      run_crossing  in_progress → requires_action",
        "done: 11 events, 1 run, 1 step, 0 messages, 0 tokens",
    ]


def test_stream_without_done_whose_run_completed_has_ended(run: Callable[..., Any], streams: Path):
    got = run("watch", streams / "lagoon.sse")
    assert got.status == 0
    assert watched(got.out)[-1].startswith("ended: 9 events, 1 run, 1 step, 1 message, 0 tokens, 1 ")
    assert "delta_before_created (step_nowhere)" in got.error


def test_anomalies_beyond_ten_are_counted(run: Callable[..., Any], tmp_path: Path):
    path = tmp_path / "odd.sse"
    odd = 'event: thread.run.step.delta\ndata: {"id": "step_%d", "delta": {}}\n\n'
    path.write_text("".join(odd % number for number in range(1_012)) + "event: done\ndata: [DONE]\n\n")
    lines = run("watch", path).err.decode().splitlines()
    assert [line.split()[1:3] for line in lines[:-1]] == [["event", str(number)] for number in range(1, 11)]
    assert lines[-1] == "stepstream: and 1,002 more against the protocol: see cat --as changes"


def test_call_of_the_same_tool_twice_is_counted(run: Callable[..., Any], tmp_path: Path):
    calls = ", ".join(f'{{"id": "call_{n}", "type": "function", "function": {{"name": "sound"}}}}' for n in (1, 2))
    details = f'"step_details": {{"type": "tool_calls", "tool_calls": [{calls}, {{"id": "call_3", "type": "mcp"}}]}}'
    path = tmp_path / "twice.sse"
    path.write_text(f'event: thread.run.step.completed\ndata: {{"id": "step_1", "status": "completed", {details}}}\n\n')
    assert watched(run("watch", path).out)[0] == "step     step_1  sound x2, mcp  · → completed"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
def test_output_of_another_encoding_gets_escapes(process: Callable[..., Any], streams: Path, encoding: str):
    one = process("watch", streams / "tides.sse", environment={"PYTHONIOENCODING": encoding})
    out, err = one.communicate(timeout=60)
    dot = "·".encode(encoding, "backslashreplace").decode(encoding)
    assert (one.returncode, err) == (0, b"")
    assert f"run_tides  {dot} \\u2192 queued" in out.decode(encoding)
