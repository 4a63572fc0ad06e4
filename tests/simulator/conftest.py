from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
from anyio.from_thread import start_blocking_portal

from stepstream.simulator.application import app
from stepstream.simulator.serving import serve


@pytest.fixture(scope="session")
def base_url() -> Iterator[str]:
    """One simulator without delays, on a real port, for all tests that only send requests."""
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(serve(app(pace="fast"))) as url:
        yield url


@pytest.fixture
async def client(base_url: str) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=base_url, trust_env=False, verify=False) as client:
        yield client
