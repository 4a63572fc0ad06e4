"""What belongs together: a run with its steps and messages, and what the caller of its stream gave."""

from collections.abc import Iterator
from typing import Any

from stepstream.fold.builder import SnapshotBuilder
from stepstream.fold.cause import TakenStatuses
from stepstream.fold.subjects import OF_RUN
from stepstream.wire.messages import Message
from stepstream.wire.objects import Run, RunStep


class StreamOrigin:
    """The context of one stream, shared by the runs that it named last. It is emptied when the stream is over."""

    __slots__ = ("context", "is_read", "settling", "variables")

    def __init__(self, context: Any = None, variables: Any = None, settling: Any = None) -> None:
        self.context = context
        self.variables = variables
        """Of the reader of the stream: what calls for its changes run in."""
        self.settling = settling
        """Of the reader too: how far its changes were dealt with. It outlasts the stream."""
        self.is_read = False
        """Whether the stream is still being read."""


class RunEntry:
    """A run with its steps and messages."""

    __slots__ = (
        "asked", "is_counted", "is_overfull", "is_run", "journal", "key", "messages", "origin", "position",
        "repetition", "run", "size", "steps", "taken",
    )  # fmt: skip

    def __init__(self, key: str) -> None:
        self.key = key
        self.is_run = key.startswith(OF_RUN)
        """Whether it is of a run; else of a step or message that belongs to none."""
        self.run: Run | None = None
        self.origin = StreamOrigin()
        """That of the stream which named the run last."""
        self.taken = TakenStatuses()
        """The statuses of the run."""
        self.asked = ""
        """What tells the newest round of tool calls from others, in keys."""
        self.steps: dict[str, SnapshotBuilder[RunStep]] = {}
        self.messages: dict[str, SnapshotBuilder[Message]] = {}
        self.size = 0
        """How much its deltas have added, at most."""
        self.is_counted = False
        """Whether each delta is added up, since it may hold too much soon."""
        self.is_overfull = False
        """Whether deltas were dropped because it holds too much."""
        self.journal: Any = None
        """The journal that has its events, where one does."""
        self.position = 0
        """How many events of that journal are folded, those that are written to it included."""
        self.repetition: Any = None
        """What is told again of the run, while that is less than is known."""

    @property
    def objects(self) -> Iterator[SnapshotBuilder[Any]]:
        """Its steps and messages."""
        yield from self.steps.values()
        yield from self.messages.values()

    def count(self) -> None:
        """Add up each delta from now on: none may be folded by a shorter way."""
        self.is_counted = True
        for one in self.objects:
            one.counted_in = self
            one.invalidate()

    def folded_of(self, journal: Any) -> int:
        """Return how many events of a journal are folded."""
        return self.position if self.journal is journal else 0

    def note_folded(self, journal: Any, position: int) -> None:
        """Record that the events of a journal are folded up to a position."""
        self.journal, self.position = journal, position

    @property
    def is_open(self) -> bool:
        """Whether a step or message is."""
        return not (all(one.ended for one in self.steps.values()) and all(one.ended for one in self.messages.values()))

    @property
    def is_finished(self) -> bool:
        """Whether its run ended; without a run id, whether its only member did."""
        if self.is_run:
            return self.run is not None and self.run.is_terminal
        return not self.is_open

    @property
    def waits(self) -> bool:
        """Whether its run waits for action, and goes on in another stream."""
        return self.run is not None and self.run.status == "requires_action"


def run_of_nameless(
    full: RunStep | Message, runs: dict[str, Run], steps: dict[str, SnapshotBuilder[RunStep]]
) -> str | None:
    """Return the id of the run that a new object which names none belongs to: the newest of its stream's `runs`.

    Where the stream told of no run, it is that of the newest of its `steps`. A user's message belongs to none.
    """
    if isinstance(full, Message) and full.role == "user":
        return None
    newest = next(reversed(steps.values()), None)
    return next(reversed(runs), None) or (newest.run_id if newest is not None else None)
