"""What sends the runs of a process to one server, in order, over one connection.

One batch is in flight at a time, and what comes meanwhile is the next: the more there is to send, the larger it is.
After a failure nothing is known of what the batch did, so each run is looked at before it goes on.
"""

from collections.abc import Awaitable, Callable, Sequence
from itertools import islice
from typing import Final

import anyio

from stepstream.errors import JournalFailed
from stepstream.journal.redis.commands import Step
from stepstream.journal.redis.run_writer import RunWriter
from stepstream.journal.redis.server import Command, Link, delay_after
from stepstream.live.pending import Signal

MAX_WAITING: Final = 64 * 2**20
"""How many bytes wait for a server before the streams wait for it, too."""

MAX_RUNS: Final = 1_000
"""Of how many runs something is sent at once."""

WAIT_LIMIT: Final = 1_000
"""Milliseconds for which a server waits for its replicas, before it is asked again."""

WAKES: Final = 1_000
"""About how many entries a wake stream has. Who reads later than that compares all that it follows."""


class Lane:
    """Sends runs over a link. `replicas` must have a batch before it counts as acknowledged.

    `restore` writes again what is of no run. It is called before a run is that a server has lost.
    """

    def __init__(
        self, link: Link, replicas: int, outage_timeout: float, restore: Callable[[], Awaitable[object]]
    ) -> None:
        self.waiting = 0
        """The bytes that are not acknowledged."""
        self.changed = Signal()
        """Notified whenever something was acknowledged or given up."""
        self._link = link
        self._replicas = replicas
        self._restore = restore
        self._outage_timeout = outage_timeout
        self._noted: dict[RunWriter, None] = {}
        self._news = Signal()
        self._failures = 0
        self._failing_since = 0.0

    def note(self, run: RunWriter) -> None:
        """Send what a run has to be sent."""
        self._noted[run] = None
        self._news.notify()

    async def run(self) -> None:
        """Send, until it is cancelled."""
        while True:
            while not self._noted:
                await self._news.wait()
            noted = dict.fromkeys(islice(self._noted, MAX_RUNS))
            for run in noted:
                del self._noted[run]
            try:
                await self._send(noted)
            except JournalFailed as exc:
                for run in noted:
                    run.forget()
                self._noted = {**noted, **self._noted}
                await self._wait_after(exc)
            else:
                self._failures = 0
            for run in noted:
                run.wake()
            self.changed.notify()

    async def _send(self, noted: dict[RunWriter, None]) -> None:
        """Send what runs have, and note what was acknowledged.

        Raises:
            JournalFailed: it is not known what was.
        """
        if any(run.is_lost for run in noted):
            await self._restore()
        planned = [(run, step) for run in noted for step in run.plan()]
        if not planned:
            return
        commands = [*(step.command for _, step in planned), *_wakes(planned)]
        if self._replicas:
            commands.append(Command(b"WAIT", (self._replicas, WAIT_LIMIT)))
        answers = await self._link.call(commands)
        if self._replicas and not (isinstance(answers[-1], int) and answers[-1] >= self._replicas):
            raise JournalFailed(f"{self._replicas} replicas are to have what is written, and have not")
        for (run, step), answer in zip(planned, answers, strict=False):
            before = run.waiting
            step.done(answer)
            self.waiting -= before - run.waiting
        for run in noted:
            if run.plan():
                self.note(run)

    async def _wait_after(self, failure: JournalFailed) -> None:
        """Wait before the next attempt. What has waited for too long is given up."""
        self._failures += 1
        if self._failures == 1:
            self._failing_since = anyio.current_time()
        if anyio.current_time() - self._failing_since < self._outage_timeout:
            return await anyio.sleep(delay_after(self._failures))
        text = f"nothing could be written to the journal for {self._outage_timeout:g} seconds: {failure}"
        for run in self._noted:
            self.waiting -= run.waiting
            run.fail(JournalFailed(text))
            run.wake()
        self._noted.clear()
        self._failures = 0
        return None


def _wakes(planned: Sequence[tuple[RunWriter, Step]]) -> list[Command]:
    """Return what tells readers which runs have something new: one command a partition."""
    told: dict[str, dict[str, str]] = {}
    for run, step in planned:
        if step.kind:
            told.setdefault(run.keys.wake, {})[run.id] = step.kind  # what a run is comes after its events
    return [
        Command(b"XADD", (wake, "MAXLEN", "~", WAKES, "*", *(part for pair in runs.items() for part in pair)))
        for wake, runs in told.items()
    ]
