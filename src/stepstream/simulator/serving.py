"""The simulator on a real port."""

from contextlib import AbstractAsyncContextManager

from stepstream.asgi.http import Application
from stepstream.asgi.server import serve_locally


def serve(application: Application, *, port: int = 0) -> AbstractAsyncContextManager[str]:
    """Serve an ASGI application on 127.0.0.1, and yield its base URL, without a final slash. Port 0 is a free one.

    Leaving the block, by cancellation too, drops the open connections and waits for the server to end, at most 5
    seconds. Nothing is printed, and neither logging nor signals are touched.

    Raises:
        ImportError: uvicorn is not installed.
        OSError: the port is taken.
        TimeoutError: the server did not start within 10 seconds.
        RuntimeError: the application refused to start.
    """
    return serve_locally(application, port=port, name="simulator")
