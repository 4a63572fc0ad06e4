"""A stream of a run that goes on by asking where its connection breaks: a run is opened once, and not lost."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Final, NamedTuple, TypeAlias, TypeVar

import anyio

from stepstream.errors import (
    APIError,
    FrameTooLarge,
    IdleTimeout,
    ProtocolError,
    StepStreamError,
    StreamTruncated,
    TransportError,
)
from stepstream.fold.lifecycle import SETTLED_RUN
from stepstream.fold.reconcile import ServerAnswer
from stepstream.live.source import Reconnected
from stepstream.sources.event_stream import EventStream
from stepstream.sources.opening import may_pass
from stepstream.wire.events import RUN_EVENTS, decode_event
from stepstream.wire.objects import Run, Thread
from stepstream.wire.sse import Frame, FrameDecoder

FIRST_PAUSE: Final = 0.25
LONGEST_PAUSE: Final = 5.0

NOT_FOUND: Final = 404
NOT_FOUND_ENOUGH: Final = 4
"""So many answers that there is no such run are believed."""

T = TypeVar("T")

_log = logging.getLogger("stepstream.client")


class RunKey(NamedTuple):
    """The ids by which a server knows a run."""

    thread_id: str
    run_id: str


IDENTIFYING: Final = frozenset({"thread.created", *RUN_EVENTS})
"""The events that tell the ids of a run."""

Find: TypeAlias = Callable[[str], Awaitable[RunKey | None]]
"""Finds the only run of a thread, None where that cannot be told. What may pass is raised."""

Ask: TypeAlias = Callable[[RunKey], Awaitable[ServerAnswer]]
"""Asks the server for a run with its steps and messages."""


class Patience:
    """Asks until there is an answer, with growing pauses, for `timeout` seconds.

    Then it gives up, with `failure`, which says why it is asked at all.
    """

    def __init__(self, timeout: float, failure: TransportError, began_at: float) -> None:
        self._timeout = timeout
        self._failure = failure
        self._deadline = began_at + timeout
        self._pause = 0.0
        self._not_found = 0
        self._last: StepStreamError = failure

    def __repr__(self) -> str:
        return f"<Patience for {self._timeout:g} s>"

    async def answer(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Wait, and return what `ask` gives, whatever passing trouble there is before.

        Raises:
            TransportError: the time is over. It is of the kind of the failure.
            StepStreamError: `ask` failed, and will again.
        """
        while (left := self._deadline - anyio.current_time()) > self._pause:
            await anyio.sleep(self._pause)
            self._pause = min(max(FIRST_PAUSE, 2 * self._pause), LONGEST_PAUSE)
            try:
                with anyio.CancelScope(deadline=self._deadline):
                    return await ask()
            except StepStreamError as exc:
                if not (may_pass(exc) or isinstance(exc, ProtocolError) or self._may_come(exc)):
                    raise
                self._last = exc
        await anyio.sleep(max(0.0, left))
        text = f"{self._failure}, and for {self._timeout:g} s the server did not say that the run is over or waits"
        raise _retold(self._failure, text) from self._last

    def _may_come(self, failure: StepStreamError) -> bool:
        """Tell whether what is not there may be there soon: one server may hear of a run later than another."""
        if not (isinstance(failure, APIError) and failure.status_code == NOT_FOUND):
            return False
        self._not_found += 1
        return self._not_found < NOT_FOUND_ENOUGH


class Asking:
    """Asks for a run until it has ended or waits for action, as patiently as `Patience`: a source of `ServerAnswer`."""

    def __init__(
        self, ask: Ask, key: RunKey, *, timeout: float, failure: TransportError, began_at: float | None = None
    ) -> None:
        self._ask = partial(ask, key)
        self._key = key
        self._patience = Patience(timeout, failure, anyio.current_time() if began_at is None else began_at)
        self._told: ServerAnswer | None = None
        self._is_settled = False

    def __repr__(self) -> str:
        return f"<Asking for {self._key.run_id}>"

    def __aiter__(self) -> "Asking":
        return self

    async def __anext__(self) -> ServerAnswer:
        while not self._is_settled:
            truth = await self._patience.answer(self._ask)
            self._is_settled = truth.status in SETTLED_RUN
            if truth != self._told:
                self._told = truth
                return truth
        raise StopAsyncIteration


class RunStream:
    """The stream of a run: iterate over it, once, for its bytes, and `ServerAnswer` where they broke.

    It is asked as `Asking` does, for `timeout` seconds at most. Status and headers are those of the response.
    """

    def __init__(
        self,
        stream: EventStream,
        ask: Ask,
        find: Find,
        *,
        thread_id: str | None = None,
        run_id: str | None = None,
        timeout: float,
    ) -> None:
        self._stream = stream
        self._ask = ask
        self._find = find
        self._thread_id = thread_id
        self._new_thread_id: str | None = None
        self._key = key = RunKey(thread_id, run_id) if thread_id and run_id else None
        self._timeout = timeout
        self._decoder = FrameDecoder() if key is None else None
        self._asking: Asking | None = None

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
        if self._asking is not None:
            return await anext(self._asking)
        try:
            item = await anext(self._stream)
        except StopAsyncIteration:
            if self._stream.is_done:
                raise
            failure: TransportError = StreamTruncated("the stream ended without done")
        except TransportError as exc:
            failure = exc
        else:
            if self._decoder is not None and isinstance(item, bytes):
                self._learn(self._decoder, item)
            return item
        return await self._begin_asking(failure)

    def _learn(self, decoder: FrameDecoder, chunk: bytes) -> None:
        """Read the run's id out of the first event that has it."""
        try:
            frames = decoder.feed(chunk)
        except FrameTooLarge as excess:
            frames, self._decoder = excess.frames, None
        for data in map(_object, frames):
            if isinstance(data, Thread):
                self._new_thread_id = data.id
            elif isinstance(data, Run):
                thread_id = data.thread_id or self._thread_id or self._new_thread_id
                self._key = RunKey(thread_id, data.id) if thread_id else None
                self._decoder = None
                return

    async def _begin_asking(self, failure: TransportError) -> Reconnected:
        """Close the connection, and let the reader of the stream forget what it has of an unfinished event."""
        await self._stream.aclose()
        began_at = anyio.current_time()
        if self._key is None and self._new_thread_id is not None:  # it has no other run
            patience = Patience(self._timeout, failure, began_at)
            self._key = await patience.answer(partial(self._find, self._new_thread_id))
        if self._key is None:
            text = f"{failure}, before the run's id was known: the server cannot be asked what became of it"
            raise _retold(failure, text) from failure
        _log.info("the stream of run %s broke (%s): asking for it", self._key.run_id, type(failure).__name__)
        self._asking = Asking(self._ask, self._key, timeout=self._timeout, failure=failure, began_at=began_at)
        return Reconnected()


def _object(frame: Frame) -> object:
    try:
        return decode_event(frame).data if frame.event in IDENTIFYING else None
    except StepStreamError:
        return None  # the reader of the stream tells


def _retold(failure: TransportError, text: str) -> TransportError:
    """Return an error of the same kind that says more."""
    if isinstance(failure, IdleTimeout):
        return IdleTimeout(text, failure.seconds)
    return (StreamTruncated if isinstance(failure, StreamTruncated) else TransportError)(text)
