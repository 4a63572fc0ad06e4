"""What sends the runs of a process to one server, in order, over one connection.

Two batches are under way at a time, so that the server has something to do while the next is made, and no run is in
both. What comes meanwhile is sent next: the more there is, the larger a batch is, up to `MAX_SENT`, for bytes that are
copied from one large buffer to another cost more than the rest of sending. After a failure nothing is known of what a
batch did, so each run is looked at before it goes on.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import anyio

from stepstream.errors import JournalFailed
from stepstream.journal.redis.commands import MAX_BATCH, Step
from stepstream.journal.redis.run_writer import RunWriter
from stepstream.journal.redis.server import Command, Link, delay_after
from stepstream.live.pending import Signal

MAX_WAITING: Final = 64 * 2**20
"""How many bytes wait for a server before the streams wait for it, too."""

SENDERS: Final = 2
"""How many tasks are to `run` a lane: each has one batch under way."""

MAX_SENT: Final = 2**20
"""About how many bytes are sent at once: with more, a socket takes only a part, and the rest is copied."""

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
        self._under_way: dict[RunWriter, bool] = {}  # and whether it was noted again since
        self._news = Signal()
        self._failures = 0
        self._failing_since = 0.0

    def note(self, run: RunWriter) -> None:
        """Send what a run has to be sent."""
        if run in self._under_way:
            self._under_way[run] = True
        else:
            self._noted[run] = None
            self._news.notify()

    async def run(self) -> None:
        """Send, until it is cancelled."""
        while True:
            while not self._noted:
                await self._news.wait()
            noted, failure = self._next(), None
            try:
                await self._send(noted)
                self._failures = 0
            except JournalFailed as exc:
                failure = exc
            for run in noted:
                is_noted = self._under_way.pop(run)
                if failure is not None:
                    run.forget()
                if failure is not None or is_noted or run.plan():
                    self.note(run)
            if failure is not None:
                await self._wait_after(failure)
            for run in noted:
                run.wake()
            self.changed.notify()

    def _next(self) -> list[RunWriter]:
        """Return the runs of which something is sent next."""
        chosen, size = list[RunWriter](), 0
        for run in self._noted:
            if size >= MAX_SENT or len(chosen) >= MAX_RUNS:
                break
            chosen.append(run)
            size += min(run.waiting, MAX_BATCH)
        for run in chosen:
            del self._noted[run]
            self._under_way[run] = False
        return chosen

    async def _send(self, noted: Sequence[RunWriter]) -> None:
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

    async def _wait_after(self, failure: JournalFailed) -> None:
        """Wait before the next attempt. What has waited for too long is given up."""
        self._failures += 1
        if self._failures == 1:
            self._failing_since = anyio.current_time()
        if anyio.current_time() - self._failing_since < self._outage_timeout:
            return await anyio.sleep(delay_after(self._failures))
        text = f"nothing could be written to the journal for {self._outage_timeout:g} seconds: {failure}"
        for run in (*self._noted, *self._under_way):
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
