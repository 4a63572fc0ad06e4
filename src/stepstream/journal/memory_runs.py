"""What a journal in memory keeps of one run, and who writes it."""

from collections import deque

from stepstream.errors import JournalGap
from stepstream.live.journal import Checkpoint, Held, Pack, RunStatus


class Writer:
    """A publishing process."""

    __slots__ = ("__weakref__", "seen")

    def __init__(self) -> None:
        self.seen = 0.0  # when it gave the last sign of life


class KeptRun:
    """What is kept of a run."""

    __slots__ = (
        "checkpoint", "ended", "error", "fence", "id", "opened", "over_at", "packs", "position", "size", "status",
        "watchers", "writer",
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
        self.writer = Writer()

    @property
    def has_covered(self) -> bool:
        """Whether its oldest events are in its checkpoint, too."""
        return self.checkpoint is not None and bool(self.packs) and self.packs[0].last <= self.checkpoint.last

    def shortest_after(self, position: int) -> list[Held]:
        """Return what there is after a position, with a checkpoint for all that it stands for."""
        if self.checkpoint is None or self.checkpoint.last <= position:
            return self.held_after(position)
        return [self.checkpoint, *self.held_after(self.checkpoint.last)]

    def held_after(self, position: int) -> list[Held]:
        """Return what there is after a position."""
        packs: list[Held] = [pack for pack in self.packs if pack.last > position]
        begins = self.packs[0].first if self.packs else self.position + 1
        if begins <= position + 1:
            return packs
        checkpoint = self.checkpoint
        if checkpoint is None or checkpoint.last + 1 < begins:
            raise JournalGap(f"the events of run {self.id} up to {begins - 1:,} are gone, without a checkpoint")
        return [checkpoint, *(pack for pack in self.packs if pack.last > checkpoint.last)]
