"""The simulator's ASGI application: its routes, and the runs it knows."""

import math
import re
import time
from collections.abc import Callable, Iterator
from itertools import count
from typing import Final, TypeAlias, TypeVar

import msgspec

from stepstream.simulator.asgi import (
    Application,
    Receive,
    Refusal,
    Scope,
    Send,
    live,
    read_body,
    send_refusal,
    send_stream,
)
from stepstream.simulator.runs import Runs
from stepstream.simulator.scenario import UMBRELLAS
from stepstream.simulator.stage import Beat


class RunRequest(msgspec.Struct):
    """The body that opens a run, as far as the simulator reads it."""

    assistant_id: str = "asst_sim"
    stream: bool = False


class ToolOutput(msgspec.Struct):
    """What one function call gave."""

    tool_call_id: str
    output: str | None = None


class SubmitRequest(msgspec.Struct):
    """The body that answers a run's required action."""

    tool_outputs: list[ToolOutput]
    stream: bool = False


Body = TypeVar("Body", RunRequest, SubmitRequest)


def _create_run(runs: Runs, ids: re.Match[str], body: bytes) -> Iterator[Beat]:
    request = _decode(body, RunRequest)
    return runs.open(UMBRELLAS, ids["thread"], request.assistant_id, time.time()).begin()


def _create_thread_and_run(runs: Runs, ids: re.Match[str], body: bytes) -> Iterator[Beat]:
    request = _decode(body, RunRequest)
    return runs.open(UMBRELLAS, None, request.assistant_id, time.time()).begin(new_thread=True)


def _submit_tool_outputs(runs: Runs, ids: re.Match[str], body: bytes) -> Iterator[Beat]:
    request = _decode(body, SubmitRequest)
    run = runs.find(ids["thread"], ids["run"])
    if run is None:
        raise Refusal(404, f"no run {ids['run']!r} on thread {ids['thread']!r}", param="run_id")
    outputs = {answer.tool_call_id: answer.output for answer in request.tool_outputs}
    if len(outputs) < len(request.tool_outputs):
        raise Refusal(400, "expected one output a call, got two for the same one", param="tool_outputs")
    try:
        return run.submit(outputs, time.time())
    except ValueError as exc:
        raise Refusal(400, str(exc), param="tool_outputs") from exc


def _decode(body: bytes, type_: type[Body]) -> Body:
    try:
        request = msgspec.json.decode(body, type=type_)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise Refusal(400, f"expected a JSON body for this path: {exc}") from exc
    if not request.stream:
        raise Refusal(400, 'the simulator answers with streams only: send "stream": true', param="stream")
    return request


Endpoint: TypeAlias = Callable[[Runs, re.Match[str], bytes], Iterator[Beat]]

_THREAD: Final = r"(?:/v1)?/threads/(?P<thread>[^/]+)"
ROUTES: Final[tuple[tuple[str, re.Pattern[str], Endpoint], ...]] = (
    ("POST", re.compile(r"(?:/v1)?/threads/runs"), _create_thread_and_run),
    ("POST", re.compile(rf"{_THREAD}/runs"), _create_run),
    ("POST", re.compile(rf"{_THREAD}/runs/(?P<run>[^/]+)/submit_tool_outputs"), _submit_tool_outputs),
)


def _route(method: str, path: str) -> tuple[Endpoint, re.Match[str]]:
    """Return what answers the path, and the ids in it."""
    for allowed, pattern, endpoint in ROUTES:
        ids = pattern.fullmatch(path)
        if ids is not None and method != allowed:
            raise Refusal(405, f"expected {allowed} {path}, got {method}", allow=allowed)
        if ids is not None:
            return endpoint, ids
    raise Refusal(404, f"no such path: {method} {path}")


class _Simulator:
    """The application. Choosing an answer is synchronous, so requests cannot come between each other there."""

    def __init__(self, pace: float) -> None:
        self._pace = pace
        self._runs = Runs()
        self._requests = count(1)

    def __repr__(self) -> str:
        return f"<simulator at pace {self._pace}, {self._runs!r}>"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        match scope["type"]:
            case "http":
                await self._answer(scope, receive, send)
            case "lifespan":
                await live(receive, send)
            case other:
                raise ValueError(f"expected an http or lifespan scope, got {other!r}")

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        request_id = f"req_sim{next(self._requests)}"
        try:
            endpoint, ids = _route(scope["method"], scope["path"])
            body = await read_body(receive)
            if body is None:
                return
            beats = endpoint(self._runs, ids, body)
        except Refusal as refusal:
            await send_refusal(send, refusal, request_id)
            return
        try:
            await send_stream(receive, send, beats, pace=self._pace, request_id=request_id)
        finally:
            for _ in beats:  # the run goes on where its reader has left
                pass


def app(*, pace: float = 1.0) -> Application:
    """Return a new simulator as an ASGI application, with runs of its own.

    `pace` scales the delays of its streams: 1 takes some seven seconds for a run's two streams, 0 takes none.

    It answers `POST /threads/runs`, `/threads/{thread}/runs` and `/threads/{thread}/runs/{run}/submit_tool_outputs`,
    each with or without `/v1` before it, where the body says `"stream": true`.

    Raises:
        ValueError: `pace` is negative or not finite.
    """
    if not 0 <= pace < math.inf:
        raise ValueError(f"expected a pace of at least 0, got {pace}")
    return _Simulator(pace)
