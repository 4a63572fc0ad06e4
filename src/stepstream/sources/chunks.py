"""Waiting for the next chunk: within a limit where it has to be waited for, at no such cost where it is there."""

from collections.abc import AsyncGenerator, Callable

import anyio

from stepstream.live.coroutines import StartedCoroutine

IMMEDIATE = 20e-6
"""A chunk that took no longer than so many seconds was there already."""


async def awaited_chunk(chunks: AsyncGenerator[bytes], limit: Callable[[], float]) -> tuple[bytes | None, float]:
    """Return what `next_chunk` does, where the chunk will have to be waited for: then this takes less time."""
    asked_at = anyio.current_time()
    with anyio.CancelScope(deadline=asked_at + limit()):
        try:
            chunk = await chunks.__anext__()
        except StopAsyncIteration:
            chunk = None
        waited = anyio.current_time() - asked_at
        return chunk, waited if waited > IMMEDIATE else 0.0
    raise TimeoutError


async def next_chunk(chunks: AsyncGenerator[bytes], limit: Callable[[], float]) -> tuple[bytes | None, float]:
    """Return the next chunk, or None at the end, and the seconds that it was waited for.

    `limit` says how many seconds that may take. It is not asked where nothing is waited for: most chunks of a quick
    stream came together with another one.

    Raises:
        TimeoutError: it took longer.
    """
    with anyio.CancelScope() as scope:  # entered before the first step, which may enter others
        step = chunks.__anext__()
        try:
            waited_for = step.send(None)  # what an event loop is to wait for
        except StopIteration as there:
            return there.value, 0.0
        except StopAsyncIteration:
            return None, 0.0
        asked_at = anyio.current_time()
        scope.deadline = asked_at + limit()
        try:
            chunk = await StartedCoroutine(step, waited_for)
        except StopAsyncIteration:
            chunk = None
        return chunk, anyio.current_time() - asked_at
    raise TimeoutError
