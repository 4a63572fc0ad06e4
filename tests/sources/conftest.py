"""The tests of the sources share `scripted`, a server that does what a test says, and `reading`: put them on the path,
whatever pytest's import mode."""

import socket
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from reading import Clock

from stepstream.sources import event_stream, http
from stepstream.sources.backoff import Backoff


@pytest.fixture(autouse=True)
def _direct(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy of the machine stands between the tests and their server, and no time goes into certificates."""
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.setenv("SSL_CERT_DIR", str(Path(__file__).parent))


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
