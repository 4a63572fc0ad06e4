"""Every kind of source that users have, over the real library, and what is told about those that are none.

`GIVEN` has the rows of the README's table: the simulator serves the run, and each gives it in its own way.
"""

import asyncio  # noqa: TID251 - its readers are a kind of source
import json
import re
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import anyio
import httpx
import httpx2
import httpx_sse
import openai
import pytest
import requests
import starlette.applications
import starlette.requests
import starlette.responses
import starlette.routing
from azure.core.rest import HttpRequest

from stepstream import APIError, Outcome, Processor, TransportError
from stepstream.simulator import app, serve
from tests.support import azure_reader
from tests.support.byte_chunks import pieces
from tests.support.places import ROOT
from tests.support.run_streams import DONE, call, play, run, source, sse, step
from tests.support.tables import each_row

pytestmark = [
    pytest.mark.filterwarnings("ignore:The Assistants API is deprecated:DeprecationWarning"),
    # httpx leaves generators within its iterators to the garbage collector, and trio warns of that
    pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning"),
]

RUNS = "/v1/threads/thread_1/runs"
BODY = {"assistant_id": "asst_1", "stream": True}
HEADERS = {"authorization": "Bearer k"}
LONG = sse([run("queued"), step("completed", calls=[call(1, "x" * 2_000_000)]), run("completed"), DONE])


async def outcome_of(given: Any) -> Outcome:
    async with Processor() as processor:
        return await processor.run(given)


@pytest.fixture
async def url(anyio_backend: Any) -> AsyncIterator[str]:
    """A simulator that wants the key of `HEADERS`."""
    async with serve(app(scenario="code", pace="fast", api_key="k")) as url:
        yield url


def openai_client(url: str, key: str = "k") -> openai.AsyncOpenAI:
    http = openai.DefaultAsyncHttpxClient(trust_env=False, verify=False)
    return openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=key, http_client=http, max_retries=0)


def runs_of(client: openai.AsyncOpenAI) -> Any:
    return client.beta.threads.runs


@asynccontextmanager
async def openai_stream(url: str) -> AsyncIterator[Any]:
    async with openai_client(url) as client:
        yield await runs_of(client).create("thread_1", assistant_id="a", stream=True)


@asynccontextmanager
async def openai_streaming_response(url: str) -> AsyncIterator[Any]:
    async with openai_client(url) as client:
        yield runs_of(client).with_streaming_response.create("thread_1", assistant_id="a", stream=True)


@asynccontextmanager
async def openai_entered_response(url: str) -> AsyncIterator[Any]:
    async with openai_streaming_response(url) as opening, opening as response:
        yield response


@asynccontextmanager
async def openai_handler(url: str) -> AsyncIterator[Any]:
    async with openai_client(url) as client:
        yield runs_of(client).stream(thread_id="thread_1", assistant_id="a")


@asynccontextmanager
async def openai_entered_handler(url: str) -> AsyncIterator[Any]:
    async with openai_handler(url) as opening, opening as handler:
        yield handler


@asynccontextmanager
async def azure_stream(url: str) -> AsyncIterator[Any]:
    async with azure_reader.agents_client(url, "k") as client:
        yield await client.runs.stream("thread_1", agent_id="a", params={"scenario": "code"})


@asynccontextmanager
async def azure_response(url: str) -> AsyncIterator[Any]:
    async with azure_reader.agents_client(url, "k") as client:
        request = HttpRequest("POST", f"{url}{RUNS}", json=BODY)
        yield await client.send_request(request, stream=True)


def httpx_client(family: Any) -> Any:
    return family.AsyncClient(trust_env=False, verify=False, headers=HEADERS)


@asynccontextmanager
async def httpx_opening(url: str) -> AsyncIterator[Any]:
    async with httpx_client(httpx) as client:
        yield client.stream("POST", f"{url}{RUNS}", json=BODY)


@asynccontextmanager
async def httpx_response(url: str) -> AsyncIterator[Any]:
    async with httpx_opening(url) as opening, opening as response:
        yield response


@asynccontextmanager
async def httpx2_response(url: str) -> AsyncIterator[Any]:
    async with httpx_client(httpx2) as client, client.stream("POST", f"{url}{RUNS}", json=BODY) as response:
        yield response


@asynccontextmanager
async def httpx_text(url: str) -> AsyncIterator[Any]:
    async with httpx_response(url) as response:
        yield response.aiter_text()


@asynccontextmanager
async def httpx_sse_opening(url: str) -> AsyncIterator[Any]:
    async with httpx_client(httpx) as client:
        yield httpx_sse.aconnect_sse(client, "POST", f"{url}{RUNS}", json=BODY)


@asynccontextmanager
async def httpx_sse_messages(url: str) -> AsyncIterator[Any]:
    async with httpx_sse_opening(url) as opening, opening as event_source:
        yield event_source.aiter_sse()


@asynccontextmanager
async def aiohttp_opening(url: str) -> AsyncIterator[Any]:
    async with aiohttp.ClientSession(headers=HEADERS) as session:
        yield session.post(f"{url}{RUNS}", json=BODY)


@asynccontextmanager
async def aiohttp_response(url: str) -> AsyncIterator[Any]:
    async with aiohttp_opening(url) as opening, opening as response:
        yield response


@asynccontextmanager
async def aiohttp_content(url: str) -> AsyncIterator[Any]:
    async with aiohttp_response(url) as response:
        yield response.content


@asynccontextmanager
async def asyncio_stdout(path: Path) -> AsyncIterator[Any]:
    program = f"import sys; sys.stdout.buffer.write(open({str(path)!r}, 'rb').read())"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE)
    yield process.stdout
    await process.wait()


@asynccontextmanager
async def anyio_stdout(path: Path) -> AsyncIterator[Any]:
    program = f"import sys; sys.stdout.buffer.write(open({str(path)!r}, 'rb').read())"
    async with await anyio.open_process([sys.executable, "-c", program], stderr=None) as process:
        yield process.stdout


class Given(NamedTuple):
    """A row: the cell of the README's table that it stands for, and whether its library runs on trio."""

    cell: str
    make: Callable[[str], AbstractAsyncContextManager[Any]]
    is_for_trio: bool = True


GIVEN = (
    Given("openai", openai_stream),
    Given("openai", openai_streaming_response),
    Given("openai", openai_entered_response),
    Given("openai", openai_handler),
    Given("openai", openai_entered_handler),
    Given("azure-ai-agents", azure_stream, is_for_trio=False),
    Given("azure-ai-agents", azure_response, is_for_trio=False),
    Given("httpx, httpx2", httpx_opening),
    Given("httpx, httpx2", httpx_response),
    Given("httpx, httpx2", httpx2_response),
    Given("httpx, httpx2", httpx_text),
    Given("httpx-sse", httpx_sse_opening),
    Given("httpx-sse", httpx_sse_messages),
    Given("aiohttp", aiohttp_opening, is_for_trio=False),
    Given("aiohttp", aiohttp_response, is_for_trio=False),
    Given("aiohttp", aiohttp_content, is_for_trio=False),
)


@pytest.mark.parametrize("given", GIVEN, ids=lambda given: given.make.__name__)
async def test_stream_of_every_client_is_a_source(given: Given, url: str, anyio_backend: Any):
    if anyio_backend[0] == "trio" and not given.is_for_trio:
        pytest.skip("the library runs on asyncio only")
    async with given.make(url) as one:
        outcome = await outcome_of(one)
    assert (outcome.final_run.status, len(outcome.steps), len(outcome.messages)) == ("completed", 2, 1)
    assert (outcome.reason, outcome.anomalies) == ("ended" if "handler" in given.make.__name__ else "done", [])


class LikeAzure:
    """A stream as azure-ai-agents gives it: its connection is given back at the end of its iterator, and not before."""

    def __init__(self, *, ends: bool) -> None:
        self.response_iterator = self._items(ends=ends)
        self.told: list[str] = []

    async def _items(self, *, ends: bool) -> AsyncIterator[bytes]:
        try:
            yield sse(play())
            yield b": and more"
            if not ends:
                await anyio.sleep_forever()
            self.told.append("given back")
        finally:
            self.told.append("closed")


@pytest.mark.parametrize("ends", [True, False])
async def test_stream_of_azure_is_read_to_its_end_if_that_comes_soon(ends: bool, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("stepstream.live.source_kinds.REST_WITHIN", 0.01)
    stream = LikeAzure(ends=ends)
    assert (await outcome_of(stream)).reason == "done"
    assert stream.told == ["given back", "closed"][not ends :]


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_stream_of_azure_gives_back_its_connection(url: str):
    async with azure_reader.agents_client(url, "k") as client:
        stream = await client.runs.stream("thread_1", agent_id="a", params={"scenario": "code"})
        assert (await outcome_of(stream)).reason == "done"
        connector = client._client._pipeline._transport.session.connector
        assert not connector._acquired


@pytest.mark.parametrize(
    ("kind", "is_for_trio"), [(asyncio_stdout, False), (anyio_stdout, True)], ids=["asyncio", "anyio"]
)
async def test_output_of_a_process_is_a_source_whatever_the_length_of_its_lines(
    kind: Any, is_for_trio: bool, tmp_path: Path, anyio_backend: Any
):
    if anyio_backend[0] == "trio" and not is_for_trio:
        pytest.skip("asyncio's own")
    path = tmp_path / "long.sse"
    path.write_bytes(LONG)
    async with kind(path) as given:
        assert (await outcome_of(given)).reason == "done"


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_asyncio_reader_of_a_socket_is_a_source():
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(LONG)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        assert (await outcome_of(reader)).reason == "done"
        writer.close()
        await writer.wait_closed()


@pytest.mark.parametrize("whole", [False, True], ids=["its-stream", "the-request"])
async def test_body_of_a_starlette_request_is_a_source(whole: bool):
    async def ingest(request: starlette.requests.Request) -> starlette.responses.Response:
        outcome = await outcome_of(request if whole else request.stream())
        return starlette.responses.PlainTextResponse(str(outcome.reason))

    route = starlette.routing.Route("/", ingest, methods=["POST"])
    transport = httpx.ASGITransport(starlette.applications.Starlette(routes=[route]))
    async with httpx.AsyncClient(transport=transport, base_url="http://host") as client:
        assert (await client.post("/", content=source(*pieces(sse(play()), 100)))).text == "done"


async def test_receiver_that_is_no_iterable_is_a_source():
    class Receiver:
        def __init__(self) -> None:
            self._left = pieces(sse(play()), 100)

        async def receive(self) -> bytes:
            if not self._left:
                raise anyio.EndOfStream
            return self._left.pop(0)

    assert (await outcome_of(Receiver())).reason == "done"


async def test_text_is_read_as_utf_8():
    text = sse([run("queued"), step("completed", calls=[call(1, "Zürich \N{SNOWMAN}")]), DONE]).decode()
    outcome = await outcome_of(source(*(text[at : at + 7] for at in range(0, len(text), 7))))
    assert outcome.final_steps[0].tool_calls[0].function.arguments == "Zürich \N{SNOWMAN}"
    assert (await outcome_of(source("\ud800", "\n\n", sse(play()).decode()))).reason == "done"


# Refused responses

JSON_ERROR = {"error": {"message": "No key\nwas given.", "type": "auth", "code": "no_key", "param": "key"}}


@asynccontextmanager
async def refused_by_httpx(url: str) -> AsyncIterator[Any]:
    async with httpx.AsyncClient(trust_env=False, verify=False) as client:
        yield client.stream("POST", f"{url}{RUNS}", json=BODY)


@asynccontextmanager
async def refused_by_httpx2(url: str) -> AsyncIterator[Any]:
    async with httpx2.AsyncClient(trust_env=False, verify=False) as client:
        yield client.stream("POST", f"{url}{RUNS}", json=BODY)


@asynccontextmanager
async def refused_by_httpx_sse(url: str) -> AsyncIterator[Any]:
    async with httpx.AsyncClient(trust_env=False, verify=False) as client:
        yield httpx_sse.aconnect_sse(client, "POST", f"{url}{RUNS}", json=BODY)


@asynccontextmanager
async def refused_by_aiohttp(url: str) -> AsyncIterator[Any]:
    async with aiohttp.ClientSession() as session:
        yield session.post(f"{url}{RUNS}", json=BODY)


@asynccontextmanager
async def refused_by_azure(url: str) -> AsyncIterator[Any]:
    async with azure_reader.agents_client(url, "wrong") as client:
        yield await client.send_request(HttpRequest("POST", f"{url}{RUNS}", json=BODY), stream=True)


REFUSED = [refused_by_httpx, refused_by_httpx2, refused_by_httpx_sse, refused_by_aiohttp, refused_by_azure]


@pytest.mark.parametrize("kind", REFUSED, ids=lambda kind: kind.__name__)
async def test_response_that_refuses_is_an_api_error_with_the_words_of_the_server(
    kind: Any, url: str, anyio_backend: Any
):
    if anyio_backend[0] == "trio" and kind in (refused_by_aiohttp, refused_by_azure):
        pytest.skip("the library runs on asyncio only")
    async with kind(url) as given:
        with pytest.raises(APIError, match="expected the API key") as caught:
            await outcome_of(given)
    failure = caught.value
    assert (failure.status_code, failure.reason_phrase, failure.type) == (401, "Unauthorized", "invalid_request_error")
    assert failure.request_id
    assert failure.outcome is not None


def answering(status: int, **body: Any) -> Any:
    transport = httpx.MockTransport(lambda request: httpx.Response(status, **body))
    return httpx.AsyncClient(transport=transport).stream("GET", "http://host/?key=SECRET")


@each_row(
    ("status", "body", "text", "message"),
    [
        (401, {"json": JSON_ERROR}, r"401 Unauthorized: No key\u000awas given.", "No key\nwas given."),
        (502, {"text": "<h1>Bad gateway</h1>"}, "502 Bad Gateway: Bad gateway", "Bad gateway"),
        (500, {"content": b"\xff" * 100_000}, "500 Internal Server Error: " + "\ufffd" * 500, "\ufffd" * 500),
        (302, {}, "302 Found", None),
        (204, {}, "204 No Content", None),
    ],
)
async def test_status_that_is_no_success_decides_before_the_body(status: int, body: Any, text: str, message: Any):
    with pytest.raises(APIError) as caught:
        await outcome_of(answering(status, **body))
    assert str(caught.value) == f"the response given as a source has the status {text}"
    assert (caught.value.message, caught.value.request_id) == (message, None)


async def test_refusal_whose_body_breaks_is_reported_by_its_status():
    async def body() -> AsyncIterator[bytes]:
        yield b"try"
        raise OSError("broken")

    with pytest.raises(APIError, match="429 Too Many Requests: try"):
        await outcome_of(answering(429, content=body()))


async def test_other_success_is_read():
    assert (await outcome_of(answering(201, content=sse(play())))).reason == "done"


# What is no source


def generator() -> Iterator[bytes]:
    yield b"chunk"


async def async_generator() -> AsyncIterator[bytes]:
    yield b"chunk"


async def coroutine() -> Any:
    return None


class Manager:
    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...


def sync_httpx(family: Any) -> Any:
    transport = family.MockTransport(lambda request: family.Response(200, content=sse(play())))
    return family.Client(transport=transport).get("http://host/")


def sync_openai() -> Any:
    def answer(request: Any) -> Any:
        return httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=sse(play()))

    http = openai.DefaultHttpxClient(transport=httpx2.MockTransport(answer), verify=False)
    client = openai.OpenAI(base_url="http://host/v1", api_key="k", http_client=http)
    return client.beta.threads.runs.create("thread_1", assistant_id="a", stream=True)


ASYNC_CLIENT = "the response of an asynchronous client, such as httpx.AsyncClient or AsyncOpenAI, or connect(url)"
ITERABLE = "an async generator that yields its items; or accumulate(chunks), which reads what is there already"
INSTEAD: list[tuple[str, Callable[[], Any], str]] = [
    ("a URL", lambda: "http://host/?key=SECRET", "connect(url)"),
    ("a name", lambda: "run.sse", "replay(path), where it names a file"),
    ("a path", lambda: Path("run.sse"), "replay(path), where it names a file"),
    ("bytes", lambda: b"data: SECRET", "an async generator that yields it"),
    ("a file", lambda: open(__file__, "rb"), "anyio.wrap_file(file), or replay(path)"),  # noqa: SIM115
    ("a list", lambda: [b"SECRET"], ITERABLE),
    ("a generator", generator, ITERABLE),
    ("a function", lambda: async_generator, "what calling it returns"),
    ("a coroutine", coroutine, "what awaiting it returns"),
    ("a class", lambda: Outcome, "an object of that class"),
    (
        "lines",
        httpx.Response(200, content=b"data: SECRET").aiter_lines,
        "the response itself: lines without their ends make no stream",
    ),
    ("a sync context manager", Manager, "its asynchronous counterpart"),
    ("a client", lambda: httpx_client(httpx), "the response to a request of it"),
    ("sync httpx", lambda: sync_httpx(httpx), ASYNC_CLIENT),
    ("sync httpx2", lambda: sync_httpx(httpx2), ASYNC_CLIENT),
    ("requests", requests.Response, ASYNC_CLIENT),
    ("sync openai", sync_openai, ASYNC_CLIENT),
]


@each_row(("what", "make", "instead"), INSTEAD, ids=[what for what, _, _ in INSTEAD])
async def test_what_is_no_source_is_a_type_error_that_says_what_to_give(what: str, make: Any, instead: str):
    given = make()
    with pytest.raises(TypeError, match=re.escape(f"got {type(given).__name__}: give {instead}") + "$") as caught:
        await outcome_of(given)
    assert "SECRET" not in str(caught.value)
    if what == "a file":
        given.close()


async def test_process_is_no_source_but_its_output_is():
    async with await anyio.open_process([sys.executable, "-c", ""]) as process:
        with pytest.raises(TypeError, match=r"got Process: give its stdout$"):
            await outcome_of(process)
        await process.wait()


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_client_that_is_given_as_a_source_stays_open():
    async with aiohttp.ClientSession() as session, httpx_client(httpx) as client:
        for given in (session, client):
            with pytest.raises(TypeError, match=r": give the response to a request of it$"):
                await outcome_of(given)
        assert (session.closed, client.is_closed) == (False, False)


async def test_refusal_that_a_client_raises_is_an_api_error_with_the_words_of_the_server(url: str):
    async with openai_client(url, "wrong") as client:
        streaming = runs_of(client).with_streaming_response.create("thread_1", assistant_id="a", stream=True)
        for given in (runs_of(client).stream(thread_id="thread_1", assistant_id="a"), streaming):
            with pytest.raises(APIError, match=r"^the source was refused with the status 401 Unauth.*: exp") as caught:
                await outcome_of(given)
            assert isinstance(caught.value.__cause__, openai.AuthenticationError)
            assert (caught.value.type, bool(caught.value.request_id)) == ("invalid_request_error", True)


class Refused(Exception):
    status = 429


@pytest.mark.parametrize("is_read", [False, True])
async def test_refusal_that_a_source_raises_keeps_its_status_and_not_its_text(is_read: bool):
    async def refused() -> AsyncIterator[bytes]:
        body, headers = source(json.dumps(JSON_ERROR).encode()), {"Retry-After": "7"}
        async with answering(429, content=body, headers=headers) as response:
            if is_read:
                await response.aread()
            response.raise_for_status()  # its text has the URL
            yield b""

    with pytest.raises(APIError) as caught:
        await outcome_of(refused())
    told = r": No key\u000awas given." if is_read else ""
    assert str(caught.value) == f"the source was refused with the status 429 Too Many Requests{told}"
    assert caught.value.retry_after == 7
    with pytest.raises(APIError, match=r"^the source was refused with the status 429$"):
        await outcome_of(source(b"", Refused("SECRET")))


@each_row("status", [None, "x", 200, 101])
async def test_failure_without_a_status_that_refuses_is_of_the_source(status: Any):
    failure = Refused("SECRET")
    failure.status = status
    with pytest.raises(TransportError, match=r"^the source failed: Refused$"):
        await outcome_of(source(failure))


class Unreadable(Exception):
    @property
    def response(self) -> Any:
        raise RuntimeError("SECRET")


async def test_failure_whose_properties_raise_is_of_the_source():
    with pytest.raises(TransportError, match=r"^the source failed: Unreadable$"):
        await outcome_of(source(Unreadable()))


def test_readme_has_every_client_in_its_table_of_sources():
    readme = (ROOT / "src" / "stepstream" / "sources" / "README.md").read_text(encoding="utf-8")
    table = readme.partition("| you have | give |")[2].partition("\n\n")[0]
    cells = re.findall(r"^\| ([^|]+) \|", table, re.MULTILINE)
    assert {given.cell for given in GIVEN} <= set(cells)
