"""The work on one claim: a run is read from the journal and delivered, until it ends or nothing is to be expected."""

import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from stepstream.errors import JournalFailed, RunInterrupted, StepStreamError, StreamStopped, StreamTruncated
from stepstream.journal.claiming import GroupClaims, Verb
from stepstream.journal.following import Following, followed
from stepstream.journal.run_info import Cursor
from stepstream.live.journal import Checkpoint, RunPiece
from stepstream.live.processor import Processor
from stepstream.workers.dead_letters import letter_of_run, reason_of
from stepstream.workers.worked import WorkedRun

_log = logging.getLogger("stepstream.workers")


class RunWork:
    """The work on one run."""

    def __init__(
        self, run: WorkedRun, journal: Any, processor: Processor, claims: GroupClaims, interrupted_after: float
    ) -> None:
        self.run = run
        self.buried = 0
        """How many letters were written that are of the run as a whole."""
        self._journal, self._processor, self._claims = journal, processor, claims
        self._interrupted_after = interrupted_after
        self._following: Following | None = None

    async def do(self) -> None:
        """Deliver what comes of the run, and note in the end what becomes of it."""
        run = self.run
        if run.claim.is_spent:
            return self._bury(f"taken over {run.claim.takeovers - 1:,} times without progress")
        self._processor.forget(run.claim.run_id)
        run.handle = self._processor.start(self._source(), run.claim, lease=run.lease)
        verb = await self._read(run)
        with run.waiting:
            await run.handle.settled(run.claim.run_id)  # what an iterator has to take, too
        run.verb = verb
        if verb != "finish":
            self._processor.forget(run.claim.run_id)
        return None

    async def _read(self, run: WorkedRun) -> Verb:
        """Return what becomes of the run, once its stream is over."""
        assert run.handle is not None
        try:
            await run.handle.outcome()
        except RunInterrupted as exc:
            self._write(reason_of(exc))
            return "let go"
        except (StreamStopped, JournalFailed):
            return "give back"
        except StreamTruncated as exc:
            is_empty = self._following is not None and not self._following.position
            if not self._is_over():
                self._bury("JournalGap: no event of the run is there" if is_empty else reason_of(exc))
        except StepStreamError as exc:
            self._bury(reason_of(exc))
        except Exception as exc:  # noqa: BLE001 - one run that cannot be folded is no reason to stop all others
            _log.error("a run could not be read", exc_info=exc, extra={"run_id": run.claim.run_id})
            self._bury(reason_of(exc))
        if run.verb == "bury":
            return "bury"
        info = None if self._following is None else self._following.info
        return "finish" if info is not None and info.status == "ended" else "let go"

    def _is_over(self) -> bool:
        """Return whether the journal has no more of the run: its stream may have ended before it."""
        following, info = self._following, None if self._following is None else self._following.info
        if following is None or info is None:
            return False
        return info.status in ("ended", "waiting") and following.position >= info.position > 0

    def _bury(self, reason: str) -> None:
        self.run.verb = "bury"
        self._write(reason)

    def _write(self, reason: str, *parts: str) -> None:
        run_id, position = self.run.claim.run_id, self.run.settled
        letter = letter_of_run(self._claims.letter_id(run_id, *parts), run_id, position, reason, time.time())
        self.run.add_letter(position + 1, letter)
        self.buried += 1
        _log.warning("gave up a run: %s", reason, extra={"run_id": run_id})

    @asynccontextmanager
    async def _source(self) -> AsyncIterator[AsyncIterator[RunPiece]]:
        run = self.run
        after = Cursor(0, run.position)
        async with followed(
            self._journal, run.claim.run_id, after, self._interrupted_after, until_waiting=True
        ) as following:
            self._following = following
            yield self._pieces(following)

    async def _pieces(self, following: Following) -> AsyncIterator[RunPiece]:
        settled = self.run.position
        async for piece in following:
            if isinstance(piece.held, Checkpoint) and piece.held.last > settled:
                gone = f"{settled + 1:,} to {piece.held.last:,}"
                self._write(f"JournalGap: the events {gone} are gone", gone)
            self.run.newest = max(self.run.newest, following.position)
            yield piece
