"""The body of a response: reading some of it, and closing the response so that nothing of it is left behind.

How closing works. Bytes come through a chain of async generators inside of httpx and httpcore: ours is the outermost,
the one that reads the socket the innermost. `aclose()` on ours ends ours alone; the others are dropped unfinished, and
trio reports every one ("async generator was garbage collected before it had been exhausted"), on asyncio they end at
some later time. The chain ends in order only from the inside: when its innermost generator ends or raises, that passes
through all of them. So `close_response` has the innermost one end, in one of three ways:

* Read on for a moment. A body that ends within it leaves its connection fit for the next request.
* Where the body does not end, that reading is cancelled: the cancellation is raised at the socket.
* Where so much comes that the reading stops by size, the response is closed first and then read: the closed socket
  raises. Closing the iterator before that would be the very thing to avoid.

    read "data: x"  →  [0.05 s of reading on]  →  response.aclose()  →  [reading raises]  →  chunks.aclose()
"""

from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Any, Final

import anyio

from stepstream.live.refusals import beginning_of

READ_ON_SECONDS: Final = 0.05
"""How long the end of a body is waited for: after `done` it is still to come. A stream that goes on is not waited for
longer, since its reader has what it wanted."""

READ_ON_BYTES: Final = 256 * 2**10
"""How much is read on at most: a body that is fast and endless would fill the time."""

IDENTITY: Final = "identity"
"""What `content_encoding` returns for a body that is sent as it is."""


def content_encoding(response: Any) -> str:
    """Return the content encoding of a response, in lower case."""
    encoding: str = response.headers.get("content-encoding", IDENTITY)
    return encoding.strip().lower()


async def read_error_body(response: Any) -> bytes:
    """Return the body of an error response, as far as it comes soon and is short; nothing of one that is encoded."""
    if content_encoding(response) != IDENTITY:
        return b""  # identity was asked for, and a few bytes may unpack to any number
    chunks = response.aiter_bytes()
    body = await beginning_of(chunks)
    await close_response(response, chunks)
    return body


async def close_response(response: Any, chunks: AsyncGenerator[bytes]) -> None:
    """Close a response and the iterator over its bytes, whatever of them was read.

    Its connection can be used again where the body ends within a moment. What fails meanwhile is not reported: the
    caller has what it wanted of the response, or an error of its own.
    """
    with suppress(Exception):
        with anyio.move_on_after(READ_ON_SECONDS):
            await _read_on(chunks)
        await response.aclose()  # before `chunks`: see above
        await _read_on(chunks)
    await chunks.aclose()


async def _read_on(chunks: AsyncGenerator[bytes]) -> None:
    left = READ_ON_BYTES
    async for chunk in chunks:
        left -= len(chunk)
        if left < 0:
            return
