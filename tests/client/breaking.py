"""A simulator that breaks where a test says, and drives of it whose every change and request is noted."""

import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from itertools import count
from typing import Any, Final, Literal, NamedTuple, TypeAlias

import anyio
import httpx
import msgspec
import pytest
from anyio.from_thread import start_blocking_portal

from stepstream import (
    MessageTransition,
    Outcome,
    Processor,
    RunsClient,
    RunTransition,
    StepStreamError,
    StepTransition,
    Toolbox,
    ToolCallFinished,
    ToolCallStarted,
)
from stepstream.asgi.http import Application, Message, Receive, Scope, Send, answer_lifespan
from stepstream.asgi.server import CONNECTION
from stepstream.simulator import Scenario, app, serve
from stepstream.simulator.pace import PaceLike
from stepstream.wire.statuses import NEXT_MESSAGE, NEXT_RUN, NEXT_STEP, RUN_TERMINAL
from stepstream.wire.tool_calls import ToolCall

JSON = dict[str, Any]
Kind: TypeAlias = Literal["cut", "reset", "stall"]
Unit: TypeAlias = Literal["event", "bytes"]
KINDS: Final[tuple[Kind, ...]] = ("cut", "reset", "stall")
SEEN: Final = (StepTransition, RunTransition, MessageTransition, ToolCallStarted, ToolCallFinished)

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
        name = f"wire-{next(_NUMBERS)}"
        self.wires[name] = wire
        headers = {"x-app": self.client.headers["x-app"], "x-wire": name}
        return RunsClient(f"{self.url}/v1", client=None if own else self.client, headers=headers, **options)


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


class ServerAnswer(NamedTuple):
    """What the server says of a run."""

    run: JSON
    steps: list[JSON]
    messages: list[JSON]


async def truth_of(server: Server, thread_id: str, run_id: str) -> ServerAnswer:
    """Ask the server for a run."""
    thread = f"{server.url}/threads/{thread_id}"
    every = {"order": "asc", "limit": "100"}
    run = await server.client.get(f"{thread}/runs/{run_id}")
    steps = await server.client.get(f"{thread}/runs/{run_id}/steps", params=every)
    messages = await server.client.get(f"{thread}/messages", params={**every, "run_id": run_id})
    return ServerAnswer(run.json(), steps.json()["data"], messages.json()["data"])


def plain(value: object) -> Any:
    """Return an object of the wire as JSON."""
    return json.loads(msgspec.json.encode(value))


def told(outcome: Outcome) -> ServerAnswer:
    """Return what an outcome says of its only run."""
    [run] = outcome.runs.values()
    return ServerAnswer(
        plain(run), [plain(one) for one in outcome.steps.values()], [plain(one) for one in outcome.messages.values()]
    )


def same(got: ServerAnswer, expected: ServerAnswer) -> bool:
    """Tell whether two say the same of a run, in whatever order."""
    ordered = [
        ServerAnswer(one.run, *(sorted(some, key=lambda each: each["id"]) for some in one[1:]))
        for one in (got, expected)
    ]
    return ordered[0] == ordered[1]


def harbour(made: list[str]) -> Toolbox:
    """Return a toolbox that answers the simulator's scenarios. It notes the calls it makes."""
    tools = Toolbox()

    @tools.function
    async def get_depth(place: str, tide: str) -> float:
        made.append(f"get_depth {place} {tide}")
        return 7.5

    @tools.function
    async def get_tide() -> None:
        made.append("get_tide")

    @tools.function
    async def get_wind(unit: str) -> int:
        made.append(f"get_wind {unit}")
        raise ValueError("no wind")

    @tools.function
    async def book_berth(place: str, hours: int) -> bool:
        made.append(f"book_berth {place} {hours}")
        return True

    @tools.approve
    async def allow(call: ToolCall) -> bool:
        made.append("approve")
        return True

    return tools


class Drive(NamedTuple):
    """How a drive went."""

    outcome: Outcome | None
    failure: StepStreamError | None
    changes: list[Any]
    ends: list[Any]
    """What another subscriber saw, to terminal transitions only."""
    made: list[str]
    """The tool calls that were made."""
    wire: Wire


async def driven(
    server: Server,
    wire: Wire,
    *,
    thread_id: str | None = None,
    tools: Toolbox | None = None,
    context: object = None,
    max_rounds: int = 20,
    own: bool = False,
    **options: Any,
) -> Drive:
    """Drive a run to its end over `wire`. `options` are those of the client."""
    changes, ends, made = list[Any](), list[Any](), list[str]()
    outcome, failure = None, None
    with anyio.fail_after(WITHIN):
        async with Processor(strict=True) as processor:

            @processor.on(*SEEN)
            async def see(change: Any) -> None:
                changes.append(change)

            @processor.on(StepTransition, RunTransition, MessageTransition, terminal=True)
            async def see_end(change: Any) -> None:
                ends.append(change)

            try:
                outcome = await server.wired(wire, own=own, **options).drive(
                    processor,
                    thread_id,
                    tools or harbour(made),
                    context=context,
                    max_rounds=max_rounds,
                    assistant_id="asst_own",
                )
            except StepStreamError as exc:
                failure = exc
    return Drive(outcome, failure, changes, ends, made, wire)


def key(change: Any) -> tuple[str, str]:
    """Return what a transition is of."""
    identifier = getattr(change, "step_id", None) or getattr(change, "message_id", None) or change.run_id
    return type(change).__name__, identifier


TABLES: Final[Mapping[str, Mapping[str, frozenset[str]]]] = {
    "StepTransition": NEXT_STEP,
    "MessageTransition": NEXT_MESSAGE,
    "RunTransition": NEXT_RUN,
}


def illegal(changes: list[Any]) -> list[str]:
    """Return what is wrong with the order of changes, by the tables and by the contract of tool calls."""
    wrong, status, calls = list[str](), dict[tuple[str, str], str](), dict[tuple[str, int], str]()
    for change in changes:
        match change:
            case ToolCallStarted() | ToolCallFinished():
                call, name = (change.step_id, change.index), type(change).__name__
                expected = None if name == "ToolCallStarted" else "ToolCallStarted"
                wrong += [f"{name} of {call} after {calls.get(call)}"] if calls.get(call) != expected else []
                wrong += [f"{name} of {call} after its step"] if status[_step(call[0])] != "in_progress" else []
                calls[call] = name
            case StepTransition() | RunTransition() | MessageTransition():
                table, before = TABLES[type(change).__name__], status.get(key(change))
                if change.previous != before:
                    wrong.append(f"{key(change)} {change.status} after {before}, but says {change.previous}")
                if before is None and change.status not in ("in_progress", "queued"):
                    wrong.append(f"{key(change)} begins with {change.status}")
                if before is not None and change.status not in table[before]:
                    wrong.append(f"{key(change)} {change.status} after {before}")
                status[key(change)] = change.status
    run_over = next((n for n, one in enumerate(changes) if isinstance(one, RunTransition) and one.terminal), None)
    late = changes[run_over + 1 :] if run_over is not None else []
    wrong += [f"{key(one)} after the run" for one in late if isinstance(one, StepTransition)]
    wrong += [f"{call} did not finish" for call, name in calls.items() if name != "ToolCallFinished"]
    return wrong


def _step(step_id: str) -> tuple[str, str]:
    return "StepTransition", step_id


def is_over(run: JSON) -> bool:
    return run["status"] in RUN_TERMINAL
