"""Waiting for the next chunk within a limit, without the cost of one where the chunk is there already.

Most chunks of a quick stream came together with others, so that nothing is waited for, and asking for the time and
setting a deadline would be a cost for nothing. `next_chunk` makes the first step of the iterator by hand: if that gives
the chunk, no limit is needed. Otherwise the limit is set and the iterator resumed. For a chunk that has to be waited
for, the step by hand is a cost for nothing, and `awaited_chunk` is cheaper. `EventStream` chooses by the chunk before.
`live.coroutines` has the theory and the gain.
"""

from collections.abc import AsyncGenerator, Callable

import anyio

from stepstream.live.coroutines import first_step

IMMEDIATE = 20e-6
"""A chunk that took no longer than so many seconds was there already: the next call is one of `next_chunk`."""


async def awaited_chunk(chunks: AsyncGenerator[bytes], limit: Callable[[], float]) -> tuple[bytes | None, float]:
    """Return what `next_chunk` does, and raise the same. Cheaper where the chunk has to be waited for."""
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

    `limit` returns how many seconds that may take. It is called only where something is waited for.

    Raises:
        TimeoutError: it took longer.
    """
    with anyio.CancelScope() as scope:  # before the first step: scopes that the step enters must lie inside of it
        try:
            started = first_step(chunks.__anext__())
        except StopIteration as there:
            return there.value, 0.0
        except StopAsyncIteration:
            return None, 0.0
        asked_at = anyio.current_time()
        scope.deadline = asked_at + limit()
        try:
            chunk = await started
        except StopAsyncIteration:
            chunk = None
        return chunk, anyio.current_time() - asked_at
    raise TimeoutError
