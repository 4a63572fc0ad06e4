"""One stream, from its source to the last delivery of what it did."""

import logging
from collections.abc import Callable
from typing import Any, Final

import anyio
import anyio.lowlevel

from stepstream.errors import JournalError, StepStreamError, StreamStopped
from stepstream.fold.accumulator import Accumulator
from stepstream.fold.outcome import Outcome, outcome_of
from stepstream.fold.stream_state import StreamState
from stepstream.live.fanout import StreamFanout
from stepstream.live.leases import Lease
from stepstream.live.lifetime import Lifetime
from stepstream.live.log_ids import ids_of_stream
from stepstream.live.pending import Signal
from stepstream.live.reader import Reader
from stepstream.live.settling import LateFanout, Settling
from stepstream.live.source import Source, close_unread
from stepstream.live.source_reader import read_source
from stepstream.live.stream_tap import StreamTap

CLOSE_WITHIN: Final = 5.0
"""Seconds that a journal has to take what is left of a stream that failed, and a source that is not read to close."""

_log = logging.getLogger("stepstream.live")


class LiveStream:
    """A stream that is read, or soon will be, and can be stopped from any task. `on_end` gets its state once it is read
    no more. The changes up to the event `deliver_after` are delivered to nobody, nor what is left when `lease` ends."""

    def __init__(
        self,
        accumulator: Accumulator,
        lifetime: Lifetime,
        on_end: Callable[[StreamState], None],
        *,
        deliver_after: int,
        tap: StreamTap | None = None,
        lease: Lease | None = None,
        **limits: Any,
    ) -> None:
        self.stream = accumulator.stream
        self.lifetime = lifetime
        self._on_end = on_end
        self._tap = tap
        self._is_stopped = False
        routes = lifetime.routes
        self._fanout = LateFanout(routes, deliver_after) if deliver_after else StreamFanout(routes)
        self._fanout.lease = lease
        self.settling = Settling(self.stream, self._fanout, deliver_after)
        self.stream.origin.variables, self.stream.origin.settling = self._fanout.variables, self.settling
        self.stream.wanted = routes.wanted
        shapes = lifetime.running.shapes
        self._reader = Reader(accumulator, routes, self._fanout, shapes=shapes, tap=tap, **limits)
        self._scope = anyio.CancelScope()
        if tap is not None:
            tap.stop = self._scope.cancel
        lifetime.running.begin(self)

    @property
    def begun(self) -> Signal:
        """Notified once a run of the stream is known."""
        return self._reader.begun

    def stop(self) -> None:
        """Read nothing more. What was folded is delivered, and `read` raises `StreamStopped`."""
        self._is_stopped = True
        self._scope.cancel()

    async def read(self, source: Source) -> Outcome:
        """Read `source` to its end, wait for the callbacks, and return how it ended. To be called once.

        Raises:
            StreamStopped: it was stopped before its end.
            StepStreamError: as `Processor.run` does.
        """
        try:
            try:
                await self._read(source)
            finally:
                self._on_end(self.stream)
                self.lifetime.routes.run_ends.after_stream(self.stream)
                self.lifetime.running.end_reading(self)
            outcome = self._reader.finish()
            await self._close_journal("its stream ended before it")
        except Exception as exc:
            if isinstance(exc, StepStreamError):
                exc.outcome = outcome_of(self.stream, None)
            await self._give_up_journal(exc)
            await self._delivered()
            raise
        else:
            await self._delivered()
            return outcome
        finally:
            await self._give_up_journal(StreamStopped("the task of its stream was cancelled"))
            self.stream.release()
            self.settling.end()
            self.lifetime.running.end(self)

    async def _read(self, source: Source) -> None:
        """Read `source` to its end, unless it is stopped before."""
        is_whole = is_begun = False
        try:
            with self._scope:
                if not self._is_stopped:
                    await self.lifetime.running.turn(self)
                    is_begun = True
                    await read_source(self._reader, source, self._fanout, self.lifetime)
                    self._reader.fold_end()
                    if self._tap is not None:
                        await self._tap.settle(self._reader.plain.go_on)
                    is_whole = True
        except StepStreamError as exc:
            if self._is_stopped:
                raise _stopped() from exc  # a source may fail at being cancelled
            raise
        finally:
            if not is_begun:
                await self._discard(source)
        if not is_whole:
            raise (self._tap and self._tap.failure) or _stopped()

    async def _discard(self, source: Source) -> None:
        """Close a source that is not read, in limited time. What fails then is logged."""
        try:
            with anyio.move_on_after(CLOSE_WITHIN, shield=True):
                await close_unread(source)
        except Exception as exc:  # noqa: BLE001 - of the source, of which nothing is wanted any more
            _log.warning("a source that was not read could not be closed", exc_info=exc)

    async def _close_journal(self, error: str) -> None:
        """Write what is left to the journal, and how each run is left: `error` is why one is interrupted."""
        tap, self._tap = self._tap, None
        if tap is not None:
            try:
                await tap.close(error)
            except anyio.get_cancelled_exc_class():
                self._tap = tap  # it is not closed yet
                raise
            finally:
                if self._tap is None and tap.early.unwritten:
                    what = "%d events are in no journal: they came before any run that has an id"
                    _log.warning(what, tap.early.unwritten, extra=ids_of_stream(self.stream))

    async def _give_up_journal(self, failure: Exception) -> None:
        """Do that after a failure, unless it was done, in limited time. What fails then is logged."""
        if self._tap is None:
            return
        error = str(failure) if isinstance(failure, StepStreamError) else type(failure).__name__
        try:
            with anyio.move_on_after(CLOSE_WITHIN, shield=True):
                await self._close_journal(error)
        except JournalError as exc:
            if exc is not failure:
                ids = ids_of_stream(self.stream)
                _log.warning("the journal of a stream that failed could not be closed", exc_info=exc, extra=ids)

    async def _delivered(self) -> None:
        """Return when the callbacks have had every change."""
        if self._fanout.is_pending:
            await anyio.lowlevel.checkpoint()  # mostly they have had it then
        for mailbox, pending in self._fanout.until_now():
            if mailbox.has_callback:
                await self.lifetime.deadlines.wait(mailbox, pending.wait)


def _stopped() -> StreamStopped:
    return StreamStopped("the stream was stopped before it ended")
