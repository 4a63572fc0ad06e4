import socket
from functools import partial
from importlib.util import find_spec
from typing import Any

import pytest

from stepstream.sources import event_stream, http
from stepstream.sources.backoff import Backoff
from stepstream.sources.fast_transport import FastClient
from tests.support import virtual_time
from tests.support.connections import direct_connections as direct_connections
from tests.support.stream_reads import Clock

FAST = "fast over "
BACKENDS = [
    pytest.param(("asyncio", {"use_uvloop": False}), id="asyncio"),
    pytest.param(("asyncio", {"use_uvloop": True}), id="uvloop", marks=pytest.mark.slow),
    pytest.param(("trio", {}), id="trio"),
    pytest.param((f"{FAST}asyncio", {"use_uvloop": False}), id="fast-asyncio", marks=pytest.mark.slow),
    pytest.param((f"{FAST}asyncio", {"use_uvloop": True}), id="fast-uvloop", marks=pytest.mark.slow),
]


@pytest.fixture(params=BACKENDS)
def anyio_backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> tuple[str, dict[str, bool]]:
    """Every asynchronous test runs on every event loop, and the slow form of it over the fast transport as well."""
    name, options = request.param
    if options.get("use_uvloop") and find_spec("uvloop") is None:
        pytest.skip("uvloop is not installed")
    if name.startswith(FAST):
        monkeypatch.setattr(http, "new_client", partial(http.new_client, fast=True))
    name = name.removeprefix(FAST)
    if "patient" in request.fixturenames and not options.get("use_uvloop"):
        options = virtual_time.patient(name)
    return name, options


@pytest.fixture
def new_client(request: pytest.FixtureRequest, anyio_backend: Any) -> Any:
    """A class of clients that the caller may bring."""
    is_fast = request.node.callspec.params["anyio_backend"][0].startswith(FAST)
    return FastClient if is_fast else request.param


@pytest.fixture
def closed_url() -> str:
    """A URL of a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of `connect`: its pauses take no time, and are as long as chance allows."""
    clock = Clock()
    monkeypatch.setattr(http, "anyio", clock)
    monkeypatch.setattr(event_stream, "anyio", clock)
    monkeypatch.setattr(event_stream, "Backoff", lambda: Backoff(lambda: 1.0))
    return clock
