import json
import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import pytest

from stepstream import FrameDecoder
from tests.support.recording_files import TITLE, taped
from tests.support.terminals import WITHIN

RUN = b'event: thread.run.created\ndata: {"id": "run_%d"}\n\n'
DONE = b"event: done\ndata: [DONE]\n\n"
STATUSES = {"tides": 0, "crossing": 0, "storm": 4, "lagoon": 0, "archive": 0}


def timeless(recording: bytes) -> bytes:
    """A recording without its comments."""
    return re.sub(rb"^: .*\n", b"", recording, flags=re.MULTILINE)


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "out.sse"


@pytest.mark.parametrize("name", STATUSES)
def test_recording_of_a_stream_says_what_the_stream_says(
    run: Callable[..., Any], streams: Path, output: Path, name: str
):
    path = streams / f"{name}.sse"
    got = run("record", path, "-o", output)
    count = len(FrameDecoder().feed(path.read_bytes()))
    assert (got.status, got.out.decode()) == (STATUSES[name], f"saved {count} events to {output}\n")
    assert output.read_bytes().startswith(TITLE + b": at 0.")
    for form in ("frames", "events", "changes", "steps", "runs", "messages"):
        assert run("cat", "--as", form, output)[:2] == run("cat", "--as", form, path)[:2]


def test_one_event_is_told_as_one(run: Callable[..., Any], tmp_path: Path, output: Path):
    (tmp_path / "x.sse").write_bytes(DONE)
    assert run("record", tmp_path / "x.sse", "-o", output).out.decode() == f"saved 1 event to {output}\n"


def test_stream_of_a_server_is_recorded_without_its_url(run: Callable[..., Any], server: str, output: Path):
    got = run("record", f"{server}/stream?api-key=s3cret", "-o", output)
    assert (got.status, got.err) == (0, b"")
    assert run("cat", "--as", "changes", output).out == run("cat", "--as", "changes", f"{server}/stream").out
    for secret in (b"s3cret", server.encode(), b"HTTP"):
        assert secret not in output.read_bytes()


@pytest.mark.parametrize("path", ["/missing", "/html", "/moved"])
def test_refusal_is_status_5_and_leaves_the_file_as_it_was(
    run: Callable[..., Any], server: str, output: Path, path: str
):
    for before in (None, b"treasure"):
        if before is not None:
            output.write_bytes(before)
        got = run("record", f"{server}{path}?api-key=hidden", "-o", output)
        assert (got.status, got.out, got.error.count("hidden")) == (5, b"", 0)
        assert (output.read_bytes() if output.exists() else None) == before


def test_missing_source_is_status_6_and_leaves_the_file_as_it_was(
    run: Callable[..., Any], tmp_path: Path, output: Path
):
    output.write_bytes(b"treasure")
    path = tmp_path / "nowhere.sse"
    got = run("record", path, "-o", output)
    assert (got.status, got.error) == (6, f"stepstream: {path}: No such file or directory")
    assert (got.out, output.read_bytes()) == (b"", b"treasure")


def test_where_nobody_listens_is_status_6_and_no_file(run: Callable[..., Any], free_port: int, output: Path):
    assert run("record", f"http://127.0.0.1:{free_port}/runs", "-o", output).status == 6
    assert not output.exists()


def test_cut_stream_is_status_3_and_what_came_is_saved(run: Callable[..., Any], server: str, output: Path):
    got = run("record", f"{server}/cut", "-o", output)
    whole = run("cat", "--as", "frames", f"{server}/cut").out
    assert (got.status, got.out.decode()) == (3, f"saved {len(whole.splitlines())} events to {output}\n")
    assert run("cat", "--as", "frames", output).out == whole


def test_event_over_the_limit_is_status_1_and_what_came_is_saved(run: Callable[..., Any], tmp_path: Path, output: Path):
    (tmp_path / "long.sse").write_bytes(RUN % 1 + b"data: " + b"x" * (16 * 2**20 + 1))
    got = run("record", tmp_path / "long.sse", "-o", output)
    assert (got.status, "expected an event of at most 16,777,216 bytes" in got.error) == (1, True)
    assert timeless(output.read_bytes()) == RUN % 1


def test_file_that_cannot_be_written_is_one_clear_line(run: Callable[..., Any], streams: Path, tmp_path: Path):
    source, output = streams / "tides.sse", tmp_path / "nowhere" / "out.sse"
    got = run("record", source, "-o", output)
    told = f"stepstream: {source}: could not record to {output}: No such file or directory"
    assert (got.status, got.out, got.error) == (1, b"", told)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no full device")
def test_full_disk_is_one_clear_line(run: Callable[..., Any], streams: Path):
    source = streams / "tides.sse"
    got = run("record", source, "-o", "/dev/full")
    told = f"stepstream: {source}: could not record to /dev/full: No space left on device"
    assert (got.status, got.out, got.error) == (1, b"", told)


@pytest.mark.parametrize("how", ["itself", "another way", "hard link", "symbolic link"])
def test_file_is_not_recorded_onto_itself(run: Callable[..., Any], streams: Path, tmp_path: Path, how: str):
    path, data = tmp_path / "x.sse", (streams / "tides.sse").read_bytes()
    path.write_bytes(data)
    output = {"itself": path, "another way": tmp_path / ".." / tmp_path.name / "x.sse"}.get(how, tmp_path / "y.sse")
    if how == "hard link":
        os.link(path, output)
    elif how == "symbolic link":
        output.symlink_to(path)
    got = run("record", path, "-o", output)
    told = f"stepstream: {output} would be written while it is read: record to another file"
    assert (got.status, got.out, got.error, path.read_bytes()) == (2, b"", told, data)


def test_standard_input_is_not_recorded_onto_itself(
    run: Callable[..., Any], streams: Path, output: Path, monkeypatch: pytest.MonkeyPatch
):
    data = (streams / "tides.sse").read_bytes()
    output.write_bytes(data)
    with output.open() as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        assert run("record", "-", "-o", output).status == 2
    assert output.read_bytes() == data


def test_standard_input_is_recorded(process: Callable[..., Any], streams: Path, output: Path):
    one = process("record", "-", "-o", output)
    out, err = one.communicate((streams / "tides.sse").read_bytes(), timeout=WITHIN)
    assert (one.returncode, out.decode(), err) == (0, f"saved 17 events to {output}\n", b"")


def test_recording_to_standard_output_can_be_piped(process: Callable[..., Any], streams: Path):
    one = process("record", streams / "tides.sse", "-o", "/dev/stdout")
    out, _ = one.communicate(timeout=WITHIN)
    assert FrameDecoder().feed(out) == FrameDecoder().feed((streams / "tides.sse").read_bytes())


def test_dash_is_no_name_of_an_output(
    run: Callable[..., Any], streams: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    got = run("record", streams / "tides.sse", "-o", "-")
    assert (got.status, "expected the name of a file after -o, got -" in got.error, [*tmp_path.iterdir()]) == (
        2,
        True,
        [],
    )


def test_output_must_be_named(run: Callable[..., Any], streams: Path):
    got = run("record", streams / "tides.sse")
    assert (got.status, got.error.startswith("stepstream: the following arguments are required: -o")) == (2, True)


def test_control_characters_of_the_output_are_escaped(run: Callable[..., Any], streams: Path, tmp_path: Path):
    got = run("record", streams / "tides.sse", "-o", tmp_path / "\x1b[2J.sse")
    assert (got.status, got.out.count(b"\x1b"), b"\\u001b[2J.sse" in got.out) == (0, 0, True)


def next_chunk(stream: IO[bytes] | None) -> bytes:
    """Return what a process writes next."""
    assert stream is not None
    ready, _, _ = select.select([stream], [], [], WITHIN)
    assert ready, "expected output, got silence"
    return stream.read(65_536)


@pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="a pipe has no path here")
def test_killed_process_leaves_what_came(process: Callable[..., Any]):
    """Its file is a pipe here, so that the test knows when it was written."""
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb", buffering=0) as end:
        one = process("record", "-", "-o", f"/proc/{os.getpid()}/fd/{writing}")
        os_write(one.stdin, RUN % 1 + b"event: half")
        assert timeless(next_chunk(end)) == RUN % 1
        os_write(one.stdin, b"\ndata: x\n\n" + RUN % 2 + b"data: never")
        assert timeless(next_chunk(end)) == b"event: half\ndata: x\n\n" + RUN % 2
        one.kill()
        one.wait(WITHIN)
        os.close(writing)
        assert end.read() == b""


def os_write(stream: IO[bytes] | None, data: bytes) -> None:
    assert stream is not None
    stream.write(data)


def test_interrupted_recording_tells_what_it_saved(process: Callable[..., Any], output: Path):
    one = process("record", "-", "-o", output, program=(sys.executable, "-c", INTERRUPTIBLE))
    for number in (1, 2):
        os_write(one.stdin, RUN % number)
        deadline = time.monotonic() + WITHIN
        while not (output.exists() and output.read_bytes().endswith(RUN % number)) and time.monotonic() < deadline:
            os.sched_yield()
    one.send_signal(signal.SIGINT)
    out, err = one.communicate(timeout=WITHIN)
    assert (one.returncode, err) == (130, b"")
    assert re.fullmatch(rf"saved (1 event|2 events) to {output}\n", out.decode())  # the last may just be there
    assert timeless(output.read_bytes()) == RUN % 1 + RUN % 2


INTERRUPTIBLE = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from stepstream.cli import main
sys.exit(main())
"""
"""The program, even where the suite runs in the background of a shell, which ignores interrupts."""


# Pace


@pytest.fixture
def slow(tmp_path: Path) -> Path:
    """A recording of a run that took half a minute."""
    path = tmp_path / "slow.sse"
    path.write_bytes(taped(("0", RUN % 1), ("30", DONE)))
    return path


@pytest.mark.parametrize("command", [("cat",), ("cat", "--speed", "max"), ("watch", "--speed", "max")])
def test_recording_is_read_at_once_by_cat_and_at_full_speed(
    run: Callable[..., Any], slow: Path, command: tuple[str, ...]
):
    start = time.monotonic()
    assert run(*command, slow).status == 0
    assert time.monotonic() - start < 10


def test_recording_at_a_thousand_times_its_pace_takes_its_time(run: Callable[..., Any], slow: Path):
    start = time.monotonic()
    assert run("watch", "--speed", "1000", slow).status == 0
    assert 0.02 <= time.monotonic() - start < 10


def test_watch_shows_a_recording_at_its_own_pace(process: Callable[..., Any], slow: Path):
    one = process("watch", slow)
    assert b"run_1" in next_chunk(one.stdout)
    ready, _, _ = select.select([one.stdout], [], [], 0.1)
    assert (ready, one.poll()) == ([], None)


def test_recording_of_a_recording_has_the_time_of_its_replay(run: Callable[..., Any], slow: Path, output: Path):
    assert run("record", "--speed", "1000", slow, "-o", output).status == 0
    first, last = (float(time) for time in re.findall(rb"^: at (.*)$", output.read_bytes(), re.MULTILINE))
    assert 0.02 <= round(last - first, 6) < 10


@pytest.mark.parametrize("speed", ["0", "-1", "nan", "inf", "fast", ""])
def test_speed_that_is_none_is_wrong_usage(run: Callable[..., Any], slow: Path, speed: str):
    got = run("cat", f"--speed={speed}", slow)
    assert (got.status, f"expected a factor above 0, or max, got {speed!r}" in got.error) == (2, True)


@pytest.mark.skipif(sys.platform == "win32", reason="there are no named pipes")
def test_recording_from_a_named_pipe_is_read(process: Callable[..., Any], streams: Path, tmp_path: Path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    one = process("cat", "--as", "frames", pipe)
    subprocess.run(["cp", "/dev/stdin", pipe], input=taped(("0", RUN % 1), ("1", DONE)), check=True, timeout=WITHIN)
    out, _ = one.communicate(timeout=WITHIN)
    assert (one.returncode, [json.loads(line)["event"] for line in out.splitlines()]) == (
        0,
        ["thread.run.created", "done"],
    )


def test_recording_reads_the_same_byte_by_byte(run: Callable[..., Any], slow: Path):
    whole = run("cat", "--as", "frames", slow).out
    assert run("cat", "--as", "frames", "--chunk-size", "1", "--speed", "1000", slow).out == whole
