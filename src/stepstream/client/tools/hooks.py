"""Async functions of the user that are called around each call of a tool."""

import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeAlias

import anyio.lowlevel

from stepstream.client.tools.calling import call_in_time
from stepstream.client.tools.context import ToolContext, ToolResult
from stepstream.live.callbacks import name_of

Before: TypeAlias = Callable[[ToolContext], Awaitable[object]]
After: TypeAlias = Callable[[ToolResult], Awaitable[object]]

_log = logging.getLogger("stepstream.client")


class Hooks:
    """The hooks of a toolbox, each called in the order of registration, for `timeout` seconds at most."""

    def __init__(self, timeout: float) -> None:
        self.before: list[Before] = []
        self.after: list[After] = []
        self.on_failure: list[After] = []
        self._timeout = timeout

    async def begin(self, context: ToolContext) -> None:
        """Call the hooks before a call. What one raises is the failure of the call, which is not made then."""
        for hook in self.before:
            await call_in_time(partial(hook, context), self._timeout, is_async=True)

    async def end(self, result: ToolResult) -> None:
        """Call the hooks after a call. What one raises is logged, and changes nothing."""
        failed = self.on_failure if result.exception is not None else ()
        for hook in (*failed, *self.after):
            try:
                await call_in_time(partial(hook, result), self._timeout, is_async=True)
            except Exception:  # noqa: BLE001 - a hook of the user must not cost the call its result
                await anyio.lowlevel.checkpoint_if_cancelled()
                _log.exception("the hook %s failed after a call of the tool", name_of(hook))
