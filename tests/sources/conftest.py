"""The tests of the sources share `scripted`, a server that does what a test says: put it on the path, whatever
pytest's import mode."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(autouse=True)
def _direct(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy of the machine stands between the tests and their server."""
    monkeypatch.setenv("NO_PROXY", "*")
