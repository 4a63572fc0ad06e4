"""Reading streams of `connect` in the tests: at once, or with pauses that are noted and take no time."""

from typing import Any

import anyio
import anyio.lowlevel
import httpx
import httpx2
import pytest

from stepstream import APIError, Outcome, Processor, connect

CLIENTS = [httpx.AsyncClient, httpx2.AsyncClient]
both_clients = pytest.mark.parametrize("new_client", CLIENTS, ids=["httpx", "httpx2"], indirect=True)

WITHIN = 60
"""Seconds that anything may take. It takes far less; this bounds a failure."""


async def items(url: str, **options: Any) -> list[Any]:
    """Read a stream to its end."""
    with anyio.fail_after(WITHIN):
        async with connect(url, **options) as stream:
            return [item async for item in stream]


async def read(url: str, **options: Any) -> bytes:
    """Read a stream, opened at the first attempt, without resuming it."""
    return b"".join(await items(url, **{"attempts": 1, "reconnect": False, **options}))


async def run(url: str, **options: Any) -> Outcome:
    """Run a stream, opened at the first attempt, without resuming it."""
    with anyio.fail_after(WITHIN):
        async with Processor() as processor:
            return await processor.run(connect(url, **{"attempts": 1, "reconnect": False, **options}))


async def refused(url: str, **options: Any) -> APIError:
    """Connect where the server refuses, and return how."""
    with pytest.raises(APIError) as caught, anyio.fail_after(WITHIN):
        async with connect(url, **{"attempts": 1, **options}):
            raise AssertionError("the stream is open")
    return caught.value


class Clock:
    """Stands for anyio in the modules that wait: a pause is noted, and over at once. What waits for bytes does wait."""

    def __init__(self) -> None:
        self.pauses: list[float] = []
        self._ahead = 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(anyio, name)

    def current_time(self) -> float:
        return anyio.current_time() + self._ahead

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._ahead += seconds

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(round(seconds, 3))
        self.advance(seconds)
        await anyio.lowlevel.checkpoint()
