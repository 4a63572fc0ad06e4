import pytest


@pytest.fixture
def anyio_backend() -> str:
    """What is measured runs on asyncio, where the peers run too."""
    return "asyncio"
