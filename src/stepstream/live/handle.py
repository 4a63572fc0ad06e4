"""The handle of a started stream, which gives its outcome."""

import logging
from collections.abc import Awaitable, Callable
from typing import cast

import anyio
import anyio.lowlevel

from stepstream.errors import StreamTruncated, TransportError
from stepstream.fold.accumulator import Accumulator
from stepstream.fold.outcome import Outcome, outcome_of
from stepstream.live.cancellation import is_cancelled_from_outside
from stepstream.live.log_ids import ids_of_stream
from stepstream.live.pending import Signal
from stepstream.live.source import Source
from stepstream.live.tracebacks import without_locals

_log = logging.getLogger("stepstream.live")


class StreamHandle:
    """A stream that is being read in a task of the processor."""

    def __init__(self, check: Callable[[], None]) -> None:
        self._check = check
        self._outcome: Outcome | None = None
        self._error: Exception | None = None
        self._waiting = 0  # tasks in `outcome`
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
            while not self.is_finished:
                self._check()
                await self._ended.wait()
        finally:
            self._waiting -= 1
        if self._error is not None:
            await anyio.lowlevel.checkpoint_if_cancelled()  # a task cancelled together with the stream raises only that
            raise self._error
        return cast(Outcome, self._outcome)

    async def follow(
        self, read: Callable[[Source, Accumulator], Awaitable[Outcome]], source: Source, accumulator: Accumulator
    ) -> None:
        """Read the stream; for the processor. A failure is kept for `outcome`, and logged if no task is there."""
        try:
            self._outcome = await read(source, accumulator)
        except anyio.get_cancelled_exc_class() as exc:
            if is_cancelled_from_outside():
                raise
            # not this task, but something that the source awaited was cancelled: the source failed
            error = TransportError(f"the source was cancelled by what it awaited ({type(exc).__name__})")
            error.outcome = outcome_of(accumulator.stream, None)
            self._fail(error, accumulator)
        except Exception as exc:  # noqa: BLE001 - raised by `outcome`
            self._fail(exc, accumulator)
            here = exc.__traceback__
            without_locals(exc.with_traceback(here and here.tb_next))  # this function has not ended: it is left out
        finally:
            if not self.is_finished:
                self._error = StreamTruncated("the stream was cancelled before it ended")
                self._error.outcome = outcome_of(accumulator.stream, None)
            self._ended.notify()

    def _fail(self, error: Exception, accumulator: Accumulator) -> None:
        self._error = error
        if not self._waiting:
            ids = ids_of_stream(accumulator.stream)
            _log.error("a started stream failed: %s", error, exc_info=error, extra=ids)
