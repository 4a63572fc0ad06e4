"""The stream of a response that outlives its connections: resumed where the server can, else asked for.

The invariant: whatever becomes of connections, a response is opened once, each of its transitions is delivered at most
once, and every terminal one exactly once.

A POST that opens a response is never sent again once it went out: a second one would be billed. After a break the
source yields

1. `Reconnected`, at which the reader of the stream drops the event it has half of, and
2. of a response in the background, the rest of its stream: `GET …?stream=true&starting_after=N`, where N is the number
   of the newest event that was whole. That goes on without limit, for as long as connections bring something new,
   or none can be made. Where one brings nothing, the response itself is asked for, before the next one;
3. of any other, and where the server refuses that (400: it is too late; 404: it keeps no stream), what it says of the
   response, until that has ended (`ServerEvents`).

    background: created … 17, half an event ─ break ─ Reconnected ─ GET starting_after=17 ─ 18 … completed
    plain:      created … 17, half an event ─ break ─ Reconnected ─ GET ─ in_progress ─ GET ─ completed

Why it holds. Numbers are counted by the server: what is after N was not seen. A response that is asked for has its
items whole, and the dialect tells of each only what it had not told. The connection is closed before the response is
asked for, so nothing of the stream can come later and be older.

What would break it: a server that numbers events anew on resuming. One that does not number them is asked for the
response. One with `store=False` keeps nothing that could be asked for: the exception says so.
"""

import logging
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Any, TypeAlias

import anyio

from stepstream.client.polling import OWN_LIMIT, RunPoller, reworded
from stepstream.client.response_answer import ResponseAnswer, ResponseKey
from stepstream.client.response_notes import ResponseNotes
from stepstream.client.response_plan import ResponseCalls, StreamPlan
from stepstream.errors import APIError, StepStreamError, StreamTruncated, TransportError
from stepstream.fold.lifecycle import SETTLED_RUN
from stepstream.live.log_ids import ids_of
from stepstream.live.marks import ContinuedRun, Reconnected, ServerEvents
from stepstream.sources.backoff import Backoff
from stepstream.sources.event_stream import EventStream
from stepstream.sources.http_errors import is_transient
from stepstream.sources.retry_log import log_retry

_log = logging.getLogger("stepstream.client")

Item: TypeAlias = bytes | Reconnected | ContinuedRun | ServerEvents


class ResponseStream:
    """The stream of a response: iterate over it, once, for its bytes, and for what follows where they broke."""

    def __init__(
        self, calls: ResponseCalls, plan: StreamPlan, *, stream: EventStream | None = None, response_id: str = ""
    ) -> None:
        self._stream = stream
        self._calls = calls
        self._plan = plan
        self._response_id = response_id
        self._pending: list[Item] = [ContinuedRun(plan.continued)] if plan.continued else []
        self._notes = ResponseNotes(is_whole=plan.is_resumable or not plan.is_kept)
        self._on_response = plan.on_response  # None once it was told
        self._is_live = stream is not None  # whether the stream is the one to learn from
        self._status: object = None  # of the response, before it
        self._asked_after: int | None = None  # the number that the newest connection was to begin after
        self._backoff = Backoff()
        self._connection = AsyncExitStack()
        self._broken: TransportError | None = None  # why the response is asked for
        self._poller: RunPoller[ResponseAnswer] | None = None

    def __repr__(self) -> str:
        return f"<ResponseStream {self.response_id or 'of an unknown response'}>"

    @property
    def response_id(self) -> str:
        """The id of the response as it was named last; empty while it is not known."""
        return (self._stream.run_id if self._stream is not None else None) or self._response_id

    @property
    def status(self) -> object:
        """The status of the response as it was told last; None where it was not."""
        return (self._stream.run_status if self._stream is not None and self._is_live else None) or self._status

    @property
    def request_id(self) -> str | None:
        """The id under which the server knows the newest request for its stream, or None."""
        return None if self._stream is None else self._stream.request_id

    @property
    def output(self) -> list[Mapping[str, Any]]:
        """The output items so far, as they came: of a response that the server does not keep."""
        return self._notes.output

    def __aiter__(self) -> "ResponseStream":
        return self

    async def aclose(self) -> None:
        """Close the connection."""
        await self._connection.aclose()

    async def __anext__(self) -> Item:
        if self._pending:
            return self._pending.pop(0)
        if self._poller is not None:
            return self._told(await self._answer(self._poller))
        if self._stream is None:
            return await self._attach()
        try:
            item = await anext(self._stream)
        except StopAsyncIteration:
            if self._stream.is_over or (not self.response_id and self._notes.is_foreign):
                raise  # of the second, the reader of the stream says what came instead
            failure: TransportError = StreamTruncated("the stream ended before its response did")
        except TransportError as exc:
            if self._stream.is_over:
                raise StopAsyncIteration from exc
            failure = exc
        else:
            self._notes.feed(item)
            await self._tell()
            return item
        return await self._recover(failure)

    async def _tell(self) -> None:
        """Tell the id of the response, once it is known: before its events are read."""
        if self._on_response is not None and self.response_id:
            told, self._on_response = self._on_response, None
            await told(self.response_id)

    async def _attach(self) -> Item:
        """Open the first connection to a response that is known by its id; where there is no stream, ask for it."""
        try:
            await self._open(None)
        except APIError as refused:
            if is_transient(refused):
                raise
            self._poll(TransportError(f"the stream of response {self._response_id} was refused"))
        return await anext(self)

    async def _recover(self, failure: TransportError) -> Item:
        """Close the connection, and go on by another one, or by asking for the response."""
        await self._close_stream()
        if self._time_left <= 0:
            raise failure
        if not self._response_id:
            text = f"{failure}, before the run's id was known: the server cannot be asked what became of it"
            raise reworded(failure, text) from failure
        if not self._plan.is_kept:
            text = f"{failure}, and a response with store=False cannot be asked for"
            raise reworded(failure, text) from failure
        ids = ids_of(ResponseKey(self._response_id))
        _log.info("the stream of response %s broke (%s)", self._response_id, failure, extra=ids)
        self._broken = failure
        number = self._notes.number if self._plan.is_resumable else None
        if number is None:
            self._poll(failure)
        elif number != self._asked_after or not await self._has_ended_meanwhile(failure):
            await self._resume(number, failure)
        return Reconnected()

    async def _close_stream(self) -> None:
        """Close the connection, and keep what it told."""
        assert self._stream is not None
        await self._stream.aclose()
        self._response_id, self._status = self.response_id, self.status
        self._is_live = False

    async def _has_ended_meanwhile(self, failure: TransportError) -> bool:
        """Ask for the response once. Where it has ended, its end follows, and nothing more."""
        poller = self._new_poller(failure)
        answer = await self._answer(poller)
        has_ended = answer.status in SETTLED_RUN
        if has_ended:
            self._poller = poller
            self._pending.append(self._told(answer))
        return has_ended

    async def _resume(self, number: int, broken: TransportError) -> None:
        """Open the stream after an event, as often as it takes; where the server refuses it, ask for the response."""
        failure: StepStreamError = broken
        while True:
            retry_after = failure.retry_after if isinstance(failure, APIError) else None
            delay, left = self._backoff.failed(anyio.current_time(), retry_after=retry_after), self._time_left
            log_retry(f"/responses/{self._response_id}", delay, failure, run_id=self._response_id)
            await anyio.sleep(min(delay, max(0.0, left)))
            if delay >= left:
                raise reworded(broken, f"{broken}, and total_timeout has passed") from failure
            try:
                await self._open(number)
            except StepStreamError as exc:
                failure = exc
                if is_transient(exc):
                    continue
                self._poll(broken)
            return

    async def _open(self, number: int | None) -> None:
        """Open a connection that goes on after an event, or begins with the first."""
        await self.aclose()
        self._connection = AsyncExitStack()
        opened = self._calls.resume(self._response_id, number, self._time_left)
        self._stream = await self._connection.enter_async_context(opened)
        self._is_live, self._asked_after = True, number
        self._backoff.opened(anyio.current_time())

    def _poll(self, failure: TransportError) -> None:
        self._poller = self._new_poller(failure)

    def _new_poller(self, failure: TransportError) -> RunPoller[ResponseAnswer]:
        left = self._time_left
        timeout, limit = (left, "total_timeout") if left < self._plan.timeout else (self._plan.timeout, OWN_LIMIT)
        return RunPoller(self._fetch, ResponseKey(self._response_id), timeout=timeout, failure=failure, limit=limit)

    async def _answer(self, poller: RunPoller[ResponseAnswer]) -> ResponseAnswer:
        """Return what the server says next. Where it does not know the response, it is the break that is raised."""
        try:
            return await anext(poller)
        except APIError as refused:
            if self._broken is None:
                raise
            text = f"{self._broken}, and the server does not say what became of the response: {refused}"
            raise reworded(self._broken, text) from refused

    def _told(self, answer: ResponseAnswer) -> ServerEvents:
        """Return the events that an answer is, after what was told."""
        events = answer.events(self._status)
        self._status = answer.status
        self._notes.feed(events)
        return events

    async def _fetch(self) -> ResponseAnswer:
        return await self._calls.fetch(self._response_id)

    @property
    def _time_left(self) -> float:
        return self._plan.deadline - anyio.current_time()
