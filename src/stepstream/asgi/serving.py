"""A server in the event loop of the program, for an application that shares objects with its other tasks: asyncio only.

It ends by `stop`, after the application has ended its streams: what is still open then is given `STOP_LIMIT`.
"""

import contextlib
import logging
import os
import socket
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import anyio

from stepstream.asgi.http import Application

if TYPE_CHECKING:
    import uvicorn

STOP_LIMIT: Final = 1
"""Seconds that connections have to close when the server stops."""

CANCEL_LIMIT: Final = 3.0
"""Seconds that the application has for requests that are cancelled then: a run is written as interrupted."""

REQUEST_LIMIT: Final = 30.0
"""Seconds within which a connection has to send a whole head of a request."""

BACKLOG: Final = 2_048
"""How many connections may wait to be accepted."""

KEEP_ALIVE: Final = 5
"""Seconds for which a connection may stay open after an answer."""


_log = logging.getLogger("uvicorn.error")


@asynccontextmanager
async def serve_here(application: Application, *, host: str, port: int, name: str) -> AsyncIterator[str]:
    """Serve an ASGI application in this event loop, and yield its base URL, without a final slash.

    Port 0 is a free one. Signals are left alone. `name` is what errors call the application.

    Raises:
        ImportError: uvicorn is not installed.
        OSError: it cannot listen there.
    """
    server = _server(application, name)
    with _listener(host, port) as listener, _only_errors():
        bound = listener.getsockname()[1]
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(server.serve, [listener])
            try:
                yield f"http://{f'[{host}]' if ':' in host else host}:{bound}"
            finally:
                server.should_exit = True


def _server(application: Application, name: str) -> "uvicorn.Server":
    try:
        import uvicorn
    except ImportError as exc:
        raise ImportError(f"the {name} needs uvicorn: pip install 'stepstream[cli]'") from exc

    class Server(uvicorn.Server):
        """Leaves signals alone, and closes connections that do not ask."""

        silent = _Silent()

        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            _log.setLevel(logging.CRITICAL)  # whoever is cut off now was given time before
            await super().shutdown(sockets)
            with anyio.move_on_after(CANCEL_LIMIT):
                while self.server_state.tasks:  # noqa: ASYNC110 - uvicorn tells nobody
                    await anyio.sleep(0.01)

        async def on_tick(self, counter: int) -> bool:
            if counter % 10 == 0:
                self.silent.close_old(self.server_state.connections)
            return await super().on_tick(counter)

    options: dict[str, Any] = {"http": "h11", "ws": "none", "lifespan": "off", "log_config": None, "access_log": False}
    limits: dict[str, Any] = {"timeout_keep_alive": KEEP_ALIVE, "timeout_graceful_shutdown": STOP_LIMIT}
    return Server(uvicorn.Config(application, proxy_headers=False, server_header=False, **options, **limits))


class _Silent:
    """The connections on which no request has come whole, each with the time since when."""

    def __init__(self) -> None:
        self._since: dict[Any, float] = {}

    def close_old(self, connections: Iterable[Any]) -> None:
        """Close those that have been silent for `REQUEST_LIMIT`."""
        now = anyio.current_time()
        silent = [one for one in connections if getattr(one, "cycle", None) is None]
        self._since = {one: self._since.get(one, now) for one in silent}
        for connection, since in self._since.items():
            if now - since > REQUEST_LIMIT:
                connection.transport.close()


@contextlib.contextmanager
def _only_errors() -> Iterator[None]:
    """Let uvicorn log errors of the application, and not what clients do wrong."""
    before = _log.level
    _log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        _log.setLevel(before)


def _listener(host: str, port: int) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    listener = socket.socket(family, kind, protocol)
    try:
        if os.name != "nt":  # a port may be taken again at once; there, it would be shared
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)  # the server does, too, but a little later: who knows the URL may connect
    except OSError as exc:
        listener.close()
        raise OSError(exc.errno, f"cannot listen on port {port} of {host}: {exc.strerror}") from exc
    return listener
