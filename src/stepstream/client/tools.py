"""Tools: the functions that answer a run's calls, and who may let its MCP calls pass."""

import inspect
import logging
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Final, Literal, TypeAlias, TypeVar, overload

import anyio
import anyio.lowlevel
import anyio.to_thread
import msgspec

from stepstream.client.signature import Signature, is_async, signature_of
from stepstream.errors import ToolFailed
from stepstream.live.cancellation import is_cancelled_from_outside
from stepstream.wire.tool_calls import ToolCall

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])
Approve: TypeAlias = Callable[[ToolCall], bool | Awaitable[bool]]
A = TypeVar("A", bound=Approve)
OnError: TypeAlias = Literal["output", "cancel"]

DEFAULT_TIMEOUT: Final = 60.0
DEFAULT_CONCURRENCY: Final = 8

_log = logging.getLogger("stepstream.client")


class Toolbox:
    """Functions that answer a run's calls, by name.

    Calls of one round run side by side, `concurrency` at a time, each for `timeout` seconds at most. Where one fails,
    `on_error` says what becomes of the run: "output" gives the error to the model, as `{"error": …}`, so that it can
    try otherwise; "cancel" cancels the run, and `drive` raises `ToolFailed`.
    """

    def __init__(
        self,
        *,
        concurrency: int = DEFAULT_CONCURRENCY,
        timeout: float = DEFAULT_TIMEOUT,
        on_error: OnError = "output",
    ) -> None:
        if concurrency < 1:
            raise ValueError(f"expected a concurrency of at least 1, got {concurrency}")
        if not timeout > 0:
            raise ValueError(f"expected a timeout over 0 seconds, got {timeout}")
        if on_error not in ("output", "cancel"):
            raise ValueError(f"expected on_error 'output' or 'cancel', got {on_error!r}")
        self._concurrency = concurrency
        self._timeout = timeout
        self._on_error = on_error
        self._functions: dict[str, Signature] = {}
        self._approve: Approve | None = None

    def __repr__(self) -> str:
        return f"<Toolbox {', '.join(self._functions) or 'empty'}>"

    @overload
    def function(self, function: F) -> F: ...
    @overload
    def function(self, *, name: str | None = None, description: str | None = None) -> Callable[[F], F]: ...
    def function(
        self, function: F | None = None, *, name: str | None = None, description: str | None = None
    ) -> F | Callable[[F], F]:
        """Register a function, as `@tools.function` or `@tools.function(name=…)`.

        It may be async, or sync: then it runs in a thread. Its parameters' annotations say what arguments are valid,
        its docstring is the description unless given.

        Raises:
            TypeError: it is no function, a parameter cannot be given by name, or its annotation has no JSON form.
            ValueError: the name is taken, or none that the API takes.
        """
        if function is None:
            return partial(self._registered, name=name, description=description)
        return self._registered(function, name=name, description=description)

    def _registered(self, function: F, *, name: str | None, description: str | None) -> F:
        signature = signature_of(function, name=name, description=description)
        if signature.name in self._functions:
            raise ValueError(f"expected another name: a function {signature.name!r} is registered")
        self._functions[signature.name] = signature
        return function

    def approve(self, function: A) -> A:
        """Register who decides on MCP calls, as `@tools.approve`: it gets the call and returns whether it may be made.

        Without one, and where it raises or takes longer than the timeout, a call may not.

        Raises:
            TypeError: it cannot be called.
            ValueError: somebody decides already.
        """
        if not callable(function):
            raise TypeError(f"expected a function, got {type(function).__name__}")
        if self._approve is not None:
            raise ValueError("expected one function that approves: another is registered")
        self._approve = function
        return function

    def definitions(self) -> list[dict[str, Any]]:
        """Return the functions as the API's `tools`, with JSON schemas of their parameters."""
        return [signature.definition() for signature in self._functions.values()]

    async def outputs(self, calls: Sequence[ToolCall]) -> dict[str, str]:
        """Return the outputs of function calls by call id. A call that is named twice is made once.

        Raises:
            ToolFailed: one failed, and `on_error` is "cancel". The others are cancelled.
        """
        return await self._each(calls, self._output)

    async def approvals(self, calls: Sequence[ToolCall]) -> dict[str, bool]:
        """Return by call id whether MCP calls may be made."""
        return await self._each(calls, self._approval)

    async def _each(self, calls: Sequence[ToolCall], answer: Callable[[ToolCall], Awaitable[T]]) -> dict[str, T]:
        """Return what `answer` gives for each call, in the order of the calls."""
        known: dict[str, ToolCall] = {}
        for call in calls:
            if call.id:
                known.setdefault(call.id, call)
        answers: dict[str, T] = {}
        limiter = anyio.CapacityLimiter(self._concurrency)
        failure: ToolFailed | None = None

        async def one(identifier: str, call: ToolCall) -> None:
            nonlocal failure
            async with limiter:
                try:
                    answers[identifier] = await answer(call)
                except ToolFailed as exc:  # raised below, without a group around it
                    failure = failure or exc
                    tasks.cancel_scope.cancel()

        async with anyio.create_task_group() as tasks:
            for identifier, call in known.items():
                tasks.start_soon(one, identifier, call)
        if failure is not None:
            raise failure
        return {identifier: answers[identifier] for identifier in known}

    async def _output(self, call: ToolCall) -> str:
        asked = call.function
        name = (asked.name if asked else None) or ""
        signature = self._functions.get(name)
        if signature is None:
            known = ", ".join(self._functions) or "none"
            return self._failed(None, LookupError(f"no function named {name!r:.80}; there are: {known}"))
        try:
            arguments = signature.decode((asked.arguments if asked else None) or "{}")
            result = await self._called(signature.function, signature.is_async, **arguments)
            text = result if isinstance(result, str) else msgspec.json.encode(result).decode()
            return _sendable(text)
        except Exception as exc:  # noqa: BLE001 - whatever a tool raises is told to the model, or raised as ToolFailed
            await anyio.lowlevel.checkpoint_if_cancelled()  # where that was its answer to being cancelled
            return self._failed(name, exc)

    def _failed(self, name: str | None, failure: Exception) -> str:
        """Return what the model is told.

        Raises:
            ToolFailed: the run is to be cancelled instead.
        """
        kind = type(failure).__name__
        shown = "the tool that was asked for" if name is None else f"the tool {name}"
        if self._on_error == "cancel":
            raise ToolFailed(f"{shown} failed with {kind}") from failure
        _log.warning("%s failed with %s: the model is told", shown, kind)
        text = f"{kind}: {failure}" if str(failure) else kind
        return msgspec.json.encode({"error": _sendable(text)}).decode()

    async def _approval(self, call: ToolCall) -> bool:
        if self._approve is None:
            return False
        try:
            return bool(await self._called(self._approve, is_async(self._approve), call))
        except Exception as exc:  # noqa: BLE001 - who cannot decide has not approved
            await anyio.lowlevel.checkpoint_if_cancelled()
            _log.warning("the approval of an MCP call failed with %s: it is refused", type(exc).__name__)
            return False

    async def _called(self, function: Callable[..., Any], is_async: bool, /, *arguments: Any, **named: Any) -> Any:
        """Return what a function gives; a sync one runs in a thread, which is left behind where it takes too long.

        Raises:
            TimeoutError: it took too long.
            RuntimeError: what it awaited was cancelled elsewhere.
        """
        try:
            with anyio.move_on_after(self._timeout):
                return await _result(partial(function, *arguments, **named), is_async)
        except anyio.get_cancelled_exc_class() as exc:
            if is_cancelled_from_outside():
                raise
            raise RuntimeError(f"it was cancelled by what it awaited ({type(exc).__name__})") from exc
        raise TimeoutError(f"it took longer than {self._timeout:g} s")


async def _result(call: Callable[[], Any], is_async: bool) -> Any:
    if is_async:
        return await call()
    limiter = anyio.CapacityLimiter(1)  # the concurrency is bounded above; other threads must not make it wait
    boxed = lambda: (call(),)  # noqa: E731 - trio lets no thread give an awaitable
    [result] = await anyio.to_thread.run_sync(boxed, abandon_on_cancel=True, limiter=limiter)
    return await result if inspect.isawaitable(result) else result


def _sendable(text: str) -> str:
    """Return `text` without what UTF-8 cannot say, such as the lone surrogates in the names of odd files."""
    return text.encode("utf-8", "replace").decode()
