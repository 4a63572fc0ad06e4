"""The simulator's ASGI application: it finds what answers a request, and sees to the faults."""

import hmac
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import count
from random import Random
from typing import Final
from urllib.parse import parse_qsl, quote, urlencode

from stepstream.simulator.api import MAX_SEED, Api, Defaults
from stepstream.simulator.asgi import (
    Application,
    Receive,
    Scope,
    Send,
    live,
    read_body,
    send_object,
    send_refusal,
    send_stream,
    send_whole,
)
from stepstream.simulator.delivery import writes
from stepstream.simulator.endpoints import ROUTES, Endpoint
from stepstream.simulator.faults import NONE, Faults, faults_of
from stepstream.simulator.pace import PaceLike, pace_of
from stepstream.simulator.refusing import HTML, Refusing
from stepstream.simulator.requests import Refusal, Request
from stepstream.simulator.runs import Stream
from stepstream.simulator.scenario import Scenario
from stepstream.simulator.scenarios import DEFAULT, SCENARIOS
from stepstream.simulator.spoil import spoiled
from stepstream.simulator.stage import Beat

MAX_PARAMETERS: Final = 100


def _route(method: str, path: str) -> tuple[Endpoint, Mapping[str, str]]:
    """Return what answers the path, and the ids in it."""
    for pattern, endpoints in ROUTES.items():
        found = pattern.fullmatch(path)
        if found is not None and method in endpoints:
            return endpoints[method], found.groupdict()
        if found is not None:
            allowed = ", ".join(endpoints)
            raise Refusal(405, f"expected {allowed} {path}, got {method}", headers={"allow": allowed})
    raise Refusal(404, f"no such path: {method} {path}")


def _request(scope: Scope, ids: Mapping[str, str], body: bytes) -> Request:
    try:
        query = _joined(parse_qsl(scope["query_string"].decode("latin-1"), True, max_num_fields=MAX_PARAMETERS))
    except ValueError as exc:
        raise Refusal(400, f"expected at most {MAX_PARAMETERS} query parameters") from exc
    headers = _joined((name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in scope["headers"])
    return Request(scope["method"], scope["path"], ids, query, headers, body)


def _joined(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return values by name; where a name is repeated, its values with commas between, as HTTP has it for headers."""
    found: dict[str, str] = {}
    for name, value in pairs:
        found[name] = f"{found[name]},{value}" if name in found else value
    return found


def _target(request: Request) -> str:
    """Return where a request is answered without faults."""
    query = {**request.query, "fault": NONE}
    return f"{quote(request.path)}?{urlencode(query)}"


class _Simulator:
    """The application. Choosing an answer is synchronous, so requests cannot come between each other there."""

    def __init__(self, defaults: Defaults, faults: Faults, api_key: str | None) -> None:
        self._api = Api(defaults, time.time, time.monotonic)
        self._faults = faults
        self._api_key = api_key
        self._refusing = Refusing(time.monotonic)
        self._requests = count(1)

    def __repr__(self) -> str:
        return f"<simulator at pace {self._api.defaults.pace.name}, {self._api.threads!r}>"

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
            request = _request(scope, ids, body)
            self._authorize(request)
            faults = self._faults_of(request)
            if "html" not in faults:
                self._refusing.check(request.path, _target(request), faults)
                reply = endpoint(self._api, request)
        except Refusal as refusal:
            await send_refusal(send, refusal, request_id)
            return
        if "html" in faults:
            await send_whole(send, 200, HTML, request_id, content_type="text/html; charset=utf-8")
        elif isinstance(reply, Stream):
            await self._send_stream(scope, receive, send, reply, faults, request_id)
        else:
            await send_object(send, reply, request_id)

    def _authorize(self, request: Request) -> None:
        if self._api_key is None:
            return
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        given = request.headers.get("api-key", token if scheme.lower() == "bearer" else "")
        if not hmac.compare_digest(given.encode(), self._api_key.encode()):
            text = "expected the API key, as a bearer token or in the header api-key"
            raise Refusal(401, text, code="invalid_api_key")

    def _faults_of(self, request: Request) -> Faults:
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
        stage = stream.run.stage
        events = spoiled(_paced(stream), faults, stage.random or Random(0))
        data = writes(events, stream.run.scenario, faults, stage.now())
        try:
            await send_stream(scope, receive, send, data, gzipped="gzip" in faults, request_id=request_id)
        finally:
            stream.leave()


def _paced(stream: Stream) -> Iterator[Beat]:
    """Yield the events of a stream, each with the seconds to wait before it."""
    while (beat := stream.next_beat(time.monotonic())) is not None:
        yield beat._replace(delay=stream.run.pace.seconds(beat.delay))


def app(
    *,
    scenario: str | Scenario = DEFAULT,
    seed: int | None = None,
    pace: PaceLike = "real",
    fault: str | Sequence[str] = (),
    api_key: str | None = None,
) -> Application:
    """Return a new simulator as an ASGI application, with threads and runs of its own.

    It answers the calls of the Assistants API around threads, messages, runs and steps, with or without `/v1` or
    `/openai` before the path. Runs stream where the body says `"stream": true`. They go on whatever becomes of the
    connection, so that `GET …/runs/{run}` and `GET …/steps` tell the truth afterwards.

    `scenario` is what runs do: a name out of `SCENARIOS`, or a `Scenario` of your own. With a `seed`, the same requests
    in the same order give the same bytes, ids and timestamps too. `pace` is "real", "fast" (no pauses) or a number of
    events per second. `fault` is what becomes of streams: names out of `FAULTS`, as `"duplicate,cut-event=9"`. With
    `api_key`, requests need it as a bearer token or in the header `api-key`.

    A request may say otherwise for its run, by the query parameters or `x-simulator-…` headers `scenario`, `seed`,
    `pace` and `fault` (`none` for none).

    Raises:
        ValueError: a scenario, pace or fault is not known, or the key is empty, which everybody has.
    """
    if api_key == "":
        raise ValueError("expected an API key, got an empty one")
    if isinstance(scenario, str) and scenario not in SCENARIOS:
        raise ValueError(f"expected a scenario out of {', '.join(SCENARIOS)}; got {scenario!r:.80}")
    if seed is not None and not (isinstance(seed, int) and 0 <= seed <= MAX_SEED):
        raise ValueError(f"expected a seed from 0 to {MAX_SEED}, got {seed!r:.80}")
    story = SCENARIOS[scenario] if isinstance(scenario, str) else scenario
    faults = faults_of([fault] if isinstance(fault, str) else fault)
    return _Simulator(Defaults(story, seed, pace_of(pace)), faults, api_key)
