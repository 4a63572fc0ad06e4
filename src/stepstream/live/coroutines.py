"""Coroutines driven by hand: the first step is made without a task, a deadline or an await around it. Only here.

Theory. An event loop runs a coroutine by `send(None)` until it yields what it waits for. Most callbacks yield nothing:
they put a change somewhere and return. Nor does most waiting for the next chunk of a quick stream. So the first step is
made here, which costs one call, and needs no deadline; only a coroutine that does yield is finished under one, in the
task that awaits the rest. It cannot tell the difference: the loop gets the yielded object from `StartedCoroutine`, and
every `send`, `throw` and `close` after it reaches the coroutine itself.

    variables = stream.variables.copy()
    started = variables.run(start_call, variables, callback, change)    # most often None: delivered
    failure = await finish_call(started, scope, timeout)

A callback has contextvars of its own: a copy of those of the `run` or `start` that its change comes from, in which each
of its steps is made. So it sees what its stream was started with, whichever task calls it, and what it sets is gone
with it. Calls that follow each other share one copy until one of them has set something (`has_changed`): a copy that
was not written to is, for the interpreter, the same mapping as its original, so comparing the two costs nothing. A call
that set a value to one that equals it, or set it back, counts as having set nothing.

What would break it: awaiting anything between the two (the yielded object would wait unseen by the loop), entering the
scope of the deadline after the first step (the scopes that this enters must lie inside of it), or a loop that counted
steps.

What it gains: delivery costs 1.5 times the bare decoding of the deltas; 5.7 times with a deadline and an `await` for
each call instead (`python -m benchmarks delivery`, one machine, in turns). A chunk that is there already costs
`sources.chunks.next_chunk` half the time of `awaited_chunk`.
"""

import math
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any, Self

import anyio

from stepstream.live.cancellation import is_cancelled_from_outside


def start_call(
    variables: Context, callback: Callable[[Any], Coroutine[Any, Any, object]], change: object
) -> "StartedCall | None":
    """Run a callback until it waits for the first time, and return the rest of it, to be finished at once.

    To be called in `variables`. None where it has ended: its result is not kept, so that no exception has to carry it
    here.
    """
    coroutine = callback(change)
    for waited_for in coroutine.__await__():
        return StartedCall(coroutine, waited_for, variables)
    return None


def has_changed(variables: Context, origin: Context) -> bool:
    """Return whether something was set in a copy of `origin`. Values that cannot be compared count as changed."""
    try:
        return variables != origin
    except Exception:  # noqa: BLE001 - the comparison is the user's
        return True


async def finish_call(started: "StartedCall", scope: anyio.CancelScope, limit: float) -> Exception | None:
    """Go on with a callback whose first step was made, and return the exception that it raised, if any.

    `scope`, entered before that step, gets a deadline in `limit` seconds meanwhile.
    """
    scope.deadline = anyio.current_time() + limit
    try:
        await started
    except anyio.get_cancelled_exc_class() as exc:
        if is_cancelled_from_outside():
            raise
        return cancelled_elsewhere(exc)
    except Exception as exc:  # noqa: BLE001 - user code: reported, and not raised
        return exc
    finally:
        scope.deadline = math.inf
    return None


def first_step(coroutine: Coroutine[Any, Any, object]) -> "StartedCoroutine":
    """Run a coroutine until it waits for the first time, and return the rest of it, to be awaited at once.

    Raises:
        StopIteration: it has ended without waiting. Its value is the result.
    """
    return StartedCoroutine(coroutine, coroutine.send(None))


def rest_of(coroutine: Coroutine[Any, Any, object]) -> "StartedCoroutine | None":
    """Run a coroutine until it waits for the first time, and return the rest of it, to be awaited at once.

    None where it has ended: its result is not kept, so that no exception has to carry it here.
    """
    for waited_for in coroutine.__await__():
        return StartedCoroutine(coroutine, waited_for)
    return None


def cancelled_elsewhere(exc: BaseException) -> Exception:
    """Return the failure of a callback that awaited something which was cancelled, though the callback was not."""
    return RuntimeError(f"the callback was cancelled by what it awaited ({type(exc).__name__})")


class StartedCoroutine:
    """Awaits the rest of a coroutine whose `first_step` was made, in the task that awaits this."""

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
        """Yield what the first step waited for; then pass each answer on to the coroutine."""
        return self._waited_for.pop() if self._waited_for else self._coroutine.send(answer)

    def throw(self, *exc: Any) -> Any:
        """Raise in the coroutine."""
        return self._coroutine.throw(*exc)

    def close(self) -> None:
        """Close the coroutine."""
        self._coroutine.close()


class StartedCall(StartedCoroutine):
    """Awaits the rest of a callback, of which every step is made in its `variables`."""

    __slots__ = ("_variables",)

    def __init__(self, coroutine: Coroutine[Any, Any, object], waited_for: Any, variables: Context) -> None:
        super().__init__(coroutine, waited_for)
        self._variables = variables

    def send(self, answer: Any) -> Any:
        """As `StartedCoroutine.send`."""
        return self._variables.run(super().send, answer)

    def throw(self, *exc: Any) -> Any:
        """As `StartedCoroutine.throw`."""
        return self._variables.run(super().throw, *exc)

    def close(self) -> None:
        """As `StartedCoroutine.close`."""
        self._variables.run(super().close)
