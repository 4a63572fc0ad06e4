"""Conversations of pages: what they post becomes a run, which they are sent in the form of their kit.

A run belongs to its conversation, not to the request that began it: a page that leaves ends nothing, and one that comes
back gets the run from its beginning. Requests end where the run ends, or where it waits for the page.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from contextlib import suppress
from functools import partial
from typing import Any, ClassVar, Final, Self

import anyio
import anyio.abc
import msgspec

from stepstream.asgi.http import BodyTooLong, Receive, Scope, Send, read_body, send_stream
from stepstream.errors import RunInterrupted
from stepstream.journal.following import INTERRUPTED_AFTER
from stepstream.journal.memory import MemoryJournal
from stepstream.journal.reading import Journal
from stepstream.live.processor import Processor
from stepstream.relay.access import Authorize, Permission
from stepstream.relay.admission import Admission, Headers
from stepstream.relay.batch import encoded_frames
from stepstream.relay.feed import COALESCE, RunFeed
from stepstream.relay.feeds import Feeds
from stepstream.relay.forms.form import FormKind
from stepstream.relay.forms.kit import KitForm
from stepstream.relay.forms.waiting import WaitingForm
from stepstream.relay.frames import STREAM_HEADERS, Frames, OpenFrames
from stepstream.relay.posted import Posted
from stepstream.relay.requests import Refused, Request, send_nothing
from stepstream.relay.serving import WRITE_TIMEOUT, Permitted, only
from stepstream.relay.turns import Answer, Cancel, Turn, Turns

MAX_CHATS: Final = 10_000

MAX_VIEWERS: Final = 100
"""How many may be sent one run."""

BEGIN_WITHIN: Final = 60.0
"""Seconds within which a run has to begin."""

MAX_BODY: Final = 4 * 2**20

NOT_FOUND: Final = "There is no such conversation, or you may not see it."


class Chats(ABC):
    """Conversations: an ASGI application, open in an `async with` block. Its subclasses are for one kit each.

    `answer(processor, posted)` has the processor read a run until it ends or waits, such as by `drive` of a client.
    With `posted.run_id` it goes on with that run, which waits for `posted.outputs` and `posted.approvals`. `cancel` is
    called with the id of a run that somebody stops; without it, the run is read no more. The runs are kept in
    `journal`. `authorize(scope, chat_id)` returns whether whoever sent a request may see a conversation; without it
    only this machine is served. `origins` are those of pages elsewhere. `show_errors` shows pages the server's words.
    `max_chats` there are at most; those that ended first are forgotten first.

        POST                     what the page posts; answered with the run
        GET  …/{chat}/stream     the run that goes on, from its beginning; 204 where none does
        POST …/{chat}/stop       end it
    """

    kind: ClassVar[FormKind]
    """The form of the kit."""

    def __init__(
        self,
        answer: Answer,
        *,
        cancel: Cancel | None = None,
        journal: Journal | None = None,
        authorize: Authorize | None = None,
        origins: Iterable[str] = (),
        show_errors: bool = False,
        max_chats: int = MAX_CHATS,
    ) -> None:
        self._answer = answer
        self._cancel = cancel
        self._journal = journal if journal is not None else MemoryJournal()
        self._admission = Admission(authorize, origins, "GET, POST", NOT_FOUND)
        self.show_errors = show_errors
        self._turns = Turns(max_chats)
        self._tasks: anyio.abc.TaskGroup | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {len(self._turns):,} conversations>"

    async def __aenter__(self) -> Self:
        self._tasks = anyio.create_task_group()
        await self._tasks.__aenter__()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        tasks, self._tasks = self._tasks, None
        assert tasks is not None
        self._turns.interrupt("shutdown")
        tasks.cancel_scope.cancel()
        await tasks.__aexit__(None, None, None)  # what the block raised goes on as it is

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as an ASGI application."""
        await self._admission.answer(scope, send, partial(self._route, receive, send))

    async def _route(self, receive: Receive, send: Send, request: Request, headers: Headers) -> None:
        match request.scope["method"], request.segments:
            case "GET", [*_, chat_id, "stream"]:
                await self._resume(request, chat_id, receive, send, headers)
            case "POST", [*_, chat_id, "stop"]:
                await self._admission.permission(request, chat_id)
                turn = self._turns.get(chat_id)
                if turn is not None and turn.goes_on:
                    await turn.stop(self._cancel)
                await send_nothing(send, headers)
            case "POST", _:
                await self._post(request, receive, send, headers)
            case _:
                raise Refused(405, "Expected POST, or GET of a stream.", allow="GET, POST, OPTIONS")

    async def _resume(self, request: Request, chat_id: str, receive: Receive, send: Send, headers: Headers) -> None:
        permission = await self._admission.permission(request, chat_id)
        turn = self._turns.get(chat_id)
        if turn is None or turn.run is None or not turn.goes_on:
            await send_nothing(send, headers)
            return
        frames, is_told = self._frames(turn, turn.run.id, skips=False)
        async with frames:
            await self._send(turn, frames, is_told, permission, receive, send, headers)

    async def _post(self, request: Request, receive: Receive, send: Send, headers: Headers) -> None:
        posted = await self._body(receive)
        permission = await self._admission.permission(request, posted.chat_id)
        before = self._turns.get(posted.chat_id)
        if before is not None and before.goes_on:
            raise Refused(409, "A run of this conversation goes on.")
        if before is not None and before.run is not None and posted.answers(before.asked):
            turn = Turn(posted.for_run(before.run, before.asked))
            turn.go_on_with(before)
            frames, is_told = self._frames(turn, before.run.id, skips=True)
            async with frames:  # before anything comes
                self._begin(turn)
                await self._send(turn, frames, is_told, permission, receive, send, headers)
            return
        if posted.messages and posted.messages[-1].get("role") != "user":
            raise Refused(409, "Expected a message of the user, or answers to what a run waits for.")
        if before is not None:
            before.release()
        turn = Turn(posted)
        self._begin(turn)
        with anyio.move_on_after(BEGIN_WITHIN):
            await turn.has_begun.wait()
        if turn.run is None:
            await turn.stop(None)
            pieces = only(encoded_frames([*self.form(posted).interrupt("interrupted"), *self.kind.done]))
            sent = {**STREAM_HEADERS, **self.kind.headers, **headers}
            await send_stream(receive, send, pieces, sent, write_timeout=WRITE_TIMEOUT)
            return
        frames, is_told = self._frames(turn, turn.run.id, skips=False)
        async with frames:
            await self._send(turn, frames, is_told, permission, receive, send, headers)

    async def _body(self, receive: Receive) -> Posted:
        try:
            body = await read_body(receive, MAX_BODY)
            found = msgspec.json.decode(body or b"", type=dict[str, Any])
            return self.read(found)
        except BodyTooLong:
            raise Refused(413, f"Expected at most {MAX_BODY:,} bytes.") from None
        except (msgspec.DecodeError, ValueError, RecursionError):
            raise Refused(422, "Expected what the kit's client posts, as JSON.") from None

    def _begin(self, turn: Turn) -> None:
        if self._tasks is None:
            raise RuntimeError("expected to be open: enter it by `async with`, such as in the application's lifespan")
        if not self._turns.add(turn):
            raise Refused(503, "There is no room for another conversation now.", retry_after="5")
        self._tasks.start_soon(turn.take, Processor(journal=self._journal), self._answer)

    @abstractmethod
    def read(self, body: dict[str, Any]) -> Posted:
        """Return what the kit's client posts.

        Raises:
            ValueError: it is something else.
        """

    @abstractmethod
    def form(self, posted: Posted) -> KitForm:
        """Return a form for what is answered to it."""

    def _frames(self, turn: Turn, run_id: str, *, skips: bool) -> tuple[Frames, anyio.Event]:
        is_told = anyio.Event()

        def make() -> WaitingForm:
            return WaitingForm(self.form(turn.posted), is_told.set, self.kind.done, skips=skips)

        kind = msgspec.structs.replace(self.kind, make=make)
        feed = partial(RunFeed, self._journal, coalesce=COALESCE, interrupted_after=INTERRUPTED_AFTER)
        return Frames(self._journal, Feeds(feed), OpenFrames(), run_id, kind, ""), is_told

    async def _send(
        self,
        turn: Turn,
        frames: Frames,
        is_told: anyio.Event,
        permission: Permission | None,
        receive: Receive,
        send: Send,
        headers: Headers,
    ) -> None:
        """Send what a viewer gets. `frames` are entered."""
        if len(turn.frames) >= MAX_VIEWERS:
            raise Refused(503, "There is no room for another viewer now.", retry_after="5")
        turn.frames.add(frames)
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(turn.end_at_wait, frames, is_told)
                pieces = Permitted(frames, permission)
                # cut off, it has no end of the body, so that the server breaks the connection off
                with suppress(RunInterrupted):
                    sent = {**frames.headers, **headers}
                    await send_stream(receive, send, pieces, sent, write_timeout=WRITE_TIMEOUT)
                tasks.cancel_scope.cancel()
        finally:
            turn.frames.discard(frames)
