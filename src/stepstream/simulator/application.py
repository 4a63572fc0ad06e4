"""The simulator's ASGI application: it finds what answers a request, or the fault that stands in for the answer."""

import hmac
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from typing import Final
from urllib.parse import quote, urlencode

import anyio

from stepstream.asgi.http import (
    Application,
    BodyTooLong,
    Receive,
    Scope,
    Send,
    headers_of,
    is_http,
    query_of,
    read_body,
)
from stepstream.simulator.api import MAX_SEED, Api, Defaults
from stepstream.simulator.course import Stream
from stepstream.simulator.endpoints import ROUTES as ASSISTANTS_ROUTES
from stepstream.simulator.event_faults import with_event_faults
from stepstream.simulator.faults import NONE, Faults, faults_of
from stepstream.simulator.pace import PaceLike, pace_of
from stepstream.simulator.request_faults import HTML, RequestFaults
from stepstream.simulator.requests import ApiRequest, Refusal
from stepstream.simulator.responses.endpoints import ROUTES as RESPONSES_ROUTES
from stepstream.simulator.routing import Awaited, find_route
from stepstream.simulator.scenario import Scenario
from stepstream.simulator.scenarios import DEFAULT, SCENARIOS
from stepstream.simulator.sending import send_html, send_object, send_refusal, send_writes
from stepstream.simulator.timed_event import TimedEvent
from stepstream.simulator.writes import writes

MAX_BODY_BYTES: Final = 2**20
MAX_PARAMETERS: Final = 100

ROUTES: Final = {**ASSISTANTS_ROUTES, **RESPONSES_ROUTES}


async def _body(receive: Receive) -> bytes | None:
    try:
        return await read_body(receive, MAX_BODY_BYTES)
    except BodyTooLong as exc:
        raise Refusal(413, str(exc)) from exc


def _request(scope: Scope, ids: Mapping[str, str], body: bytes) -> ApiRequest:
    try:
        query = query_of(scope, MAX_PARAMETERS)
    except ValueError as exc:
        raise Refusal(400, f"expected at most {MAX_PARAMETERS} query parameters") from exc
    return ApiRequest(scope["method"], scope["path"], ids, query, headers_of(scope), body)


def _target(request: ApiRequest) -> str:
    """Return where a request is answered without faults."""
    query = {**request.query, "fault": NONE}
    return f"{quote(request.path)}?{urlencode(query)}"


class _Simulator:
    """The application. Choosing an answer is synchronous, so requests cannot come between each other there."""

    def __init__(self, defaults: Defaults, faults: Faults, api_key: str | None) -> None:
        self._api = Api(defaults, time.time, time.monotonic)
        self._faults = faults
        self._api_key = api_key
        self._request_faults = RequestFaults(time.monotonic)
        self._requests = count(1)

    def __repr__(self) -> str:
        return f"<simulator at pace {self._api.defaults.pace.name}, {self._api.threads!r}>"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if await is_http(scope, receive, send):
            await self._answer(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        request_id = f"req_sim{next(self._requests)}"
        try:
            endpoint, ids = find_route(ROUTES, scope["method"], scope["path"])
            body = await _body(receive)
            if body is None:
                return
            request = _request(scope, ids, body)
            self._authorize(request)
            faults = self._faults_of(request)
            if "html" not in faults:
                self._request_faults.check(request.path, _target(request), faults)
                reply = endpoint(self._api, request)
        except Refusal as refusal:
            await send_refusal(send, refusal, request_id)
            return
        if "html" in faults:
            await send_html(send, HTML, request_id)
        elif isinstance(reply, Stream):
            await self._send_stream(scope, receive, send, reply, faults, request_id)
        elif isinstance(reply, Awaited):
            for event in _paced(reply.stream):
                await anyio.sleep(event.delay)
            await send_object(send, reply.object(), request_id)
        else:
            await send_object(send, reply, request_id)

    def _authorize(self, request: ApiRequest) -> None:
        if self._api_key is None:
            return
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        given = request.headers.get("api-key", token if scheme.lower() == "bearer" else "")
        if not hmac.compare_digest(given.encode(), self._api_key.encode()):
            text = "expected the API key, as a bearer token or in the header api-key"
            raise Refusal(401, text, code="invalid_api_key")

    def _faults_of(self, request: ApiRequest) -> Faults:
        """Return the faults that the request asks for, or else those of the application, which are for streams."""
        asked = request.option("fault")
        if asked is None:
            return self._faults if request.wants_stream else {}
        try:
            return faults_of([asked])
        except ValueError as exc:
            raise Refusal(400, str(exc), param="fault") from exc

    async def _send_stream(
        self, scope: Scope, receive: Receive, send: Send, stream: Stream, faults: Faults, request_id: str
    ) -> None:
        course = stream.course
        events = with_event_faults(_paced(stream), faults, course.chance, course.event_faults)
        data = writes(events, course.scenario, faults, course.stamps.now())
        try:
            await send_writes(scope, receive, send, data, gzipped="gzip" in faults, request_id=request_id)
        finally:
            stream.leave()


def _paced(stream: Stream) -> Iterator[TimedEvent]:
    """Yield the events of a stream, each with the seconds to wait before it."""
    while (event := stream.next_event(time.monotonic())) is not None:
        yield event._replace(delay=stream.course.pace.seconds(event.delay))


def app(
    *,
    scenario: str | Scenario = DEFAULT,
    seed: int | None = None,
    pace: PaceLike = "real",
    fault: str | Sequence[str] | None = None,
    api_key: str | None = None,
) -> Application:
    """Return a new simulator as an ASGI application, with threads and runs of its own.

    It answers the calls of the Assistants API around threads, messages, runs and steps, and those of the Responses API
    around responses and conversations, with or without `/v1` or `/openai` before the path. Runs and responses stream
    where the body says `"stream": true`. They go on whatever becomes of the connection, so that `GET …/runs/{run}`,
    `GET …/steps` and `GET /responses/{response}` show afterwards how they went.

    `scenario` is what runs do: a name out of `SCENARIOS`, or a `Scenario` of your own. With a `seed`, the same requests
    in the same order give the same bytes, ids and timestamps too. `pace` is "real", "fast" (no pauses) or a number of
    events per second. `fault` is what becomes of streams: names out of `FAULTS`, as `"duplicate,cut-event=9"`, or None.
    With `api_key`, requests need it as a bearer token or in the header `api-key`.

    A request may set these for its own run, by the query parameters or `x-simulator-…` headers `scenario`, `seed`,
    `pace` and `fault` (`none` for none).

    Raises:
        ValueError: a scenario, pace or fault is not known, or the key is empty.
    """
    if api_key == "":  # any request has it
        raise ValueError("expected an API key, got an empty one")
    if isinstance(scenario, str) and scenario not in SCENARIOS:
        raise ValueError(f"expected a scenario out of {', '.join(SCENARIOS)}; got {scenario!r:.80}")
    if seed is not None and not (isinstance(seed, int) and 0 <= seed <= MAX_SEED):
        raise ValueError(f"expected a seed from 0 to {MAX_SEED}, got {seed!r:.80}")
    default = SCENARIOS[scenario] if isinstance(scenario, str) else scenario
    faults = faults_of([fault] if isinstance(fault, str) else fault or ())
    return _Simulator(Defaults(default, seed, pace_of(pace)), faults, api_key)
