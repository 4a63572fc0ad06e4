"""`POST /ingest`: a body that is an event stream becomes a run, chunk by chunk, as fast as its journal takes it."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any, Final

import anyio

from stepstream.asgi.http import Receive
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

IDLE_TIMEOUT: Final = 300.0
"""Seconds for which a body may bring nothing."""

MAX_IGNORED: Final = 2**20
"""How many bytes of a body are read and thrown away after its end, or where it is refused."""

IGNORE_FOR: Final = 2.0
"""For how many seconds."""

CHECK_WITHIN: Final = 5.0
"""Seconds that a journal has to say whether there is room."""

BOUNDS: Final[Mapping[str, Any]] = {"retain": 4, "max_open_runs": MAX_RUNS, "max_run_bytes": 64 * 2**20}
"""What is known of the runs of one body while it is read."""

ANSWERS: Final[Sequence[tuple[type[Exception], int, str]]] = (
    (FrameTooLarge, 413, "event_too_large"),
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


class ClientLeft(StreamTruncated):
    """The client closed its connection before the end of its body."""


class Body:
    """The bytes of a request, as they come."""

    def __init__(self, receive: Receive, idle_timeout: float) -> None:
        self.size = 0
        self.is_whole = False
        """Whether all of it has come."""
        self._receive = receive
        self._idle_timeout = idle_timeout
        self._waiting: anyio.CancelScope | None = None
        self._is_stopped = False

    async def chunks(self) -> AsyncGenerator[bytes]:
        """Yield the bytes of the body.

        Raises:
            ClientLeft: the client left before its end.
            IdleTimeout: nothing came for too long.
            StreamStopped: `stop` was called.
        """
        while not self.is_whole:
            message = await self._next()
            if message["type"] == "http.disconnect":
                raise ClientLeft(f"the client left after {self.size:,} bytes")
            self.is_whole = not message.get("more_body", False)
            chunk = message.get("body", b"")
            self.size += len(chunk)
            if chunk:
                yield chunk

    def stop(self) -> None:
        """Read nothing more."""
        self._is_stopped = True
        if self._waiting is not None:
            self._waiting.cancel()

    async def ignore_rest(self) -> int:
        """Read on for a while, and return how many bytes came: a client that sends sees no answer."""
        before = self.size
        with anyio.move_on_after(IGNORE_FOR):
            while not self.is_whole and self.size - before < MAX_IGNORED:
                message = await self._receive()
                self.is_whole = message["type"] == "http.disconnect" or not message.get("more_body", False)
                self.size += len(message.get("body", b""))
        return self.size - before

    async def _next(self) -> Any:
        message = None
        if not self._is_stopped:
            with anyio.move_on_after(self._idle_timeout) as self._waiting:
                message = await self._receive()
            self._waiting = None
        if message is not None:
            return message
        if self._is_stopped:
            raise StreamStopped("the server is shutting down")
        raise IdleTimeout(f"nothing came for {self._idle_timeout:g} seconds", self._idle_timeout)


class Ingests:
    """Takes bodies into `journal`, `most` at a time. One that brings nothing for `idle_timeout` seconds is given up."""

    def __init__(self, journal: Journal, *, most: int = MAX_INGESTS, idle_timeout: float = IDLE_TIMEOUT) -> None:
        self._journal = journal
        self._most = most
        self._idle_timeout = idle_timeout
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
        run_id, after = await self._checked(request)
        body, journal = Body(receive, self._idle_timeout), BodyJournal(self._journal, run_id, after)
        answer: tuple[int, Mapping[str, Any]]
        self._bodies[body] = None
        try:
            try:
                async with Processor(journal=journal, **BOUNDS) as processor:
                    outcome = await processor.run(body.chunks())
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

    async def _checked(self, request: Request) -> tuple[str | None, int | None]:
        """Return the run that a body is of and where it begins, as the request says.

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
        await self._check_room(run_id)
        return run_id, None if after is None else int(after)

    async def _check_room(self, run_id: str | None) -> None:
        try:
            with anyio.fail_after(CHECK_WITHIN):
                if run_id is None or await info_of(self._journal, run_id) is None:
                    await self._journal.check_room()
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
