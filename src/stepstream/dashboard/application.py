"""The dashboard's ASGI application: the page, the runs by a relay, the list of runs, and the door for new ones.

GET /  /page.js  /page.css …   the page
GET /runs/…                    the relay
GET /list                      all runs in a few words each, live, or as JSON
POST /ingest                   a body that is an event stream becomes a run
POST /login  /logout           a session for the page, where there is a token
GET /healthz                   counts
"""

import random
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final
from urllib.parse import quote

import anyio
import msgspec

from stepstream.asgi.http import (
    BodyTooLong,
    Message,
    Receive,
    Scope,
    Send,
    is_http,
    read_body,
    send_body,
    send_stream,
)
from stepstream.dashboard.access import Access
from stepstream.dashboard.body import IDLE_TIMEOUT, MAX_BODY, ClientLeft
from stepstream.dashboard.files import page_files
from stepstream.dashboard.ingest import MAX_INGESTS, Ingests
from stepstream.dashboard.list_stream import news_of_list
from stepstream.dashboard.login import given_token
from stepstream.dashboard.run_list import RunList
from stepstream.errors import JournalError
from stepstream.journal.reading import Journal
from stepstream.relay.access import peer_of
from stepstream.relay.frames import STREAM_HEADERS
from stepstream.relay.limits import ViewerLimits
from stepstream.relay.relay import MAX_VIEWERS, Relay
from stepstream.relay.requests import Refused, Request, read_request, send_json, send_nothing, send_refusal
from stepstream.relay.run_reader import info_of
from stepstream.relay.serving import RETRY_REFUSED, WRITE_TIMEOUT, only, retry_block

SAFE: Final[Mapping[str, str]] = {
    "content-security-policy": "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}
"""Headers of every answer: nothing of another site is loaded, none may embed the page, no script stands in it."""

MAX_LISTS: Final = 100
"""How many of the list's viewers each client may be."""

CATCH_UP_LIMIT: Final = 2.0
"""Seconds for which the list waits for what is said of its runs."""

HEALTH_LIMIT: Final = 2.0
"""Seconds that the journal has to answer until it counts as unreachable."""

GRACE: Final = 4.0
"""Seconds that bodies have to end by themselves when the server is told to stop."""


class Dashboard:
    """Show the runs of `journal` in a browser, and take new ones: an ASGI application, to be mounted or served alone.

    Without `token` only this machine is served. With one (at least 16 characters) programs send it as a bearer, and the
    page asks for it. `max_ingests` bodies are read at a time, each of at most `max_body` bytes; one that brings nothing
    for `idle_timeout` seconds is given up. `clock` returns Unix seconds, `random` numbers from 0 to 1, to spread what
    comes back.

    Raises:
        ValueError: the token is too short to be one.
    """

    def __init__(
        self,
        journal: Journal,
        token: str | None = None,
        *,
        max_ingests: int = MAX_INGESTS,
        idle_timeout: float = IDLE_TIMEOUT,
        max_body: int = MAX_BODY,
        clock: Callable[[], float] = time.time,
        random: Callable[[], float] = random.random,
    ) -> None:
        self._journal = journal
        self._random = random
        self._access = Access(token, clock)
        self._relay = Relay(journal, authorize=None if token is None else self._access.may_see)
        self._list = RunList(journal)
        self._list_viewers = ViewerLimits(MAX_VIEWERS, MAX_LISTS)
        self._ingests = Ingests(journal, most=max_ingests, idle_timeout=idle_timeout, max_body=max_body)
        self._files = page_files(has_login=token is not None)
        self._is_draining = False

    def __repr__(self) -> str:
        return f"<Dashboard for {self._access!r}: {self._relay!r}, {self._ingests!r}>"

    async def drain(self, grace: float = GRACE) -> None:
        """End all streams, let bodies come to their end for `grace` seconds, and return when all is written.

        To be called when the server begins to shut down. Nothing is taken any more. Viewers who do not take the end of
        their streams within that time are left to the server.
        """
        self._is_draining = True
        self._list.close()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._relay.drain, grace)
            tasks.start_soon(self._ingests.drain, grace)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as an ASGI application."""
        if await is_http(scope, receive, send):
            await self._answer(scope, receive, _safe(send))

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._route(read_request(scope), receive, send)
        except Refused as refused:
            await send_refusal(send, refused, {})
        except ClientLeft:
            return  # there is nobody to answer

    async def _route(self, request: Request, receive: Receive, send: Send) -> None:
        match request.scope["method"], request.segments:
            case "GET" | "HEAD", [] | ["page.js" | "page.css" | "icon.svg"]:
                await self._send_file(request, send)
            case _, ["runs", *_]:
                self._access.check(request)
                root = request.scope.get("root_path", "")
                await self._relay({**request.scope, "root_path": f"{root}/runs"}, receive, send)
            case "GET", ["list"]:
                self._access.check(request)
                await self._send_list(request, receive, send)
            case "POST", ["ingest"]:
                await self._ingest(request, receive, send)
            case "POST", ["login" | "logout" as way]:
                self._access.check_place(request)
                await self._log(way, request, receive, send)
            case "GET" | "HEAD", ["healthz"]:
                self._access.check_place(request)
                await self._send_health(send)
            case _, [] | ["page.js" | "page.css" | "icon.svg" | "list" | "ingest" | "login" | "logout" | "healthz"]:
                raise Refused(405, "This method is not for this path.")
            case _:
                raise Refused(404, "There is nothing here.")

    async def _send_file(self, request: Request, send: Send) -> None:
        self._access.check_place(request, is_page=True)
        if not request.segments and not request.scope["path"].endswith("/"):  # a mount: names in the page are relative
            await _redirect(send, f"{request.scope['root_path']}/")
            return
        found = self._files["".join(request.segments) or "index.html"]
        headers = {"etag": found.etag, "cache-control": "no-cache"}
        if found.etag in request.headers.get("if-none-match", ""):
            start = [(name.encode(), value.encode()) for name, value in headers.items()]
            await send({"type": "http.response.start", "status": 304, "headers": start})
            await send({"type": "http.response.body", "body": b""})
            return
        is_head = request.scope["method"] == "HEAD"
        headers["content-length"] = str(len(found.data))
        await send_body(send, 200, b"" if is_head else found.data, found.content_type, headers)

    async def _send_list(self, request: Request, receive: Receive, send: Send) -> None:
        if not request.wants_stream:
            try:
                with anyio.move_on_after(CATCH_UP_LIMIT):
                    await self._list.catch_up()
            except JournalError:
                raise Refused(503, "The journal cannot be read now.", retry_after="5") from None
            await send_json(send, self._list.whole(), {})
            return
        with self._list_viewers.one_more("", peer_of(request.scope)) as has_room:
            news = news_of_list(self._list, partial(self._access.may_see, request.scope, ""))
            if not has_room or self._is_draining:  # on an error status, a browser would not come back
                news = only(retry_block(RETRY_REFUSED, self._random()))
            await send_stream(receive, send, news, STREAM_HEADERS, write_timeout=WRITE_TIMEOUT)

    async def _ingest(self, request: Request, receive: Receive, send: Send) -> None:
        self._access.check(request)
        status, answer = await self._ingests.answer(request, receive)
        await send_body(send, status, msgspec.json.encode(answer), "application/json", {"cache-control": "no-store"})

    async def _log(self, way: str, request: Request, receive: Receive, send: Send) -> None:
        if way == "logout":
            await send_nothing(send, {"set-cookie": self._access.log_out(request)})
            return
        try:
            body = await read_body(receive, 4_096)
        except BodyTooLong:
            raise Refused(413, "Expected a token.") from None
        cookie = self._access.log_in(request, given_token(request.headers.get("content-type", ""), body or b""))
        await send_nothing(send, {"set-cookie": cookie})

    async def _send_health(self, send: Send) -> None:
        told: dict[str, Any] = {"status": "draining" if self._is_draining else "ok"}
        try:
            with anyio.fail_after(HEALTH_LIMIT):
                await info_of(self._journal, "health")  # whether it answers: others may be looking at the list
                await self._list.look()
        except (JournalError, TimeoutError):
            told["status"] = "journal unreachable"
        viewers = self._relay.viewers + self._list_viewers.count
        told |= {"runs": len(self._list), "viewers": viewers, "ingests": len(self._ingests)}
        status = 200 if told["status"] == "ok" else 503
        body = msgspec.json.encode(told)
        await send_body(send, status, body, "application/json", {"cache-control": "no-store"})


async def _redirect(send: Send, place: str) -> None:
    headers = [(b"location", quote(place).encode()), (b"content-length", b"0")]
    await send({"type": "http.response.start", "status": 307, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


def _safe(send: Send) -> Send:
    """Return what adds `SAFE` to the headers of an answer."""

    async def send_safe(message: Message) -> None:
        if message["type"] == "http.response.start":
            given = {name.lower() for name, _ in message["headers"]}
            added = [(name.encode(), value.encode()) for name, value in SAFE.items() if name.encode() not in given]
            message = {**message, "headers": [*message["headers"], *added]}
        await send(message)

    return send_safe
