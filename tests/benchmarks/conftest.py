"""The benchmarks are no part of the installed package: put the top of the repository on the path."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))


@pytest.fixture
def anyio_backend() -> str:
    """What is measured runs on asyncio, where the peers run too."""
    return "asyncio"
