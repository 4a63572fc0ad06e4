"""Calling a callback: without cost where it does not wait, with a limit to its time where it does."""

import math
from collections.abc import Coroutine
from typing import Any, Self

import anyio

from stepstream.live.cancellation import is_cancelled_from_outside


async def finished(
    coroutine: Coroutine[Any, Any, object], waited_for: Any, scope: anyio.CancelScope, limit: float
) -> Exception | None:
    """Go on with a callback whose first step was made, and return the exception that it raised, if any.

    `waited_for` is what that step gave. `scope`, which was entered before it, is given a deadline in `limit` seconds
    for as long.
    """
    scope.deadline = anyio.current_time() + limit
    try:
        await Resumed(coroutine, waited_for)
    except anyio.get_cancelled_exc_class() as exc:
        if is_cancelled_from_outside():
            raise
        return foreign(exc)
    except Exception as exc:  # noqa: BLE001 - the user's callback: its trouble is its own
        return exc
    finally:
        scope.deadline = math.inf
    return None


def foreign(exc: BaseException) -> Exception:
    """Return what to tell where the callback awaited something that was cancelled elsewhere: its own trouble."""
    return RuntimeError(f"the callback was cancelled by what it awaited ({type(exc).__name__})")


class Resumed:
    """Awaits the rest of a coroutine that waits for something already, in the task that awaits this."""

    __slots__ = ("_coroutine", "_waited_for")

    def __init__(self, coroutine: Coroutine[Any, Any, object], waited_for: Any) -> None:
        self._coroutine = coroutine
        self._waited_for = [waited_for]

    def __await__(self) -> Self:
        return self

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        return self.send(None)

    def send(self, answer: Any) -> Any:
        """Give what was waited for already first; then go on with each answer."""
        return self._waited_for.pop() if self._waited_for else self._coroutine.send(answer)

    def throw(self, *exc: Any) -> Any:
        """Raise in the coroutine."""
        return self._coroutine.throw(*exc)

    def close(self) -> None:
        """Close the coroutine."""
        self._coroutine.close()
