"""Tools: the functions that answer the tool calls of a run, and the one that approves its MCP calls."""

import inspect
import logging
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Final, Literal, TypeAlias, TypeVar, overload

import anyio
import anyio.lowlevel
import anyio.to_thread
import msgspec
from msgspec import UNSET

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
    """Functions that answer the tool calls of a run, by name.

    Calls of one round run concurrently, `concurrency` at a time, each for `timeout` seconds at most. `on_error` says
    what happens where one fails: "output" gives the error to the model, as `{"error": …}`, so that it can try
    something else; "cancel" cancels the run, and `drive` raises `ToolFailed`.
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

        An async function is awaited, a sync one runs in a thread. The annotations of the parameters say which arguments
        are valid; the description is the docstring, unless one is given.

        Raises:
            TypeError: it is no function, a parameter cannot be given by name, or an annotation has no JSON form.
            ValueError: a function of that name is registered, or the API does not accept the name.
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
        """Register the function that approves MCP calls, as `@tools.approve`: it gets a call and returns a bool.

        A call is refused without such a function, and where it raises or exceeds the timeout.

        Raises:
            TypeError: it cannot be called.
            ValueError: another function is registered.
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
        """Return the outputs of function calls by call id. A call that is listed twice is made once.

        Raises:
            ToolFailed: a function failed, and `on_error` is "cancel". The others are cancelled.
        """
        return await self._each(calls, self._output)

    async def approvals(self, calls: Sequence[ToolCall]) -> dict[str, bool]:
        """Return by call id whether MCP calls may be made."""
        return await self._each(calls, self._approval)

    async def _each(self, calls: Sequence[ToolCall], result_of: Callable[[ToolCall], Awaitable[T]]) -> dict[str, T]:
        """Return what `result_of` gives for each call, by call id, in the order of the calls."""
        known: dict[str, ToolCall] = {}
        for call in calls:
            if call.id:
                known.setdefault(call.id, call)
        results: dict[str, T] = {}
        limiter = anyio.CapacityLimiter(self._concurrency)
        failure: ToolFailed | None = None

        async def one(identifier: str, call: ToolCall) -> None:
            nonlocal failure
            async with limiter:
                try:
                    results[identifier] = await result_of(call)
                except ToolFailed as exc:  # raised below: from here it would come in an exception group
                    failure = failure or exc
                    tasks.cancel_scope.cancel()

        async with anyio.create_task_group() as tasks:
            for identifier, call in known.items():
                tasks.start_soon(one, identifier, call)
        if failure is not None:
            raise failure
        return {identifier: results[identifier] for identifier in known}

    async def _output(self, call: ToolCall) -> str:
        wanted = call.function
        name = (wanted.name if wanted else None) or ""
        signature = self._functions.get(name)
        if signature is None:
            known = ", ".join(self._functions) or "none"
            return self._error_output(None, LookupError(f"no function named {name!r:.80}; there are: {known}"))
        try:
            if wanted and wanted.arguments is UNSET and signature.arguments.__struct_fields__:
                raise ValueError("expected arguments as JSON text, got none")  # maybe others, which could not be read
            arguments = signature.decode((wanted.arguments if wanted else None) or "{}")
            result = await self._call(signature.function, signature.is_async, **arguments)
            text = result if isinstance(result, str) else msgspec.json.encode(result).decode()
            return _encodable(text)
        except Exception as exc:  # noqa: BLE001 - whatever a tool raises goes to the model, or is raised as ToolFailed
            # A tool may turn its cancellation into an exception. The cancellation is the one to raise then.
            await anyio.lowlevel.checkpoint_if_cancelled()
            return self._error_output(name, exc)

    def _error_output(self, name: str | None, failure: Exception) -> str:
        """Return the output that reports a failure to the model. The log names no more than the exception's class.

        Raises:
            ToolFailed: the run is to be cancelled instead.
        """
        kind = type(failure).__name__
        shown = "the tool that was asked for" if name is None else f"the tool {name}"
        if self._on_error == "cancel":
            raise ToolFailed(f"{shown} failed with {kind}") from failure
        _log.warning("%s failed with %s: the model is told", shown, kind)
        text = f"{kind}: {failure}" if str(failure) else kind
        return msgspec.json.encode({"error": _encodable(text)}).decode()

    async def _approval(self, call: ToolCall) -> bool:
        if self._approve is None:
            return False
        try:
            return bool(await self._call(self._approve, is_async(self._approve), call))
        except Exception as exc:  # noqa: BLE001 - a call is made only if it was approved
            await anyio.lowlevel.checkpoint_if_cancelled()
            _log.warning("the approval of an MCP call failed with %s: it is refused", type(exc).__name__)
            return False

    async def _call(self, function: Callable[..., Any], is_async: bool, /, *arguments: Any, **named: Any) -> Any:
        """Return the result of a function. A thread that exceeds the timeout is abandoned: it cannot be stopped.

        Raises:
            TimeoutError: the function took too long.
            RuntimeError: something that it awaited was cancelled elsewhere.
        """
        try:
            with anyio.move_on_after(self._timeout):
                return await _run(partial(function, *arguments, **named), is_async)
        except anyio.get_cancelled_exc_class() as exc:
            if is_cancelled_from_outside():
                raise
            raise RuntimeError(f"it was cancelled by what it awaited ({type(exc).__name__})") from exc
        raise TimeoutError(f"it took longer than {self._timeout:g} s")


async def _run(call: Callable[[], Any], is_async: bool) -> Any:
    if is_async:
        return await call()
    limiter = anyio.CapacityLimiter(1)  # `concurrency` is the bound; the threads of others must not make a tool wait
    boxed = lambda: (call(),)  # noqa: E731 - trio refuses an awaitable as the result of a thread
    [result] = await anyio.to_thread.run_sync(boxed, abandon_on_cancel=True, limiter=limiter)
    return await result if inspect.isawaitable(result) else result


def _encodable(text: str) -> str:
    """Return `text` with what UTF-8 cannot encode replaced, such as the lone surrogates in odd names of files."""
    return text.encode("utf-8", "replace").decode()
