"""Files and standard input as sources."""

import errno
import os
import stat
import sys
from collections.abc import AsyncGenerator, Callable
from io import FileIO
from os import PathLike
from typing import Any, Final

import anyio
import anyio.to_thread

from stepstream.errors import TransportError

CHUNK_SIZE: Final = 64 * 2**10


async def read_file(path: str | PathLike[str], *, chunk_size: int = CHUNK_SIZE) -> AsyncGenerator[bytes]:
    """Yield the bytes of a file or named pipe in chunks of at most `chunk_size`. It is opened by the first read.

    Raises:
        TransportError: it cannot be opened or read. The text names it.
    """
    try:
        if stat.S_ISFIFO((await anyio.Path(path).stat()).st_mode):
            with FileIO(path, opener=_open_without_blocking) as pipe:
                async for chunk in _read_pipe(pipe, chunk_size):
                    yield chunk
            return
        async with await anyio.open_file(path, "rb") as file:
            while chunk := await file.read(chunk_size):
                yield chunk
    except (OSError, ValueError) as exc:  # a ValueError is for a name that no file can have
        reason = exc.strerror if isinstance(exc, OSError) and exc.strerror else type(exc).__name__
        raise TransportError(f"{os.fspath(path)}: {reason}") from exc


def _open_without_blocking(path: str, flags: int) -> int:
    """Open a pipe at once. Otherwise a thread would wait for its writer, and could not be cancelled."""
    return os.open(path, flags | os.O_NONBLOCK)


async def _read_pipe(pipe: FileIO, size: int) -> AsyncGenerator[bytes]:
    while True:
        await anyio.wait_readable(pipe)
        chunk: bytes | None = pipe.read(size)
        if chunk:
            yield chunk
        elif chunk is not None:  # empty: the end; None: it was not readable after all
            return


async def read_standard_input(*, chunk_size: int = CHUNK_SIZE) -> AsyncGenerator[bytes]:
    """Yield standard input as it comes, in chunks of at most `chunk_size`."""
    if sys.stdin is None:
        raise OSError(errno.EBADF, "standard input is closed")
    buffer: Any = sys.stdin.buffer
    read = buffer.raw.read if hasattr(buffer, "raw") else buffer.read1  # no waiting for a full chunk
    while chunk := await _read_available(read, chunk_size):
        yield chunk


async def _read_available(read: Callable[[int], bytes], size: int) -> bytes:
    """Return the bytes that standard input holds, once it holds some. Waits without a thread where that is possible.

    A thread that waits in a read cannot be cancelled, and the interpreter does not exit before it has ended.
    """
    if sys.platform != "win32":  # where only sockets can be waited for
        try:
            await anyio.wait_readable(sys.stdin)
        except OSError:  # a file: it is always ready
            pass
        else:
            return read(size)
    return await anyio.to_thread.run_sync(read, size, abandon_on_cancel=True)
