"""Runs of the simulator for its tests: in memory, over ASGI, over a real socket."""

import json
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, NamedTuple

import anyio
import httpx

from stepstream import Outcome, Processor, connect
from stepstream.asgi.http import Application, Message, Scope
from stepstream.simulator.course import Stream
from stepstream.simulator.pace import FAST, Pace
from stepstream.simulator.runs import Run, new_run
from stepstream.simulator.scenario import Scenario
from stepstream.simulator.scenarios import SCENARIOS
from stepstream.simulator.timed_event import TimedEvent
from stepstream.wire.sse import Frame, FrameDecoder
from tests.support.json_values import JSON, plain
from tests.support.stored_runs import THREAD

Events = list[tuple[str, Any]]

AT = 1_800_000_000
RUNS = f"{THREAD}/runs"
RUN_BODY = {"assistant_id": "asst_own", "stream": True}
RUN_BYTES = json.dumps(RUN_BODY).encode()


def a_run(scenario: str | Scenario = "umbrellas", *, seed: int | None = None, pace: Pace = FAST) -> Run:
    """Return a run that no application has."""
    story = SCENARIOS[scenario] if isinstance(scenario, str) else scenario
    return new_run(1, story, thread_id="thread_own", assistant_id="asst_own", settings={}, at=AT, seed=seed, pace=pace)


def beats(stream: Stream, now: float = 0.0) -> list[TimedEvent]:
    """Return the rest of a stream."""
    return list(iter(partial(stream.next_event, now), None))


def decoded(frames: list[Frame]) -> Events:
    return [(frame.event, frame.data if frame.event == "done" else json.loads(frame.data)) for frame in frames]


def events_of(data: bytes) -> Events:
    return decoded(FrameDecoder().feed(data))


def asked_calls(run: JSON) -> list[JSON]:
    action = run["required_action"]
    calls: list[JSON] = action[action["type"]]["tool_calls"]
    return calls


def answer(run: JSON, *, approve: bool = True) -> JSON:
    """Return the body that answers what a run waits for."""
    calls = asked_calls(run)
    if run["required_action"]["type"] == "submit_tool_approval":
        return {"tool_approvals": [{"tool_call_id": call["id"], "approve": approve} for call in calls], "stream": True}
    outputs = [{"tool_call_id": call["id"], "output": f"the output of {call['id']}"} for call in calls]
    return {"tool_outputs": outputs, "stream": True}


@asynccontextmanager
async def calling(application: Application) -> AsyncIterator[httpx.AsyncClient]:
    """Give a client that calls an application in memory. It has an answer when that is whole."""
    transport = httpx.ASGITransport(application)
    async with httpx.AsyncClient(transport=transport, base_url="http://simulator") as client:
        yield client


async def posted(client: httpx.AsyncClient, path: str, body: JSON, **headers: str) -> Events:
    """Return the events of a stream."""
    response = await client.post(path, json=body, headers={name.replace("_", "-"): headers[name] for name in headers})
    assert (response.status_code, response.headers["content-type"]) == (200, "text/event-stream"), response.text
    return events_of(response.content)


async def whole_bytes(client: httpx.AsyncClient, query: str = "", path: str = RUNS) -> list[bytes]:
    """Return the bytes of each stream of a new run, all that it asks for answered."""
    streams, body = list[bytes](), RUN_BODY
    while True:
        response = await client.post(path + query, json=body)
        assert response.status_code == 200, response.text
        streams.append(response.content)
        run = [data for name, data in events_of(response.content) if name.startswith("thread.run.") and "tools" in data]
        if run[-1]["status"] != "requires_action":
            return streams
        path, body = f"/threads/{run[-1]['thread_id']}/runs/{run[-1]['id']}/submit_tool_outputs", answer(run[-1])


class Folded(NamedTuple):
    """What stepstream makes of the streams of a run, and how each ended."""

    run: JSON
    steps: list[JSON]
    messages: list[JSON]
    outcomes: list[Outcome]


async def folded(client: httpx.AsyncClient, query: str = "", **options: Any) -> Folded:
    """Open a run over a real socket and answer what it asks for until it ends. `options` are those of `connect`."""
    outcomes, path, body = list[Outcome](), RUNS, RUN_BODY
    steps, messages = dict[str, JSON](), dict[str, JSON]()
    async with Processor() as processor:
        while True:
            url = f"{client.base_url}".rstrip("/") + path + query
            outcome = await processor.run(connect(url, json=body, client=client, **options))
            outcomes.append(outcome)
            [run] = [plain(run) for run in outcome.runs.values()]
            steps.update({identifier: plain(step) for identifier, step in outcome.steps.items()})
            messages.update({identifier: plain(message) for identifier, message in outcome.messages.items()})
            if run["status"] != "requires_action":
                return Folded(run, list(steps.values()), list(messages.values()), outcomes)
            path, body = f"{RUNS}/{run['id']}/submit_tool_outputs", answer(run)


class Caller:
    """A server's side of one request to an application, whose client leaves once it has got `patience` messages."""

    def __init__(
        self,
        body: bytes = json.dumps(RUN_BODY).encode(),
        *,
        path: str = RUNS,
        query: str = "",
        patience: float = math.inf,
    ) -> None:
        self.scope: Scope = {
            "type": "http", "method": "POST", "path": path, "query_string": query.encode(), "headers": []
        }  # fmt: skip
        self.sent: list[Message] = []
        self.incoming: list[Message] = [{"type": "http.request", "body": body}]
        self.patience = patience
        self.left = anyio.Event()

    async def receive(self) -> Message:
        if self.incoming:
            return self.incoming.pop()
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        self.sent.append(message)
        if len(self.sent) >= self.patience:
            self.left.set()

    async def call(self, application: Application) -> None:
        await application(self.scope, self.receive, self.send)

    @property
    def data(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent)


class RaisingCaller(Caller):
    """The same on a server that raises once the client has left."""

    async def send(self, message: Message) -> None:
        await super().send(message)
        if len(self.sent) >= self.patience:
            raise OSError("the client has left")
