"""Opening and closing a processor: as a block, or in a task of its own between a start hook and a stop hook."""

from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Self

import anyio
from anyio.abc import TaskStatus

from stepstream.live.lifetime import Lifetime
from stepstream.live.pending import Signal


class OpeningMethods:
    """The methods by which a processor is opened and closed. `begin_again` is called before it is opened again."""

    def __init__(self, lifetime: Lifetime, begin_again: Callable[[], None]) -> None:
        self._lifetime = lifetime
        self._begin_again = begin_again
        self._is_kept_open = False
        self._stops = 0  # how often `stop` was called
        self._opened = Signal()

    async def __aenter__(self) -> Self:
        if self._lifetime.is_open:
            raise RuntimeError("the Processor is open already: it is entered once at a time")
        if self._lifetime.is_closed and not self._lifetime.is_left:
            raise RuntimeError("the Processor is still being left: enter it again after that")
        if self._lifetime.is_left:
            self._begin_again()
        self._is_kept_open = False
        await self._lifetime.enter()
        self._opened.notify()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        return await self._lifetime.leave(exc_type, exc, traceback)

    @asynccontextmanager
    async def lifespan(self, application: object = None) -> AsyncIterator[None]:
        """Be open as long as an application runs: `FastAPI(lifespan=processor.lifespan)`, or Starlette's."""
        async with self:
            yield

    def keep_open(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> Coroutine[Any, Any, None]:
        """Open the processor, and close it at `stop`: for a task of its own, where hooks open and close it.

        `await tasks.start(processor.keep_open)` returns when it is open; after
        `asyncio.create_task(processor.keep_open())` does `await processor.ready()`. A cancellation of the task closes
        it at once. A `stop` that comes before the first step of the task counts: nothing is opened then.

        Raises:
            RuntimeError: it is open already.
            Exception: the first of a subscriber, with `strict`.
        """
        return self._keep_open(self._stops, task_status)

    async def _keep_open(self, stops: int, task_status: TaskStatus[None]) -> None:
        if self._stops != stops:
            task_status.started()
            return
        async with self:
            self._is_kept_open = True
            task_status.started()
            await self._lifetime.running.until_stopped()

    async def ready(self) -> None:
        """Return when the processor is open. It may be already.

        Raises:
            RuntimeError: it was stopped instead.
        """
        stops = self._stops
        while not self._lifetime.is_open:
            if self._stops != stops:
                raise RuntimeError("the Processor was stopped before it was open")
            await self._opened.wait()

    async def stop(self) -> None:
        """Stop all streams, and return when what they did was delivered; after `keep_open`, when it is closed.

        A subscriber that then takes longer than `drain_timeout` seconds is closed. `run` and `outcome` raise
        `StreamStopped`, and iterators end. In a block, the block goes on, and `run` and `start` raise `RuntimeError`.
        In a callback it returns at once, since it would wait for that callback. Where nothing is open it does nothing.
        It may be called again while it waits: all calls wait for the same.
        """
        self._stops += 1
        self._opened.notify()
        lifetime = self._lifetime
        if lifetime.is_left or not (lifetime.is_open or lifetime.is_closed):
            return
        lifetime.stop()
        if not lifetime.is_calling():
            await (lifetime.until_left() if self._is_kept_open else lifetime.running.until_ended())
