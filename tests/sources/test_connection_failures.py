"""Why a connection could not be made, told apart, and whether it is tried again; and the log of that."""

import logging
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from anyio.abc import SocketAttribute, SocketStream
from anyio.streams.tls import TLSListener

from stepstream import Processor, RunsClient, TransportError, connect
from stepstream.sources.connection_failures import connection_failure
from stepstream.sources.http_errors import is_transient, is_unprocessed, translate_http_error
from tests.support.scripted_server import DONE, InTurn, answering, hang_up, serving, streaming
from tests.support.stream_reads import Clock, both_clients, items, read
from tests.support.tables import each_row

CERTIFICATE = Path(__file__).parent.parent / "support" / "self_signed.pem"


def caused(exc: BaseException, *causes: BaseException) -> BaseException:
    """Return `exc` with causes, each of the one before."""
    for outer, inner in zip([exc, *causes], causes, strict=False):
        outer.__cause__ = inner
    return exc


def hidden(exc: BaseException, context: BaseException) -> BaseException:
    exc.__context__, exc.__suppress_context__ = context, True
    return exc


REFUSED, UNKNOWN = ConnectionRefusedError(111, "s3cret"), socket.gaierror(-2, "s3cret")
UNTRUSTED = ssl.SSLCertVerificationError(1, "s3cret")
UNTRUSTED.verify_message = "self-signed\ncertificate"
WRONG = ssl.SSLError(1, "s3cret")
FAILURES: dict[str, tuple[BaseException, bool, str]] = {
    "refused": (caused(httpx.ConnectError("x"), OSError("all"), REFUSED), False, "the connection was refused"),
    "at every address": (
        caused(OSError("all"), ExceptionGroup("x", [OSError("x"), REFUSED])),
        False,
        "the connection was refused",
    ),
    "raised from None": (hidden(OSError("x"), REFUSED), False, "the connection was refused"),
    "no such host": (
        caused(httpx.ConnectError("x"), UNKNOWN),
        False,
        "the host name could not be resolved",
    ),
    "not trusted": (
        caused(httpx.ConnectError("x"), UNTRUSTED),
        True,
        "the certificate is not trusted: self-signed\\u000acertificate",
    ),
    "TLS": (caused(httpx.ConnectError("x"), WRONG), False, "TLS failed: SSLError"),
    "no such port": (ExceptionGroup("x", [OverflowError("s3cret")]), True, "the port is out of range"),
    "the proxy": (httpx.ProxyError("407 Proxy Auth"), False, "the proxy did not connect: 407 Proxy Auth"),
    "a proxy with other words": (httpx.ProxyError("http://u:s3cret@x"), False, "the proxy did not connect"),
    "the rest": (httpx.ReadError("s3cret"), False, "the connection failed"),
}


@each_row(("exc", "is_final", "text"), FAILURES.values(), ids=FAILURES)
def test_failure_is_told_by_its_cause(exc: BaseException, is_final: bool, text: str):
    assert connection_failure(exc) == (is_final, text)


@each_row(
    ("exc", "told"),
    [
        (caused(httpx.ConnectError("x"), REFUSED), "the connection to the proxy p:1 was refused (ConnectError)"),
        (caused(httpx.ConnectError("x"), UNKNOWN), "the host name of the proxy p:1 could not be resolved (ConnectE"),
        (httpx.ConnectTimeout("x"), "no connection to the proxy p:1 was made within 3 s"),
        (httpx.ReadError("x"), "the connection failed (ReadError)"),
    ],
)
def test_proxy_that_cannot_be_reached_is_named(exc: Exception, told: str):
    assert str(translate_http_error(exc, "https://x", 3, "p:1")).startswith(f"https://x: {told}")


def test_exception_that_the_caller_was_handling_is_no_cause():
    exc = OSError("mine")
    exc.__context__ = UNTRUSTED
    assert connection_failure(exc).text == "the connection failed"


def test_causes_in_a_circle_end():
    first, second = OSError("a"), OSError("b")
    first.__cause__, second.__cause__ = second, first
    assert connection_failure(first).text == "the connection failed"


def test_certificate_that_is_not_trusted_is_final():
    for exc, again in ((UNTRUSTED, False), (WRONG, True)):
        failure = translate_http_error(caused(httpx.ConnectError("x"), exc), "https://x/y", 3)  # type: ignore[arg-type]
        assert (is_transient(failure), is_unprocessed(failure)) == (again, again)
        assert "s3cret" not in str(failure)


@asynccontextmanager
async def tls() -> AsyncIterator[tuple[str, list[object]]]:
    """A server whose certificate nobody knows, and the connections that were tried."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(CERTIFICATE)
    tried: list[object] = []

    class Listener(TLSListener):
        @staticmethod
        async def handle_handshake_error(exc: BaseException, stream: Any) -> None:
            tried.append(exc)
            await stream.aclose()

    async def ignore(stream: Any) -> None:
        tried.append(stream)
        await stream.aclose()

    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as tasks:
        tasks.start_soon(Listener(listener, context).serve, ignore)
        yield f"https://127.0.0.1:{listener.extra(SocketAttribute.local_port)}", tried
        tasks.cancel_scope.cancel()


@both_clients
async def test_certificate_is_not_tried_again(clock: Clock, new_client: Any):
    async with tls() as (url, tried), new_client() as client:
        for options in ({}, {"json": {}}):
            with pytest.raises(TransportError, match=r": the certificate is not trusted: self.signed certificate \("):
                await items(f"{url}/runs?key=s3cret", client=client, **options)
            await anyio.wait_all_tasks_blocked()
    assert (len(tried), clock.pauses) == (2, [])


@both_clients
async def test_tls_that_is_spoken_to_a_plain_server_is_told(new_client: Any):
    async def answer(stream: SocketStream) -> None:
        async with stream:
            await stream.receive()
            await stream.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with (
        await anyio.create_tcp_listener(local_host="127.0.0.1") as listener,
        anyio.create_task_group() as tasks,
        new_client() as client,
    ):
        tasks.start_soon(listener.serve, answer)
        port = listener.extra(SocketAttribute.local_port)
        with pytest.raises(TransportError, match=r": TLS failed: \w+ \(ConnectError\)$"):
            await read(f"https://127.0.0.1:{port}", client=client)
        tasks.cancel_scope.cancel()


async def test_host_that_is_not_known_is_told(monkeypatch: pytest.MonkeyPatch):
    def unknown(*_: Any) -> Any:
        raise UNKNOWN

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(TransportError, match=r"^http://nowhere.invalid/x: the host name could not be resolved \("):
        await read("http://nowhere.invalid/x")


# The log

THREAD, RUN = "thread_1", "run_1"
CREATED = b'event: thread.run.created\ndata: {"id": "run_1", "thread_id": "thread_1"}\n\n'


def retries(log: pytest.LogCaptureFixture) -> list[tuple[str, str | None, str | None]]:
    """Return what each record of another attempt says, and the ids that it carries."""
    assert not any("s3cret" in record.getMessage() for record in log.records)
    found = [one for one in log.records if one.name == "stepstream.http" and one.levelno == logging.INFO]
    return [(one.getMessage(), one.__dict__["run_id"], one.__dict__["thread_id"]) for one in found]


async def test_each_attempt_is_logged_with_run_thread_and_reason(clock: Clock, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO)
    script = InTurn(answering("503 Busy", {"detail": "later"}), streaming(CREATED), hang_up, streaming(DONE))
    async with serving(script) as url, Processor() as processor:
        await processor.run(connect(f"{url}/x?key=s3cret"))
    reasons = [
        f"{url}/x answered 503 Busy: later",
        "the stream ended before its run did",
        f"{url}/x: the connection failed (RemoteProtocolError)",
    ]
    begins = [f"{url}/x (run unknown, thread unknown)", *[f"{url}/x (run run_1, thread thread_1)"] * 2]
    assert [text for text, *_ in retries(caplog)] == [
        f"{begin}: trying again in {seconds:.1f} s, for {reason}"
        for begin, seconds, reason in zip(begins, clock.pauses, reasons, strict=True)
    ]
    assert [ids for _, *ids in retries(caplog)] == [[None, None], [RUN, THREAD], [RUN, THREAD]]


async def test_ids_of_an_attempt_are_those_of_its_path(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    caplog.set_level(logging.INFO)
    script = InTurn(answering("503 Busy", retry_after_ms="1"), answering("200 OK", {"id": RUN, "status": "queued"}))
    async with serving(script) as url:
        await RunsClient(f"{url}/v1").retrieve_run(THREAD, RUN)
    [(text, run_id, thread_id)] = retries(caplog)
    assert (run_id, thread_id) == (RUN, THREAD)
    assert "/v1/threads/thread_1/runs/run_1 (run run_1, thread thread_1): trying again in" in text
