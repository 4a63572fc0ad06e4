"""Closing what a source opened, and what a failure of it becomes."""

import logging
from contextlib import AsyncExitStack
from copy import copy
from types import TracebackType

import anyio

from stepstream.errors import StepStreamError, TransportError
from stepstream.live.cancellation import is_task_cancelled, lone_exception
from stepstream.live.refusals import refusal_in

_log = logging.getLogger("stepstream.live")


class SourceStack(AsyncExitStack):
    """Close what a source opened, whatever became of the stream.

    A source neither sees nor replaces an exception of the stream: it did not cause it. It does see a cancellation: that
    may come from a scope of its own, and must end there. One that does not end there, while the task is not cancelled,
    is of something that the source awaited, and a failure of the source.
    """

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        cancelled = anyio.get_cancelled_exc_class()
        seen = (None, None, None) if isinstance(exc, Exception) else (exc_type, exc, traceback)
        try:
            is_handled = bool(await super().__aexit__(*seen))
            if is_handled or not isinstance(exc, cancelled) or is_task_cancelled():
                return is_handled
            failure: BaseException = exc
        except (Exception, cancelled) as raised:
            if isinstance(raised, cancelled) and is_task_cancelled():
                raise
            failure = raised
        # a cancellation of the task must reach its scope; one by a scope of the source's own ends here
        if exc is None or (isinstance(exc, cancelled) and not is_task_cancelled()):
            if isinstance(failure, StepStreamError):
                raise failure
            raise translate_source_error(failure) from failure
        if repr(failure) != repr(exc):  # else it failed at the same thing twice
            _log.warning("a source failed when it was closed", exc_info=failure)
        return False


def translate_source_error(exc: BaseException) -> StepStreamError:
    """Return the error that a foreign exception becomes. Its own text may quote keys, and stays in the cause.

    A cancellation is one too, where the task itself is not cancelled. What a task of a source raises comes in a group,
    which says nothing by itself.
    """
    if not isinstance(exc, Exception):
        return TransportError(f"the source was cancelled by what it awaited ({type(exc).__name__})")
    one = lone_exception(exc) if isinstance(exc, ExceptionGroup) else exc
    if isinstance(one, StepStreamError):
        return copy(one)  # the group will be its cause, and holds the original
    refusal = refusal_in(one) if isinstance(one, Exception) else None
    if refusal is not None:
        return refusal
    reason = one.strerror if isinstance(one, OSError) and one.strerror else type(one).__name__
    if isinstance(one, ImportError):  # it names what is to be installed
        reason = str(one)
    return TransportError(f"the source failed: {reason}")
