"""Tools: the functions that answer the tool calls of a run, and the one that approves its MCP calls."""

import logging
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Final, Literal, TypeAlias

import anyio
import anyio.lowlevel
import msgspec

from stepstream.client.tools.calling import as_text, call_in_time, encodable, without_text
from stepstream.client.tools.context import ToolContext, ToolResult
from stepstream.client.tools.custom import CustomSignature
from stepstream.client.tools.hooks import Hooks
from stepstream.client.tools.registration import RegistrationMethods
from stepstream.client.tools.rounds import Limit, results_of
from stepstream.client.tools.signature import Signature, is_async
from stepstream.errors import ToolFailed
from stepstream.live.log_ids import ids_of
from stepstream.wire.objects import RunStep
from stepstream.wire.tool_calls import AnyToolCall, CustomCall, FunctionCall, ToolCall

OnError: TypeAlias = Literal["output", "cancel"]

DEFAULT_TIMEOUT: Final = 60.0
DEFAULT_CONCURRENCY: Final = 8

_log = logging.getLogger("stepstream.client")


class Toolbox(RegistrationMethods):
    """Functions that answer the tool calls of a run, by name.

    Calls of one round run concurrently, `concurrency` at a time, each for `timeout` seconds at most; with 1, one after
    another in their order. `max_calls` bounds those of all rounds that run at once, more wait. `on_error` says what
    happens where one fails: "output" gives the error to the model, as `{"error": …}`, so that it can try something
    else; "cancel" cancels the run, and `drive` raises `ToolFailed`. With `strict`, definitions are strict ones, by
    which a server makes sure that arguments fit: a parameter that may be left out is null then.
    """

    def __init__(
        self,
        *,
        concurrency: int = DEFAULT_CONCURRENCY,
        max_calls: int | None = None,
        timeout: float = DEFAULT_TIMEOUT,
        on_error: OnError = "output",
        strict: bool = False,
    ) -> None:
        for name, count in (("concurrency", concurrency), ("max_calls", max_calls)):
            if count is not None and count < 1:
                raise ValueError(f"expected {name} of at least 1, got {count}")
        if not timeout > 0:
            raise ValueError(f"expected a timeout over 0 seconds, got {timeout}")
        if on_error not in ("output", "cancel"):
            raise ValueError(f"expected on_error 'output' or 'cancel', got {on_error!r}")
        super().__init__(Hooks(timeout), strict=strict)
        self._concurrency = concurrency
        self._limit = Limit(max_calls)
        self._timeout = timeout
        self._on_error = on_error

    def __repr__(self) -> str:
        return f"<Toolbox {', '.join(self._tools) or 'empty'}>"

    async def outputs(
        self,
        calls: Iterable[AnyToolCall],
        *,
        run_id: str | None = None,
        thread_id: str | None = None,
        steps: Iterable[RunStep] = (),
        context: Any = None,
    ) -> dict[str, str]:
        """Return the outputs of calls of functions and custom tools by call id. One that is listed twice is made once.

        What is given beside is for the `ToolContext`: `steps` are those in which the calls are looked up.

        Raises:
            ToolFailed: a function failed, and `on_error` is "cancel". The others are cancelled.
            ValueError: one is an approval request, which has no output. None was made.
        """
        calls = list(calls)
        if any(isinstance(call, ToolCall) and call.type == "mcp" for call in calls):
            raise ValueError("expected calls of functions and custom tools, got an approval request: use `approvals`")
        step_ids = {call.id: step.id for step in steps for call in step.tool_calls if isinstance(call, ToolCall)}

        async def output(call_id: str, call: ToolCall) -> str:
            asked = ToolContext(
                call=call,
                call_id=call_id,
                name=_content(call).name or "",
                run_id=run_id,
                thread_id=thread_id,
                step_id=step_ids.get(call_id),
                context=context,
            )
            return await self._output(asked)

        return await results_of(calls, output, self._concurrency, self._limit)

    async def approvals(self, calls: Iterable[AnyToolCall]) -> dict[str, bool]:
        """Return by call id whether MCP calls may be made."""
        return await results_of(calls, self._approval, self._concurrency, self._limit)

    async def _output(self, asked: ToolContext) -> str:
        began = anyio.current_time()
        exception: Exception | None = None
        is_refused = False
        try:
            await self._hooks.begin(asked)
            is_refused = True
            call, awaited = self._call_of(asked)
            is_refused = False
            output: str | None = as_text(await call_in_time(call, self._timeout, is_async=awaited))
        except Exception as exc:  # noqa: BLE001 - whatever a tool raises goes to the model, or is raised as ToolFailed
            # A tool may turn its cancellation into an exception. The cancellation is the one to raise then.
            await anyio.lowlevel.checkpoint_if_cancelled()
            if not is_refused:
                _log.debug("%s raised", self._shown(asked), exc_info=without_text(exc), extra=ids_of(asked))
            exception, output = exc, self._told(asked, exc)
        duration = anyio.current_time() - began
        await self._hooks.end(ToolResult(context=asked, output=output, exception=exception, duration=duration))
        if output is None:
            raise ToolFailed(f"{self._shown(asked)} failed with {type(exception).__name__}") from exception
        return output

    def _call_of(self, asked: ToolContext) -> tuple[Callable[[], Any], bool]:
        """Return the call that a model asks for, and whether it is to be awaited.

        Raises:
            LookupError, ValueError: there is no such tool, or the arguments do not fit it.
        """
        content, tool = _content(asked.call), self._tools.get(asked.name)
        if tool is None or isinstance(tool, CustomSignature) != isinstance(content, CustomCall):
            raise LookupError(f"no function named {asked.name!r:.80}; there are: {', '.join(self._tools) or 'none'}")
        text = content.input if isinstance(content, CustomCall) else content.arguments
        if text is msgspec.UNSET and isinstance(tool, Signature) and tool.parameters:
            raise ValueError("expected arguments as JSON text, got none")  # maybe others, which could not be read
        return tool.call(text or "", asked), tool.is_async

    def _told(self, asked: ToolContext, failure: Exception) -> str | None:
        """Return what the model is told of a failure; None where the run is cancelled instead."""
        if self._on_error == "cancel":
            return None
        kind = type(failure).__name__
        _log.warning("%s failed with %s: the model is told", self._shown(asked), kind, extra=ids_of(asked))
        text = f"{kind}: {failure}" if str(failure) else kind
        return msgspec.json.encode({"error": encodable(text)}).decode()

    def _shown(self, asked: ToolContext) -> str:
        """Return what a tool is called in logs: a name that the model made up is its text, and not for them."""
        return f"the tool {asked.name}" if asked.name in self._tools else "the tool that was asked for"

    async def _approval(self, call_id: str, call: ToolCall) -> bool:
        if self._approve is None:
            return False
        try:
            asked = partial(self._approve, call)
            answer = await call_in_time(asked, self._timeout, is_async=is_async(self._approve))
            if not isinstance(answer, bool):
                kind = type(answer).__name__
                _log.warning("the approval of an MCP call gave %s, expected a bool: it is refused", kind)
            return answer is True
        except Exception as exc:  # noqa: BLE001 - a call is made only if it was approved
            await anyio.lowlevel.checkpoint_if_cancelled()
            _log.warning("the approval of an MCP call failed with %s: it is refused", type(exc).__name__)
            return False


def _content(call: ToolCall) -> FunctionCall | CustomCall:
    """Return what a call asks for. Its type may have been lost: that of a function is what a call has by itself."""
    if call.type == "custom":
        return call.custom or CustomCall()
    return call.function or FunctionCall()
