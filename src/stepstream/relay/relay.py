"""The relay: an ASGI application through which any number of browsers watch the runs of a journal."""

import random
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from functools import partial
from typing import Any, Final, TypeVar

import anyio

from stepstream.asgi.http import Receive, Scope, Send, is_http, send_stream
from stepstream.errors import JournalError, RunInterrupted
from stepstream.journal.following import INTERRUPTED_AFTER
from stepstream.journal.reading import Journal
from stepstream.relay.access import Authorize, Permission, peer_of
from stepstream.relay.admission import Admission, Headers
from stepstream.relay.batch import gap
from stepstream.relay.catching_up import NOWHERE, place_of
from stepstream.relay.feed import COALESCE, RunFeed
from stepstream.relay.feeds import Feeds
from stepstream.relay.forms.form import FormKind
from stepstream.relay.forms.registry import FORMS, form_named
from stepstream.relay.forms.state_json import state_json
from stepstream.relay.frames import STREAM_HEADERS, Frames, OpenFrames
from stepstream.relay.limits import ViewerLimits
from stepstream.relay.requests import NO_STEP, NOT_FOUND, Refused, Request, send_json, send_nothing
from stepstream.relay.run_list import OpenRuns, RunNews, listed
from stepstream.relay.run_reader import RunReader, info_of
from stepstream.relay.serving import RETRY, RETRY_REFUSED, WRITE_TIMEOUT, Permitted, only, retry_block
from stepstream.relay.stopping import Stop, Stopping

Found = TypeVar("Found")

MAX_VIEWERS: Final = 10_000
MAX_PER_CLIENT: Final = 100


class Relay:
    """Let browsers watch the runs of `journal`: an ASGI application, to be mounted or served alone.

    `authorize(scope, run_id)` returns whether whoever sent a request may see a run, or an awaitable of that; it is
    asked when a viewer comes and every minute. Without it only this machine is served. `origins` are those of pages
    elsewhere that may ask. `stop(scope, run_id)`, sync or async, stops a run for one who may see it, and returns False
    where that cannot be: it is called once, however often a run is to be stopped. `coalesce` is for how many seconds
    deltas of a text may be held back to be merged. `max_viewers` there are at most, `max_per_client` of one run by each
    client, which `client(scope)` names: by default the address that the request comes from. `random` returns numbers
    from 0 to 1, to spread what comes back.

        GET /                    the runs, as JSON; as an event stream where that is accepted
        GET /{run}               its state as JSON
        GET /{run}/steps/{step}  a step of it, whole, with the message that it writes; or a message
        GET /{run}/events?as=    the run, live, in one of the forms
        POST /{run}/stop         stop it, where `stop` is given

    Raises:
        ValueError: one of `origins` is none.
    """

    def __init__(
        self,
        journal: Journal,
        *,
        authorize: Authorize | None = None,
        origins: Iterable[str] = (),
        stop: Stop | None = None,
        coalesce: float = COALESCE,
        max_viewers: int = MAX_VIEWERS,
        max_per_client: int = MAX_PER_CLIENT,
        client: Callable[[Scope], str] = peer_of,
        interrupted_after: float = INTERRUPTED_AFTER,
        forms: Mapping[str, FormKind] = FORMS,
        random: Callable[[], float] = random.random,
    ) -> None:
        self._journal = journal
        methods = "GET" if stop is None else "GET, POST"
        self._admission = Admission(authorize, origins, methods, NOT_FOUND)
        self._stopping = None if stop is None else Stopping(journal, stop)
        self._client = client
        self._forms = forms
        self._interrupted_after, self._open_runs = interrupted_after, OpenRuns(journal)
        self._random = random
        self._limits = ViewerLimits(max_viewers, max_per_client)
        self._feeds = Feeds(partial(RunFeed, journal, coalesce=coalesce, interrupted_after=interrupted_after))
        self._opened = OpenFrames()

    def __repr__(self) -> str:
        return f"<Relay {len(self._opened.all):,} viewers>"

    @property
    def viewers(self) -> int:
        """How many viewers there are now."""
        return len(self._opened.all)

    def frames(self, run_id: str, *, form: str | FormKind = "events", last_event_id: str | None = None) -> Frames:
        """Return what a viewer of a run is sent, for an endpoint of one's own. Nobody is asked who may see it.

        It is an async iterable of bytes, and an async context manager that gives itself. A run that is not there yet
        may begin later.

        Raises:
            ValueError: there is no such form.
        """
        kind = form_named(form, self._forms)
        return Frames(self._journal, self._feeds, self._opened, run_id, kind, last_event_id or "")

    async def drain(self, timeout: float = WRITE_TIMEOUT) -> None:  # noqa: ASYNC109 - the limit is part of the contract
        """End the streams of all viewers, who come back elsewhere, and return when they have left or time is up.

        Nobody is let in any more. To be called when the server begins to shut down.
        """
        with anyio.move_on_after(timeout):
            await self._opened.drain()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as an ASGI application."""
        if await is_http(scope, receive, send):
            await self._admission.answer(scope, send, partial(self._route, receive, send))

    async def _route(self, receive: Receive, send: Send, request: Request, headers: Headers) -> None:
        is_stop = self._stopping is not None and request.segments[1:] == ["stop"]
        expected = "POST" if is_stop else "GET"
        if request.scope["method"] != expected:
            raise Refused(405, f"Expected {expected}.", allow=f"{expected}, OPTIONS")
        self._admission.check_local(request)
        match request.segments:
            case []:
                await self._send_runs(request, receive, send, headers)
            case [run_id]:
                await self._admission.permission(request, run_id)
                await send_json(send, await self._state(run_id), headers)
            case [run_id, "steps", step_id]:
                await self._admission.permission(request, run_id)
                await send_json(send, await self._step(run_id, step_id), headers)
            case [run_id, "events"]:
                await self._send_events(request, run_id, receive, send, headers)
            case [run_id, "stop"] if self._stopping is not None:
                await self._admission.permission(request, run_id)
                await self._stopping.stop(request.scope, run_id)
                await send_nothing(send, headers)
            case _:
                raise Refused(404, NOT_FOUND)

    async def _state(self, run_id: str) -> bytes:
        return await self._read(run_id, lambda reader: state_json(reader.state(), cursor=str(reader.cursor)))

    async def _step(self, run_id: str, step_id: str) -> dict[str, Any]:
        found = await self._read(run_id, lambda reader: reader.step(step_id))
        if found is None:
            raise Refused(404, NO_STEP)
        return found

    async def _read(self, run_id: str, look: Callable[[RunReader], Found]) -> Found:
        """Return what `look` finds in the run as it is now."""
        try:
            info = await info_of(self._journal, run_id)
            if info is None:
                raise Refused(404, NOT_FOUND)
            with self._feeds.using(run_id) as feed:
                await feed.catch_up(info.position)
                if feed.reader.position:
                    return look(feed.reader)
        except JournalError:
            pass  # its text is for the application, not for those who watch
        raise Refused(503, "The run cannot be read now.", retry_after="5")

    async def _send_runs(self, request: Request, receive: Receive, send: Send, headers: Headers) -> None:
        may_see = partial(self._admission.may_see, request)
        if not request.wants_stream:
            try:
                runs = await listed(self._journal, may_see, self._interrupted_after)
            except JournalError:
                raise Refused(503, "The runs cannot be read now.", retry_after="5") from None
            await send_json(send, runs, headers)
            return
        with self._limits.one_more("", self._client(request.scope)) as has_room:
            if has_room and not self._opened.is_draining:
                first = retry_block(RETRY, self._random())
                news = RunNews(self._journal, self._open_runs, may_see, first, self._interrupted_after)
                self._opened.enter(news)
                try:
                    await self._send_pieces(news.pieces(), receive, send, headers)
                finally:
                    self._opened.leave(news)
            else:
                await self._send_pieces(only(self._later()), receive, send, headers)

    async def _send_events(self, request: Request, run_id: str, receive: Receive, send: Send, headers: Headers) -> None:
        kind = self._forms.get(request.query.get("as", "events"))
        if kind is None:
            raise Refused(400, f"Expected `as` as one of {', '.join(self._forms)}.")
        permission = await self._admission.permission(request, run_id)
        try:
            is_sent = await self._is_sent(request, run_id, kind, permission, receive, send, headers)
        except JournalError:  # before anything was sent
            is_sent = False
        if is_sent:
            return
        if not kind.has_cursor:
            raise Refused(503, "The run cannot be watched now.", retry_after="5")
        await self._send_pieces(only(self._later()), receive, send, headers)  # on an error, a browser would give up

    async def _is_sent(
        self,
        request: Request,
        run_id: str,
        kind: FormKind,
        permission: Permission | None,
        receive: Receive,
        send: Send,
        headers: Headers,
    ) -> bool:
        """Return whether a run was sent, to the end of the stream; else there was no room for its viewer."""
        info = await info_of(self._journal, run_id)
        if kind.only_open and (info is None or info.status in ("ended", "interrupted")):
            await send_nothing(send, headers)
            return True
        if info is None and (place_of(request.last_event_id) == NOWHERE or not kind.has_cursor):
            raise Refused(404, NOT_FOUND)
        if info is None:  # it was there: its writer may be about to write again what its journal has lost
            await self._send_pieces(only(self._later() + gap("gone")), receive, send, headers)
            return True
        with self._limits.one_more(run_id, self._client(request.scope)) as has_room:
            if not has_room or self._opened.is_draining:
                return False
            frames = self.frames(run_id, form=kind, last_event_id=request.last_event_id)
            is_dead = info.within(self._interrupted_after).status == "interrupted"
            first = self._later() if is_dead else retry_block(RETRY, self._random())
            pieces = Permitted(frames, permission, first if kind.has_cursor else b"")
            await self._send_frames(frames, pieces, receive, send, headers)
        return True

    async def _send_frames(
        self, frames: Frames, pieces: Permitted, receive: Receive, send: Send, headers: Headers
    ) -> None:
        async with frames:
            if not frames.has_more:
                await send_nothing(send, headers)
                return
            sent = {**frames.headers, **headers}
            try:
                await send_stream(receive, send, pieces, sent, write_timeout=WRITE_TIMEOUT)
            except RunInterrupted:
                return  # without the end of the body, so that the server breaks the connection off

    async def _send_pieces(self, pieces: AsyncIterator[bytes], receive: Receive, send: Send, headers: Headers) -> None:
        sent = {**STREAM_HEADERS, **headers}
        await send_stream(receive, send, pieces, sent, write_timeout=WRITE_TIMEOUT)

    def _later(self) -> bytes:
        return retry_block(RETRY_REFUSED, self._random())
