"""Stopping runs, for who watches them: by what the application says stops one."""

import logging
from collections.abc import Awaitable, Callable
from functools import partial
from inspect import isawaitable
from typing import Final, TypeAlias

import anyio

from stepstream.asgi.http import Scope
from stepstream.errors import JournalError
from stepstream.journal.reading import Journal
from stepstream.journal.run_info import RunInfo
from stepstream.relay.requests import NOT_FOUND, Refused
from stepstream.relay.run_reader import info_of

Stop: TypeAlias = Callable[[Scope, str], object | Awaitable[object]]
"""Stops a run, such as by asking the server to cancel it. It returns False where that run cannot be stopped."""

STOP_WITHIN: Final = 30.0
"""Seconds that this may take."""

MAX_STOPPED: Final = 1_000
"""For how many runs it is known that they were stopped."""

_log = logging.getLogger("stepstream.relay")


class Stopping:
    """Stops runs of a journal: each once for each of its writers, however often and by however many that is asked."""

    def __init__(self, journal: Journal, stop: Stop) -> None:
        self._journal = journal
        self._stop = stop
        self._going_on: dict[tuple[str, int], anyio.Event] = {}
        self._stopped: dict[tuple[str, int], None] = {}

    def __repr__(self) -> str:
        return f"<Stopping: {len(self._going_on):,} now, {len(self._stopped):,} before>"

    async def stop(self, scope: Scope, run_id: str) -> None:
        """Return when a run was stopped, now or before, or has ended.

        Raises:
            Refused: there is no such run, or it cannot be stopped.
        """
        info = await self._info(run_id)
        if info is None:
            raise Refused(404, NOT_FOUND)
        run = run_id, info.fence
        while (now := self._going_on.get(run)) is not None:
            await now.wait()
        if info.status == "ended" or run in self._stopped:
            return
        self._going_on[run] = anyio.Event()
        try:
            await ask_to_stop(partial(self._stop, scope, run_id), run_id)
        except Refused:
            after = await self._info(run_id)
            if after is None or after.status != "ended":  # else it was too late for that
                raise
        else:
            self._stopped[run] = None
            if len(self._stopped) > MAX_STOPPED:
                del self._stopped[next(iter(self._stopped))]
        finally:
            self._going_on.pop(run).set()

    async def _info(self, run_id: str) -> RunInfo | None:
        try:
            return await info_of(self._journal, run_id)
        except JournalError:
            raise Refused(503, "The run cannot be read now.", retry_after="5") from None


async def ask_to_stop(stop: Callable[[], object | Awaitable[object]], run_id: str) -> None:
    """Call what stops a run.

    Raises:
        Refused: that failed, took too long, or returned False.
    """
    try:
        with anyio.fail_after(STOP_WITHIN):
            answer = stop()
            answer = await answer if isawaitable(answer) else answer
    except Exception as exc:  # noqa: BLE001 - of the application: its cause is for the log
        _log.warning("stop failed", exc_info=exc, extra={"run_id": run_id})
        raise Refused(503, "The run cannot be stopped now.", retry_after="5") from None
    if answer is False:
        raise Refused(409, "This run cannot be stopped.")
