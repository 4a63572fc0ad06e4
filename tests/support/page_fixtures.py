"""What tests of the page are given: a real browser, one for all tests of a module, and a dashboard of their own."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.support.page_stage import CHROMIUM, Stage, staged


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def browser(anyio_backend: str) -> AsyncIterator[Any]:
    playwright = pytest.importorskip("playwright.async_api")
    playwright.expect.set_options(timeout=20_000)
    async with playwright.async_playwright() as started:
        browser = await started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        await browser.close()


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    async with staged() as stage:
        yield stage
