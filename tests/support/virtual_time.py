"""Event loops whose time jumps: where every task sleeps, it is later at once. Nothing may wait for the world.

Where sockets of this machine are read, :func:`patient` gives loops that look for something to come before they jump:
there a limit passes only while nothing happens, however busy the machine is.
"""

import asyncio  # noqa: TID251 - only there, and in trio, a test can own the clock
import selectors
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial, wraps
from typing import Any

import anyio
import pytest
import trio.testing  # noqa: TID251

QUIET = 0.02
"""Seconds after which a patient loop takes it that nothing more is under way between two sockets of this machine."""


class _Selector(selectors.DefaultSelector):
    """Waits so long, for sockets: after that the time that it was to wait is over at once."""

    ahead = 0.0

    def __init__(self, patience: float) -> None:
        super().__init__()
        self._patience = patience

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None and self._patience:
            return super().select()
        found = super().select(self._patience if timeout else 0)
        if not found and timeout is None:
            raise RuntimeError("every task waits, and none for a time")
        if not found:
            self.ahead += timeout or 0.0
        return found


class JumpingLoop(asyncio.SelectorEventLoop):
    """An event loop of asyncio's whose time jumps."""

    def __init__(self, patience: float = 0) -> None:
        self._jumping = _Selector(patience)
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.ahead


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """Both event loops, their time in jumps."""
    if request.param == "asyncio":
        return "asyncio", {"loop_factory": JumpingLoop}
    return "trio", {"clock": trio.testing.MockClock(autojump_threshold=0)}


def patient(backend: str) -> dict[str, Any]:
    """Return the options of a loop whose time jumps when its sockets are quiet. Nothing may wait for a thread."""
    if backend == "asyncio":
        return {"loop_factory": partial(JumpingLoop, QUIET)}
    return {"clock": trio.testing.MockClock(autojump_threshold=QUIET)}


def virtually(function: Callable[..., Awaitable[Any]], *args: Any) -> Any:
    """Run in virtual time: where every task sleeps, the clock jumps."""
    return anyio.run(
        function, *args, backend="trio", backend_options={"clock": trio.testing.MockClock(autojump_threshold=0)}
    )


def in_virtual_time(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Make an async test one that runs in virtual time."""

    @wraps(test)
    def run_it(**given: Any) -> None:
        virtually(lambda: test(**given))

    return run_it
