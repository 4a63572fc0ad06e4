"""Files and standard input as sources."""

import errno
import sys
from collections.abc import AsyncGenerator, Callable
from os import PathLike
from typing import Any, Final

import anyio
import anyio.to_thread

CHUNK_SIZE: Final = 64 * 2**10


async def read_file(path: str | PathLike[str], *, chunk_size: int = CHUNK_SIZE) -> AsyncGenerator[bytes]:
    """Yield the bytes of a file in chunks of at most `chunk_size`. An `OSError` comes with the first of them."""
    async with await anyio.open_file(path, "rb") as file:
        while chunk := await file.read(chunk_size):
            yield chunk


async def read_standard_input(*, chunk_size: int = CHUNK_SIZE) -> AsyncGenerator[bytes]:
    """Yield standard input as it comes, in chunks of at most `chunk_size`."""
    if sys.stdin is None:
        raise OSError(errno.EBADF, "standard input is closed")
    buffer: Any = sys.stdin.buffer
    read = buffer.raw.read if hasattr(buffer, "raw") else buffer.read1  # no waiting for a full chunk
    while chunk := await _next(read, chunk_size):
        yield chunk


async def _next(read: Callable[[int], bytes], size: int) -> bytes:
    """Return what standard input holds now or next. It is waited for without a thread where that goes.

    A thread that waits in a read cannot be cancelled, and the interpreter does not exit before it has ended.
    """
    if sys.platform != "win32":  # there, only sockets can be waited for
        try:
            await anyio.wait_readable(sys.stdin)
        except OSError:  # a file: it is always ready
            pass
        else:
            return read(size)
    return await anyio.to_thread.run_sync(read, size, abandon_on_cancel=True)
