"""A signal: wake everybody who waits now. It costs nothing while nobody does."""

import anyio


class Signal:
    """Waiters sleep until the next `notify`. Who waits checks the condition again when woken."""

    __slots__ = ("_event",)

    def __init__(self) -> None:
        self._event: anyio.Event | None = None

    async def wait(self) -> None:
        """Sleep until the next `notify`."""
        if self._event is None:
            self._event = anyio.Event()
        await self._event.wait()

    def notify(self) -> None:
        """Wake everybody who waits now."""
        if self._event is not None:
            self._event.set()
            self._event = None
