"""Files and standard input as sources."""

import sys
from collections.abc import AsyncIterator
from io import BufferedReader
from os import PathLike
from typing import Final, cast

import anyio
import anyio.to_thread

CHUNK_SIZE: Final = 64 * 2**10


async def read_file(path: str | PathLike[str], *, chunk_size: int = CHUNK_SIZE) -> AsyncIterator[bytes]:
    """Yield the bytes of a file in chunks of at most `chunk_size`. An `OSError` comes with the first of them."""
    async with await anyio.open_file(path, "rb") as file:
        while chunk := await file.read(chunk_size):
            yield chunk


async def read_standard_input(*, chunk_size: int = CHUNK_SIZE) -> AsyncIterator[bytes]:
    """Yield standard input as it comes, in chunks of at most `chunk_size`."""
    read = cast(BufferedReader, sys.stdin.buffer).read1  # what is there now, without waiting for a full chunk
    while chunk := await anyio.to_thread.run_sync(read, chunk_size, abandon_on_cancel=True):
        yield chunk
