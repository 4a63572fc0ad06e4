"""Polling a run: the server is asked until the run has ended or waits for action, ever less often, until a deadline."""

import logging
from collections.abc import Awaitable, Callable
from typing import Final, Generic, NamedTuple, Protocol, TypeAlias, TypeVar

import anyio

from stepstream.errors import APIError, IdleTimeout, ProtocolError, StepStreamError, StreamTruncated, TransportError
from stepstream.fold.lifecycle import SETTLED_RUN
from stepstream.fold.reconcile import ServerAnswer
from stepstream.live.log_ids import ids_of
from stepstream.sources.http_errors import is_transient

FIRST_DELAY: Final = 0.25
LONGEST_DELAY: Final = 5.0

NOT_FOUND: Final = 404
MAX_NOT_FOUND: Final = 4
"""So many responses that there is no such run are believed: servers behind one address may know of a new run later
than the one that opened it."""

OWN_LIMIT: Final = "reconcile_timeout"
"""The option that bounds the asking, unless one for everything does before."""

T = TypeVar("T")

_log = logging.getLogger("stepstream.client")


class RunKey(NamedTuple):
    """The ids by which a server knows a run."""

    thread_id: str
    run_id: str


Fetch: TypeAlias = Callable[[RunKey], Awaitable[ServerAnswer]]
"""Fetches a run with its steps and messages from the server."""


class Key(Protocol):
    """By what a server knows a run."""

    @property
    def run_id(self) -> str:
        """The run's id."""


class Answer(Protocol):
    """What a server says of a run."""

    @property
    def status(self) -> str | None:
        """The run's status."""


A = TypeVar("A", bound=Answer)


class RetryUntil:
    """Repeats a request until it succeeds, with growing delays, for `timeout` seconds from `began_at`.

    Then it raises an error of the kind of `failure`, the failure for which the server is asked, if one. It names the
    `limit`, an option, that was the timeout.
    """

    def __init__(
        self,
        timeout: float,
        failure: TransportError | None,
        began_at: float,
        key: Key | None = None,
        *,
        limit: str = OWN_LIMIT,
    ) -> None:
        self._timeout = timeout
        self._limit = limit
        self._key = key
        self._failure = failure
        self._deadline = began_at + timeout
        self._delay = 0.0
        self._not_found = 0
        self._last: StepStreamError | None = failure

    def __repr__(self) -> str:
        return f"<RetryUntil {self._timeout:g} s>"

    async def call(self, request: Callable[[], Awaitable[T]]) -> T:
        """Wait for the next delay, and return what `request` gives, repeating it after failures that may not last.

        The delays go on growing from one call to the next: a poller calls this once per state of the run.

        Raises:
            TransportError: the time is over. It is of the kind of the failure.
            StepStreamError: `request` failed, and would again.
        """
        while (left := self._deadline - anyio.current_time()) > self._delay:
            await anyio.sleep(self._delay)
            self._delay = min(max(FIRST_DELAY, 2 * self._delay), LONGEST_DELAY)
            try:
                with anyio.CancelScope(deadline=self._deadline):
                    return await request()
            except StepStreamError as exc:
                # A body that is no run, such as a page of HTML, is taken for a failure that may not last, too.
                if not (is_transient(exc) or isinstance(exc, ProtocolError) or self._may_appear(exc)):
                    raise
                self._last = exc
                run_id = self._key.run_id if self._key else "unknown"
                _log.info("asking for the run %s once more, for %s", run_id, exc, extra=ids_of(self._key))
        await anyio.sleep(max(0.0, left))
        late = f"for {round(self._timeout, 2):g} s ({self._limit}) the server did not say that the run is over or waits"
        why = f"{self._failure}, and {late}" if self._failure is not None else late
        raise reworded(self._failure, why) from self._last

    def _may_appear(self, failure: StepStreamError) -> bool:
        """Return whether the object was not found, but may be soon."""
        if not (isinstance(failure, APIError) and failure.status_code == NOT_FOUND):
            return False
        self._not_found += 1
        return self._not_found < MAX_NOT_FOUND


class RunPoller(Generic[A]):
    """A source of what the server says about a run, until it has ended or waits for action. It yields changes only."""

    def __init__(
        self,
        fetch: Callable[[], Awaitable[A]],
        key: Key,
        *,
        timeout: float,
        failure: TransportError | None,
        began_at: float | None = None,
        limit: str = OWN_LIMIT,
    ) -> None:
        self._fetch = fetch
        self._key = key
        began_at = anyio.current_time() if began_at is None else began_at
        self._retry = RetryUntil(timeout, failure, began_at, key, limit=limit)
        self._last: A | None = None
        self._is_settled = False

    def __repr__(self) -> str:
        return f"<RunPoller {self._key.run_id}>"

    def __aiter__(self) -> "RunPoller[A]":
        return self

    async def __anext__(self) -> A:
        while not self._is_settled:
            answer = await self._retry.call(self._fetch)
            self._is_settled = answer.status in SETTLED_RUN
            if answer != self._last:
                self._last = answer
                return answer
        raise StopAsyncIteration


def reworded(failure: TransportError | None, text: str) -> TransportError:
    """Return an error of the same kind with another text."""
    if isinstance(failure, IdleTimeout):
        return IdleTimeout(text, failure.seconds)
    return (StreamTruncated if isinstance(failure, StreamTruncated) else TransportError)(text)
