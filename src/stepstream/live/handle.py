"""A stream that was started: where its outcome will be."""

import logging
from collections.abc import Awaitable, Callable

from stepstream.errors import StreamTruncated
from stepstream.live.outcome import Outcome
from stepstream.live.signal import Signal
from stepstream.live.source import Source

_log = logging.getLogger("stepstream.live")


class StreamHandle:
    """A stream that is being read in a task of the processor."""

    def __init__(self, check: Callable[[], None]) -> None:
        self._check = check
        self._outcome: Outcome | None = None
        self._error: Exception | None = None
        self._waiting = 0
        self._ended = Signal()

    def __repr__(self) -> str:
        state = "failed" if self._error else self._outcome or "running"
        return f"<StreamHandle {state}>"

    @property
    def is_finished(self) -> bool:
        """Whether the stream has ended, in whatever way."""
        return self._outcome is not None or self._error is not None

    async def outcome(self) -> Outcome:
        """Wait for the stream to end, and return or raise what `Processor.run` would.

        Raises:
            StreamTruncated: also where the processor was left or cancelled before the stream ended.
            RuntimeError: awaited in a callback, which would wait for itself.
        """
        self._waiting += 1
        try:
            while self._outcome is None:
                if self._error is not None:
                    raise self._error
                self._check()
                await self._ended.wait()
        finally:
            self._waiting -= 1
        return self._outcome

    async def follow(
        self, read: Callable[[Source, object], Awaitable[Outcome]], source: Source, context: object
    ) -> None:
        """Read the stream; for the processor. Its failure is kept for `outcome`, and logged where nobody waits."""
        try:
            self._outcome = await read(source, context)
        except Exception as exc:  # noqa: BLE001 - raised by `outcome`
            self._error = exc
            if not self._waiting:
                _log.error("a started stream failed: %s", exc, exc_info=exc)
        finally:
            if not self.is_finished:
                self._error = StreamTruncated("the stream was cancelled before it ended")
            self._ended.notify()
