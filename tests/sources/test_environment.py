"""Proxies and certificates of the environment: who is asked through them, and what is told of a wrong setting."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from stepstream import Processor, RunsClient, TransportError, connect
from stepstream.sources import environment
from stepstream.sources.environment import is_loopback
from tests.support.scripted_server import CREATED, DONE, Exchange, serving, streaming
from tests.support.stream_reads import both_clients, read
from tests.support.tables import each_row

NOBODY = "http://127.0.0.1:9"
FAR = "https://example.invalid/runs"
VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE")

on_asyncio = pytest.mark.parametrize("anyio_backend", ["asyncio"])


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch, direct_connections: None) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


async def by_connect(url: str, **options: Any) -> None:
    async with connect(url, attempts=1, **options):
        raise AssertionError("the stream is open")


async def by_call(url: str, **options: Any) -> None:
    await RunsClient(url, attempts=1, **options).retrieve_run("thread_1", "run_1")


async def by_stream(url: str, **options: Any) -> None:
    async with RunsClient(url, attempts=1, **options).stream_run("thread_1", assistant_id="asst_1"):
        raise AssertionError("the stream is open")


async def by_kept_connections(url: str, **options: Any) -> None:
    async with RunsClient(url, attempts=1, **options):
        raise AssertionError("the client is open")


ROADS = [by_connect, by_call, by_stream, by_kept_connections]
Road = Callable[..., Awaitable[None]]


@pytest.mark.parametrize(
    "settings",
    [
        {"HTTP_PROXY": NOBODY},
        {"ALL_PROXY": "socks5://127.0.0.1:9"},
        {"HTTP_PROXY": "no URL at all", "NO_PROXY": "[::1]"},
        {"NO_PROXY": "localhost,127.0.0.1,[::1]"},
        {"SSL_CERT_FILE": "/nonexistent.pem", "SSL_CERT_DIR": "/nonexistent"},
    ],
    ids=str,
)
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_server_on_this_machine_is_asked_directly_whatever_the_environment_says(
    settings: dict[str, str], host: str, monkeypatch: pytest.MonkeyPatch
):
    async def answer(exchange: Exchange) -> None:
        if exchange.method == "GET":
            await exchange.answer("200 OK", {"id": "run_1"})
        else:
            await exchange.stream(CREATED, DONE)

    async with serving(answer) as url:
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        base = url.replace("127.0.0.1", host)
        assert await read(base, json={}) == CREATED + DONE
        assert (await RunsClient(base).retrieve_run("thread_1", "run_1")).id == "run_1"


@on_asyncio
async def test_server_on_this_machine_is_asked_directly_by_the_fast_client_too(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "[::1]")
    async with serving(streaming(CREATED, DONE)) as url:
        assert await read(url, fast=True) == CREATED + DONE


@each_row(
    ("url", "is_own"),
    [
        ("http://127.0.0.1:80/x", True),
        ("http://127.9.9.9", True),
        ("http://[::1]:8/", True),
        ("HTTPS://u:p@LocalHost/", True),
        ("http://tide.localhost", True),
        ("http://0.0.0.0:8000/", True),
        ("http://[::]:8000/", True),
        ("http://127.0.0.1.example.com", False),
        ("http://localhost.example.com", False),
        ("http://10.0.0.1", False),
        ("http://[::1", False),
        ("/runs", False),
    ],
)
def test_host_of_this_machine_is_known_by_name_and_address(url: str, is_own: bool):
    assert is_loopback(url) is is_own


TOLD: list[tuple[dict[str, str], str]] = [
    ({"ALL_PROXY": "socks5://u:SECRET@h:1"}, "ALL_PROXY names a SOCKS proxy, which needs a package: pip install"),
    ({"https_proxy": "socks4://u:SECRET@h"}, "https_proxy: expected the URL of an HTTP or SOCKS5 proxy"),
    ({"HTTPS_PROXY": "http://u:SECRET#@h"}, "HTTPS_PROXY: expected the URL of an HTTP or SOCKS5 proxy"),
    ({"HTTPS_PROXY": "http://u:SECRET@h:99999"}, "HTTPS_PROXY: expected the URL of an HTTP or SOCKS5 proxy"),
    ({"HTTP_PROXY": "http://"}, "HTTP_PROXY: expected the URL of an HTTP or SOCKS5 proxy"),
    ({"HTTPS_PROXY": NOBODY, "NO_PROXY": "localhost,[::1]"}, "NO_PROXY: expected hosts and addresses between commas"),
    ({"HTTPS_PROXY": NOBODY, "no_proxy": "::1/128"}, "no_proxy: expected hosts and addresses between commas"),
    ({"SSL_CERT_FILE": "/nonexistent.pem"}, "SSL_CERT_FILE: expected a file with certificates that can be read (No su"),
    ({"SSL_CERT_FILE": __file__}, "SSL_CERT_FILE: expected a file with certificates that can be read (NO_CERT"),
    (
        {"SSL_CERT_DIR": "/nonexistent:/neither"},
        "SSL_CERT_DIR: expected a folder with certificates, got none that exist",
    ),
    ({"SSLKEYLOGFILE": "/nonexistent/keys"}, "SSLKEYLOGFILE: expected a file that can be written (No such file"),
]


@pytest.mark.parametrize(("settings", "told"), TOLD, ids=[str(settings) for settings, _ in TOLD])
@pytest.mark.parametrize("road", ROADS)
@on_asyncio
async def test_wrong_setting_is_a_transport_error_that_names_its_variable(
    settings: dict[str, str], told: str, road: Road, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(environment, "find_spec", lambda name: None)  # where httpx lacks its extra for SOCKS
    if "SSL_CERT_FILE" not in settings:
        monkeypatch.setenv("SSL_CERT_DIR", str(Path(__file__).parent))  # holds none: those of certifi take a while
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    for options in ({}, {"fast": True}):
        expected = "ALL_PROXY: expected an HTTP proxy for fast=True" if options and "ALL_PROXY" in settings else told
        with pytest.raises(TransportError) as caught:
            await road(FAR, **options)
        assert str(caught.value).startswith(expected)
        assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize("everyone", ["*", "localhost, *"])
async def test_proxies_that_nobody_is_asked_through_may_be_wrong(everyone: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ALL_PROXY", "socks4://h")
    monkeypatch.setenv("NO_PROXY", everyone)
    with pytest.raises(TransportError, match=r"^http://example\.invalid"):
        await by_connect("http://example.invalid")


def test_certificates_of_the_environment_are_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """A folder without any is right as a setting; the first of two is enough."""
    monkeypatch.setenv("SSL_CERT_DIR", f"{tmp_path}:/nonexistent")
    context = environment.ssl_context(verify=True)
    assert (context.cert_store_stats()["x509"], context.check_hostname) == (0, True)
    assert environment.ssl_context(verify=False).check_hostname is False


@pytest.mark.parametrize("road", [by_connect, by_call, by_stream])
@pytest.mark.parametrize("url", ["http://example.invalid/runs", FAR])
async def test_proxy_that_refuses_the_connection_is_named_without_its_password(
    url: str, road: Road, closed_url: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("ALL_PROXY", closed_url.replace("//", "//u:SECRET@"))
    place = closed_url.removeprefix("http://")
    with pytest.raises(TransportError, match=f"the connection to the proxy {place} was refused") as caught:
        await road(url)
    assert "SECRET" not in str(caught.value)


@on_asyncio
async def test_proxy_that_refuses_the_fast_client_is_named_too(closed_url: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ALL_PROXY", closed_url)
    with pytest.raises(TransportError, match=f"the connection to the proxy {closed_url[7:]} was refused"):
        await by_connect("http://example.invalid/runs", fast=True)


@both_clients
async def test_proxy_of_the_callers_client_is_named_and_no_server(new_client: Any, closed_url: str):
    async with new_client(proxy=closed_url) as client:
        with pytest.raises(TransportError, match=f"the connection to the proxy {closed_url[7:]} was refused"):
            await by_connect("http://example.invalid/runs", client=client)
    async with new_client() as client:
        with pytest.raises(TransportError, match=r"runs: the connection was refused"):
            await by_connect(f"{closed_url}/runs", client=client)


async def test_proxy_of_the_system_is_named_as_such(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(environment, "getproxies", lambda: {"http": "socks4://h"})
    with pytest.raises(TransportError, match=r"^the system's http proxy: expected the URL"):
        await by_connect("http://example.invalid")


@each_row("road", [by_connect, by_call, by_stream])
@each_row("url", [f"{NOBODY}/\ud800", "http://xn--/", "http://a b/", "http://h:99999/", "http://h\0.x/"])
async def test_url_that_has_no_form_on_the_wire_is_a_transport_error(url: str, road: Road):
    with pytest.raises(TransportError):
        await road(url)


@on_asyncio
@pytest.mark.parametrize("fast", [False, True])
async def test_port_out_of_range_is_told_and_not_tried_again(fast: bool):
    async with Processor() as processor:
        with pytest.raises(TransportError, match=r"^http://127\.0\.0\.1:99999/: the port is out of range \("):
            await processor.run(connect("http://127.0.0.1:99999/", fast=fast, attempts=1_000))


async def test_url_that_is_none_is_told_without_its_secrets():
    with pytest.raises(TransportError) as caught:
        await by_connect("http://u:SECRET@[::1/x?key=SECRET")
    assert "SECRET" not in str(caught.value)
    with pytest.raises(ValueError, match=r"^expected a URL as base_url, got '\[::1/x'$"):
        RunsClient("http://u:SECRET@[::1/x?key=SECRET")
