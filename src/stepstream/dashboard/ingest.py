"""`POST /ingest`: a body that is an event stream becomes a run, chunk by chunk, as fast as its journal takes it."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import anyio

from stepstream.asgi.http import Receive
from stepstream.dashboard.body import IDLE_TIMEOUT, MAX_BODY, Body, BodyTooLarge, ClientLeft
from stepstream.dashboard.positions import MAX_ID, MAX_RUNS, BodyJournal
from stepstream.errors import (
    FrameTooLarge,
    IdleTimeout,
    JournalConflict,
    JournalError,
    JournalFull,
    JournalGap,
    ProtocolError,
    StepStreamError,
    StreamFailed,
    StreamStopped,
    StreamTruncated,
    TransportError,
)
from stepstream.fold.outcome import Outcome
from stepstream.journal.reading import Journal
from stepstream.live.pending import Signal
from stepstream.live.processor import Processor
from stepstream.relay.requests import EVENT_STREAM, Refused, Request
from stepstream.relay.run_reader import info_of

MAX_INGESTS: Final = 256
"""How many bodies are read at a time."""

CHECK_WITHIN: Final = 5.0
"""Seconds that a journal has to say whether there is room."""

BOUNDS: Final[Mapping[str, Any]] = {"retain": 4, "max_open_runs": MAX_RUNS, "max_run_bytes": 64 * 2**20}
"""What is known of the runs of one body while it is read."""


ANSWERS: Final[Sequence[tuple[type[Exception], int, str]]] = (
    (FrameTooLarge, 413, "event_too_large"),
    (BodyTooLarge, 413, "body_too_large"),
    (IdleTimeout, 408, "idle"),
    (StreamTruncated, 422, "truncated"),
    (StreamStopped, 503, "shutting_down"),
    (JournalFull, 503, "journal_full"),
    (JournalConflict, 409, "conflict"),
    (JournalGap, 409, "gap"),
    (JournalError, 503, "journal_failed"),
    (ProtocolError, 422, "unexpected_run"),
    (TransportError, 400, "broken"),
)
"""The status of the answer, and its code, for what ends a body early. The first class that an error is of counts."""


class Ingests:
    """Takes bodies into `journal`, `most` at a time, each of at most `max_body` bytes.

    One that brings nothing for `idle_timeout` seconds is given up.
    """

    def __init__(
        self,
        journal: Journal,
        *,
        most: int = MAX_INGESTS,
        idle_timeout: float = IDLE_TIMEOUT,
        max_body: int = MAX_BODY,
    ) -> None:
        self._journal = journal
        self._most = most
        self._idle_timeout, self._max_body = idle_timeout, max_body
        self._bodies: dict[Body, None] = {}
        self._is_draining = False
        self._left = Signal()

    def __repr__(self) -> str:
        return f"<Ingests: {len(self._bodies):,} of {self._most:,}>"

    def __len__(self) -> int:
        return len(self._bodies)

    async def drain(self, grace: float) -> None:
        """Take no more, and return when those that are being read have ended, which they are made to after `grace`."""
        self._is_draining = True
        with anyio.move_on_after(grace):
            await self._until_none()
        for body in self._bodies:
            body.stop()
        await self._until_none()

    async def answer(self, request: Request, receive: Receive) -> tuple[int, Mapping[str, Any]]:
        """Read the body of a request, and return the status and the object of the answer.

        Raises:
            Refused: it is not read.
        """
        run_id, after, continued = await self._checked(request)
        body, journal = Body(receive, self._idle_timeout, self._max_body), BodyJournal(self._journal, run_id, after)
        answer: tuple[int, Mapping[str, Any]]
        self._bodies[body] = None
        try:
            try:
                async with Processor(journal=journal, **BOUNDS) as processor:
                    outcome = await processor.run(body.items(continued))
            except ClientLeft:
                raise
            except StreamFailed as exc:
                answer = 200, {**_told(exc.outcome, body, journal), "error": _error("stream_error", str(exc))}
            except StepStreamError as exc:
                answer = _refusal(exc, body, journal)
            else:
                answer = _success(outcome, body, journal)
            ignored = await body.ignore_rest()
            return answer[0], {**answer[1], **({"ignored_bytes": ignored} if ignored else {})}
        finally:
            del self._bodies[body]
            self._left.notify()

    async def _checked(self, request: Request) -> tuple[str | None, int | None, str]:
        """Return the run that a body is of and where it begins, as the request says; and the run that it goes on with.

        Raises:
            Refused: the body is not to be read.
        """
        headers, query = request.headers, request.query
        if headers.get("content-type", "").partition(";")[0].strip().lower() != EVENT_STREAM:
            raise Refused(415, f"Expected a body of type {EVENT_STREAM}.")
        if headers.get("content-encoding", "identity").strip().lower() != "identity":
            raise Refused(415, "Expected a body without content encoding.")
        run_id, after = query.get("run"), query.get("after")
        if run_id is not None and not 0 < len(run_id) <= MAX_ID:
            raise Refused(400, f"Expected `run` as an id of at most {MAX_ID} characters.")
        if after is not None and not (after.isascii() and after.isdecimal() and len(after) < 19):
            raise Refused(400, "Expected `after` as a position: a number of at least 0.")
        if self._is_draining:
            raise Refused(503, "The server is shutting down.", retry_after="5")
        if len(self._bodies) >= self._most:
            raise Refused(503, f"There are {self._most:,} bodies being read already.", retry_after="5")
        begins = None if after is None else int(after)
        is_known = await self._has_room(run_id)
        return run_id, begins, (run_id or "") if is_known and begins != 0 else ""

    async def _has_room(self, run_id: str | None) -> bool:
        """Check that there is room for a body, and return whether its run is known."""
        try:
            with anyio.fail_after(CHECK_WITHIN):
                if run_id is not None and await info_of(self._journal, run_id) is not None:
                    return True
                await self._journal.check_room()
                return False
        except JournalFull:
            raise Refused(503, "The journal has no room for another run.", retry_after="30") from None
        except (JournalError, TimeoutError):
            raise Refused(503, "The journal cannot be reached.", retry_after="5") from None

    async def _until_none(self) -> None:
        while self._bodies:
            await self._left.wait()


def _success(outcome: Outcome, body: Body, journal: BodyJournal) -> tuple[int, Mapping[str, Any]]:
    if journal.positions:
        return 200, _told(outcome, body, journal)
    return 422, {**_told(outcome, body, journal), "error": _error("no_run", "no event of the body is of a run")}


def _refusal(failure: StepStreamError, body: Body, journal: BodyJournal) -> tuple[int, Mapping[str, Any]]:
    status, code = next(
        ((status, code) for kind, status, code in ANSWERS if isinstance(failure, kind)), (400, "broken")
    )
    return status, {**_told(failure.outcome, body, journal), "error": _error(code, str(failure))}


def _told(outcome: Outcome | None, body: Body, journal: BodyJournal) -> dict[str, Any]:
    """Return what came, and what was kept of it."""
    run_ids = list(journal.positions)
    return {
        "run_ids": run_ids,
        "status": (outcome.status if outcome is not None else None) or "",
        "position": journal.positions[run_ids[-1]] if run_ids else 0,
        "positions": journal.positions,
        "skipped": journal.skipped,
        "events": outcome.events if outcome is not None else 0,
        "anomalies": outcome.anomaly_count if outcome is not None else 0,
        "bytes": body.size,
    }


def _error(code: str, message: str) -> dict[str, str]:
    return {"code": code, "message": message}
