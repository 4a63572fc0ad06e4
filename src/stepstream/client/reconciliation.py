"""The stream of a run that outlives its connection: where it breaks, the server is polled for the run instead.

The invariant: whatever becomes of the connection, a run is opened once, each of its transitions is delivered at most
once, and every terminal one exactly once.

Why the request is not sent again. A POST that opens a run may have been acted on, and a second one would open and bill
a second run. Resuming its stream would send the POST again, too. But the server keeps the run itself, and a GET for it
is harmless. So `RunStream` yields the bytes of the connection, and after a break

1. `Reconnected`, at which the reader of the stream drops the event it has half of,
2. then the server's answer about the run, with its steps and messages, each time that changed (`ServerAnswer`), until
   it has ended or waits for action. The fold turns that into the events which the connection did not bring.

    bytes: created, in_progress, half an event ─ break ─ Reconnected, ServerAnswer(in_progress), ServerAnswer(completed)
    folded:   queued, in_progress                                                     completed, once

Why it holds. A run is fetched by its ids, which are read from the first event that has them, as bytes pass. Where only
the thread is known, it was opened with the run and has no other, so that its only run is the one. The run is fetched
after the connection was closed, so nothing of the stream can come later and be older. Silence counts as a break too:
the idle and event timeouts of the stream are `TransportError`s.

What would break it. A server that lists a new run late (a few 404s are waited out), one that does not say which run a
thread has (then the error says that the run's id is not known), and a run that outlasts `reconcile_timeout`.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Final, TypeAlias

import anyio

from stepstream.client.polling import OWN_LIMIT, Fetch, RetryUntil, RunKey, RunPoller, reworded
from stepstream.errors import FrameTooLarge, StepStreamError, StreamTruncated, TransportError
from stepstream.fold.reconcile import ServerAnswer
from stepstream.live.log_ids import ids_of
from stepstream.live.marks import Reconnected
from stepstream.live.source import ItemDecoder
from stepstream.sources.event_stream import EventStream
from stepstream.wire.error_body import foreign_text
from stepstream.wire.events import RUN_EVENTS, TYPES, decode_event
from stepstream.wire.objects import Run, Thread
from stepstream.wire.sse import Frame

_log = logging.getLogger("stepstream.client")

IDENTIFYING: Final = frozenset({"thread.created", *RUN_EVENTS})
"""The events whose data has the ids of a run."""

FindRun: TypeAlias = Callable[[str], Awaitable[RunKey | None]]
"""Finds the only run of a thread; None where that cannot be known. A failure that may not last is raised."""


class RunStream:
    """The stream of a run: iterate over it, once, for its bytes, and for `ServerAnswer` where they broke.

    After a break the run is polled as by `RunPoller`, for `timeout` seconds at most. Status and headers are those of
    the response.
    """

    def __init__(
        self,
        stream: EventStream,
        fetch: Fetch,
        find_run: FindRun,
        *,
        thread_id: str | None = None,
        run_id: str | None = None,
        timeout: float,
    ) -> None:
        self._stream = stream
        self._fetch = fetch
        self._find_run = find_run
        self._thread_id = thread_id
        self._new_thread_id: str | None = None  # of a thread that was opened together with the run
        self._key = key = RunKey(thread_id, run_id) if thread_id and run_id else None
        self._timeout = timeout
        self._decoder = ItemDecoder() if key is None else None  # until the ids are known
        self._is_known = False  # whether an event of a known name came; likewise
        self._poller: RunPoller[ServerAnswer] | None = None

    def __repr__(self) -> str:
        return f"<RunStream {self._key.run_id if self._key else 'of an unknown run'} {self._stream!r}>"

    @property
    def status_code(self) -> int:
        """The status of the response: 200."""
        return self._stream.status_code

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers of the response."""
        return self._stream.headers

    @property
    def request_id(self) -> str | None:
        """The id under which the server knows the request, or None."""
        return self._stream.request_id

    def __aiter__(self) -> "RunStream":
        return self

    async def __anext__(self) -> bytes | Reconnected | ServerAnswer:
        if self._poller is not None:
            return await anext(self._poller)
        try:
            item = await anext(self._stream)
        except StopAsyncIteration:
            if self._stream.is_over or self._is_foreign:
                raise  # the reader of the stream says what came instead
            failure: TransportError = StreamTruncated("the stream ended without done")
        except TransportError as exc:
            failure = exc
        else:
            if self._decoder is not None:
                self._read_key(self._decoder, item)
            return item
        return await self._start_polling(failure)

    @property
    def _is_foreign(self) -> bool:
        """Whether what came is of no protocol that is read here."""
        if self._decoder is None or self._is_known:
            return False
        return not self._decoder.is_empty or bool(foreign_text(self._decoder.opening))

    def _read_key(self, decoder: ItemDecoder, item: bytes | Reconnected) -> None:
        """Read the run's ids from the first event that has them."""
        try:
            frames = decoder.feed(item)
        except FrameTooLarge as excess:
            frames, self._decoder = excess.frames, None
        self._is_known = self._is_known or any(frame.event in TYPES for frame in frames)
        for data in map(_identifying_object, frames):
            if isinstance(data, Thread):
                self._new_thread_id = data.id
            elif isinstance(data, Run):
                thread_id = data.thread_id or self._thread_id or self._new_thread_id
                self._key = RunKey(thread_id, data.id) if thread_id else None
                self._decoder = None
                return

    async def _start_polling(self, failure: TransportError) -> Reconnected:
        """Close the connection, and return the mark at which the reader of the stream drops an unfinished event."""
        await self._stream.aclose()
        if self._stream.time_left <= 0:
            raise failure
        began_at, left = anyio.current_time(), self._stream.time_left
        timeout, limit = (left, "total_timeout") if left < self._timeout else (self._timeout, OWN_LIMIT)
        if self._key is None and self._new_thread_id is not None:
            retry = RetryUntil(timeout, failure, began_at, limit=limit)
            self._key = await retry.call(partial(self._find_run, self._new_thread_id))
        if self._key is None:
            text = f"{failure}, before the run's id was known: the server cannot be asked what became of it"
            raise reworded(failure, text) from failure
        _log.info("the stream of run %s broke (%s): asking for it", self._key.run_id, failure, extra=ids_of(self._key))
        self._poller = RunPoller(
            partial(self._fetch, self._key), self._key, timeout=timeout, failure=failure, began_at=began_at, limit=limit
        )
        return Reconnected()


def _identifying_object(frame: Frame) -> object:
    """Return the object of an event that has the ids of a run, else None."""
    try:
        return decode_event(frame).data if frame.event in IDENTIFYING else None
    except StepStreamError:
        return None  # data that is no JSON: the reader of the stream reports it
