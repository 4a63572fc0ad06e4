"""What the server refuses, and what is refused of it."""

import logging
import traceback
from typing import Any

import anyio
import httpx
import httpx2
import pytest

from stepstream import APIError, Processor, StepStreamError, TransportError, connect
from stepstream.live import refusals
from stepstream.live.refusals import MAX_ERROR_BODY, refusal
from tests.support.scripted_server import CREATED, DONE, Exchange, InTurn, answering, hang_up, serving, streaming
from tests.support.stream_reads import WITHIN, both_clients, read, refused, run
from tests.support.tables import each_row

whole = streaming(CREATED, DONE)


@each_row("kind", ["text/event-stream;charset=utf-8", "Text/Event-Stream", "TEXT/EVENT-STREAM ; q=1"])
async def test_content_type_may_have_parameters_and_any_case(kind: str):
    async with serving(lambda exchange: exchange.stream(DONE, kind=kind)) as url:
        assert await read(url) == DONE


@each_row("kind", ["text/html", "application/json", "text/event-stream-ish", "x-text/event-stream"])
async def test_other_content_type_is_refused(kind: str):
    async with serving(lambda exchange: exchange.stream(DONE, kind=f"{kind}; charset=utf-8")) as url:
        error = await refused(f"{url}/runs")
    assert str(error) == f"{url}/runs: expected text/event-stream, got {kind}"
    assert (error.status_code, error.request_id, error.code, error.message) == (200, "req_1", None, None)


INSTEAD: dict[str, tuple[str, bytes, str, str | None]] = {
    "an error": ("application/json", b'{"error": {"message": "Slow down."}}', ": Slow down.", "Slow down."),
    "a problem": ("application/problem+json", b'{"title": "Gone"}', ": Gone", "Gone"),
    "a run": ("application/json", b'{"id": "run_77", "status": "queued"}', "", None),
    "a page": ("text/html", b"<title>Log in</title><p>s3cret", ": Log in", "Log in"),
    "a text": ("text/plain", b"upstream is\n down", ": upstream is down", "upstream is down"),
    "a stream by another name": ("text/plain", CREATED, "", None),
    "cut JSON": ("application/json", b'{"message": "s3cr', "", None),
    "bytes": ("application/octet-stream", b"s3cret", "", None),
}


@each_row(("kind", "body", "words", "message"), INSTEAD.values(), ids=INSTEAD)
async def test_words_of_what_comes_instead_of_a_stream_are_kept(
    kind: str, body: bytes, words: str, message: str | None
):
    async with serving(answering("200 OK", body, content_type=kind, x_request_id="req_7")) as url:
        error = await refused(url, json={"stream": True})
    assert str(error) == f"{url}: expected text/event-stream, got {kind}{words}"
    assert (error.status_code, error.request_id, error.message) == (200, "req_7", message)


@each_row(
    ("options", "is_told"),
    [
        ({"json": {"stream": False}}, True),
        ({"json": {}}, True),
        ({"json": {"stream": True}}, False),
        ({"json": []}, False),
        ({}, False),
    ],
)
async def test_request_that_does_not_ask_for_a_stream_is_told_so(options: Any, is_told: bool):
    async with serving(answering("200 OK", {"id": "run_1"}, content_type="application/json")) as url:
        error = await refused(url, **options)
    told = ' (the request does not say "stream": true)' if is_told else ""
    assert str(error) == f"{url}: expected text/event-stream, got application/json{told}"


async def test_missing_content_type_is_refused():
    async with serving(lambda exchange: exchange.answer("200 OK", DONE)) as url:
        assert str(await refused(url)) == f"{url}: expected text/event-stream, got no content type"


@pytest.mark.parametrize("encoding", ["gzip", "br", "Deflate"])
async def test_content_encoding_is_refused(encoding: str):
    async def script(exchange: Exchange) -> None:
        await exchange.answer("200 OK", DONE, content_type="text/event-stream", content_encoding=encoding)

    async with serving(script) as url:
        assert str(await refused(url)) == f"{url}: expected no content encoding, got {encoding.lower()}"


async def test_identity_is_no_encoding():
    async def script(exchange: Exchange) -> None:
        await exchange.answer("200 OK", DONE, content_type="text/event-stream", content_encoding="identity")

    async with serving(script) as url:
        assert await read(url) == DONE


OPENAI = {
    "error": {"message": "No such run.", "type": "invalid_request_error", "param": "run_id", "code": "not_found"},
}
AZURE = {"error": {"code": "404", "message": "Resource not found", "innererror": {"code": "Deep"}}}
FLAT = {"message": "Wrong key.", "type": "auth", "code": 401, "param": None, "more": [1]}
ERRORS = {
    "openai": (OPENAI, "not_found", "No such run.", "invalid_request_error", "run_id"),
    "azure": (AZURE, "404", "Resource not found", None, None),
    "flat": (FLAT, "401", "Wrong key.", "auth", None),
    "text in error": ({"error": "over\nquota"}, None, "over quota", None, None),
    "detail": ({"detail": "Not Found"}, None, "Not Found", None, None),
    "other fields": ({"found": "Nothing"}, None, None, None, None),
    "html": (b"<html><title>502 Bad Gateway</title>", None, "502 Bad Gateway", None, None),
    "odd fields": ({"error": {"message": {"a": 1}, "code": ["b"]}}, None, None, None, None),
    "plain": (b"  upstream is\r\n down \n", None, "upstream is down", None, None),
    "long": (b"x" * 3_000, None, "x" * 500, None, None),
    "a JSON text": (b'"busy"', None, "busy", None, None),
    "a number": (b"17", None, None, None, None),
    "too deep": (b"[" * 100_000, None, "[" * 500, None, None),
    "not UTF-8": (b"\xff\xfe", None, "\ufffd\ufffd", None, None),
    "empty": (b"", None, None, None, None),
}  # fmt: skip


@each_row(("body", "code", "message", "type_", "param"), ERRORS.values(), ids=ERRORS)
async def test_error_body_of_every_shape_becomes_fields(
    body: Any, code: str | None, message: str | None, type_: str | None, param: str | None
):
    async with serving(lambda exchange: exchange.answer("404 Not Found", body, content_type="application/json")) as url:
        error = await refused(f"{url}/runs")
    assert (error.status_code, error.code, error.message, error.type, error.param) == (404, code, message, type_, param)
    assert str(error) == f"{url}/runs answered 404 Not Found" + (f": {message}" if message else "")


@pytest.mark.parametrize("name", ["x_request_id", "apim_request_id", "x_ms_request_id"])
async def test_request_id_of_a_refusal_is_known(name: str):
    async with serving(lambda exchange: exchange.answer("429 Slow Down", **{name: "req_7"})) as url:
        assert (await refused(url)).request_id == "req_7"


async def test_refusal_without_a_request_id_has_none():
    async with serving(lambda exchange: exchange.answer("429 Slow Down")) as url:
        assert (await refused(url)).request_id is None


@each_row("status", ["201 Created", "206 Partial", "400 Bad", "401 No", "503 Busy"])
async def test_every_status_but_200_is_a_refusal(status: str):
    async with serving(lambda exchange: exchange.answer(status, DONE, content_type="text/event-stream")) as url:
        error = await refused(url)
    assert error.status_code == int(status[:3])
    if status[0] == "2":  # what came may be a stream: nothing of it is quoted
        assert (str(error), error.message) == (f"{url} answered {status[:3]}: expected 200", None)


async def test_refusal_leaves_an_outcome_without_events():
    async with serving(lambda exchange: exchange.answer("403 No")) as url:
        with pytest.raises(APIError) as caught:
            await run(url)
    assert caught.value.outcome is not None
    assert (caught.value.outcome.reason, caught.value.outcome.events) == (None, 0)


@both_clients
async def test_endless_error_body_is_read_to_its_bound(new_client: Any):
    sent = 0

    async def script(exchange: Exchange) -> None:
        nonlocal sent
        await exchange.send(b"HTTP/1.1 500 Oh No\r\n\r\n")
        while True:
            await exchange.send(b"x" * 2**14)
            sent += 2**14

    with anyio.fail_after(WITHIN):
        async with serving(script) as url, new_client() as client:
            error = await refused(url, client=client)
    assert error.message == "x" * 500
    assert MAX_ERROR_BODY < sent < 100 * MAX_ERROR_BODY  # the rest is in buffers


@pytest.mark.usefixtures("patient")
async def test_error_body_that_stalls_is_told_as_far_as_it_came(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(refusals, "ERROR_BODY_TIMEOUT", 0.5)

    async def script(exchange: Exchange) -> None:
        await exchange.send(b"HTTP/1.1 500 Oh No\r\ncontent-length: 90\r\n\r\nhalf a word")
        await exchange.hung_up()

    async with serving(script) as url:
        assert (await refused(url)).message == "half a word"


async def test_error_body_that_breaks_is_told_as_far_as_it_came():
    async def script(exchange: Exchange) -> None:
        await exchange.send(b"HTTP/1.1 500 Oh No\r\ncontent-length: 90\r\nconnection: close\r\n\r\nhalf a word")
        raise anyio.EndOfStream

    async with serving(script) as url:
        assert (await refused(url)).message == "half a word"


SECRETS = QUERY, PASSWORD, HEADER, BODY, FRAGMENT = ("Qu3ry", "P4ssword", "H3ader", "B0dy", "Fr4gment")


async def break_off(exchange: Exchange) -> None:
    await exchange.stream(CREATED, end=False)
    await exchange.send(b"fff\r\nx")
    raise anyio.EndOfStream


FAILURES: dict[str, Any] = {
    "status": lambda exchange: exchange.answer("401 Unauthorized", b"wrong key"),
    "redirect": lambda exchange: exchange.answer("307 Over There", location=f"/there?{exchange.target}"),
    "content type": lambda exchange: exchange.stream(b"<html>", kind="text/html"),
    "hung up": hang_up,
    "broken": break_off,
    "silent": streaming(CREATED, end=False),
    "truncated": lambda exchange: exchange.stream(CREATED),
}


@pytest.mark.parametrize("script", FAILURES.values(), ids=FAILURES)
async def test_no_secret_is_in_an_error_its_causes_or_the_log(script: Any, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG, "stepstream")
    headers = {"Authorization": f"Bearer {HEADER}", "api-key": HEADER}
    async with serving(script) as url, Processor() as processor:
        place = url.replace("http://", f"http://user:{PASSWORD}@") + f"/runs?key={QUERY}#{FRAGMENT}"
        with pytest.raises(StepStreamError) as caught, anyio.fail_after(WITHIN):
            await processor.run(connect(place, headers=headers, json={"key": BODY}, idle_timeout=0.05))
        told = repr((caught.value, caught.value.outcome, processor)) + str(caught.value)
    told += "".join(traceback.format_exception(caught.value))
    told += caplog.text
    assert [secret for secret in SECRETS if secret in told] == []


def moved(location: str | None, status: str = "302 Found") -> Any:
    """Return a script that redirects."""
    return answering(status) if location is None else answering(status, location=location)


@both_clients
@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"])
async def test_get_follows_a_redirect_within_its_origin(new_client: Any, status: str):
    script = InTurn(moved("/there?key=s3cret", status), streaming(DONE))
    async with serving(script) as url, new_client() as client:
        assert await read(f"{url}/here", client=client, headers={"api-key": "k"}) == DONE
    assert [(one.method, one.target, one.values("api-key")) for one in script.requests] == [
        ("GET", "/here", ["k"]),
        ("GET", "/there?key=s3cret", ["k"]),
    ]


@each_row(
    ("location", "target"),
    [("there", "/a/there"), ("../b", "/b"), ("?x", "/a/here?x"), ("//HOST/c", "/c"), ("HTTP://HOST/d#e", "/d")],
)
async def test_redirect_may_be_relative(location: str, target: str):
    script = InTurn(lambda exchange: moved(location.replace("HOST", exchange.values("host")[0]))(exchange), whole)
    async with serving(script) as url:
        assert await read(f"{url}/a/here") == CREATED + DONE
    assert script.requests[1].target == target


@each_row("family", [httpx, httpx2], ids=["httpx", "httpx2"])
@each_row(
    ("url", "location"),
    [
        ("http://a.example/x", "http://A.example:80/y"),
        ("http://a.example:80/x", "http://a.example/y"),
        ("HTTP://a.example:80/x", "http://a.example/y"),
        ("https://a.example/x", "https://a.example:443/y"),
        ("https://a.example:443/x", "//a.example/y"),
    ],
)
async def test_port_that_the_scheme_implies_is_of_the_same_origin(family: Any, url: str, location: str):
    def serve(request: Any) -> Any:
        if request.url.path == "/x":
            return family.Response(302, headers={"location": location})
        return family.Response(200, headers={"content-type": "text/event-stream"}, content=DONE)

    async with family.AsyncClient(transport=family.MockTransport(serve)) as client:
        assert await read(url, client=client) == DONE


async def test_five_redirects_are_followed_and_not_a_sixth():
    def script(exchange: Exchange) -> Any:
        left = int(exchange.target[1])
        return moved(f"/{left - 1}?key=s3cret")(exchange) if left else exchange.stream(DONE)

    notes = InTurn(script)
    async with serving(notes) as url:
        assert await read(f"{url}/5") == DONE
        notes.requests.clear()
        error = await refused(f"{url}/6", attempts=3)
    assert str(error) == f"{url}/1 answered 302: expected at most 5 redirects, got one to {url}/0"
    assert [request.target.partition("?")[0] for request in notes.requests] == ["/6", "/5", "/4", "/3", "/2", "/1"]


async def test_redirect_to_itself_is_refused():
    script = InTurn(moved("/runs"))
    async with serving(script) as url:
        assert (
            str(await refused(f"{url}/runs"))
            == f"{url}/runs answered 302: expected at most 5 redirects, got one to {url}/runs"
        )
    assert len(script.requests) == 6


@both_clients
@pytest.mark.parametrize("status", ["301 Moved", "308 Permanent"])
async def test_redirect_out_of_its_origin_is_refused_and_its_target_never_asked(new_client: Any, status: str):
    elsewhere = InTurn(whole)
    async with serving(elsewhere) as other, new_client(follow_redirects=True) as client:
        place = f"{other}/there".replace("http://", "http://user:s3cret@") + "?key=s3cret#s3cret"
        async with serving(moved(place, status)) as url:
            error = await refused(f"{url}/runs?key=s3cret", client=client, headers={"api-key": "s3cret"}, attempts=3)
    assert (
        str(error)
        == f"{url}/runs answered {status[:3]}: expected a redirect within its origin, got one to {other}/there"
    )
    assert (error.status_code, elsewhere.requests) == (int(status[:3]), [])


@each_row(
    "location", ["https://127.0.0.1/x", "//example.invalid/x", "http://127.0.0.1:80\\@example.invalid/", "ftp://h/"]
)
async def test_other_scheme_host_or_port_is_another_origin(location: str):
    async with serving(moved(location)) as url:
        error = await refused(url, attempts=3)
    assert str(error).startswith(f"{url} answered 302: expected a redirect within its origin, got one to ")


@both_clients
@pytest.mark.parametrize("location", [None, "", " "])
async def test_redirect_to_nowhere_is_refused(new_client: Any, location: str | None):
    script = InTurn(moved(location))
    async with serving(script) as url, new_client() as client:
        error = await refused(f"{url}/runs", client=client, attempts=3)
    assert str(error) == f"{url}/runs answered 302: expected a redirect that says where, got one to nowhere"
    assert len(script.requests) == 1


@both_clients
@pytest.mark.parametrize("location", ["http://[::1", "http://h:port/", "\x01"])
async def test_redirect_to_what_is_no_url_is_final(new_client: Any, location: str):
    script = InTurn(moved(location))
    async with serving(script) as url, new_client() as client:
        with pytest.raises(
            (APIError, TransportError),
            match=r": expected (an http or https URL|a redirect that says where, got one to nowhere$)",
        ):
            await read(f"{url}/runs", client=client, attempts=3)
    assert len(script.requests) == 1


@both_clients
@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"])
async def test_redirect_of_a_post_is_refused_and_not_followed(new_client: Any, status: str):
    script = InTurn(moved("/elsewhere?key=s3cret", status))
    async with serving(script) as url, new_client(follow_redirects=True) as client:
        error = await refused(f"{url}/runs", client=client, json={}, attempts=3)
    assert str(error) == f"{url}/runs answered {status[:3]}: expected no redirect of a POST, got one to {url}/elsewhere"
    assert (error.status_code, error.reason_phrase, len(script.requests)) == (int(status[:3]), status[4:], 1)


async def test_redirect_that_the_client_does_not_know_is_a_refusal():
    async with serving(answering("304 Not Modified", location="/x")) as url:
        assert (await refused(url)).status_code == 304


async def test_204_is_no_stream():
    async with serving(InTurn(answering("204 Nothing", x_request_id="req_7"))) as url:
        error = await refused(url)
    assert str(error) == f"{url} answered 204: expected 200 and a stream"
    assert (error.status_code, error.reason_phrase, error.request_id) == (204, "Nothing", "req_7")


async def test_refusal_tells_its_reason_and_when_to_come_back():
    async with serving(answering("429 Slow Down", retry_after="7", x_request_id="req_7")) as url:
        error = await refused(url)
    assert (error.reason_phrase, error.retry_after, error.request_id) == ("Slow Down", 7.0, "req_7")


async def test_encoded_error_body_is_not_unpacked():
    async with serving(answering("500 Oh No", b"x" * 99, content_encoding="gzip")) as url:
        error = await refused(url)
    assert (error.message, str(error)) == (None, f"{url} answered 500 Oh No")


def test_control_characters_of_a_server_are_escaped_in_the_text_and_kept_in_the_message():
    body = b'{"error": {"message": "a\\u001b[31mb\\nforged line\\u202e"}}'
    error = refusal("http://x/runs answered 400", 400, "Bad Request", {}, body)
    assert str(error) == "http://x/runs answered 400 Bad Request: a\\u001b[31mb\\u000aforged line\\u202e"
    assert error.message == "a\x1b[31mb\nforged line\u202e"
