"""`stepstream work MODULE:FUNCTION`: a worker of a group, until it is told to stop."""

import importlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from inspect import isawaitable
from typing import Any

import anyio

from stepstream.cli.exits import UsageError
from stepstream.cli.journal_source import journal_at
from stepstream.cli.output import write_error
from stepstream.live.cancellation import lone_exception
from stepstream.live.processor import Processor
from stepstream.workers.workers import Workers


async def work(target: str, *, journal: str, group: str, lease: float, max_runs: int) -> None:
    """Let the subscribers that a function registers work on the runs of a journal, until SIGTERM or SIGINT.

    Raises:
        UsageError: there is no such function, or it registers nothing.
        JournalFailed: the server does not answer for too long.
    """
    setup = function_of(target)
    async with journal_at(journal) as opened, Processor() as processor, _set_up(setup, processor):
        if not processor.statistics().subscribers:
            raise UsageError(f"expected {target} to register subscribers, and it registered none")
        async with Workers(opened, group=group, lease=lease, max_runs=max_runs) as workers:
            write_error(f"works for {group} as {workers.name}: SIGTERM ends it")
            await _until_signal(workers, processor)


def function_of(target: str) -> Any:
    """Return the function that `module:function` names. Modules are found from the current directory, too.

    Raises:
        UsageError: there is none.
        ImportError: the module is there, and raised something itself.
    """
    module_name, _, name = target.partition(":")
    if not (module_name and name):
        raise UsageError(f"expected MODULE:FUNCTION, got {target!r}")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        found: Any = importlib.import_module(module_name)
    except Exception as exc:
        if isinstance(exc, ModuleNotFoundError) and f"{module_name}.".startswith(f"{exc.name}."):
            raise UsageError(f"there is no module {module_name!r}") from exc
        raise ImportError(f"importing {module_name!r} raised {type(exc).__name__}: {exc}") from exc
    for part in name.split("."):
        if not hasattr(found, part):
            raise UsageError(f"the module {module_name!r} has no {name!r}")
        found = getattr(found, part)
    if not callable(found):
        raise UsageError(f"expected {target} to be a function of a processor, got {type(found).__name__}")
    return found


@asynccontextmanager
async def _set_up(setup: Any, processor: Processor) -> AsyncIterator[None]:
    """Call a function that registers subscribers: plain, async, or an async context manager around all work.

    Raises:
        RuntimeError: it raised something itself.
    """
    async with AsyncExitStack() as stack:
        try:
            registered = setup(processor)
            if hasattr(registered, "__aenter__"):
                await stack.enter_async_context(registered)
            elif isawaitable(registered):
                await registered
        except Exception as exc:
            name = getattr(setup, "__qualname__", type(setup).__name__)
            raise RuntimeError(f"{name} raised {type(exc).__name__}: {exc}") from exc
        yield


async def _until_signal(workers: Workers, processor: Processor) -> None:
    """Work, until a signal comes."""
    try:
        with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(workers.run, processor)
                await anext(signals)
                tasks.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        raise lone_exception(group) from None
