"""Secrets go to the server and nowhere else: not into an exception, a repr, a log record or a file.

What this cannot see to: httpcore logs the headers of responses at DEBUG, with the cookies that a server sets there.
"""

import json
import logging
import traceback
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import anyio
import httpx
import httpx2
import pytest
from anyio.abc import SocketAttribute, SocketStream

from stepstream import (
    Processor,
    ResponsesClient,
    RunsClient,
    StepProgress,
    StepStreamError,
    StepTransition,
    Toolbox,
    ToolFailed,
    accumulate,
    connect,
    record,
)
from stepstream.sources import backoff
from tests.support.breaking_simulator import Break, Trouble, Wire, breaking

KEY, QUERY, PASSWORD, FRAGMENT = "c4n4ry-key", "c4n4ry-query", "c4n4ry-password", "c4n4ry-fragment"
HEADER, COOKIE, PROXY = "c4n4ry-header", "c4n4ry-cookie", "c4n4ry-proxy"
RESULT, RAISED = "c4n4ry-result", "c4n4ry-raised"
SECRETS = (KEY, QUERY, PASSWORD, FRAGMENT, HEADER, COOKIE, PROXY, RESULT, RAISED)
HEADERS = {"x-secret": HEADER, "cookie": f"session={COOKIE}"}

OUR_LOGS = ("stepstream",)
THEIR_LOGS = ("httpx", "httpx2", "httpcore", "httpcore2")

# httpx drops its generators half-way; trio warns of that
pytestmark = pytest.mark.filterwarnings("ignore:Async generator 'http:ResourceWarning")


@pytest.fixture(autouse=True)
def _everything_is_logged(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setattr(backoff, "FIRST", 0.001)


def leaked(text: str) -> list[str]:
    return [secret for secret in SECRETS if secret in text]


def logged(caplog: pytest.LogCaptureFixture, names: tuple[str, ...]) -> str:
    """Return what loggers of those names said, with all that a formatter may show of it."""
    records = [one for one in caplog.records if one.name.partition(".")[0] in names]
    return "\n".join(f"{one.getMessage()} {one.args!r} {logging.Formatter().format(one)}" for one in records)


def chained(failure: BaseException) -> list[BaseException]:
    """Return an exception, its causes and what it came up in."""
    found, left = list[BaseException](), [failure]
    while left:
        one = left.pop()
        if one not in found:
            found.append(one)
            left += [other for other in (one.__cause__, one.__context__) if other is not None]
    return found


def told_by(failure: StepStreamError) -> str:
    """Return all that an exception tells, and the traceback of it with its causes."""
    ours = [one for one in chained(failure) if isinstance(one, StepStreamError)]
    told = [f"{one} {one!r} {one.args!r} {vars(one)!r}" for one in ours]
    return "\n".join([*told, *traceback.format_exception(failure)])


class Told(NamedTuple):
    """What a drive tells the outside."""

    outcome: Any
    failure: StepStreamError | None
    reprs: str


def url_of(url: str) -> str:
    return url.replace("http://", f"http://user:{PASSWORD}@") + f"/v1?sig={QUERY}#{FRAGMENT}"


def a_toolbox(*, on_error: str = "output") -> Toolbox:
    tools = Toolbox(on_error=on_error)

    @tools.function
    async def get_depth(place: str, tide: str) -> str:
        return RESULT

    @tools.function
    async def get_tide() -> str:
        raise LookupError(RAISED)

    @tools.function
    async def get_wind(unit: str) -> str:
        return RESULT

    return tools


async def drive(
    url: str, *, tools: Toolbox | None = None, wire: str = "", reconcile_timeout: float = 5, **options: Any
) -> Told:
    given: dict[str, Any] = {"api_key": KEY, "idle_timeout": 0.2, "reconcile_timeout": reconcile_timeout, **options}
    client = RunsClient(url, headers={**HEADERS, **json.loads(wire or "{}")}, **given)
    changes, failure, outcome = list[Any](), None, None
    toolbox = tools or a_toolbox()
    async with Processor() as processor:
        processor.add((StepProgress, StepTransition), partial(_note, changes))
        source = client.stream_run("thread_own", assistant_id="asst_own")
        try:
            outcome = await client.drive(processor, "thread_own", toolbox, assistant_id="asst_own")
        except StepStreamError as exc:
            failure = exc
        shown = (client, processor, toolbox, source, client._endpoint, outcome, failure)
        return Told(outcome, failure, "\n".join(map(repr, (*shown, *changes))))


async def drive_responses(url: str, *, wire: str, total_timeout: float | None, **options: Any) -> Told:
    """Drive a response; otherwise as `drive`."""
    given: dict[str, Any] = {"api_key": KEY, "idle_timeout": 0.2, "reconcile_timeout": 0.3}
    headers = {**HEADERS, **json.loads(wire)}
    client = ResponsesClient(url, headers=headers, total_timeout=total_timeout, **given)
    changes, failure, outcome, toolbox = list[Any](), None, None, a_toolbox()
    parameters = {"input": RESULT, "instructions": RESULT, **options}
    async with Processor() as processor:
        processor.add((StepProgress, StepTransition), partial(_note, changes))
        source = client.stream(**parameters)
        try:
            outcome = await client.drive(processor, toolbox, **parameters)
        except StepStreamError as exc:
            failure = exc
        shown = (client, processor, toolbox, source, client._endpoint, outcome, failure)
        return Told(outcome, failure, "\n".join(map(repr, (*shown, *changes))))


async def _note(changes: list[Any], change: Any) -> None:
    changes.append(change)


WIRES: dict[str, Callable[[], Wire]] = {
    "nothing breaks": Wire,
    "cut": lambda: Wire(Break("cut", 1, "event", 9)),
    "reset": lambda: Wire(Break("reset", 2, "event", 3)),
    "stall": lambda: Wire(Break("stall", 1, "event", 9)),
    "never known": lambda: Wire(Break("cut", 1, "event", 0)),
    "refused": lambda: Wire(trouble=lambda asked, _: Trouble(401)),
    "lost": lambda: Wire(trouble=lambda asked, _: Trouble()),
    "answers lost": lambda: Wire(trouble=lambda asked, _: Trouble() if asked.path.endswith("outputs") else None),
    "answers refused": lambda: Wire(trouble=lambda asked, _: Trouble(400) if asked.path.endswith("outputs") else None),
    "gone": lambda: Wire(Break("cut", 1, "event", 9), lambda asked, _: Trouble(500) if asked.method == "GET" else None),
    "forbidden": lambda: Wire(
        Break("cut", 1, "event", 9), lambda asked, _: Trouble(403) if asked.method == "GET" else None
    ),
    "redirected": lambda: Wire(trouble=lambda asked, _: Trouble(307)),
}
ENDS_WELL = ("nothing breaks", "cut", "reset", "stall")


async def told_over(wire: Wire, **options: Any) -> Told:
    async with breaking("tool-rounds") as server:
        server.wired(wire)
        headers = {"x-app": server.client.headers["x-app"], "x-wire": next(reversed(server.wires))}
        return await drive(url_of(server.url), wire=json.dumps(headers), reconcile_timeout=0.3, **options)


@pytest.mark.parametrize("case", WIRES)
async def test_no_secret_is_in_an_exception_a_repr_or_a_log(case: str, caplog: pytest.LogCaptureFixture):
    wire = WIRES[case]()
    told = await told_over(wire)
    assert (told.failure is None) == (case in ENDS_WELL)
    if told.failure is not None:
        assert leaked(told_by(told.failure)) == []
    assert leaked(told.reprs) == []
    assert leaked(logged(caplog, OUR_LOGS)) == []
    assert leaked(logged(caplog, THEIR_LOGS)) == []
    assert (wire.asked != [], logged(caplog, THEIR_LOGS) != "") == (True, True)  # there was something to be told


RESPONSE_WIRES: dict[str, Callable[[], Wire]] = {
    **{case: WIRES[case] for case in ("nothing breaks", "cut", "reset", "stall", "never known", "refused", "lost")},
    **{case: WIRES[case] for case in ("gone", "forbidden", "redirected")},
    "answers lost": lambda: Wire(trouble=lambda asked, before: Trouble() if before == 1 else None),
    "answers refused": lambda: Wire(trouble=lambda asked, before: Trouble(400) if before == 1 else None),
}


RESPONSE_CASES = [(case, False) for case in RESPONSE_WIRES] + [(case, True) for case in ("cut", "reset", "gone")]
"""With whether the response is in the background."""


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize(("case", "background"), RESPONSE_CASES)
async def test_no_secret_of_a_response_is_in_an_exception_a_repr_or_a_log(
    case: str, background: bool, caplog: pytest.LogCaptureFixture
):
    async with breaking("tool-rounds") as server:
        server.wired(RESPONSE_WIRES[case]())
        headers = {"x-app": server.client.headers["x-app"], "x-wire": next(reversed(server.wires))}
        # a response in the background would be resumed for as long as it takes
        limit = 0.5 if case == "gone" else None
        url, wire = url_of(server.url), json.dumps(headers)
        told = await drive_responses(url, wire=wire, total_timeout=limit, background=background)
    assert (told.failure is None) == (case in ENDS_WELL)
    assert leaked(told.reprs + (told_by(told.failure) if told.failure is not None else "")) == []
    assert leaked(logged(caplog, OUR_LOGS)) == []
    assert leaked(logged(caplog, THEIR_LOGS)) == []


async def test_secrets_reach_the_server():
    """They are where they belong: else the tests above would find nothing to leak."""
    got = list[str]()

    async def application(scope: Any, receive: Any, send: Any) -> None:
        got.append(f"{scope['query_string']} {scope['headers']}")
        await send({"type": "http.response.start", "status": 401, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async with breaking(application) as server:
        # an Authorization header would give way: httpx makes one of the user and password of a URL
        await drive(url_of(server.url), wire=json.dumps({"x-app": server.client.headers["x-app"]}), auth="api-key")
    assert {*leaked(" ".join(got))} == {KEY, QUERY, HEADER, COOKIE}


@pytest.mark.parametrize("api_key", [KEY, lambda: KEY], ids=["key", "callable"])
@pytest.mark.parametrize("auth", ["bearer", "api-key"])
async def test_key_is_not_told_however_it_is_given(api_key: Any, auth: Any, caplog: pytest.LogCaptureFixture):
    told = await told_over(WIRES["refused"](), api_key=api_key, auth=auth, api_version="2025-05-01")
    assert told.failure is not None
    assert leaked(told_by(told.failure) + told.reprs + logged(caplog, OUR_LOGS)) == []


async def test_key_that_cannot_be_sent_is_not_quoted(caplog: pytest.LogCaptureFixture):
    """Such as one that was read together with its line end."""
    with pytest.raises(ValueError, match="expected printable ASCII") as caught:
        await told_over(Wire(), api_key=f"{KEY}\n")
    assert leaked(f"{caught.value!r}" + logged(caplog, OUR_LOGS + THEIR_LOGS)) == []


async def test_what_a_callable_for_keys_raises_stays_in_the_cause(caplog: pytest.LogCaptureFixture):
    def expired() -> str:
        raise PermissionError(f"the token {KEY} has expired")

    told = await told_over(Wire(), api_key=expired)
    assert told.failure is not None
    assert leaked(f"{told.failure} {told.failure!r} {told.failure.args}") == []
    assert leaked(told.reprs + logged(caplog, OUR_LOGS)) == []


async def test_what_a_tool_raises_stays_in_the_cause(caplog: pytest.LogCaptureFixture):
    wire = Wire()
    tools = Toolbox(on_error="cancel")

    @tools.function
    async def get_depth(place: str, tide: str) -> str:
        raise LookupError(RAISED)

    told = await told_over(wire, tools=tools)
    assert type(told.failure) is ToolFailed
    assert (str(told.failure.__cause__), leaked(f"{told.failure} {told.failure!r} {told.failure.args}")) == (RAISED, [])
    assert leaked(told.reprs + logged(caplog, OUR_LOGS)) == []


async def test_results_of_tools_reach_the_server_and_no_log(caplog: pytest.LogCaptureFixture):
    wire = Wire()
    await told_over(wire)
    assert {*leaked(json.dumps(wire.posts()))} == {RESULT, RAISED}
    assert leaked(logged(caplog, OUR_LOGS)) == []


def files_in(path: Path) -> list[str]:
    return [one.read_text() for one in path.iterdir()]


@pytest.mark.parametrize("case", ["nothing breaks", "cut", "refused"])
async def test_recording_has_no_secret(case: str, tmp_path: Path):
    async with breaking("function") as server, Processor() as processor:
        headers = server.wired(WIRES[case]())._endpoint.default_headers
        client = RunsClient(url_of(server.url), api_key=KEY, headers={**headers, **HEADERS}, reconcile_timeout=5)
        with suppress(StepStreamError):
            source = client.stream_run("thread_own", assistant_id="asst_own")
            await processor.run(record(source, tmp_path / "run.sse"))
    files = files_in(tmp_path)
    assert (len(files), leaked("".join(files))) == (int(case != "refused"), [])


async def test_recording_of_a_response_has_what_was_asked_for_and_no_secret(tmp_path: Path):
    async with breaking("code") as server, Processor() as processor:
        headers = server.wired(WIRES["cut"]())._endpoint.default_headers
        client = ResponsesClient(url_of(server.url), api_key=KEY, headers={**headers, **HEADERS})
        outcome = await processor.run(record(client.stream(input="Ahoy"), tmp_path / "run.sse"))
    again = accumulate([(tmp_path / "run.sse").read_bytes()])
    assert outcome.reconciled
    assert [step.status for step in again.steps.values()] == ["completed", "completed"]
    assert leaked("".join(files_in(tmp_path))) == []


@asynccontextmanager
async def refusing_proxy() -> AsyncIterator[str]:
    """Serve a proxy that lets nobody through."""

    async def refuse(stream: SocketStream) -> None:
        async with stream:
            await stream.receive()
            await stream.send(b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n")

    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, refuse)
        yield f"127.0.0.1:{listener.extra(SocketAttribute.local_port)}"
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize("family", [httpx, httpx2], ids=["httpx", "httpx2"])
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_password_of_a_proxy_is_not_told(family: Any, scheme: str, caplog: pytest.LogCaptureFixture):
    async with refusing_proxy() as place:
        options = {"proxy": f"http://user:{PROXY}@{place}", "verify": False, "trust_env": False}
        async with family.AsyncClient(**options) as http:
            told = await drive(f"{scheme}://simulator.example/v1", client=http, attempts=1)
    assert told.failure is not None
    assert leaked(told_by(told.failure) + told.reprs + logged(caplog, OUR_LOGS)) == []


@pytest.mark.parametrize("family", [httpx, httpx2], ids=["httpx", "httpx2"])
@pytest.mark.parametrize("place", ["127.0.0.1:1", "nowhere.invalid", "127.0.0.1:65537", "[::1"])
async def test_no_secret_is_told_where_nobody_is(family: Any, place: str, caplog: pytest.LogCaptureFixture):
    url = f"http://user:{PASSWORD}@{place}/v1?sig={QUERY}"
    async with family.AsyncClient(trust_env=False, verify=False) as http, Processor() as processor:
        for opening in (
            lambda: connect(f"{url}&q=1", json={}, headers=HEADERS, client=http, attempts=1),
            lambda: RunsClient(url, api_key=KEY, client=http, attempts=1).stream_run("t", assistant_id="a"),
        ):
            with pytest.raises((StepStreamError, ValueError)) as caught:
                await processor.run(opening())
            told = f"{caught.value} {caught.value!r} {caught.value.args}"
            assert leaked(told + logged(caplog, OUR_LOGS)) == []
