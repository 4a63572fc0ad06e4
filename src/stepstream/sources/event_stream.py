"""An open stream over HTTP: its bytes, the limits on its time, and its resumption where a connection breaks.

The invariant: a reader sees each event whole or not at all, and none twice, over any number of connections.

A connection may break inside an event. The bytes of that part are out by then, so `Reconnected` follows, at which the
reader drops them, and the new connection asks for what comes after the last event that was complete (`Last-Event-ID`).
`StreamPosition` reads that id from the bytes as they pass; it counts only with the blank line that ends its event.

    id: 7 ⏎ data: x ⏎ ⏎ data: y ─ break ─ Reconnected("7") ─ GET, Last-Event-ID: 7 ─ data: y ⏎ ⏎

What would break it: a server that ignores `Last-Event-ID`, or sends no ids, sends events again. The texts they add to
are right again with the next full object. A POST is not resumed: that would send it a second time. Nor is a GET whose
runs have all ended (`StreamEnd`): there is nothing more to come.

Four limits hold at once, and the nearest of them bounds each wait: silence, the time from one event to the next, one
event from its first byte to its last (a comment every few seconds ends a silence, but neither begins nor completes an
event), and everything. The time of events counts only while bytes are waited for: what the reader does in between is
not the server's delay.
"""

import math
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from typing import Any

import anyio

from stepstream.errors import APIError, StepStreamError, TransportError
from stepstream.live.marks import Reconnected
from stepstream.live.refusals import request_id_of
from stepstream.sources.backoff import Backoff
from stepstream.sources.chunks import awaited_chunk, next_chunk
from stepstream.sources.http_errors import is_transient, translate_http_error, unexpected_response
from stepstream.sources.limits import Limit, Limits
from stepstream.sources.response import NO_CONTENT, StreamRequest, open_response
from stepstream.sources.response_body import close_response
from stepstream.sources.retry_log import log_retry
from stepstream.sources.stream_end import StreamEnd
from stepstream.sources.stream_position import StreamPosition
from stepstream.sources.url_redaction import redact_url


class EventStream:
    """An open stream of events: iterate over it, once, for its bytes, and `Reconnected` where a new connection begins.

    It ends with `done`: what follows is not read. Status and headers are those of the newest connection.
    """

    def __init__(self, request: StreamRequest, limits: Limits) -> None:
        self._request = request
        self._limits = limits
        self._url = redact_url(request.url)
        self._backoff = Backoff()
        self._end = StreamEnd()
        self._position = StreamPosition(end=self._end)
        self._connection = AsyncExitStack()
        self._response: Any = None
        self._chunks: Any = None
        self._waited = 0.0  # seconds in which bytes were waited for, on this and all earlier connections
        self._is_quick = False  # the chunk before was there at once: the next one may be too
        self._nearest: Limit = "idle"  # the limit that bounds the present wait
        self._has_ended = False

    def __repr__(self) -> str:
        return f"<EventStream {self._url} {self.status_code}>"

    @property
    def status_code(self) -> int:
        """The status of the response: 200."""
        return int(self._response.status_code)

    @property
    def reason_phrase(self) -> str:
        """The reason phrase of the response, maybe empty."""
        return str(self._response.reason_phrase)

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers of the response."""
        headers: Mapping[str, str] = self._response.headers
        return headers

    @property
    def is_success(self) -> bool:
        """Whether the status is a success, which that of an open stream is."""
        return 200 <= self.status_code < 300

    @property
    def request_id(self) -> str | None:
        """The id under which the server knows the request, or None."""
        return request_id_of(self.headers)

    @property
    def is_done(self) -> bool:
        """Whether `done` was received."""
        return self._position.is_done

    @property
    def is_over(self) -> bool:
        """Whether nothing of the runs is missing, should the stream end here. Asked after its last bytes."""
        has_ids = self._limits.is_resumed and bool(self._position.last_event_id)
        return self._position.is_over(or_waiting=not has_ids)

    @property
    def run_id(self) -> str | None:
        """The id of the run that was named last, or of the response; None where none was."""
        return self._end.run_id

    @property
    def run_status(self) -> object:
        """Its status, as the events said; None where no run was named."""
        return self._end.status

    @property
    def time_left(self) -> float:
        """The seconds that are left of `total_timeout`."""
        return self._limits.deadline - anyio.current_time()

    def __aiter__(self) -> "EventStream":
        return self

    async def __anext__(self) -> bytes | Reconnected:
        while not self._has_ended:
            try:
                chunk = await self._next()
            except TransportError as failure:
                if not self._is_resumable:
                    self._has_ended = True
                    raise
                if not self.is_over:
                    return await self._resume(failure)
                chunk = None
            if chunk:
                return chunk
            if chunk is None and self._is_resumable and not self.is_over:
                return await self._resume(None)
            self._has_ended = self._has_ended or chunk is None
        await self.aclose()
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """Close the connection."""
        await self._connection.aclose()

    async def begin(self, attempts: int, is_retryable: Callable[[StepStreamError], bool]) -> None:
        """Open the first connection, in so many attempts at most. `is_retryable` decides after which failures."""
        for attempt in range(1, attempts + 1):
            try:
                await self._open()
                break
            except StepStreamError as failure:
                if attempt == attempts or self.time_left <= 0 or not is_retryable(failure):
                    raise
                await self._wait_for_retry(failure)
        if self.status_code == NO_CONTENT:
            raise unexpected_response(self._response, f"{self._url} answered 204: expected 200 and a stream")

    @property
    def _is_resumable(self) -> bool:
        return self._limits.is_resumed and not self._has_ended and self.time_left > 0

    async def _open(self) -> None:
        """Open a connection, which begins after the last complete event."""
        await self.aclose()
        stack = AsyncExitStack()
        response = open_response(self._request, self._position.last_event_id)
        try:
            with anyio.fail_after(_finite(self.time_left)):
                self._response = await stack.enter_async_context(response)
        except TimeoutError as exc:
            raise self._timeout_error("all") from exc
        self._chunks = self._response.aiter_bytes()
        stack.push_async_callback(close_response, self._response, self._chunks)
        self._connection = stack
        before = self._position
        self._position = StreamPosition(before.last_event_id, before.retry, now=self._waited, end=self._end)
        self._backoff.opened(anyio.current_time())

    async def _next(self) -> bytes | None:
        """Return the next chunk, up to the end of `done`, which may leave nothing of it; None at the end of a body."""
        limits = self._limits
        try:
            following = next_chunk if self._is_quick else awaited_chunk
            chunk, waited = await following(self._chunks, self._chunk_timeout)
        except TimeoutError as exc:
            raise self._timeout_error(self._nearest) from exc
        except Exception as exc:
            raise translate_http_error(exc, self._url, limits.idle_timeout) from exc
        self._waited += waited
        self._is_quick = not waited
        if chunk is None:
            return None
        done_at = self._position.feed(chunk, self._waited)
        self._has_ended = done_at is not None
        return chunk if done_at is None else chunk[:done_at]

    def _chunk_timeout(self) -> float:
        """Return for how many seconds the next chunk may be waited for, and note which limit that is."""
        seconds, self._nearest = self._limits.wait(self._position, self._waited, self.time_left)
        return seconds

    def _timeout_error(self, limit: Limit) -> TransportError:
        return self._limits.error(self._url, limit)

    async def _resume(self, failure: StepStreamError | None) -> Reconnected:
        """Wait and reconnect, as often as `total_timeout` allows, until the server answers 204 or refuses for good."""
        self._has_ended = True  # for good, where this raises or is cancelled
        await self.aclose()
        while True:
            await self._wait_for_retry(failure)
            try:
                await self._open()
            except StepStreamError as exc:
                if self.time_left <= 0 or not is_transient(exc):
                    raise
                failure = exc
                continue
            if self.status_code == NO_CONTENT:
                await self.aclose()
                raise StopAsyncIteration
            self._has_ended = False
            return Reconnected(self._position.last_event_id)

    async def _wait_for_retry(self, failure: StepStreamError | None) -> None:
        """Wait before the next attempt.

        Raises:
            TransportError: the time for everything is over.
        """
        retry_after = failure.retry_after if isinstance(failure, APIError) else None
        delay = self._backoff.failed(anyio.current_time(), retry=self._position.retry, retry_after=retry_after)
        left = self.time_left
        reason = "the stream ended before its run did" if failure is None else failure
        log_retry(self._url, delay, reason, run_id=self._end.run_id, thread_id=self._end.thread_id)
        await anyio.sleep(min(delay, max(0.0, left)))
        if delay >= left or self.time_left <= 0:  # a timer may ring a little before the deadline
            raise self._timeout_error("all") from failure


def _finite(seconds: float) -> float | None:
    """Return a number of seconds as `fail_after` takes it: None for no limit, at least 0."""
    return None if seconds == math.inf else max(0.0, seconds)
