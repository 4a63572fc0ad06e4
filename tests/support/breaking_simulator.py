"""A simulator whose connections break where a test says, and which records the requests it gets."""

import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from itertools import count
from typing import Any, Final, Literal, NamedTuple, TypeAlias

import anyio
import httpx
import pytest
from anyio.from_thread import start_blocking_portal

from stepstream import ResponsesClient, RunsClient
from stepstream.asgi.http import Application, Message, Receive, Scope, Send, answer_lifespan
from stepstream.asgi.server import CONNECTION
from stepstream.simulator.application import app
from stepstream.simulator.pace import PaceLike
from stepstream.simulator.scenario import Scenario
from stepstream.simulator.serving import serve
from tests.support.json_values import JSON

Kind: TypeAlias = Literal["cut", "reset", "stall"]
Unit: TypeAlias = Literal["event", "bytes"]
KINDS: Final[tuple[Kind, ...]] = ("cut", "reset", "stall")

WITHIN = 60
"""Seconds that a drive may take. It takes far less; this bounds a failure."""


class Break(NamedTuple):
    """Where a drive's streams break: after so many events or bytes of the stream of that number, from 1, and how."""

    kind: Kind
    stream: int
    unit: Unit
    after: int


class Trouble(NamedTuple):
    """What becomes of a request instead of its answer."""

    status: int | None = None
    """A refusal with that status; 200: an empty stream. None: the connection is reset before anything is answered."""
    is_got: bool = False
    """Whether the application gets the request nevertheless."""


class Asked(NamedTuple):
    """One request."""

    method: str
    path: str
    body: JSON | None


class Wire:
    """The requests of one drive: how they are spoilt, and what became of them.

    `trouble` is told of each request and of how many there were of its method and path before, and may say what
    becomes of it.
    """

    def __init__(self, broken: Break | None = None, trouble: Callable[[Asked, int], Trouble | None] | None = None):
        self.asked: list[Asked] = []
        self.streams: list[bytearray] = []
        """The bytes of each stream, as far as they were sent."""
        self.open = 0
        """How many requests are being answered."""
        self._broken = broken
        self._trouble = trouble
        self._connections: set[Any] = set()

    @property
    def connections(self) -> int:
        """How many of its connections are open."""
        return sum(not one._transport.is_closing() for one in self._connections)

    async def closed(self) -> None:
        """Return when nothing is open any more: the server sees a moment later that its client has left."""
        with anyio.fail_after(WITHIN):
            while self.open or self.connections:  # noqa: ASYNC110 - the server is in another thread
                await anyio.sleep(0.001)

    def posts(self, end: str = "submit_tool_outputs") -> list[JSON]:
        """The bodies of the POSTs to a path."""
        return [one.body or {} for one in self.asked if one.method == "POST" and one.path.endswith(end)]

    async def answer(self, application: Application, scope: Scope, receive: Receive, send: Send) -> None:
        self.open += 1
        self._connections.add(scope["extensions"][CONNECTION])
        try:
            await self._answer(application, scope, receive, send)
        finally:
            self.open -= 1

    async def _answer(self, application: Application, scope: Scope, receive: Receive, send: Send) -> None:
        body = b""
        while (message := await receive())["type"] == "http.request":
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        asked = Asked(scope["method"], scope["path"], json.loads(body) if body else None)
        before = sum(one[:2] == asked[:2] for one in self.asked)
        self.asked.append(asked)
        trouble = self._trouble(asked, before) if self._trouble else None
        whole = [{"type": "http.request", "body": body}]

        async def receive_again() -> Message:
            return whole.pop() if whole else await receive()

        if trouble is not None:
            if trouble.is_got:
                await application(scope, receive_again, _gone)
            await self._spoil(trouble, scope, send)
        elif asked.body is not None and asked.body.get("stream"):
            await application(scope, receive_again, self._recorded(scope, send))
        else:
            await application(scope, receive_again, send)

    async def _spoil(self, trouble: Trouble, scope: Scope, send: Send) -> None:
        if trouble.status is None:
            scope["extensions"][CONNECTION].reset()
            return
        headers = [(b"content-type", b"text/event-stream" if trouble.status == 200 else b"application/json")]
        await send({"type": "http.response.start", "status": trouble.status, "headers": headers})
        body = b"" if trouble.status == 200 else b'{"error": {"message": "trouble"}}'
        await send({"type": "http.response.body", "body": body})

    def _recorded(self, scope: Scope, send: Send) -> Send:
        """Return what sends a stream up to where it breaks."""
        sent = bytearray()
        self.streams.append(sent)
        broken = self._broken if self._broken and self._broken.stream == len(self.streams) else None
        events = 0

        async def forward(message: Message) -> None:
            nonlocal events
            data = message.get("body", b"")
            if message["type"] == "http.response.body" and broken is not None:
                if broken.unit == "event" and events == broken.after:
                    await self._end(broken.kind, scope, send)
                left = broken.after - len(sent)
                if broken.unit == "bytes" and len(data) >= left:
                    sent.extend(data[:left])
                    await send({**message, "body": data[:left], "more_body": True})
                    await self._end(broken.kind, scope, send)
            sent.extend(data)
            events += bool(data)
            await send(message)

        return forward

    async def _end(self, kind: Kind, scope: Scope, send: Send) -> None:
        if kind == "stall":
            await anyio.sleep_forever()
        elif kind == "reset":
            scope["extensions"][CONNECTION].reset()
        else:
            await send({"type": "http.response.body", "body": b""})
        raise OSError("the client has left")  # as servers say it: the application leaves the stream


async def _gone(_: Message) -> None:
    raise OSError("the client has left")


class Server(NamedTuple):
    """A simulator that spoils the requests of the drives that ask for it, by the header `x-wire`."""

    url: str
    client: httpx.AsyncClient
    wires: dict[str, Wire]

    def wired(self, wire: Wire, *, own: bool = False, **options: Any) -> RunsClient:
        """Return a client whose requests go over `wire`. With `own`, it makes its own connections."""
        return RunsClient(f"{self.url}/v1", **self._wiring(wire, own), **options)

    def wired_responses(self, wire: Wire, *, own: bool = False, **options: Any) -> ResponsesClient:
        """Return a client of the other API; otherwise as `wired`."""
        return ResponsesClient(f"{self.url}/v1", **self._wiring(wire, own), **options)

    def _wiring(self, wire: Wire, own: bool) -> dict[str, Any]:
        name = f"wire-{next(_NUMBERS)}"
        self.wires[name] = wire
        headers = {"x-app": self.client.headers["x-app"], "x-wire": name}
        return {"client": None if own else self.client, "headers": headers}


class Host:
    """One server on a real port for the applications of all tests, each called by a name in the header `x-app`."""

    def __init__(self) -> None:
        self.url = ""
        self.applications: dict[str, Application] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await answer_lifespan(receive, send)
        else:
            await self.applications[_header(scope, b"x-app")](scope, receive, send)


def _header(scope: Scope, name: bytes) -> str:
    return str(dict(scope["headers"]).get(name, b"").decode())


_HOST: Final = Host()
_NUMBERS: Final = count(1)


@pytest.fixture(scope="session", autouse=True)
def host() -> Iterator[None]:
    """Serve, for as long as there are tests."""
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(serve(_HOST)) as _HOST.url:
        yield


@asynccontextmanager
async def breaking(scenario: str | Scenario | Application, *, pace: PaceLike = "fast") -> AsyncIterator[Server]:
    """Serve a scenario, or an application, on a real port."""
    application = app(scenario=scenario, pace=pace) if isinstance(scenario, str | Scenario) else scenario
    wires, name = dict[str, Wire](), f"app-{next(_NUMBERS)}"

    async def spoilt(scope: Scope, receive: Receive, send: Send) -> None:
        wire = wires.get(_header(scope, b"x-wire"))
        if wire is None:
            await application(scope, receive, send)
        else:
            await wire.answer(application, scope, receive, send)

    _HOST.applications[name] = spoilt
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=4)
    options: Any = {"headers": {"x-app": name}, "limits": limits, "timeout": WITHIN}
    async with httpx.AsyncClient(trust_env=False, verify=False, **options) as client:
        yield Server(_HOST.url, client, wires)
    del _HOST.applications[name]
