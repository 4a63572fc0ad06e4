"""The threads and runs that an application knows. No IO and no clock."""

from collections.abc import Callable
from itertools import count
from typing import Final, TypeAlias, TypeVar

from stepstream.simulator import objects
from stepstream.simulator.event_writer import MessageState
from stepstream.simulator.objects import JSON
from stepstream.simulator.runs import Run

ReadObject: TypeAlias = Callable[[], JSON]
"""Returns an object as it stands."""

V = TypeVar("V")

MAX_THREADS: Final = 1_000
MAX_RUNS: Final = 1_000
MAX_MESSAGES: Final = 1_000
"""How many an application remembers, messages of one thread. For a newer one the oldest is dropped."""

MAX_BYTES: Final = 64 * 10**6
"""How much it remembers of runs. The newest run is remembered however large it is."""


class Thread:
    """A thread, its messages and its runs, each by id and oldest first."""

    def __init__(self, identifier: str, created_at: int, metadata: JSON | None, resources: JSON | None) -> None:
        self.id = identifier
        self.object = objects.thread(identifier, created_at, metadata, resources)
        self.messages: dict[str, ReadObject] = {}
        self.runs: dict[str, Run] = {}

    def __repr__(self) -> str:
        return f"<Thread {self.id}: {len(self.messages):,} messages, {len(self.runs):,} runs>"

    def add_message(self, message: JSON) -> None:
        """Keep a message that nothing changes any more."""
        keep_newest(self.messages, message["id"], lambda: message, MAX_MESSAGES)

    def add_run(self, run: Run) -> None:
        """Keep a run, and the messages that it will write."""

        writer = run.writer

        def keep(message: MessageState) -> None:
            keep_newest(
                self.messages, message.id, lambda: writer.with_times(writer.message_object(message)), MAX_MESSAGES
            )

        writer.on_message = keep
        self.runs[run.owner.run_id] = run

    def drop_run(self, run: Run) -> None:
        """Forget a run with its messages."""
        self.runs.pop(run.owner.run_id, None)
        for step in run.writer.steps.values():
            if step.message is not None:
                self.messages.pop(step.message.id, None)


class Threads:
    """The newest threads and runs of one application. A thread that was not created begins where it is first used."""

    def __init__(self) -> None:
        self._threads: dict[str, Thread] = {}
        self._runs: dict[str, tuple[Thread, Run]] = {}
        self._numbers = count(1)

    def __repr__(self) -> str:
        return f"<{len(self._threads):,} threads, {len(self._runs):,} runs>"

    def create(
        self, at: float, identifier: str | None = None, metadata: JSON | None = None, resources: JSON | None = None
    ) -> Thread:
        """Return a new thread, created at the Unix time `at`."""
        fresh = (f"thread_sim{number}" for number in self._numbers)
        name = identifier or next(name for name in fresh if name not in self._threads)
        thread = Thread(name, int(at), metadata, resources)
        keep_newest(self._threads, name, thread, MAX_THREADS)
        return thread

    def use(self, identifier: str, at: float) -> Thread:
        """Return the thread of that id, new where it is not known."""
        return self._threads.get(identifier) or self.create(at, identifier)

    def find(self, identifier: str) -> Thread | None:
        """Return the thread of that id, or None."""
        return self._threads.get(identifier)

    def add_run(self, thread: Thread, run: Run) -> None:
        """Keep a new run of `thread`."""
        thread.add_run(run)
        self._runs[run.owner.run_id] = thread, run
        while len(self._runs) > MAX_RUNS or (len(self._runs) > 1 and self._kept_bytes() > MAX_BYTES):
            its_thread, oldest = self._runs.pop(next(iter(self._runs)))
            its_thread.drop_run(oldest)

    def _kept_bytes(self) -> int:
        return sum(run.writer.kept_bytes for _, run in self._runs.values())


def keep_newest(kept: dict[str, V], key: str, value: V, limit: int) -> None:
    """Keep a value, and so many of the newest."""
    kept[key] = value
    if len(kept) > limit:
        del kept[next(iter(kept))]
