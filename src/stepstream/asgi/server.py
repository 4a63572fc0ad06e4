"""A server for this machine: uvicorn in a thread of its own, so that asyncio and trio programs can use it alike.

uvicorn runs on asyncio only. In a thread with an event loop of its own it serves whatever the program runs on, and a
program that blocks its own loop does not hold up the answers.
"""

import os
import socket
import struct
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, Protocol

import anyio
import anyio.to_thread

from stepstream.asgi.http import Application, Receive, Scope, Send

if TYPE_CHECKING:
    import uvicorn

START_LIMIT: Final = 10.0
STOP_LIMIT: Final = 5.0
"""Seconds that the server may take."""

CONNECTION: Final = "stepstream.connection"
"""The name under which this server gives each request its `Connection`, among the scope's extensions."""


class Connection(Protocol):
    """A connection that can be broken in ways that ASGI has no words for."""

    def reset(self) -> None:
        """Reset it."""

    def break_off(self, data: bytes) -> None:
        """Send `data` as the beginning of a longer chunk, and close."""


@asynccontextmanager
async def serve_locally(application: Application, *, port: int, name: str) -> AsyncIterator[str]:
    """Serve an ASGI application on 127.0.0.1, and yield its base URL, without a final slash. Port 0 is a free one.

    `name` is what errors and the server's thread call the application. Leaving the block, by cancellation too, drops
    the open connections and waits for the server to end, at most `STOP_LIMIT`. Nothing is printed, and neither logging
    nor signals are touched.

    Raises:
        ImportError: uvicorn is not installed.
        OSError: the port is taken.
        TimeoutError: the server did not start within `START_LIMIT`.
        RuntimeError: the application refused to start.
    """
    ready = threading.Event()
    server = _server(application, ready, name)
    # with the protocol named, asyncio turns Nagle's algorithm off: else each small event waits some 40 ms
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        if os.name != "nt":  # a port may be taken again at once; there, it would be shared
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError as exc:
            raise OSError(exc.errno, f"cannot listen on port {port} of 127.0.0.1: {exc.strerror}") from exc
        host, bound = listener.getsockname()
        thread = threading.Thread(target=_run, args=(server, listener, ready), name=f"{name}-{bound}", daemon=True)
        thread.start()
        try:
            await _started(server, ready, name)
            yield f"http://{host}:{bound}"
        finally:
            server.should_exit = True
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(thread.join, STOP_LIMIT, limiter=anyio.CapacityLimiter(1))


def _server(application: Application, ready: threading.Event, name: str) -> "uvicorn.Server":
    """Return a server that sets `ready` once it listens, and that drops its connections when it stops."""
    try:
        import uvicorn
    except ImportError as exc:
        raise ImportError(f"the {name} needs uvicorn: pip install 'stepstream[cli]'") from exc

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            ready.set()

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            # uvicorn would wait for running streams to end; one whose reader stays may take long
            for connection in list(self.server_state.connections):
                connection.transport.abort()
            await super().shutdown(sockets)

    async def with_connection(scope: Scope, receive: Receive, send: Send) -> None:
        """Give the application its connection, which ASGI does not: uvicorn knows it by the client's address."""
        if scope["type"] == "http":
            found = [one for one in server.server_state.connections if getattr(one, "client", None) == scope["client"]]
            if found:  # else it is closed already
                scope.setdefault("extensions", {})[CONNECTION] = _UvicornConnection(found[0].transport)
        await application(scope, receive, send)

    # the loop is named because "auto" may set a global event loop policy, the parser so that it is the same everywhere
    server = Server(uvicorn.Config(with_connection, loop="asyncio", http="h11", ws="none", log_config=None))
    return server


class _UvicornConnection:
    """A connection of uvicorn's, by its transport: what is written to that goes past h11 and its framing."""

    def __init__(self, transport: Any) -> None:
        self._transport = transport

    def reset(self) -> None:
        """Reset it: a socket that is closed with no time to linger sends RST instead of FIN."""
        option = struct.pack("hh" if os.name == "nt" else "ii", 1, 0)
        with suppress(OSError):  # the client has left meanwhile, and the socket is closed
            self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, option)
        self._transport.abort()

    def break_off(self, data: bytes) -> None:
        """Send `data` under a chunk size that says more than twice as much, and close."""
        self._transport.write(b"%x\r\n%b" % (2 * len(data) + 1, data))
        self._transport.close()


def _run(server: "uvicorn.Server", listener: socket.socket, ready: threading.Event) -> None:
    try:
        with suppress(SystemExit):  # raised where the application refuses to start
            server.run(sockets=[listener])
    finally:
        ready.set()  # also where it has not started, so that `_started` does not wait in vain


async def _started(server: "uvicorn.Server", ready: threading.Event, name: str) -> None:
    limiter = anyio.CapacityLimiter(1)  # its own: the program's other threads must not make it wait
    if not await anyio.to_thread.run_sync(ready.wait, START_LIMIT, abandon_on_cancel=True, limiter=limiter):
        raise TimeoutError(f"expected the {name} to start within {START_LIMIT:g} seconds")
    if not server.started:
        raise RuntimeError(f"the {name} ended before it had started")
