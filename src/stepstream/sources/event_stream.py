"""An open stream over HTTP: its bytes, the limits on its time, and its resumption where a connection breaks."""

import math
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from typing import Any, Literal, TypeAlias

import anyio
import msgspec

from stepstream.errors import APIError, IdleTimeout, StepStreamError, TransportError
from stepstream.live.source import Reconnected
from stepstream.sources.backoff import Backoff
from stepstream.sources.chunks import awaited_chunk, next_chunk
from stepstream.sources.opening import NO_CONTENT, Request, leave, may_pass, opened, translated
from stepstream.sources.options import check_seconds
from stepstream.sources.pulse import Pulse
from stepstream.sources.refusal import place, request_id_of
from stepstream.sources.resumption import Resumption

Limited: TypeAlias = Literal["all", "event", "idle"]
"""What a limit is on: everything, one event from its first byte to its last, or silence."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How long an open stream may take for what, in seconds, and whether it is taken up again where it breaks."""

    idle_timeout: float
    event_timeout: float
    total_timeout: float | None
    deadline: float
    """The time by anyio's clock when `total_timeout` is over."""
    is_resumed: bool

    def __post_init__(self) -> None:
        check_seconds(idle_timeout=self.idle_timeout, event_timeout=self.event_timeout)


class EventStream:
    """An open stream of events: iterate over it, once, for its bytes, and `Reconnected` where a connection begins anew.

    It ends with `done`: what follows is not read. Status and headers are those of the newest connection.
    """

    def __init__(self, request: Request, limits: Limits) -> None:
        self._request = request
        self._limits = limits
        self._place = place(request.url)
        self._backoff = Backoff()
        self._resumption = Resumption()
        self._pulse = Pulse()
        self._connection = AsyncExitStack()
        self._response: Any = None
        self._chunks: Any = None
        self._waited = 0.0  # for bytes, in seconds: what the reader does in between is not the server's doing
        self._is_quick = False  # the chunk before did not have to be waited for
        self._nearest: Limited = "idle"
        self._is_over = False

    def __repr__(self) -> str:
        return f"<EventStream {self._place} {self.status_code}>"

    @property
    def status_code(self) -> int:
        """The status of the response: 200."""
        return int(self._response.status_code)

    @property
    def reason_phrase(self) -> str:
        """The words beside the status."""
        return str(self._response.reason_phrase)

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers of the response."""
        headers: Mapping[str, str] = self._response.headers
        return headers

    @property
    def is_success(self) -> bool:
        """Whether the status is one of success: that of an open stream is."""
        return 200 <= self.status_code < 300

    @property
    def request_id(self) -> str | None:
        """The id under which the server knows the request, or None."""
        return request_id_of(self.headers)

    @property
    def is_done(self) -> bool:
        """Whether `done` came."""
        return self._pulse.is_done

    def __aiter__(self) -> "EventStream":
        return self

    async def __anext__(self) -> bytes | Reconnected:
        while not self._is_over:
            try:
                chunk = await self._next()
            except TransportError as failure:
                if not self._is_resumable:
                    self._is_over = True
                    raise
                return await self._resume(failure)
            if chunk:
                return chunk
            if chunk is None and self._is_resumable and not self.is_done:
                return await self._resume(None)
            self._is_over = self._is_over or chunk is None
        await self.aclose()
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """Close the connection."""
        await self._connection.aclose()

    async def begin(self, attempts: int, is_worth_another: Callable[[StepStreamError], bool]) -> None:
        """Open the first connection, so many times at most."""
        for attempt in range(1, attempts + 1):
            try:
                await self._open()
                break
            except StepStreamError as failure:
                if attempt == attempts or self._time_left() <= 0 or not is_worth_another(failure):
                    raise
                await self._pause(failure)
        if self.status_code == NO_CONTENT:
            raise APIError(f"{self._place} answered 204: expected 200 and a stream", status_code=NO_CONTENT)

    @property
    def _is_resumable(self) -> bool:
        return self._limits.is_resumed and not self._is_over and self._time_left() > 0

    def _time_left(self) -> float:
        return self._limits.deadline - anyio.current_time()

    async def _open(self) -> None:
        """Open a connection, behind the event that came last."""
        await self.aclose()
        stack = AsyncExitStack()
        opening = opened(self._request, self._resumption.last_event_id)
        try:
            with anyio.fail_after(_bounded(self._time_left())):
                self._response = await stack.enter_async_context(opening)
        except TimeoutError as exc:
            raise self._late("all") from exc
        self._chunks = self._response.aiter_bytes()
        stack.push_async_callback(leave, self._response, self._chunks)
        self._connection, self._pulse = stack, Pulse()
        self._resumption = self._resumption.resumed()
        self._backoff.opened(anyio.current_time())

    async def _next(self) -> bytes | None:
        """Return the next chunk, empty where it says nothing before the end, or None at the end of the response."""
        limits = self._limits
        try:
            following = next_chunk if self._is_quick else awaited_chunk
            chunk, waited = await following(self._chunks, self._patience)
        except TimeoutError as exc:
            raise self._late(self._nearest) from exc
        except Exception as exc:
            raise translated(exc, self._place, limits.idle_timeout) from exc
        self._waited += waited
        self._is_quick = not waited
        if chunk is None:
            return None
        if limits.is_resumed:
            self._resumption.feed(chunk)
        done_at = self._pulse.feed(chunk, self._waited)
        self._is_over = done_at is not None
        return chunk if done_at is None else chunk[:done_at]

    def _patience(self) -> float:
        """Return for how many seconds the next chunk may be waited for."""
        limits, begun = self._limits, self._pulse.began_at
        event_left = math.inf if begun is None else begun + limits.event_timeout - self._waited
        left: dict[Limited, float] = {"all": self._time_left(), "event": event_left, "idle": limits.idle_timeout}
        self._nearest = min(left, key=left.__getitem__)
        return max(0.0, left[self._nearest])

    def _late(self, limited: Limited) -> TransportError:
        """Return the error for what took too long."""
        limits = self._limits
        if limited == "all":
            return TransportError(f"{self._place} took longer than {limits.total_timeout:g} s in all")
        if limited == "event":
            text = f"{self._place} took longer than {limits.event_timeout:g} s for one event"
            return IdleTimeout(text, limits.event_timeout)
        return IdleTimeout(f"{self._place} was silent for {limits.idle_timeout:g} s", limits.idle_timeout)

    async def _resume(self, failure: StepStreamError | None) -> Reconnected:
        """Wait and connect anew, without limit, until it is refused for good or there is nothing more to come."""
        self._is_over = True
        await self.aclose()
        while True:
            await self._pause(failure)
            try:
                await self._open()
            except StepStreamError as exc:
                if self._time_left() <= 0 or not may_pass(exc):
                    raise
                failure = exc
                continue
            if self.status_code == NO_CONTENT:
                await self.aclose()
                raise StopAsyncIteration
            self._is_over = False
            return Reconnected(self._resumption.last_event_id)

    async def _pause(self, failure: StepStreamError | None) -> None:
        """Wait before the next attempt.

        Raises:
            TransportError: the time for everything is over.
        """
        retry_after = failure.retry_after if isinstance(failure, APIError) else None
        delay = self._backoff.failed(anyio.current_time(), retry=self._resumption.retry, retry_after=retry_after)
        await anyio.sleep(min(delay, max(0.0, self._time_left())))
        if self._time_left() <= 0:
            raise self._late("all") from failure


def _bounded(seconds: float) -> float | None:
    """Return a number of seconds as `fail_after` takes it."""
    return None if seconds == math.inf else max(0.0, seconds)
