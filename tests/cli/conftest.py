import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from stepstream.cli import main
from tests.support.connections import direct_connections as direct_connections
from tests.support.places import STREAMS
from tests.support.terminals import WITHIN

MODULE = (sys.executable, "-m", "stepstream")


class Ran(NamedTuple):
    """What a command did."""

    status: int
    out: bytes
    err: bytes

    @property
    def lines(self) -> list[Any]:
        """Standard output, each line decoded from JSON."""
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def error(self) -> str:
        """Standard error, which must be one line."""
        line, newline, rest = self.err.decode().partition("\n")
        assert (newline, rest) == ("\n", "")
        return line


@pytest.fixture
def run(capsysbinary: pytest.CaptureFixture[bytes]) -> Callable[..., Ran]:
    """Run the command line in this process."""

    def run(*arguments: object) -> Ran:
        try:
            status = main([str(argument) for argument in arguments])
        except SystemExit as end:
            status = end.code
        return Ran(status, *capsysbinary.readouterr())

    return run


@pytest.fixture
def _interruptible() -> Iterator[None]:
    """Where the suite runs in the background of a shell, interrupts are ignored, and its processes would inherit it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def process(_interruptible: None) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Start the command line as a process of its own, with unbuffered pipes to all three of its streams."""
    started: list[subprocess.Popen[bytes]] = []

    def process(*arguments: object, program: Sequence[str] = MODULE, environment: Mapping[str, str] | None = None):
        command, pipe = [*program, *map(str, arguments)], subprocess.PIPE
        environment = {**os.environ, "PYTHONUNBUFFERED": "", **(environment or {})}  # as users have it
        started.append(subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, bufsize=0, env=environment))
        return started[-1]

    yield process
    for one in started:
        one.kill()
        one.communicate(timeout=WITHIN)


@pytest.fixture(scope="session")
def streams() -> Path:
    """Where our own streams are."""
    return STREAMS


Answer = tuple[int, str, bytes]
"""A status, a content type and a body."""


@pytest.fixture(scope="session")
def server(streams: Path) -> Iterator[str]:
    """An HTTP server that answers a path with what the table says. Yields its base URL."""
    answers: dict[str, Answer] = {
        "/stream": (200, "text/event-stream; charset=utf-8", (streams / "tides.sse").read_bytes()),
        "/cut": (200, "text/event-stream", (streams / "tides.sse").read_bytes()[:2_000]),
        "/html": (200, "text/html", b"<html><title>Sign in</title></html>"),
        "/missing": (404, "application/json", b'{"error": {"message": "No run here.", "code": "not_found"}}'),
        "/moved": (307, "text/plain", b""),
        "/attack": (
            400,
            "application/json",
            json.dumps({"error": {"message": "\x1b]52;c;eA==\x07 \u202e\x9b2J"}}).encode(),
        ),
    }

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, kind, body = answers[self.path.partition("?")[0]]
            self.send_response(status)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(body)))
            self.send_header("location", "http://elsewhere.invalid/stream")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"http://127.0.0.1:{listening.server_port}"
        listening.shutdown()
        thread.join()


@pytest.fixture
def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture
def tmux() -> Iterator[Callable[..., str]]:
    """Run tmux with a server of its own. Yields a function of its arguments that returns what it prints."""
    if shutil.which("tmux") is None:
        pytest.skip("a real terminal needs tmux, which is not installed")
    with tempfile.TemporaryDirectory() as place:  # a short path: that of a socket is limited
        environment = {**os.environ, "TMUX_TMPDIR": place, "LC_ALL": "C.UTF-8", "TERM": "xterm-256color", "TMUX": ""}

        def tmux(*arguments: str) -> str:
            command = ["tmux", "-u", "-f", os.devnull, *arguments]
            return subprocess.run(
                command, env=environment, capture_output=True, check=True, timeout=WITHIN, text=True
            ).stdout

        try:
            yield tmux
        finally:
            tmux("kill-server")
