"""A run in one form, as pieces of an event stream: for the relay's routes, and for endpoints of an application."""

from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Mapping
from contextlib import ExitStack
from typing import Any, Final, Protocol, Self

from stepstream.journal.reading import Journal
from stepstream.live.pending import Signal
from stepstream.relay.feeds import Feeds
from stepstream.relay.forms.form import FormKind
from stepstream.relay.run_reader import info_of
from stepstream.relay.viewer import Viewer

STREAM_HEADERS: Final[Mapping[str, str]] = {
    "content-type": "text/event-stream",
    "cache-control": "no-store, no-transform",
    "x-accel-buffering": "no",
}
"""Those of every event stream: no cache, proxy or compression holds it up."""


class Sent(Protocol):
    """What is being sent to a viewer."""

    def interrupt(self, reason: str) -> None:
        """End it."""


class OpenFrames:
    """What is being sent to viewers, so that all of it can be ended."""

    def __init__(self) -> None:
        self.all: dict[Sent, None] = {}
        self.is_draining = False
        self._left = Signal()

    async def drain(self) -> None:
        """End everything, and return when the viewers have left."""
        self.is_draining = True
        for sent in list(self.all):
            sent.interrupt("shutdown")
        while self.all:
            await self._left.wait()

    def enter(self, sent: Sent) -> None:
        """Know it, until it leaves."""
        self.all[sent] = None

    def leave(self, sent: Sent) -> None:
        """Know it no longer."""
        del self.all[sent]
        self._left.notify()


class Frames:  # it has slots, as viewers have: there may be ten thousand
    """What one viewer of a run is sent: iterate over it, once, for pieces of an event stream.

    It leaves the run at the end of an `async with` block; without one, when the iterator is closed. `headers` are
    those of a response. A comment comes where nothing else did for 15 seconds.
    """

    __slots__ = (
        "_exit", "_feeds", "_journal", "_last_event_id", "_opened", "_run_id", "_viewer", "has_more", "headers", "kind",
    )  # fmt: skip

    def __init__(
        self, journal: Journal, feeds: Feeds, opened: OpenFrames, run_id: str, kind: FormKind, last_event_id: str
    ) -> None:
        self.kind = kind
        self.headers = {**STREAM_HEADERS, **kind.headers}
        self.has_more = True
        """Whether there is anything to come, once it is entered: a viewer may have had everything."""
        self._journal = journal
        self._feeds = feeds
        self._opened = opened
        self._run_id = run_id
        self._last_event_id = last_event_id
        self._viewer: Viewer | None = None
        self._exit = ExitStack()

    def __repr__(self) -> str:
        return f"<Frames of {self._run_id} as {self.kind.name}>"

    async def __aenter__(self) -> Self:
        info = await info_of(self._journal, self._run_id)
        with ExitStack() as stack:
            feed = stack.enter_context(self._feeds.using(self._run_id))
            viewer = self._viewer = Viewer(feed, self.kind, self._last_event_id)
            stack.callback(viewer.leave)
            self._opened.enter(self)
            stack.callback(self._opened.leave, self)
            self.has_more = await viewer.enter(info)
            if self._opened.is_draining:
                viewer.interrupt("shutdown")
            self._exit = stack.pop_all()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._exit.close()

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._entered() if self._viewer is None else self

    def __anext__(self) -> Coroutine[Any, Any, bytes]:
        """Return what is sent next.

        Raises:
            RunInterrupted: it was cut, in the middle of things.
        """
        if self._viewer is None:
            raise RuntimeError("expected to be iterated over by `async for`, or in an `async with` block")
        return self._viewer.next()

    def interrupt(self, reason: str, *, is_silent: bool = False) -> None:
        """End it before the run has ended. With `is_silent`, nothing is sent any more of what was waiting."""
        if self._viewer is not None:
            self._viewer.interrupt(reason, is_silent=is_silent)

    async def _entered(self) -> AsyncGenerator[bytes]:
        async with self:
            async for piece in self:
                yield piece
