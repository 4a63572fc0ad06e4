"""One call of a function in its time, what it gives as text, and what is logged of its failure."""

import inspect
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final

import anyio
import anyio.to_thread
import msgspec

from stepstream.client.tools.pydantic_types import plain
from stepstream.live.cancellation import is_task_cancelled

MAX_CAUSES: Final = 10
"""So many causes of an exception are logged."""


async def call_in_time(call: Callable[[], Any], seconds: float, *, is_async: bool) -> Any:
    """Return the result of a function. A thread that exceeds its time is abandoned: it cannot be stopped.

    Raises:
        TimeoutError: the function took too long.
        RuntimeError: something that it awaited was cancelled elsewhere.
    """
    try:
        with anyio.move_on_after(seconds):
            return await _run(call, is_async)
    except anyio.get_cancelled_exc_class() as exc:
        if is_task_cancelled():
            raise
        raise RuntimeError(f"it was cancelled by what it awaited ({type(exc).__name__})") from exc
    raise TimeoutError(f"it took longer than {seconds:g} s")


async def _run(call: Callable[[], Any], is_async: bool) -> Any:
    if is_async:
        return await call()
    limiter = anyio.CapacityLimiter(1)  # `concurrency` is the bound; the threads of others must not make a tool wait
    boxed = lambda: (call(),)  # noqa: E731 - trio refuses an awaitable as the result of a thread
    [result] = await anyio.to_thread.run_sync(boxed, abandon_on_cancel=True, limiter=limiter)
    return await result if inspect.isawaitable(result) else result


def as_text(result: Any) -> str:
    """Return a result as the text that the model gets: JSON, unless it is text.

    Raises:
        TypeError, ValueError: it has no JSON form.
    """
    text = result if isinstance(result, str) else msgspec.json.encode(result, enc_hook=plain).decode()
    return encodable(text)


def encodable(text: str) -> str:
    """Return `text` with what UTF-8 cannot encode replaced, such as the lone surrogates in odd names of files."""
    return text.encode("utf-8", "replace").decode()


def without_text(error: BaseException) -> BaseException:
    """Return an exception that is logged like `error`, its causes included, but without what they say.

    What a tool's exception says often quotes what the model wrote (`KeyError: 'alice@…'`); where it came from does not.
    """
    return _copied(error, {}) or error


def _in_function(traceback: TracebackType | None) -> TracebackType | None:
    """Return a traceback from the function that was called on: how it was called says nothing of its failure."""
    found = one = traceback
    while one is not None and one.tb_next is not None:
        if one.tb_frame.f_code.co_filename == __file__:
            found = one.tb_next
        one = one.tb_next
    return found


def _copied(error: BaseException | None, copies: dict[int, BaseException]) -> BaseException | None:
    if error is None:
        return None
    if id(error) in copies or len(copies) == MAX_CAUSES:
        return copies.get(id(error))
    kind = type(error)
    copy: BaseException = type(
        kind.__name__, (Exception,), {"__module__": kind.__module__, "__qualname__": kind.__qualname__}
    )()
    copies[id(error)] = copy
    copy.__traceback__ = _in_function(error.__traceback__)
    inner = error.exceptions[0] if isinstance(error, BaseExceptionGroup) else error.__cause__
    copy.__cause__, copy.__context__ = _copied(inner, copies), _copied(error.__context__, copies)
    copy.__suppress_context__ = error.__suppress_context__
    return copy
