"""The calls of one round, made side by side as far as the limits allow."""

from collections.abc import Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import TypeVar

import anyio
from anyio.lowlevel import RunVar

from stepstream.errors import ToolFailed
from stepstream.wire.tool_calls import AnyToolCall, ToolCall

T = TypeVar("T")


class Limit:
    """How many calls of all rounds may run at once; None: any number. Each event loop counts its own."""

    def __init__(self, most: int | None) -> None:
        self._most = most
        self._limiter: RunVar[anyio.CapacityLimiter] = RunVar(f"calls of the toolbox at {id(self)}")

    def slot(self) -> AbstractAsyncContextManager[object]:
        """Return a block that is entered once a call more may run."""
        if self._most is None:
            return nullcontext()
        limiter = self._limiter.get(None)
        if limiter is None:
            limiter = anyio.CapacityLimiter(self._most)
            self._limiter.set(limiter)
        return limiter


async def results_of(
    calls: Iterable[AnyToolCall], result_of: Callable[[str, ToolCall], Awaitable[T]], concurrency: int, limit: Limit
) -> dict[str, T]:
    """Return what `result_of` gives for each call, by call id, in the order of the calls.

    Calls without an id, and of unknown kinds, have no result: none could name them.

    Raises:
        ToolFailed: one failed. Those that run are cancelled, the rest are not made.
    """
    known: dict[str, ToolCall] = {}
    for call in calls:
        if isinstance(call, ToolCall) and call.id:
            known.setdefault(call.id, call)
    results: dict[str, T] = {}
    waiting = iter(known.items())
    failure: ToolFailed | None = None

    async def take_calls() -> None:
        nonlocal failure
        for call_id, call in waiting:
            async with limit.slot():
                try:
                    results[call_id] = await result_of(call_id, call)
                except ToolFailed as exc:  # raised below: from here it would come in an exception group
                    failure = failure or exc
                    tasks.cancel_scope.cancel()
                    return

    async with anyio.create_task_group() as tasks:
        for _ in range(min(concurrency, len(known))):
            tasks.start_soon(take_calls)
    if failure is not None:
        raise failure
    return {call_id: results[call_id] for call_id in known}
