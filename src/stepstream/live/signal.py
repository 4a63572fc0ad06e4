"""A signal: wake everybody who waits now. It costs nothing while nobody does."""

import anyio


class Signal:
    """Waiters sleep until the next `notify`. Who waits checks the condition again when woken."""

    __slots__ = ("event",)

    def __init__(self) -> None:
        self.event: anyio.Event | None = None
        """What they sleep on who wait now, None while nobody does."""

    async def wait(self) -> None:
        """Sleep until the next `notify`."""
        if self.event is None:
            self.event = anyio.Event()
        await self.event.wait()

    def notify(self) -> None:
        """Wake everybody who waits now."""
        if self.event is not None:
            self.event.set()
            self.event = None
