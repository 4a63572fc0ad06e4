import re
import sys
from collections.abc import Callable
from importlib.metadata import version
from itertools import product
from pathlib import Path
from typing import Any

import pytest

import stepstream
from stepstream.cli.main import main

FORMS = ("frames", "events", "changes", "steps", "runs", "messages")
COMMANDS = [("watch",), *(("cat", "--as", form) for form in FORMS)]
IDS = [command[-1] for command in COMMANDS]
each_command = pytest.mark.parametrize("command", COMMANDS, ids=IDS)


@pytest.fixture
def cut(streams: Path, tmp_path: Path) -> Path:
    """The first half of a stream: a code step that is still growing."""
    whole = (streams / "tides.sse").read_bytes()
    path = tmp_path / "cut.sse"
    path.write_bytes(whole[: whole.index(b"event: thread.run.step.completed")])
    return path


@each_command
@pytest.mark.parametrize("name", ["tides", "crossing", "lagoon"])
def test_status_is_0_where_the_stream_was_complete(
    run: Callable[..., Any], streams: Path, command: tuple[str, ...], name: str
):
    assert run(*command, streams / f"{name}.sse").status == 0


@each_command
def test_status_is_3_where_the_stream_was_cut(run: Callable[..., Any], cut: Path, command: tuple[str, ...]):
    got = run(*command, cut)
    text = "the stream ended after 8 events without done, its run unfinished"
    assert (got.status, got.error) == (3, f"stepstream: {cut}: {text}")


@each_command
def test_status_is_3_for_an_empty_file(run: Callable[..., Any], tmp_path: Path, command: tuple[str, ...]):
    empty = tmp_path / "empty.sse"
    empty.touch()
    got = run(*command, empty)
    told = f"stepstream: {empty}: the stream ended without a single event"
    assert (got.status, got.error) == (3, told)


@each_command
def test_file_that_is_no_stream_is_told_by_its_kind(run: Callable[..., Any], tmp_path: Path, command: tuple[str, ...]):
    page = tmp_path / "page.html"
    page.write_text("<title>Sign in</title>")
    got = run(*command, page)
    told = f"stepstream: {page}: the stream ended without a single event: got HTML: Sign in"
    assert (got.status, got.error) == (3, told)


@each_command
def test_status_is_4_for_an_error_event(run: Callable[..., Any], streams: Path, command: tuple[str, ...]):
    path = streams / "storm.sse"
    got = run(*command, path)
    text = "the stream carried an error event (mast_broken): The mast broke."
    assert (got.status, got.error) == (4, f"stepstream: {path}: {text}")


@pytest.mark.parametrize(
    "data",
    ['{"error": {"code": "adrift", "message": "No anchor."}}', '{"code": "adrift", "message": "No anchor."}'],
    ids=["nested", "flat"],
)
@each_command
def test_error_event_of_either_shape_counts_without_its_blank_line(
    run: Callable[..., Any], tmp_path: Path, command: tuple[str, ...], data: str
):
    path = tmp_path / "adrift.sse"
    path.write_text(f"event: error\ndata: {data}\n")
    got = run(*command, path)
    assert got.status == 4
    assert got.error.endswith("(adrift): No anchor.")


@each_command
@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/missing", "answered 404 Not Found: No run here."),
        ("/html", "expected text/event-stream, got text/html: Sign in"),
        ("/moved", "answered 307: expected a redirect within its origin, got one to http://elsewhere.invalid/stream"),
    ],
)
def test_status_is_5_where_the_server_refused(
    run: Callable[..., Any], server: str, command: tuple[str, ...], path: str, text: str
):
    got = run(*command, f"{server}{path}?api-key=hidden")
    place, _, told = got.error.removeprefix(f"stepstream: {server}").partition(text)
    assert (got.status, got.out, place.strip(": "), told) == (5, b"", path, "")


@each_command
def test_status_is_6_where_nobody_listens(run: Callable[..., Any], free_port: int, command: tuple[str, ...]):
    got = run(*command, f"http://127.0.0.1:{free_port}/runs?api-key=hidden")
    text = f"http://127.0.0.1:{free_port}/runs: the connection was refused (ConnectError)"
    assert (got.status, got.out, got.error) == (6, b"", f"stepstream: {text}")


@pytest.mark.parametrize("query", ["", "?api-key=hidden"])
def test_error_of_a_url_names_what_may_be_shown_of_it(run: Callable[..., Any], free_port: int, query: str):
    url = f"http://127.0.0.1:{free_port}/runs"
    assert run("cat", url + query).error == f"stepstream: {url}: the connection was refused (ConnectError)"


def test_error_is_not_written_to_standard_output_where_standard_error_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsysbinary: Any
):
    path = tmp_path / "empty.sse"
    path.write_bytes(b"")
    monkeypatch.setattr(sys, "stderr", None)
    assert main(["cat", str(path)]) == 3
    assert main(["cat", str(path), "--debug"]) == 3
    assert capsysbinary.readouterr().out == b""


@each_command
def test_status_is_6_for_a_missing_file(run: Callable[..., Any], tmp_path: Path, command: tuple[str, ...]):
    path = tmp_path / "nowhere.sse"
    got = run(*command, path)
    assert (got.status, got.error) == (6, f"stepstream: {path}: No such file or directory")


@each_command
def test_status_is_6_for_a_directory(run: Callable[..., Any], tmp_path: Path, command: tuple[str, ...]):
    got = run(*command, tmp_path)
    assert (got.status, got.error) == (6, f"stepstream: {tmp_path}: Is a directory")


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("ftp://example.invalid/runs?api-key=s3cret", "ftp://example.invalid/runs: expected an http or https URL with"),
        ("http:///runs?api-key=s3cret", "http:///runs: expected an http or https URL with a host"),
        ("http://127.0.0.1:9x/runs", "http://127.0.0.1:9x/runs: expected a port from 1 to 65535"),
        ("http://127.0.0.1:0/runs", "http://127.0.0.1:0/runs: expected a port from 1 to 65535"),
        ("http://user:s3cret/word@127.0.0.1:1/runs", "127.0.0.1:1/runs: expected a port from 1 to 65535"),
        ("http://user:s3cret#word@127.0.0.1:1/runs", "…: expected a port from 1 to 65535"),
    ],
)
def test_status_is_6_for_a_url_that_nothing_can_be_sent_to(run: Callable[..., Any], url: str, told: str):
    got = run("cat", url)
    assert (got.status, got.error.partition(told)[0], "s3cret" in got.error) == (6, "stepstream: ", False)


@each_command
def test_status_is_1_for_an_event_over_the_limit(run: Callable[..., Any], tmp_path: Path, command: tuple[str, ...]):
    path = tmp_path / "long.sse"
    with path.open("wb") as file:
        file.write(b'event: thread.run.created\ndata: {"id": "run_1"}\n\ndata: ')
        file.write(b"x" * (16 * 2**20 + 1))
    got = run(*command, path)
    assert got.status == 1
    assert "expected an event of at most 16,777,216 bytes" in got.error
    assert b"run_1" in got.out or command[-1] in ("steps", "messages")


USAGE = {
    "unknown command": ("dog", "x.sse"),
    "no source": ("cat",),
    "a source without a name": ("cat", ""),
    "two sources": ("cat", "x.sse", "y.sse"),
    "unknown form": ("cat", "--as", "poems", "x.sse"),
    "unknown option": ("watch", "--loud", "x.sse"),
    "chunks of nothing": ("cat", "--chunk-size", "0", "x.sse"),
    "negative chunks": ("cat", "--chunk-size=-1", "x.sse"),
    "chunks of words": ("watch", "--chunk-size", "few", "x.sse"),
}


@pytest.mark.parametrize("arguments", USAGE.values(), ids=USAGE)
def test_status_is_2_and_one_line_for_wrong_usage(run: Callable[..., Any], arguments: tuple[str, ...]):
    got = run(*arguments)
    assert (got.status, got.out) == (2, b"")
    assert re.fullmatch(r"stepstream: .+ \(see stepstream( cat| watch)? --help\)", got.error)


def test_wrong_chunk_size_is_told_what_was_expected(run: Callable[..., Any]):
    assert "expected a number of bytes of at least 1, got '0'" in run("cat", "--chunk-size", "0", "x.sse").error


def test_cut_stream_still_gives_its_step_as_folded(run: Callable[..., Any], cut: Path):
    [step] = run("cat", cut).lines
    code = "heights = [4.1, 0.9]\nprint(max(heights) - min(heights))"
    [call] = step["step_details"]["tool_calls"]
    assert (step["id"], step["status"]) == ("step_tides_1", "in_progress")
    assert call["code_interpreter"] == {"input": code, "outputs": [{"type": "logs", "logs": "3.2\n"}]}


def test_cut_stream_still_gives_its_run(run: Callable[..., Any], cut: Path):
    assert [(line["id"], line["status"]) for line in run("cat", "--as", "runs", cut).lines] == [
        ("run_tides", "in_progress")
    ]


@pytest.mark.parametrize("form", FORMS)
def test_cut_stream_gives_the_beginning_of_the_whole(run: Callable[..., Any], streams: Path, cut: Path, form: str):
    whole, beginning = run("cat", "--as", form, streams / "tides.sse"), run("cat", "--as", form, cut)
    if form in ("frames", "events", "changes"):
        assert beginning.out
        assert whole.out.startswith(beginning.out)
    else:
        ids = [line["id"] for line in whole.lines]
        assert [line["id"] for line in beginning.lines] == ids[: len(beginning.lines)]


def test_url_whose_bytes_end_too_soon_is_truncated(run: Callable[..., Any], server: str):
    got = run("cat", "--as", "changes", f"{server}/cut")
    assert (got.status, got.lines[0]["run_id"]) == (3, "run_tides")


def test_summary_of_a_broken_stream_is_still_watched(run: Callable[..., Any], cut: Path):
    assert run("watch", cut).out.decode().splitlines()[-1] == "broken: 8 events, 1 run, 1 step, 0 messages, 0 tokens"


@each_command
def test_debug_shows_the_traceback_before_the_line(run: Callable[..., Any], tmp_path: Path, command: tuple[str, ...]):
    path = tmp_path / "nowhere.sse"
    got = run(*command, "--debug", path)
    lines = got.err.decode().splitlines()
    assert got.status == 6
    assert lines[0] == "Traceback (most recent call last):"
    assert any(line.startswith("FileNotFoundError: ") for line in lines)
    assert lines[-1] == run(*command, path).error
    assert run("--debug", *command, path).err.decode().splitlines()[0] == lines[0]


SECRETS = ("/missing", "/html", "/moved", "/cut")


@pytest.mark.parametrize("command", [*COMMANDS, ("cat", "--debug"), ("watch", "--debug")])
def test_query_and_password_of_a_url_are_not_shown(run: Callable[..., Any], server: str, command: tuple[str, ...]):
    for path, scheme in product(SECRETS, ["http", "HTTP"]):
        source = server.replace("http://", f"{scheme}://user:passw0rd@") + f"{path}?api-key=s3cret#fr4gment"
        got = run(*command, source)
        assert got.status in (3, 5), source
        for secret in (b"passw0rd", b"s3cret", b"fr4gment"):
            assert secret not in got.out + got.err, source


def test_query_of_a_url_without_its_scheme_is_not_shown(run: Callable[..., Any]):
    got = run("cat", "localhost:1/runs?api-key=s3cret")
    assert (got.status, got.error) == (6, "stepstream: localhost:1/runs: No such file or directory")


def test_version_is_that_of_the_package(run: Callable[..., Any]):
    got = run("--version")
    assert (got.status, got.out, got.err) == (0, f"stepstream {stepstream.__version__}\n".encode(), b"")
    assert stepstream.__version__ == version("stepstream")


def test_program_alone_prints_its_help_as_wrong_usage(run: Callable[..., Any]):
    got = run()
    assert (got.status, got.out, got.err) == (2, run("--help").out, b"")


def test_help_names_every_command_and_exit_status(run: Callable[..., Any]):
    got = run("--help")
    text = got.out.decode()
    assert got.status == 0
    assert re.findall(r"^    ([\w-]+)(?: |$)", text, re.MULTILINE) == [
        "demo", "watch", "cat", "record", "check", "serve", "simulate", "work",
        "dead-letters",
    ]  # fmt: skip
    assert re.findall(r"\d", text.partition("Exit status:")[2]) == list("02345671")


@pytest.mark.parametrize("command", ["demo", "watch", "cat", "record", "check", "simulate"])
def test_every_command_has_help(run: Callable[..., Any], command: str):
    got = run(command, "--help")
    assert (got.status, got.out.startswith(f"usage: stepstream {command} ".encode())) == (0, True)


def test_help_of_cat_names_every_form(run: Callable[..., Any]):
    assert f"{{{','.join(FORMS)}}}" in run("cat", "--help").out.decode()


def test_missing_uvicorn_is_one_line_that_says_what_to_install(
    run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    got = run("demo", "--fast")
    assert (got.status, got.out) == (1, b"")
    assert got.error == "stepstream: the simulator needs uvicorn: pip install 'stepstream[cli]'"


def test_files_are_read_without_uvicorn(run: Callable[..., Any], streams: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert run("watch", streams / "tides.sse").status == 0
