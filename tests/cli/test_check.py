import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

import stepstream.cli.check as checking
from stepstream.cli.request_options import RequestOptions
from stepstream.conformance.deviation import CODES
from stepstream.errors import TransportError
from stepstream.wire.sse import Frame, FrameDecoder, encode_frame
from tests.support.conforming_responses import STREAM
from tests.support.conforming_streams import frames as response_frames
from tests.support.conforming_streams import put, with_edits
from tests.support.places import ROOT
from tests.support.terminals import WITHIN

LEFT_OUT = ("incomplete_details", "max_prompt_tokens", "max_completion_tokens", "truncation_strategy")
"""What the runs of our own streams lack, and may have null."""


@pytest.fixture
def frames(streams: Path) -> list[Frame]:
    """A stream without a fault: `ferry-answer`, with what its runs lack. 14 events."""
    found = []
    for frame in FrameDecoder().feed((streams / "ferry-answer.sse").read_bytes()):
        data = frame.data
        if frame.event != "done":
            raw = json.loads(data)
            data = json.dumps({**dict.fromkeys(LEFT_OUT), **raw} if raw["object"] == "thread.run" else raw).encode()
        found.append(Frame(frame.event, data))
    return found


def without_model(frames: list[Frame]) -> list[Frame]:
    """Return frames of which the second and third lack a field."""
    return [
        Frame(one.event, one.data.replace(b'"model"', b'"modal"')) if one.event in (QUEUED, IN_PROGRESS) else one
        for one in frames
    ]


QUEUED, IN_PROGRESS = "thread.run.queued", "thread.run.in_progress"
ERROR = Frame("error", b'{"message": "The ferry sank.", "type": "server_error", "param": null, "code": "sunk"}')


@pytest.fixture
def stored(tmp_path: Path) -> Callable[[list[Frame]], Path]:
    """Write frames to a file."""

    def stored(frames: list[Frame]) -> Path:
        path = tmp_path / "stream.sse"
        path.write_bytes(b"".join(map(encode_frame, frames)))
        return path

    return stored


def test_stream_without_deviations_is_0_and_one_line(run: Callable[..., Any], frames: list[Frame], stored: Any):
    assert run("check", stored(frames)) == (0, b"14 events, no deviations\n", b"")


@pytest.mark.parametrize("size", ["1", "7", "65536"])
def test_size_of_the_chunks_changes_nothing(run: Callable[..., Any], frames: list[Frame], stored: Any, size: str):
    got = run("check", "--chunk-size", size, stored(without_model(frames)))
    assert (got.status, len(got.out.splitlines())) == (7, 3)


def test_each_deviation_is_one_line_and_the_last_is_a_summary(
    run: Callable[..., Any], frames: list[Frame], stored: Any
):
    got = run("check", stored(without_model(frames)[:-1]))
    assert (got.status, got.err) == (7, b"")
    assert got.out.decode().splitlines() == [
        "event 2  thread.run.queued  missing_field  (run_ferry): expected model, got nothing",
        "event 3  thread.run.in_progress  missing_field  (run_ferry): expected model, got nothing",
        "event 13  thread.run.completed  missing_done: expected done at the end of the stream, got its end",
        "13 events, 3 deviations: missing_field 2, missing_done 1",
    ]


def test_empty_stream_has_no_done(run: Callable[..., Any], stored: Any):
    got = run("check", stored([]))
    assert (got.status, got.out.decode().splitlines()) == (
        7,
        [
            "event 0  missing_done: expected done at the end of the stream, got its end",
            "0 events, 1 deviation: missing_done 1",
        ],
    )


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b'{"error": {"message": "No such run."}}', "got JSON: No such run."),
        (b"<html><title>502 Bad Gateway</title></html>", "got HTML: 502 Bad Gateway"),
        (b"\x1f\x8b\x08\x00\x00", "got binary data"),
    ],
)
@pytest.mark.parametrize("size", ["3", "65536"])
def test_file_that_is_no_stream_is_3_and_told_as_what_it_is(
    run: Callable[..., Any], tmp_path: Path, data: bytes, told: str, size: str
):
    path = tmp_path / "stream.sse"
    path.write_bytes(data)
    got = run("check", "--chunk-size", size, path)
    assert (got.status, got.out) == (3, b"")
    assert got.error == f"stepstream: {path}: the stream ended without a single event: {told}"


def test_error_event_is_4_where_the_stream_deviates_in_nothing(
    run: Callable[..., Any], frames: list[Frame], stored: Any
):
    path = stored([*frames[:3], ERROR, ERROR])
    got = run("check", path)
    assert (got.status, got.out) == (4, b"5 events, no deviations\n")
    assert got.error == f"stepstream: {path}: the stream carried an error event (sunk): The ferry sank."


def test_error_event_at_the_very_end_counts(run: Callable[..., Any], frames: list[Frame], stored: Any):
    path = stored([*frames[:3], ERROR])
    path.write_bytes(path.read_bytes().rstrip(b"\n"))
    assert run("check", path).status == 4


def test_deviations_are_7_with_an_error_event_too(run: Callable[..., Any], frames: list[Frame], stored: Any):
    got = run("check", stored([*without_model(frames)[:3], ERROR]))
    assert (got.status, got.err) == (7, b"")


def test_all_deviations_are_told(run: Callable[..., Any], streams: Path):
    got = run("check", streams / "tides.sse")
    lines = got.out.decode().splitlines()
    assert (got.status, lines[-1]) == (7, "17 events, 58 deviations: missing_field 58")
    assert len(lines) == 59


def test_lines_have_one_form(run: Callable[..., Any], streams: Path):
    for name in ("archive", "lagoon", "sums"):
        *lines, _ = run("check", streams / f"{name}.sse").out.decode().splitlines()
        form = r"event \d+  \S+  (\w+)(?:  \(\w+\))?: expected .+, got .+"
        assert {found[1] for line in lines if (found := re.fullmatch(form, line))} <= set(CODES)
        assert [line for line in lines if not re.fullmatch(form, line)] == []


def test_url_is_checked(run: Callable[..., Any], server: str):
    got = run("check", f"{server}/stream")
    assert (got.status, got.err) == (7, b"")
    assert got.out.endswith(b"17 events, 58 deviations: missing_field 58\n")


def test_url_whose_bytes_end_too_soon_has_no_done(run: Callable[..., Any], server: str):
    got = run("check", f"{server}/cut")
    assert got.status == 7
    assert b"missing_done 1" in got.out


def test_refusal_is_5_without_a_summary(run: Callable[..., Any], server: str):
    got = run("check", f"{server}/missing")
    assert (got.status, got.out) == (5, b"")
    assert "No run here." in got.error


def test_missing_file_is_6_without_a_summary(run: Callable[..., Any], tmp_path: Path):
    got = run("check", tmp_path / "nowhere.sse")
    assert (got.status, got.out) == (6, b"")
    assert got.error.endswith("No such file or directory")


def test_event_too_large_is_a_deviation(run: Callable[..., Any], frames: list[Frame], stored: Any):
    path = stored(frames[:2])
    with path.open("ab") as file:
        file.write(b"data: " + b"x" * (16 * 2**20 + 1) + b"\n\n")
    got = run("check", path)
    assert got.status == 7
    assert got.out.decode().splitlines() == [
        "event 3  frame_too_large: expected at most 16,777,216 bytes, got a longer event",
        "3 events, 1 deviation: frame_too_large 1",
    ]


def test_control_characters_of_servers_are_escaped(run: Callable[..., Any], stored: Any):
    got = run("check", stored([Frame("keep\x1b[2Jalive", b"{}"), Frame("done", b"[DONE]")]))
    assert b"\x1b" not in got.out
    assert b"keep\\u001b[2Jalive" in got.out


def test_standard_input_is_checked_as_it_comes(process: Callable[..., subprocess.Popen[bytes]], frames: list[Frame]):
    checking = process("check", "-")
    assert checking.stdin is not None
    assert checking.stdout is not None
    first, *rest = [encode_frame(frame) for frame in without_model(frames)[1:]]
    checking.stdin.write(first)
    line = b"event 1  thread.run.queued  missing_field  (run_ferry): expected model, got nothing\n"
    assert checking.stdout.read(len(line)) == line
    out, _ = checking.communicate(b"".join(rest), timeout=WITHIN)
    assert out.splitlines()[-1] == b"13 events, 2 deviations: missing_field 2"
    assert checking.returncode == 7


def test_peer_that_stays_after_done_is_not_waited_for(
    process: Callable[..., subprocess.Popen[bytes]], frames: list[Frame]
):
    checking = process("check", "-")
    assert checking.stdin is not None
    assert checking.stdout is not None
    checking.stdin.write(b"".join(map(encode_frame, frames)))
    assert checking.stdout.readline() == b"14 events, no deviations\n"  # standard input is still open
    assert checking.wait(WITHIN) == 0


class Source:
    """A source that sends chunks and then does what it is told to."""

    def __init__(self, *steps: bytes | Callable[[], Any]) -> None:
        self.steps = steps

    async def __aiter__(self) -> Any:
        for one in self.steps:
            if isinstance(one, bytes):
                yield one
            else:
                await one()


@pytest.fixture
def checked(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Check a source that is no file."""

    async def checked(*steps: bytes | Callable[[], Any]) -> int:
        monkeypatch.setattr(checking, "named", lambda *_, **__: Source(*steps))
        return await checking.check("-", chunk_size=1, speed=1, request=RequestOptions())

    return checked


async def test_break_in_the_middle_comes_after_what_was_found(
    checked: Callable[..., Any], frames: list[Frame], capsysbinary: pytest.CaptureFixture[bytes]
):
    async def broken() -> None:
        raise ConnectionResetError(104, "Connection reset by peer")

    with pytest.raises(TransportError, match="Connection reset by peer"):
        await checked(*map(encode_frame, without_model(frames)[:3]), broken)
    assert capsysbinary.readouterr().out.splitlines()[-1] == b"3 events, 2 deviations: missing_field 2"


async def test_event_that_comes_soon_after_done_is_found(
    checked: Callable[..., Any], frames: list[Frame], capsysbinary: pytest.CaptureFixture[bytes]
):
    later = encode_frame(frames[0])
    assert await checked(*map(encode_frame, frames), anyio.lowlevel.checkpoint, later, anyio.sleep_forever) == 7
    assert capsysbinary.readouterr().out.splitlines()[-1] == b"15 events, 1 deviation: event_after_done 1"


async def test_silence_after_done_is_waited_for_once(
    checked: Callable[..., Any], frames: list[Frame], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(checking, "TRAILING_TIME", 0.05)
    with anyio.fail_after(WITHIN):
        assert await checked(*map(encode_frame, frames), anyio.sleep_forever) == 0


async def test_pings_after_done_do_not_keep_the_stream_open(
    checked: Callable[..., Any], frames: list[Frame], monkeypatch: pytest.MonkeyPatch
):
    async def soon() -> None:
        await anyio.sleep(0.01)

    monkeypatch.setattr(checking, "TRAILING_TIME", 0.05)
    with anyio.fail_after(WITHIN):
        assert await checked(*map(encode_frame, frames), *[soon, b": ping\n\n"] * 10_000) == 0


def test_stream_of_responses_is_checked_by_its_own_protocol(run: Callable[..., Any], stored: Any):
    sent = response_frames(STREAM)
    assert run("check", stored(sent)) == (0, b"26 events, no deviations\n", b"")
    got = run("check", stored([one for one in sent if b'"delta": "n"' not in one.data]))
    assert (got.status, got.out.decode().splitlines()) == (
        7,
        [
            "event 16  response.output_text.delta  sequence_gap  (message_1): expected sequence_number 15, got 16",
            "25 events, 1 deviation: sequence_gap 1",
        ],
    )


def test_error_that_ends_a_stream_of_responses_is_status_4(run: Callable[..., Any], stored: Any):
    error = {"type": "error", "sequence_number": 9, "code": "sunk", "message": "The ferry sank.", "param": None}
    got = run("check", stored([*response_frames(STREAM[:9]), Frame("error", json.dumps(error).encode())]))
    assert (got.status, got.out) == (4, b"10 events, no deviations\n")
    assert b"The ferry sank." in got.err


def test_readme_shows_what_is_written(run: Callable[..., Any], stored: Any):
    got = run("check", stored(response_frames(with_edits(STREAM, put(18, "text", "Two!")))))
    readme = (ROOT / "src" / "stepstream" / "conformance" / "README.md").read_text(encoding="utf-8")
    assert [f"    {line}" for line in got.out.decode().splitlines()] == readme.partition("summary:\n\n")[
        2
    ].splitlines()[:2]
