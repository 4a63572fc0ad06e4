"""The handle of a started stream, which gives its outcome and stops it."""

import logging
from collections.abc import Awaitable, Generator
from typing import Any, cast

import anyio.lowlevel

from stepstream.errors import StreamStopped, StreamTruncated
from stepstream.fold.outcome import Outcome, outcome_of
from stepstream.live.log_ids import ids_of_stream
from stepstream.live.pending import Signal
from stepstream.live.settling import Settled
from stepstream.live.source import Source
from stepstream.live.stream import LiveStream
from stepstream.live.tracebacks import without_locals

_log = logging.getLogger("stepstream.live")


class StreamHandle:
    """A stream that is being read in a task of the processor."""

    def __init__(self, stream: LiveStream) -> None:
        self._stream: LiveStream | None = stream  # until it has ended: nothing of it is kept then
        self._lifetime = stream.lifetime
        self._settling = stream.settling
        self._run_id: str | None = None
        self.context: Any = stream.stream.context
        """What `start` was given."""
        self._outcome: Outcome | None = None
        self._error: Exception | None = None
        self._waiting = 0  # tasks in `outcome`
        self._ended = Signal()
        self._begun = stream.begun

    def __repr__(self) -> str:
        state = "failed" if self._error else self._outcome or "running"
        return f"<StreamHandle {state}>"

    @property
    def run_id(self) -> str | None:
        """The id of the newest run of the stream; None while no event has named one."""
        if self._stream is not None:
            self._run_id = next(reversed(self._stream.stream.runs), None)
        return self._run_id

    @property
    def is_finished(self) -> bool:
        """Whether the stream has ended, in whatever way."""
        return self._outcome is not None or self._error is not None

    def settled(self, run_id: str) -> Settled:
        """Return the newest event of a run that is settled, as `Processor.settled` does; of this stream."""
        return Settled.of(self._settling, run_id, self._lifetime)

    async def begun(self) -> str:
        """Return the id of the stream's run, as soon as an event has named one.

        Raises:
            StepStreamError: the stream ended before, as `outcome` raises it.
        """
        self._waiting += 1
        try:
            while self.run_id is None and not self.is_finished:
                await self._begun.wait()
        finally:
            self._waiting -= 1
        if self.run_id is None:
            raise self._error or StreamTruncated("the stream ended before an event named its run")
        return self.run_id

    async def outcome(self) -> Outcome:
        """Wait for the stream to end, and return or raise what `Processor.run` would.

        Raises:
            StreamStopped: the stream was stopped before it ended, by `cancel` or by `Processor.stop`.
            StreamTruncated: also where the processor was left or cancelled before the stream ended.
            RuntimeError: awaited in a callback, which would wait for itself.
        """
        self._waiting += 1
        try:
            while not self.is_finished:
                self._lifetime.check_outside_callbacks("outcome()", "await it in a task of your own")
                await self._ended.wait()
        finally:
            self._waiting -= 1
        if self._error is not None:
            await anyio.lowlevel.checkpoint_if_cancelled()  # a task cancelled together with the stream raises only that
            raise self._error
        return cast(Outcome, self._outcome)

    def cancel(self) -> Awaitable[None]:
        """Stop the stream now: read nothing more. What was folded is delivered, and `outcome` raises `StreamStopped`.

        To be awaited or not: an await returns when the stream has ended, whatever its outcome; in a callback at once,
        since it would wait for that callback. A stream that has ended stays as it is.
        """
        if self._stream is not None:
            self._stream.stop()
        return _Ending(self)

    async def ended(self) -> None:
        """Return when the stream has ended, in whatever way; in a callback at once."""
        while not self.is_finished and not self._lifetime.is_calling():
            await self._ended.wait()

    async def _follow(self, stream: LiveStream, source: Source) -> None:
        """Read the stream; for the processor. A failure is kept for `outcome`, and logged if no task is there."""
        try:
            self._outcome = await stream.read(source)
        except Exception as exc:  # noqa: BLE001 - raised by `outcome`
            self._fail(exc, stream)
            here = exc.__traceback__
            without_locals(exc.with_traceback(here and here.tb_next))  # this function has not ended: it is left out
        finally:
            if not self.is_finished:
                self._error = StreamTruncated("the stream was cancelled before it ended")
                self._error.outcome = outcome_of(stream.stream, None)
            self._run_id, self._stream = self.run_id, None
            self._ended.notify()
            self._begun.notify()
            del stream, source  # a traceback that is kept leads here: by `f_back`, since 3.12

    def _fail(self, error: Exception, stream: LiveStream) -> None:
        self._error = error
        if not self._waiting and not isinstance(error, StreamStopped):
            ids = ids_of_stream(stream.stream)
            _log.error("a started stream failed: %s", error, exc_info=error, extra=ids)


class _Ending:
    """Waits for the end of a stream, where it is awaited."""

    def __init__(self, handle: StreamHandle) -> None:
        self._handle = handle

    def __await__(self) -> Generator[Any, Any, None]:
        return self._handle.ended().__await__()
