"""Where a coroutine is suspended: waiting until every other task is, counting the times, cancelling at one of them."""

from collections.abc import Callable, Coroutine, Generator
from types import coroutine
from typing import Any

import anyio
import anyio.lowlevel


async def quiet() -> None:
    """Return when every other task waits for something."""
    for _ in range(50):
        await anyio.lowlevel.checkpoint()
    await anyio.wait_all_tasks_blocked()


@coroutine
def observed(awaited: Coroutine[Any, Any, Any], suspending: Callable[[int], object]) -> Generator[Any, Any, Any]:
    """Await `awaited`, and call `suspending` with 1, 2, 3, … each time right before it is suspended."""
    count = 0
    step, value = awaited.send, None
    while True:
        try:
            trap = step(value)
        except StopIteration as stop:
            return stop.value
        count += 1
        suspending(count)
        try:
            step, value = awaited.send, (yield trap)
        except BaseException as exc:  # noqa: BLE001 - handed on to where it belongs
            step, value = awaited.throw, exc


async def cancelling(awaited: Coroutine[Any, Any, Any], scope: anyio.CancelScope, moment: int) -> Any:
    """Await `awaited`, and cancel `scope` right before it is suspended for the time of number `moment`."""
    return await observed(awaited, lambda count: scope.cancel() if count == moment else None)
