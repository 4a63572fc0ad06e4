"""The simulator on a real port: uvicorn in a thread of its own, so that asyncio and trio programs can use it alike."""

import socket
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final

import anyio
import anyio.to_thread

from stepstream.simulator.asgi import Application

if TYPE_CHECKING:
    import uvicorn

_START_LIMIT: Final = 10.0
_STOP_LIMIT: Final = 5.0


@asynccontextmanager
async def serve(application: Application) -> AsyncIterator[str]:
    """Serve an ASGI application on a free port of 127.0.0.1, and yield its base URL, without a final slash.

    Leaving the block, by cancellation too, drops the open connections and waits for the server to end, at most 5
    seconds. Nothing is printed, and neither logging nor signals are touched.

    Raises:
        ImportError: uvicorn is not installed.
        TimeoutError: the server did not start within 10 seconds.
        RuntimeError: the application refused to start.
    """
    ready = threading.Event()
    server = _server(application, ready)
    # with the protocol named, asyncio turns Nagle's algorithm off: else each small event waits some 40 ms
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.bind(("127.0.0.1", 0))
        host, port = listener.getsockname()
        thread = threading.Thread(target=_run, args=(server, listener, ready), name=f"simulator-{port}", daemon=True)
        thread.start()
        try:
            await _started(server, ready)
            yield f"http://{host}:{port}"
        finally:
            server.should_exit = True
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(thread.join, _STOP_LIMIT, limiter=anyio.CapacityLimiter(1))


def _server(application: Application, ready: threading.Event) -> "uvicorn.Server":
    """Return a server that sets `ready` once it listens, and that drops its connections when it stops."""
    try:
        import uvicorn
    except ImportError as exc:
        raise ImportError("the simulator needs uvicorn: pip install 'stepstream[cli]'") from exc

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            ready.set()

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            # uvicorn would wait for running streams to end; one whose reader stays may take long
            for connection in list(self.server_state.connections):
                connection.transport.abort()
            await super().shutdown(sockets)

    # the loop is named because "auto" may set a global event loop policy, the parser so that it is the same everywhere
    return Server(uvicorn.Config(application, loop="asyncio", http="h11", ws="none", log_config=None))


def _run(server: "uvicorn.Server", listener: socket.socket, ready: threading.Event) -> None:
    try:
        with suppress(SystemExit):  # raised where the application refuses to start
            server.run(sockets=[listener])
    finally:
        ready.set()


async def _started(server: "uvicorn.Server", ready: threading.Event) -> None:
    limiter = anyio.CapacityLimiter(1)  # its own: the program's other threads must not make it wait
    if not await anyio.to_thread.run_sync(ready.wait, _START_LIMIT, abandon_on_cancel=True, limiter=limiter):
        raise TimeoutError(f"expected the simulator to start within {_START_LIMIT:g} seconds")
    if not server.started:
        raise RuntimeError("the simulator ended before it had started")
