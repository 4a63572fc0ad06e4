"""The URL of a request, whole to whatever transport the user has, and without its secrets in the log of httpx."""

import io
import logging
from collections.abc import Iterator
from logging.handlers import QueueHandler
from queue import SimpleQueue
from typing import Any

import httpx
import httpx2
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from stepstream import RunsClient
from stepstream.sources.url_redaction import redact_url, unlogged
from tests.support.scripted_server import CREATED, DONE, InTurn, serving, streaming
from tests.support.stream_reads import read
from tests.support.tables import each_row

URL = "http://user:s3cret-pass@host/v1/runs?sig=s3cret-query&x=1#s3cret-part"
BARE = "http://host/v1/runs"
STREAM = {"headers": {"content-type": "text/event-stream"}, "content": CREATED + DONE}

both_families = pytest.mark.parametrize("family", [httpx, httpx2], ids=["httpx", "httpx2"])


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """All that is logged, as text, and as a queue's handler passes it on."""
    text, queue = io.StringIO(), SimpleQueue[logging.LogRecord]()
    handlers: list[logging.Handler] = [logging.StreamHandler(text), QueueHandler(queue)]
    root, level = logging.getLogger(), logging.getLogger().level
    root.setLevel(logging.DEBUG)
    for handler in handlers:
        root.addHandler(handler)
    yield text
    for handler in handlers:
        root.removeHandler(handler)
    root.setLevel(level)
    records = [queue.get() for _ in range(queue.qsize())]
    assert records
    assert "s3cret" not in text.getvalue() + "".join(f"{one.getMessage()} {one.args} {one!r}" for one in records)


@both_families
async def test_transport_sees_the_whole_url_and_the_log_does_not(family: Any, log: io.StringIO):
    seen = []

    def answer(request: Any) -> Any:
        url = request.url
        seen.append(
            (str(url), f"{url}", url.params["sig"], url.raw_path, url.password, url == URL, hash(url) == hash(URL))
        )
        return family.Response(200, **STREAM)

    client = family.AsyncClient(transport=family.MockTransport(answer))
    assert await read(URL, client=client) == CREATED + DONE
    assert seen == [(URL, URL, "s3cret-query", b"/v1/runs?sig=s3cret-query&x=1", "s3cret-pass", True, True)]
    assert f'HTTP Request: GET {BARE} "HTTP/1.1 200 OK"' in log.getvalue()


async def test_application_without_a_socket_is_asked_with_the_query(log: io.StringIO):
    seen = []

    async def runs(request: Request) -> Response:
        seen.append((request.query_params["sig"], request.headers["authorization"][:6]))
        return Response(CREATED + DONE, media_type="text/event-stream")

    transport = httpx.ASGITransport(Starlette(routes=[Route("/v1/runs", runs)]))
    async with httpx.AsyncClient(transport=transport) as client:
        assert await read(URL, client=client) == CREATED + DONE
    assert seen == [("s3cret-query", "Basic ")]


@both_families
async def test_transport_that_sends_a_request_again_sends_the_same(family: Any, log: io.StringIO):
    class Retrying(family.AsyncHTTPTransport):  # type: ignore[name-defined,misc]
        async def handle_async_request(self, request: Any) -> Any:
            await (await super().handle_async_request(request)).aclose()
            return await super().handle_async_request(request)

    script = InTurn(streaming(CREATED, DONE))
    async with serving(script) as url, family.AsyncClient(transport=Retrying(verify=False)) as client:
        await read(f"{url}/runs?sig=s3cret-query", client=client)
    assert [request.target for request in script.requests] == ["/runs?sig=s3cret-query"] * 2


async def test_authentication_in_two_requests_sends_the_query_in_both(log: io.StringIO):
    challenge = httpx.Response(401, headers={"www-authenticate": 'Digest realm="r", nonce="n", qop="auth"'})
    answers, seen = iter([challenge, httpx.Response(200, **STREAM)]), []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.url.query)
        return next(answers)

    transport = httpx.MockTransport(answer)
    client = httpx.AsyncClient(transport=transport, auth=httpx.DigestAuth("user", "pass"))
    assert await read(URL, client=client) == CREATED + DONE
    assert seen == [b"sig=s3cret-query&x=1"] * 2


@both_families
async def test_calls_of_the_client_of_runs_keep_their_query_out_of_the_log_too(family: Any, log: io.StringIO):
    transport = family.MockTransport(lambda request: family.Response(200, json={"id": request.url.params["sig"]}))
    client = RunsClient(URL, client=family.AsyncClient(transport=transport))
    assert (await client.retrieve_run("t", "r")).id == "s3cret-query"


@both_families
def test_url_shows_its_secrets_to_whom_it_is_given_and_to_no_log(family: Any):
    url = unlogged(family.URL(URL))
    record = logging.LogRecord("x", logging.INFO, __file__, 1, "%s", (url,), None)
    assert (str(url), record.getMessage(), repr(url)) == (URL, BARE, f"URL({BARE!r})")
    assert url.copy_with(path="/x").query == url.query
    assert str(url.join("../x?y=1")) == str(family.URL(URL).join("../x?y=1"))


@each_row(
    ("url", "shown"),
    [
        (URL, BARE),
        ("/runs?sig=x", "/runs"),
        ("http://u:p@[::1/x?sig=x", "[::1/x"),
        ("HTTP://a:b@c:d@host:80", "http://host:80"),
        ("http://host:1/users/@me?x=a@b", "http://host:1/users/@me"),
        ("/users/@me?x=a@b", "/users/@me"),
        ("http://u:s3cret/pass@host:1/x?sig=x", "host:1/x"),
        ("http://u:s3cret#pass@host:1/x", "…"),
        ("http://u:s3cret?pass@host:1/x", "…"),
        ("http://host:9abc/x?sig=x", "http://host:9abc/x"),
        ("host:1/x?sig=x", "host:1/x"),
        ("u:p@host/x", "host/x"),
    ],
)
def test_url_is_shown_without_query_fragment_and_user(url: str, shown: str):
    assert redact_url(url) == shown
