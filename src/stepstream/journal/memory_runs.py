"""What a journal in memory keeps of one run, and who writes it."""

from bisect import bisect_right
from collections import deque
from collections.abc import Iterator
from typing import Final

from stepstream.errors import JournalGap
from stepstream.journal.run_info import RunInfo
from stepstream.live.journal import Checkpoint, Held, Pack, RunStatus

MAX_AT_ONCE: Final = 16
"""How many packs a reader holds that are dropped meanwhile."""


class Writer:
    """A publishing process."""

    __slots__ = ("__weakref__", "seen")

    def __init__(self) -> None:
        self.seen = 0.0  # when it gave the last sign of life


_NOBODY: Final = Writer()


class KeptRun:
    """What is kept of a run."""

    __slots__ = (
        "checkpoint", "ended", "error", "fence", "id", "opened", "over_at", "packs", "position", "size", "status",
        "writer",
    )  # fmt: skip

    def __init__(self, run_id: str, opened: float) -> None:
        self.id = run_id
        self.opened = opened
        self.ended: float | None = None
        self.over_at = 0.0
        self.fence = self.position = self.size = 0
        self.status: RunStatus = "open"
        self.error = ""
        self.packs: deque[Pack] = deque()
        self.checkpoint: Checkpoint | None = None
        self.writer = _NOBODY

    def info(self, now: float) -> RunInfo:
        """Return what is said of it."""
        return RunInfo(
            id=self.id,
            status=self.status,
            position=self.position,
            opened=self.opened,
            ended=self.ended,
            fence=self.fence,
            error=self.error,
            silence=max(now - self.writer.seen, 0),
        )

    @property
    def has_covered(self) -> bool:
        """Whether its oldest events are in its checkpoint, too."""
        return self.checkpoint is not None and bool(self.packs) and self.packs[0].last <= self.checkpoint.last

    def shortest_after(self, position: int) -> Iterator[Held]:
        """Yield what there is after a position, with a checkpoint for all that it stands for."""
        checkpoint = self.checkpoint
        if checkpoint is not None and checkpoint.last > position:
            yield checkpoint
            position = checkpoint.last
        while position < self.position:
            for held in self.some_after(position):
                yield held
                position = held.last

    def some_after(self, position: int) -> list[Held]:
        """Return what comes next after a position, which is not the last: a checkpoint, or some packs.

        Raises:
            JournalGap: it is gone, and no checkpoint stands for it.
        """
        begins = self.packs[0].first if self.packs else self.position + 1
        if begins <= position + 1:
            place = bisect_right(self.packs, position, key=_last)
            return [self.packs[at] for at in range(place, min(place + MAX_AT_ONCE, len(self.packs)))]
        checkpoint = self.checkpoint
        if checkpoint is None or checkpoint.last + 1 < begins:
            raise JournalGap(f"the events of run {self.id} up to {begins - 1:,} are gone, without a checkpoint")
        return [checkpoint]


def _last(pack: Pack) -> int:
    return pack.last
